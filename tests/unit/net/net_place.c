#include "net_place.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "net_rig.h"
#include "xalloc.h"

/* A child of the test dies with it. */
pid_t net_spawn(void)
{
	pid_t parent = getpid(), pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

void net_enter(pid_t where)
{
	auto_free char *path = xasprintf("/proc/%d/ns/net", (int)where);
	auto_close int fd = where ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (where && (fd < 0 || setns(fd, CLONE_NEWNET) < 0))
		_exit(99);
}

int net_at(pid_t where, int (*fn)(void *data), void *data)
{
	pid_t pid = net_spawn();
	int status = 0;

	if (pid == 0) {
		net_enter(where);
		_exit(fn(data));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct running {
	struct buf *out;
	const char *const *argv;
	int fd;
};

static int run_it(void *data)
{
	struct running *r = data;

	(void)dup2(r->fd, STDOUT_FILENO);
	(void)dup2(r->fd, STDERR_FILENO);
	(void)execvp(r->argv[0], (char *const *)(uintptr_t)r->argv);
	return 127;
}

int net_run_at(pid_t where, struct buf *out, const char *const *argv)
{
	int fd = memfd_create("out", MFD_CLOEXEC), status = 0;
	struct running r = {.argv = argv, .fd = fd};
	char chunk[4096];
	ssize_t n = 0;

	status = net_at(where, run_it, &r);
	for (off_t at = 0; out && (n = pread(fd, chunk, sizeof(chunk), at)) > 0; at += n)
		buf_add(out, chunk, (size_t)n);
	(void)close(fd);
	return status;
}

void net_ip_at(pid_t where, const char *words)
{
	auto_strv struct strv argv = {0};
	auto_buf struct buf out = BUF_INIT(65536);
	char *save = NULL;
	auto_free char *copy = xstrdup(words);

	strv_add(&argv, "ip");
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		strv_add(&argv, w);
	cr_assert_eq(net_run_at(where, &out, (const char *const *)argv.v), 0, "ip %s: %s", words,
		     buf_str(&out));
}
