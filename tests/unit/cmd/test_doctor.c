#include "commands.h"

#include "cleanup.h"
#include "file.h"
#include "json.h"
#include "ledger.h"
#include "run.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *plain_env(const char *name)
{
	return getenv(name);
}

static const char *no_qemu(const char *name)
{
	return !strcmp(name, "FCVM_QEMU") ? "/no/such/qemu" : getenv(name);
}

static const char *no_path(const char *name)
{
	return !strcmp(name, "PATH") ? "/no/such:" : getenv(name);
}

/* stdout of `doctor` (json: with --json) on a host with that environment; caller frees. */
static char *doctor(const char *data_dir, const char *(*env)(const char *name), bool json,
		    int *ret_r, struct err *err)
{
	static const struct command row = {"doctor", NULL, "", "", "", cmd_doctor, 0};
	struct host host = {0};
	char word[] = "doctor", option[] = "--json", *argv[] = {word, option, NULL};
	auto_buf struct buf out = BUF_INIT(1u << 20);
	auto_close int catcher = memfd_create("stdout", MFD_CLOEXEC);
	auto_close int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	char piece[4096];
	ssize_t n;
	int status = 0;

	cr_assert_eq(host_init(&host, data_dir, err), 0, "%s", err->msg);
	host.getenv = env;
	struct command_ctx ctx = {.host = &host, .command = &row};
	cr_assert_geq(dup2(catcher, STDOUT_FILENO), 0);
	*ret_r = cmd_doctor(&ctx, json ? 2 : 1, argv, &status, err);
	cr_assert_geq(dup2(saved, STDOUT_FILENO), 0);
	host_free(&host);
	cr_assert_eq(lseek(catcher, 0, SEEK_SET), 0);
	while ((n = read(catcher, piece, sizeof(piece))) > 0)
		buf_add(&out, piece, (size_t)n);
	return buf_detach(&out);
}

Test(doctor, json_has_every_check_with_its_four_keys_and_a_hint_where_it_failed)
{
	static const char *const names[] = {
		"qemu",      "firecracker", "jailer",       "kvm",    "userfaultfd",
		"hugepages", "reflink",     "mmdebstrap",   "skopeo", "mksquashfs",
		"cgroup2",   "disk",        "tun",          "userns", "slirp4netns",
		"nftables",  "forwarding",  "forward-drop", "ports"};
	auto_tmpdir char *dir = tmpdir_new("cmd-doctor");
	struct err err = {0};
	int r = 0;
	auto_free char *text = doctor(dir, plain_env, true, &r, &err);
	auto_json struct json_object *arr = NULL;

	cr_assert_eq(json_parse(text, strlen(text), &arr, &err), 0, "%s", err.msg);
	cr_assert_eq(json_object_array_length(arr), ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct json_object *o = json_object_array_get_idx(arr, i);
		const char *name = NULL, *value = NULL;
		bool ok = false;

		cr_expect_eq(json_get_str(o, "check", &name, &err), 0, "%s", err.msg);
		cr_expect_str_eq(name, names[i]);
		cr_expect_eq(json_get_bool(o, "ok", &ok, &err), 0, "%s", err.msg);
		cr_expect_eq(json_get_str(o, "value", &value, &err), 0, "%s", err.msg);
		cr_expect(json_object_object_get_ex(o, "hint", NULL));
		cr_expect_eq(json_opt_str(o, "hint", NULL) == NULL, ok, "%s", name);
		cr_expect_gt(strlen(value), 0, "%s", name);
	}
}

Test(doctor, a_host_without_qemu_is_refused_with_exit_4)
{
	auto_tmpdir char *dir = tmpdir_new("cmd-doctor");
	struct err err = {0};
	int r = 0;
	auto_free char *text = doctor(dir, no_qemu, false, &r, &err);

	cr_expect_lt(r, 0);
	cr_expect_eq(err_exit_status(&err), 4);
	cr_expect_not_null(strstr(text, "FAIL  qemu"), "%s", text);
	cr_expect_not_null(strstr(text, "note  kvm          not measured: no qemu\n"), "%s", text);
}

Test(doctor, tools_that_are_missing_come_with_the_apt_line)
{
	auto_tmpdir char *dir = tmpdir_new("cmd-doctor");
	struct err err = {0};
	int r = 0;
	auto_free char *text = doctor(dir, no_path, false, &r, &err);

	cr_expect_eq(err_exit_status(&err), 4);
	cr_expect_not_null(strstr(text, "FAIL  skopeo       not found\n"
					"                   hint: apt install skopeo\n"),
			   "%s", text);
	cr_expect_not_null(strstr(text, "hint: apt install squashfs-tools\n"), "%s", text);
}

Test(doctor, looking_makes_nothing)
{
	auto_tmpdir char *dir = tmpdir_new("cmd-doctor");
	auto_free char *data = path_join(dir, "not/there/yet");
	auto_free char *first = path_join(dir, "not");
	struct err err = {0};
	int r = 0;
	auto_free char *text = doctor(data, no_path, false, &r, &err);

	cr_expect_not(file_exists(first));
	cr_expect_not_null(strstr(text, dir), "the nearest directory that exists is looked at");
	cr_expect_not_null(strstr(text, "\nok    ports        none given out yet\n"), "%s", text);
}

Test(doctor, addresses_of_vms_that_are_gone_are_told)
{
	auto_tmpdir char *dir = tmpdir_new("cmd-doctor");
	auto_free char *gone = path_join(dir, "gone");
	struct host host = {0};
	struct err err = {0};
	uint32_t number;
	int r = 0;

	cr_assert_eq(host_init(&host, dir, &err), 0);
	cr_assert_eq(host_make_dirs(&host, &err), 0);
	auto_free char *before = doctor(dir, plain_env, false, &r, &err);
	cr_expect_not_null(strstr(before, "ok    ports        0 links and 0 loopback addresses "
					  "given out\n"),
			   "%s", before);
	cr_assert_eq(file_mkdir_p(gone, 0700, &err), 0);
	cr_assert_eq(ledger_take(&host, "slot", dir, &number, &err), 0, "%s", err.msg);
	cr_assert_eq(ledger_take(&host, "slot", gone, &number, &err), 0, "%s", err.msg);
	cr_assert_eq(rmdir(gone), 0);
	host_free(&host);
	auto_free char *after = doctor(dir, plain_env, false, &r, &err);
	cr_expect_not_null(strstr(after, "note  ports        2 links and 0 loopback addresses "
					 "given out\n"),
			   "%s", after);
	cr_expect_not_null(strstr(after, "hint: 1 of them belong to virtual machines that are "
					 "gone, e.g. "),
			   "%s", after);
}
