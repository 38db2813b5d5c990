#include "pump_host.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "fp_process.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define PATIENCE_MS 60000

static void start_server(struct pump_host *h)
{
	int pair[2], state = memfd_create("state", MFD_CLOEXEC);
	char text[FP_SENTENCE_MAX] = "";

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	h->server = fork();
	cr_assert_geq(h->server, 0);
	if (h->server == 0) {
		char *argv[] = {xstrdup("volumes"),
				xasprintf("--dir=%s", h->root),
				xasprintf("--timeout-ms=100"),
				xasprintf("--control-fd=%d", pair[1]),
				xasprintf("--state-fd=%d", state),
				NULL};

		(void)close(pair[0]);
		_exit(fp_process_internal(5, argv, NULL) < 0);
	}
	(void)close(state);
	(void)close(pair[1]);
	h->control = pair[0];
	cr_assert_gt(io_wait(h->control, POLLIN, deadline_in(PATIENCE_MS)), 0);
	cr_assert_gt(recv(h->control, text, sizeof(text) - 1, 0), 0);
	cr_assert_eq(text[0], FP_SAYS_READY, "%s", text);
}

void pump_host_start(struct pump_host *h)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	if (access("/dev/fuse", R_OK | W_OK) < 0)
		cr_skip_test("needs /dev/fuse");
	if (unshare(CLONE_NEWNS) < 0)
		cr_skip_test("needs a mount namespace");
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	*h = (struct pump_host){.dir = tmpdir_new("pump")};
	h->root = path_join(h->dir, "root");
	h->target = path_join(h->dir, "in/guest");
	cr_assert_eq(mkdir(h->root, 0755), 0);
	start_server(h);
}

void pump_host_stop(struct pump_host *h)
{
	(void)umount2(h->target, MNT_DETACH);
	cleanup_close_p(&h->control);
	cr_expect_eq(waitpid(h->server, NULL, 0), h->server);
	tmpdir_remove(&h->dir);
	free(h->root);
	free(h->target);
}

void pump_host_give(struct pump_host *h, int fd)
{
	static const char order = FP_ORDER_STREAM;
	auto_close int stream = fd;

	cr_assert_eq(io_send_fds(h->control, &order, 1, &stream, 1, NULL), 0);
}

int pump_host_stream(struct pump_host *h)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pump_host_give(h, pair[1]);
	return pair[0];
}
