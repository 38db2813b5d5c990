#include "super.h"

#include "io.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

/* No vCPU may run a moment longer on memory nobody serves: the VMM is killed here and now, the rest
 * of it is taken away from the loop's top. */
static void lose(struct super *s, const struct err *why)
{
	if (s->vm.pidfd >= 0)
		(void)proc_signal(s->vm.pidfd, SIGKILL);
	loop_remove(s->loop, &s->mem_src);
	loop_remove(s->loop, &s->mem_timer);
	super_end(s, ENDED_MEMSERVER, why);
}

/* Takes every message there is. False: the VM is lost. */
static bool listen_to(struct super *s)
{
	struct err err = {0};
	int r = 0;

	while ((r = memserver_read(s->mem_conn, &err)) > 0)
		s->mem_asked_ms = 0;
	if (r == 0)
		return true;
	(void)err_wrap(&err, "memory server");
	lose(s, &err);
	return false;
}

static void on_message(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	(void)listen_to(src->data);
}

/* What lies in the socket is heard first, and only a ping can be left without an answer: a
 * supervisor that was busy itself must not take that for the server's silence. */
static void on_tick(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct super *s = src->data;
	struct err err = {0};

	(void)loop;
	(void)events;
	if (!listen_to(s))
		return;
	if (s->mem_asked_ms && now_ms() - s->mem_asked_ms >= MEMSERVER_DEAD_MS) {
		(void)err_set(&err, ERR_FAILED, -ETIMEDOUT,
			      "memory server: no answer for %d seconds", MEMSERVER_DEAD_MS / 1000);
		lose(s, &err);
	} else if (memserver_ping(s->mem_conn, &err) < 0) {
		(void)err_wrap(&err, "memory server");
		lose(s, &err);
	} else if (!s->mem_asked_ms) {
		s->mem_asked_ms = now_ms();
	}
}

int memwatch_start(struct super *s, struct err *err)
{
	int r = loop_add(s->loop, &s->mem_src, s->mem_conn, EPOLLIN, on_message, s, err);

	s->mem_asked_ms = 0;
	if (r >= 0)
		r = loop_timer(s->loop, &s->mem_timer, MEMSERVER_PING_MS, MEMSERVER_PING_MS,
			       on_tick, s, err);
	return r;
}

void memwatch_stop(struct super *s)
{
	loop_remove(s->loop, &s->mem_src);
	loop_remove(s->loop, &s->mem_timer);
	if (s->mem_conn >= 0)
		close(s->mem_conn);
	s->mem_conn = -1;
}
