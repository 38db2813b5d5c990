#include "fp_volume.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "rig.h"
#include "run.h"

static void done(void *ticket, int result)
{
	(void)ticket;
	(void)result;
}

struct world {
	char *dir;
	int root, proc;
	struct fp_volume *v;
};

static void begin(struct world *w)
{
	const struct fp_options opt = {.trust = FP_FULL, .cache = FP_STRICT, .state_fd = -1};

	w->dir = tmpdir_new("volume");
	w->root = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(fp_volume_open(w->root, w->proc, &opt, done, &w->v, NULL), 0);
}

static void end(struct world *w)
{
	fp_volume_close(w->v);
	cleanup_close_p(&w->root);
	cleanup_close_p(&w->proc);
	tmpdir_remove(&w->dir);
}
#define auto_world __attribute__((cleanup(end)))

static void make(struct world *w, const char *name)
{
	(void)close(openat(w->root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static unsigned long fd_table_size(void)
{
	auto_close int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	char text[4096] = "";

	cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
	const char *line = strstr(text, "\nFDSize:");
	cr_assert_not_null(line);
	return strtoul(line + strlen("\nFDSize:"), NULL, 10);
}

/* With threads it grows only after a grace period of RCU, and everything stands still. */
Test(fp_volume, the_table_of_descriptors_is_large_before_there_are_threads)
{
	auto_world struct world w = {0};
	struct rlimit lim;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
	begin(&w);
	cr_expect_geq(fd_table_size(), lim.rlim_max < 16384 ? lim.rlim_max : 16384);
}

Test(fp_volume, what_lies_elsewhere_is_noticed_however_it_was_opened)
{
	auto_world struct world w = {0};
	struct stat st;

	begin(&w);
	cr_expect_eq(fp_volume_check(w.v, w.root, &st), 0);
	auto_close int other = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_eq(fp_volume_check(w.v, other, &st), -EXDEV);
	rig_need_root();
	/* The same file system through another mount. */
	auto_free char *again = path_join(w.dir, "again");
	cr_assert_eq(mkdir(again, 0700), 0);
	cr_assert_eq(mount(w.dir, again, NULL, MS_BIND, NULL), 0);
	int bound = open(again, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_expect_eq(fp_volume_check(w.v, bound, &st), -EXDEV);
	(void)close(bound);
	cr_assert_eq(umount(again), 0);
}

/* The decoder lets no such name through; should one come all the same, the kernel does not. */
Test(fp_volume, a_lookup_stays_beneath_its_directory)
{
	auto_world struct world w = {0};
	struct stat st;

	begin(&w);
	make(&w, "f");
	cr_assert_eq(mkdirat(w.root, "d", 0700), 0);
	cr_assert_eq(symlinkat("/etc", w.root, "l"), 0);
	cr_assert_eq(symlinkat("..", w.root, "up"), 0);
	cr_expect_eq(fp_volume_lookup(w.v, w.root, "..", &st), -EXDEV);
	cr_expect_eq(fp_volume_lookup(w.v, w.root, "d/../../x", &st), -EXDEV);
	cr_expect_eq(fp_volume_lookup(w.v, w.root, "/etc/passwd", &st), -EXDEV);
	cr_expect_eq(fp_volume_lookup(w.v, w.root, "l/passwd", &st), -EXDEV);
	cr_expect_eq(fp_volume_lookup(w.v, w.root, "up/x", &st), -EXDEV);
	auto_close int fd = fp_volume_lookup(w.v, w.root, "l", &st);
	cr_expect(fd >= 0 && S_ISLNK(st.st_mode));
}

Test(fp_volume, a_path_descriptor_becomes_one_for_data)
{
	auto_world struct world w = {0};
	struct stat st;
	char c;

	begin(&w);
	make(&w, "f");
	auto_close int path = fp_volume_lookup(w.v, w.root, "f", &st);
	auto_close int fd = fp_volume_reopen(w.v, path, O_RDWR);
	cr_expect(write(fd, "x", 1) == 1 && pread(fd, &c, 1, 0) == 1 && c == 'x');
	cr_expect_eq(fp_volume_reopen(w.v, path, O_RDONLY | O_DIRECTORY), -ENOTDIR);
}

Test(fp_volume, attributes_are_encoded_as_the_kernel_has_them)
{
	auto_world struct world w = {0};
	struct stat st = {.st_mode = S_IFCHR | 0600,
			  .st_rdev = makedev(0x123, 0xabcde),
			  .st_size = 5,
			  .st_mtim = {7, 8},
			  .st_uid = 3,
			  .st_gid = 4};
	struct fuse_attr a;

	begin(&w);
	fp_volume_attr(w.v, &st, &a);
	cr_expect_eq(a.rdev, 0xabc123deu);
	cr_expect(a.size == 5 && a.mtime == 7 && a.mtimensec == 8 && a.mode == st.st_mode);
	if (geteuid() == 0)
		cr_expect(a.uid == 3 && a.gid == 4);
}

Test(fp_volume, what_is_no_directory_is_refused)
{
	const struct fp_options opt = {.trust = FP_FULL, .state_fd = -1};
	auto_world struct world w = {0};
	struct fp_volume *v = NULL;
	struct err err = {0};

	begin(&w);
	make(&w, "f");
	auto_close int file = openat(w.root, "f", O_RDONLY | O_CLOEXEC);
	cr_expect_eq(fp_volume_open(file, w.proc, &opt, done, &v, &err), -ENOTDIR);
	cr_expect_str_eq(err.msg, "what is to be served is not a directory");
	cr_expect_null(v);
}

Test(fp_volume, a_reset_forgets_nodes_and_handles)
{
	auto_world struct world w = {0};
	struct fp_inode *in = NULL;
	struct stat st;
	bool is_new;

	begin(&w);
	make(&w, "f");
	int fd = fp_volume_lookup(w.v, w.root, "f", &st);
	cr_assert_eq(fp_inode_add(w.v->inodes, fd, &st, 0, NULL, &in, &is_new), 0);
	uint64_t id = in->id;
	fp_inode_put(w.v->inodes, in);
	cr_assert_eq(fp_volume_reset(w.v, done, NULL), 0);
	cr_expect_eq(fp_volume_node(w.v, id, &in), -ESTALE);
	cr_expect_geq(fp_volume_node(w.v, FUSE_ROOT_ID, &in), 0);
	fp_inode_put(w.v->inodes, in);
}

/* File systems keep blocks for root: a guest must not fill those as well. */
Test(fp_volume, squash_writes_as_the_directorys_owner)
{
	const struct fp_options squash = {.trust = FP_SQUASH, .state_fd = -1};
	const struct fp_request q = {.head = {.uid = 77, .gid = 78}};
	auto_world struct world w = {0};
	struct fp_volume *v = NULL;

	rig_need_root();
	begin(&w);
	cr_assert_eq(fchown(w.root, 1500, 1600), 0);
	cr_assert_eq(fp_volume_open(w.root, w.proc, &squash, done, &v, NULL), 0);
	cr_assert_eq(fp_creds_init(w.proc, NULL), 0);
	cr_expect_eq(fp_volume_kill_suid(v, &q), 0);
	cr_expect_eq(setfsuid((uid_t)-1), 1500);
	cr_expect_eq(setfsgid((gid_t)-1), 65534, "no member of anything");
	cr_expect_eq(fp_creds_server(), 0);
	fp_volume_close(v);
}
