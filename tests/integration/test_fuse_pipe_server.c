#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "fp_wire.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define SERVER TEST_BUILD_DIR "/fuse-pipe-server"

Test(fuse_pipe_server, wrong_words_are_named)
{
	static const struct {
		const char *words[5];
		int status;
		const char *says;
	} cases[] = {
		{{"/tmp"}, 3, "fuse-pipe-server: error: expected DIR and SOCKET\n"},
		{{"--trust", "some", "/tmp", "/tmp/x"}, 3, "--trust"},
		{{"--as", "1000", "/tmp", "/tmp/x"}, 3, "--as: expected UID:GID, got '1000'"},
		{{"--as", "1:x", "/tmp", "/tmp/x"}, 3, "--as"},
		{{"--timeout-ms", "-1", "/tmp", "/tmp/x"}, 3, "--timeout-ms"},
		{{"--no-state", "/nonexistent", "/dev/null/x"}, 1, "/dev/null/x"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_run struct run_result r = RUN_INIT;
		const char *argv[7] = {SERVER};

		memcpy(argv + 1, cases[i].words, sizeof(cases[i].words));
		run_argv(&r, argv, NULL, NULL, 60000);
		cr_expect_eq(r.status, cases[i].status, "%zu: %d", i, r.status);
		cr_expect_not_null(strstr(buf_str(&r.err), cases[i].says), "%s", buf_str(&r.err));
		cr_expect_str_eq(buf_str(&r.out), "");
	}
}

Test(fuse_pipe_server, help_is_the_answer_on_stdout)
{
	auto_run struct run_result r = RUN_INIT;

	run_argv(&r, (const char *const[]){SERVER, "--help", NULL}, NULL, NULL, 60000);
	cr_expect_eq(r.status, 0);
	cr_expect_not_null(strstr(buf_str(&r.out), "usage: fuse-pipe-server [OPTIONS] DIR SOCKET"));
	cr_expect_not_null(strstr(buf_str(&r.out), "--read-only"));
}

Test(fuse_pipe_server, what_is_not_a_directory_is_refused)
{
	auto_tmpdir char *dir = tmpdir_new("server");
	auto_free char *file = path_join(dir, "file"), *sock = path_join(dir, "sock");
	auto_run struct run_result r = RUN_INIT;

	cr_assert_eq(file_replace(file, "", 0, 0600, NULL), 0);
	run_argv(&r, (const char *const[]){SERVER, file, sock, NULL}, NULL, NULL, 60000);
	cr_expect_eq(r.status, 1);
	cr_expect_not_null(strstr(buf_str(&r.err), "Not a directory"), "%s", buf_str(&r.err));
}

/* Returns when it has said that it serves. */
static pid_t start(const char *dir, const char *sock)
{
	auto_free char *want = xasprintf("serving %s\n", dir);
	char line[256] = "";
	int out[2];

	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		/* LeakSanitizer looks at a process from outside, where a confined one cannot be
		 * seen: it waits for ever. */
		(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		(void)execl(SERVER, SERVER, "--cache", "strict", "--as", "5:6", dir, sock,
			    (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	cr_assert_eq(io_wait(out[0], POLLIN, deadline_in(60000)), 1);
	cr_assert_gt(read(out[0], line, sizeof(line) - 1), 0);
	cr_expect_str_eq(line, want);
	close(out[0]);
	return pid;
}

static struct fp_hello say_hello(const char *sock)
{
	const uint64_t deadline = deadline_in(60000);
	struct fp_hello h = {.version = FP_VERSION, .flags = FP_H_RECORDS, .n_streams = 1};
	uint8_t wire[FP_HELLO_SIZE];
	auto_close int fd = -1;

	cr_assert_eq(io_unix_connect(sock, deadline, &fd, NULL), 0);
	fp_hello_put(&h, wire);
	cr_assert_eq(io_write_full(fd, wire, sizeof(wire), deadline, NULL), 0);
	cr_assert_eq(io_read_full(fd, wire, sizeof(wire), deadline, NULL), 0);
	cr_assert_eq(fp_hello_get(wire, &h, NULL), 0);
	return h;
}

Test(fuse_pipe_server, serves_until_it_is_told_to_end)
{
	auto_tmpdir char *dir = tmpdir_new("server");
	auto_free char *served = path_join(dir, "served"), *sock = path_join(dir, "sock");
	auto_run struct run_result second = RUN_INIT;
	int status = -1;

	cr_assert_eq(mkdir(served, 0755), 0);
	pid_t pid = start(served, sock);
	struct fp_hello h = say_hello(sock);
	cr_expect_eq(h.status, 0);
	cr_expect_eq(h.flags, FP_H_FRESH | FP_H_RECORDS);
	run_argv(&second, (const char *const[]){SERVER, served, sock, NULL}, NULL, NULL, 60000);
	cr_expect_eq(second.status, 7, "one server a state: %s", buf_str(&second.err));
	cr_assert_eq(kill(pid, SIGTERM), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
}
