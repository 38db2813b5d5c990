#include "vmlogs.h"

#include "cleanup.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "logfile.h"
#include "parse.h"
#include "proto.h"
#include "tlv.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHUNK 65536u
#define BODY_MAX AGENT_CONTROL_MAX
#define LINE_WHOLE_MAX (16u << 10) /* the agent cuts longer lines at this */
#define TAIL_MAX 400u
#define DRAIN_MAX (8u << 20) /* bytes taken in after the VM has ended */

struct container_log {
	char *name;
	struct logfile file;
};

struct vmlogs {
	struct loop *loop;
	char *dir;
	struct loop_source agent, console;
	bool has_agent, has_console;
	struct buf in;
	struct container_log named[VMLOGS_NAMES_MAX];
	size_t n_named;
	struct logfile console_file;
	struct buf tail; /* of the console */
	uint64_t received;
};

int vmlogs_new(struct loop *loop, const char *dir, struct vmlogs **ret, struct err *err)
{
	auto_free char *sub = path_join(dir, "logs"), *console = path_join(dir, "console.log");
	struct vmlogs *l = NULL;
	int r = file_mkdir_p(sub, 0700, err);

	if (r < 0)
		return r;
	l = xcalloc(1, sizeof(*l));
	l->loop = loop;
	l->dir = TAKE_PTR(sub);
	l->in = (struct buf)BUF_INIT(FRAME_HEAD_SIZE + BODY_MAX + CHUNK);
	l->tail = (struct buf)BUF_INIT(TAIL_MAX + CHUNK);
	logfile_init(&l->console_file, console, VMLOGS_CONSOLE_MAX);
	*ret = l;
	return 0;
}

static void drop_agent(struct vmlogs *l)
{
	if (!l->has_agent)
		return;
	loop_remove(l->loop, &l->agent);
	close(l->agent.fd);
	l->has_agent = false;
	buf_reset(&l->in);
}

static void drop_console(struct vmlogs *l)
{
	if (!l->has_console)
		return;
	loop_remove(l->loop, &l->console);
	close(l->console.fd);
	l->has_console = false;
}

void vmlogs_free(struct vmlogs *l)
{
	if (!l)
		return;
	drop_agent(l);
	drop_console(l);
	for (size_t i = 0; i < l->n_named; i++) {
		logfile_free(&l->named[i].file);
		free(l->named[i].name);
	}
	logfile_free(&l->console_file);
	buf_free(&l->in);
	buf_free(&l->tail);
	free(l->dir);
	free(l);
}

/* NULL: not a name of ours, or one too many. */
static struct logfile *file_of(struct vmlogs *l, const char *name)
{
	struct container_log *c = NULL;

	for (size_t i = 0; i < l->n_named; i++)
		if (strcmp(l->named[i].name, name) == 0)
			return &l->named[i].file;
	if (l->n_named == VMLOGS_NAMES_MAX || !parse_is_name(name))
		return NULL;
	auto_free char *leaf = xasprintf("%s.log", name), *path = path_join(l->dir, leaf);

	c = &l->named[l->n_named++];
	c->name = xstrdup(name);
	logfile_init(&c->file, path, VMLOGS_FILE_MAX);
	return &c->file;
}

struct line {
	char *name;
	uint64_t stream, unix_ns;
	const uint8_t *data;
	size_t len;
};

static int take_field(struct line *line, const struct tlv *t, struct err *err)
{
	switch (t->tag) {
	case TAG_NAME:
		free(line->name);
		line->name = NULL;
		return tlv_str(t, 63, &line->name, err);
	case TAG_STREAM:
		return tlv_u64(t, &line->stream, err);
	case TAG_UNIX_NS:
		return tlv_u64(t, &line->unix_ns, err);
	case TAG_DATA:
		line->data = t->value;
		line->len = t->len;
		return 0;
	default:
		return 0;
	}
}

static int take_log(struct vmlogs *l, const struct frame *f, struct err *err)
{
	struct line line = {0};
	struct logfile *file = NULL;
	size_t pos = 0;
	struct tlv t = {0};
	int r = 0;

	while ((r = tlv_next(f->body, f->len, &pos, &t, err)) > 0 && r >= 0) {
		r = take_field(&line, &t, err);
		if (r < 0)
			break;
	}
	if (r >= 0 && line.name && line.data)
		file = file_of(l, line.name);
	if (file) {
		const struct logfile_line out = {
			.unix_ns = line.unix_ns,
			.is_stderr = line.stream == 2,
			.partial = line.len >= LINE_WHOLE_MAX,
			.text = (const char *)line.data,
			.len = line.len,
		};

		logfile_add(file, &out);
	}
	free(line.name);
	return r;
}

/* Taken off the buffer all at once: tiny frames must not make us move it for each of them. */
static int take_frames(struct vmlogs *l)
{
	size_t at = 0;
	int r = 0;

	for (;;) {
		struct frame f = {0};
		size_t used = 0;

		r = frame_get((const uint8_t *)buf_str(&l->in) + at, l->in.len - at, BODY_MAX, &f,
			      &used, NULL);
		if (r > 0 && f.type == MSG_LOG)
			r = take_log(l, &f, NULL) < 0 ? -EBADMSG : 1;
		if (r <= 0)
			break;
		at += used;
	}
	buf_consume(&l->in, at);
	for (size_t i = 0; i < l->n_named; i++)
		logfile_flush(&l->named[i].file);
	return r;
}

/* Bytes taken; 0: nothing there now; negative: the connection is over. */
static ssize_t read_agent(struct vmlogs *l)
{
	uint8_t chunk[CHUNK];
	ssize_t n = read(l->agent.fd, chunk, sizeof(chunk));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	buf_add(&l->in, chunk, (size_t)n);
	l->received += (uint64_t)n;
	return take_frames(l) < 0 ? -EBADMSG : n;
}

static ssize_t read_console(struct vmlogs *l)
{
	uint8_t chunk[CHUNK];
	ssize_t n = read(l->console.fd, chunk, sizeof(chunk));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	buf_add(&l->console_file.pending, chunk, (size_t)n);
	logfile_flush(&l->console_file);
	buf_add(&l->tail, chunk, (size_t)n);
	if (l->tail.len > TAIL_MAX)
		buf_consume(&l->tail, l->tail.len - TAIL_MAX);
	return n;
}

static void on_agent(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct vmlogs *l = src->data;

	(void)loop;
	(void)events;
	if (read_agent(l) < 0)
		drop_agent(l);
}

static void on_console(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct vmlogs *l = src->data;

	(void)loop;
	(void)events;
	if (read_console(l) < 0)
		drop_console(l);
}

int vmlogs_attach(struct vmlogs *l, int fd, struct err *err)
{
	auto_close int owned = fd;
	int r = 0;

	drop_agent(l);
	r = loop_add(l->loop, &l->agent, fd, EPOLLIN, on_agent, l, err);
	if (r < 0)
		return r;
	(void)TAKE_FD(owned);
	l->has_agent = true;
	return 0;
}

int vmlogs_console(struct vmlogs *l, int *ret_write_fd, struct err *err)
{
	int fds[2] = {-1, -1}, r = 0;

	drop_console(l);
	buf_reset(&l->tail);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make the console pipe");
	(void)io_set_nonblock(fds[0], true);
	r = loop_add(l->loop, &l->console, fds[0], EPOLLIN, on_console, l, err);
	if (r < 0) {
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	l->has_console = true;
	*ret_write_fd = fds[1];
	return 0;
}

void vmlogs_detach(struct vmlogs *l)
{
	ssize_t n = 1;

	for (size_t sum = 0; l->has_agent && n > 0 && sum < DRAIN_MAX; sum += (size_t)n)
		n = read_agent(l);
	n = 1;
	for (size_t sum = 0; l->has_console && n > 0 && sum < DRAIN_MAX; sum += (size_t)n)
		n = read_console(l);
	drop_agent(l);
	drop_console(l);
}

uint64_t vmlogs_received(const struct vmlogs *l)
{
	return l->received;
}

char *vmlogs_console_tail(const struct vmlogs *l)
{
	auto_buf struct buf out = BUF_INIT(TAIL_MAX + 1);
	const char *s = buf_str(&l->tail);

	for (size_t i = 0; i < l->tail.len; i++) {
		char c = s[i];

		if (c == '\n')
			buf_add_char(&out, ' ');
		else if (c >= ' ' && c <= '~')
			buf_add_char(&out, c);
	}
	return buf_detach(&out);
}
