#include "loop.h"

#include "cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *new_loop(void)
{
	struct loop *loop = NULL;

	cr_assert_eq(loop_new(&loop, NULL), 0);
	return loop;
}

static int ready_fd(void)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	cr_assert_geq(fd, 0);
	return fd;
}

static void count(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	++*(int *)src->data;
}

static void stop_with_7(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)src;
	(void)events;
	loop_stop(loop, 7);
}

Test(loop, delivers_what_is_ready_and_nothing_else)
{
	auto_loop struct loop *loop = new_loop();
	auto_close int a = ready_fd();
	auto_close int b = eventfd(0, EFD_CLOEXEC);
	struct loop_source sa = {0}, sb = {0};
	int na = 0, nb = 0;

	cr_expect_eq(loop_once(loop, 0, NULL), 0, "an empty loop times out");
	cr_assert_eq(loop_add(loop, &sa, a, EPOLLIN, count, &na, NULL), 0);
	cr_assert_eq(loop_add(loop, &sb, b, EPOLLIN, count, &nb, NULL), 0);
	cr_expect_eq(loop_once(loop, 0, NULL), 1);
	cr_expect_eq(loop_once(loop, 0, NULL), 1, "level-triggered");
	cr_expect(na == 2 && nb == 0);
}

Test(loop, interest_may_change_and_be_none)
{
	auto_loop struct loop *loop = new_loop();
	auto_close int a = ready_fd();
	struct loop_source s = {0};
	int n = 0;

	cr_expect_eq(loop_mod(loop, &s, EPOLLIN), -ENOENT, "not registered");
	cr_assert_eq(loop_add(loop, &s, a, EPOLLIN, count, &n, NULL), 0);
	cr_assert_eq(loop_mod(loop, &s, 0), 0);
	cr_expect_eq(loop_once(loop, 0, NULL), 0);
	cr_assert_eq(loop_mod(loop, &s, EPOLLIN), 0);
	cr_expect_eq(loop_once(loop, 0, NULL), 1);
	cr_expect_eq(n, 1);
}

Test(loop, a_source_is_in_one_loop_once)
{
	auto_loop struct loop *loop = new_loop();
	auto_close int a = ready_fd();
	struct loop_source s = {0};
	struct err err = {0};
	int n = 0;

	cr_assert_eq(loop_add(loop, &s, a, EPOLLIN, count, &n, NULL), 0);
	cr_expect_eq(loop_add(loop, &s, a, EPOLLIN, count, &n, &err), -EEXIST);
	loop_remove(loop, &s);
	loop_remove(loop, &s);
	cr_expect_eq(s.events, 0);
	cr_expect_eq(loop_once(loop, 0, NULL), 0);
	cr_expect_eq(loop_add(loop, &s, a, EPOLLIN, count, &n, NULL), 0, "and again after removal");
}

Test(loop, a_descriptor_that_cannot_be_watched_is_refused)
{
	auto_loop struct loop *loop = new_loop();
	struct loop_source s = {0};
	struct err err = {0};

	cr_expect_eq(loop_add(loop, &s, 9999, EPOLLIN, count, NULL, &err), -EBADF);
	cr_expect_str_eq(err.msg, "cannot watch descriptor 9999: Bad file descriptor");
	auto_close int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	cr_expect_eq(loop_add(loop, &s, file, EPOLLIN, count, NULL, &err), -EPERM);
	cr_expect_eq(s.generation, 0);
}

/* --- removal inside handlers: events are fetched already --- */

struct group {
	struct loop_source src[8];
	int calls;
};

static void remove_all(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct group *g = src->data;

	(void)events;
	g->calls++;
	for (size_t i = 0; i < 8; i++)
		loop_remove(loop, &g->src[i]);
}

Test(loop, whoever_removes_all_is_the_last_one_called)
{
	auto_loop struct loop *loop = new_loop();
	struct group g = {0};
	int fds[8];

	for (size_t i = 0; i < 8; i++) {
		fds[i] = ready_fd();
		cr_assert_eq(loop_add(loop, &g.src[i], fds[i], EPOLLIN, remove_all, &g, NULL), 0);
	}
	cr_expect_eq(loop_once(loop, 0, NULL), 8);
	cr_expect_eq(g.calls, 1);
	cr_expect_eq(loop_once(loop, 0, NULL), 0);
	for (size_t i = 0; i < 8; i++)
		close(fds[i]);
}

struct conn {
	struct loop_source src;
	struct conn **peer; /* freed by whoever runs first */
	int *calls;
};

static void free_peer(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct conn *c = src->data;

	(void)events;
	++*c->calls;
	loop_remove(loop, &(*c->peer)->src);
	close((*c->peer)->src.fd);
	free(*c->peer);
	*c->peer = NULL;
	loop_remove(loop, src);
}

/* Under ASan, a look at the freed source would end the test. */
Test(loop, a_source_freed_by_another_handler_is_never_looked_at)
{
	auto_loop struct loop *loop = new_loop();
	struct conn *c[2];
	int calls = 0;

	for (size_t i = 0; i < 2; i++) {
		c[i] = calloc(1, sizeof(*c[i]));
		c[i]->calls = &calls;
		c[i]->peer = &c[1 - i];
		cr_assert_eq(loop_add(loop, &c[i]->src, ready_fd(), EPOLLIN, free_peer, c[i], NULL),
			     0);
	}
	cr_expect_eq(loop_once(loop, 0, NULL), 2);
	cr_expect_eq(calls, 1);
	struct conn *left = c[0] ? c[0] : c[1];
	close(left->src.fd);
	free(left);
}

static void readd_second(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct group *g = src->data;
	struct loop_source *other = src == &g->src[0] ? &g->src[1] : &g->src[0];
	int fd = other->fd;

	(void)events;
	g->calls++;
	loop_remove(loop, other);
	/* The same struct, the same slot, another registration. */
	cr_assert_eq(loop_add(loop, other, fd, EPOLLIN, readd_second, g, NULL), 0);
}

Test(loop, an_event_of_an_earlier_registration_is_not_delivered_to_the_next)
{
	auto_loop struct loop *loop = new_loop();
	auto_close int a = ready_fd();
	auto_close int b = ready_fd();
	struct group g = {0};

	cr_assert_eq(loop_add(loop, &g.src[0], a, EPOLLIN, readd_second, &g, NULL), 0);
	cr_assert_eq(loop_add(loop, &g.src[1], b, EPOLLIN, readd_second, &g, NULL), 0);
	cr_expect_eq(loop_once(loop, 0, NULL), 2);
	cr_expect_eq(g.calls, 1);
}

Test(loop, a_descriptor_closed_before_removal_but_open_elsewhere_stays_silent)
{
	auto_loop struct loop *loop = new_loop();
	int fd = ready_fd();
	auto_close int twin = dup(fd); /* keeps epoll's registration alive */
	struct loop_source *src = calloc(1, sizeof(*src));
	int n = 0;

	cr_assert_geq(twin, 0);
	cr_assert_eq(loop_add(loop, src, fd, EPOLLIN, count, &n, NULL), 0);
	close(fd);
	loop_remove(loop, src);
	free(src);
	(void)loop_once(loop, 0, NULL);
	cr_expect_eq(n, 0);
}

Test(loop, hundreds_of_sources_come_and_go)
{
	auto_loop struct loop *loop = new_loop();
	static struct loop_source src[300];
	int n = 0, fds[300];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 300; i++) {
			fds[i] = ready_fd();
			cr_assert_eq(loop_add(loop, &src[i], fds[i], EPOLLIN, count, &n, NULL), 0);
		}
		n = 0;
		for (int i = 0; i < 20 && n < 300; i++)
			(void)loop_once(loop, 0, NULL);
		cr_expect_geq(n, 300);
		for (size_t i = 0; i < 300; i++) {
			loop_remove(loop, &src[i]);
			close(fds[i]);
		}
		cr_expect_eq(loop_once(loop, 0, NULL), 0);
	}
}

/* --- stop --- */

Test(loop, run_returns_the_value_given_to_stop_and_can_run_again)
{
	auto_loop struct loop *loop = new_loop();
	auto_close int a = ready_fd();
	struct loop_source s = {0};

	cr_assert_eq(loop_add(loop, &s, a, EPOLLIN, stop_with_7, NULL, NULL), 0);
	cr_expect_eq(loop_run(loop, NULL), 7);
	cr_expect_eq(loop_run(loop, NULL), 7);
	loop_remove(loop, &s);
	loop_stop(loop, 3);
	cr_expect_eq(loop_run(loop, NULL), 3, "a stop before the run counts");
}

Test(loop, nothing_is_delivered_after_a_stop)
{
	auto_loop struct loop *loop = new_loop();
	struct loop_source s[2] = {0};
	auto_close int a = ready_fd();
	auto_close int b = ready_fd();
	int n = 0;

	cr_assert_eq(loop_add(loop, &s[0], a, EPOLLIN, stop_with_7, NULL, NULL), 0);
	cr_assert_eq(loop_add(loop, &s[1], b, EPOLLIN, count, &n, NULL), 0);
	cr_expect_eq(loop_run(loop, NULL), 7);
	int before = n;
	loop_remove(loop, &s[0]);
	(void)loop_once(loop, 0, NULL);
	cr_expect_eq(n, before + 1, "it comes again");
}

/* --- timers, signals, children --- */

Test(loop, a_one_shot_timer_fires_once_also_when_due_at_once, .timeout = 30)
{
	auto_loop struct loop *loop = new_loop();
	struct loop_source t = {0};
	int n = 0;

	cr_assert_eq(loop_timer(loop, &t, 0, 0, count, &n, NULL), 0);
	cr_expect_eq(loop_once(loop, -1, NULL), 1);
	cr_expect_eq(loop_once(loop, 20, NULL), 0);
	cr_expect_eq(n, 1);
	cr_assert_eq(loop_timer(loop, &t, 1, 0, count, &n, NULL), 0, "armed again");
	cr_expect_eq(loop_once(loop, -1, NULL), 1);
	cr_expect_eq(n, 2);
}

Test(loop, a_periodic_timer_goes_on_until_removed, .timeout = 30)
{
	auto_loop struct loop *loop = new_loop();
	struct loop_source t = {0};
	int n = 0;

	cr_assert_eq(loop_timer(loop, &t, 1, 1, count, &n, NULL), 0);
	while (n < 5)
		(void)loop_once(loop, -1, NULL);
	int fd = t.fd;
	loop_remove(loop, &t);
	cr_expect_eq(fcntl(fd, F_GETFD), -1, "its descriptor is closed");
	cr_expect_eq(loop_once(loop, 5, NULL), 0);
}

static void rearm_other(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct group *g = src->data;
	struct loop_source *other = src == &g->src[0] ? &g->src[1] : &g->src[0];

	(void)events;
	g->calls++;
	cr_assert_eq(loop_timer(loop, other, 3600000, 0, rearm_other, g, NULL), 0);
}

Test(loop, a_timer_put_off_by_an_earlier_handler_does_not_fire, .timeout = 30)
{
	auto_loop struct loop *loop = new_loop();
	struct group g = {0};
	int n;

	cr_assert_eq(loop_timer(loop, &g.src[0], 1, 0, rearm_other, &g, NULL), 0);
	cr_assert_eq(loop_timer(loop, &g.src[1], 1, 0, rearm_other, &g, NULL), 0);
	/* Both have to be due when the loop looks. */
	struct timespec ts = {.tv_nsec = 20000000};
	nanosleep(&ts, NULL);
	n = loop_once(loop, -1, NULL);
	cr_expect_eq(n, 2);
	cr_expect_eq(g.calls, 1);
}

Test(loop, timers_left_over_are_closed_with_the_loop)
{
	struct loop *loop = new_loop();
	struct loop_source *t = calloc(1, sizeof(*t));
	int n = 0;

	cr_assert_eq(loop_timer(loop, t, 1000, 0, count, &n, NULL), 0);
	int fd = t->fd;
	free(t); /* gone before the loop: it must not be looked at */
	loop_free_p(&loop);
	cr_expect_null(loop);
	cr_expect_eq(fcntl(fd, F_GETFD), -1);
}

static void read_signal(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	cr_assert_eq(read(src->fd, &info, sizeof(info)), sizeof(info));
	loop_stop(loop, (int)info.ssi_signo);
}

Test(loop, signals_are_events, .timeout = 30)
{
	auto_loop struct loop *loop = new_loop();
	struct loop_source s = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	cr_assert_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	cr_assert_eq(loop_signals(loop, &s, &set, read_signal, NULL, NULL), 0);
	cr_assert_eq(kill(getpid(), SIGUSR1), 0);
	cr_expect_eq(loop_run(loop, NULL), SIGUSR1);
}

Test(loop, the_end_of_a_child_is_an_event, .timeout = 30)
{
	auto_loop struct loop *loop = new_loop();
	struct loop_source s = {0};
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	cr_assert_eq(loop_add(loop, &s, pidfd, EPOLLIN, stop_with_7, NULL, NULL), 0);
	cr_expect_eq(loop_run(loop, NULL), 7);
	waitpid(pid, NULL, 0);
}
