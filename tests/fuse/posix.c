#include "posix.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define DIFFERENCES_SHOWN 12

static const struct {
	const char *name;
	uid_t uid;
	gid_t gid;
	gid_t group; /* the only supplementary one; 0 = none */
} creds[CRED_COUNT] = {
	[CRED_ROOT] = {"root", 0, 0, 0},
	[CRED_OWNER] = {"owner", UID_OWNER, UID_OWNER, 0},
	[CRED_ALIEN] = {"alien", UID_OWNER, UID_OTHER, 0},
	[CRED_GROUP] = {"group", UID_GROUP, UID_OWNER, 0},
	[CRED_SUPP] = {"supp", UID_SUPP, UID_SUPP, UID_OWNER},
	[CRED_OTHER] = {"other", UID_OTHER, UID_OTHER, 0},
};

static const char *const object_names[OBJ_COUNT] = {
	"none",    "file", "dir",  "full", "link", "dangling",
	"dirlink", "loop", "fifo", "sock", "chr",  "blk",
};

struct posix_case posix_default(const char *op, posix_fn run)
{
	return (struct posix_case){
		.op = op,
		.run = run,
		.dir = {OBJ_DIR, 0755, UID_OWNER, UID_OWNER},
		.t = {OBJ_FILE, 0644, UID_OWNER, UID_OWNER},
		.u = {OBJ_NONE, 0, UID_OWNER, UID_OWNER},
		.cred = CRED_OWNER,
		.umask = 022,
	};
}

void posix_add(struct posix_table *table, const struct posix_case *c)
{
	if (table->n == table->cap)
		table->cases = xgrow(table->cases, &table->cap, table->n + 1, sizeof(*c));
	table->cases[table->n++] = *c;
}

void posix_become(enum posix_cred_id cred)
{
	gid_t group = creds[cred].group;

	/* Capabilities come back with the saved uid, and only then may groups be set. */
	cr_assert_eq(setresuid(0, 0, 0), 0);
	cr_assert_eq(setgroups(group ? 1 : 0, &group), 0);
	cr_assert_eq(setresgid(creds[cred].gid, creds[cred].gid, 0), 0);
	cr_assert_eq(setresuid(creds[cred].uid, creds[cred].uid, 0), 0);
}

static void name_of_case(char *ret, size_t size, size_t i)
{
	(void)snprintf(ret, size, "c%05zu", i);
}

static void describe(const struct posix_case *c, size_t i, struct buf *out)
{
	buf_addf(out, "#%zu %s(%jd, %jd, %s) as %s umask %03o: d %04o %u:%u, t %s %04o %u:%u", i,
		 c->op, (intmax_t)c->a, (intmax_t)c->b, c->s ? c->s : "-", creds[c->cred].name,
		 c->umask, c->dir.mode, c->dir.uid, c->dir.gid, object_names[c->t.object],
		 c->t.mode, c->t.uid, c->t.gid);
	if (c->u.object != OBJ_NONE)
		buf_addf(out, ", u %s %04o %u:%u", object_names[c->u.object], c->u.mode, c->u.uid,
			 c->u.gid);
}

static int open_case(int root, size_t i)
{
	char name[32];

	name_of_case(name, sizeof(name), i);
	int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
	return fd;
}

static void lay_out_all(const struct posix_table *table, int root)
{
	struct posix_at at = {.root = NULL};

	for (size_t i = 0; i < table->n; i++) {
		char name[32];

		name_of_case(name, sizeof(name), i);
		cr_assert_eq(mkdirat(root, name, 0755), 0, "%s: %s", name, strerror(errno));
		auto_close int fd = open_case(root, i);
		cr_assert_eq(fchdir(fd), 0);
		posix_lay_out(&table->cases[i]);
		if (table->cases[i].setup)
			table->cases[i].setup(&table->cases[i], &at);
	}
}

/* A time that everything laid out is older than, and everything done from now on is not: file
 * times come from the coarse clock, or from the fine one where the kernel has multigrain times. */
static struct posix_since wait_for_tick(void)
{
	struct timespec fine, coarse;

	(void)clock_gettime(CLOCK_REALTIME, &fine);
	do {
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 1000000},
				      NULL);
		(void)clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
	} while (coarse.tv_sec < fine.tv_sec ||
		 (coarse.tv_sec == fine.tv_sec && coarse.tv_nsec <= fine.tv_nsec));
	return (struct posix_since){coarse.tv_sec, coarse.tv_nsec};
}

static void run_all(const struct posix_table *table, int root, const char *path, struct buf *outs)
{
	for (size_t i = 0; i < table->n; i++) {
		const struct posix_case *c = &table->cases[i];
		auto_free char *dir = xasprintf("%s/c%05zu", path, i);
		struct posix_at at = {.out = &outs[i], .root = dir};
		auto_close int fd = open_case(root, i);

		cr_assert_eq(fchdir(fd), 0);
		(void)umask(c->umask);
		posix_become(c->cred);
		c->run(c, &at);
		posix_become(CRED_ROOT);
		(void)umask(022);
	}
	cr_assert_eq(chdir("/"), 0);
}

static void dump_all(const struct posix_table *table, int root, const struct posix_since *since,
		     struct buf *outs)
{
	for (size_t i = 0; i < table->n; i++) {
		auto_close int fd = open_case(root, i);

		buf_add_char(&outs[i], '\n');
		posix_dump(fd, since, table->cases[i].reads_end, &outs[i]);
	}
}

static struct buf *bufs_new(size_t n)
{
	struct buf *bufs = xcalloc(n, sizeof(*bufs));

	for (size_t i = 0; i < n; i++)
		bufs[i].max = 1u << 20;
	return bufs;
}

static void bufs_free(struct buf *bufs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_free(&bufs[i]);
	free(bufs);
}

/* The lines that differ; both texts have the same order. */
static void show_difference(const char *want, const char *got, const char *where,
			    struct buf *report)
{
	while (*want || *got) {
		int w = (int)strcspn(want, "\n"), g = (int)strcspn(got, "\n");

		if (w != g || strncmp(want, got, (size_t)w) != 0)
			buf_addf(report, "\n  bare:  %.*s\n  %s: %.*s", w, want, where, g, got);
		want += w + (want[w] == '\n');
		got += g + (got[g] == '\n');
	}
	buf_add_char(report, '\n');
}

static size_t compare(const struct posix_table *table, const struct buf *bare,
		      const struct buf *mount, const struct buf *below, struct buf *report)
{
	size_t bad = 0;

	for (size_t i = 0; i < table->n; i++) {
		const char *want = buf_str(&bare[i]);
		bool seen = strcmp(want, buf_str(&mount[i])) == 0;

		if (seen && strcmp(want, buf_str(&below[i])) == 0)
			continue;
		if (++bad > DIFFERENCES_SHOWN)
			continue;
		describe(&table->cases[i], i, report);
		show_difference(want, seen ? buf_str(&below[i]) : buf_str(&mount[i]),
				seen ? "below" : "mount", report);
	}
	return bad;
}

static void run_both(const struct posix_table *table, struct world *w, struct buf *report)
{
	struct buf *bare = bufs_new(table->n), *mount = bufs_new(table->n);
	struct buf *below = bufs_new(table->n);
	size_t bad;

	lay_out_all(table, w->bare_fd);
	lay_out_all(table, w->vol_fd);
	struct posix_since since = wait_for_tick();
	run_all(table, w->bare_fd, w->bare, bare);
	run_all(table, w->mnt_fd, w->mnt, mount);
	for (size_t i = 0; i < table->n; i++)
		buf_add(&below[i], buf_str(&mount[i]), mount[i].len);
	dump_all(table, w->bare_fd, &since, bare);
	dump_all(table, w->vol_fd, &since, below);
	dump_all(table, w->mnt_fd, &since, mount);
	bad = compare(table, bare, mount, below, report);
	bufs_free(bare, table->n);
	bufs_free(mount, table->n);
	bufs_free(below, table->n);
	cr_assert_eq(bad, 0, "%zu of %zu cases differ:\n%s", bad, table->n, buf_str(report));
}

/* Without caches everything is asked for, which takes its time: a quarter of the cases will do
 * unless all is to be run. */
static void thin_out(struct posix_table *table)
{
	size_t n = 0;

	for (size_t i = 0; i < table->n; i += 4)
		table->cases[n++] = table->cases[i];
	table->n = n;
}

void posix_compare(enum world_fs fs, const char *cache, const char *name, posix_build build)
{
	struct posix_table table = {0};
	auto_buf struct buf report = BUF_INIT(64u << 10);
	auto_world struct world w;

	/* Over a bind mount a difference is the suite's own fault. */
	world_open(&w, fs, cache, getenv("FCVM_FUSE_BIND") ? WORLD_BIND : WORLD_FULL_TRUST);
	build(&table);
	if (strcmp(cache, "strict") == 0 && !getenv("FCVM_FUSE_FULL"))
		thin_out(&table);
	run_both(&table, &w, &report);
	(void)fprintf(stderr, "%s: %zu cases, no difference\n", name, table.n);
	free(table.cases);
}
