#include "net_rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "net_place.h"
#include "xalloc.h"

#define HEAR_MS 1500
#define TEXT_SIZE 2048

static int make_socket(const char *ip, uint16_t port, bool udp, struct sockaddr_in *ret)
{
	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	(void)inet_pton(AF_INET, ip, &ret->sin_addr);
	return socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
}

static void greet(int fd, const char *name, const struct sockaddr_in *peer, bool udp)
{
	char ip[INET_ADDRSTRLEN];
	auto_free char *text = NULL;

	(void)inet_ntop(AF_INET, &peer->sin_addr, ip, sizeof(ip));
	text = xasprintf("%s %s", name, ip);
	if (udp)
		(void)sendto(fd, text, strlen(text), 0, (const struct sockaddr *)peer,
			     sizeof(*peer));
	else
		(void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* TCP clients stay connected: what they send is sent back. */
static void serve(int fd, const char *name, bool udp)
{
	for (;;) {
		struct sockaddr_in peer = {0};
		socklen_t len = sizeof(peer);
		char c[64];
		int conn = -1;

		if (udp) {
			if (recvfrom(fd, c, sizeof(c), 0, (struct sockaddr *)&peer, &len) >= 0)
				greet(fd, name, &peer, true);
			continue;
		}
		conn = accept4(fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
		if (conn >= 0 && fork() == 0) {
			ssize_t n = 0;

			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			greet(conn, name, &peer, false);
			while ((n = recv(conn, c, sizeof(c), 0)) > 0)
				(void)send(conn, c, (size_t)n, MSG_NOSIGNAL);
			_exit(0);
		}
		(void)close(conn);
	}
}

void net_serve_at(pid_t where, const char *name, const char *ip, uint16_t port, bool udp)
{
	int ready[2] = {-1, -1};
	char c = 0;

	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	if (net_spawn() == 0) {
		struct sockaddr_in at;
		const int on = 1;
		int fd = -1;

		net_enter(where);
		(void)signal(SIGCHLD, SIG_IGN);
		fd = make_socket(ip, port, udp, &at);
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
		    (!udp && listen(fd, 64) < 0) || write(ready[1], "x", 1) != 1)
			_exit(1);
		serve(fd, name, udp);
	}
	(void)close(ready[1]);
	cr_assert_eq(read(ready[0], &c, 1), 1, "cannot serve %s:%u", ip, port);
	(void)close(ready[0]);
}

struct hearing {
	const char *ip, *from;
	uint16_t port;
	bool udp;
	int fd;
};

static const char *word_for(int code)
{
	switch (code) {
	case ECONNREFUSED:
		return "refused";
	case EHOSTUNREACH:
	case EACCES:
		return "filtered"; /* administratively prohibited */
	case ENETUNREACH:
		return "unreachable";
	default:
		return "timeout";
	}
}

static void limit_waits(int fd)
{
	const struct timeval limit = {.tv_sec = HEAR_MS / 1000, .tv_usec = HEAR_MS % 1000 * 1000};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

int net_connect(const char *ip, uint16_t port)
{
	struct sockaddr_in at;
	auto_close int fd = make_socket(ip, port, false, &at);

	limit_waits(fd);
	return connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 ? TAKE_FD(fd) : -1;
}

static int hear(void *data)
{
	const struct hearing *h = data;
	struct sockaddr_in at, from;
	int fd = make_socket(h->ip, h->port, h->udp, &at);
	char text[TEXT_SIZE];
	ssize_t n = -1;

	limit_waits(fd);
	if (h->from) {
		from = (struct sockaddr_in){.sin_family = AF_INET};
		(void)inet_pton(AF_INET, h->from, &from.sin_addr);
		if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) < 0)
			return 1;
	}
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 &&
	    (!h->udp || send(fd, "hi", 2, 0) == 2))
		n = recv(fd, text, sizeof(text), 0);
	if (n < 0)
		n = snprintf(text, sizeof(text), "%s", word_for(errno));
	return write(h->fd, text, (size_t)n) != n;
}

const char *net_hear(pid_t where, const char *ip, uint16_t port, bool udp, const char *from)
{
	static char text[TEXT_SIZE];
	struct hearing h = {.ip = ip, .from = from, .port = port, .udp = udp};
	ssize_t n = 0;

	h.fd = memfd_create("hear", MFD_CLOEXEC);
	cr_assert_eq(net_at(where, hear, &h), 0);
	n = pread(h.fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	(void)close(h.fd);
	return text;
}
