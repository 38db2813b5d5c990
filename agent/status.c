#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define CONNECTIONS_MAX 8

struct conn {
	struct status *status;
	int fd;
	struct loop_source src;
};

struct status {
	struct agent *agent;
	struct conn conns[CONNECTIONS_MAX];
	bool ready;
	int exit_code; /* -1: has not ended */
};

int status_new(struct agent *agent, struct err *err)
{
	struct status *s = xcalloc(1, sizeof(*s));

	(void)err;
	s->agent = agent;
	s->exit_code = -1;
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		s->conns[i] = (struct conn){.status = s, .fd = -1};
	agent->status = s;
	return 0;
}

static void conn_close(struct conn *c)
{
	loop_remove(c->status->agent->loop, &c->src);
	cleanup_close_p(&c->fd);
}

void status_free(struct agent *agent)
{
	if (!agent->status)
		return;
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		conn_close(&agent->status->conns[i]);
	free(TAKE_PTR(agent->status));
}

/* A few bytes into an empty socket always fit; who lets them pile up is dropped. */
static void say(struct conn *c, const char *line)
{
	if (send(c->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		conn_close(c);
}

static void say_exit(struct conn *c, int code)
{
	char line[32];

	(void)snprintf(line, sizeof(line), "exit:%d\n", code);
	say(c, line);
}

static void on_conn(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct conn *c = src->data;
	char drop[256];
	ssize_t n = recv(c->fd, drop, sizeof(drop), MSG_DONTWAIT);

	(void)loop;
	if (n == 0 || (events & (EPOLLHUP | EPOLLERR)))
		conn_close(c);
}

void status_accept(struct agent *agent, int fd)
{
	struct status *s = agent->status;
	auto_close int owned = fd;
	struct conn *c = NULL;

	for (int i = 0; i < CONNECTIONS_MAX && !c; i++)
		if (s->conns[i].fd < 0)
			c = &s->conns[i];
	if (!c || loop_add(agent->loop, &c->src, owned, EPOLLIN, on_conn, c, NULL) < 0)
		return;
	c->fd = TAKE_FD(owned);
	if (s->ready)
		say(c, "ready\n");
	if (s->exit_code >= 0 && c->fd >= 0)
		say_exit(c, s->exit_code);
}

void status_ready(struct agent *agent)
{
	struct status *s = agent->status;

	if (s->ready)
		return;
	s->ready = true;
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (s->conns[i].fd >= 0)
			say(&s->conns[i], "ready\n");
}

void status_exit(struct agent *agent, int code)
{
	struct status *s = agent->status;

	s->exit_code = code;
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (s->conns[i].fd >= 0)
			say_exit(&s->conns[i], code);
}
