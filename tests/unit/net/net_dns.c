#include "net_dns.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "dns_msg.h"
#include "io.h"
#include "net_place.h"
#include "net_rig.h"
#include "xalloc.h"

#define MANY 100u
#define FLAG_CUT 0x02u
#define ASK_MS 3000

/* --- resolver -------------------------------------------------------------------------------- */

static size_t put_name(uint8_t *at, const char *name)
{
	size_t n = 0;

	while (*name) {
		size_t len = strcspn(name, ".");

		at[n++] = (uint8_t)len;
		memcpy(at + n, name, len);
		n += len;
		name += len + (name[len] == '.');
	}
	at[n++] = 0;
	return n;
}

static size_t put_address(uint8_t *at, uint32_t addr)
{
	/* A pointer to the question's name, A, IN, 5 s, four bytes. */
	static const uint8_t head[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4};
	uint32_t net = htonl(addr);

	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), &net, sizeof(net));
	return sizeof(head) + sizeof(net);
}

static size_t addresses_of(const char *name, uint32_t ret[MANY])
{
	size_t n = 0;

	if (strcmp(name, "api.test") == 0 || strcmp(name, "both.test") == 0 ||
	    strcmp(name, "liar.test") == 0)
		ret[n++] = 0xcb007101u;
	if (strcmp(name, "two.test") == 0 || strcmp(name, "both.test") == 0)
		ret[n++] = 0xc6336407u;
	while (strcmp(name, "big.test") == 0 && n < MANY) {
		ret[n] = 0xc6336400u + (uint32_t)n;
		n++;
	}
	return n;
}

static size_t make_answer(const uint8_t *query, const struct dns_question *q, bool tcp,
			  uint8_t *ret)
{
	uint32_t addrs[MANY];
	size_t n = addresses_of(q->name, addrs), len = 0;

	len = dns_make_reply(query, q, n ? DNS_OK : 3, ret);
	if (n > 2 && !tcp) {
		ret[2] |= FLAG_CUT;
		return len;
	}
	ret[7] = (uint8_t)n;
	for (size_t i = 0; i < n; i++)
		len += put_address(ret + len, addrs[i]);
	return len;
}

static void serve_udp(int fd)
{
	uint8_t msg[DNS_QUERY_MAX], answer[DNS_MESSAGE_MAX];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	struct dns_question q;
	ssize_t n = recvfrom(fd, msg, sizeof(msg), 0, (struct sockaddr *)&from, &from_len);

	if (n < 0 || !dns_read_query(msg, (size_t)n, &q) || strcmp(q.name, "silent.test") == 0)
		return;
	size_t len = make_answer(msg, &q, false, answer);

	if (strcmp(q.name, "liar.test") == 0) {
		uint8_t lie[DNS_MESSAGE_MAX];

		memcpy(lie, answer, len);
		lie[DNS_HEAD_SIZE + 1] = 'x';
		(void)sendto(fd, lie, len, 0, (struct sockaddr *)&from, from_len);
		memcpy(lie, answer, len);
		dns_set_id(lie, (uint16_t)(q.id + 1));
		(void)sendto(fd, lie, len, 0, (struct sockaddr *)&from, from_len);
		(void)sendto(fd, answer, 5, 0, (struct sockaddr *)&from, from_len);
	}
	(void)sendto(fd, answer, len, 0, (struct sockaddr *)&from, from_len);
}

static void serve_tcp(int listener)
{
	uint8_t msg[DNS_QUERY_MAX], answer[DNS_MESSAGE_MAX], head[2];
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct dns_question q;
	uint64_t deadline_ms = deadline_in(ASK_MS);

	if (io_read_full(fd, head, 2, deadline_ms, NULL) >= 0) {
		size_t n = (size_t)(head[0] << 8 | head[1]);

		if (n <= sizeof(msg) && io_read_full(fd, msg, n, deadline_ms, NULL) >= 0 &&
		    dns_read_query(msg, n, &q)) {
			size_t len = make_answer(msg, &q, true, answer);

			head[0] = (uint8_t)(len >> 8);
			head[1] = (uint8_t)len;
			(void)io_write_full(fd, head, 2, deadline_ms, NULL);
			(void)io_write_full(fd, answer, len, deadline_ms, NULL);
		}
	}
	(void)close(fd);
}

static int open_at(const char *ip, int type)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	const int on = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	(void)inet_pton(AF_INET, ip, &at.sin_addr);
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 16) < 0))
		_exit(1);
	return fd;
}

void net_resolver_at(pid_t where, const char *ip)
{
	int ready[2] = {-1, -1};
	char c = 0;

	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	if (net_spawn() == 0) {
		struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};

		net_enter(where);
		fds[0].fd = open_at(ip, SOCK_DGRAM);
		fds[1].fd = open_at(ip, SOCK_STREAM);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		while (poll(fds, 2, -1) > 0) {
			if (fds[0].revents)
				serve_udp(fds[0].fd);
			if (fds[1].revents)
				serve_tcp(fds[1].fd);
		}
		_exit(1);
	}
	(void)close(ready[1]);
	cr_assert_eq(read(ready[0], &c, 1), 1, "cannot resolve at %s", ip);
	(void)close(ready[0]);
}

/* --- client ---------------------------------------------------------------------------------- */

struct asking {
	const char *server, *name;
	uint16_t type;
	bool tcp;
	int fd;
};

static size_t make_query(const struct asking *a, uint8_t *ret)
{
	static const uint8_t head[DNS_HEAD_SIZE] = {0x12, 0x34, 1, 0, 0, 1};
	size_t n = sizeof(head);

	memcpy(ret, head, n);
	n += put_name(ret + n, a->name);
	ret[n++] = (uint8_t)(a->type >> 8);
	ret[n++] = (uint8_t)a->type;
	ret[n++] = 0;
	ret[n++] = 1;
	return n;
}

static ssize_t talk_tcp(int fd, const uint8_t *query, size_t len, uint8_t *answer)
{
	uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};
	uint64_t deadline_ms = deadline_in(ASK_MS);

	if (io_write_full(fd, head, 2, deadline_ms, NULL) < 0 ||
	    io_write_full(fd, query, len, deadline_ms, NULL) < 0 ||
	    io_read_full(fd, head, 2, deadline_ms, NULL) < 0)
		return -1;
	len = (size_t)(head[0] << 8 | head[1]);
	return io_read_full(fd, answer, len, deadline_ms, NULL) < 0 ? -1 : (ssize_t)len;
}

static ssize_t talk_udp(int fd, const uint8_t *query, size_t len, uint8_t *answer)
{
	if (send(fd, query, len, 0) < 0 || io_wait(fd, POLLIN, deadline_in(ASK_MS)) <= 0)
		return -1;
	return recv(fd, answer, DNS_MESSAGE_MAX, 0);
}

static int ask(void *data)
{
	const struct asking *a = data;
	static uint8_t query[DNS_QUERY_MAX], answer[DNS_MESSAGE_MAX];
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
	int fd = socket(AF_INET, (a->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	size_t len = make_query(a, query);
	struct dns_addresses found = {.n = 0};
	ssize_t n = -1;

	(void)inet_pton(AF_INET, a->server, &at.sin_addr);
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
		n = (a->tcp ? talk_tcp : talk_udp)(fd, query, len, answer);
	if (n < (ssize_t)DNS_HEAD_SIZE || dns_id(answer) != 0x1234 ||
	    !dns_read_addresses(answer, (size_t)n, &found)) {
		(void)dprintf(a->fd, "nothing");
		return 0;
	}
	if (answer[2] & FLAG_CUT) {
		(void)dprintf(a->fd, "cut");
		return 0;
	}
	(void)dprintf(a->fd, "%d", answer[3] & 15);
	if (found.n > 2)
		(void)dprintf(a->fd, " %d addresses", answer[7]);
	for (size_t i = 0; found.n <= 2 && i < found.n; i++) {
		struct in_addr in = {.s_addr = htonl(found.v[i])};
		char ip[INET_ADDRSTRLEN];

		(void)dprintf(a->fd, " %s", inet_ntop(AF_INET, &in, ip, sizeof(ip)));
	}
	return 0;
}

const char *net_ask(pid_t where, const char *server, const char *name, uint16_t type, bool tcp)
{
	static char text[256];
	struct asking a = {.server = server, .name = name, .type = type, .tcp = tcp};
	ssize_t n = 0;

	a.fd = memfd_create("ask", MFD_CLOEXEC);
	cr_assert_eq(net_at(where, ask, &a), 0);
	n = pread(a.fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	(void)close(a.fd);
	return text;
}
