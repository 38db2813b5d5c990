#include "proto_volume.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "proto.h"
#include "target.h"
#include "tlv.h"
#include "xalloc.h"

#define NAME_MAX_LEN 64u
#define SOURCE_MAX 4096u

static const struct {
	size_t offset;
	uint32_t max;
	uint16_t tag;
} texts[] = {
	{offsetof(struct proto_volume, name), NAME_MAX_LEN, TAG_NAME},
	{offsetof(struct proto_volume, kind), NAME_MAX_LEN, TAG_KIND},
	{offsetof(struct proto_volume, target), TARGET_MAX, TAG_TARGET},
	{offsetof(struct proto_volume, source), SOURCE_MAX, TAG_SOURCE},
};

static void volume_free(struct proto_volume *v)
{
	free(v->name);
	free(v->kind);
	free(v->target);
	free(v->source);
}

void proto_volumes_free(struct proto_volumes *l)
{
	for (size_t i = 0; i < l->n; i++)
		volume_free(&l->v[i]);
	free(l->v);
	*l = (struct proto_volumes){0};
}

void proto_put_volume(struct buf *out, const struct proto_volume *v)
{
	auto_buf struct buf in = BUF_INIT(AGENT_CONTROL_MAX);

	tlv_put_str(&in, TAG_NAME, v->name);
	tlv_put_str(&in, TAG_KIND, v->kind);
	tlv_put_str(&in, TAG_TARGET, v->target);
	tlv_put_str(&in, TAG_SOURCE, v->source);
	tlv_put_u64(&in, TAG_READ_ONLY, v->read_only);
	tlv_put_u64(&in, TAG_TRUSTED, v->trusted);
	tlv_put(out, TAG_VOLUME, buf_str(&in), in.len);
}

static int bad(struct err *err, const char *what)
{
	return err_set(err, ERR_GUEST, -EBADMSG, "malformed message: %s", what);
}

static int take(const struct tlv *t, struct proto_volume *v, struct err *err)
{
	if (t->tag == TAG_READ_ONLY)
		return tlv_u64(t, &v->read_only, err);
	if (t->tag == TAG_TRUSTED)
		return tlv_u64(t, &v->trusted, err);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char **at = (void *)((char *)v + texts[i].offset);

		if (texts[i].tag == t->tag)
			return *at ? bad(err, "a field is there twice")
				   : tlv_str(t, texts[i].max, at, err);
	}
	return 0;
}

static int get_volume(const struct tlv *outer, struct proto_volume *v, struct err *err)
{
	struct tlv t;
	size_t pos = 0;
	int r;

	while ((r = tlv_next(outer->value, outer->len, &pos, &t, err)) > 0) {
		r = take(&t, v, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (!v->name || !v->kind || !v->target || !v->source)
		return bad(err, "a volume without name, kind, target or source");
	return target_check(v->target, err);
}

/* One inside another would be mounted by an agent that must not wait for the outer one. */
static bool is_taken(const struct proto_volumes *l, const char *target)
{
	for (size_t i = 0; i + 1 < l->n; i++)
		if (target_overlaps(l->v[i].target, target))
			return true;
	return false;
}

int proto_get_volumes(const uint8_t *body, size_t len, struct proto_volumes *ret, struct err *err)
{
	struct tlv t;
	size_t pos = 0;
	int r;

	while ((r = tlv_next(body, len, &pos, &t, err)) > 0) {
		if (t.tag != TAG_VOLUME)
			continue;
		if (ret->n >= PROTO_VOLUMES_MAX)
			return bad(err, "too many volumes");
		ret->v = xreallocarray(ret->v, ret->n + 1, sizeof(*ret->v));
		struct proto_volume *v = &ret->v[ret->n++];

		*v = (struct proto_volume){0};
		r = get_volume(&t, v, err);
		if (r < 0)
			return r;
		if (is_taken(ret, v->target))
			return bad(err, "two volumes at one target, or one inside another");
	}
	return r;
}
