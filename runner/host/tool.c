#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "proc.h"
#include "proc_priv.h"

#define TAIL_LINES 6
#define LINE_MAX_LEN 1024

struct tool {
	const struct tool_spec *spec;
	char tail[TAIL_LINES][LINE_MAX_LEN]; /* the last stderr lines, a ring */
	size_t n_lines;
	struct buf line; /* the one that is still coming */
};

/* What a user namespace is told, written before the fork. */
struct maps {
	char uid[32], gid[32];
};

/* PID 1 of the tool's namespace: reaps until the tool itself ends, then takes its status and, by
 * ending, everything else in the namespace with it. */
__attribute__((noreturn)) static void run_init(pid_t tool)
{
	(void)close_range(0, ~0u, 0);
	for (;;) {
		int status = 0;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid < 0 && errno != EINTR)
			_exit(125);
		if (pid == tool)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
}

static int write_proc(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
	int r = n < 0 ? -errno : 0;

	if (fd >= 0)
		(void)close(fd);
	return r;
}

/* Our uid and gid are root's in there; without "deny" the kernel takes no group map from us. */
static int become_root(const struct maps *maps)
{
	int r = write_proc("/proc/self/setgroups", "deny");

	if (r == 0)
		r = write_proc("/proc/self/uid_map", maps->uid);
	return r == 0 ? write_proc("/proc/self/gid_map", maps->gid) : r;
}

static int enter_namespace(void *data)
{
	const struct maps *maps = data;
	int r = maps ? become_root(maps) : 0;
	pid_t pid;

	if (r < 0)
		return r;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -errno;
	pid = proc_fork_raw();
	if (pid < 0)
		return pid;
	if (pid > 0)
		run_init(pid);
	return 0;
}

static void end_line(struct tool *t)
{
	char *slot = t->tail[t->n_lines % TAIL_LINES];

	(void)snprintf(slot, LINE_MAX_LEN, "%s", buf_str(&t->line));
	buf_reset(&t->line);
	if (*slot == '\0')
		return;
	t->n_lines++;
	if (t->spec->line)
		t->spec->line(t->spec->data, slot);
}

static void take_stderr(struct tool *t, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n' || text[i] == '\r')
			end_line(t);
		else
			buf_add_char(&t->line, text[i]); /* what exceeds the limit is dropped */
	}
}

static int failed(const struct tool *t, int status, struct err *err)
{
	auto_buf struct buf why = BUF_INIT(700);
	size_t first = t->n_lines > TAIL_LINES ? t->n_lines - TAIL_LINES : 0;

	for (size_t i = first; i < t->n_lines; i++)
		buf_addf(&why, "%s%s", i > first ? "; " : "", t->tail[i % TAIL_LINES]);
	if (status > 128)
		return err_set(err, ERR_FAILED, -EIO, "'%s' was killed by signal %d%s%s",
			       t->spec->argv[0], status - 128, why.len ? ": " : "", buf_str(&why));
	return err_set(err, ERR_FAILED, -EIO, "'%s' failed with status %d%s%s", t->spec->argv[0],
		       status, why.len ? ": " : "", buf_str(&why));
}

/* One read from a pipe that poll reported; 0 at its end. */
static ssize_t drain(struct tool *t, int fd, bool is_stderr)
{
	char chunk[16384];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : 0;
	if (is_stderr)
		take_stderr(t, chunk, (size_t)n);
	else if (t->spec->stdout_to)
		buf_add(t->spec->stdout_to, chunk, (size_t)n);
	return n;
}

/* Reads both pipes until the tool has ended and they are empty. */
static int follow(struct tool *t, int pidfd, int out, int errs, struct err *err)
{
	struct pollfd p[] = {{.fd = out, .events = POLLIN},
			     {.fd = errs, .events = POLLIN},
			     {.fd = pidfd, .events = POLLIN}};

	for (;;) {
		/* A process the tool left behind may hold the pipes open: once the tool is gone,
		 * only what is already there counts. */
		int wait = p[2].fd < 0 ? 0 : deadline_left(t->spec->deadline_ms);
		int n = poll(p, ARRAY_SIZE(p), wait);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot wait for '%s'", t->spec->argv[0]);
		/* What never stops talking is always ready: the deadline is asked for by itself. */
		bool late = n == 0 || deadline_left(t->spec->deadline_ms) == 0;

		if (late && p[2].fd < 0)
			return 0;
		if (late && !p[2].revents)
			return err_set(err, ERR_TIMEOUT, -ETIMEDOUT, "'%s' did not end in time",
				       t->spec->argv[0]);
		for (int i = 0; i < 2; i++) {
			if (p[i].revents && drain(t, p[i].fd, i == 1) == 0)
				p[i].fd = -1;
		}
		if (p[2].revents)
			p[2].fd = -1;
		if (p[0].fd < 0 && p[1].fd < 0 && p[2].fd < 0)
			return 0;
	}
}

static int open_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

static int spawn(struct tool *t, int out, int errs, int *ret_pidfd, struct err *err)
{
	const struct tool_spec *spec = t->spec;
	struct maps maps = {0};
	const struct proc_spec child = {
		.argv = spec->argv,
		.env = spec->env,
		.cwd = spec->cwd,
		.in = spec->in,
		.out = out,
		.err = errs,
		.own_group = true,
		.death_signal = SIGKILL,
		.prepare = spec->no_namespace ? NULL : enter_namespace,
		.data = spec->user_namespace ? &maps : NULL,
		.namespaces = (spec->no_namespace ? 0 : CLONE_NEWPID | CLONE_NEWNS) |
			      (spec->user_namespace ? CLONE_NEWUSER : 0),
	};

	(void)snprintf(maps.uid, sizeof(maps.uid), "0 %u 1\n", geteuid());
	(void)snprintf(maps.gid, sizeof(maps.gid), "0 %u 1\n", getegid());

	return proc_spawn(&child, ret_pidfd, NULL, err);
}

static int run(struct tool *t, struct err *err)
{
	auto_close int out_read = -1, out_write = -1, err_read = -1, err_write = -1, pidfd = -1;
	int status = 0;
	int r = open_pipe(&err_read, &err_write, err);

	if (r == 0 && t->spec->out < 0 && t->spec->stdout_to)
		r = open_pipe(&out_read, &out_write, err);
	if (r == 0)
		r = spawn(t, t->spec->out >= 0 ? t->spec->out : out_write, err_write, &pidfd, err);
	if (r < 0)
		return r;
	cleanup_close_p(&out_write);
	out_write = -1;
	cleanup_close_p(&err_write);
	err_write = -1;

	r = follow(t, pidfd, out_read, err_read, err);
	if (r < 0)
		(void)proc_signal(pidfd, SIGKILL);
	/* Reaping the namespace's init returns only when everything in it is dead. */
	int w = proc_wait(pidfd, 0, &status, r < 0 ? NULL : err);
	if (r < 0 || w < 0)
		return r < 0 ? r : w;
	if (t->line.len > 0)
		end_line(t);
	return status == 0 ? 0 : failed(t, status, err);
}

int tool_run(const struct tool_spec *spec, struct err *err)
{
	struct tool t = {.spec = spec, .line = BUF_INIT(LINE_MAX_LEN - 1)};
	int r = run(&t, err);

	buf_free(&t.line);
	return r;
}
