/* test_ctl.c - whom ctl.sock serves: its directory can be entered by everybody (decisions 14), so
 * the mode of the socket is not all that stands between. */
#include "ctl.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "run.h"

#define NOBODY 65534
#define WAIT_MS 30000

enum heard { HEARD_ANSWER, HEARD_NOTHING, HEARD_TROUBLE };

/* A client of its own, as that user: what comes back on a hello. */
static enum heard say_hello(const char *path, uid_t uid)
{
	static const char hello[] = "{\"proto\":1,\"fcvm\":\"test\"}";
	uint64_t deadline = deadline_in(WAIT_MS);
	auto_buf struct buf body = BUF_INIT(FRAME_BODY_MAX);
	auto_close int fd = -1;
	struct frame f;

	if (uid != 0 && setresuid(uid, uid, uid) < 0)
		return HEARD_TROUBLE;
	if (io_unix_connect(path, deadline, &fd, NULL) < 0)
		return HEARD_TROUBLE;
	/* It may be closed already; then nothing comes back either. */
	(void)frame_write(fd, CTL_HELLO, 0, hello, sizeof(hello) - 1, deadline, NULL);
	if (frame_read(fd, FRAME_BODY_MAX, &f, &body, deadline, NULL) < 0)
		return HEARD_NOTHING;
	return f.type == CTL_HELLO ? HEARD_ANSWER : HEARD_TROUBLE;
}

static void on_request(void *data, struct ctl_request *req, const char *verb,
		       struct json_object *args)
{
	(void)data, (void)verb, (void)args;
	ctl_reply(req, NULL);
}

static enum heard ask_as(struct loop *loop, const char *path, uid_t uid)
{
	uint64_t deadline = deadline_in(WAIT_MS);
	int status = 0;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit((int)say_hello(path, uid));
	while (waitpid(pid, &status, WNOHANG) == 0) {
		cr_assert_gt(deadline_left(deadline), 0);
		cr_assert_geq(loop_once(loop, 10, NULL), 0);
	}
	cr_assert(WIFEXITED(status));
	return (enum heard)WEXITSTATUS(status);
}

Test(ctl, root_is_served_and_another_user_is_not_whatever_the_mode_of_the_socket)
{
	auto_tmpdir char *dir = tmpdir_new("ctl");
	auto_free char *path = path_join(dir, CTL_SOCK);
	auto_loop struct loop *loop = NULL;
	struct ctl *ctl = NULL;
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("needs root to be two users");
	cr_assert_eq(loop_new(&loop, &err), 0, "%s", err.msg);
	cr_assert_eq(ctl_new(loop, path, on_request, NULL, &ctl, &err), 0, "%s", err.msg);
	cr_assert_eq(chmod(dir, 0711), 0);
	cr_assert_eq(chmod(path, 0666), 0);
	cr_expect_eq(ask_as(loop, path, 0), HEARD_ANSWER);
	cr_expect_eq(ask_as(loop, path, NOBODY), HEARD_NOTHING);
	ctl_free(ctl);
}
