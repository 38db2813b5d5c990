#include "fc_metrics.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "words.h"
#include "xalloc.h"

#define CHUNK_MAX 65536u
#define SAVE_EVERY_MS 1000u

int fc_metrics_open(struct fc_metrics *m, const char *path, const char *name, int *ret_write_fd,
		    struct err *err)
{
	int r = words_pipe(name, &m->fd, ret_write_fd, err);

	if (r < 0)
		return r;
	m->path = xstrdup(path);
	m->in = (struct buf)BUF_INIT(FC_METRICS_LINE_MAX + CHUNK_MAX);
	return 0;
}

static void save(struct fc_metrics *m, const char *line, size_t len)
{
	auto_json struct json_object *o = NULL;

	if (m->saved_ms && now_ms() - m->saved_ms < SAVE_EVERY_MS)
		return;
	if (json_parse(line, len, &o, NULL) < 0 || !json_object_is_type(o, json_type_object))
		return;
	/* A full disk must not end the VM. */
	(void)json_save(m->path, o, NULL);
	m->saved_ms = now_ms();
}

/* The last whole line of what is there; what stands behind it waits for its end. */
static void take_lines(struct fc_metrics *m)
{
	const char *end = m->in.len ? memrchr(m->in.data, '\n', m->in.len) : NULL;
	size_t whole = end ? (size_t)(end - m->in.data) : 0;
	const char *before = whole ? memrchr(m->in.data, '\n', whole) : NULL;
	size_t from = before ? (size_t)(before - m->in.data) + 1 : 0;

	if (end) {
		save(m, m->in.data + from, whole - from);
		buf_consume(&m->in, whole + 1);
	} else if (m->in.len > FC_METRICS_LINE_MAX) {
		buf_reset(&m->in);
	}
}

static void on_metrics(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct fc_metrics *m = src->data;
	char chunk[CHUNK_MAX];
	ssize_t n = read(m->fd, chunk, sizeof(chunk));

	(void)events;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		loop_remove(loop, src);
		return;
	}
	if (n > 0) {
		buf_add(&m->in, chunk, (size_t)n);
		take_lines(m);
	}
}

int fc_metrics_watch(struct fc_metrics *m, struct loop *loop, struct err *err)
{
	int r = loop_add(loop, &m->src, m->fd, EPOLLIN, on_metrics, m, err);

	if (r == 0)
		m->loop = loop;
	return r;
}

void fc_metrics_close(struct fc_metrics *m)
{
	if (m->loop)
		loop_remove(m->loop, &m->src);
	m->loop = NULL;
	cleanup_close_p(&m->fd);
	buf_free(&m->in);
	free(m->path);
	m->path = NULL;
}
