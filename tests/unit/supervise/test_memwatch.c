#include "super.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"

/* A supervisor that is nothing but its connection to a memory server; the other end is ours. */
static int watch(struct super *s)
{
	int fds[2];

	*s = (struct super){.mem_conn = -1, .vm.pidfd = -1};
	cr_assert_geq(loop_new(&s->loop, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	s->mem_conn = fds[0];
	cr_assert_geq(memwatch_start(s, NULL), 0);
	return fds[1];
}

static void end(struct super *s)
{
	memwatch_stop(s);
	loop_free_p(&s->loop);
}

/* As if the loop had not come round for as long as that. */
static void tick_after(struct super *s, uint64_t ms)
{
	s->mem_asked_ms -= s->mem_asked_ms ? ms : 0;
	s->mem_timer.fn(s->loop, &s->mem_timer, 0);
}

Test(memwatch, a_supervisor_that_was_busy_itself_does_not_take_that_for_silence)
{
	struct super s;
	auto_close int server = watch(&s);

	cr_assert_geq(server, 0);
	tick_after(&s, MEMSERVER_DEAD_MS);
	cr_expect_eq(s.ending, ENDED_NOT, "%s", s.end_err.msg);
	end(&s);
}

Test(memwatch, a_ping_without_an_answer_ends_the_vm_in_time)
{
	struct super s;
	auto_close int server = watch(&s);

	cr_assert_geq(server, 0);
	tick_after(&s, 0);
	tick_after(&s, MEMSERVER_DEAD_MS / 2);
	cr_expect_eq(s.ending, ENDED_NOT, "%s", s.end_err.msg);
	tick_after(&s, MEMSERVER_DEAD_MS / 2);
	cr_expect_eq(s.ending, ENDED_MEMSERVER);
	cr_expect_str_eq(s.end_err.msg, "memory server: no answer for 10 seconds");
	end(&s);
}

Test(memwatch, a_server_that_hangs_up_ends_the_vm_at_once)
{
	struct super s;
	auto_close int server = watch(&s);

	cr_assert_geq(server, 0);
	cleanup_close_p(&server);
	cr_assert_geq(loop_once(s.loop, 1000, NULL), 1);
	cr_expect_eq(s.ending, ENDED_MEMSERVER);
	cr_expect_str_eq(s.end_err.msg, "memory server: the page server is gone");
	end(&s);
}
