/* VMMs that are not who they should be, or do what they should not. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "rig.h"
#include "xalloc.h"

#define WAIT_MS 10000

static int idle(struct guest *g, void *data)
{
	(void)data;
	guest_hand_off(g);
	(void)pause();
	return 0;
}

/* After a VM was refused or lost: others are served, and the counts tell. */
static void expect_still_serving(struct rig *rig, uint64_t refused)
{
	auto_guest struct guest g;

	guest_init(&g);
	guest_start(rig, &g, "vm-after");
	cr_expect(rig_page_is_right(g.mem + 4 * PAGE, 4));
	rig_expect(rig, "refused", refused);
}

static int connect_only(struct guest *g, void *data)
{
	char byte;

	(void)data;
	guest_connect(g);
	/* End of file, or a reset: we sent nothing that was read. */
	return read(g->sock, &byte, 1) == 0 || errno == ECONNRESET ? 0 : 1;
}

Test(served, another_process_or_user_than_announced_is_turned_away)
{
	auto_rig struct rig rig;
	auto_guest struct guest g, other;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	guest_init(&other);
	/* Announced: this process, as another user. The right pid is not enough. */
	cr_assert_eq(guest_announce(&rig, &g, "vm-a", getpid(), RIG_UID + 1, &err), 0);
	cr_expect_eq(connect_only(&g, NULL), 0);
	/* Announced: a child; this process comes. The right user is not enough. */
	pid_t pid = guest_fork(&rig, &other, "vm-b", 0, idle, NULL);
	cr_assert_eq(guest_listen(&other, &err), 1);
	expect_still_serving(&rig, 1);
	(void)kill(pid, SIGKILL);
	cr_expect_eq(guest_wait(pid), 128 + SIGKILL);
}

static int wait_for_death(struct guest *g, void *data)
{
	(void)g;
	(void)data;
	(void)pause();
	return 0;
}

Test(served, a_stranger_does_not_spoil_the_announcement)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	pid_t pid = guest_fork(&rig, &g, "vm-a", 0, wait_for_death, NULL);
	cr_expect_eq(connect_only(&g, NULL), 0);
	cleanup_close_p(&g.sock);
	expect_still_serving(&rig, 1);
	cr_expect_eq(memserver_ping(g.conn, &err), 0);
	cr_expect_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	/* Sixteen in a row is no accident. */
	for (int i = 1; i < 15; i++) {
		cr_expect_eq(connect_only(&g, NULL), 0);
		cleanup_close_p(&g.sock);
	}
	(void)connect_only(&g, NULL);
	cr_expect_eq(guest_listen(&g, &err), -EPERM);
	cr_expect(strstr(err.msg, "connected, expected process"), "%s", err.msg);
	(void)kill(pid, SIGKILL);
	(void)guest_wait(pid);
}

Test(served, a_process_of_another_start_time_or_that_is_gone_cannot_be_announced)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct memserver_announce a = {.vm_id = "vm-a", .uid = getuid()};
	struct proc_id server;
	struct err err = {0};
	int conn = -1;

	rig_start(&rig, 64);
	guest_init(&g);
	cr_assert_eq(guest_announce(&rig, &g, "vm-x", getpid(), getuid(), &err), 0);
	cr_assert_eq(proc_id_of(getpid(), &a.vmm, &err), 0);
	a.vmm.start_time++;
	a.listen_fd = g.listen;
	cr_expect_eq(memserver_connect(rig.sock, &a, deadline_in(WAIT_MS), &conn, &server, &err),
		     -ESRCH);
	auto_free char *want = xasprintf("vm vm-a: process %d is gone", getpid());
	cr_expect_str_eq(err.msg, want);
	cr_expect_eq(conn, -1);
}

Test(served, only_one_hand_off_is_taken)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;

	rig_start(&rig, 64);
	guest_init(&g);
	guest_start(&rig, &g, "vm-a");
	auto_close int second = -1;
	struct err err = {0};
	cr_expect_eq(io_unix_connect(g.path, deadline_in(WAIT_MS), &second, &err), -ECONNREFUSED);
	cr_expect(rig_page_is_right(g.mem, 0), "the first is still served");
}

#define GOOD "\"size\":262144,\"offset\":0,\"page_size\":4096"

/* One region at the guest's memory; caller frees. */
static char *layout(const struct guest *g, const char *rest)
{
	return xasprintf("[{\"base_host_virt_addr\":%ju,%s}]", (uintmax_t)(uintptr_t)g->mem, rest);
}

static const struct refused {
	const char *rest; /* of the one region */
	const char *text; /* or the whole of it */
	bool not_a_uffd, hang_up;
	int code;
	const char *message;
} refused[] = {
	{.rest = GOOD,
	 .not_a_uffd = true,
	 .code = -EINVAL,
	 .message = "the VM sent another kind of descriptor, expected a userfaultfd"},
	{.text = "garbage]",
	 .code = -EINVAL,
	 .message = "memory layout: invalid JSON at byte 0: unexpected character"},
	{.text = "[]",
	 .code = -EINVAL,
	 .message = "memory layout: expected 1 to 16 regions, got 0"},
	{.rest = "\"size\":266240,\"offset\":0,\"page_size\":4096",
	 .code = -ERANGE,
	 .message = "memory layout: memory region at offset 0x0, size 0x41000: expected it inside "
		    "the memory file of 0x40000 bytes"},
	{.text = "[{",
	 .hang_up = true,
	 .code = -EPIPE,
	 .message = "the VM hung up in the middle of its hand-off"},
};

Test(served, a_bad_hand_off_ends_that_vm_and_no_other)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct refused *c = &refused[i];
		auto_rig struct rig rig;
		auto_guest struct guest g, before;
		struct err err = {0};

		rig_start(&rig, 64);
		guest_init(&g);
		guest_init(&before);
		guest_start(&rig, &before, "vm-before");
		cr_assert_eq(guest_announce(&rig, &g, "vm-a", getpid(), getuid(), &err), 0);
		guest_map(&g, 64, UFFD_FEATURE_EVENT_REMOVE);
		guest_connect(&g);
		auto_free char *text = c->text ? xstrdup(c->text) : layout(&g, c->rest);
		guest_send(&g, text, c->not_a_uffd ? &g.listen : &g.uffd, 1);
		if (c->hang_up)
			cleanup_close_p(&g.sock);
		cr_expect_eq(guest_listen(&g, &err), c->code, "%zu: %d", i, err.code);
		auto_free char *want =
			xasprintf("the page server cannot serve this VM: %s", c->message);
		cr_expect_str_eq(err.msg, want);
		cr_expect_eq(guest_listen(&g, &err), -EPIPE, "and then the connection ends");
		cr_expect(rig_page_is_right(before.mem + PAGE, 1), "%zu: others go on", i);
		expect_still_serving(&rig, 1);
	}
}

Test(served, descriptors_beyond_the_first_are_closed_and_do_no_harm)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};
	char byte;
	int ends[2];

	rig_start(&rig, 64);
	guest_init(&g);
	cr_assert_eq(guest_announce(&rig, &g, "vm-a", getpid(), getuid(), &err), 0);
	guest_map(&g, 64, UFFD_FEATURE_EVENT_REMOVE);
	guest_connect(&g);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	auto_free char *text = layout(&g, GOOD);
	guest_send(&g, text, (int[]){g.uffd, ends[1]}, 2);
	cr_expect_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	cr_expect(rig_page_is_right(g.mem, 0));
	cleanup_close_p(&ends[1]);
	cr_expect_eq(io_wait(ends[0], POLLIN, deadline_in(WAIT_MS)), 1);
	cr_expect_eq(read(ends[0], &byte, 1), 0, "no one holds the write end any more");
}

Test(served, body_and_descriptor_may_come_apart)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	cr_assert_eq(guest_announce(&rig, &g, "vm-a", getpid(), getuid(), &err), 0);
	guest_map(&g, 64, UFFD_FEATURE_EVENT_REMOVE);
	guest_connect(&g);
	auto_free char *text = layout(&g, GOOD);
	char *last = text + strlen(text) - 1;
	*last = '\0';
	guest_send(&g, text, NULL, 0);
	guest_send(&g, "]", &g.uffd, 1);
	cr_expect_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	cr_expect(rig_page_is_right(g.mem, 0));
}

/* --- hostile after the hand-off --- */

static int fault_outside(struct guest *g, void *data)
{
	auto_free char *text = layout(g, "\"size\":4096,\"offset\":0,\"page_size\":4096");

	(void)data;
	guest_connect(g);
	guest_send(g, text, &g->uffd, 1);
	return g->mem[PAGE]; /* registered, never announced: waits for ever */
}

static int clear_nonblock(struct guest *g, void *data)
{
	(void)data;
	guest_hand_off(g);
	/* Served once: the server has set it and will not again. */
	if (g->mem[0] != rig_byte(0) || io_set_nonblock(g->uffd, false) < 0)
		return 98;
	/* A thread that looks on may still answer; one that waits is told of the error. */
	for (size_t page = 1; page < g->len / PAGE; page++) {
		if (g->mem[page * PAGE] != rig_byte(page * PAGE))
			return 97;
		(void)poll(NULL, 0, 10);
	}
	return 0;
}

/* The kernel puts the descriptor of the child's userfaultfd into the reader's table. */
static int fork_event(struct guest *g, void *data)
{
	(void)data;
	(void)munmap(g->mem, g->len);
	guest_map(g, 64, UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_FORK);
	guest_hand_off(g);
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	(void)pause();
	return 0;
}

/* userfaultfds the process has open. */
static size_t count_uffds(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/fd", pid);
	auto_closedir DIR *dir = opendir(path);
	const struct dirent *entry = NULL;
	char target[64];
	size_t n = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		target[len > 0 ? len : 0] = '\0';
		n += strcmp(target, "anon_inode:[userfaultfd]") == 0;
	}
	return n;
}

static void expect_dropped(uid_t uid, guest_fn fn, int code, const char *part)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};

	rig_start(&rig, 64);
	guest_init(&g);
	pid_t pid = guest_fork(&rig, &g, "vm-a", uid, fn, NULL);
	cr_assert_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	cr_expect_eq(guest_listen(&g, &err), code, "%s", err.msg);
	cr_expect(strstr(err.msg, part), "%s", err.msg);
	expect_still_serving(&rig, 0);
	(void)kill(pid, SIGKILL);
	cr_expect_eq(guest_wait(pid), 128 + SIGKILL, "it never went on");
	cleanup_close_p(&g.conn);
	/* Freed by the serving thread, which no question to the server waits for. */
	for (int i = 0; i < 1000 && count_uffds(rig.server.pid) > 0; i++)
		(void)poll(NULL, 0, 5);
	cr_expect_eq(count_uffds(rig.server.pid), 0);
}

Test(served, a_fault_outside_the_announced_memory_ends_that_vm)
{
	expect_dropped(RIG_UID + 1, fault_outside, -ERANGE, "outside the memory it announced");
}

Test(served, a_userfaultfd_made_blocking_ends_that_vm)
{
	expect_dropped(RIG_UID + 1, clear_nonblock, -EPROTO, "it blocks or is not set up");
}

Test(served, a_fork_event_ends_that_vm_and_leaves_no_descriptor)
{
	expect_dropped(0, fork_event, -EPROTO, "expected a page fault or a removal");
}

/* One page before it says so, another when told. */
static int read_when_told(struct guest *g, void *data)
{
	const int *pair = data;
	char byte;

	guest_hand_off(g);
	if (g->mem[PAGE] != rig_byte(PAGE) || write(pair[1], "x", 1) != 1 ||
	    read(pair[1], &byte, 1) != 1)
		return 98;
	return g->mem[4 * PAGE];
}

Test(served, truncated_snapshot_memory_ends_the_vm_instead_of_reading_as_zero)
{
	auto_rig struct rig rig;
	auto_guest struct guest g;
	struct err err = {0};
	int pair[2];
	char byte;

	rig_start(&rig, 64);
	guest_init(&g);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid_t pid = guest_fork(&rig, &g, "vm-a", RIG_UID + 1, read_when_told, pair);
	cr_assert_eq(guest_listen(&g, &err), 1, "%s", err.msg);
	cr_assert_eq(read(pair[0], &byte, 1), 1);
	cr_assert_eq(truncate(rig.memory, 0), 0);
	cr_assert_eq(write(pair[0], "g", 1), 1);
	cr_expect_eq(guest_listen(&g, &err), -EFAULT, "%s", err.msg);
	cr_expect_str_eq(err.msg,
			 "the page server cannot serve this VM: cannot read snapshot memory "
			 "at byte 16384 of 262144: was it truncated?");
	(void)kill(pid, SIGKILL);
	cr_expect_eq(guest_wait(pid), 128 + SIGKILL, "it never went on");
}
