#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "host.h"
#include "io.h"
#include "memserver.h"
#include "run.h"
#include "stray.h"

#define ARGS(text) text, sizeof(text) - 1

Test(stray, it_is_recognised_by_internal_and_by_its_directory_alone)
{
	static const struct {
		const char *text;
		size_t len;
		bool is;
	} cases[] = {
		{ARGS("/usr/bin/fcvm\0internal\0supervise\0--dir\0/d/sets/a/vms/x\0"), true},
		{ARGS("/usr/bin/fcvm\0internal\0supervise\0--dir\0/d/sets/a/vms/x/sub\0"), true},
		{ARGS("fcvm\0internal\0supervise\0--dir=/d/sets/a/vms/x\0"), false},
		{ARGS("fcvm\0internal\0supervise\0--dir\0/d/sets/a/vms/xy\0"), false},
		{ARGS("fcvm\0internal\0supervise\0--dir\0/d/sets/a\0"), false},
		{ARGS("vi\0/d/sets/a/vms/x\0"), false},
		{ARGS("fcvm\0rm\0/d/sets/a/vms/x\0"), false},
		{ARGS("fcvm\0internal"), false},
		{ARGS(""), false},
		{ARGS("internal\0/d/sets/a/vms/x"), true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(stray_matches(cases[i].text, cases[i].len, "/d/sets/a/vms/x"),
			     cases[i].is, "case %zu", i);
}

/* As /proc shows it: built by what starts it. */
Test(stray, a_page_server_is_recognised_by_the_words_it_is_started_with)
{
	const struct host host = {.exe = (char[]){"/usr/bin/fcvm"}};
	const struct memserver_spec spec = {.dir = "/d/sets/a/memservers/web/r1",
					    .memory = "/d/sets/a/snapshots/web/k/memory"};
	auto_buf struct buf cmdline = BUF_INIT(4096);
	auto_strv struct strv argv = {0};

	memserver_argv(&host, &spec, &argv);
	for (size_t i = 0; i < argv.n; i++)
		buf_add(&cmdline, argv.v[i], strlen(argv.v[i]) + 1);
	cr_expect(stray_matches(cmdline.data, cmdline.len, spec.dir));
	cr_expect(stray_matches(cmdline.data, cmdline.len, "/d/sets/a"), "the whole set's");
	cr_expect_not(stray_matches(cmdline.data, cmdline.len, "/d/sets/a/memservers/web/r2"));
	cr_expect_not(stray_matches(cmdline.data, cmdline.len, "/d/sets/a/snapshots/web/k"),
		      "what it reads does not make it that directory's");
}

static pid_t start(const char *dir)
{
	int ready[2];
	char c;

	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		/* the pipe closes at exec: then /proc tells the new arguments */
		execlp("sh", "sh", "-c", "sleep 60; :", "internal", dir, (char *)NULL);
		_exit(127);
	}
	close(ready[1]);
	(void)!read(ready[0], &c, 1);
	close(ready[0]);
	return pid;
}

Test(stray, only_processes_of_that_directory_are_killed)
{
	auto_tmpdir char *mine = tmpdir_new("stray"), *other = tmpdir_new("stray");
	struct host host = {0};
	struct err err = {0};
	int status = 0;

	cr_assert_geq(host_init(&host, mine, &err), 0);
	pid_t a = start(mine), b = start(other);
	cr_assert_eq(stray_kill(&host, mine, &err), 0, "%s", err.msg);
	cr_expect_eq(waitpid(a, &status, 0), a);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_expect_eq(waitpid(b, &status, WNOHANG), 0, "the other one lives");
	(void)kill(b, SIGKILL);
	(void)waitpid(b, &status, 0);
	host_free(&host);
}
