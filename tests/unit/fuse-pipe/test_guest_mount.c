#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "guest_pump.h"
#include "run.h"

Test(guest_mount, only_a_directory_is_mounted_on)
{
	auto_tmpdir char *dir = tmpdir_new("mount");
	auto_free char *file = path_join(dir, "file");
	auto_free char *none = path_join(dir, "none");
	struct err err = {0};
	int fd = -1;

	if (access("/dev/fuse", R_OK | W_OK) != 0)
		cr_skip_test("needs /dev/fuse");
	cr_assert_eq(file_replace(file, "", 0, 0600, &err), 0);
	const struct guest_mount_config on_file = {.target = file, .source = "test"};
	const struct guest_mount_config on_none = {.target = none, .source = "test"};
	cr_expect_eq(guest_mount(&on_file, &fd, &err), -ENOTDIR);
	cr_expect_eq(guest_mount(&on_none, &fd, &err), -ENOENT);
	cr_expect_eq(fd, -1);
}

Test(guest_mount, set_id_bits_and_devices_work_only_when_trusted)
{
	auto_tmpdir char *dir = tmpdir_new("mount");
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("needs root");
	if (access("/dev/fuse", R_OK | W_OK) != 0)
		cr_skip_test("needs /dev/fuse");
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	for (int trusted = 0; trusted < 2; trusted++) {
		const struct guest_mount_config config = {
			.target = dir, .source = "a-source", .trusted = trusted, .read_only = true};
		auto_buf struct buf text = BUF_INIT(1u << 20);
		int fd = -1;

		cr_assert_eq(guest_mount(&config, &fd, &err), 0, "%s", err.msg);
		cr_assert_eq(file_read("/proc/self/mountinfo", 1u << 20, &text, &err), 0, "%s",
			     err.msg);
		const char *line = strstr(buf_str(&text), dir);
		cr_assert_not_null(line);
		auto_free char *copy = strndup(line, strcspn(line, "\n"));
		cr_expect_eq(strstr(copy, " ro,") != NULL, true, "%s", copy);
		cr_expect_eq(strstr(copy, "nosuid,nodev") == NULL, trusted, "%s", copy);
		cr_expect_not_null(strstr(copy, "fuse.fuse-pipe a-source"), "%s", copy);
		cr_expect_not_null(strstr(copy, "default_permissions,allow_other"), "%s", copy);
		close(fd);
		cr_assert_eq(umount2(dir, MNT_DETACH), 0);
	}
}
