/* test_user.c - fcvm as an ordinary user runs it: no root, no userfaultfd, a cache of their own and
 * the system's. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "proc.h"
#include "xalloc.h"

TestSuite(user, .fini = apply_rig_cleanup);

/* The status line KEY of a process, e.g. "CapEff:\t0000000000000000". */
static char *status_line(pid_t pid, const char *key)
{
	auto_free char *path = xasprintf("/proc/%d/status", (int)pid);
	auto_buf struct buf text = BUF_INIT(1u << 20);
	struct err err = {0};
	const char *at;

	cr_assert_geq(file_read(path, text.max, &text, &err), 0, "%s", err.msg);
	at = strstr(buf_str(&text), key);
	cr_assert_not_null(at, "no %s", key);
	return xstrndup(at, strcspn(at, "\n"));
}

static char *namespace_of(pid_t pid, const char *kind)
{
	auto_free char *path = xasprintf("/proc/%d/ns/%s", (int)pid, kind);
	char target[64] = "";

	cr_assert_gt(readlink(path, target, sizeof(target) - 1), 0, "%s", path);
	return xstrdup(target);
}

/* Of the user's files it sees the VM's own, and not the socket its supervisor listens at. */
static void check_sight(pid_t pid, const struct user *u)
{
	auto_free char *root = xasprintf("/proc/%d/root%s", (int)pid, u->home);
	auto_free char *vm = xasprintf("/proc/%d/cwd/data.img", (int)pid);
	auto_free char *ctl = xasprintf("/proc/%d/cwd/../ctl.sock", (int)pid);
	auto_free char *secret = path_join(root, "secret");
	auto_free char *real = path_join(u->home, "secret");
	auto_free char *data = path_join(root, "data");

	cr_assert_eq(file_replace(real, "x", 1, 0600, NULL), 0);
	cr_expect(file_exists(vm), "it lacks its own disk");
	cr_expect(file_exists(data));
	cr_expect_not(file_exists(secret), "it sees the user's files");
	cr_expect_not(file_exists(ctl), "it sees its supervisor's socket");
}

static void check_vmm(pid_t pid, const struct user *u)
{
	static const char *const lines[] = {
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
		"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
		"CapAmb:\t0000000000000000", "NoNewPrivs:\t1",
	};
	static const char *const kinds[] = {"user", "net", "mnt", "pid", "ipc"};
	auto_free char *uids = xasprintf("Uid:\t%u\t%u\t%u\t%u", u->uid, u->uid, u->uid, u->uid);
	auto_free char *uid = status_line(pid, "Uid:");

	cr_expect_str_eq(uid, uids);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		auto_free char *key = xstrndup(lines[i], strcspn(lines[i], ":") + 1);
		auto_free char *line = status_line(pid, key);

		cr_expect_str_eq(line, lines[i]);
	}
	check_sight(pid, u);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		auto_free char *its = namespace_of(pid, kinds[i]);
		auto_free char *ours = namespace_of(getpid(), kinds[i]);

		cr_expect_str_neq(its, ours);
	}
}

Test(user, a_fleet_comes_up_is_used_and_goes_without_a_trace)
{
	auto_user struct user u = {0};
	auto_apply_rig struct apply_rig r = {0};
	const struct run_result *out;

	user_make(&u, "user");
	user_open_tun();
	apply_rig_make(&r, 2, false);
	apply_rig_as(&r, &u);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), "memory.backend: auto means file here: "
					     "/dev/userfaultfd: Permission denied"));
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	cr_expect_eq(apply_rig_count(&r, "memserver", "ready"), 0);
	check_vmm((pid_t)apply_rig_number(&r, "web-0", "pid"), &u);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	auto_free char *clone = xasprintf("%s.web-1", r.name);
	apply_rig_run(&r, 0, "stop", clone, NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "stopped"), 1);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	apply_rig_finish(&r);
}

Test(user, what_only_root_may_have_is_refused_before_anything_starts)
{
	auto_user struct user u = {0};
	auto_apply_rig struct apply_rig r = {0};
	const struct run_result *out;

	user_make(&u, "user");
	user_open_tun();
	apply_rig_make(&r, 1, false);
	apply_rig_spec(&r, 64, 1, "snapshots:\n  warm: { from: web, memory: { backend: uffd } }\n");
	apply_rig_as(&r, &u);
	out = apply_rig_run(&r, 4, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), "snapshots.warm.memory.backend: uffd is not possible "
					     "here: /dev/userfaultfd: Permission denied"));
	cr_expect_eq(apply_rig_count(&r, "baseline", "ready"), 0);
}

Test(user, without_the_tap_device_vms_run_and_have_no_network_card)
{
	auto_user struct user u = {0};
	auto_apply_rig struct apply_rig r = {0};
	auto_free char *find = NULL;
	auto_run struct run_result found = RUN_INIT;
	const struct run_result *out;

	user_make(&u, "user");
	user_open_tun();
	cr_assert_eq(chmod("/dev/net/tun", 0600), 0);
	apply_rig_make(&r, 1, false);
	apply_rig_as(&r, &u);
	out = apply_rig_run(&r, 0, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), "virtual machines get no network card: the host "
					     "refuses /dev/net/tun: Permission denied"));
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(apply_rig_text(&r, "web-0", "ip"), "null");
	find = xasprintf("grep -lE '\"nic\": ?false' %s/sets/%s/snapshots/*/*/manifest.json",
			 r.data, r.name);
	run_argv(&found, (const char *const[]){"sh", "-c", find, NULL}, NULL, NULL, 20000);
	cr_expect_eq(found.status, 0, "the manifest says nothing of it");
	/* Once the device opens, that is another machine. */
	cr_assert_eq(chmod("/dev/net/tun", 0666), 0);
	apply_rig_run(&r, 2, "plan", r.spec, "--detailed-exitcode", NULL);
	apply_rig_finish(&r);
}

Test(user, what_cannot_be_built_without_root_names_the_command_that_can)
{
	auto_user struct user u = {0};
	auto_apply_rig struct apply_rig r = {0};
	const struct run_result *out;

	user_make(&u, "user");
	user_open_tun();
	user_hide("/var/lib/fcvm");
	apply_rig_make(&r, 1, false);
	auto_free char *text = xasprintf("apiVersion: fcvm/v1\nname: %s\n"
					 "kernels: { default: { path: ./vmlinux } }\n"
					 "baselines:\n  web:\n    image: \"dir:./image\"\n",
					 r.name);
	cr_assert_eq(file_replace(r.spec, text, strlen(text), 0644, NULL), 0);
	apply_rig_as(&r, &u);
	out = apply_rig_run(&r, 4, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err),
			 "the root file system 'bookworm' is in no cache here, and only root can "
			 "build it\nhint: sudo fcvm setup builds it once for every user of this "
			 "machine\n"),
		  "%s", buf_str(&out->err));
}

Test(user, another_user_reaches_neither_the_vm_nor_its_files)
{
	auto_user struct user u = {0}, other = {0};
	auto_apply_rig struct apply_rig r = {0};
	auto_run struct run_result run = RUN_INIT;

	user_make(&u, "user");
	user_make(&other, "other");
	other.uid = u.uid + 100000;
	user_open_tun();
	apply_rig_make(&r, 1, false);
	apply_rig_as(&r, &u);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *clone = xasprintf("%s.web-0", r.name);
	const char *const argv[] = {r.fcvm, "--data-dir", r.data, "exec",
				    clone,  "--",         "true", NULL};
	auto_free char *qemu = xasprintf("FCVM_QEMU=%s/qemu", r.dir);

	user_run(&other, &run, argv, (const char *const[]){qemu, NULL}, 60000);
	cr_expect_neq(run.status, 0);
	cr_expect(strstr(buf_str(&run.err), "ermission denied"), "%s", buf_str(&run.err));
	apply_rig_finish(&r);
}

/* The VMM is the first process of its pid namespace: only a signal from outside it ends it. */
Test(user, a_killed_supervisor_takes_its_vmm_along_and_apply_makes_both_again)
{
	auto_user struct user u = {0};
	auto_apply_rig struct apply_rig r = {0};
	auto_json struct json_object *status = NULL;
	struct err err = {0};
	struct proc_id vmm = {0};

	user_make(&u, "user");
	user_open_tun();
	apply_rig_make(&r, 1, false);
	apply_rig_as(&r, &u);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *path = xasprintf("%s/sets/%s/vms/web-0/status.json", r.data, r.name);
	cr_assert_eq(json_load(path, &status, &err), 0, "%s", err.msg);
	pid_t supervisor = (pid_t)json_opt_u64(json_opt_obj(status, "supervisor"), "pid", 0);
	cr_assert_eq(proc_id_of((pid_t)apply_rig_number(&r, "web-0", "pid"), &vmm, &err), 0);
	cr_assert_gt(supervisor, 1);
	cr_assert_eq(kill(supervisor, SIGKILL), 0);
	uint64_t deadline_ms = deadline_in(20000);
	while (proc_id_alive(&vmm, vmm.boot_id) && deadline_left(deadline_ms) > 0)
		(void)poll(NULL, 0, 5);
	cr_expect_not(proc_id_alive(&vmm, vmm.boot_id), "the VMM lives on");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 1);
	apply_rig_finish(&r);
}
