/* proto_workload.c - plain structs to nested fields and back. Decoding is driven by tables: one row
 * names a tag, what it holds and where it goes. */
#include "proto_workload.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "proto.h"
#include "tlv.h"
#include "xalloc.h"

#define TEXT_MAX 4096u
#define WORD_MAX (128u << 10)
#define LIMIT_MAX 86400000u /* a day: no sum of two times overflows */

enum field_kind { FIELD_STR, FIELD_WORD, FIELD_U64, FIELD_HEALTH };

struct field {
	uint16_t tag;
	enum field_kind kind;
	size_t offset;
	uint32_t max; /* bytes of text */
};

#define ROW(tag, kind, type, member, max)                     \
	{                                                     \
		tag, kind, offsetof(struct type, member), max \
	}

static const struct field health_fields[] = {
	ROW(TAG_HTTP, FIELD_STR, proto_health, http, TEXT_MAX),
	ROW(TAG_TCP, FIELD_STR, proto_health, tcp, TEXT_MAX),
	ROW(TAG_EXEC, FIELD_WORD, proto_health, exec, WORD_MAX),
	ROW(TAG_INTERVAL_MS, FIELD_U64, proto_health, interval_ms, 0),
	ROW(TAG_START_INTERVAL_MS, FIELD_U64, proto_health, start_interval_ms, 0),
	ROW(TAG_TIMEOUT_MS, FIELD_U64, proto_health, timeout_ms, 0),
	ROW(TAG_START_PERIOD_MS, FIELD_U64, proto_health, start_period_ms, 0),
	ROW(TAG_RETRIES, FIELD_U64, proto_health, retries, 0),
};

static const struct field hook_fields[] = {
	ROW(TAG_NAME, FIELD_STR, proto_hook, container, 64),
	ROW(TAG_ARG, FIELD_WORD, proto_hook, argv, WORD_MAX),
	ROW(TAG_TIMEOUT_MS, FIELD_U64, proto_hook, timeout_ms, 0),
};

static const struct field container_fields[] = {
	ROW(TAG_NAME, FIELD_STR, proto_container, name, 64),
	ROW(TAG_IMAGE, FIELD_STR, proto_container, image, TEXT_MAX),
	ROW(TAG_STORE, FIELD_STR, proto_container, store, 64),
	ROW(TAG_ENTRYPOINT, FIELD_WORD, proto_container, entrypoint, WORD_MAX),
	ROW(TAG_ARG, FIELD_WORD, proto_container, command, WORD_MAX),
	ROW(TAG_ENV, FIELD_WORD, proto_container, env, WORD_MAX),
	ROW(TAG_USER, FIELD_STR, proto_container, user, 256),
	ROW(TAG_CWD, FIELD_STR, proto_container, cwd, TEXT_MAX),
	ROW(TAG_HEALTH, FIELD_HEALTH, proto_container, health, 0),
};

static const struct field resume_fields[] = {
	ROW(TAG_EPOCH, FIELD_STR, proto_resume, epoch, 64),
	ROW(TAG_UNIX_NOW_NS, FIELD_U64, proto_resume, unix_now_ns, 0),
	ROW(TAG_HOSTNAME, FIELD_STR, proto_resume, hostname, 64),
	ROW(TAG_MACHINE_ID, FIELD_STR, proto_resume, machine_id, 64),
	ROW(TAG_NEW_BOOT_ID, FIELD_STR, proto_resume, boot_id, 64),
	ROW(TAG_MTU, FIELD_U64, proto_resume, mtu, 0),
	ROW(TAG_METADATA, FIELD_STR, proto_resume, metadata, PROTO_METADATA_MAX),
	ROW(TAG_HEALTH, FIELD_HEALTH, proto_resume, health, 0),
};

#undef ROW

static int bad(struct err *err, const char *what)
{
	return err_set(err, ERR_GUEST, -EBADMSG, "malformed message: %s", what);
}

static int take_str(const struct tlv *t, uint32_t max, char **at, struct err *err)
{
	if (*at)
		return bad(err, "a field is there twice");
	return tlv_str(t, max, at, err);
}

static int take_word(const struct tlv *t, uint32_t max, struct strv *at, struct err *err)
{
	auto_free char *word = NULL;

	if (at->n >= PROTO_WORDS_MAX)
		return bad(err, "too many words");
	int r = tlv_str(t, max, &word, err);
	if (r < 0)
		return r;
	strv_add_take(at, TAKE_PTR(word));
	return 0;
}

static int take_health(const struct tlv *t, struct proto_health *at, struct err *err)
{
	auto_proto_health struct proto_health h = {0};
	int r = proto_get_health(t->value, t->len, &h, err);

	if (r < 0)
		return r;
	proto_health_free(at);
	*at = h;
	h = (struct proto_health){0};
	return 0;
}

static int take_field(const struct tlv *t, const struct field *f, void *base, struct err *err)
{
	void *at = (char *)base + f->offset;

	switch (f->kind) {
	case FIELD_STR:
		return take_str(t, f->max, at, err);
	case FIELD_WORD:
		return take_word(t, f->max, at, err);
	case FIELD_U64:
		return tlv_u64(t, at, err);
	case FIELD_HEALTH:
		return take_health(t, at, err);
	}
	return -EINVAL;
}

static int take_fields(const uint8_t *body, size_t len, const struct field *fields, size_t n,
		       void *base, struct err *err)
{
	struct tlv t;
	size_t pos = 0;
	int r;

	while ((r = tlv_next(body, len, &pos, &t, err)) > 0) {
		for (size_t i = 0; i < n && r >= 0; i++)
			if (fields[i].tag == t.tag)
				r = take_field(&t, &fields[i], base, err);
		if (r < 0)
			return r;
	}
	return r;
}

void proto_hook_free(struct proto_hook *h)
{
	cleanup_free_p(&h->container);
	strv_free(&h->argv);
}

void proto_hooks_free(struct proto_hooks *h)
{
	for (size_t i = 0; i < h->n; i++)
		proto_hook_free(&h->v[i]);
	cleanup_free_p(&h->v);
	h->n = 0;
}

void proto_health_free(struct proto_health *h)
{
	cleanup_free_p(&h->http);
	cleanup_free_p(&h->tcp);
	strv_free(&h->exec);
}

void proto_container_free(struct proto_container *c)
{
	cleanup_free_p(&c->name);
	cleanup_free_p(&c->image);
	cleanup_free_p(&c->store);
	strv_free(&c->entrypoint);
	strv_free(&c->command);
	strv_free(&c->env);
	cleanup_free_p(&c->user);
	cleanup_free_p(&c->cwd);
	proto_health_free(&c->health);
}

void proto_resume_free(struct proto_resume *r)
{
	cleanup_free_p(&r->epoch);
	cleanup_free_p(&r->hostname);
	cleanup_free_p(&r->machine_id);
	cleanup_free_p(&r->boot_id);
	cleanup_free_p(&r->metadata);
	proto_health_free(&r->health);
	proto_volumes_free(&r->volumes);
	proto_hooks_free(&r->hooks);
}

bool proto_health_has_check(const struct proto_health *h)
{
	return h->http || h->tcp || h->exec.n > 0;
}

static void put_words(struct buf *out, uint16_t tag, const struct strv *words)
{
	for (size_t i = 0; i < words->n; i++)
		tlv_put_str(out, tag, words->v[i]);
}

static void put_nested(struct buf *out, uint16_t tag, const struct buf *in)
{
	tlv_put(out, tag, buf_str(in), in->len);
	if (!buf_ok(in))
		out->overflow = true;
}

void proto_put_health(struct buf *out, const struct proto_health *h)
{
	auto_buf struct buf in = BUF_INIT(AGENT_CONTROL_MAX);

	tlv_put_str(&in, TAG_HTTP, h->http);
	tlv_put_str(&in, TAG_TCP, h->tcp);
	put_words(&in, TAG_EXEC, &h->exec);
	tlv_put_u64(&in, TAG_INTERVAL_MS, h->interval_ms);
	tlv_put_u64(&in, TAG_START_INTERVAL_MS, h->start_interval_ms);
	tlv_put_u64(&in, TAG_TIMEOUT_MS, h->timeout_ms);
	tlv_put_u64(&in, TAG_START_PERIOD_MS, h->start_period_ms);
	tlv_put_u64(&in, TAG_RETRIES, h->retries);
	put_nested(out, TAG_HEALTH, &in);
}

void proto_put_container(struct buf *out, const struct proto_container *c)
{
	auto_buf struct buf in = BUF_INIT(AGENT_CONTROL_MAX);

	tlv_put_str(&in, TAG_NAME, c->name);
	tlv_put_str(&in, TAG_IMAGE, c->image);
	tlv_put_str(&in, TAG_STORE, c->store);
	put_words(&in, TAG_ENTRYPOINT, &c->entrypoint);
	put_words(&in, TAG_ARG, &c->command);
	put_words(&in, TAG_ENV, &c->env);
	tlv_put_str(&in, TAG_USER, c->user);
	tlv_put_str(&in, TAG_CWD, c->cwd);
	proto_put_health(&in, &c->health);
	put_nested(out, TAG_CONTAINER, &in);
}

void proto_put_hook(struct buf *out, const struct proto_hook *h)
{
	auto_buf struct buf in = BUF_INIT(AGENT_CONTROL_MAX);

	tlv_put_str(&in, TAG_NAME, h->container);
	put_words(&in, TAG_ARG, &h->argv);
	tlv_put_u64(&in, TAG_TIMEOUT_MS, h->timeout_ms);
	put_nested(out, TAG_HOOK, &in);
}

void proto_put_resume(struct buf *out, const struct proto_resume *r)
{
	tlv_put_str(out, TAG_EPOCH, r->epoch);
	tlv_put_u64(out, TAG_UNIX_NOW_NS, r->unix_now_ns);
	tlv_put(out, TAG_ENTROPY, r->entropy, r->entropy_len);
	tlv_put_str(out, TAG_HOSTNAME, r->hostname);
	tlv_put_str(out, TAG_MACHINE_ID, r->machine_id);
	tlv_put_str(out, TAG_NEW_BOOT_ID, r->boot_id);
	if (r->mtu)
		tlv_put_u64(out, TAG_MTU, r->mtu);
	tlv_put_str(out, TAG_METADATA, r->metadata);
	if (r->has_health)
		proto_put_health(out, &r->health);
	for (size_t i = 0; i < r->volumes.n; i++)
		proto_put_volume(out, &r->volumes.v[i]);
	for (size_t i = 0; i < r->hooks.n; i++)
		proto_put_hook(out, &r->hooks.v[i]);
}

static uint64_t or_default(uint64_t value, uint64_t dflt)
{
	uint64_t v = value ? value : dflt;

	return v < LIMIT_MAX ? v : LIMIT_MAX;
}

int proto_get_health(const uint8_t *body, size_t len, struct proto_health *ret, struct err *err)
{
	int r = take_fields(body, len, health_fields, ARRAY_SIZE(health_fields), ret, err);

	if (r < 0)
		return r;
	if (!!ret->http + !!ret->tcp + (ret->exec.n > 0) > 1)
		return bad(err, "a health check of more than one kind");
	ret->interval_ms = or_default(ret->interval_ms, 10000);
	ret->start_interval_ms = or_default(ret->start_interval_ms, 250);
	ret->timeout_ms = or_default(ret->timeout_ms, 5000);
	ret->start_period_ms = or_default(ret->start_period_ms, 0);
	ret->retries = or_default(ret->retries, 3);
	return 0;
}

int proto_get_hook(const uint8_t *body, size_t len, struct proto_hook *ret, struct err *err)
{
	int r = take_fields(body, len, hook_fields, ARRAY_SIZE(hook_fields), ret, err);

	if (r < 0)
		return r;
	if (ret->argv.n == 0)
		return bad(err, "a hook without a command");
	ret->timeout_ms = or_default(ret->timeout_ms, PROTO_HOOK_TIMEOUT_MS);
	return 0;
}

int proto_get_container(const uint8_t *body, size_t len, struct proto_container *ret,
			struct err *err)
{
	int r = take_fields(body, len, container_fields, ARRAY_SIZE(container_fields), ret, err);

	if (r < 0)
		return r;
	if (!ret->name || !*ret->name || !ret->image || !*ret->image)
		return bad(err, "a container without a name or an image");
	/* They become arguments of podman: never options. */
	if (*ret->image == '-' || *ret->name == '-')
		return bad(err, "a container's name or image begins with '-'");
	return 0;
}

int proto_get_hooks(const uint8_t *body, size_t len, struct proto_hooks *ret, struct err *err)
{
	struct tlv t;
	size_t pos = 0;
	int r;

	while ((r = tlv_next(body, len, &pos, &t, err)) > 0) {
		if (t.tag != TAG_HOOK)
			continue;
		if (ret->n >= PROTO_HOOKS_MAX)
			return bad(err, "too many hooks");
		ret->v = xreallocarray(ret->v, ret->n + 1, sizeof(*ret->v));
		struct proto_hook *h = &ret->v[ret->n++];
		*h = (struct proto_hook){0};
		r = proto_get_hook(t.value, t.len, h, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int get_entropy(const uint8_t *body, size_t len, struct proto_resume *ret, struct err *err)
{
	const uint8_t *value = NULL;
	size_t n = 0;
	int r = proto_find(body, len, TAG_ENTROPY, &value, &n, err);

	if (r < 0)
		return r;
	if (n < PROTO_ENTROPY_MIN || n > sizeof(ret->entropy))
		return bad(err, "entropy is not 64 to 256 bytes");
	memcpy(ret->entropy, value, n);
	ret->entropy_len = n;
	return 0;
}

int proto_get_resume(const uint8_t *body, size_t len, struct proto_resume *ret, struct err *err)
{
	const uint8_t *value;
	size_t n;
	int r = take_fields(body, len, resume_fields, ARRAY_SIZE(resume_fields), ret, err);

	if (r >= 0)
		r = get_entropy(body, len, ret, err);
	if (r >= 0)
		r = proto_get_volumes(body, len, &ret->volumes, err);
	if (r >= 0)
		r = proto_get_hooks(body, len, &ret->hooks, err);
	if (r >= 0)
		r = proto_find(body, len, TAG_HEALTH, &value, &n, err);
	if (r < 0)
		return r;
	ret->has_health = r > 0;
	if (!ret->epoch || !ret->hostname || !ret->machine_id || !ret->boot_id || !ret->unix_now_ns)
		return bad(err, "a resume without epoch, time, hostname, machine-id or boot_id");
	return 0;
}

int proto_find(const uint8_t *body, size_t len, uint16_t tag, const uint8_t **ret_value,
	       size_t *ret_len, struct err *err)
{
	struct tlv t;
	size_t pos = 0;
	int r;

	while ((r = tlv_next(body, len, &pos, &t, err)) > 0) {
		if (t.tag != tag)
			continue;
		*ret_value = t.value;
		*ret_len = t.len;
		return 1;
	}
	return r;
}

int proto_find_u64(const uint8_t *body, size_t len, uint16_t tag, uint64_t dflt, uint64_t *ret,
		   struct err *err)
{
	struct tlv t = {.tag = tag};
	size_t n = 0;
	int r = proto_find(body, len, tag, &t.value, &n, err);

	if (r < 0)
		return r;
	if (r == 0) {
		*ret = dflt;
		return 0;
	}
	t.len = (uint32_t)n;
	return tlv_u64(&t, ret, err);
}

int proto_find_str(const uint8_t *body, size_t len, uint16_t tag, size_t max, char **ret,
		   struct err *err)
{
	struct tlv t = {.tag = tag};
	size_t n = 0;
	int r = proto_find(body, len, tag, &t.value, &n, err);

	if (r <= 0)
		return r;
	t.len = (uint32_t)n;
	r = tlv_str(&t, max, ret, err);
	return r < 0 ? r : 1;
}
