#include "fc_calls.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "run.h"
#include "strv.h"
#include "xalloc.h"

#define ANSWER_MS 10000
#define END_MS 5000
#define CROWD 10 /* connections at a time */

struct calls {
	const char *program;
	char *top, *dir;
	int n;
	pid_t pid;
};

static void put_file(const char *dir, const char *name, const void *data, size_t len)
{
	auto_free char *path = path_join(dir, name);

	cr_assert_geq(file_replace(path, data, len, 0600, NULL), 0);
}

static void copy_file(const char *from, const char *dir, const char *name)
{
	auto_buf struct buf bytes = BUF_INIT(64u << 20);
	struct err err = {0};

	cr_assert_geq(file_read(from, bytes.max - 1, &bytes, &err), 0, "%s", err.msg);
	put_file(dir, name, bytes.data, bytes.len);
}

static void end(struct calls *c)
{
	if (c->pid > 0) {
		(void)kill(c->pid, SIGKILL);
		(void)waitpid(c->pid, NULL, 0);
	}
	c->pid = 0;
}

static void make_dir(struct calls *c)
{
	static const char zeros[4096];
	auto_free char *name = xasprintf("vm-%d", c->n++);

	free(c->dir);
	c->dir = path_join(c->top, name);
	cr_assert_eq(mkdir(c->dir, 0700), 0);
	put_file(c->dir, "kernel", "\177ELF bad", 8);
	put_file(c->dir, "disk", zeros, sizeof(zeros));
	put_file(c->dir, "badstate", "nonsense, nonsense, nonsense", 28);
	copy_file(TEST_BUILD_DIR "/tests/tiny-guest", c->dir, "guest");
}

static int dial(const struct calls *c)
{
	int fd = -1;

	if (io_unix_connect_owned(c->dir, "api.sock", geteuid(), deadline_in(ANSWER_MS), &fd,
				  NULL) < 0)
		return -1;
	return fd;
}

static void begin(struct calls *c)
{
	uint64_t deadline_ms = deadline_in(ANSWER_MS);
	int fd = -1;

	end(c);
	make_dir(c);
	c->pid = fork();
	if (c->pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (null < 0 || chdir(c->dir) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
		    dup2(null, 2) < 0)
			_exit(126);
		(void)execl(c->program, c->program, "--api-sock", "api.sock", NULL);
		_exit(127);
	}
	while ((fd = dial(c)) < 0 && now_ms() < deadline_ms)
		(void)usleep(2000);
	cr_assert_geq(fd, 0, "'%s' does not open its API", c->program);
	(void)close(fd);
}

/* The head up to its empty line, then what it says follows. */
static void read_answer(int fd, struct buf *ret)
{
	const char *length = NULL, *body = NULL;
	char chunk[65536];
	size_t want = 0;

	while (!body || ret->len < want) {
		if (io_wait(fd, POLLIN, deadline_in(ANSWER_MS)) != 1)
			return;
		ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

		if (n <= 0)
			return;
		buf_add(ret, chunk, (size_t)n);
		body = strstr(buf_str(ret), "\r\n\r\n");
		length = strstr(buf_str(ret), "Content-Length: ");
		if (body)
			want = (size_t)(body + 4 - buf_str(ret)) +
			       (length ? (size_t)strtoul(length + 16, NULL, 10) : 0);
	}
}

static void put_answer(const struct buf *in, struct buf *ret)
{
	const char *text = strstr(buf_str(in), "\r\n\r\n");

	buf_addf(ret, "    %.*s| %s\n", (int)strcspn(buf_str(in), "\r\n"), buf_str(in),
		 text ? text + 4 : "");
}

static void request(const struct calls *c, const char *line, struct buf *ret)
{
	auto_buf struct buf out = BUF_INIT(1u << 20), in = BUF_INIT(1u << 20);
	const char *path = strchr(line, ' ') + 1, *body = strchr(path, ' ');
	size_t path_len = body ? (size_t)(body - path) : strlen(path);
	auto_close int fd = dial(c);

	buf_addf(&out, "%.*s %.*s HTTP/1.1\r\nHost: localhost\r\n", (int)(path - line - 1), line,
		 (int)path_len, path);
	if (body)
		buf_addf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
			 strlen(body + 1), body + 1);
	else
		buf_add_str(&out, "\r\n");
	cr_assert_geq(fd, 0, "no connection for '%s'", line);
	cr_assert_geq(io_write_full(fd, out.data, out.len, deadline_in(ANSWER_MS), NULL), 0);
	read_answer(fd, &in);
	buf_addf(ret, "%s\n", line);
	put_answer(&in, ret);
}

/* One connection more than there may be is answered before it asks. */
static void crowd(const struct calls *c, struct buf *ret)
{
	auto_buf struct buf in = BUF_INIT(1u << 20);
	int fds[CROWD + 1];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial(c);
		cr_assert_geq(fds[i], 0, "connection %zu", i);
	}
	read_answer(fds[CROWD], &in);
	buf_add_str(ret, "crowd\n");
	put_answer(&in, ret);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

static void keep(const struct calls *c)
{
	static const char *const names[] = {"vmstate", "memory"};
	auto_free char *kept = path_join(c->top, "kept");

	cr_assert_geq(file_mkdir_p(kept, 0700, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *from = path_join(c->dir, names[i]);

		copy_file(from, kept, names[i]);
	}
}

static void exited(struct calls *c, struct buf *ret)
{
	uint64_t deadline_ms = deadline_in(END_MS);
	int status = 0;

	while (waitpid(c->pid, &status, WNOHANG) == 0 && now_ms() < deadline_ms)
		(void)usleep(2000);
	c->pid = 0;
	buf_addf(ret, "exited %d\n", WEXITSTATUS(status));
}

static void run_line(struct calls *c, const char *line, struct buf *ret)
{
	if (strcmp(line, "new") == 0) {
		begin(c);
		buf_add_str(ret, "new\n");
	} else if (strcmp(line, "keep") == 0) {
		keep(c);
	} else if (strcmp(line, "exited") == 0) {
		exited(c, ret);
	} else if (strcmp(line, "crowd") == 0) {
		crowd(c, ret);
	} else if (*line && *line != '#') {
		request(c, line, ret);
	}
}

void fc_calls_run(const char *program, struct buf *ret)
{
	auto_buf struct buf list = BUF_INIT(1u << 20);
	auto_tmpdir char *top = tmpdir_new("fc-calls");
	auto_free char *real = realpath(program, NULL);
	struct calls c = {.program = real, .top = top};

	cr_assert(real, "no '%s'", program);
	cr_assert_geq(file_read("tests/data/fc-calls.txt", list.max - 1, &list, NULL), 0);
	for (char *at = list.data; *at;) {
		size_t n = strcspn(at, "\n");
		auto_free char *line = xstrndup(at, n);

		at += n + (at[n] == '\n');
		run_line(&c, line, ret);
	}
	end(&c);
	free(c.dir);
}
