/* fp_ops_dir.c - reading directories, alone and with a lookup of every entry. The guest's offset is
 * the host's: it is given to lseek, which refuses what it cannot use. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_ops.h"

#define PIECE 32768
#define ITEMS_LEFT 8 /* records of entries leave room for others in a trailer */
#define RECORD_MAX (FP_ITEM_SIZE + FP_KEY_SIZE + FP_RECORD_MAX)

/* As the kernel fills it in. */
struct dirent64_head {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

struct listing {
	struct fp_call *c;
	size_t size; /* of the reply, at most */
	int dir_fd;
	bool plus;
};

static bool is_dots(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* An entry that cannot be looked up is listed all the same; the guest asks if it must know. */
static void look_up(const struct listing *l, const struct dirent64_head *d,
		    struct fuse_entry_out *ret)
{
	struct stat st;

	if (is_dots(d->name) || fp_call_entry_hot(l->c, l->dir_fd, d->ino, d->name, ret))
		return;
	int fd = fp_volume_lookup(l->c->vol, l->dir_fd, d->name, &st);
	if (fd >= 0)
		(void)fp_call_entry(l->c, fd, &st, l->c->q->head.nodeid, d->name, ret);
}

/* Long names fill a trailer sooner than its number of items does. */
static bool has_room_for_record(const struct fp_call *c)
{
	return c->n_items + ITEMS_LEFT <= FP_ITEMS_MAX / 2 &&
	       c->items->len + RECORD_MAX <= FP_TRAILER_MAX;
}

/* False when there is no more room. */
static bool put_entry(struct listing *l, const struct dirent64_head *d)
{
	const size_t name_len = strlen(d->name);
	const size_t head = l->plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	const size_t len = FUSE_DIRENT_ALIGN(head + name_len);

	if (l->c->out_len + len > l->size ||
	    (l->plus && l->c->records && !has_room_for_record(l->c)))
		return false;
	uint8_t *at = fp_call_out(l->c, len);
	struct fuse_dirent *out = (struct fuse_dirent *)at;
	if (l->plus) {
		struct fuse_direntplus *plus = (struct fuse_direntplus *)at;

		look_up(l, d, &plus->entry_out);
		out = &plus->dirent;
	}
	out->ino = d->ino;
	out->off = (uint64_t)d->off;
	out->namelen = (uint32_t)name_len;
	out->type = d->type;
	memcpy(at + head, d->name, name_len);
	return true;
}

/* One piece of the directory; 1 to go on, 0 at its end or that of the room. */
static int put_piece(struct listing *l, int fd)
{
	_Alignas(8) uint8_t piece[PIECE];
	long n = syscall(SYS_getdents64, fd, piece, sizeof(piece));

	if (n < 0)
		return -errno;
	for (long at = 0; at < n;) {
		const struct dirent64_head *d = (const struct dirent64_head *)(piece + at);

		if (!put_entry(l, d))
			return 0;
		at += d->len;
	}
	return n > 0;
}

static int read_dir(struct fp_call *c, bool plus)
{
	const struct fuse_read_in *in = c->q->arg;
	auto_open struct fp_open o = {0};
	struct listing l = {.c = c, .plus = plus, .size = in->size};
	int r = fp_call_file(c, in->fh, c->q->head.nodeid, &o);

	if (r < 0)
		return r;
	if (!o.file || !(o.file->flags & O_DIRECTORY))
		return -ENOTDIR;
	if (l.size > c->out_max)
		l.size = c->out_max;
	l.dir_fd = o.fd;
	if (plus)
		r = fp_volume_rights(c->vol, c->q);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&o.file->lock);
	r = lseek(o.fd, (off_t)in->offset, SEEK_SET) < 0 ? -errno : 1;
	while (r > 0)
		r = put_piece(&l, o.fd);
	(void)pthread_mutex_unlock(&o.file->lock);
	/* What was found before the error is an answer. */
	return c->out_len ? 0 : r;
}

int fp_op_readdir(struct fp_call *c)
{
	return read_dir(c, false);
}

int fp_op_readdirplus(struct fp_call *c)
{
	return read_dir(c, true);
}
