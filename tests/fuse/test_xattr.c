/* test_xattr.c - extended attributes that a mount does not carry. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "world.h"
#include "xalloc.h"

/* These need CAP_SYS_ADMIN, which the server is not to have: trusted names do not exist through the
 * mount, security names other than security.capability cannot be changed. */
Test(xattr, names_for_the_kernel_and_its_administrator_stay_on_the_host, .fini = world_cleanup)
{
	auto_world struct world w;
	char got[16], list[256];

	world_open(&w, FS_EXT4, "shared", WORLD_FULL_TRUST);
	auto_free char *below = xasprintf("%s/file", w.vol);
	auto_free char *through = xasprintf("%s/file", w.mnt);

	cleanup_close_p(&(int){open(below, O_CREAT | O_RDWR | O_CLOEXEC, 0644)});
	cr_assert_eq(setxattr(below, "trusted.have", "secret", 6, 0), 0);
	cr_expect_eq(getxattr(through, "trusted.have", got, sizeof(got)), -1);
	cr_expect_eq(errno, ENODATA);
	cr_expect_eq(setxattr(through, "trusted.have", "other", 5, 0), -1);
	cr_expect_eq(errno, EPERM);
	cr_expect_eq(removexattr(through, "trusted.have"), -1);
	cr_expect_eq(errno, EPERM);
	cr_expect_eq(listxattr(through, list, sizeof(list)), 0);
	cr_expect_eq(getxattr(below, "trusted.have", got, sizeof(got)), 6);
	cr_expect_eq(setxattr(through, "security.x", "other", 5, 0), -1);
	cr_expect_eq(errno, EPERM);
	cr_assert_eq(setxattr(below, "security.have", "label", 5, 0), 0);
	cr_expect_eq(getxattr(through, "security.have", got, sizeof(got)), 5);
	cr_expect_eq(removexattr(through, "security.have"), -1);
	cr_expect_eq(errno, EPERM);
}
