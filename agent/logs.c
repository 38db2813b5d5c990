#include "logs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "chan.h"
#include "cleanup.h"
#include "container.h"
#include "file.h"
#include "io.h"
#include "proto.h"
#include "tlv.h"
#include "xalloc.h"

#define LINE_MAX_BYTES (16u << 10)
#define LAST_WORDS_MAX 1024u
#define ID_SIZE 64u

struct stream {
	struct logs *logs;
	int number; /* 1 | 2 */
	int fd;
	struct loop_source src;
	struct buf line;
};

struct logs {
	struct agent *agent;
	struct logring ring;
	struct stream streams[2];
	struct chan *chan;
	struct chan *ending; /* chan while it is being finished */
	struct loop_source late;
	void (*finished)(void *data); /* of logs_finish(), NULL when it is not under way */
	void *finished_data;
	struct buf last_words;
	char *id_file; /* NULL: no id to remove any more */
};

int logs_new(struct agent *agent, struct err *err)
{
	struct logs *l = xcalloc(1, sizeof(*l));

	(void)err;
	l->agent = agent;
	l->last_words = (struct buf)BUF_INIT(LAST_WORDS_MAX * 2 + LINE_MAX_BYTES);
	for (int i = 0; i < 2; i++)
		l->streams[i] = (struct stream){
			.logs = l, .number = i + 1, .fd = -1, .line = BUF_INIT(LINE_MAX_BYTES)};
	agent->logs = l;
	return 0;
}

static void stream_close(struct stream *s)
{
	loop_remove(s->logs->agent->loop, &s->src);
	cleanup_close_p(&s->fd);
	buf_reset(&s->line);
}

void logs_free(struct agent *agent)
{
	struct logs *l = agent->logs;

	if (!l)
		return;
	loop_remove(agent->loop, &l->late);
	if (l->chan)
		chan_close(l->chan);
	if (l->ending)
		chan_close(l->ending);
	for (int i = 0; i < 2; i++) {
		stream_close(&l->streams[i]);
		buf_free(&l->streams[i].line);
	}
	logring_clear(&l->ring);
	buf_free(&l->last_words);
	free(l->id_file);
	free(l);
	agent->logs = NULL;
}

/* --- out ------------------------------------------------------------------------------------ */

static void finished(struct logs *l)
{
	void (*done)(void *data) = l->finished;

	l->finished = NULL;
	loop_remove(l->agent->loop, &l->late);
	if (done)
		done(l->finished_data);
}

static void on_finished(void *data)
{
	struct logs *l = data;

	l->ending = NULL;
	finished(l);
}

static void end_connection(struct logs *l)
{
	l->ending = TAKE_PTR(l->chan);
	chan_on_finished(l->ending, on_finished, l);
	chan_finish(l->ending);
}

static void send_lines(struct logs *l)
{
	while (l->chan && !chan_full(l->chan)) {
		auto_free struct logring_line *line = logring_take(&l->ring);
		auto_buf struct buf body = BUF_INIT((size_t)LINE_MAX_BYTES * 2);

		if (!line && l->finished)
			end_connection(l);
		if (!line)
			return;
		tlv_put_str(&body, TAG_NAME, container_name(l->agent));
		tlv_put_u64(&body, TAG_STREAM, (uint64_t)line->stream);
		tlv_put_u64(&body, TAG_UNIX_NS, line->unix_ns);
		tlv_put(&body, TAG_DATA, line->text, line->len);
		chan_send_buf(l->chan, MSG_LOG, &body);
	}
}

static void on_frame(struct chan *chan, void *data, const struct frame *frame)
{
	/* The host has nothing to say here. */
	(void)chan;
	(void)data;
	(void)frame;
}

static void on_drained(struct chan *chan, void *data)
{
	(void)chan;
	send_lines(data);
}

static void on_closed(struct chan *chan, void *data)
{
	struct logs *l = data;

	if (l->chan != chan)
		return;
	l->chan = NULL;
	finished(l);
}

void logs_accept(struct agent *agent, int fd)
{
	static const struct chan_ops ops = {on_frame, on_drained, on_closed};
	struct logs *l = agent->logs;

	if (l->chan)
		chan_close(TAKE_PTR(l->chan));
	if (chan_new(agent->loop, fd, AGENT_CONTROL_MAX, &ops, l, &l->chan, NULL) == 0)
		send_lines(l);
}

/* --- in ------------------------------------------------------------------------------------- */

static uint64_t unix_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void keep_words(struct logs *l, const char *text, size_t len)
{
	if (l->last_words.len)
		buf_add_char(&l->last_words, ' ');
	buf_add(&l->last_words, text, len);
	if (l->last_words.len > LAST_WORDS_MAX)
		buf_consume(&l->last_words, l->last_words.len - LAST_WORDS_MAX);
}

static void put_line(struct stream *s, uint64_t now_ns)
{
	logring_put(&s->logs->ring, s->number, now_ns, buf_str(&s->line), s->line.len);
	if (s->number == 2)
		keep_words(s->logs, buf_str(&s->line), s->line.len);
	buf_reset(&s->line);
}

/* True when the line ends with the container's id, which is taken off: it is podman's word, and so
 * is the newline behind it. */
static bool cut_id(struct stream *s)
{
	struct logs *l = s->logs;
	auto_buf struct buf id = BUF_INIT(256);

	if (!l->id_file || s->number != 1 || s->line.len < ID_SIZE)
		return false;
	if (file_read(l->id_file, 128, &id, NULL) < 0 || id.len < ID_SIZE)
		return false;
	size_t at = s->line.len - ID_SIZE;
	if (memcmp(s->line.data + at, id.data, ID_SIZE) != 0)
		return false;
	s->line.len = at;
	s->line.data[at] = '\0';
	cleanup_free_p(&l->id_file);
	return true;
}

static void take_text(struct stream *s, const char *data, size_t len)
{
	uint64_t now_ns = unix_now_ns();

	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;
		size_t room = LINE_MAX_BYTES - s->line.len;

		if (n > room) {
			n = room;
			end = NULL;
		}
		buf_add(&s->line, data, n);
		if ((end && !cut_id(s)) || s->line.len >= LINE_MAX_BYTES)
			put_line(s, now_ns);
		n += end != NULL;
		data += n;
		len -= n;
	}
}

/* True while there may be more. */
static bool read_some(struct stream *s)
{
	char piece[16384];
	ssize_t n = read(s->fd, piece, sizeof(piece));

	if (n > 0) {
		take_text(s, piece, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (s->line.len > 0)
		put_line(s, unix_now_ns());
	stream_close(s);
	return false;
}

static void on_pipe(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct stream *s = src->data;
	struct logs *l = s->logs;

	(void)loop;
	(void)events;
	(void)read_some(s);
	send_lines(l);
}

int logs_attach(struct agent *agent, int stream, int pipe, struct err *err)
{
	struct stream *s = &agent->logs->streams[stream - 1];
	auto_close int fd = pipe;

	stream_close(s);
	int r = io_set_nonblock(fd, true);
	if (r < 0)
		return err_sys_code(err, r, "cannot read the container's output");
	r = loop_add(agent->loop, &s->src, fd, EPOLLIN, on_pipe, s, err);
	if (r < 0)
		return r;
	s->fd = TAKE_FD(fd);
	buf_reset(&agent->logs->last_words);
	return 0;
}

void logs_drain(struct agent *agent)
{
	/* Bounded by what pipes hold: 64 KiB each, unless a writer is not frozen after all. */
	for (int i = 0; i < 2; i++)
		for (int n = 0; n < 64 && agent->logs->streams[i].fd >= 0; n++)
			if (!read_some(&agent->logs->streams[i]))
				break;
	send_lines(agent->logs);
}

static void on_late(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	finished(src->data);
}

void logs_finish(struct agent *agent, uint64_t timeout_ms, void (*done)(void *data), void *data)
{
	struct logs *l = agent->logs;

	l->finished = done;
	l->finished_data = data;
	if (loop_timer(agent->loop, &l->late, timeout_ms, 0, on_late, l, NULL) < 0 || !l->chan) {
		finished(l);
		return;
	}
	logs_drain(agent);
}

void logs_clear(struct agent *agent)
{
	logring_clear(&agent->logs->ring);
}

void logs_last_words(const struct agent *agent, struct buf *out)
{
	const struct buf *words = &agent->logs->last_words;

	buf_add(out, buf_str(words), words->len);
}

void logs_expect_id(struct agent *agent, const char *id_file)
{
	free(agent->logs->id_file);
	agent->logs->id_file = xstrdup(id_file);
}
