#include "fc_find.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

static const char *fake_fc, *fake_path;

static const char *fake_env(const char *name)
{
	if (strcmp(name, "FCVM_FIRECRACKER") == 0)
		return fake_fc;
	return strcmp(name, "PATH") == 0 ? fake_path : NULL;
}

static char *make_program(const char *dir, const char *name, const char *text)
{
	char *path = path_join(dir, name);
	struct err err;

	cr_assert_eq(file_replace(path, text, strlen(text), 0755, &err), 0, "%s", err.msg);
	return path;
}

Test(fc_find, versions_are_read_whatever_else_is_said)
{
	static const struct {
		const char *text;
		int r;
		const char *want;
	} cases[] = {
		{"Firecracker v1.16.1\n\n", 0, "1.16.1"},
		{"Firecracker v1.16.1\n\n2026-11-26T14:09:46.1 [x:main] exiting. exit_code=0\n", 0,
		 "1.16.1"},
		{"Firecracker v1.17.0-dev\n", 0, "1.17.0-dev"},
		{"Firecracker v1.16\n", -EBADMSG,
		 "cannot tell firecracker's version from 'Firecracker v1.16\n'"},
		{"Firecracker 1.16.1", -EBADMSG,
		 "cannot tell firecracker's version from 'Firecracker 1.16.1'"},
		{"", -EBADMSG, "cannot tell firecracker's version from ''"},
		{"Firecracker v1.16.1x", -EBADMSG,
		 "cannot tell firecracker's version from 'Firecracker v1.16.1x'"},
		{"Firecracker v99999999999999999999999999.1.1", -EBADMSG,
		 "cannot tell firecracker's version from 'Firecracker "
		 "v99999999999999999999999999.1.1'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char version[64] = "";
		struct err err = {.msg = ""};

		cr_expect_eq(fc_parse_version(cases[i].text, version, sizeof(version), &err),
			     cases[i].r, "%s", cases[i].text);
		cr_expect_str_eq(cases[i].r ? err.msg : version, cases[i].want);
	}
}

Test(fc_find, snapshot_formats_are_read)
{
	char format[32];
	struct err err;

	cr_assert_eq(fc_parse_format("v10.0.0\n2026-11-26T14:09:46 [x:main] bye\n", format,
				     sizeof(format), &err),
		     0);
	cr_expect_str_eq(format, "10.0.0");
	cr_expect_eq(fc_parse_format("ten", format, sizeof(format), &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "cannot tell firecracker's snapshot format from 'ten'");
}

Test(fc_find, versions_that_fcvm_does_not_drive_are_refused_with_the_reason)
{
	static const struct {
		struct fc_version v;
		const char *says; /* NULL: fine */
	} cases[] = {
		{{1, 12, 0}, NULL},
		{{1, 15, 1}, NULL},
		{{1, 16, 1}, NULL},
		{{1, 17, 0}, NULL},
		{{1, 11, 9}, "firecracker 1.11.9 is too old, at least 1.12 is needed"},
		{{0, 25, 0}, "firecracker 0.25.0 is too old, at least 1.12 is needed"},
		{{1, 16, 0},
		 "firecracker 1.16.0 is refused: the guest's side of vsock can hang after a "
		 "restore; 1.16.1 mends it"},
		{{2, 0, 0}, "firecracker 2.0.0 is newer than this fcvm knows"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = {.msg = ""};

		cr_expect_eq(fc_check_version(&cases[i].v, &err) < 0, cases[i].says != NULL);
		cr_expect_str_eq(err.msg, cases[i].says ? cases[i].says : "");
	}
}

Test(fc_find, fields_have_the_version_that_brought_them)
{
	static const struct {
		struct fc_version v;
		bool nic, vsock, clock;
	} cases[] = {
		{{1, 11, 0}, false, false, false}, {{1, 12, 0}, true, false, false},
		{{1, 15, 1}, true, false, false},  {{1, 16, 1}, true, true, true},
		{{1, 17, 0}, true, true, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_expect_eq(fc_has(&cases[i].v, FC_NETWORK_OVERRIDES), cases[i].nic);
		cr_expect_eq(fc_has(&cases[i].v, FC_VSOCK_OVERRIDE), cases[i].vsock);
		cr_expect_eq(fc_has(&cases[i].v, FC_CLOCK_REALTIME), cases[i].clock);
	}
	cr_expect(fc_kernel_sets_clock("5.16.0"));
	cr_expect(fc_kernel_sets_clock("6.18.44-fc"));
	cr_expect_not(fc_kernel_sets_clock("5.10.0-28-amd64"));
	cr_expect_not(fc_kernel_sets_clock("linux"));
}

Test(fc_find, the_environment_comes_before_the_path_and_what_is_missing_is_said)
{
	auto_tmpdir char *tmp = tmpdir_new("fcfind");
	auto_free char *on_path = make_program(tmp, "firecracker", "#!/bin/sh\n");
	auto_free char *named = make_program(tmp, "named", "#!/bin/sh\n");
	struct host host = {.getenv = fake_env};
	auto_free char *a = NULL, *b = NULL;
	struct err err;

	fake_path = tmp;
	cr_assert_eq(fc_find(&host, &a, &err), 0, "%s", err.msg);
	cr_expect_str_eq(a, on_path);
	fake_fc = named;
	cr_assert_eq(fc_find(&host, &b, &err), 0);
	cr_expect_str_eq(b, named);
	fake_fc = "/no/fc";
	cr_expect_eq(fc_find(&host, &b, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "FCVM_FIRECRACKER names '/no/fc', which cannot be run");
	fake_fc = NULL;
	fake_path = "/no/such/dir";
	cr_expect_eq(fc_find(&host, &b, &err), -ENOENT);
	cr_expect_str_eq(err.msg, "firecracker is not installed");
	cr_expect_eq(err.class, ERR_HOST);
}

Test(fc_find, the_binary_is_asked_for_both)
{
	auto_tmpdir char *tmp = tmpdir_new("fcfind");
	auto_free char *path =
		make_program(tmp, "fc",
			     "#!/bin/sh\ncase $1 in --version) echo 'Firecracker v1.15.1';; "
			     "--snapshot-version) echo v9.0.0;; esac\n");
	struct probe_binary b;
	struct err err;

	cr_assert_eq(fc_ask(path, &b, &err), 0, "%s", err.msg);
	cr_expect_str_eq(b.version, "1.15.1");
	cr_expect_str_eq(b.format, "9.0.0");
}
