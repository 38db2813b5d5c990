#include "client.h"

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "parse.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define READY_MS 15000
#define READY_LINE_MAX 2048u
#define READY_FD 3

static void make_argv(const struct host *host, const struct supervisor_spec *spec, struct strv *ret)
{
	const char *const pairs[][2] = {
		{"--dir", spec->dir},
		{"--tag", spec->tag},
		{"--engine", spec->engine},
		{"--vm-id", spec->vm_id},
	};

	strv_add(ret, host->exe);
	strv_add(ret, "--data-dir");
	strv_add(ret, host->data_dir);
	strv_add(ret, "internal");
	strv_add(ret, "supervise");
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		strv_add(ret, pairs[i][0]);
		strv_add(ret, pairs[i][1]);
	}
	if (spec->events) {
		strv_add(ret, "--events");
		strv_add(ret, spec->events);
	}
	strv_add(ret, "--ready-fd");
	strv_addf(ret, "%d", READY_FD);
	if (spec->foreground)
		strv_add(ret, "--foreground");
}

/* What it may know of our environment: where tools and its engine are, and what it hides from it.
 * Only builds for tests look at FCVM_TEST_BOOT_MS. */
static void make_env(const struct host *host, struct strv *ret)
{
	static const char *const names[] = {
		"PATH",
		"FCVM_QEMU",
		"FCVM_FIRECRACKER",
		"FCVM_JAILER",
		"FCVM_TEST_BOOT_MS",
		"ASAN_OPTIONS",
		"TMPDIR",
		"HOME",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = host->getenv(names[i]);

		if (value)
			strv_addf(ret, "%s=%s", names[i], value);
	}
	strv_add(ret, "LANG=C.UTF-8");
}

/* One line: "+PID" or "-SENTENCE". */
static int read_ready(int fd, const char *dir, pid_t *ret_pid, struct err *err)
{
	auto_buf struct buf line = BUF_INIT(READY_LINE_MAX);
	uint64_t deadline_ms = deadline_in(READY_MS), pid = 0;
	char c = 0;

	while (io_read_full(fd, &c, 1, deadline_ms, NULL) == 0 && c != '\n')
		buf_add_char(&line, c);
	if (c != '\n')
		return err_set(err, ERR_FAILED, -EIO,
			       "the supervisor of '%s' did not start; see its supervisor.log", dir);
	if (buf_str(&line)[0] == '-')
		return err_set(err, ERR_FAILED, -EIO, "%s", buf_str(&line) + 1);
	if (buf_str(&line)[0] != '+' || parse_u64(buf_str(&line) + 1, 1, INT32_MAX, &pid, NULL) < 0)
		return err_set(err, ERR_FAILED, -EPROTO,
			       "the supervisor of '%s' did not say its pid", dir);
	*ret_pid = (pid_t)pid;
	return 0;
}

static int open_log(const char *dir, int *ret_fd, struct err *err)
{
	auto_free char *path = path_join(dir, "supervisor.log");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, "cannot write '%s'", path);
	*ret_fd = fd;
	return 0;
}

int supervisor_spawn(const struct host *host, const struct supervisor_spec *spec,
		     struct proc_id *ret, struct err *err)
{
	auto_strv struct strv argv = {0}, env = {0};
	auto_close int log_fd = -1, ready = -1, theirs = -1, pidfd = -1;
	int pipe_fds[2] = {-1, -1}, status = 0;
	pid_t pid = 0;
	int r = open_log(spec->dir, &log_fd, err);

	if (r < 0)
		return r;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	ready = pipe_fds[0];
	theirs = pipe_fds[1];
	make_argv(host, spec, &argv);
	make_env(host, &env);
	struct proc_fd fd = {.from = theirs, .to = READY_FD};
	struct proc_spec p = {
		.argv = (const char *const *)argv.v,
		.env = (const char *const *)env.v,
		.cwd = spec->dir,
		.in = -1,
		.out = log_fd,
		.err = log_fd,
		.fds = &fd,
		.n_fds = 1,
		.new_session = true,
		.death_signal = spec->foreground ? SIGTERM : 0,
	};

	r = proc_spawn(&p, &pidfd, NULL, err);
	if (r < 0)
		return err_wrap(err, "supervisor");
	close(TAKE_FD(theirs));
	r = read_ready(ready, spec->dir, &pid, err);
	/* In the background the process we started ends as soon as the one that stays is there. */
	if (!spec->foreground || r < 0)
		(void)proc_wait(pidfd, deadline_in(READY_MS), &status, NULL);
	return r < 0 ? r : proc_id_of(pid, ret, err);
}
