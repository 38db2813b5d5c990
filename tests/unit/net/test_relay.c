/* The relay's bounds, in this process: its names are tested in test_names.c. */
#include "relay_priv.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "net_place.h"
#include "run.h"

#define AT "127.0.0.2"

static const uint8_t query[] = {0x12, 0x34, 1, 0,   0,   1,   0,   0, 0, 0, 0, 0,
				1,    'x',  4, 't', 'e', 's', 't', 0, 0, 1, 0, 1};

struct world {
	struct loop *loop;
	struct relay *relay;
	int asked; /* sockets of the host's side */
};

static int host_socket(void *data, int family, int type)
{
	struct world *w = data;

	w->asked++;
	return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int grant(void *data, const struct grants *fresh)
{
	(void)data;
	(void)fresh;
	return -1;
}

/* Resolvers that say nothing: a socket that nobody reads. */
static void make(struct world *w)
{
	const struct relay_spec spec = {.host_socket = host_socket, .grant = grant, .data = w};
	struct relay_spec mine = spec;
	auto_net_config struct net_config c = {.mode = NET_BRIDGED};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("port 53 needs root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	net_ip_at(0, "link set lo up");
	*w = (struct world){0};
	strv_add(&c.dns, "127.0.0.3");
	(void)inet_pton(AF_INET, "127.0.0.3", &at.sin_addr);
	int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(silent, (const struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_geq(loop_new(&w->loop, &err), 0);
	mine.loop = w->loop;
	cr_assert_geq(relay_new(&mine, AT, &c, &w->relay, &err), 0, "%s", err.msg);
}

static void unmake(struct world *w)
{
	relay_free(w->relay);
	loop_free_p(&w->loop);
}

static int dial(int type)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	(void)inet_pton(AF_INET, AT, &at.sin_addr);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void settle(struct world *w)
{
	while (loop_once(w->loop, 0, NULL) > 0)
		continue;
}

Test(relay, a_flood_of_queries_is_bounded)
{
	struct world w;

	make(&w);
	int fd = dial(SOCK_DGRAM);

	for (unsigned int i = 0; i < RELAY_QUERIES_MAX + 50; i++) {
		cr_assert_eq(send(fd, query, sizeof(query), 0), (ssize_t)sizeof(query));
		settle(&w);
	}
	cr_expect_eq(w.relay->n_exchanges, (size_t)RELAY_QUERIES_MAX);
	relay_udp_tick(w.relay, UINT64_MAX);
	cr_expect_eq(w.relay->n_exchanges, 0u, "nobody answered in time");
	unmake(&w);
	(void)close(fd);
}

Test(relay, what_is_no_query_is_dropped_without_a_word)
{
	struct world w;
	uint8_t big[DNS_QUERY_MAX + 500] = {0};
	char c = 0;

	make(&w);
	int fd = dial(SOCK_DGRAM);

	memcpy(big, query, sizeof(query));
	cr_assert_gt(send(fd, big, sizeof(big), 0), 0);
	cr_assert_gt(send(fd, query, 11, 0), 0);
	cr_assert_gt(send(fd, "", 0, 0), -1);
	settle(&w);
	cr_expect_eq(w.asked, 0);
	cr_expect_lt(recv(fd, &c, 1, MSG_DONTWAIT), 0);
	unmake(&w);
	(void)close(fd);
}

Test(relay, tcp_connections_are_bounded_and_bad_ones_end)
{
	struct world w;
	int fds[RELAY_CLIENTS_MAX + 4];
	char c = 0;

	make(&w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial(SOCK_STREAM);
		settle(&w);
	}
	cr_expect_eq(w.relay->n_clients, (size_t)RELAY_CLIENTS_MAX);
	cr_expect_eq(recv(fds[RELAY_CLIENTS_MAX], &c, 1, MSG_DONTWAIT), 0, "it was closed");
	cr_assert_eq(send(fds[0], "\xff\xff", 2, 0), 2); /* 65535 bytes are announced */
	for (int i = 0; i < 20 && w.relay->n_clients == RELAY_CLIENTS_MAX; i++) {
		char much[2048] = {0};

		(void)send(fds[0], much, sizeof(much), MSG_NOSIGNAL);
		settle(&w);
	}
	cr_expect_eq(w.relay->n_clients, (size_t)RELAY_CLIENTS_MAX - 1);
	cr_assert_eq(send(fds[1], "\0\3abc", 5, 0), 5); /* no query */
	settle(&w);
	cr_expect_eq(w.relay->n_clients, (size_t)RELAY_CLIENTS_MAX - 2);
	relay_tcp_tick(w.relay, UINT64_MAX);
	cr_expect_eq(w.relay->n_clients, 0u, "they said nothing");
	unmake(&w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}
