/* test_volumes_host.c - host directories in real guests: what both sides see of each other, open
 * files over a snapshot, the death of a server, a hostile root. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "volume_world.h"
#include "xalloc.h"

TestSuite(volumes_host, .fini = world_cleanup);

#define FINE "write ok, read ok, here ok, gone ok"
#define STALE "write Stale file handle, read ok, here Stale file handle, gone Stale file handle"

static void host_file(const char *dir, const char *name, const char *text, mode_t mode)
{
	auto_free char *path = path_join(dir, name);
	struct err err = {0};

	cr_assert_geq(file_replace(path, text, strlen(text), mode, &err), 0, "%s", err.msg);
}

static void expect_sh(const char *vm, int want, const char *text)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	int code = world_sh(vm, text, &out);

	cr_expect_eq(code, want, "'%s' gave %d, wanted %d: %s", text, code, want, buf_str(&out));
}

static mode_t mode_of(const char *path)
{
	struct stat st = {0};

	cr_expect_eq(stat(path, &st), 0, "no '%s'", path);
	return st.st_mode & 07777;
}

Test(volumes_host, files_go_both_ways)
{
	struct volume_world w;

	world_init(&w, "vol-both", "hold");
	auto_free char *src = world_dir(&w, "src"), *vol = world_dir(&w, "vol");

	host_file(src, "from-host", "hello guest\n", 0644);
	world_add(&w.volumes, "src", "/src", src, true);
	const char *vm = world_boot(&w);

	/* read-only, and the guest's root may say otherwise: the host does not */
	expect_sh(vm, 0, "test \"$(cat /src/from-host)\" = 'hello guest'");
	expect_sh(vm, 0, "! (echo x > /src/new) 2>/dev/null");
	expect_sh(vm, 0, "mount -o remount,rw /src 2>/dev/null; ! rm /src/from-host 2>/dev/null");
	/* read-write: the workload's container, the guest OS and the host see one directory */
	expect_sh(vm, 0,
		  "mkdir /vol/d && echo 'hello host' > /vol/d/a && sync /vol/d/a && "
		  "mv /vol/d/a /vol/d/b && chmod 640 /vol/d/b && ln -s b /vol/d/l");
	auto_free char *text = world_read(&w, "vol/d/b");
	auto_free char *b = path_join(vol, "d/b"), *report = path_join(vol, "report");
	cr_expect_str_eq(text, "hello host\n");
	cr_expect_eq(mode_of(b), 0640);
	world_await_text(report, "");
	host_file(vol, "late", "made while it runs\n", 0600);
	expect_sh(vm, 0, "test \"$(cat /vol/late)\" = 'made while it runs'");
	/* squash: devices and set-id bits do not get through */
	expect_sh(vm, 0, "! mknod /vol/dev c 1 3 2>/dev/null");
	expect_sh(vm, 0, "cp /bin/true /vol/d/s && { chmod 4755 /vol/d/s || true; }");
	auto_free char *s = path_join(vol, "d/s");
	cr_expect_eq(mode_of(s) & (S_ISUID | S_ISGID), 0);
	world_finish(&w);
}

/* --- over a snapshot ------------------------------------------------------------------------ */

static unsigned int rounds(const char *report)
{
	auto_free char *text = vm_read(report);
	unsigned int n = 0;

	cr_assert_eq(sscanf(text, "%u", &n), 1, "'%s'", text);
	return n;
}

/* The workload's next report, and that it says so. */
static void expect_report(const char *dir, unsigned int after, const char *want)
{
	auto_free char *path = path_join(dir, "report");
	uint64_t deadline = deadline_in(60000);

	while (!file_exists(path) || rounds(path) <= after) {
		cr_assert_gt(deadline_left(deadline), 0, "nothing after round %u in '%s'", after,
			     path);
		(void)poll(NULL, 0, 50);
	}
	auto_free char *text = vm_read(path);
	cr_expect_not_null(strstr(text, want), "'%s' instead of '%s'", text, want);
}

/* The workload has a lock on it. */
static void expect_locked(const char *dir)
{
	auto_free char *path = path_join(dir, "held");
	auto_close int fd = open(path, O_RDWR | O_CLOEXEC);
	struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};

	cr_assert_geq(fd, 0);
	cr_expect_eq(fcntl(fd, F_OFD_SETLK, &fl), -1, "nobody has '%s' locked", path);
	cr_expect_eq(errno, EAGAIN);
}

static pid_t vmm_of(const char *vm)
{
	auto_free char *path = path_join(vm, SUPERVISE_STATUS);
	auto_json struct json_object *o = NULL;

	cr_assert_geq(json_load(path, &o, NULL), 0);
	return (pid_t)json_opt_u64(o, "pid", 0);
}

/* Another VMM than the one that was there, and ready. */
static void await_restart(const char *vm, pid_t old)
{
	uint64_t deadline = deadline_in(120000);
	auto_free char *path = path_join(vm, SUPERVISE_STATUS);

	for (;;) {
		auto_json struct json_object *o = NULL;
		bool there = json_load(path, &o, NULL) >= 0;

		if (there && json_opt_u64(o, "pid", 0) != (uint64_t)old &&
		    strcmp(json_opt_str(o, "state", ""), "ready") == 0)
			return;
		cr_assert_gt(deadline_left(deadline), 0, "no restart: %s",
			     there ? json_object_to_json_string(o) : "no status");
		(void)poll(NULL, 0, 100);
	}
}

Test(volumes_host, open_files_and_directories_outlive_a_snapshot)
{
	struct volume_world w;

	world_init(&w, "vol-snap", "hold");
	auto_free char *vol = world_dir(&w, "vol"), *report = path_join(vol, "report");
	auto_free char *posix = world_dir(&w, "posix");
	struct stat st;

	world_add_full(&w.volumes, "posix", "/posix", posix);
	const char *base = world_boot(&w);

	expect_report(vol, 3, FINE);
	expect_locked(vol);
	world_posix(base, "/posix", "base");
	/* the source goes on */
	auto_free char *snap = world_snapshot(&w, base, true);
	auto_free char *state = path_join(snap, "volumes-state");
	cr_expect_eq(stat(state, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0400, "the keys are for supervisors alone");
	cr_expect_eq(st.st_gid, 0);
	expect_report(vol, rounds(report), FINE);
	world_stop(base);

	/* the same directory: nothing has changed for the workload */
	cr_assert_eq(unlink(report), 0);
	const char *clone = world_restore(&w, snap, &w.volumes, "on-failure");
	expect_report(vol, 3, FINE);
	expect_locked(vol);
	world_posix(clone, "/posix", "clone");
	expect_report(vol, rounds(report), FINE);
	/* and once more from the snapshot when the VM dies */
	pid_t vmm = vmm_of(clone);
	cr_assert_eq(kill(vmm, SIGKILL), 0);
	await_restart(clone, vmm);
	cr_assert_eq(unlink(report), 0);
	expect_report(vol, 3, FINE);
	expect_locked(vol);
	world_finish(&w);
}

static void other_list(const struct volume_world *w, const char *dir, struct volume_list *ret)
{
	auto_free char *tools = world_dir(w, "tools");

	world_add(ret, "vol", "/vol", dir, false);
	world_add(ret, "tools", "/tools", tools, true);
}

Test(volumes_host, every_clone_may_have_another_directory_at_the_same_target)
{
	struct volume_world w;
	auto_volume_list struct volume_list one = {0}, two = {0};

	world_init(&w, "vol-each", "hold");
	auto_free char *vol = world_dir(&w, "vol"), *report = path_join(vol, "report");
	auto_free char *a = world_dir(&w, "out/a"), *b = world_dir(&w, "out/b"),
		       *extra = world_dir(&w, "extra");
	const char *base = world_boot(&w);

	expect_report(vol, 3, FINE);
	auto_free char *snap = world_snapshot(&w, base, false);
	unsigned int n = rounds(report);

	other_list(&w, a, &one);
	/* and a volume its source had not */
	world_add(&one, "extra", "/srv/extra", extra, false);
	other_list(&w, b, &two);
	const char *first = world_restore(&w, snap, &one, "no");
	const char *second = world_restore(&w, snap, &two, "no");

	/* what was open is not there; nobody reaches the directory of the source by old handles.
	 * The round that the snapshot fell into began in the source. */
	expect_report(a, n + 1, STALE);
	expect_report(b, n + 1, STALE);
	cr_expect_eq(rounds(report), n, "a clone wrote into the directory of its source");
	expect_sh(first, 0, "echo first > /vol/who");
	expect_sh(second, 0, "echo second > /vol/who");
	auto_free char *who_a = world_read(&w, "out/a/who"), *who_b = world_read(&w, "out/b/who");
	cr_expect_str_eq(who_a, "first\n");
	cr_expect_str_eq(who_b, "second\n");
	expect_sh(first, 0,
		  "for p in /proc/[0-9]*; do test \"$(cat $p/comm)\" = tool && "
		  "echo here > $p/root/srv/extra/x; done; test -e /srv/extra/x");
	auto_free char *x = world_read(&w, "extra/x");
	cr_expect_str_eq(x, "here\n");
	world_finish(&w);
}

/* As the workload sees it: its mounts are others than the guest's. The words start in its root. */
static void expect_in_container(const char *vm, const char *text)
{
	auto_free char *all = xasprintf("for p in /proc/[0-9]*; do "
					"test \"$(cat $p/comm)\" = tool || continue; "
					"cd $p/root && %s; exit; done; exit 99",
					text);

	expect_sh(vm, 0, all);
}

static void expect_flags(const char *vm, const char *target, bool trusted)
{
	const char *not = trusted ? "! " : "";
	auto_free char *guest =
		xasprintf("%sgrep -q ' %s rw,nosuid,nodev' /proc/self/mountinfo", not, target);
	auto_free char *container =
		xasprintf("%sgrep -q ' %s rw,nosuid,nodev' $p/mountinfo", not, target);

	expect_sh(vm, 0, guest);
	expect_in_container(vm, container);
}

static void add_trusted(struct volume_list *l, const char *name, const char *target,
			const char *source, bool read_only)
{
	world_add(l, name, target, source, read_only);
	l->v[l->n - 1].trust = VOLUME_FULL;
}

static void check_source(const char *vm)
{
	expect_flags(vm, "/srv/opens", false);
	expect_flags(vm, "/srv/closes", true);
	expect_in_container(vm, "touch srv/opens/x 2>&1 | grep -q 'Read-only file system'");
	expect_in_container(vm, "mknod srv/closes/null c 1 3");
	expect_in_container(vm, "echo x >srv/closes/null && echo x >srv/closes/x");
}

static void check_clone(const char *vm)
{
	expect_flags(vm, "/srv/opens", true);
	expect_flags(vm, "/srv/closes", false);
	expect_in_container(vm, "mknod srv/opens/null c 1 3");
	expect_in_container(vm, "echo x >srv/opens/null && echo x >srv/opens/x");
	expect_in_container(vm, "touch srv/closes/y 2>&1 | grep -q 'Read-only file system'");
	expect_in_container(vm, "(echo y >srv/closes/x) 2>&1 | grep -q 'Read-only file system'");
	expect_in_container(vm, "(echo y >srv/closes/null) 2>&1 | grep -q 'Permission denied'");
}

Test(volumes_host, a_clone_may_have_other_access_and_trust_than_its_source)
{
	struct volume_world w;
	auto_volume_list struct volume_list other = {0};

	world_init(&w, "vol-other", "hold");
	auto_free char *vol = world_dir(&w, "vol"), *opens = world_dir(&w, "opens"),
		       *closes = world_dir(&w, "closes");

	world_add(&w.volumes, "opens", "/srv/opens", opens, true);
	add_trusted(&w.volumes, "closes", "/srv/closes", closes, false);
	const char *base = world_boot(&w);

	expect_report(vol, 3, FINE);
	check_source(base);
	auto_free char *snap = world_snapshot(&w, base, false);
	other_list(&w, vol, &other);
	add_trusted(&other, "opens", "/srv/opens", opens, false);
	world_add(&other, "closes", "/srv/closes", closes, true);
	check_clone(world_restore(&w, snap, &other, "no"));
	auto_free char *x = world_read(&w, "opens/x"), *kept = world_read(&w, "closes/x");
	cr_expect_str_eq(x, "x\n");
	cr_expect_str_eq(kept, "x\n");
	world_finish(&w);
}

/* --- servers -------------------------------------------------------------------------------- */

static pid_t await_server(const struct volume_world *w, pid_t old)
{
	uint64_t deadline = deadline_in(30000);
	pid_t pid = 0;

	while ((world_servers(w, "vol", &pid) == 0 || pid == old) && deadline_left(deadline) > 0)
		(void)poll(NULL, 0, 20);
	cr_assert_neq(pid, old, "no server took the place of the killed one");
	return pid;
}

Test(volumes_host, a_killed_server_is_replaced_and_the_workload_does_not_notice)
{
	struct volume_world w;
	pid_t pid = 0;

	world_init(&w, "vol-kill", "load");
	auto_free char *vol = world_dir(&w, "vol"), *done = path_join(vol, "done");
	const char *vm = world_boot(&w);

	for (int i = 0; i < 3; i++) {
		pid = await_server(&w, pid);
		/* It serves: a round trip from the guest. */
		expect_sh(vm, 0, "stat -f /vol > /dev/null");
		cr_assert_eq(kill(pid, SIGKILL), 0);
	}
	/* nor is a snapshot noticed that falls into the middle of it */
	auto_free char *snap = world_snapshot(&w, vm, false);
	(void)world_restore(&w, snap, &w.volumes, "no");
	host_file(vol, "stop", "", 0644);
	world_await_text(done, "ok ");
	world_finish(&w);
}

static void expect_status(pid_t pid, const char *line)
{
	auto_free char *path = xasprintf("/proc/%d/status", pid);
	auto_free char *text = vm_read(path);

	cr_expect_not_null(strstr(text, line), "no '%s' in %s", line, text);
}

static bool sees(pid_t pid, const char *path)
{
	auto_free char *whole = xasprintf("/proc/%d/root/%s", pid, path);

	return file_exists(whole);
}

Test(volumes_host, a_hostile_root_in_the_guest_gets_no_further_than_the_directory)
{
	struct volume_world w;
	auto_buf struct buf out = BUF_INIT(1u << 20);
	pid_t pid = 0;

	world_init(&w, "vol-evil", "hold");
	auto_free char *secret = world_dir(&w, "secret");
	auto_free char *climb = xasprintf("ln -s ../secret/key /vol/up; ln -s %s/key /vol/abs; "
					  "ln -s / /vol/root; cat /vol/up /vol/abs "
					  "/vol/root%s/key /vol/../secret/key 2>&1; true",
					  secret, secret);

	host_file(secret, "key", "the host's own\n", 0644);
	const char *vm = world_boot(&w);

	cr_assert_eq(world_sh(vm, climb, &out), 0);
	cr_expect_null(strstr(buf_str(&out), "the host's own"), "%s", buf_str(&out));
	/* a directory swapped for a link, over and over, while names below it are looked up */
	expect_sh(vm, 0,
		  "mkdir /vol/swap; (while :; do cat /vol/swap/key && touch /tmp/leak; done) "
		  ">/dev/null 2>&1 & for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do "
		  "rmdir /vol/swap; ln -s ../secret /vol/swap; rm /vol/swap; mkdir /vol/swap; "
		  "done; kill $!; test ! -e /tmp/leak");
	/* nor could its server: it has no other directory and hardly a capability */
	cr_assert_eq(world_servers(&w, "vol", &pid), 1);
	cr_expect(!sees(pid, "secret") && !sees(pid, "etc"));
	cr_expect(sees(pid, "report"));
	expect_status(pid, "NoNewPrivs:\t1");
	expect_status(pid, "CapEff:\t00000000000000cf");
	world_finish(&w);
}
