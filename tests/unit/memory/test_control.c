/* Its control socket and the announcements made there. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "rig.h"
#include "xalloc.h"

#define WAIT_MS 10000

static int connect_control(struct rig *rig)
{
	struct err err = {0};
	int fd = -1;

	cr_assert_eq(io_unix_connect(rig->sock, deadline_in(WAIT_MS), &fd, &err), 0, "%s", err.msg);
	return fd;
}

Test(control, another_protocol_version_is_told_what_runs)
{
	auto_rig struct rig rig;
	auto_buf struct buf body = BUF_INIT(65536);
	struct err err = {0};
	struct frame f;

	rig_start(&rig, 64);
	auto_close int fd = connect_control(&rig);
	cr_assert_eq(frame_write(fd, 1, 0, "{\"proto\":99}", 12, deadline_in(WAIT_MS), &err), 0);
	cr_assert_eq(frame_read(fd, 65536, &f, &body, deadline_in(WAIT_MS), &err), 0, "%s",
		     err.msg);
	auto_free char *want =
		xasprintf("page server %d speaks protocol 1 (fcvm %s), asked for 99: "
			  "it is running under another version; restart to upgrade",
			  rig.server.pid, FCVM_VERSION);
	cr_expect(strstr(buf_str(&body), want), "%s", buf_str(&body));
	cr_expect_eq(frame_read(fd, 65536, &f, &body, deadline_in(WAIT_MS), &err), -EPIPE);
}

Test(control, nonsense_on_the_control_socket_ends_that_connection_only)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{"\xff\xff\xff\xff\x01\x00\x00\x00", 8},    /* a 4 GiB frame */
		{"\x00\x00\x00\x00\x05\x00\x00\x00", 8},    /* no hello first */
		{"\x00\x00\x00\x00\x00\x00\x00\x00", 8},    /* no type */
		{"\x00\x00\x00\x00\xff\xff\x00\x00", 8},    /* an unknown one */
		{"\x02\x00\x00\x00\x01\x00\x00\x00{{", 10}, /* no JSON */
		{"\x02\x00\x00\x00\x07\x00\x00\x00{}", 10}, /* an answer */
	};
	auto_rig struct rig rig;
	auto_guest struct guest g;

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_close int fd = connect_control(&rig);
		char byte;

		cr_assert_eq(send(fd, cases[i].bytes, cases[i].len, MSG_NOSIGNAL),
			     (ssize_t)cases[i].len);
		cr_assert_eq(io_wait(fd, POLLIN, deadline_in(WAIT_MS)), 1, "%zu", i);
		cr_expect_leq(recv(fd, &byte, 1, MSG_DONTWAIT), 0, "%zu", i);
	}
	cr_expect(rig_page_is_right(g.mem, 0));
}

Test(control, an_announcement_that_makes_no_sense_is_refused_with_a_sentence)
{
	auto_rig struct rig rig;
	struct err err = {0};
	auto_close int not_listening = -1;
	int conn = -1;
	struct proc_id server;

	rig_start(&rig, 64);
	not_listening = connect_control(&rig);
	struct memserver_announce a = {.vm_id = "vm-a", .listen_fd = not_listening};
	cr_assert_eq(proc_id_of(getpid(), &a.vmm, &err), 0);
	cr_expect_eq(memserver_connect(rig.sock, &a, deadline_in(WAIT_MS), &conn, &server, &err),
		     -EINVAL);
	cr_expect_str_eq(err.msg, "an announcement comes with a listening Unix socket");
	a.vm_id = "../x";
	cr_expect_eq(memserver_connect(rig.sock, &a, deadline_in(WAIT_MS), &conn, &server, &err),
		     -EINVAL);
	cr_expect_str_eq(err.msg, "vm_id: expected 1 to 64 letters and digits");
	a.vm_id = "vm-a";
	a.listen_fd = -1;
	cr_expect_eq(memserver_connect(rig.sock, &a, deadline_in(WAIT_MS), &conn, &server, &err),
		     -EINVAL);
	cr_expect_str_eq(err.msg, "a connection announces one VM, with its listening socket");
}

static int connect_as_stranger(const char *path)
{
	pid_t pid = fork();
	struct err err = {0};
	int fd = -1;

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		if (setresuid(RIG_UID + 7, RIG_UID + 7, RIG_UID + 7) < 0)
			_exit(99);
		_exit(-io_unix_connect(path, deadline_in(WAIT_MS), &fd, &err));
	}
	return guest_wait(pid);
}

Test(control, other_users_cannot_even_connect_to_the_control_socket)
{
	auto_rig struct rig rig;

	rig_start(&rig, 64);
	cr_expect_eq(connect_as_stranger(rig.sock), EACCES);
}
