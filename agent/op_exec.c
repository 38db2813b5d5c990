#include "op_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan.h"
#include "cleanup.h"
#include "io.h"
#include "launch.h"
#include "proto.h"
#include "proto_workload.h"
#include "tlv.h"
#include "xalloc.h"

#define STDIN_HIGH (256u << 10) /* held for a command that does not read; then the peer waits */
#define OUT_READ (32u << 10)
#define TTY_HOLDS (128u << 10) /* more than a terminal keeps; FIONREAD tells less than there is */

struct out {
	struct exec *exec;
	uint16_t msg;
	int fd;
	bool watched;
	size_t left; /* once the command has ended: what is to be read at most */
	struct loop_source src;
};

struct exec {
	struct agent *agent;
	struct chan *chan;
	struct launch *launch;
	bool started;
	bool tty;
	bool ending; /* the command has ended: its code follows what it wrote */
	int code;
	char *text;
	struct out outs[2]; /* stdout (and the terminal), stderr */
	int in_fd;
	struct loop_source in_src;
	struct buf in;
	bool in_eof;    /* to be closed once `in` is written */
	bool in_closed; /* the command takes no more; before it is attached, `in` waits for it */
};

static void close_in(struct exec *e)
{
	loop_remove(e->agent->loop, &e->in_src);
	/* The terminal's master is also where its output comes from. */
	cleanup_close_p(&e->in_fd);
	buf_reset(&e->in);
	e->in_closed = true;
}

static void close_out(struct out *o)
{
	loop_remove(o->exec->agent->loop, &o->src);
	cleanup_close_p(&o->fd);
}

static void exec_free(struct exec *e)
{
	close_in(e);
	for (int i = 0; i < 2; i++)
		close_out(&e->outs[i]);
	buf_free(&e->in);
	free(e->text);
	free(e);
}

/* --- output ------------------------------------------------------------------------------------
 */

/* True when there may be more now. */
static bool forward_out(struct out *o)
{
	uint8_t piece[OUT_READ];
	size_t max = o->exec->ending && o->left < sizeof(piece) ? o->left : sizeof(piece);
	ssize_t n = read(o->fd, piece, max);

	if (n > 0) {
		if (o->exec->ending)
			o->left -= (size_t)n;
		chan_send(o->exec->chan, o->msg, piece, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	/* EIO: the last process left the terminal. */
	close_out(o);
	return false;
}

static void on_out(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct out *o = src->data;

	(void)events;
	if (chan_full(o->exec->chan)) {
		/* Not just silenced: HUP would come again and again until the peer has read. */
		loop_remove(loop, src);
		o->watched = false;
		return;
	}
	(void)forward_out(o);
}

static void watch_out(struct out *o)
{
	if (o->fd >= 0 && !o->watched)
		o->watched = loop_add(o->exec->agent->loop, &o->src, o->fd, EPOLLIN, on_out, o,
				      NULL) == 0;
}

static bool finish_output(struct exec *e);

static void on_drained(struct chan *chan, void *data)
{
	struct exec *e = data;

	(void)chan;
	if (e->ending) {
		(void)finish_output(e);
		return;
	}
	for (int i = 0; i < 2; i++)
		watch_out(&e->outs[i]);
}

/* --- input -------------------------------------------------------------------------------------
 */

static void end_input(struct exec *e)
{
	static const char eot = 4;

	/* A terminal's end of file is a character; closing it would hang it up. */
	if (e->tty && e->in_fd >= 0)
		(void)!write(e->in_fd, &eot, 1);
	close_in(e);
}

static void write_in(struct exec *e)
{
	while (e->in.len > 0 && e->in_fd >= 0) {
		ssize_t n = write(e->in_fd, e->in.data, e->in.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			/* It does not read any more; that is no error of the caller's. */
			close_in(e);
			break;
		}
		buf_consume(&e->in, (size_t)n);
	}
	if (e->in_fd < 0)
		return;
	if (e->in.len == 0 && e->in_eof)
		end_input(e);
	else
		(void)loop_mod(e->agent->loop, &e->in_src, e->in.len ? EPOLLOUT : 0);
}

static void on_in(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct exec *e = src->data;

	(void)loop;
	if (e->in.len == 0 && (events & (EPOLLERR | EPOLLHUP)))
		close_in(e);
	write_in(e);
	/* Last: frames that waited may end this exec. */
	if (e->in.len < STDIN_HIGH / 2)
		chan_pause(e->chan, false);
}

static void on_stdin(struct exec *e, const struct frame *f)
{
	if (e->in_eof || e->in_closed)
		return;
	buf_add(&e->in, f->body, f->len);
	if (e->in_fd >= 0)
		write_in(e);
	if (e->in.len > STDIN_HIGH)
		chan_pause(e->chan, true);
}

static void on_stdin_eof(struct exec *e, const struct frame *f)
{
	(void)f;
	e->in_eof = true;
	if (e->in_fd >= 0)
		write_in(e);
}

/* Takes fd. */
static void attach_in(struct exec *e, int fd)
{
	e->in_fd = fd;
	if (io_set_nonblock(fd, true) < 0 ||
	    loop_add(e->agent->loop, &e->in_src, fd, 0, on_in, e, NULL) < 0)
		close_in(e);
	else
		write_in(e);
	/* Last: frames that waited for this may end the exec. */
	if (e->in.len < STDIN_HIGH / 2)
		chan_pause(e->chan, false);
}

/* Takes fd. */
static void attach_out(struct exec *e, int which, int fd)
{
	e->outs[which].fd = fd;
	(void)io_set_nonblock(fd, true);
	watch_out(&e->outs[which]);
}

/* --- end ---------------------------------------------------------------------------------------
 */

static void send_exit(struct exec *e, int code, const char *text)
{
	auto_buf struct buf body = BUF_INIT(8192);

	tlv_put_u64(&body, TAG_EXIT_CODE, (uint64_t)code);
	if (*text)
		tlv_put_str(&body, TAG_TEXT, text);
	chan_send_buf(e->chan, MSG_EXEC_EXIT, &body);
	chan_finish(e->chan);
	exec_free(e);
}

/* As far as the peer takes it now. True when that was all, and the exec is gone. */
static bool finish_output(struct exec *e)
{
	for (int i = 0; i < 2; i++) {
		struct out *o = &e->outs[i];

		while (o->fd >= 0 && o->left > 0) {
			if (chan_full(e->chan))
				return false;
			if (!forward_out(o))
				break;
		}
	}
	send_exit(e, e->code, e->text);
	return true;
}

/* What the command wrote is in the pipes by now. What its background children may still write is
 * not waited for. */
static size_t held_by(const struct exec *e, int fd)
{
	int n = 0;

	if (e->tty)
		return TTY_HOLDS;
	return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 ? (size_t)n : 0;
}

static void on_ended(void *data, int code, const char *text)
{
	struct exec *e = data;

	e->launch = NULL;
	e->ending = true;
	e->code = code;
	e->text = xstrdup(text);
	close_in(e);
	for (int i = 0; i < 2; i++) {
		loop_remove(e->agent->loop, &e->outs[i].src);
		e->outs[i].left = held_by(e, e->outs[i].fd);
	}
	/* Last: frames that waited may end this exec. A client may read only when it has written.
	 */
	if (!finish_output(e))
		chan_pause(e->chan, false);
}

static void on_console(void *data, int master)
{
	struct exec *e = data;
	int again = fcntl(master, F_DUPFD_CLOEXEC, 3);

	attach_out(e, 0, master);
	if (again >= 0)
		attach_in(e, again);
}

/* --- start -------------------------------------------------------------------------------------
 */

struct start {
	struct strv argv, env;
	char *container, *cwd, *user, *term;
	uint64_t tty, rows, cols, timeout_ms;
};

static void start_free(struct start *s)
{
	strv_free(&s->argv);
	strv_free(&s->env);
	free(s->container);
	free(s->cwd);
	free(s->user);
	free(s->term);
}
#define auto_start __attribute__((cleanup(start_free)))

static int get_words(const struct frame *f, uint16_t tag, struct strv *ret, struct err *err)
{
	struct tlv t;
	size_t pos = 0;
	int r;

	while ((r = tlv_next(f->body, f->len, &pos, &t, err)) > 0) {
		char *word;

		if (t.tag != tag)
			continue;
		if (ret->n >= PROTO_WORDS_MAX)
			return err_set(err, ERR_GUEST, -E2BIG, "too many words");
		r = tlv_str(&t, AGENT_CONTROL_MAX, &word, err);
		if (r < 0)
			return r;
		strv_add_take(ret, word);
	}
	return r;
}

static int get_numbers(const struct frame *f, struct start *s, struct err *err)
{
	const struct {
		uint16_t tag;
		uint64_t *to;
	} numbers[] = {{TAG_TTY, &s->tty},
		       {TAG_ROWS, &s->rows},
		       {TAG_COLS, &s->cols},
		       {TAG_TIMEOUT_MS, &s->timeout_ms}};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(numbers); i++)
		r = proto_find_u64(f->body, f->len, numbers[i].tag, 0, numbers[i].to, err);
	return r;
}

static int get_start(const struct frame *f, struct start *s, struct err *err)
{
	const struct {
		uint16_t tag;
		size_t max;
		char **to;
	} texts[] = {{TAG_NAME, 64, &s->container},
		     {TAG_CWD, 4096, &s->cwd},
		     {TAG_USER, 256, &s->user},
		     {TAG_TERM, 64, &s->term}};
	int r = get_words(f, TAG_ARG, &s->argv, err);

	if (r >= 0)
		r = get_words(f, TAG_ENV, &s->env, err);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(texts); i++)
		r = proto_find_str(f->body, f->len, texts[i].tag, texts[i].max, texts[i].to, err);
	if (r >= 0)
		r = get_numbers(f, s, err);
	if (r >= 0 && s->tty)
		strv_addf(&s->env, "TERM=%s", s->term && *s->term ? s->term : "xterm");
	return r;
}

/* The command's ends; ours are attached to the exec. */
static int make_pipes(struct exec *e, int ret_theirs[3], struct err *err)
{
	for (int i = 0; i < 3; i++) {
		int fds[2];

		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_sys(err, "cannot make a pipe");
		ret_theirs[i] = fds[i != 0];
		if (i == 0)
			attach_in(e, fds[1]);
		else
			attach_out(e, i - 1, fds[0]);
	}
	return 0;
}

static int start_command(struct exec *e, const struct start *s, struct err *err)
{
	static const struct launch_ops ops = {on_console, on_ended};
	int theirs[3] = {-1, -1, -1};
	int r = s->tty ? 0 : make_pipes(e, theirs, err);
	struct launch_spec spec = {.container = s->container,
				   .argv = &s->argv,
				   .env = &s->env,
				   .cwd = s->cwd && *s->cwd ? s->cwd : NULL,
				   .user = s->user,
				   .tty = s->tty != 0,
				   .rows = (uint16_t)s->rows,
				   .cols = (uint16_t)s->cols,
				   .in = theirs[0],
				   .out = theirs[1],
				   .err = theirs[2],
				   .timeout_ms = s->timeout_ms};

	e->tty = s->tty != 0;
	if (r == 0)
		r = launch_start(e->agent, &spec, &ops, e, &e->launch, err);
	for (int i = 0; i < 3; i++)
		cleanup_close_p(&theirs[i]);
	return r;
}

static void on_start(struct exec *e, const struct frame *f)
{
	auto_start struct start s = {0};
	struct err err = {0};

	if (e->started)
		return;
	e->started = true;
	int r = get_start(f, &s, &err);
	if (r >= 0)
		r = start_command(e, &s, &err);
	if (r < 0)
		send_exit(e, LAUNCH_CODE_OURS, err.msg);
}

static void on_resize(struct exec *e, const struct frame *f)
{
	uint64_t rows = 0, cols = 0;

	if (proto_find_u64(f->body, f->len, TAG_ROWS, 0, &rows, NULL) < 0 ||
	    proto_find_u64(f->body, f->len, TAG_COLS, 0, &cols, NULL) < 0)
		return;
	struct winsize size = {.ws_row = (uint16_t)rows, .ws_col = (uint16_t)cols};
	if (e->tty && e->outs[0].fd >= 0)
		(void)ioctl(e->outs[0].fd, TIOCSWINSZ, &size);
}

static void on_signal(struct exec *e, const struct frame *f)
{
	uint64_t sig = 0;

	if (proto_find_u64(f->body, f->len, TAG_SIGNAL, 0, &sig, NULL) < 0)
		return;
	if (e->launch && sig >= 1 && sig <= 64)
		launch_signal(e->launch, (int)sig);
}

static const struct {
	uint16_t type;
	void (*handle)(struct exec *e, const struct frame *f);
} table[] = {
	{MSG_EXEC_START, on_start},         {MSG_EXEC_STDIN, on_stdin},
	{MSG_EXEC_STDIN_EOF, on_stdin_eof}, {MSG_EXEC_RESIZE, on_resize},
	{MSG_EXEC_SIGNAL, on_signal},
};

static void on_frame(struct chan *chan, void *data, const struct frame *f)
{
	(void)chan;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].type == f->type) {
			table[i].handle(data, f);
			return;
		}
	}
}

static void on_closed(struct chan *chan, void *data)
{
	struct exec *e = data;

	(void)chan;
	if (e->launch)
		launch_abandon(e->launch);
	exec_free(e);
}

void op_exec_accept(struct agent *agent, int fd)
{
	static const struct chan_ops ops = {on_frame, on_drained, on_closed};
	struct exec *e = xcalloc(1, sizeof(*e));

	e->agent = agent;
	e->in_fd = -1;
	e->in = (struct buf)BUF_INIT(STDIN_HIGH + 2 * AGENT_CONTROL_MAX);
	e->outs[0] = (struct out){.exec = e, .msg = MSG_EXEC_STDOUT, .fd = -1};
	e->outs[1] = (struct out){.exec = e, .msg = MSG_EXEC_STDERR, .fd = -1};
	if (chan_new(agent->loop, fd, AGENT_CONTROL_MAX, &ops, e, &e->chan, NULL) < 0)
		exec_free(e);
}
