#include "jail.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "io.h"
#include "proc.h"
#include "user.h"

#define UID 1879048200u
#define GID 1879048201u

/* What a shell script says inside the jail. */
static char *inside(struct jail *jail, const char *text)
{
	const char *const argv[] = {"sh", "-c", text, NULL};
	struct proc_spec spec = {
		.argv = argv, .in = -1, .err = -1, .prepare = jail_enter, .data = jail};
	auto_buf struct buf out = BUF_INIT(1 << 16);
	auto_close int pidfd = -1;
	struct err err;
	char chunk[4096];
	ssize_t n;
	int fds[2], status;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	spec.out = fds[1];
	cr_assert_eq(proc_spawn(&spec, &pidfd, NULL, &err), 0, "%s", err.msg);
	(void)close(fds[1]);
	while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
		buf_add(&out, chunk, (size_t)n);
	(void)close(fds[0]);
	cr_assert_eq(proc_wait(pidfd, deadline_in(20000), &status, &err), 0);
	return buf_detach(&out);
}

/* With a group beside, as a login has: there must be something to lose. */
static struct jail root_jail(void)
{
	const gid_t beside = 4;

	if (geteuid() != 0)
		cr_skip_test("changing uid needs root");
	cr_assert_eq(setgroups(1, &beside), 0);
	return (struct jail){.as_root = true, .uid = UID, .gid = GID};
}

Test(jail, no_identity_and_no_privilege_is_left)
{
	struct jail jail = root_jail();
	auto_free char *out = inside(&jail, "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' "
					    "/proc/self/status; ulimit -c");

	cr_expect_str_eq(out, "Uid:\t1879048200\t1879048200\t1879048200\t1879048200\n"
			      "Gid:\t1879048201\t1879048201\t1879048201\t1879048201\n"
			      "Groups:\t \n"
			      "CapInh:\t0000000000000000\n"
			      "CapPrm:\t0000000000000000\n"
			      "CapEff:\t0000000000000000\n"
			      "CapBnd:\t0000000000000000\n"
			      "CapAmb:\t0000000000000000\n"
			      "NoNewPrivs:\t1\n"
			      "0\n");
}

Test(jail, dev_holds_next_to_nothing_and_cannot_be_written)
{
	struct jail jail = root_jail();
	auto_free char *out = inside(&jail, "echo $(ls -A /dev); echo x >/dev/null && echo null; "
					    "head -c 4 /dev/urandom | wc -c; "
					    "touch /dev/new 2>/dev/null || echo closed");

	cr_expect_str_eq(out, "null random urandom zero\nnull\n4\nclosed\n");
}

Test(jail, kvm_is_there_when_it_is_used_and_is_the_vmms_own)
{
	struct jail jail = root_jail();

	if (access("/dev/kvm", F_OK) < 0)
		cr_skip_test("/dev/kvm is absent");
	jail.kvm = true;
	auto_free char *out = inside(&jail, "stat -c '%u %a' /dev/kvm");
	cr_expect_str_eq(out, "1879048200 600\n");
}

Test(jail, what_is_opened_by_name_is_there_for_its_user_only)
{
	struct jail jail = root_jail();

	if (access("/dev/net/tun", F_OK) < 0 || access("/dev/userfaultfd", F_OK) < 0)
		cr_skip_test("/dev/net/tun or /dev/userfaultfd is absent");
	jail.tun = jail.userfaultfd = true;
	jail.files = 2000;
	auto_free char *out = inside(&jail, "stat -c '%u %a' /dev/net/tun /dev/userfaultfd; "
					    "exec 3<>/dev/net/tun && echo opened; ulimit -n");
	cr_expect_str_eq(out, "1879048200 600\n1879048200 600\nopened\n2000\n");
}

Test(jail, without_a_sandbox_the_user_is_still_nobody)
{
	struct jail jail = root_jail();
	char before[64] = "";

	jail.shared_dev = true;
	cr_assert_gt(readlink("/proc/self/ns/mnt", before, sizeof(before) - 1), 0);
	auto_free char *out = inside(&jail, "readlink /proc/self/ns/mnt; grep -E '^(CapEff|Uid)' "
					    "/proc/self/status");
	cr_expect_eq(strncmp(out, before, strlen(before)), 0, "%s", out);
	cr_expect(strstr(out, "1879048200\nCapEff:\t0000000000000000\n"), "%s", out);
}

Test(jail, mounts_made_inside_stay_inside)
{
	struct jail jail = root_jail();
	char before[64] = "", after[64] = "";
	auto_free char *out = NULL;

	cr_assert_gt(readlink("/proc/self/ns/mnt", before, sizeof(before)), 0);
	out = inside(&jail, "readlink /proc/self/ns/mnt");
	cr_assert_gt(readlink("/proc/self/ns/mnt", after, sizeof(after)), 0);
	cr_expect_neq(strncmp(out, before, strlen("mnt:[4026531840]")), 0);
	cr_expect_eq(access("/dev/tty", F_OK), 0, "ours is as it was");
}

Test(jail, root_is_not_a_uid_for_a_vmm)
{
	struct jail jail = root_jail();
	const char *const argv[] = {"true", NULL};
	struct proc_spec spec = {
		.argv = argv, .in = -1, .out = -1, .err = -1, .prepare = jail_enter, .data = &jail};
	struct err err;
	int pidfd = -1;

	jail.uid = 0;
	cr_expect_eq(proc_spawn(&spec, &pidfd, NULL, &err), -EPERM);
	cr_expect_str_eq(err.msg, "cannot prepare the process of 'true': Operation not permitted");
}

Test(jail, without_root_privileges_still_cannot_be_gained)
{
	struct jail jail = {.as_root = false};
	auto_free char *out = inside(&jail, "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status");

	cr_expect_str_eq(out, "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n");
}

/* The supervisor of an ordinary user is all-powerful in its own user namespace. */
static int jailed_in_a_user_namespace(void *data)
{
	struct jail jail = {.as_root = false};

	(void)data;
	if (unshare(CLONE_NEWUSER) < 0 || jail_enter(&jail) < 0)
		return -1;
	(void)execlp("grep", "grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status", NULL);
	return -1;
}

Test(jail, nothing_of_a_user_namespaces_power_is_left)
{
	auto_user struct user u = {0};
	auto_buf struct buf out = BUF_INIT(4096);

	user_make(&u, "jail");
	user_call(&u, jailed_in_a_user_namespace, NULL, &out);
	cr_expect_str_eq(buf_str(&out), "CapInh:\t0000000000000000\n"
					"CapPrm:\t0000000000000000\n"
					"CapEff:\t0000000000000000\n"
					"CapBnd:\t0000000000000000\n"
					"CapAmb:\t0000000000000000\n"
					"NoNewPrivs:\t1\n");
}
