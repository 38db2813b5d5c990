#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "log.h"

#define METRICS_NAME "metrics.json"
#define METRICS_NEW METRICS_NAME ".new"
#define TICK_MS 1000

static struct json_object *totals(struct server *s, struct json_object *clients)
{
	struct json_object *o = json_object_new_object();
	struct counts sum = s->ended;
	struct hist service = {0};

	hist_merge(&service, &s->service);
	for (struct conn *c = s->conns; c; c = control_next(c)) {
		const struct served *vm = control_served(c);
		struct json_object *one = vm ? served_metrics(vm) : NULL;

		if (!one)
			continue;
		json_object_array_add(clients, one);
		served_add_counts(vm, &sum, &service);
	}
	json_add_u64(o, "clients", s->clients);
	json_add_u64(o, "refused", s->refused);
	json_add_u64(o, "faults", sum.faults);
	json_add_u64(o, "copied", sum.copied);
	json_add_u64(o, "zero", sum.zero);
	json_add_u64(o, "removed", sum.removed);
	json_add_u64(o, "retried", sum.retried);
	json_add_u64(o, "p50_us", (hist_percentile(&service, 50) + 999) / 1000);
	json_add_u64(o, "p99_us", (hist_percentile(&service, 99) + 999) / 1000);
	return o;
}

struct json_object *server_metrics(struct server *s)
{
	struct json_object *o = json_object_new_object();
	struct json_object *clients = json_object_new_array();

	json_add_u64(o, "pid", (uint64_t)s->self.pid);
	json_add_str(o, "memory", s->memory);
	json_add_u64(o, "bytes", s->size);
	json_add_u64(o, "zero_pages", serve_zero_pages(s->serve));
	json_add(o, "totals", totals(s, clients));
	json_add(o, "clients", clients);
	return o;
}

/* Relative to the descriptor opened before the privileges went: no path is walked. */
static int write_metrics(const struct server *s, const char *text, struct err *err)
{
	auto_close int fd = openat(s->live_dir, METRICS_NEW,
				   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return err_sys(err, "cannot write " METRICS_NAME);
	r = file_write_fd(fd, text, strlen(text), err);
	if (r == 0 && renameat(s->live_dir, METRICS_NEW, s->live_dir, METRICS_NAME) < 0)
		r = err_sys(err, "cannot write " METRICS_NAME);
	return r;
}

/* A disk that is full must not end the serving: the file is then old, and the log says so. */
static void save_metrics(struct server *s)
{
	auto_json struct json_object *o = server_metrics(s);
	auto_free char *text = json_line(o);
	struct err err = {0};

	if (s->saved && strcmp(text, s->saved) == 0)
		return;
	if (write_metrics(s, text, &err) < 0) {
		log_debug("%s", err.msg);
		return;
	}
	free(s->saved);
	s->saved = TAKE_PTR(text);
}

static void on_tick(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct server *s = src->data;

	(void)loop;
	(void)events;
	serve_tick(s->serve);
	save_metrics(s);
}

static void on_note(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct server *s = src->data;
	struct err why = {0};
	struct served *vm = NULL;

	(void)loop;
	(void)events;
	while ((vm = serve_next_ended(s->serve, &why)))
		served_ended(vm, &why);
}

static void on_connect(struct loop *loop, struct loop_source *src, uint32_t events)
{
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err err = {0};

	(void)loop;
	(void)events;
	if (fd >= 0 && control_accept(src->data, fd, &err) < 0)
		log_debug("%s", err.msg);
}

int server_start(struct server *s, int listen_fd, struct err *err)
{
	int r = loop_new(&s->loop, err);

	if (r == 0)
		r = loop_add(s->loop, &s->listen, listen_fd, EPOLLIN, on_connect, s, err);
	if (r < 0) {
		(void)close(listen_fd);
		return r;
	}
	r = loop_add(s->loop, &s->note, serve_note_fd(s->serve), EPOLLIN, on_note, s, err);
	if (r == 0)
		r = loop_timer(s->loop, &s->tick, TICK_MS, TICK_MS, on_tick, s, err);
	if (r == 0)
		save_metrics(s);
	return r;
}

void server_free(struct server *s)
{
	int listen_fd = s->loop && s->listen.generation ? s->listen.fd : -1;

	if (s->loop) {
		control_free_all(s);
		save_metrics(s);
	}
	loop_free_p(&s->loop);
	serve_free(s->serve);
	s->serve = NULL;
	cleanup_close_p(&listen_fd);
	cleanup_close_p(&s->live_dir);
	free(s->saved);
	s->saved = NULL;
}
