/* Which engine is it? */
#include "engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "probe.h"
#include "run.h"
#include "xalloc.h"

static const char *fake_qemu, *fake_fc;

static const char *fake_env(const char *name)
{
	if (strcmp(name, "FCVM_QEMU") == 0)
		return fake_qemu;
	if (strcmp(name, "FCVM_FIRECRACKER") == 0)
		return fake_fc;
	return strcmp(name, "PATH") == 0 ? "/no/such/dir" : NULL;
}

struct rig {
	char *dir, *qemu, *fc;
	struct host host;
};

static char *make_program(const char *dir, const char *name, const char *text)
{
	char *path = path_join(dir, name);

	cr_assert_eq(file_replace(path, text, strlen(text), 0755, NULL), 0);
	return path;
}

/* KVM's speed is what the cache of this boot says it is: -1 for one that does not work. */
static void rig_up(struct rig *r, const char *version, int minsn_s)
{
	auto_free char *text = xasprintf(
		"#!/bin/sh\ncase $1 in --version) echo 'Firecracker v%s';; *) echo v10.0.0;; "
		"esac\n",
		version);
	auto_free char *cache = xasprintf(
		"{\"boot_id\":\"boot\",\"machine\":{\"kvm_opens\":%s,\"kvm_insn_s\":%d000000,"
		"\"kvm_error\":\"%s\",\"tsc_khz\":2000000}}",
		access("/dev/kvm", R_OK | W_OK) == 0 ? "true" : "false", minsn_s < 0 ? 0 : minsn_s,
		minsn_s < 0 ? "/dev/kvm is not there" : "");

	*r = (struct rig){.dir = tmpdir_new("engine")};
	r->qemu = make_program(r->dir, "qemu", "#!/bin/sh\necho 'QEMU emulator version 8.0.0'\n");
	r->fc = make_program(r->dir, "fc", text);
	free(make_program(r->dir, "probe.json", cache));
	r->host = (struct host){.data_dir = r->dir, .getenv = fake_env, .boot_id = "boot"};
	fake_qemu = r->qemu;
	fake_fc = r->fc;
}

static void rig_down(struct rig *r)
{
	free(r->qemu);
	free(r->fc);
	tmpdir_remove(&r->dir);
}

Test(engine, auto_takes_firecracker_where_kvm_is_fast_and_says_why_where_it_does_not)
{
	static const struct {
		const char *version;
		int minsn_s;
		const char *engine, *why;
	} cases[] = {
		{"1.16.1", 900, "firecracker", "kvm: 900 million instructions a second measured"},
		{"1.16.1", 1, "qemu",
		 "tcg, for development and trusted guests: /dev/kvm runs only 1.0 million "
		 "instructions a second here, 50 are wanted; not firecracker: kvm is slow: "
		 "/dev/kvm runs only 1.0 million instructions a second here, 50 are wanted"},
		{"1.16.1", -1, "qemu",
		 "tcg, for development and trusted guests: /dev/kvm is not there; not "
		 "firecracker: firecracker needs KVM: /dev/kvm is not there"},
		{"1.16.0", 900, "qemu",
		 "kvm: 900 million instructions a second measured; not firecracker: firecracker "
		 "1.16.0 is refused: the guest's side of vsock can hang after a restore; 1.16.1 "
		 "mends it"},
		{"1.9.0", 900, "qemu",
		 "kvm: 900 million instructions a second measured; not firecracker: firecracker "
		 "1.9.0 is too old, at least 1.12 is needed"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;
		const struct engine_ops *ops = NULL;
		struct engine_caps caps = {.why = ""};
		struct err err = {.msg = ""};

		rig_up(&r, cases[i].version, cases[i].minsn_s);
		cr_assert_eq(engine_choose(&r.host, "auto", &ops, &caps, &err), 0, "%s", err.msg);
		cr_expect_str_eq(ops->name, cases[i].engine);
		cr_expect_str_eq(caps.why, cases[i].why);
		rig_down(&r);
	}
}

Test(engine, one_that_is_just_not_there_is_not_mentioned)
{
	struct rig r;
	const struct engine_ops *ops = NULL;
	struct engine_caps caps;

	rig_up(&r, "1.16.1", 900);
	fake_fc = NULL;
	cr_assert_eq(engine_choose(&r.host, "auto", &ops, &caps, NULL), 0);
	cr_expect_str_eq(ops->name, "qemu");
	cr_expect_str_eq(caps.why, "kvm: 900 million instructions a second measured");
	rig_down(&r);
}

Test(engine, firecracker_by_name_runs_on_a_slow_kvm_but_not_without_one)
{
	struct rig r;
	const struct engine_ops *ops = NULL;
	struct engine_caps caps;
	struct err err;

	rig_up(&r, "1.16.1", 1);
	cr_assert_eq(engine_choose(&r.host, "firecracker", &ops, &caps, &err), 0, "%s", err.msg);
	cr_expect_str_eq(ops->name, "firecracker");
	cr_expect_str_eq(caps.version, "1.16.1");
	cr_expect_str_eq(caps.snapshot_format, "10.0.0");
	cr_expect_str_eq(caps.cpu_model, "host");
	cr_expect_eq(caps.accel, VM_ACCEL_KVM);
	cr_expect_eq(strncmp(caps.why, "kvm is slow: ", 13), 0, "%s", caps.why);
	rig_down(&r);
	rig_up(&r, "1.16.1", -1);
	cr_expect_eq(engine_choose(&r.host, "firecracker", &ops, &caps, &err), -ENODEV);
	cr_expect_str_eq(err.msg, "firecracker needs KVM: /dev/kvm is not there");
	cr_expect_eq(err.class, ERR_HOST);
	rig_down(&r);
}

Test(engine, one_by_name_is_that_one_or_nothing)
{
	struct rig r;
	const struct engine_ops *ops = NULL;
	struct engine_caps caps;
	struct err err;

	rig_up(&r, "1.16.0", 900);
	cr_expect_eq(engine_choose(&r.host, "firecracker", &ops, &caps, &err), -EOPNOTSUPP);
	cr_expect_eq(err.class, ERR_HOST);
	cr_expect_eq(engine_choose(&r.host, "xen", &ops, &caps, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "engine: expected auto, qemu or firecracker, got 'xen'");
	cr_expect_eq(ops, NULL);
	cr_expect_neq(engine_by_name("qemu"), NULL);
	cr_expect_neq(engine_by_name("firecracker"), NULL);
	rig_down(&r);
}
