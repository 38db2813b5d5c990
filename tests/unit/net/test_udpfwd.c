#include "udpfwd.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "net.h"
#include "netns.h"
#include "user.h"
#include "userns.h"

#define PLACE "127.66.7.7"

static int say(const char *text)
{
	(void)dprintf(STDOUT_FILENO, "%s\n", text);
	return -1;
}

static struct sockaddr_in place(const char *ip, uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};

	(void)inet_pton(AF_INET, ip, &at.sin_addr);
	return at;
}

/* Both ends of the inside are lo's: the guest is a socket. */
static bool give(const char *alias, const char *ip)
{
	auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_in at = place(ip, 0);
	struct ifreq req = {0};

	(void)snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", alias);
	memcpy(&req.ifr_addr, &at, sizeof(at));
	return sock >= 0 && ioctl(sock, SIOCSIFADDR, &req) == 0;
}

struct bed {
	struct outside *outside;
	struct loop *loop;
	struct udpfwd *u;
	int guest;
};

static int bed_make(struct bed *b, uint16_t guest_port)
{
	const struct sockaddr_in at = place(NET_GUEST_IP, guest_port);
	const struct rlimit files = {4096, 4096};
	struct err err = {0};
	int tap = -1;

	(void)setrlimit(RLIMIT_NOFILE, &files);
	b->guest = -1;
	if (outside_start(&b->outside, &err) < 0 || userns_enter(&err) < 0 ||
	    netns_enter(&tap, &err) < 0 || loop_new(&b->loop, &err) < 0)
		return say(err.msg);
	if (!give("lo:1", NET_GUEST_IP) || !give("lo:2", NET_DNS_IP))
		return say("no addresses");
	b->guest = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(b->guest, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return say("no guest");
	b->u = udpfwd_new(b->outside);
	return 0;
}

static void bed_free(struct bed *b)
{
	udpfwd_free(b->u);
	outside_stop(b->outside);
	loop_free_p(&b->loop);
	(void)close(b->guest);
}

static int caller(struct bed *b)
{
	struct err err = {0};
	int fd = -1;
	const struct sockaddr_in at = place(PLACE, 5353);

	if (outside_socket(b->outside, AF_INET, SOCK_DGRAM, &fd, &err) < 0 ||
	    connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return say(err.msg);
	return fd;
}

/* What it asks gets to the guest, whose answer gets back. */
static bool talk(struct bed *b, int fd, char word)
{
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);
	char got = 0;

	(void)send(fd, &word, 1, 0);
	(void)loop_once(b->loop, 1000, NULL);
	if (recvfrom(b->guest, &got, 1, 0, (struct sockaddr *)&from, &len) != 1 || got != word)
		return false;
	got++;
	(void)sendto(b->guest, &got, 1, 0, (const struct sockaddr *)&from, len);
	(void)loop_once(b->loop, 1000, NULL);
	return recv(fd, &got, 1, MSG_DONTWAIT) == 1 && got == word + 1;
}

static int forward(void *data)
{
	const struct net_port port = {
		.host_ip = PLACE, .host_port = 5353, .guest_port = 53, .udp = true};
	struct err err = {0};
	uint64_t id = 0, other = 0;
	struct bed b;
	char byte;

	(void)data;
	if (bed_make(&b, 53) < 0 || udpfwd_add(b.u, &port, &id, &err) < 0)
		return say(err.msg);
	if (udpfwd_add(b.u, &port, &other, &err) == -EADDRINUSE)
		say(err.msg);
	if (udpfwd_serve(b.u, b.loop, &err) < 0)
		return say(err.msg);
	int first = caller(&b), second = caller(&b);

	say(talk(&b, first, 'a') && talk(&b, second, 'm') && talk(&b, first, 'c') ? "both" : "?");
	say(recv(second, &byte, 1, MSG_DONTWAIT) < 0 ? "each their own" : "mixed up");
	udpfwd_remove(b.u, id);
	say(talk(&b, first, 'e') ? "still there" : "closed");
	udpfwd_remove(b.u, id);
	say(udpfwd_add(b.u, &port, &id, &err) == 0 && talk(&b, second, 'g') ? "open again" : "?");
	bed_free(&b);
	return 0;
}

static void in_a_bed(int (*fn)(void *data), const char *want)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "udpfwd");
	user_own_network();
	user_open_tun();
	user_call(&u, fn, NULL, &out);
	cr_expect_str_eq(buf_str(&out), want);
}

Test(udpfwd, every_caller_hears_the_guests_answer_and_nobody_elses)
{
	in_a_bed(forward, "cannot publish " PLACE ":5353/udp: Address already in use\n"
			  "both\neach their own\nclosed\nopen again\n");
}

static int crowd(void *data)
{
	const struct net_port port = {
		.host_ip = PLACE, .host_port = 5353, .guest_port = 53, .udp = true};
	struct err err = {0};
	uint64_t id = 0;
	struct bed b;
	size_t heard = 0;

	(void)data;
	if (bed_make(&b, 53) < 0 || udpfwd_add(b.u, &port, &id, &err) < 0 ||
	    udpfwd_serve(b.u, b.loop, &err) < 0)
		return say(err.msg);
	for (size_t i = 0; i < UDPFWD_CALLERS_MAX + 10; i++) {
		int fd = caller(&b);

		heard += talk(&b, fd, 'a');
		(void)close(fd);
	}
	say(heard == UDPFWD_CALLERS_MAX + 10 ? "all were heard" : "some were not");
	bed_free(&b);
	return 0;
}

Test(udpfwd, more_callers_than_fit_make_room_for_each_other)
{
	in_a_bed(crowd, "all were heard\n");
}
