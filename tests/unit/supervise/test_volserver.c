#include "volserver.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "fp_wire.h"
#include "freezer.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

#define PATIENCE_MS 60000

struct rig {
	char *dir, *source, *name, *target;
	struct host host;
	struct loop *loop;
	struct volume_mount mount;
	struct volserver *server;
	uint64_t ping_ms, silence_ms;
};

static void rig_make_of(struct rig *r, const char *exe)
{
	struct err err = {0};

	*r = (struct rig){.dir = tmpdir_new("volserver")};
	r->source = path_join(r->dir, "source");
	r->name = xstrdup("src");
	r->target = xstrdup("/src");
	cr_assert_eq(mkdir(r->source, 0755), 0);
	cr_assert_geq(host_init(&r->host, r->dir, &err), 0, "%s", err.msg);
	free(r->host.exe);
	r->host.exe = realpath(exe, NULL);
	cr_assert(r->host.exe, "no '%s'", exe);
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	r->mount = (struct volume_mount){
		.name = r->name, .target = r->target, .source = r->source, .cache = VOLUME_SHARED};
}

static void rig_make(struct rig *r)
{
	rig_make_of(r, run_fcvm_path());
}

static int start(struct rig *r, struct err *err)
{
	auto_free char *state = path_join(r->dir, "state");
	auto_close int fd = open(state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	const struct volserver_spec spec = {.host = &r->host,
					    .mount = &r->mount,
					    .tag = "test/vm/one",
					    .state_fd = fd,
					    .ping_ms = r->ping_ms,
					    .silence_ms = r->silence_ms};
	int code = volserver_start(r->loop, &spec, &r->server, err);

	if (code >= 0)
		(void)TAKE_FD(fd);
	return code;
}

static void rig_free(struct rig *r)
{
	volserver_stop(r->server);
	loop_free_p(&r->loop);
	host_free(&r->host);
	tmpdir_remove(&r->dir);
	free(r->source);
	free(r->name);
	free(r->target);
}
#define auto_rig __attribute__((cleanup(rig_free)))

/* A hello of a guest over a stream it is given; the host's status. */
static int greet(struct rig *r)
{
	struct fp_hello h = {.version = FP_VERSION, .n_streams = 1};
	uint8_t wire[FP_HELLO_SIZE];
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	volserver_give(r->server, pair[1]);
	auto_close int fd = pair[0];

	fp_hello_put(&h, wire);
	if (io_write_full(fd, wire, sizeof(wire), 0, NULL) < 0 ||
	    io_read_full(fd, wire, sizeof(wire), deadline_in(PATIENCE_MS), NULL) < 0)
		return -EPIPE;
	cr_assert_eq(fp_hello_get(wire, &h, NULL), 0);
	return h.status;
}

static void await_another(struct rig *r, pid_t old)
{
	uint64_t deadline = deadline_in(PATIENCE_MS);

	while (volserver_pid(r->server) == old || volserver_pid(r->server) == 0) {
		cr_assert_gt(deadline_left(deadline), 0, "nobody took its place");
		cr_assert_geq(loop_once(r->loop, 100, NULL), 0);
	}
}

Test(volserver, it_serves_the_streams_it_is_given)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r);
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_expect_eq(greet(&r), 0);
	cr_expect_eq(volserver_drain(r.server, &err), 0, "%s", err.msg);
}

Test(volserver, a_directory_that_is_not_there_is_an_error_with_its_name)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r);
	cr_assert_eq(rmdir(r.source), 0);
	cr_expect_lt(start(&r, &err), 0);
	cr_expect_not_null(strstr(err.msg, r.source), "%s", err.msg);
	cr_expect_not_null(strstr(err.msg, "volume 'src'"), "%s", err.msg);
}

Test(volserver, one_that_dies_is_replaced)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r);
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	pid_t first = volserver_pid(r.server);

	cr_assert_eq(kill(first, SIGKILL), 0);
	await_another(&r, first);
	cr_expect_eq(greet(&r), 0);
}

/* Alive and deaf: no end tells of it. */
Test(volserver, one_that_answers_nothing_is_killed_and_replaced)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r);
	r.ping_ms = 20;
	r.silence_ms = 100;
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	pid_t first = volserver_pid(r.server);

	cr_assert_eq(kill(first, SIGSTOP), 0);
	await_another(&r, first);
	cr_expect_eq(kill(first, 0), -1, "it is gone");
	cr_expect_eq(greet(&r), 0);
}

Test(volserver, one_that_answers_stays)
{
	auto_rig struct rig r;
	struct err err = {0};
	int rounds = 0;

	rig_make(&r);
	r.ping_ms = 5;
	/* An unanswered ping would be seen at the next one. */
	r.silence_ms = PATIENCE_MS;
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	pid_t first = volserver_pid(r.server);

	while (rounds++ < 100)
		cr_assert_geq(loop_once(r.loop, 1000, NULL), 0);
	cr_expect_eq(volserver_drain(r.server, &err), 0, "%s", err.msg);
	cr_expect_eq(volserver_pid(r.server), first);
	cr_expect_eq(greet(&r), 0);
}

Test(volserver, what_a_guest_has_open_is_saved_only_when_there_is_something)
{
	auto_rig struct rig r;
	struct err err = {0};
	auto_close int fd = memfd_create("saved", MFD_CLOEXEC);
	struct stat st = {0};

	rig_make(&r);
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	cr_expect_eq(volserver_drain(r.server, &err), 0, "%s", err.msg);
	cr_expect_eq(volserver_save(r.server, fd, &err), 0, "%s", err.msg);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_expect_eq(st.st_size, 0);
}

/* The end of its socket comes before the end of its process. */
Test(volserver, what_is_asked_of_one_that_dies_of_it_is_done)
{
	for (int save = 0; save < 2; save++) {
		auto_rig struct rig r;
		struct err err = {0};
		auto_close int fd = memfd_create("saved", MFD_CLOEXEC);

		rig_make_of(&r, TEST_BUILD_DIR "/tests/fake_volserver");
		cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
		int code =
			save ? volserver_save(r.server, fd, &err) : volserver_drain(r.server, &err);
		cr_expect_eq(code, 0, "save %d: %s", save, err.msg);
	}
}

Test(volserver, stopped_it_is_gone)
{
	auto_rig struct rig r;
	struct err err = {0};

	rig_make(&r);
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	pid_t pid = volserver_pid(r.server);

	volserver_stop(r.server);
	r.server = NULL;
	cr_expect_eq(kill(pid, 0), -1);
	cr_expect_eq(errno, ESRCH);
}

/* Its disk hangs. */
Test(volserver, one_that_cannot_be_killed_is_given_up)
{
	auto_free char *freezer = freezer_new();
	auto_rig struct rig r;
	struct err err = {0};
	int status = 0;

	rig_make(&r);
	cr_assert_eq(start(&r, &err), 0, "%s", err.msg);
	pid_t pid = volserver_pid(r.server);

	freezer_take(freezer, pid);
	freezer_freeze(freezer);
	volserver_stop(r.server);
	r.server = NULL;
	cr_expect_eq(waitpid(pid, &status, WNOHANG), 0, "it is there");
	freezer_let_go(freezer);
	cr_expect_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_expect_eq(rmdir(freezer), 0);
}
