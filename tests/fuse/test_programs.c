/* test_programs.c - programs that are hard on a file system, on the mount. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "world.h"
#include "xalloc.h"

static bool full(void)
{
	return getenv("FCVM_FUSE_FULL") != NULL;
}

static void need(const char *path)
{
	if (access(path, X_OK) != 0)
		cr_skip_test("needs %s", path);
}

/* Runs it in a directory; fails the test with what it said unless it ends well. */
static char *run_in(const char *dir, const char *input, const char *const *argv)
{
	static const char *const env[] = {
		"HOME=/nonexistent",           "LC_ALL=C.UTF-8",
		"GIT_AUTHOR_NAME=a",           "GIT_AUTHOR_EMAIL=a@b.c",
		"GIT_COMMITTER_NAME=a",        "GIT_COMMITTER_EMAIL=a@b.c",
		"GIT_CONFIG_GLOBAL=/dev/null", NULL};
	auto_run struct run_result r = RUN_INIT;

	cr_assert_eq(chdir(dir), 0, "%s: %s", dir, strerror(errno));
	run_argv(&r, argv, env, input, WORLD_TIMEOUT_MS);
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(r.status, 0, "%s %s: status %d%s\n%s%s", argv[0], argv[1], r.status,
		     r.timed_out ? ", timed out" : "", buf_str(&r.out), buf_str(&r.err));
	return xstrdup(buf_str(&r.out));
}
#define run(dir, ...) \
	cleanup_free_p(&(char *){run_in(dir, NULL, (const char *const[]){__VA_ARGS__, NULL})})

static void put(const char *dir, const char *name, const char *text, mode_t mode)
{
	auto_free char *path = path_join(dir, name);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	ssize_t len = (ssize_t)strlen(text);

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(write(fd, text, (size_t)len), len);
}

/* Files of all sizes and modes, links of both kinds, holes, odd names, empty directories. */
static void make_tree(const char *at, unsigned int dirs, unsigned int files)
{
	static const size_t sizes[] = {0, 1, 100, 4095, 4096, 4097, 20000, 70000};
	static char text[80000];

	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)(i % 61 == 60 ? '\n' : 'A' + i % 57);
	for (unsigned int d = 0; d < dirs; d++) {
		auto_free char *dir = xasprintf("%s/dir-%u/sub %u", at, d, d % 7);
		auto_free char *link = xasprintf("%s/link", dir);
		auto_free char *hard = xasprintf("%s/hard", dir);
		auto_free char *sparse = xasprintf("%s/sparse", dir);
		auto_free char *one = xasprintf("%s/file-1.c", dir);

		cr_assert_eq(file_mkdir_p(dir, 0755, NULL), 0);
		for (unsigned int f = 0; f < files; f++) {
			auto_free char *name = xasprintf("file-%u.c", f);
			size_t size = sizes[(d * 31 + f) % ARRAY_SIZE(sizes)];
			char *start = text + (d * 7 + f) % 60;
			char keep = start[size];

			start[size] = '\0';
			put(dir, name, start, f % 5 == 0 ? 0755 : f % 7 == 0 ? 0400 : 0644);
			start[size] = keep;
		}
		cr_assert_eq(symlink("../../somewhere/else", link), 0);
		cr_assert_eq(linkat(AT_FDCWD, one, AT_FDCWD, hard, 0), 0);
		cleanup_close_p(&(int){open(sparse, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)});
		cr_assert_eq(truncate(sparse, 3 << 20), 0);
	}
	put(at, "na\xc3\xafve \"name\"\t*", "odd\n", 0600);
	auto_free char *empty = path_join(at, "empty");
	cr_assert_eq(mkdir(empty, 02750), 0);
}

static void untar(enum world_fs fs, const char *cache)
{
	auto_world struct world w;

	need("/usr/bin/diff");
	world_open(&w, fs, cache, getenv("FCVM_FUSE_BIND") ? WORLD_BIND : WORLD_FULL_TRUST);
	auto_free char *source = path_join(w.bare, "source");
	auto_free char *tar = path_join(w.bare, "source.tar");
	auto_free char *through = path_join(w.mnt, "source");
	auto_free char *below = path_join(w.vol, "source");

	cr_assert_eq(mkdir(source, 0755), 0);
	make_tree(source, full() ? 400 : 40, 50);
	run(w.bare, "tar", "-cf", tar, "source");
	run(w.mnt, "tar", "-xpf", tar);
	/* Contents, links, modes, owners and times, once through the mount and once below. */
	run(w.mnt, "tar", "-df", tar);
	run(w.vol, "tar", "-df", tar);
	run(w.mnt, "diff", "-r", "--no-dereference", source, through);
	run(w.vol, "diff", "-r", "--no-dereference", source, below);
	run(w.mnt, "cp", "-a", "source", "copy");
	run(w.mnt, "diff", "-r", "--no-dereference", "source", "copy");
	run(w.mnt, "rm", "-rf", "source", "copy");
	cr_expect_eq(access(below, F_OK), -1);
}
Test(programs, untar_and_diff_on_ext4, .fini = world_cleanup)
{
	untar(FS_EXT4, "shared");
}
Test(programs, untar_and_diff_on_btrfs, .fini = world_cleanup)
{
	untar(FS_BTRFS, "shared");
}

static void git(enum world_fs fs, const char *cache)
{
	auto_world struct world w;

	need("/usr/bin/git");
	world_open(&w, fs, cache, getenv("FCVM_FUSE_BIND") ? WORLD_BIND : WORLD_FULL_TRUST);
	auto_free char *origin = path_join(w.bare, "origin");
	auto_free char *clone = path_join(w.mnt, "clone");

	cr_assert_eq(mkdir(origin, 0755), 0);
	run(origin, "git", "init", "-q", "-b", "main");
	for (unsigned int i = 1; i <= (full() ? 20u : 4u); i++) {
		auto_free char *dir = xasprintf("%s/round-%u", origin, i);
		auto_free char *message = xasprintf("round %u", i);

		cr_assert_eq(mkdir(dir, 0755), 0);
		make_tree(dir, 4, 20);
		/* git keeps no empty directories. */
		auto_free char *empty = path_join(dir, "empty");
		cr_assert_eq(rmdir(empty), 0);
		run(origin, "git", "add", "-A");
		run(origin, "git", "commit", "-q", "-m", message);
	}
	run(w.mnt, "git", "clone", "-q", "--no-local", origin, clone);
	run(clone, "git", "status", "--porcelain", "--untracked-files=all");
	run(clone, "git", "checkout", "-q", "-b", "work", "HEAD~2");
	put(clone, "new", "new\n", 0644);
	run(clone, "git", "add", "new");
	run(clone, "git", "commit", "-q", "-m", "new");
	run(clone, "git", "rebase", "-q", "main");
	run(clone, "git", "gc", "-q", "--aggressive", "--prune=now");
	run(clone, "git", "repack", "-q", "-a", "-d", "-f");
	run(clone, "git", "fsck", "--full", "--strict");
	run(clone, "git", "diff", "--exit-code", "main", "--", "round-1");
	run(clone, "git", "worktree", "add", "-q", "../tree", "main");
	run(w.mnt, "diff", "-r", "--no-dereference", "-x", ".git", origin, "tree");
}
Test(programs, git_clone_gc_fsck_on_ext4, .fini = world_cleanup)
{
	git(FS_EXT4, "shared");
}
Test(programs, git_clone_gc_fsck_on_btrfs, .fini = world_cleanup)
{
	git(FS_BTRFS, "shared");
}

static const char *const journals[] = {"DELETE", "WAL"};

/* Four processes at one database, with locks between them, in both kinds of journal. */
static void sqlite(enum world_fs fs, const char *cache)
{
	unsigned int rows = full() ? 2000 : 100;
	auto_world struct world w;

	need("/usr/bin/sqlite3");
	world_open(&w, fs, cache, getenv("FCVM_FUSE_BIND") ? WORLD_BIND : WORLD_FULL_TRUST);
	for (size_t j = 0; j < ARRAY_SIZE(journals); j++) {
		auto_free char *db = xasprintf("%s/%s.db", w.mnt, journals[j]);
		auto_free char *create = xasprintf("PRAGMA journal_mode=%s; CREATE TABLE t (id "
						   "INTEGER PRIMARY KEY, w INT, v TEXT); "
						   "CREATE INDEX i ON t (v);",
						   journals[j]);
		pid_t pids[4];

		run(w.mnt, "sqlite3", db, create);
		for (unsigned int p = 0; p < ARRAY_SIZE(pids); p++) {
			auto_free char *sql = xasprintf(
				"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n "
				"WHERE x < %u) SELECT 'INSERT INTO t (w, v) VALUES (%u, hex(randomblob("
				"200)));' FROM n;",
				rows, p);
			auto_free char *text = run_in(
				w.mnt, sql, (const char *const[]){"sqlite3", ":memory:", NULL});
			auto_free char *file = xasprintf("%s/%u.sql", w.bare, p);
			auto_free char *script = xasprintf(".timeout 200000\n.read %s\n", file);
			auto_free char *input = xasprintf("%s/%u.in", w.bare, p);

			put("/", file + 1, text, 0600);
			put("/", input + 1, script, 0600);
			const char *argv[] = {"sqlite3", "-bail", "-init", input,
					      db,        ".quit", NULL};
			pids[p] = world_spawn(argv, 0, NULL);
		}
		for (unsigned int p = 0; p < ARRAY_SIZE(pids); p++)
			cr_expect_eq(world_wait(pids[p]), 0, "sqlite3 %u", p);
		auto_free char *want = xasprintf("ok\n%u\n", 4 * rows);
		auto_free char *got =
			run_in(w.mnt, NULL,
			       (const char *const[]){
				       "sqlite3", db,
				       "PRAGMA integrity_check; SELECT count(*) FROM t;", NULL});
		cr_expect_str_eq(got, want);
	}
}
Test(programs, sqlite_integrity_on_ext4, .fini = world_cleanup)
{
	sqlite(FS_EXT4, "shared");
}
Test(programs, sqlite_integrity_on_btrfs, .fini = world_cleanup)
{
	sqlite(FS_BTRFS, "shared");
}

static void fio(enum world_fs fs, const char *cache)
{
	static const char *const engines[] = {"--ioengine=psync", "--ioengine=mmap",
					      "--ioengine=libaio"};
	auto_world struct world w;

	need("/usr/bin/fio");
	world_open(&w, fs, cache, getenv("FCVM_FUSE_BIND") ? WORLD_BIND : WORLD_FULL_TRUST);
	for (size_t e = 0; e < ARRAY_SIZE(engines); e++) {
		auto_free char *dir = xasprintf("--directory=%s", w.mnt);
		auto_free char *size = xasprintf("--size=%dM", full() ? 64 : 4);

		run(w.bare, "fio", "--name=verify", dir, size, engines[e], "--numjobs=4",
		    "--rw=randrw", "--bsrange=4k-128k", "--verify=crc32c", "--verify_fatal=1",
		    "--do_verify=1", "--iodepth=8", "--fsync=64", "--group_reporting", "--minimal");
		run(w.bare, "fio", "--name=direct", dir, size, "--ioengine=libaio", "--direct=1",
		    "--numjobs=2", "--rw=randwrite", "--bs=8k", "--verify=md5", "--verify_fatal=1",
		    "--do_verify=1", "--iodepth=8", "--group_reporting", "--minimal");
	}
}
Test(programs, fio_verify_on_ext4, .fini = world_cleanup)
{
	fio(FS_EXT4, "shared");
}
Test(programs, fio_verify_on_btrfs, .fini = world_cleanup)
{
	fio(FS_BTRFS, "shared");
}
