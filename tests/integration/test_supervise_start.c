/* A supervisor whose starter was killed before it came to run. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "host.h"
#include "io.h"
#include "proc.h"
#include "run.h"
#include "xalloc.h"

#define END_MS 20000
#define READY_FD 3

static int end_of_supervisor(const char *data, const char *dir, int ready)
{
	auto_free char *fcvm = realpath(run_fcvm_path(), NULL);
	const char *const argv[] = {
		fcvm, "--data-dir", data,        "internal",     "supervise", "--dir",
		dir,  "--tag",      "test/vm/x", "--engine",     "qemu",      "--vm-id",
		"x",  "--ready-fd", "3",         "--foreground", NULL};
	const struct proc_fd fds[] = {{ready, READY_FD}};
	const struct proc_spec spec = {.argv = argv,
				       .cwd = data,
				       .in = -1,
				       .out = -1,
				       .err = -1,
				       .fds = fds,
				       .n_fds = 1,
				       .death_signal = SIGKILL};
	auto_close int pidfd = -1;
	struct err err = {0};
	int status = -1;

	cr_assert_geq(proc_spawn(&spec, &pidfd, NULL, &err), 0, "%s", err.msg);
	cr_assert_geq(proc_wait(pidfd, deadline_in(END_MS), &status, &err), 0, "%s", err.msg);
	return status;
}

static void expect_empty(const char *dir)
{
	auto_closedir DIR *d = opendir(dir);

	cr_assert(d);
	for (const struct dirent *e; (e = readdir(d));)
		cr_expect(e->d_name[0] == '.', "it made '%s'", e->d_name);
}

/* The next apply has made the directory anew for another. */
Test(supervise_start, one_that_nobody_waits_for_touches_nothing)
{
	auto_tmpdir char *data = tmpdir_new("start");
	auto_free char *dir = path_join(data, "vm");
	struct host host = {0};
	struct err err = {0};
	int ready[2];

	cr_assert_geq(host_init(&host, data, &err), 0, "%s", err.msg);
	cr_assert_geq(host_make_dirs(&host, &err), 0, "%s", err.msg);
	cr_assert_geq(file_mkdir_p(dir, 0711, &err), 0, "%s", err.msg);
	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	(void)close(ready[0]);
	cr_expect_eq(end_of_supervisor(data, dir, ready[1]), 1);
	expect_empty(dir);
	(void)close(ready[1]);
	host_free(&host);
}
