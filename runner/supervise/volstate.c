#include "volstate.h"

#include "cleanup.h"
#include "target.h"
#include "tlv.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define STATE_MAX (1u << 20)
#define NS_PER_S 1000000000u

enum field {
	FIELD_VOLUME = 1,
	FIELD_TARGET,
	FIELD_DEV,
	FIELD_INO,
	FIELD_BORN_NS,
	FIELD_STATE,
	FIELD_SAVED
};

struct entry {
	char *target;
	struct volstate_source source;
	uint64_t saved;
	const uint8_t *state; /* borrowed */
	size_t len;
};

int volstate_look(const char *dir, struct volstate_source *ret, struct err *err)
{
	struct statx st;

	if (statx(AT_FDCWD, dir, 0, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return err_sys(err, "cannot stat '%s'", dir);
	*ret = (struct volstate_source){.dev = makedev(st.stx_dev_major, st.stx_dev_minor),
					.ino = st.stx_ino};
	if (st.stx_mask & STATX_BTIME)
		ret->born_ns = (uint64_t)st.stx_btime.tv_sec * NS_PER_S + st.stx_btime.tv_nsec;
	return 0;
}

int volstate_put(struct buf *out, const char *target, const struct volstate_source *source,
		 int state_fd, uint64_t saved, struct err *err)
{
	auto_buf struct buf in = BUF_INIT(STATE_MAX + 4096);
	struct stat st = {0};

	if (fstat(state_fd, &st) < 0)
		return err_sys(err, "cannot stat the state of volume at '%s'", target);
	if (st.st_size > STATE_MAX)
		return err_set(err, ERR_HOST, -EFBIG, "the state of volume at '%s' is too long",
			       target);
	auto_free uint8_t *state = xmalloc((size_t)st.st_size + 1);
	ssize_t n = pread(state_fd, state, (size_t)st.st_size, 0);

	if (n != st.st_size)
		return err_sys(err, "cannot read the state of volume at '%s'", target);
	tlv_put_str(&in, FIELD_TARGET, target);
	tlv_put_u64(&in, FIELD_DEV, source->dev);
	tlv_put_u64(&in, FIELD_INO, source->ino);
	tlv_put_u64(&in, FIELD_BORN_NS, source->born_ns);
	tlv_put_u64(&in, FIELD_SAVED, saved);
	tlv_put(&in, FIELD_STATE, state, (size_t)n);
	tlv_put(out, FIELD_VOLUME, buf_str(&in), in.len);
	if (!buf_ok(&in) || !buf_ok(out))
		return err_set(err, ERR_HOST, -EFBIG, "the volumes' state is too long");
	return 0;
}

static int take_field(const struct tlv *t, struct entry *e, struct err *err)
{
	switch (t->tag) {
	case FIELD_TARGET:
		free(e->target);
		e->target = NULL;
		return tlv_str(t, TARGET_MAX, &e->target, err);
	case FIELD_DEV:
		return tlv_u64(t, &e->source.dev, err);
	case FIELD_INO:
		return tlv_u64(t, &e->source.ino, err);
	case FIELD_BORN_NS:
		return tlv_u64(t, &e->source.born_ns, err);
	case FIELD_SAVED:
		return tlv_u64(t, &e->saved, err);
	case FIELD_STATE:
		e->state = t->value;
		e->len = t->len;
		return 0;
	default:
		return 0;
	}
}

static int take_entry(const struct tlv *volume, struct entry *e, struct err *err)
{
	struct tlv t = {0};
	size_t pos = 0;
	int r = 0;

	while ((r = tlv_next(volume->value, volume->len, &pos, &t, err)) > 0) {
		r = take_field(&t, e, err);
		if (r < 0)
			return r;
	}
	if (r == 0 && (!e->target || !e->state))
		r = err_set(err, ERR_HOST, -EBADMSG, "a volume without target or state");
	return r;
}

static int use(const struct entry *e, const struct volstate_source *source, int state_fd,
	       struct volstate_found *ret, struct err *err)
{
	if (ftruncate(state_fd, 0) < 0 || pwrite(state_fd, e->state, e->len, 0) != (ssize_t)e->len)
		return err_sys(err, "cannot write the state of volume at '%s'", e->target);
	*ret = (struct volstate_found){.same = e->source.dev == source->dev &&
					       e->source.ino == source->ino &&
					       e->source.born_ns == source->born_ns,
				       .saved = e->saved};
	return 1;
}

int volstate_take(const struct buf *file, const char *target, const struct volstate_source *source,
		  int state_fd, struct volstate_found *ret, struct err *err)
{
	struct tlv t = {0};
	size_t pos = 0;
	int r = 0;

	while ((r = tlv_next((const uint8_t *)buf_str(file), file->len, &pos, &t, err)) > 0) {
		struct entry e = {0};

		if (t.tag != FIELD_VOLUME)
			continue;
		r = take_entry(&t, &e, err);
		auto_free char *name = e.target;
		if (r < 0)
			break;
		if (strcmp(name, target) == 0)
			return use(&e, source, state_fd, ret, err);
	}
	return r < 0 ? err_wrap(err, VOLSTATE_FILE) : 0;
}
