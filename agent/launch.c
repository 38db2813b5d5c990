#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "container.h"
#include "file.h"
#include "io.h"
#include "launch_crun.h"
#include "parse.h"
#include "passwd.h"
#include "xalloc.h"

#define CTRL_FILE_MAX (1u << 20)

struct launch {
	struct agent *agent;
	struct launch_ops ops;
	void *data;
	struct child child;
	bool abandoned;
	bool timed_out;
	uint64_t timeout_ms;
	struct loop_source timer;
	uint16_t rows, cols;
	char *what;                 /* argv[0], for messages */
	struct crun_exec *crun;     /* NULL in the guest OS */
	struct loop_source console; /* crun's connection to come, or come */
	int console_fd;
	bool console_connected;
	int slave_fd; /* of a container's terminal; keeps it open */
};

static void launch_free(struct launch *l)
{
	loop_remove(l->agent->loop, &l->timer);
	loop_remove(l->agent->loop, &l->console);
	cleanup_close_p(&l->console_fd);
	cleanup_close_p(&l->slave_fd);
	crun_exec_free(l->crun);
	free(l->what);
	free(l);
}

/* What the shell would say: 127 for a program that is not there, 126 for one that does not run. */
static int code_of_child(const struct launch *l, const struct child_end *end, struct buf *text)
{
	const char *program = l->crun ? "crun" : l->what;

	switch (end->stage) {
	case CHILD_AT_EXEC:
		buf_addf(text, "cannot run '%s': %s", program, strerror(end->code));
		return end->code == ENOENT ? LAUNCH_CODE_NOT_FOUND : LAUNCH_CODE_NOT_RUNNABLE;
	case CHILD_AT_CWD:
		buf_addf(text, "cannot enter the working directory: %s", strerror(end->code));
		return LAUNCH_CODE_NOT_RUNNABLE;
	case CHILD_AT_SETUP:
		buf_addf(text, "cannot start '%s': %s", program, strerror(end->code));
		return LAUNCH_CODE_OURS;
	case CHILD_RAN:
		break;
	}
	return l->crun ? crun_exec_code(l->crun, end->status, text) : end->status;
}

static void take_console(struct launch *l);

static void on_ended(void *data, const struct child_end *end)
{
	struct launch *l = data;
	auto_buf struct buf text = BUF_INIT(1024);
	int code = code_of_child(l, end, &text);

	/* A short command ends before the loop has looked at its terminal. */
	if (l->console_fd >= 0 && !l->abandoned)
		take_console(l);
	if (l->timed_out) {
		char limit[32];

		code = LAUNCH_CODE_TIMEOUT;
		buf_reset(&text);
		buf_addf(&text, "timed out after %s",
			 format_duration_ms(l->timeout_ms, limit, sizeof(limit)));
	}
	if (!l->abandoned)
		l->ops.ended(l->data, code, buf_str(&text));
	launch_free(l);
}

void launch_signal(struct launch *l, int sig)
{
	if (l->crun && l->child.pid > 0 && crun_exec_signal(l->child.pid, sig))
		return;
	child_signal(&l->child, sig);
}

static void launch_kill(struct launch *l)
{
	/* Stopped first, so that it starts nothing between our look and its end. */
	if (l->crun && l->child.pid > 0) {
		child_signal(&l->child, SIGSTOP);
		(void)crun_exec_signal(l->child.pid, SIGKILL);
	}
	child_signal(&l->child, SIGKILL);
}

void launch_abandon(struct launch *l)
{
	l->abandoned = true;
	launch_kill(l);
}

static void on_timeout(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct launch *l = src->data;

	(void)events;
	loop_remove(loop, src);
	l->timed_out = true;
	launch_kill(l);
}

static void set_size(int fd, uint16_t rows, uint16_t cols)
{
	struct winsize size = {.ws_row = rows, .ws_col = cols};

	if (rows && cols)
		(void)ioctl(fd, TIOCSWINSZ, &size);
}

/* --- terminal ----------------------------------------------------------------------------- */

static int open_pty(uint16_t rows, uint16_t cols, int *ret_master, int *ret_slave, struct err *err)
{
	auto_close int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, "cannot make a terminal");
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, "cannot open a terminal");
	set_size(master, rows, cols);
	*ret_slave = slave;
	*ret_master = TAKE_FD(master);
	return 0;
}

static void receive_console(struct launch *l)
{
	auto_close int master = -1;
	char name[256];
	size_t n_fds = 0;
	ssize_t n = io_recv_fds(l->console_fd, name, sizeof(name), &master, 1, &n_fds, MSG_DONTWAIT,
				NULL);

	if (n == -EAGAIN)
		return;
	loop_remove(l->agent->loop, &l->console);
	cleanup_close_p(&l->console_fd);
	if (n < 0 || n_fds != 1 || l->abandoned)
		return;
	set_size(master, l->rows, l->cols);
	/* Nobody has opened the other side yet, and the kernel refuses input until somebody has. */
	l->slave_fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	l->ops.console(l->data, TAKE_FD(master));
}

static void on_console_fd(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	receive_console(src->data);
}

static void on_console_connect(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct launch *l = src->data;
	auto_close int conn = accept4(l->console_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (conn < 0)
		return;
	loop_remove(loop, src);
	cleanup_close_p(&l->console_fd);
	l->console_fd = TAKE_FD(conn);
	l->console_connected = true;
	(void)loop_add(loop, &l->console, l->console_fd, EPOLLIN, on_console_fd, l, NULL);
}

static void take_console(struct launch *l)
{
	if (!l->console_connected)
		on_console_connect(l->agent->loop, &l->console, 0);
	if (l->console_connected && l->console_fd >= 0)
		receive_console(l);
}

/* --- guest OS ----------------------------------------------------------------------------- */

static int lookup_user(const char *want, struct passwd_user *ret, struct err *err)
{
	auto_buf struct buf passwd = BUF_INIT(CTRL_FILE_MAX);
	auto_buf struct buf group = BUF_INIT(CTRL_FILE_MAX);

	(void)file_read("/etc/passwd", CTRL_FILE_MAX, &passwd, NULL);
	(void)file_read("/etc/group", CTRL_FILE_MAX, &group, NULL);
	return passwd_lookup(buf_str(&passwd), buf_str(&group), want, ret, err);
}

static void guest_env(const struct launch_spec *spec, const char *home, struct strv *env)
{
	strv_add(env, child_default_env[0]);
	strv_addf(env, "HOME=%s", home);
	strv_add(env, "LANG=C.UTF-8");
	if (spec->env)
		strv_add_all(env, spec->env);
}

static int start_in_guest(struct launch *l, const struct launch_spec *spec, struct err *err)
{
	auto_strv struct strv env = {0};
	auto_close int master = -1;
	auto_close int slave = -1;
	struct passwd_user user = {.home = "/root"};
	int r = spec->user && *spec->user ? lookup_user(spec->user, &user, err) : 0;

	if (r == 0 && spec->tty)
		r = open_pty(spec->rows, spec->cols, &master, &slave, err);
	if (r < 0)
		return r;
	guest_env(spec, user.home, &env);
	struct child_spec child = {
		.argv = (const char *const *)spec->argv->v,
		.env = (const char *const *)env.v,
		.cwd = spec->cwd,
		.user = spec->user && *spec->user ? &user.ids : NULL,
		.in = spec->tty ? slave : spec->in,
		.out = spec->tty ? slave : spec->out,
		.err = spec->tty ? slave : spec->err,
		.tty = spec->tty,
	};
	r = child_spawn(&l->agent->children, &child, &l->child, on_ended, l, err);
	if (r == 0 && spec->tty)
		l->ops.console(l->data, TAKE_FD(master));
	return r;
}

static int start_in_container(struct launch *l, const struct launch_spec *spec, struct err *err)
{
	struct container_view view;
	int r = container_find(l->agent, spec->container, &view, err);

	if (r == 0)
		r = crun_exec_new(l->agent, &view, spec, &l->crun, err);
	if (r == 0 && spec->tty)
		r = io_unix_listen(crun_exec_console(l->crun), 1, &l->console_fd, err);
	/* Whoever ends without connecting must not keep us in accept(). */
	if (r == 0 && spec->tty)
		r = io_set_nonblock(l->console_fd, true);
	if (r == 0 && spec->tty)
		r = loop_add(l->agent->loop, &l->console, l->console_fd, EPOLLIN,
			     on_console_connect, l, err);
	if (r < 0)
		return r;
	struct child_spec child = {.argv = crun_exec_argv(l->crun),
				   .in = spec->in,
				   .out = spec->out,
				   .err = spec->err};
	return child_spawn(&l->agent->children, &child, &l->child, on_ended, l, err);
}

int launch_start(struct agent *agent, const struct launch_spec *spec, const struct launch_ops *ops,
		 void *data, struct launch **ret, struct err *err)
{
	if (spec->argv->n == 0 || !*spec->argv->v[0])
		return err_set(err, ERR_GUEST, -EINVAL, "no command to run");
	struct launch *l = xcalloc(1, sizeof(*l));
	l->agent = agent;
	l->ops = *ops;
	l->data = data;
	l->timeout_ms = spec->timeout_ms;
	l->rows = spec->rows;
	l->cols = spec->cols;
	l->console_fd = l->slave_fd = -1;
	l->what = xstrdup(spec->argv->v[0]);
	int r = spec->container && *spec->container ? start_in_container(l, spec, err)
						    : start_in_guest(l, spec, err);
	if (r < 0) {
		launch_free(l);
		return r;
	}
	/* Without the timer the command would run for ever: better not at all. */
	if (spec->timeout_ms) {
		r = loop_timer(agent->loop, &l->timer, spec->timeout_ms, 0, on_timeout, l, err);
		if (r < 0) {
			launch_abandon(l);
			return r;
		}
	}
	*ret = l;
	return 0;
}
