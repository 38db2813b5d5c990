/* test_vmdir.c - <instance>/vm belongs to a VMM that may be hostile: what root opens there is the
 * regular file the VMM was given, or nothing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "super.h"

#define VMM_UID 65534

struct rig {
	char *dir;
	struct host host;
	struct supervisor_spec spec;
	struct super super;
};

static void rig_make(struct rig *r)
{
	struct err err = {0};

	r->dir = tmpdir_new("vmdir");
	r->host = (struct host){.is_root = geteuid() == 0};
	r->spec = (struct supervisor_spec){.dir = r->dir};
	r->super = (struct super){.host = &r->host, .spec = &r->spec};
	r->super.vm.uid = r->host.is_root ? VMM_UID : getuid();
	cr_assert_eq(vmdir_make(&r->super, r->host.is_root ? VMM_UID : getgid(), &err), 0, "%s",
		     err.msg);
}

static void rig_free(struct rig *r)
{
	tmpdir_remove(&r->dir);
}

/* A file in vm/ as the VMM would have made it. */
static void put(const struct rig *r, const char *name, uid_t uid)
{
	auto_free char *path = vmdir_path(&r->super, name);

	cr_assert_eq(file_replace(path, "x", 1, 0600, NULL), 0);
	cr_assert_eq(chown(path, uid, (gid_t)-1), 0);
}

static int try_open(const struct rig *r, const char *name)
{
	auto_close int fd = -1;

	return vmdir_open(&r->super, name, &fd, NULL);
}

Test(vmdir, the_file_the_vmm_was_given_is_opened)
{
	struct rig r;

	rig_make(&r);
	put(&r, "memory", r.super.vm.uid);
	cr_expect_eq(try_open(&r, "memory"), 0);
	cr_expect_eq(try_open(&r, "absent"), -ENOENT);
	rig_free(&r);
}

Test(vmdir, links_devices_and_other_peoples_files_are_not)
{
	struct rig r;

	rig_make(&r);
	put(&r, "memory", r.super.vm.uid);
	auto_free char *memory = vmdir_path(&r.super, "memory");
	auto_free char *link_path = vmdir_path(&r.super, "link");
	auto_free char *hard = vmdir_path(&r.super, "hard");
	auto_free char *fifo = vmdir_path(&r.super, "fifo");
	auto_free char *dir = vmdir_path(&r.super, "dir");

	cr_assert_eq(symlink(memory, link_path), 0);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	cr_assert_eq(mkdir(dir, 0700), 0);
	cr_expect_eq(try_open(&r, "link"), -ELOOP);
	cr_expect_eq(try_open(&r, "fifo"), -EPERM);
	cr_expect_eq(try_open(&r, "dir"), -EPERM);
	if (r.host.is_root) {
		put(&r, "roots", 0);
		cr_expect_eq(try_open(&r, "roots"), -EPERM);
	}
	cr_assert_eq(link(memory, hard), 0);
	cr_expect_eq(try_open(&r, "memory"), -EPERM, "a file with a second name");
	rig_free(&r);
}
