#include "ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "parse.h"
#include "xalloc.h"

#define LEDGER_TEXT_MAX (256u << 20)
/* Looking at every owner costs a system call each: done when this many more have come. */
#define RECLAIM_EVERY 64
#define PAGE 4096

/* Numbers of a kind. What does not outlive the boot is not forced to the disk either, and begins
 * with a line that names the boot; nor is it of_host: whoever takes one asks the kernel what other
 * data directories have. Who has a uid nobody can ask. */
struct range {
	const char *kind;
	uint32_t first, count;
	bool of_boot, of_host;
};

static const struct range ranges[] = {
	{"uid", LEDGER_UID_FIRST, LEDGER_UID_COUNT, .of_host = true},
	{"gid", LEDGER_UID_FIRST, LEDGER_UID_COUNT, .of_host = true},
	{"slot", 0, LEDGER_SLOT_COUNT, .of_boot = true},
	{"loopback", 0, LEDGER_LOOPBACK_COUNT, .of_boot = true},
};

struct entry {
	uint32_t number;
	char *owner;
};

/* Entries in ascending order of number: the first gap is the lowest free one. */
struct book {
	const struct range *range;
	const char *boot_id;
	char *path;
	int lock; /* a file of its own: the ledger itself is renamed over */
	struct entry *v;
	size_t n, cap;
};

static void book_free(struct book *t)
{
	free(t->path);
	cleanup_close_p(&t->lock);
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].owner);
	free(t->v);
}
#define auto_book __attribute__((cleanup(book_free)))

static void book_insert(struct book *t, size_t at, uint32_t number, char *owner)
{
	t->v = xgrow(t->v, &t->cap, t->n + 1, sizeof(*t->v));
	memmove(&t->v[at + 1], &t->v[at], (t->n - at) * sizeof(*t->v));
	t->v[at] = (struct entry){.number = number, .owner = owner};
	t->n++;
}

static void book_remove(struct book *t, size_t at)
{
	free(t->v[at].owner);
	t->n--;
	memmove(&t->v[at], &t->v[at + 1], (t->n - at) * sizeof(*t->v));
}

/* A line is "NUMBER OWNER". */
static int parse_line(char *line, struct book *t)
{
	const struct range *range = t->range;
	char *blank = strchr(line, ' ');
	uint64_t number = 0;

	if (!blank || blank[1] != '/')
		return -EBADMSG;
	*blank = '\0';
	if (parse_u64(line, range->first, range->first + range->count - 1, &number, NULL) < 0)
		return -EBADMSG;
	if (t->n > 0 && number <= t->v[t->n - 1].number)
		return -EBADMSG;
	book_insert(t, t->n, (uint32_t)number, xstrdup(blank + 1));
	return 0;
}

/* Whether what follows the first line is of this boot; everything else counts for nothing. */
static bool skip_boot_line(char **text, const char *boot_id)
{
	const char *line = strsep(text, "\n");

	return *text && strncmp(line, "boot ", 5) == 0 && strcmp(line + 5, boot_id) == 0;
}

static int book_load(struct book *t, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(LEDGER_TEXT_MAX);
	char *line, *at = NULL;
	int r = file_read(t->path, LEDGER_TEXT_MAX, &text, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	at = text.data;
	if (!at || (t->range->of_boot && !skip_boot_line(&at, t->boot_id)))
		return 0;
	while ((line = strsep(&at, "\n"))) {
		if (*line && parse_line(line, t) < 0) {
			err_set(err, ERR_FAILED, -EBADMSG, "'%s' is damaged after entry %zu",
				t->path, t->n);
			return err_hint(err, "destroy every set, then remove that file");
		}
	}
	return 0;
}

/* What is longer than before is never cut but blanked: making and cutting files costs more than all
 * the rest of a VM's network. Who reads has the lock, and a page is written whole or not at all. */
static int write_in_place(int fd, size_t size, const char *path, struct buf *text, struct err *err)
{
	ssize_t n = 0;

	while (text->len < size && buf_ok(text))
		buf_add_char(text, '\n');
	n = pwrite(fd, text->data, text->len, 0);
	if (n == (ssize_t)text->len)
		return 0;
	return err_sys_code(err, n < 0 ? -errno : -ENOSPC, "cannot write '%s'", path);
}

static int write_of_boot(const char *path, struct buf *text, struct err *err)
{
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st = {0};

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "cannot write '%s'", path);
	/* Of several pages a kill, or a full disk, may leave some. */
	if (text->len > PAGE || st.st_size > PAGE)
		return file_replace_locked(path, text->data, text->len, false, err);
	return write_in_place(fd, (size_t)st.st_size, path, text, err);
}

static int book_save(const struct book *t, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(LEDGER_TEXT_MAX);

	if (t->range->of_boot)
		buf_addf(&text, "boot %s\n", t->boot_id);
	for (size_t i = 0; i < t->n; i++)
		buf_addf(&text, "%u %s\n", t->v[i].number, t->v[i].owner);
	if (!buf_ok(&text))
		return err_set(err, ERR_HOST, -EFBIG, "'%s' would exceed %u bytes", t->path,
			       LEDGER_TEXT_MAX);
	if (t->range->of_boot)
		return write_of_boot(t->path, &text, err);
	return file_replace_locked(t->path, buf_str(&text), text.len, true, err);
}

static void reclaim(struct book *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		struct stat st;

		if (lstat(t->v[i].owner, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
			free(t->v[i].owner);
		else
			t->v[kept++] = t->v[i];
	}
	t->n = kept;
}

static size_t find_owner(const struct book *t, const char *owner)
{
	size_t i = 0;

	while (i < t->n && strcmp(t->v[i].owner, owner) != 0)
		i++;
	return i;
}

/* The lowest free number that fits; *ret_at is its place in the book. */
static int find_gap(const struct book *t, bool (*fits)(void *data, uint32_t number), void *data,
		    size_t *ret_at, uint32_t *ret, struct err *err)
{
	size_t at = 0;

	for (uint32_t i = 0; i < t->range->count; i++) {
		uint32_t number = t->range->first + i;

		if (at < t->n && t->v[at].number == number) {
			at++;
			continue;
		}
		if (fits && !fits(data, number))
			continue;
		*ret_at = at;
		*ret = number;
		return 0;
	}
	return err_set(err, ERR_HOST, -ENOSPC, "all %u %ss are taken", t->range->count,
		       t->range->kind);
}

static const struct range *range_of(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (strcmp(ranges[i].kind, kind) == 0)
			return &ranges[i];
	return NULL;
}

static int book_open(const struct host *host, const char *kind, struct book *t, struct err *err)
{
	auto_free char *own = host_path(host, "ledger"), *lock_path = NULL;
	const char *dir = own;
	int r = 0;

	*t = (struct book){.range = range_of(kind), .boot_id = host->boot_id, .lock = -1};
	if (!t->range)
		return err_set(err, ERR_FAILED, -EINVAL, "there is no ledger of %ss", kind);
	if (t->range->of_host) {
		dir = host->ids_dir;
		r = host_make_ids_dir(host, err);
	}
	t->path = path_join(dir, kind);
	lock_path = xasprintf("%s.lock", t->path);
	if (r >= 0)
		r = file_lock(lock_path, true, 0, NULL, &t->lock, err);
	return r < 0 ? r : book_load(t, err);
}

int ledger_take_if(const struct host *host, const char *kind, const char *owner,
		   bool (*fits)(void *data, uint32_t number), void *data, uint32_t *ret,
		   struct err *err)
{
	auto_book struct book t = {.lock = -1};
	uint32_t number = 0;
	size_t at;
	int r;

	if (*owner != '/' || strchr(owner, '\n'))
		return err_set(err, ERR_FAILED, -EINVAL, "'%s' cannot own a %s", owner, kind);
	r = book_open(host, kind, &t, err);
	if (r < 0)
		return r;
	at = find_owner(&t, owner);
	if (at < t.n && (!fits || fits(data, t.v[at].number))) {
		*ret = t.v[at].number;
		return 0;
	}
	if (at < t.n)
		book_remove(&t, at);
	if (t.n >= t.range->count || (t.n > 0 && t.n % RECLAIM_EVERY == 0))
		reclaim(&t);
	r = find_gap(&t, fits, data, &at, &number, err);
	if (r < 0)
		return r;
	book_insert(&t, at, number, xstrdup(owner));
	r = book_save(&t, err);
	if (r >= 0)
		*ret = number;
	return r;
}

int ledger_take(const struct host *host, const char *kind, const char *owner, uint32_t *ret,
		struct err *err)
{
	return ledger_take_if(host, kind, owner, NULL, NULL, ret, err);
}

int ledger_find(const struct host *host, const char *kind, const char *owner, uint32_t *ret,
		struct err *err)
{
	auto_book struct book t = {.lock = -1};
	int r = book_open(host, kind, &t, err);
	size_t at = 0;

	if (r < 0)
		return r;
	at = find_owner(&t, owner);
	if (at == t.n)
		return 0;
	*ret = t.v[at].number;
	return 1;
}

int ledger_each(const struct host *host, const char *kind,
		void (*fn)(void *data, uint32_t number, const char *owner), void *data,
		struct err *err)
{
	auto_book struct book t = {.lock = -1};
	int r = book_open(host, kind, &t, err);

	if (r < 0)
		return r;
	cleanup_close_p(&t.lock);
	t.lock = -1;
	for (size_t i = 0; i < t.n; i++)
		fn(data, t.v[i].number, t.v[i].owner);
	return 0;
}

int ledger_release(const struct host *host, const char *kind, const char *owner, struct err *err)
{
	auto_book struct book t = {.lock = -1};
	size_t at;
	int r = book_open(host, kind, &t, err);

	if (r < 0)
		return r;
	at = find_owner(&t, owner);
	if (at == t.n)
		return 0;
	book_remove(&t, at);
	return book_save(&t, err);
}
