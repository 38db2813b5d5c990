#include "fp_saved.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "frame.h"
#include "log.h"
#include "xalloc.h"

#define MAGIC 0x3164657661735066ull /* "fPsaved1" */
/* {u64 magic, u32 files, u32 locks}, the files, the locks; each content begins at a page. */
#define HEAD 16u
#define FILE_SIZE \
	64u /* {u64 node, at, size; u32 mode, uid, gid, atime ns, mtime ns, 0; i64 s, s} */
#define LOCK_SIZE 48u /* {u64 node, owner, file; i64 start, len; u32 pid; u16 type, is flock} */
#define INDEX_MAX (HEAD + FP_SAVED_FILES_MAX * FILE_SIZE + FP_RANGES_MAX * LOCK_SIZE)
#define PAGE 4096
#define CHUNK (64u << 10)

static off_t page_up(off_t at)
{
	return (at + PAGE - 1) / PAGE * PAGE;
}

/* --- contents --- */

static int copy_by_hand(int from, off_t in, int to, off_t out, size_t len)
{
	auto_free uint8_t *data = xmalloc(CHUNK);

	while (len > 0) {
		ssize_t n = pread(from, data, len < CHUNK ? len : CHUNK, in);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(to, data + done, (size_t)(n - done), out + done);

			if (w < 0)
				return -errno;
			done += w;
		}
		in += n;
		out += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Shares blocks where the file systems can. */
static int copy_part(int from, off_t in, int to, off_t out, size_t len)
{
	while (len > 0) {
		ssize_t n = copy_file_range(from, &in, to, &out, len, 0);

		if (n <= 0)
			return copy_by_hand(from, in, to, out, len);
		len -= (size_t)n;
	}
	return 0;
}

/* The data of from's part, which is size bytes long; *left is what may still be copied. */
static int copy_data(int from, off_t in, int to, off_t out, off_t size, uint64_t *left)
{
	off_t end = in + size, at = in;

	while (at < end) {
		off_t data = lseek(from, at, SEEK_DATA);

		if (data < 0 && errno != ENXIO)
			return -errno;
		if (data < 0 || data >= end)
			return 0;
		off_t hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		size_t len = (size_t)((hole < end ? hole : end) - data);
		int r = len > *left ? -EFBIG : copy_part(from, data, to, out + (data - in), len);
		if (r < 0)
			return r;
		*left -= len;
		at = data + (off_t)len;
	}
	return 0;
}

/* --- to the file --- */

struct writing {
	struct fp_volume *vol;
	int fd;
	off_t end; /* of the contents so far */
	uint64_t left;
	struct buf files, locks;
	uint32_t n_files, n_locks;
};

static void put_file(struct buf *out, uint64_t node, off_t at, const struct stat *st)
{
	uint8_t e[FILE_SIZE] = {0};

	store_le64(e, node);
	store_le64(e + 8, (uint64_t)at);
	store_le64(e + 16, (uint64_t)st->st_size);
	store_le32(e + 24, st->st_mode & 07777);
	store_le32(e + 28, st->st_uid);
	store_le32(e + 32, st->st_gid);
	store_le32(e + 36, (uint32_t)st->st_atim.tv_nsec);
	store_le32(e + 40, (uint32_t)st->st_mtim.tv_nsec);
	store_le64(e + 48, (uint64_t)st->st_atim.tv_sec);
	store_le64(e + 56, (uint64_t)st->st_mtim.tv_sec);
	buf_add(out, e, sizeof(e));
}

static void put_lock(void *data, uint64_t node, const struct fp_lock_want *held)
{
	struct writing *w = data;
	uint8_t e[LOCK_SIZE] = {0};

	store_le64(e, node);
	store_le64(e + 8, held->owner);
	store_le64(e + 16, held->file);
	store_le64(e + 24, (uint64_t)held->start);
	store_le64(e + 32, (uint64_t)held->len);
	store_le32(e + 40, held->pid);
	store_le16(e + 44, (uint16_t)held->type);
	store_le16(e + 46, held->flock);
	buf_add(&w->locks, e, sizeof(e));
	w->n_locks++;
}

static int save_content(struct writing *w, uint64_t node, int path_fd)
{
	auto_close int fd = fp_volume_reopen(w->vol, path_fd, O_RDONLY);
	uint64_t left = w->left;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? fd : -errno;
	if (st.st_size > FP_SAVED_SIZE_MAX || w->end > INT64_MAX - st.st_size - PAGE)
		return -EFBIG;
	int r = copy_data(fd, 0, w->fd, w->end, st.st_size, &left);
	if (r < 0)
		return r;
	put_file(&w->files, node, w->end, &st);
	w->n_files++;
	w->left = left;
	w->end = page_up(w->end + st.st_size);
	return 0;
}

static void save_file(struct writing *w, uint64_t node)
{
	struct fp_inode *in = fp_inode_get(w->vol->inodes, node);
	int path_fd = in ? fp_inode_hot_fd(w->vol->inodes, in) : -1;
	int r = path_fd < 0 ? 0 : save_content(w, node, path_fd);

	if (r < 0)
		log_warn("an open file without a name is not part of the snapshot: %s",
			 strerror(-r));
	fp_inode_put(w->vol->inodes, in);
}

static int write_index(struct writing *w, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(INDEX_MAX);
	uint8_t head[HEAD];

	store_le64(head, MAGIC);
	store_le32(head + 8, w->n_files);
	store_le32(head + 12, w->n_locks);
	buf_add(&out, head, sizeof(head));
	buf_add(&out, w->files.data, w->files.len);
	buf_add(&out, w->locks.data, w->locks.len);
	if (!buf_ok(&out) || !buf_ok(&w->locks))
		return err_set(err, ERR_FAILED, -EFBIG, "too many locks to save");
	if (pwrite(w->fd, out.data, out.len, 0) != (ssize_t)out.len ||
	    (w->n_files && ftruncate(w->fd, w->end) < 0))
		return err_sys(err, "cannot write what a volume's guest has open");
	return 0;
}

int fp_saved_write(struct fp_volume *v, int fd, struct err *err)
{
	auto_free uint64_t *ids = xcalloc(FP_SAVED_FILES_MAX, sizeof(*ids));
	size_t n = fp_inodes_nameless(v->inodes, ids, FP_SAVED_FILES_MAX);
	struct writing w = {.vol = v,
			    .fd = fd,
			    .end = page_up(INDEX_MAX),
			    .left = FP_SAVED_BYTES_MAX,
			    .files = BUF_INIT(FP_SAVED_FILES_MAX * FILE_SIZE),
			    .locks = BUF_INIT(FP_RANGES_MAX * LOCK_SIZE)};
	int r = 0;

	for (size_t i = 0; i < n; i++)
		save_file(&w, ids[i]);
	fp_locks_each(v->locks, put_lock, &w);
	if (w.n_files || w.n_locks)
		r = write_index(&w, err);
	else if (ftruncate(fd, 0) < 0) /* of a file that was not saved whole */
		r = err_sys(err, "cannot empty what was not saved");
	buf_free(&w.files);
	buf_free(&w.locks);
	return r;
}

/* --- from the file --- */

static int fill_file(const uint8_t *e, int from, int to, uint64_t *left)
{
	const struct timespec times[2] = {
		{(time_t)load_le64(e + 48), (long)load_le32(e + 36)},
		{(time_t)load_le64(e + 56), (long)load_le32(e + 40)},
	};
	off_t at = (off_t)load_le64(e + 8), size = (off_t)load_le64(e + 16);

	if (at < (off_t)INDEX_MAX || size < 0 || size > FP_SAVED_SIZE_MAX ||
	    at > INT64_MAX - FP_SAVED_SIZE_MAX)
		return -EBADMSG;
	int r = copy_data(from, at, to, 0, size, left);
	if (r < 0)
		return r;
	/* Owner before mode: set-id bits go with the old one. */
	if (ftruncate(to, size) < 0 || fchown(to, load_le32(e + 28), load_le32(e + 32)) < 0 ||
	    fchmod(to, load_le32(e + 24) & 07777) < 0 || futimens(to, times) < 0)
		return -errno;
	return 0;
}

/* O_EXCL: nobody will ever give it a name. */
static int take_file(struct fp_volume *v, const uint8_t *e, int from, uint64_t *left)
{
	const int flags = O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC;
	auto_close int fd = v->opt.read_only ? -1 : openat(v->root_fd, ".", flags, 0600);
	auto_close int path_fd = -1;
	struct stat st;
	int r = v->opt.read_only ? -EROFS : fd < 0 ? -errno : fill_file(e, from, fd, left);

	if (r == 0)
		r = fp_volume_check(v, fd, &st);
	if (r == 0)
		r = path_fd = fp_volume_reopen(v, fd, O_PATH);
	return r < 0 ? r : fp_inode_replace(v->inodes, load_le64(e), TAKE_FD(path_fd), &st);
}

static int want_of(const uint8_t *e, struct fp_lock_want *ret)
{
	*ret = (struct fp_lock_want){
		.owner = load_le64(e + 8),
		.file = load_le64(e + 16),
		.start = (int64_t)load_le64(e + 24),
		.len = (int64_t)load_le64(e + 32),
		.pid = load_le32(e + 40),
		.type = (short)load_le16(e + 44),
		.flock = load_le16(e + 46) == 1,
	};
	if ((ret->type != F_RDLCK && ret->type != F_WRLCK) || ret->start < 0 || ret->len < 0 ||
	    ret->start > INT64_MAX - ret->len)
		return -EBADMSG;
	return 0;
}

/* As an NFS client that comes back and finds its lock with somebody else: what was done under the
 * lock cannot go on. */
static void lose(struct fp_volume *v, struct fp_inode *in, const struct fp_lock_want *want)
{
	struct fp_file *f = fp_file_get(v->files, want->file, in->id);

	fp_lock_drop(v->locks, in, want->owner, want->flock);
	if (f)
		atomic_store(&f->lost_lock, true);
	fp_file_put(v->files, f);
	log_warn("a lock that the guest held is somebody else's now: its open file gives EIO");
}

static bool is_lost(struct fp_volume *v, const struct fp_inode *in, uint64_t file)
{
	struct fp_file *f = fp_file_get(v->files, file, in->id);
	bool lost = !f || atomic_load(&f->lost_lock);

	fp_file_put(v->files, f);
	return lost;
}

static int take_lock(struct fp_volume *v, const uint8_t *e)
{
	struct fp_lock_want want;
	int r = want_of(e, &want);
	struct fp_inode *in = r < 0 ? NULL : fp_inode_get(v->inodes, load_le64(e));

	/* Of a file that is not open any more, or has lost another part of it. */
	if (in && !is_lost(v, in, want.file) && fp_lock_set(v->locks, in, &want) < 0)
		lose(v, in, &want);
	fp_inode_put(v->inodes, in);
	return r;
}

static int read_index(int fd, struct buf *in, uint32_t *ret_files, uint32_t *ret_locks,
		      struct err *err)
{
	uint8_t head[HEAD];

	if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) || load_le64(head) != MAGIC)
		return err_set(err, ERR_HOST, -EBADMSG, "not what a volume's server has saved");
	*ret_files = load_le32(head + 8);
	*ret_locks = load_le32(head + 12);
	if (*ret_files > FP_SAVED_FILES_MAX || *ret_locks > FP_RANGES_MAX)
		return err_set(err, ERR_HOST, -EBADMSG, "%u files and %u locks saved", *ret_files,
			       *ret_locks);
	size_t len = *ret_files * FILE_SIZE + *ret_locks * LOCK_SIZE;
	void *to = buf_grow(in, len);
	if (!to || pread(fd, to, len, HEAD) != (ssize_t)len)
		return err_set(err, ERR_HOST, -EBADMSG, "what was saved of a volume is cut off");
	return 0;
}

int fp_saved_take(struct fp_volume *v, int fd, struct err *err)
{
	auto_buf struct buf in = BUF_INIT(INDEX_MAX);
	uint64_t left = FP_SAVED_BYTES_MAX;
	uint32_t files = 0, locks = 0;
	int r = fp_volume_server_rights(v);

	if (r == 0)
		r = read_index(fd, &in, &files, &locks, err);
	if (r < 0)
		return r;
	const uint8_t *e = (const uint8_t *)in.data;
	for (uint32_t i = 0; i < files; i++, e += FILE_SIZE) {
		int code = take_file(v, e, fd, &left);

		if (code < 0)
			log_warn("an open file without a name cannot be had again: %s",
				 strerror(-code));
	}
	for (uint32_t i = 0; r == 0 && i < locks; i++, e += LOCK_SIZE)
		r = take_lock(v, e);
	return r < 0 ? err_set(err, ERR_HOST, r, "a saved lock that is none") : 0;
}
