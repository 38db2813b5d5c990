#include "fp_process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_wire.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define PATIENCE_MS 60000

struct served {
	char *dir;
	int control;
	pid_t pid;
};

/* In a child, since it confines itself for good. */
static void begin(struct served *s, const char *dir)
{
	int pair[2];

	*s = (struct served){.dir = tmpdir_new("process")};
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	int state = memfd_create("state", MFD_CLOEXEC);
	s->pid = fork();
	cr_assert_geq(s->pid, 0);
	if (s->pid == 0) {
		char *argv[] = {xstrdup("volumes"), xasprintf("--dir=%s", dir ? dir : s->dir),
				xasprintf("--control-fd=%d", pair[1]),
				xasprintf("--state-fd=%d", state), NULL};

		(void)close(pair[0]);
		_exit(fp_process_internal(4, argv, NULL) < 0);
	}
	(void)close(state);
	(void)close(pair[1]);
	s->control = pair[0];
}

static int end(struct served *s)
{
	int status = -1;

	cleanup_close_p(&s->control);
	cr_assert_eq(waitpid(s->pid, &status, 0), s->pid);
	tmpdir_remove(&s->dir);
	return status;
}

static char hear(const struct served *s, char text[FP_SENTENCE_MAX])
{
	cr_assert_gt(io_wait(s->control, POLLIN, deadline_in(PATIENCE_MS)), 0);
	ssize_t n = recv(s->control, text, FP_SENTENCE_MAX - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text[0];
}

Test(fp_process, it_says_ready_serves_drains_and_ends_with_the_socket)
{
	static const char stream = FP_ORDER_STREAM, drain = FP_ORDER_DRAIN;
	struct fp_hello h = {.version = FP_VERSION, .n_streams = 1};
	uint8_t wire[FP_HELLO_SIZE];
	char text[FP_SENTENCE_MAX];
	struct served s;
	int pair[2];

	begin(&s, NULL);
	cr_assert_eq(hear(&s, text), FP_SAYS_READY);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_assert_eq(io_send_fds(s.control, &stream, 1, &pair[1], 1, NULL), 0);
	(void)close(pair[1]);
	fp_hello_put(&h, wire);
	cr_assert_eq(io_write_full(pair[0], wire, sizeof(wire), 0, NULL), 0);
	cr_assert_eq(io_read_full(pair[0], wire, sizeof(wire), deadline_in(PATIENCE_MS), NULL), 0);
	cr_assert_eq(fp_hello_get(wire, &h, NULL), 0);
	cr_expect_eq(h.status, 0);
	cr_assert_eq(send(s.control, &drain, 1, 0), 1);
	cr_expect_eq(hear(&s, text), FP_SAYS_DRAINED);
	cr_expect_eq(end(&s), 0);
	(void)close(pair[0]);
}

Test(fp_process, what_it_cannot_serve_is_a_sentence)
{
	char text[FP_SENTENCE_MAX];
	struct served s;

	begin(&s, "/nowhere/at/all");
	cr_assert_eq(hear(&s, text), FP_SAYS_FAILED);
	cr_expect_not_null(strstr(text, "'/nowhere/at/all'"), "%s", text);
	cr_expect_neq(end(&s), 0);
}

Test(fp_process, without_its_descriptors_it_refuses)
{
	char *argv[] = {xstrdup("volumes"), xstrdup("--dir=/"), NULL};
	struct err err = {0};

	cr_expect_eq(fp_process_internal(2, argv, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "internal volumes: expected --dir, --control-fd and --state-fd");
	free(argv[0]);
	free(argv[1]);
}
