#include "ledger.h"

#include <errno.h>
#include <sys/stat.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "parse.h"
#include "xalloc.h"

#define LEDGER_TEXT_MAX (256u << 20)
/* Looking at every owner costs a system call each: done when this many more have come. */
#define RECLAIM_EVERY 64

struct entry {
	uint32_t number;
	char *owner;
};

/* Entries in ascending order of number: the first gap is the lowest free one. */
struct book {
	struct entry *v;
	size_t n, cap;
};

static void book_free(struct book *t)
{
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
	char *blank = strchr(line, ' ');
	uint64_t number = 0;

	if (!blank || blank[1] != '/')
		return -EBADMSG;
	*blank = '\0';
	if (parse_u64(line, LEDGER_UID_FIRST, LEDGER_UID_FIRST + LEDGER_UID_COUNT - 1, &number,
		      NULL) < 0)
		return -EBADMSG;
	if (t->n > 0 && number <= t->v[t->n - 1].number)
		return -EBADMSG;
	book_insert(t, t->n, (uint32_t)number, xstrdup(blank + 1));
	return 0;
}

static int book_load(const char *path, struct book *t, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(LEDGER_TEXT_MAX);
	char *line, *save = NULL;
	int r = file_read(path, LEDGER_TEXT_MAX, &text, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (text.len == 0)
		return 0;
	for (line = strtok_r(text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (parse_line(line, t) < 0) {
			err_set(err, ERR_FAILED, -EBADMSG, "'%s' is damaged after entry %zu", path,
				t->n);
			return err_hint(err, "destroy every set, then remove that file");
		}
	}
	return 0;
}

static int book_save(const char *path, const struct book *t, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(LEDGER_TEXT_MAX);

	for (size_t i = 0; i < t->n; i++)
		buf_addf(&text, "%u %s\n", t->v[i].number, t->v[i].owner);
	if (!buf_ok(&text))
		return err_set(err, ERR_HOST, -EFBIG, "'%s' would exceed %u bytes", path,
			       LEDGER_TEXT_MAX);
	return file_replace(path, buf_str(&text), text.len, 0600, err);
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

static size_t find_gap(const struct book *t)
{
	size_t i = 0;

	while (i < t->n && t->v[i].number == LEDGER_UID_FIRST + i)
		i++;
	return i;
}

/* The lock is a file of its own: the ledger itself is renamed over. */
static int open_locked(const struct host *host, const char *kind, char **ret_path, int *ret_lock,
		       struct book *t, struct err *err)
{
	auto_free char *path = xasprintf("%s/ledger/%s", host->data_dir, kind);
	auto_free char *lock_path = xasprintf("%s.lock", path);
	auto_close int lock = -1;
	int r = file_lock(lock_path, true, 0, NULL, &lock, err);

	if (r == 0)
		r = book_load(path, t, err);
	if (r < 0)
		return r;
	*ret_path = TAKE_PTR(path);
	*ret_lock = TAKE_FD(lock);
	return 0;
}

int ledger_take(const struct host *host, const char *kind, const char *owner, uint32_t *ret,
		struct err *err)
{
	auto_book struct book t = {0};
	auto_free char *path = NULL;
	auto_close int lock = -1;
	size_t at;
	int r;

	if (*owner != '/' || strchr(owner, '\n'))
		return err_set(err, ERR_FAILED, -EINVAL, "'%s' cannot own a %s", owner, kind);
	r = open_locked(host, kind, &path, &lock, &t, err);
	if (r < 0)
		return r;
	at = find_owner(&t, owner);
	if (at < t.n) {
		*ret = t.v[at].number;
		return 0;
	}
	if (t.n >= LEDGER_UID_COUNT || (t.n > 0 && t.n % RECLAIM_EVERY == 0))
		reclaim(&t);
	at = find_gap(&t);
	if (at >= LEDGER_UID_COUNT)
		return err_set(err, ERR_HOST, -ENOSPC, "all %u %ss are taken", LEDGER_UID_COUNT,
			       kind);
	book_insert(&t, at, LEDGER_UID_FIRST + (uint32_t)at, xstrdup(owner));
	r = book_save(path, &t, err);
	if (r == 0)
		*ret = LEDGER_UID_FIRST + (uint32_t)at;
	return r;
}

int ledger_release(const struct host *host, const char *kind, const char *owner, struct err *err)
{
	auto_book struct book t = {0};
	auto_free char *path = NULL;
	auto_close int lock = -1;
	size_t at;
	int r = open_locked(host, kind, &path, &lock, &t, err);

	if (r < 0)
		return r;
	at = find_owner(&t, owner);
	if (at == t.n)
		return 0;
	book_remove(&t, at);
	return book_save(path, &t, err);
}
