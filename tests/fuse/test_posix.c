/* test_posix.c - the tables of tests/posix three times: ext4 with cache shared and (a quarter, but
 * for FCVM_FUSE_FULL) strict, btrfs with cache shared. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "cleanup.h"
#include "posix.h"
#include "world.h"

static void compare(enum world_fs fs, const char *cache, const char *name, posix_build build)
{
	auto_buf struct buf report = BUF_INIT(64u << 10);
	struct posix_table table = {0};
	auto_world struct world w;
	struct err err = {0};

	/* Over a bind mount a difference is the suite's own fault. */
	world_open(&w, fs, cache, getenv("FCVM_FUSE_BIND") ? WORLD_BIND : WORLD_FULL_TRUST);
	const struct posix_sides sides = {.bare_fd = w.bare_fd,
					  .mount_fd = w.mnt_fd,
					  .below_fd = w.vol_fd,
					  .bare = w.bare,
					  .mount = w.mnt,
					  .flush = true};

	build(&table);
	/* Without caches everything is asked for, which takes its time. */
	if (strcmp(cache, "strict") == 0 && !getenv("FCVM_FUSE_FULL"))
		posix_thin_out(&table, 4);
	int bad = posix_run(&table, &sides, &report, &err);

	cr_assert_geq(bad, 0, "%s", err.msg);
	cr_assert_eq(bad, 0, "%d of %zu cases differ:\n%s", bad, table.n, buf_str(&report));
	(void)fprintf(stderr, "%s: %zu cases, no difference\n", name, table.n);
	free(table.cases);
}

#define POSIX_TESTS(name)                                               \
	Test(ext4_shared, name, .fini = world_cleanup)                  \
	{                                                               \
		compare(FS_EXT4, "shared", #name, posix_build_##name);  \
	}                                                               \
	Test(ext4_strict, name, .fini = world_cleanup)                  \
	{                                                               \
		compare(FS_EXT4, "strict", #name, posix_build_##name);  \
	}                                                               \
	Test(btrfs_shared, name, .fini = world_cleanup)                 \
	{                                                               \
		compare(FS_BTRFS, "shared", #name, posix_build_##name); \
	}
POSIX_TABLES(POSIX_TESTS)
