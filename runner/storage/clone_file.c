#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "storage.h"
#include "xalloc.h"

#define COPY_CHUNK (1u << 20)

struct copy {
	const struct clone_file_spec *spec;
	int from, to;
	bool by_hand; /* copy_file_range is refused here */
	char *chunk;  /* for by_hand */
};

static int copy_by_hand(struct copy *c, off_t at, off_t end, struct err *err)
{
	if (!c->chunk)
		c->chunk = xmalloc(COPY_CHUNK);
	while (at < end) {
		size_t want = end - at < COPY_CHUNK ? (size_t)(end - at) : COPY_CHUNK;
		ssize_t n = pread(c->from, c->chunk, want, at);
		ssize_t done = 0;

		if (n < 0)
			return err_sys(err, "cannot read '%s'", c->spec->from);
		if (n == 0)
			return 0; /* it shrank; the size was set from before */
		while (done < n) {
			ssize_t w = pwrite(c->to, c->chunk + done, (size_t)(n - done), at + done);

			if (w < 0)
				return err_sys(err, "cannot write '%s'", c->spec->to);
			done += w;
		}
		at += n;
	}
	return 0;
}

static int copy_extent(struct copy *c, off_t at, off_t end, struct err *err)
{
	while (at < end && !c->by_hand) {
		off_t in = at, out = at;
		ssize_t n = copy_file_range(c->from, &in, c->to, &out, (size_t)(end - at), 0);

		if (n > 0) {
			at += n;
			continue;
		}
		if (n < 0 && errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP &&
		    errno != ENOSYS && errno != EPERM)
			return err_sys(err, "cannot copy '%s' to '%s'", c->spec->from, c->spec->to);
		/* Some file systems also answer 0 for what they cannot do. */
		c->by_hand = true;
	}
	return copy_by_hand(c, at, end, err);
}

/* Extent by extent: what is a hole stays one. */
static int copy_sparse(struct copy *c, off_t size, struct err *err)
{
	off_t at = 0;

	if (ftruncate(c->to, size) < 0)
		return err_sys(err, "cannot size '%s'", c->spec->to);
	while (at < size) {
		off_t start = lseek(c->from, at, SEEK_DATA);
		off_t end;
		int r;

		if (start < 0 && errno == ENXIO)
			return 0; /* only a hole is left */
		if (start < 0)
			return err_sys(err, "cannot find the data of '%s'", c->spec->from);
		end = lseek(c->from, start, SEEK_HOLE);
		if (end < 0)
			return err_sys(err, "cannot find the holes of '%s'", c->spec->from);
		r = copy_extent(c, start, end < size ? end : size, err);
		if (r < 0)
			return r;
		at = end;
	}
	return 0;
}

static int copy_contents(struct copy *c, bool *ret_reflinked, struct err *err)
{
	struct stat st;
	int r;

	if (fstat(c->from, &st) < 0)
		return err_sys(err, "cannot stat '%s'", c->spec->from);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_FAILED, -EINVAL, "'%s' is not a regular file",
			       c->spec->from);
	*ret_reflinked = ioctl(c->to, FICLONE, c->from) == 0;
	if (*ret_reflinked)
		return 0;
	r = copy_sparse(c, st.st_size, err);
	free(c->chunk);
	c->chunk = NULL;
	return r;
}

static int set_access(const struct copy *c, struct err *err)
{
	if (geteuid() == 0 && fchown(c->to, c->spec->uid, c->spec->gid) < 0)
		return err_sys(err, "cannot give '%s' to uid %u", c->spec->to, c->spec->uid);
	if (fchmod(c->to, c->spec->mode) < 0)
		return err_sys(err, "cannot set the mode of '%s'", c->spec->to);
	return 0;
}

int storage_clone_fd(int from, const struct clone_file_spec *spec, bool *ret_reflinked,
		     struct err *err)
{
	auto_close int to =
		open(spec->to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool reflinked = false;
	int r;

	if (to < 0)
		return err_sys(err, "cannot make '%s'", spec->to);

	struct copy c = {.spec = spec, .from = from, .to = to};
	r = copy_contents(&c, &reflinked, err);
	if (r == 0)
		r = set_access(&c, err);
	if (r < 0) {
		(void)unlink(spec->to);
		return r;
	}
	if (ret_reflinked)
		*ret_reflinked = reflinked;
	return 0;
}

int storage_clone_file(const struct clone_file_spec *spec, bool *ret_reflinked, struct err *err)
{
	auto_close int from = open(spec->from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (from < 0)
		return err_sys(err, "cannot open '%s'", spec->from);
	return storage_clone_fd(from, spec, ret_reflinked, err);
}

/* An unnamed file with one block of data. */
static int open_probe(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	static const char block[4096] = "fcvm";

	if (fd >= 0 && io_write_full(fd, block, sizeof(block), 0, NULL) == 0)
		return fd;
	cleanup_close_p(&fd);
	return -1;
}

bool storage_can_reflink(const char *dir)
{
	auto_close int from = open_probe(dir);
	auto_close int to = from < 0 ? -1 : open_probe(dir);

	return to >= 0 && ioctl(to, FICLONE, from) == 0;
}
