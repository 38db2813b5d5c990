#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "gates.h"
#include "user.h"

/* 10.0.0.1 in this test's own network: its connections to itself are not loopback's. */
static void make_network(void)
{
	auto_close int sock = -1;
	struct ifreq req = {.ifr_name = "lo:1"};
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}};

	if (geteuid() != 0)
		cr_skip_test("needs root");
	user_own_network();
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(&req.ifr_addr, &addr, sizeof(addr));
	cr_assert_eq(ioctl(sock, SIOCSIFADDR, &req), 0);
}

static void connect_to_self(int ret_fds[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}};
	socklen_t len = sizeof(addr);
	auto_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(ret_fds[0], (struct sockaddr *)&addr, sizeof(addr)), 0);
	ret_fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert_geq(ret_fds[1], 0);
}

/* The kernel's list of connections: how many are in the state. */
static int count_state(unsigned int state)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	int n = 0;

	cr_assert_eq(file_read("/proc/net/tcp", text.max - 1, &text, NULL), 0);
	for (const char *line = strchr(buf_str(&text), '\n'); line && line[1];
	     line = strchr(line + 1, '\n')) {
		unsigned int st;

		cr_assert_eq(sscanf(line, " %*u: %*x:%*x %*x:%*x %x", &st), 1);
		n += st == state;
	}
	return n;
}

/* Its file is closed and its peer is gone without a word, as after a restore: a timewait socket of
 * the kernel's, listed as FIN_WAIT2. */
static void orphan(int fds[2])
{
	static const int on = 1;
	char c;

	cr_assert_eq(shutdown(fds[0], SHUT_WR), 0);
	cr_assert_eq(recv(fds[1], &c, 1, 0), 0);
	/* The acknowledgement comes with it. */
	cr_assert_eq(send(fds[1], "x", 1, MSG_NOSIGNAL), 1);
	cr_assert_eq(recv(fds[0], &c, 1, 0), 1);
	cr_assert_eq(close(fds[0]), 0);
	cr_assert_eq(setsockopt(fds[1], IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	cr_assert_eq(close(fds[1]), 0);
}

/* A kernel 6.1 cannot end a timewait socket, a newer one would. */
Test(gate_sockets, ends_what_is_alive_and_leaves_an_orphan_that_only_waits)
{
	int orphaned[2], alive[2];
	struct err err = {0};

	make_network();
	connect_to_self(orphaned);
	orphan(orphaned);
	connect_to_self(alive);
	cr_assert_eq(count_state(TCP_ESTABLISHED), 2);
	cr_assert_eq(count_state(TCP_FIN_WAIT2), 1);
	cr_expect_eq(gate_sockets(&err), 0, "%s", err.msg);
	cr_expect_eq(count_state(TCP_ESTABLISHED), 0);
	cr_expect_eq(count_state(TCP_FIN_WAIT2), 1);
}
