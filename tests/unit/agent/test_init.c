#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "init.h"

Test(init, a_value_of_the_command_line_is_found_whole_or_not_at_all)
{
	static const struct {
		const char *cmdline, *want;
	} cases[] = {
		{"quiet fcvm.fstype=squashfs ro\n", "squashfs"},
		{"fcvm.fstype=erofs", "erofs"},
		{"xfcvm.fstype=a fcvm.fstypes=b", ""},
		{"fcvm.fstype=ext4 fcvm.fstype=erofs", "erofs"},
		{"fcvm.fstype=", ""},
		{"fcvm.fstype=waytoolongforthebuffer", ""},
		{"fcvm.fstype", ""},
		{"", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char got[16];

		init_cmdline_value(cases[i].cmdline, "fcvm.fstype", got, sizeof(got));
		cr_expect_str_eq(got, cases[i].want, "'%s': '%s'", cases[i].cmdline, got);
	}
}

Test(init, file_systems_are_known_by_their_magic)
{
	static const struct {
		size_t at;
		const char *magic, *want;
	} cases[] = {
		{0, "hsqs", "squashfs"},
		{1024, "\xe2\xe1\xf5\xe0", "erofs"},
		{1024 + 0x38, "\x53\xef", "ext4"},
		{0, "none", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t head[2048] = {0};

		memcpy(head + cases[i].at, cases[i].magic, strlen(cases[i].magic));
		const char *got = init_detect_fstype(head, sizeof(head));
		cr_expect_eq(got != NULL, cases[i].want != NULL);
		if (got && cases[i].want)
			cr_expect_str_eq(got, cases[i].want);
		cr_expect_null(init_detect_fstype(head, 3));
	}
}

Test(init, every_image_store_is_named_to_podman)
{
	auto_buf struct buf none = BUF_INIT(4096);
	auto_buf struct buf two = BUF_INIT(4096);

	init_storage_conf(0, &none);
	init_storage_conf(2, &two);
	cr_expect_not_null(strstr(buf_str(&none), "additionalimagestores = []\n"));
	cr_expect_not_null(
		strstr(buf_str(&two), "additionalimagestores = [\"/images/0\", \"/images/1\"]\n"));
}
