#include "qemu.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "fake_vmm.h"
#include "file.h"
#include "io.h"
#include "run.h"

#define TIMEOUT_MS 20000

static const char *env_of_test(const char *name)
{
	return strcmp(name, "FCVM_QEMU") == 0 ? fake_vmm_path() : NULL;
}

static char kernel[] = "/k", initrd[] = "/i", none[] = "", fstype[] = "squashfs";
static const struct vm_config config = {
	.kernel = kernel,
	.initrd = initrd,
	.cmdline_extra = none,
	.root_fstype = fstype,
	.cpus = 1,
	.memory_bytes = 64u << 20,
	.accel = VM_ACCEL_TCG,
};

/* Everything one VM of the fake engine needs; no uid is changed, so nobody needs root. */
struct rig {
	char *dir, *state, *memory;
	struct host host;
	struct loop *loop;
	struct vm vm;
};

static void script(const struct rig *rig, const char *word)
{
	auto_free char *path = path_join(rig->dir, "script");
	struct err err;

	cr_assert_eq(file_replace(path, word, strlen(word), 0600, &err), 0, "%s", err.msg);
}

static void rig_up(struct rig *rig, const char *word)
{
	struct err err;

	*rig = (struct rig){.dir = tmpdir_new("qemu"), .host = {.getenv = env_of_test}};
	rig->state = path_join(rig->dir, "vmstate");
	rig->memory = path_join(rig->dir, "memory");
	cr_assert_eq(loop_new(&rig->loop, &err), 0);
	rig->vm = (struct vm){.host = &rig->host,
			      .loop = rig->loop,
			      .vm_dir = rig->dir,
			      .tap_fd = -1,
			      .console_fd = -1,
			      .userfaultfd = -1,
			      .shim = "libc.so.6", /* preloads without a word */
			      .pidfd = -1,
			      .channel_fd = -1};
	script(rig, word);
}

/* Every test ends like this: nothing of the VM is left in this process or below it. */
static void rig_down(struct rig *rig)
{
	cr_expect_eq(qemu_ops.stop(&rig->vm, 0, NULL), 0);
	cr_expect_eq(rig->vm.engine, NULL);
	cr_expect_eq(rig->vm.pidfd, -1);
	cr_expect_eq(rig->vm.channel_fd, -1);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
	loop_free_p(&rig->loop);
	free(rig->state);
	free(rig->memory);
	tmpdir_remove(&rig->dir);
}

static int start(struct rig *rig, struct err *err)
{
	return qemu_ops.start(&rig->vm, &config, deadline_in(TIMEOUT_MS), err);
}

Test(qemu, a_start_makes_memory_and_fills_the_lower_half)
{
	auto_free char *path = NULL;
	struct rig rig;
	struct stat st;
	struct err err;

	rig_up(&rig, "ok");
	path = path_join(rig.dir, VM_MEMORY);
	cr_assert_eq(file_replace(path, "left over", 9, 0666, &err), 0);
	cr_assert_eq(start(&rig, &err), 0, "%s", err.msg);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_size, 64 << 20);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_gt(rig.vm.pid, 0);
	cr_expect_geq(rig.vm.channel_fd, 0);
	cr_expect_geq(rig.vm.pidfd, 0);
	rig_down(&rig);
	cr_expect_eq(rig.vm.exit_status, 128 + SIGKILL);
}

Test(qemu, a_link_in_place_of_memory_is_replaced_not_followed)
{
	auto_free char *path = NULL;
	auto_free char *victim = NULL;
	struct rig rig;
	struct stat st;
	struct err err;

	rig_up(&rig, "ok");
	path = path_join(rig.dir, VM_MEMORY);
	victim = path_join(rig.dir, "victim");
	cr_assert_eq(file_replace(victim, "safe", 4, 0600, &err), 0);
	cr_assert_eq(symlink("victim", path), 0);
	cr_assert_eq(start(&rig, &err), 0, "%s", err.msg);
	cr_assert_eq(stat(victim, &st), 0);
	cr_expect_eq(st.st_size, 4);
	rig_down(&rig);
}

Test(qemu, a_start_that_fails_says_what_qemu_said_and_leaves_nothing)
{
	static const struct {
		const char *script;
		uint64_t timeout_ms;
		int code;
		const char *message;
	} cases[] = {
		{"dies", TIMEOUT_MS, -ECONNRESET,
		 "cannot start the VM: qemu closed its monitor: qemu has ended: fake: no such disk; "
		 "fake: giving up"},
		{"silent", 300, -ETIMEDOUT, "cannot start the VM: qemu did not answer in time"},
		{"stuck", TIMEOUT_MS, -EIO,
		 "cannot start the VM: qemu is up but does not run the guest"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig rig;
		struct err err = {.msg = ""};

		rig_up(&rig, cases[i].script);
		cr_expect_eq(
			qemu_ops.start(&rig.vm, &config, deadline_in(cases[i].timeout_ms), &err),
			cases[i].code);
		cr_expect_str_eq(err.msg, cases[i].message);
		rig_down(&rig);
	}
}

Test(qemu, what_cannot_be_done_right_is_not_tried)
{
	struct vm_config with_net = config;
	struct vm_restore from = {.config = &config};
	struct rig rig;
	struct err err;

	rig_up(&rig, "ok");
	rig.host.is_root = true;
	rig.vm.uid = 0;
	cr_expect_eq(start(&rig, &err), -EPERM);
	cr_expect_str_eq(err.msg, "cannot start the VM: qemu is not started as root");
	rig.host.is_root = false;
	with_net.has_net = true;
	cr_expect_eq(qemu_ops.start(&rig.vm, &with_net, 0, &err), -ENODEV);
	cr_expect_str_eq(err.msg,
			 "cannot start the VM: the VM has a NIC, but there is no tap0 here");
	from.backend = MEMORY_UFFD;
	cr_expect_eq(qemu_ops.restore(&rig.vm, &from, 0, &err), -EACCES);
	cr_expect_str_eq(err.msg, "cannot restore the VM: the host refuses /dev/userfaultfd");
	rig.vm.shim = NULL;
	cr_expect_eq(qemu_ops.restore(&rig.vm, &from, 0, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "cannot restore the VM: a restore needs the preload shim");
	rig_down(&rig);
}

static int note_between(void *data, struct err *err)
{
	int *answer = data;

	if (*answer < 0)
		return err_set(err, ERR_HOST, *answer, "the disk is full");
	*answer = 1;
	return 0;
}

Test(qemu, a_snapshot_saves_calls_between_and_goes_on)
{
	struct rig rig;
	struct err err;
	int called = 0;

	rig_up(&rig, "ok");
	cr_assert_eq(start(&rig, &err), 0, "%s", err.msg);
	struct vm_snapshot to = {
		.state_path = rig.state, .between = note_between, .data = &called, .resume = true};
	cr_assert_eq(qemu_ops.snapshot(&rig.vm, &to, deadline_in(TIMEOUT_MS), &err), 0, "%s",
		     err.msg);
	cr_expect_eq(called, 1);
	cr_expect(file_exists(rig.state));
	cr_expect_eq(qemu_ops.snapshot(&rig.vm, &to, deadline_in(TIMEOUT_MS), &err), -EEXIST);
	rig_down(&rig);
}

Test(qemu, a_snapshot_that_does_not_go_on_is_the_last_one)
{
	struct rig rig;
	struct err err;

	rig_up(&rig, "ok");
	cr_assert_eq(start(&rig, &err), 0, "%s", err.msg);
	struct vm_snapshot to = {.state_path = rig.state};
	cr_assert_eq(qemu_ops.snapshot(&rig.vm, &to, deadline_in(TIMEOUT_MS), &err), 0);
	cr_expect_eq(qemu_ops.snapshot(&rig.vm, &to, deadline_in(TIMEOUT_MS), &err), -EALREADY);
	cr_expect_str_eq(err.msg, "the VM has been snapshotted for good");
	/* A paused guest cannot act on being asked: no grace is spent on it. */
	cr_expect_eq(qemu_ops.stop(&rig.vm, UINT32_MAX, &err), 0);
	rig_down(&rig);
}

Test(qemu, a_snapshot_that_fails_leaves_no_state_file)
{
	static const struct {
		const char *script;
		int between, code;
		const char *message;
	} cases[] = {
		{"no-migrate", 0, -EIO,
		 "cannot snapshot the VM: qemu could not save the VM's state"},
		{"dies-saving", 0, -ECONNRESET,
		 "cannot snapshot the VM: qemu closed its monitor: qemu has ended"},
		{"ok", -ENOSPC, -ENOSPC, "cannot snapshot the VM: the disk is full"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig rig;
		struct err err = {.msg = ""};
		int answer = cases[i].between;

		rig_up(&rig, cases[i].script);
		cr_assert_eq(start(&rig, &err), 0, "%s", err.msg);
		struct vm_snapshot to = {.state_path = rig.state,
					 .between = note_between,
					 .data = &answer,
					 .resume = true};
		cr_expect_eq(qemu_ops.snapshot(&rig.vm, &to, deadline_in(TIMEOUT_MS), &err),
			     cases[i].code);
		cr_expect_str_eq(err.msg, cases[i].message);
		cr_expect_not(file_exists(rig.state));
		rig_down(&rig);
	}
}

static int restore(struct rig *rig, enum memory_backend backend, struct vm_restore *from,
		   struct err *err)
{
	from->config = &config;
	from->state_path = rig->state;
	from->memory_path = rig->memory;
	from->backend = backend;
	cr_assert_eq(file_replace(rig->state, "state", 5, 0600, err), 0);
	return qemu_ops.restore(&rig->vm, from, deadline_in(TIMEOUT_MS), err);
}

Test(qemu, a_restore_ends_with_the_resume_event)
{
	struct vm_restore from = {.data = NULL};
	struct vm_snapshot to;
	struct rig rig;
	struct err err;

	rig_up(&rig, "ok");
	cr_assert_eq(restore(&rig, MEMORY_FILE, &from, &err), 0, "%s", err.msg);
	to = (struct vm_snapshot){.state_path = "/nowhere"};
	cr_expect_eq(qemu_ops.snapshot(&rig.vm, &to, 0, &err), -EOPNOTSUPP);
	cr_expect_str_eq(err.msg, "a clone cannot be snapshotted in this version");
	rig_down(&rig);
}

struct announced {
	pid_t pid;
	int answer;
	bool has_run;
};

static int on_announce(void *data, pid_t pid, struct err *err)
{
	struct announced *a = data;
	auto_buf struct buf cmdline = BUF_INIT(1 << 16);
	char path[64], chunk[4096];
	ssize_t n;

	a->pid = pid;
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		buf_add(&cmdline, chunk, (size_t)n);
	a->has_run = cmdline.len == 0 || memmem(cmdline.data, cmdline.len, "-nodefaults", 11);
	return a->answer < 0 ? err_set(err, ERR_HOST, a->answer, "the server is gone") : 0;
}

Test(qemu, uffd_announces_a_process_that_has_not_run_yet)
{
	struct announced seen = {.pid = 0};
	struct vm_restore from = {.announce = on_announce, .data = &seen};
	auto_close int device = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct rig rig;
	struct err err;

	rig_up(&rig, "ok");
	rig.vm.userfaultfd = device;
	cr_assert_eq(restore(&rig, MEMORY_UFFD, &from, &err), 0, "%s", err.msg);
	cr_expect_eq(seen.pid, rig.vm.pid);
	cr_expect_not(seen.has_run);
	rig_down(&rig);
}

Test(qemu, a_restore_that_the_server_refuses_starts_nothing)
{
	struct announced seen = {.answer = -ECONNREFUSED};
	struct vm_restore from = {.announce = on_announce, .data = &seen};
	auto_close int device = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct rig rig;
	struct err err;

	rig_up(&rig, "ok");
	rig.vm.userfaultfd = device;
	cr_expect_eq(restore(&rig, MEMORY_UFFD, &from, &err), -ECONNREFUSED);
	cr_expect_str_eq(err.msg, "cannot restore the VM: the server is gone");
	rig_down(&rig);
}

Test(qemu, a_restore_that_fails_leaves_nothing_running)
{
	static const struct {
		const char *script, *message;
	} cases[] = {
		{"no-shim", "cannot restore the VM: the preload shim did not announce itself"},
		{"wrong-shim", "cannot restore the VM: the preload shim did not announce itself"},
		{"completed", "cannot restore the VM: the state is loaded, but no vCPU runs"},
		{"dies", "cannot restore the VM: qemu closed its monitor: qemu has ended: fake: no "
			 "such disk; fake: giving up"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vm_restore from = {.data = NULL};
		struct rig rig;
		struct err err = {.msg = ""};

		rig_up(&rig, cases[i].script);
		cr_expect_lt(restore(&rig, MEMORY_FILE, &from, &err), 0);
		cr_expect_str_eq(err.msg, cases[i].message);
		rig_down(&rig);
	}
}

Test(qemu, a_stop_asks_first_and_kills_at_the_grace)
{
	static const struct {
		const char *script;
		uint64_t grace_ms;
		int status;
	} cases[] = {
		{"ok", TIMEOUT_MS, 0}, {"stubborn", 1, 128 + SIGKILL}, {"ok", 0, 128 + SIGKILL}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig rig;
		struct err err;

		rig_up(&rig, cases[i].script);
		cr_assert_eq(start(&rig, &err), 0, "%s", err.msg);
		cr_expect_eq(qemu_ops.stop(&rig.vm, cases[i].grace_ms, &err), 0);
		cr_expect_eq(rig.vm.exit_status, cases[i].status);
		rig_down(&rig);
	}
}

Test(qemu, a_vmm_that_died_by_itself_is_reaped_by_stop)
{
	struct rig rig;
	struct err err;

	rig_up(&rig, "ok");
	cr_assert_eq(start(&rig, &err), 0, "%s", err.msg);
	cr_assert_eq(proc_signal(rig.vm.pidfd, SIGTERM), 0);
	cr_expect_eq(qemu_ops.stop(&rig.vm, TIMEOUT_MS, &err), 0);
	cr_expect_eq(rig.vm.exit_status, 128 + SIGTERM);
	rig_down(&rig);
}
