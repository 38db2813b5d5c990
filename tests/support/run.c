#include "run.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

void run_free(struct run_result *r)
{
	buf_free(&r->out);
	buf_free(&r->err);
}

static void child_exec(const char *const *argv, const char *const *env, const int fds[3])
{
	setpgid(0, 0);
	for (int i = 0; i < 3; i++)
		dup2(fds[i], i);
	for (; env && *env; env++) {
		auto_free char *pair = xstrdup(*env);
		char *eq = strchr(pair, '=');

		if (!eq)
			continue;
		*eq = '\0';
		setenv(pair, eq + 1, 1);
	}
	/* execvp takes its words non-const for historical reasons only. */
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Returns false once both ends are closed. */
static bool drain(struct pollfd *p, struct buf *into)
{
	char chunk[65536];
	ssize_t n = read(p->fd, chunk, sizeof(chunk));

	if (n > 0) {
		buf_add(into, chunk, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	p->fd = -1;
	return false;
}

static void feed(struct pollfd *p, const char *input, size_t len, size_t *done)
{
	ssize_t n = *done < len ? write(p->fd, input + *done, len - *done) : 0;

	if (n > 0)
		*done += (size_t)n;
	if (*done >= len || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		close(p->fd);
		p->fd = -1;
	}
}

static void pump(struct run_result *r, int in, int out, int err, const char *input,
		 uint64_t deadline)
{
	struct pollfd p[3] = {{.fd = in, .events = POLLOUT},
			      {.fd = out, .events = POLLIN},
			      {.fd = err, .events = POLLIN}};
	size_t len = input ? strlen(input) : 0;
	size_t done = 0;

	io_set_nonblock(in, true);
	feed(&p[0], input, len, &done);
	while (p[1].fd >= 0 || p[2].fd >= 0) {
		int n = poll(p, 3, deadline_left(deadline));

		if (n == 0) {
			r->timed_out = true;
			break;
		}
		if (p[0].fd >= 0 && p[0].revents)
			feed(&p[0], input, len, &done);
		if (p[1].fd >= 0 && p[1].revents)
			drain(&p[1], &r->out);
		if (p[2].fd >= 0 && p[2].revents)
			drain(&p[2], &r->err);
	}
	if (p[0].fd >= 0)
		close(p[0].fd);
}

void run_argv(struct run_result *r, const char *const *argv, const char *const *env,
	      const char *input, uint64_t timeout_ms)
{
	int in[2], out[2], err[2];
	uint64_t deadline = deadline_in(timeout_ms);

	cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
		  pipe2(err, O_CLOEXEC) == 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		child_exec(argv, env, (int[3]){in[0], out[1], err[1]});
	close(in[0]);
	close(out[1]);
	close(err[1]);
	pump(r, in[1], out[0], err[0], input, deadline);
	close(out[0]);
	close(err[0]);
	if (r->timed_out)
		kill(-pid, SIGKILL);

	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const char *run_fcvm_path(void)
{
	const char *path = getenv("FCVM");

	return path ? path : TEST_BUILD_DIR "/fcvm";
}

void run_fcvm(struct run_result *r, const char *data_dir, uint64_t timeout_ms,
	      const char *const *words)
{
	const char *argv[64] = {run_fcvm_path(), "--data-dir", data_dir};
	size_t n = 3;

	for (; *words; words++) {
		cr_assert_lt(n, ARRAY_SIZE(argv) - 1);
		argv[n++] = *words;
	}
	run_argv(r, argv, NULL, NULL, timeout_ms);
	cr_assert(!r->timed_out, "fcvm did not end in %lu ms; stderr:\n%s",
		  (unsigned long)timeout_ms, buf_str(&r->err));
}

struct json_object *run_json(const struct run_result *r)
{
	struct json_object *o = NULL;
	struct err err = {0};

	cr_assert_eq(json_parse(buf_str(&r->out), r->out.len, &o, &err), 0, "not JSON: %s\n%s",
		     err.msg, buf_str(&r->out));
	return o;
}

/* Until we end, and our children with us, nobody takes what is ours in /tmp for a killed run's
 * (tests/run). */
static void hold_tmp(void)
{
	static int fd = -1;

	if (fd >= 0)
		return;
	fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(fd >= 0 && flock(fd, LOCK_SH) == 0);
}

char *tmpdir_new(const char *what)
{
	char *dir = xasprintf("/tmp/fcvm-test-%s-XXXXXX", what);

	hold_tmp();
	cr_assert_not_null(mkdtemp(dir));
	return dir;
}

void tmpdir_remove(char **dir)
{
	if (*dir) {
		numbers_give_back(*dir);
		(void)file_remove_tree(*dir, NULL);
	}
	free(*dir);
	*dir = NULL;
}

void golden_check(const char *name, const char *text)
{
	auto_free char *path = path_join("tests/golden", name);
	auto_buf struct buf want = BUF_INIT(4u << 20);
	struct err err = {0};

	if (getenv("UPDATE_GOLDEN")) {
		cr_assert_eq(file_replace(path, text, strlen(text), 0644, &err), 0, "%s", err.msg);
		return;
	}
	cr_assert_eq(file_read(path, 4u << 20, &want, &err), 0, "%s", err.msg);
	cr_assert_str_eq(buf_str(&want), text, "%s differs; UPDATE_GOLDEN=1 rewrites it", path);
}
