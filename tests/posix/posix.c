#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
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

int caller_become(enum posix_cred_id cred)
{
	gid_t group = creds[cred].group;

	/* Capabilities come back with the saved uid, and only then may groups be set. */
	if (setresuid(0, 0, 0) < 0 || setgroups(group ? 1 : 0, &group) < 0 ||
	    setresgid(creds[cred].gid, creds[cred].gid, 0) < 0)
		return -1;
	return setresuid(creds[cred].uid, creds[cred].uid, 0);
}

void posix_thin_out(struct posix_table *table, size_t step)
{
	size_t n = 0;

	for (size_t i = 0; i < table->n; i += step)
		table->cases[n++] = table->cases[i];
	table->n = n;
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

static int open_case(int root, size_t i, int *ret_fd, struct err *err)
{
	char name[32];

	name_of_case(name, sizeof(name), i);
	*ret_fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, "cannot open '%s'", name) : 0;
}

static int enter_case(int root, size_t i, struct err *err)
{
	auto_close int fd = -1;
	int r = open_case(root, i, &fd, err);

	if (r == 0 && fchdir(fd) < 0)
		r = err_sys(err, "cannot enter case %zu", i);
	return r;
}

static int lay_out_all(const struct posix_table *table, int root, bool flush, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < table->n; i++) {
		const struct posix_case *c = &table->cases[i];
		char name[32];

		name_of_case(name, sizeof(name), i);
		if (mkdirat(root, name, 0755) < 0)
			return err_sys(err, "cannot make '%s'", name);
		r = enter_case(root, i, err);
		if (r == 0)
			r = posix_lay_out(c, err);
		if (r == 0 && c->setup && c->setup(c) < 0)
			r = err_sys(err, "cannot set up case %zu (%s)", i, c->op);
	}
	if (r == 0 && flush && syncfs(root) < 0)
		r = err_sys(err, "cannot write the cases to disk");
	return r;
}

/* What the file system of that directory takes for the present. */
static int stamp(int root, struct timespec *ret, struct err *err)
{
	auto_close int fd = openat(root, "stamp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || unlinkat(root, "stamp", 0) < 0)
		return err_sys(err, "cannot make a file for its time");
	*ret = st.st_mtim;
	return 0;
}

/* A time that everything laid out is older than, and everything done from now on is not, by the
 * clock of that side: a mount's files have their host's. */
static int wait_for_tick(int root, struct posix_since *ret, struct err *err)
{
	struct timespec first = {0}, next = {0};
	int r = stamp(root, &first, err);

	while (r == 0 && (next.tv_sec < first.tv_sec ||
			  (next.tv_sec == first.tv_sec && next.tv_nsec <= first.tv_nsec))) {
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 1000000},
				      NULL);
		r = stamp(root, &next, err);
	}
	*ret = (struct posix_since){next.tv_sec, next.tv_nsec};
	return r;
}

static int run_one(const struct posix_case *c, struct posix_at *at, struct err *err)
{
	(void)umask(c->umask);
	if (caller_become(c->cred) < 0)
		return err_sys(err, "cannot become '%s'", creds[c->cred].name);
	c->run(c, at);
	if (caller_become(CRED_ROOT) < 0)
		return err_sys(err, "cannot become root again");
	(void)umask(022);
	return 0;
}

static int run_all(const struct posix_table *table, int root, const char *path, struct buf *outs,
		   struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < table->n; i++) {
		auto_free char *dir = xasprintf("%s/c%05zu", path, i);
		struct posix_at at = {.out = &outs[i], .root = dir};

		r = enter_case(root, i, err);
		if (r == 0)
			r = run_one(&table->cases[i], &at, err);
	}
	if (r == 0 && chdir("/") < 0)
		r = err_sys(err, "cannot leave the cases");
	return r;
}

static int dump_all(const struct posix_table *table, int root, const struct posix_since *since,
		    struct buf *outs, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < table->n; i++) {
		auto_close int fd = -1;

		r = open_case(root, i, &fd, err);
		buf_add_char(&outs[i], '\n');
		if (r == 0)
			posix_dump(fd, since, table->cases[i].reads_end, &outs[i]);
	}
	return r;
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

struct outputs {
	struct buf *bare, *mount, *below;
};

static size_t compare(const struct posix_table *table, const struct outputs *o, struct buf *report)
{
	size_t bad = 0;

	for (size_t i = 0; i < table->n; i++) {
		const char *want = buf_str(&o->bare[i]);
		bool seen = strcmp(want, buf_str(&o->mount[i])) == 0;

		if (seen && strcmp(want, buf_str(&o->below[i])) == 0)
			continue;
		if (++bad > DIFFERENCES_SHOWN)
			continue;
		describe(&table->cases[i], i, report);
		show_difference(want, seen ? buf_str(&o->below[i]) : buf_str(&o->mount[i]),
				seen ? "below" : "mount", report);
	}
	return bad;
}

static void copy_all(const struct posix_table *table, const struct buf *from, struct buf *to)
{
	for (size_t i = 0; i < table->n; i++)
		buf_add(&to[i], buf_str(&from[i]), from[i].len);
}

static int run_sides(const struct posix_table *table, const struct posix_sides *s,
		     const struct outputs *o, struct err *err)
{
	const int below = s->below_fd >= 0 ? s->below_fd : s->mount_fd;
	struct posix_since since[2] = {0};
	int r = lay_out_all(table, s->bare_fd, s->flush, err);

	if (r == 0)
		r = lay_out_all(table, below, s->flush, err);
	if (r == 0)
		r = wait_for_tick(s->bare_fd, &since[0], err);
	if (r == 0)
		r = wait_for_tick(below, &since[1], err);
	if (r == 0)
		r = run_all(table, s->bare_fd, s->bare, o->bare, err);
	if (r == 0)
		r = run_all(table, s->mount_fd, s->mount, o->mount, err);
	if (s->below_fd >= 0)
		copy_all(table, o->mount, o->below);
	if (r == 0)
		r = dump_all(table, s->bare_fd, &since[0], o->bare, err);
	if (r == 0 && s->below_fd >= 0)
		r = dump_all(table, below, &since[1], o->below, err);
	if (r == 0)
		r = dump_all(table, s->mount_fd, &since[1], o->mount, err);
	if (s->below_fd < 0)
		copy_all(table, o->mount, o->below);
	return r;
}

int posix_run(const struct posix_table *table, const struct posix_sides *sides, struct buf *report,
	      struct err *err)
{
	const struct outputs o = {bufs_new(table->n), bufs_new(table->n), bufs_new(table->n)};
	int r = run_sides(table, sides, &o, err);

	if (r == 0)
		r = (int)compare(table, &o, report);
	bufs_free(o.bare, table->n);
	bufs_free(o.mount, table->n);
	bufs_free(o.below, table->n);
	return r;
}
