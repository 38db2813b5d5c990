#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"
#include "xalloc.h"

Test(fp_ops_dir, directories_are_listed_from_any_place_that_was_given)
{
	auto_rig struct rig r = {0};
	char name[32];
	size_t n = 0;

	rig_start(&r, NULL);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "file-%03d", i);
		rig_write_file(&r, name, "");
	}
	uint64_t fh = rig_open(&r, 1, O_RDONLY | O_DIRECTORY);
	struct fuse_read_in in = {.fh = fh, .size = 4096};
	bool seen[300] = {0};
	do {
		cr_assert_eq(RIG_CALL(&r, FUSE_READDIRPLUS, 1, &in, NULL), 0);
		for (size_t at = 0; at < r.out_len;) {
			struct fuse_direntplus d;

			memcpy(&d, r.out + at, sizeof(d));
			const char *text = (const char *)r.out + at + FUSE_NAME_OFFSET_DIRENTPLUS;
			bool dots = text[0] == '.';
			cr_expect_eq(d.entry_out.nodeid == 0, dots);
			if (!dots) {
				int i = (text[5] - '0') * 100 + (text[6] - '0') * 10 + text[7] -
					'0';

				cr_expect_not(seen[i]);
				seen[i] = true;
			}
			in.offset = d.dirent.off;
			at += FUSE_DIRENTPLUS_SIZE(&d);
			n++;
		}
	} while (r.out_len);
	cr_expect_eq(n, 302);
	cr_expect_eq(RIG_CALL(&r, FUSE_READDIR, 1, &in, NULL), 0);
	cr_expect_eq(r.out_len, 0, "at the end");
}

/* Records of long names fill a trailer before the names fill a large reply. */
Test(fp_ops_dir, records_of_a_large_listing_fit_their_trailer)
{
	auto_rig struct rig r = {.keeps_records = true};
	char name[NAME_MAX + 1];
	size_t n = 0;

	/* Names are places where handles cannot be opened. */
	if (geteuid() == 0 && (setresgid(4711, 4711, 4711) < 0 || setresuid(4711, 4711, 4711) < 0))
		cr_skip_test("cannot become another user");
	rig_start(&r, NULL);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "%0*d", NAME_MAX, i);
		rig_write_file(&r, name, "");
	}
	uint64_t fh = rig_open(&r, 1, O_RDONLY | O_DIRECTORY);
	struct fuse_read_in in = {.fh = fh, .size = FP_MAX_WRITE};
	do {
		cr_assert_eq(RIG_CALL(&r, FUSE_READDIRPLUS, 1, &in, NULL), 0);
		for (size_t at = 0; at < r.out_len; n++) {
			struct fuse_direntplus d;

			memcpy(&d, r.out + at, sizeof(d));
			in.offset = d.dirent.off;
			at += FUSE_DIRENTPLUS_SIZE(&d);
		}
	} while (r.out_len);
	cr_expect_eq(n, 302);
}

/* The node that READDIRPLUS gives for a name; 0 when it gives none. */
static uint64_t node_listed(struct rig *r, const char *name)
{
	uint64_t fh = rig_open(r, 1, O_RDONLY | O_DIRECTORY), node = 0;
	struct fuse_read_in in = {.fh = fh, .size = 4096};

	cr_assert_eq(RIG_CALL(r, FUSE_READDIRPLUS, 1, &in, NULL), 0);
	for (size_t at = 0; at < r->out_len;) {
		struct fuse_direntplus d;

		memcpy(&d, r->out + at, sizeof(d));
		if (d.dirent.namelen == strlen(name) &&
		    memcmp(r->out + at + FUSE_NAME_OFFSET_DIRENTPLUS, name, strlen(name)) == 0)
			node = d.entry_out.nodeid;
		at += FUSE_DIRENTPLUS_SIZE(&d);
	}
	return node;
}

Test(fp_ops_dir, a_listing_gives_each_name_the_node_it_has_now)
{
	auto_rig struct rig r = {0};

	rig_start(&r, NULL);
	rig_write_file(&r, "a", "");
	rig_write_file(&r, "b", "");
	uint64_t a = node_listed(&r, "a"), b = node_listed(&r, "b");
	cr_assert(a && b && a != b);
	cr_expect(node_listed(&r, "a") == a && node_listed(&r, "b") == b, "and again");
	auto_free char *from = xstrdup(rig_path(&r, "b"));
	cr_assert_eq(rename(from, rig_path(&r, "a")), 0);
	cr_expect(node_listed(&r, "a") == b && node_listed(&r, "b") == 0);
	/* Every listing counted: three of them for b's file, and one more as "a". */
	struct fuse_forget_in forget = {.nlookup = 3};
	(void)rig_send(&r, FUSE_FORGET, b, &forget, sizeof(forget), NULL, NULL);
	struct fuse_getattr_in attr = {0};
	cr_expect_eq(RIG_CALL(&r, FUSE_GETATTR, b, &attr, NULL), 0);
}

/* The directory still says the number of what is below. */
Test(fp_ops_dir, what_is_mounted_over_a_known_name_is_not_listed_as_it)
{
	auto_rig struct rig r = {0};

	rig_need_root();
	rig_start(&r, NULL);
	rig_write_file(&r, "a", "");
	rig_write_file(&r, "b", "");
	cr_assert_neq(node_listed(&r, "a"), 0);
	auto_free char *from = xstrdup(rig_path(&r, "b"));
	cr_assert_eq(mount(from, rig_path(&r, "a"), NULL, MS_BIND, NULL), 0);
	uint64_t over = node_listed(&r, "a");
	cr_assert_eq(umount(rig_path(&r, "a")), 0);
	cr_expect_eq(over, 0);
}

Test(fp_ops_dir, hostile_readdirs_are_refused)
{
	auto_rig struct rig r = {0};
	uint64_t file;

	rig_start(&r, NULL);
	uint64_t f = rig_create(&r, 1, "f", 0600, &file);
	uint64_t fh = rig_open(&r, 1, O_RDONLY | O_DIRECTORY);
	struct fuse_read_in in = {.fh = fh, .size = UINT32_MAX};
	cr_expect_eq(RIG_CALL(&r, FUSE_READDIR, 1, &in, NULL), 0, "cut to what a reply holds");
	in.offset = UINT64_MAX;
	cr_expect_eq(RIG_CALL(&r, FUSE_READDIR, 1, &in, NULL), -EINVAL);
	in = (struct fuse_read_in){.fh = file, .size = 4096};
	cr_expect_eq(RIG_CALL(&r, FUSE_READDIR, f, &in, NULL), -ENOTDIR);
	in = (struct fuse_read_in){.fh = fh, .size = 8};
	cr_expect_eq(RIG_CALL(&r, FUSE_READDIR, 1, &in, NULL), 0);
	cr_expect_eq(r.out_len, 0);
}
