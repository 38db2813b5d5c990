#include "child.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"

#define WAIT_MS 20000

void child_free(struct child *c)
{
	if (c->pid > 0) {
		(void)kill(c->pid, SIGCONT);
		(void)kill(c->pid, SIGKILL);
		(void)waitpid(c->pid, NULL, 0);
	}
	cleanup_close_p(&c->out);
	cleanup_close_p(&c->err);
	buf_free(&c->text);
}

__attribute__((noreturn)) static void child_exec(const struct apply_rig *r, char **argv, int out,
						 int err)
{
	auto_free char *qemu = path_join(r->dir, "qemu");

	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(err, STDERR_FILENO);
	(void)setenv("FCVM_QEMU", qemu, 1);
	(void)setenv("FCVM_ENGINE", "qemu", 1);
	(void)execv(r->fcvm, argv);
	_exit(127);
}

struct child child_start(const struct apply_rig *r, ...)
{
	const char *argv[16] = {r->fcvm, "--data-dir", r->data};
	struct child c = {.text = BUF_INIT(1u << 20)};
	int out[2], err[2];
	size_t n = 3;
	va_list ap;

	va_start(ap, r);
	for (const char *word; n < ARRAY_SIZE(argv) - 1 && (word = va_arg(ap, const char *));)
		argv[n++] = word;
	va_end(ap);
	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
	c.pid = fork();
	cr_assert_geq(c.pid, 0);
	if (c.pid == 0)
		child_exec(r, (char **)(uintptr_t)argv, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	c.out = out[0];
	c.err = err[0];
	return c;
}

void child_read_until(struct child *c, int fd, const char *what)
{
	uint64_t deadline_ms = deadline_in(WAIT_MS);
	char chunk[4096];
	ssize_t n = 1;

	while (n > 0 && !(what && strstr(buf_str(&c->text), what))) {
		cr_assert_eq(io_wait(fd, POLLIN, deadline_ms), 1, "no '%s', only: %s",
			     what ? what : "end", buf_str(&c->text));
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0)
			buf_add(&c->text, chunk, (size_t)n);
	}
	cr_assert(!what || n > 0, "it ended before '%s': %s", what, buf_str(&c->text));
}

int child_end(struct child *c)
{
	int status = -1;

	child_read_until(c, c->err, NULL);
	cr_assert_eq(waitpid(c->pid, &status, 0), c->pid);
	c->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
