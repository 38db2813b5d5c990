#include "probe.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "engine.h"
#include "file.h"
#include "json.h"
#include "kvm_speed.h"
#include "qemu_find.h"
#include "run.h"
#include "xalloc.h"

static const char *fake_qemu, *fake_path;

static const char *fake_env(const char *name)
{
	if (strcmp(name, "FCVM_QEMU") == 0)
		return fake_qemu;
	return strcmp(name, "PATH") == 0 ? fake_path : NULL;
}

static struct host host_in(char *dir)
{
	struct host host = {.data_dir = dir, .getenv = fake_env, .boot_id = "boot-one"};

	return host;
}

/* A program that says it is that version, and leaves a mark each time it runs. */
static char *make_qemu(const char *dir, const char *name, const char *version)
{
	char *path = path_join(dir, name);
	auto_free char *text = xasprintf("#!/bin/sh\necho run >>%s/runs\n"
					 "echo 'QEMU emulator version %s'\n",
					 dir, version);
	struct err err;

	cr_assert_eq(file_replace(path, text, strlen(text), 0755, &err), 0, "%s", err.msg);
	return path;
}

static size_t runs(const char *dir)
{
	auto_free char *path = path_join(dir, "runs");
	struct stat st;

	return stat(path, &st) == 0 ? (size_t)st.st_size / 4 : 0;
}

Test(probe, the_choice_and_its_reason_follow_the_measurement)
{
	static const struct {
		struct probe_machine machine;
		bool kvm;
		const char *why;
	} cases[] = {
		{{.kvm_minsn_s = 3210.4}, true, "kvm: 3210 million instructions a second measured"},
		{{.kvm_minsn_s = 50}, true, "kvm: 50 million instructions a second measured"},
		{{.kvm_minsn_s = 1.25},
		 false,
		 "tcg, for development and trusted guests: /dev/kvm runs only 1.2 million instructions "
		 "a second here, 50 are wanted"},
		{{.kvm_error = "/dev/kvm does not work here: opening /dev/kvm: Permission denied"},
		 false,
		 "tcg, for development and trusted guests: /dev/kvm does not work here: opening "
		 "/dev/kvm: Permission denied"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char why[256];

		cr_expect_eq(probe_prefers_kvm(&cases[i].machine, why, sizeof(why)), cases[i].kvm);
		cr_expect_str_eq(why, cases[i].why);
	}
}

Test(probe, the_machine_is_measured_once_per_boot)
{
	auto_tmpdir char *tmp = tmpdir_new("probe");
	auto_free char *path = path_join(tmp, "probe.json");
	struct host host = host_in(tmp);
	struct probe_machine first, second;
	auto_json struct json_object *o = NULL;
	struct json_object *machine;
	struct err err;

	probe_machine(&host, &first);
	cr_expect_gt(first.tsc_khz, 100000);
	cr_assert_eq(json_load(path, &o, &err), 0, "%s", err.msg);
	machine = json_opt_obj(o, "machine");
	json_add_u64(machine, "tsc_khz", 12345);
	cr_assert_eq(json_save(path, o, &err), 0);
	probe_machine(&host, &second);
	cr_expect_eq(second.tsc_khz, 12345, "it came from the file");
	cr_expect_str_eq(second.kvm_error, first.kvm_error);
	(void)snprintf(host.boot_id, sizeof(host.boot_id), "boot-two");
	probe_machine(&host, &second);
	cr_expect_neq(second.tsc_khz, 12345, "another boot, another measurement");
}

Test(probe, a_damaged_or_unwritable_cache_costs_a_measurement_only)
{
	static const char *const texts[] = {
		"", "[]", "{\"boot_id\":\"boot-one\",\"machine\":7}",
		"{\"boot_id\":\"boot-one\",\"machine\":{\"tsc_khz\":-1}}"};
	auto_tmpdir char *tmp = tmpdir_new("probe");
	auto_free char *path = path_join(tmp, "probe.json");
	struct host host = host_in(tmp);
	char nowhere[] = "/no/such/dir";
	struct probe_machine m;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cr_assert_eq(file_replace(path, texts[i], strlen(texts[i]), 0600, &err), 0);
		m.tsc_khz = 0;
		probe_machine(&host, &m);
		cr_expect_gt(m.tsc_khz, 100000, "%s", texts[i]);
	}
	host.data_dir = nowhere;
	probe_machine(&host, &m);
	cr_expect_gt(m.tsc_khz, 100000);
}

Test(probe, a_binary_is_asked_again_only_when_it_changed)
{
	auto_tmpdir char *tmp = tmpdir_new("probe");
	auto_free char *path = make_qemu(tmp, "qemu", "8.1.2 (Debian)");
	struct host host = host_in(tmp);
	struct probe_binary b;
	struct err err;

	cr_assert_eq(probe_binary(&host, path, qemu_ask, &b, &err), 0, "%s", err.msg);
	cr_expect_str_eq(b.version, "8.1.2");
	cr_expect_eq(strlen(b.sha256), 64);
	cr_assert_eq(probe_binary(&host, path, qemu_ask, &b, &err), 0);
	cr_expect_eq(runs(tmp), 1);
	free(make_qemu(tmp, "qemu", "9.0.0"));
	cr_assert_eq(probe_binary(&host, path, qemu_ask, &b, &err), 0);
	cr_expect_str_eq(b.version, "9.0.0");
	cr_expect_eq(runs(tmp), 2);
}

Test(qemu_find, versions_are_read_and_old_ones_refused)
{
	static const struct {
		const char *text;
		int r;
		const char *want; /* version, or message */
	} cases[] = {
		{"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", 0,
		 "7.2.22"},
		{"QEMU emulator version 10.0\n", 0, "10.0"},
		{"QEMU emulator version 7.2", 0, "7.2"},
		{"QEMU emulator version 7.1.9", -EOPNOTSUPP,
		 "qemu 7.1.9 is too old, at least 7.2 is needed"},
		{"QEMU emulator version 6.9", -EOPNOTSUPP,
		 "qemu 6.9 is too old, at least 7.2 is needed"},
		{"", -EBADMSG, "cannot tell qemu's version from ''"},
		{"version seven", -EBADMSG, "cannot tell qemu's version from 'version seven'"},
		{"version 8", -EBADMSG, "cannot tell qemu's version from 'version 8'"},
		{"version 99999999999999999999.1", -EBADMSG,
		 "cannot tell qemu's version from 'version 99999999999999999999.1'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char version[64] = "";
		struct err err = {.msg = ""};

		cr_expect_eq(qemu_parse_version(cases[i].text, version, sizeof(version), &err),
			     cases[i].r, "%s", cases[i].text);
		cr_expect_str_eq(cases[i].r ? err.msg : version, cases[i].want);
	}
}

Test(qemu_find, the_environment_comes_before_the_path)
{
	auto_tmpdir char *tmp = tmpdir_new("probe");
	auto_free char *on_path = make_qemu(tmp, "qemu-system-x86_64", "8.0.0");
	auto_free char *named = make_qemu(tmp, "named", "8.0.0");
	struct host host = host_in(tmp);
	auto_free char *a = NULL, *b = NULL;
	struct err err;

	fake_path = tmp;
	cr_assert_eq(qemu_find(&host, &a, &err), 0, "%s", err.msg);
	cr_expect_str_eq(a, on_path);
	fake_qemu = named;
	cr_assert_eq(qemu_find(&host, &b, &err), 0);
	cr_expect_str_eq(b, named);
}

Test(qemu_find, a_missing_qemu_says_how_to_get_one)
{
	struct host host = {.getenv = fake_env};
	char *found = NULL;
	struct err err;

	fake_path = "/no/such/dir:";
	cr_expect_eq(qemu_find(&host, &found, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "qemu-system-x86_64 is not installed");
	cr_expect_str_eq(err.hint, "apt-get install qemu-system-x86");
	cr_expect_eq(err.class, ERR_HOST);
	fake_qemu = "/no/qemu";
	cr_expect_eq(qemu_find(&host, &found, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "FCVM_QEMU names '/no/qemu', which cannot be run");
}

Test(engine, auto_is_qemu_with_the_facts_a_manifest_needs)
{
	auto_tmpdir char *tmp = tmpdir_new("probe");
	auto_free char *path = make_qemu(tmp, "qemu", "7.2.22");
	struct host host = host_in(tmp);
	const struct engine_ops *ops = NULL;
	struct engine_caps caps;
	struct err err;

	fake_qemu = path;
	cr_assert_eq(engine_choose(&host, "auto", &ops, &caps, &err), 0, "%s", err.msg);
	cr_expect_eq(ops, engine_by_name("qemu"));
	cr_expect_str_eq(caps.binary, path);
	cr_expect_str_eq(caps.version, "7.2.22");
	cr_expect_eq(strlen(caps.sha256), 64);
	cr_expect_gt(caps.tsc_khz, 100000);
	cr_expect_str_eq(caps.cpu_model, caps.accel == VM_ACCEL_KVM
						 ? "host"
						 : "Nehalem,-spec-ctrl,+rdrand,+rdtscp");
	cr_expect_eq(strncmp(caps.machine, "microvm,", 8), 0);
	cr_expect_eq(strncmp(caps.why, caps.accel == VM_ACCEL_KVM ? "kvm" : "tcg", 3), 0);
}

Test(kvm_speed, a_kvm_that_cannot_be_opened_is_a_sentence)
{
	double speed = -1;
	struct err err;

	if (geteuid() != 0)
		cr_skip_test("needs root to give it up");
	cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	if (access("/dev/kvm", R_OK | W_OK) == 0)
		cr_skip_test("/dev/kvm is open to everyone here");
	cr_expect_lt(kvm_speed_measure(&speed, &err), 0);
	cr_expect_eq(strncmp(err.msg, "/dev/kvm does not work here: opening /dev/kvm: ", 46), 0,
		     "%s", err.msg);
	cr_expect_eq(speed, -1);
}

Test(kvm_speed, a_kvm_that_works_has_a_speed)
{
	double speed = -1;
	struct err err;

	if (access("/dev/kvm", R_OK | W_OK) < 0)
		cr_skip_test("/dev/kvm is not there for us");
	if (kvm_speed_measure(&speed, &err) < 0)
		cr_skip_test("%s", err.msg);
	cr_expect_gt(speed, 0);
}
