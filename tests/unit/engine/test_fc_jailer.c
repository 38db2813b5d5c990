/* The arguments and files of the jailer; with root, the engine behind the fake one. */
#include "fc_jailer.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "firecracker.h"
#include "io.h"
#include "run.h"
#include "vmgroup.h"
#include "xalloc.h"

#define TIMEOUT_MS 20000
#define UID 1879048210u

static char *fc, *jailer, *path;

static const char *env_of_test(const char *name)
{
	if (strcmp(name, "FCVM_FIRECRACKER") == 0)
		return fc;
	if (strcmp(name, "FCVM_JAILER") == 0)
		return jailer;
	return strcmp(name, "PATH") == 0 ? path : NULL;
}

static struct host host_root = {.is_root = true, .getenv = env_of_test};

static char *program(const char *dir, const char *name, const char *from)
{
	auto_buf struct buf bytes = BUF_INIT(64u << 20);
	char *to = path_join(dir, name);

	cr_assert_eq(file_read(from, bytes.max - 1, &bytes, NULL), 0);
	cr_assert_eq(file_replace(to, bytes.data, bytes.len, 0755, NULL), 0);
	return to;
}

Test(fc_jailer, it_is_named_or_beside_firecracker_or_on_path)
{
	auto_tmpdir char *a = tmpdir_new("jailer-a"), *b = tmpdir_new("jailer-b");
	auto_free char *beside = program(a, "jailer", "/bin/true");
	auto_free char *on_path = program(b, "jailer", "/bin/true");
	auto_free char *firecracker = path_join(a, "firecracker"), *found = NULL;
	struct err err = {0};

	path = b;
	cr_assert_eq(fc_jailer_find(&host_root, firecracker, &found, &err), 0, "%s", err.msg);
	cr_expect_str_eq(found, beside);
	free(TAKE_PTR(found));
	cr_assert_eq(unlink(beside), 0);
	cr_assert_eq(fc_jailer_find(&host_root, firecracker, &found, &err), 0, "%s", err.msg);
	cr_expect_str_eq(found, on_path);
	free(TAKE_PTR(found));
	path = a;
	cr_expect_eq(fc_jailer_find(&host_root, firecracker, &found, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "jailer is not installed");
	jailer = beside;
	cr_expect_eq(fc_jailer_find(&host_root, firecracker, &found, &err), -ENOENT);
	cr_expect(strstr(err.msg, "FCVM_JAILER names '"), "%s", err.msg);
	jailer = on_path;
	cr_assert_eq(fc_jailer_find(&host_root, firecracker, &found, &err), 0, "%s", err.msg);
	cr_expect_str_eq(found, on_path);
}

/* A program that says a version, as `jailer --version` does. */
static char *speaker(const char *dir, const char *words)
{
	auto_free char *text = xasprintf("#!/bin/sh\nprintf '%s'\n", words);
	char *file = path_join(dir, "speaker");

	cr_assert_eq(file_replace(file, text, strlen(text), 0755, NULL), 0);
	return file;
}

Test(fc_jailer, it_is_of_firecrackers_release_and_may_make_devices_in_the_data_directory)
{
	static const struct {
		const char *words, *msg;
	} cases[] = {
		{"Jailer v1.16.1\\n\\n", NULL},
		{"Jailer v1.15.1\\n",
		 "the jailer is version 1.15.1, firecracker is 1.16.1: take both "
		 "from one release"},
		{"Firecracker v1.16.1\\n",
		 "cannot tell the jailer's version from 'Firecracker v1.16.1\n'"},
	};
	static const struct {
		unsigned long flags;
		const char *word;
	} mounts[] = {{MS_NODEV, "nodev"}, {MS_NOEXEC, "noexec"}};
	auto_tmpdir char *dir = tmpdir_new("jailer-check"), *data = tmpdir_new("jailer-data");
	auto_free char *below = path_join(data, "not/there");
	struct host host = {.is_root = true, .getenv = env_of_test, .data_dir = below};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *file = speaker(dir, cases[i].words);
		struct err err = {0};
		int r = fc_jailer_check(&host, file, "1.16.1", &err);

		cr_expect_eq(r < 0, cases[i].msg != NULL, "%s", err.msg);
		cr_expect_str_eq(err.msg, cases[i].msg ? cases[i].msg : "");
	}
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		cr_skip_test("mounts need root");
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		auto_free char *file = speaker(dir, cases[0].words);
		auto_free char *want = xasprintf("'%s' is mounted %s: choose another --data-dir",
						 data, mounts[i].word);
		struct err err = {0};

		cr_assert_eq(mount("t", data, "tmpfs", mounts[i].flags, NULL), 0);
		cr_expect_lt(fc_jailer_check(&host, file, "1.16.1", &err), 0);
		cr_expect_str_eq(err.msg, want);
		cr_assert_eq(umount(data), 0);
	}
}

struct rig {
	char *dir, *vm_dir;
	struct vm vm;
	struct vm_config config;
};

static void rig_up(struct rig *r)
{
	static char empty[] = "", fstype[] = "squashfs", data[] = VM_DATA_DISK;

	if (geteuid() != 0)
		cr_skip_test("the jailer needs root");
	*r = (struct rig){.dir = tmpdir_new("jailer")};
	cr_assert_eq(chmod(r->dir, 0711), 0);
	fc = program(r->dir, "firecracker", TEST_BUILD_DIR "/tests/fake_firecracker");
	jailer = program(r->dir, "jailer", TEST_BUILD_DIR "/tests/fake_jailer");
	host_root.data_dir = r->dir;
	r->vm_dir = path_join(r->dir, "vm");
	cr_assert_eq(mkdir(r->vm_dir, 0700), 0);
	cr_assert_eq(chown(r->vm_dir, UID, UID), 0);
	auto_free char *disk = path_join(r->vm_dir, VM_DATA_DISK);

	cr_assert_eq(file_replace(disk, "data", 4, 0600, NULL), 0);
	cr_assert_eq(chown(disk, UID, UID), 0);
	r->vm = (struct vm){.host = &host_root,
			    .vm_dir = r->vm_dir,
			    .uid = UID,
			    .gid = UID,
			    .tap_fd = -1,
			    .console_fd = -1,
			    .userfaultfd = -1,
			    .pidfd = -1,
			    .channel_fd = -1};
	r->config = (struct vm_config){.kernel = path_join(r->dir, "kernel"),
				       .initrd = empty,
				       .cmdline_extra = empty,
				       .root_fstype = fstype,
				       .cpus = 1,
				       .memory_bytes = 16u << 20,
				       .jailer = true,
				       .accel = VM_ACCEL_KVM,
				       .n_disks = 1};
	cr_assert_eq(file_replace(r->config.kernel, "kernel", 6, 0644, NULL), 0);
	r->config.disks[0] = (struct vm_disk){.path = data, .serial = "data"};
}

static size_t entries(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	cr_assert(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

static void rig_down(struct rig *r)
{
	cr_expect_eq(firecracker_ops.stop(&r->vm, 0, NULL), 0);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
	cr_expect_eq(entries(r->vm_dir), 1, "only the disk is left");
	free(r->config.kernel);
	free(r->vm_dir);
	free(TAKE_PTR(fc));
	free(TAKE_PTR(jailer));
	tmpdir_remove(&r->dir);
}

static bool mounted(const char *dir)
{
	auto_buf struct buf text = BUF_INIT(4u << 20);

	cr_assert_eq(file_read("/proc/self/mountinfo", text.max - 1, &text, NULL), 0);
	return strstr(buf_str(&text), dir) != NULL;
}

Test(fc_jailer, a_vm_is_ours_by_its_pid_and_leaves_nothing)
{
	struct rig r;
	struct stat theirs, ours;
	struct err err = {0};

	rig_up(&r);
	cr_assert_eq(firecracker_ops.start(&r.vm, &r.config, deadline_in(TIMEOUT_MS), &err), 0,
		     "%s", err.msg);
	auto_free char *ns = xasprintf("/proc/%d/ns/pid", r.vm.pid);
	auto_free char *proc = xasprintf("/proc/%d", r.vm.pid);

	cr_assert_eq(stat(ns, &theirs), 0);
	cr_assert_eq(stat("/proc/self/ns/pid", &ours), 0);
	cr_expect_neq(theirs.st_ino, ours.st_ino);
	cr_assert_eq(stat(proc, &theirs), 0);
	cr_expect_eq(theirs.st_uid, UID);
	cr_expect_not(mounted(r.dir), "its mounts are its own");
	rig_down(&r);
}

/* Its only process is the VMM: neither ours nor the namespace's first. */
static void check_group(const char *group, pid_t pid)
{
	auto_free char *procs = path_join(group, "cgroup.procs");
	auto_free char *want = xasprintf("%d\n", pid);
	auto_buf struct buf text = BUF_INIT(8192);

	cr_assert_geq(file_read(procs, 8191, &text, NULL), 0, "%s", procs);
	cr_expect_str_eq(buf_str(&text), want);
}

Test(fc_jailer, a_vm_is_in_a_cgroup_of_its_own_that_ends_with_it)
{
	auto_free char *mount = vmgroup_mount(), *group = NULL;
	struct rig r;
	struct err err = {0};

	rig_up(&r);
	if (!mount)
		cr_skip_test("there is no cgroup v2 to make any in");
	group = vmgroup_path(mount, r.vm_dir);
	for (int round = 0; round < 2; round++) {
		cr_assert_eq(firecracker_ops.start(&r.vm, &r.config, deadline_in(TIMEOUT_MS), &err),
			     0, "%s", err.msg);
		check_group(group, r.vm.pid);
		cr_expect_eq(firecracker_ops.stop(&r.vm, 0, NULL), 0);
		cr_expect_not(file_exists(group), "%s", group);
	}
	rig_down(&r);
}

Test(fc_jailer, a_start_that_fails_says_why_and_leaves_nothing)
{
	struct rig r;
	struct err err = {0};

	rig_up(&r);
	free(fc);
	fc = program(r.dir, "firecracker", "/bin/false");
	cr_expect_lt(firecracker_ops.start(&r.vm, &r.config, deadline_in(TIMEOUT_MS), &err), 0);
	cr_expect_neq(err.msg[0], '\0');
	rig_down(&r);
}

Test(fc_jailer, what_it_is_told_is_all_it_is_told)
{
	struct rig r;
	struct fc_jailer j = {.procs = -1};
	auto_strv struct strv argv = {0};
	struct err err = {0};

	rig_up(&r);
	cr_assert_eq(fc_jailer_make(&r.vm, &r.config, NULL, fc, &j, &err), 0, "%s", err.msg);
	j.files = 2048;
	fc_jailer_add_args(&j, &r.vm, fc, &argv);
	auto_free char *base = path_join(r.vm_dir, "jail");
	auto_free char *dot = xasprintf("%s%s", r.vm_dir, r.config.kernel);
	const char *const want[] = {jailer,
				    "--id",
				    "fcvm",
				    "--exec-file",
				    fc,
				    "--uid",
				    "1879048210",
				    "--gid",
				    "1879048210",
				    "--chroot-base-dir",
				    base,
				    "--cgroup-version",
				    "1",
				    "--resource-limit",
				    "no-file=2048",
				    "--"};

	cr_assert_eq(argv.n, ARRAY_SIZE(want));
	for (size_t i = 0; i < argv.n; i++)
		cr_expect_str_eq(argv.v[i], want[i]);
	cr_expect(file_exists(dot), "%s", dot);
	fc_jailer_remove(&j);
	rig_down(&r);
}

/* The jailer's change of user takes the death signal off. */
Test(fc_jailer, a_vm_dies_with_whoever_started_it)
{
	struct rig r;
	int fds[2];
	pid_t pid = 0;

	rig_up(&r);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	pid_t starter = fork();

	if (starter == 0) {
		if (firecracker_ops.start(&r.vm, &r.config, deadline_in(TIMEOUT_MS), NULL) == 0)
			(void)!write(fds[1], &r.vm.pid, sizeof(r.vm.pid));
		(void)pause();
	}
	cr_assert_eq(io_read_full(fds[0], (char *)&pid, sizeof(pid), deadline_in(TIMEOUT_MS), NULL),
		     0);
	struct proc_id id;
	auto_close int pidfd = -1;

	cr_assert_eq(proc_id_of(pid, &id, NULL), 0);
	cr_assert_eq(proc_id_open(&id, id.boot_id, &pidfd), 0);
	cr_assert_eq(kill(starter, SIGKILL), 0);
	cr_assert_eq(waitpid(starter, NULL, 0), starter);
	cr_expect_eq(io_wait(pidfd, POLLIN, deadline_in(TIMEOUT_MS)), 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
	/* What is left is the next start's to take away. */
	struct err err = {0};

	cr_assert_eq(firecracker_ops.start(&r.vm, &r.config, deadline_in(TIMEOUT_MS), &err), 0,
		     "%s", err.msg);
	rig_down(&r);
}
