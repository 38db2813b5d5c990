/* decode_scalar.c - one handler for each type that is a single text in the spec. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "parse.h"
#include "shape.h"
#include "xalloc.h"

#define KEPT_COST 64 /* bytes a text costs beside its own */

const struct template_values decode_sample = {
	.clone = "clone-0", .fleet = "fleet", .job = "job", .item = "item"};

char *decode_keep(struct decode *d, const char *text)
{
	size_t before = d->kept;

	d->kept += strlen(text) + KEPT_COST;
	if (d->kept <= DECODE_KEPT_MAX)
		return xstrdup(text);
	if (before <= DECODE_KEPT_MAX)
		(void)decode_fail_at(d, d->at,
				     "more than %u bytes of text once defaults are merged",
				     DECODE_KEPT_MAX);
	return xstrdup("");
}

void decode_keep_pair(struct decode *d, struct strv *list, const char *key, const char *text)
{
	auto_free char *pair = xasprintf("%s=%s", key, text);

	strv_add_take(list, decode_keep(d, pair));
}

/* The column of a template's error, when the text stands in the source as it is. */
static struct place place_in_text(const struct decode *d, const struct ynode *node, size_t offset)
{
	struct place at = node->at;
	const char *source = diag_source(d->diag, at);

	if (!node->plain && (*source == '"' || *source == '\''))
		source++;
	if (node->set || strncmp(source, node->text, node->len) != 0)
		return at;
	at.col += !node->plain;
	for (size_t i = 0; i < offset; i++)
		at.col += ((unsigned char)node->text[i] & 0xc0) != 0x80;
	return at;
}

int decode_template(struct decode *d, struct ynode *node, unsigned int names, struct template **ret)
{
	struct template_scope scope = {
		.names = names, .vars = &d->vars, .set_name = d->fleet->name ? d->fleet->name : ""};
	struct err err = {0};
	size_t offset = 0;

	if (template_compile(node->text, &scope, ret, &offset, &err) >= 0)
		return 0;
	struct ynode at = *node;

	at.at = place_in_text(d, node, offset);
	(void)decode_fail(d, &at, "%s", err.msg);
	node->kind = YNODE_BAD;
	return -1;
}

static unsigned int names_of(const struct field *f)
{
	unsigned int names = 0;

	if (f->flags & FIELD_CLONE_TEMPLATE)
		names |= TEMPLATE_INDEX | TEMPLATE_CLONE | TEMPLATE_FLEET;
	if (f->flags & FIELD_JOB_TEMPLATE)
		names |= TEMPLATE_JOB;
	return names;
}

static char *expand(struct decode *d, const struct field *f, struct ynode *node)
{
	auto_template struct template *t = NULL;
	struct err err = {0};
	char *text;

	if (decode_template(d, node, names_of(f), &t) < 0)
		return NULL;
	if (template_expand(t, &decode_sample, &text, &err) >= 0)
		return text;
	(void)decode_fail(d, node, "%s", err.msg);
	return NULL;
}

/* A scalar with a text of acceptable length. */
static int check_scalar(struct decode *d, const struct field *f, struct ynode *node)
{
	auto_buf struct buf wanted = BUF_INIT(100);

	fields_type_phrase(f, &wanted);
	if (node->kind != YNODE_SCALAR || ynode_is_empty(node))
		return decode_expected(d, node, buf_str(&wanted));
	if (node->len > DECODE_TEXT_MAX)
		return decode_fail(d, node, "expected at most %d bytes, got %zu", DECODE_TEXT_MAX,
				   node->len);
	return 0;
}

char *decode_text(struct decode *d, const struct field *f, struct ynode *node)
{
	if (check_scalar(d, f, node) < 0)
		return NULL;
	if (!strstr(node->text, "{{"))
		return xstrdup(node->text);
	if (f->flags & (FIELD_TEMPLATE | FIELD_CLONE_TEMPLATE | FIELD_JOB_TEMPLATE))
		return expand(d, f, node);
	if (f->flags & FIELD_GUEST_TEXT) {
		if (!node->warned)
			decode_warn(d, node->at,
				    "'{{' is no template here: the guest gets it as it is");
		node->warned = true;
		return xstrdup(node->text);
	}
	(void)decode_fail(d, node, "templates are not possible here");
	return NULL;
}

/* Two fields may mean one member (image, containers.C.image): one of them is then a problem. */
int decode_store(struct decode *d, const char *text, void *slot)
{
	char **place = slot;

	if (place) {
		free(*place);
		*place = decode_keep(d, text);
	}
	return 0;
}

int decode_plain_text(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);

	return text ? decode_store(d, text, slot) : -1;
}

int decode_bool(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	bool *value = slot;

	if (check_scalar(d, f, node) < 0)
		return -1;
	if (strcmp(node->text, "true") != 0 && strcmp(node->text, "false") != 0)
		return decode_expected(d, node, "true or false");
	if (value)
		*value = node->text[0] == 't';
	return 0;
}

/* Values of main fields that are executed later: refused where they stand. */
static void refuse_value(struct decode *d, const struct field *f, struct ynode *node,
			 const char *text)
{
	if (f->only && !fields_has_choice(f->only, text, NULL))
		decode_refuse(d, node, node->at);
}

int decode_int(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	struct err err = {0};
	uint64_t value;

	if (!text)
		return -1;
	if (parse_u64(text, f->min, f->max, &value, &err) < 0)
		return decode_fail(d, node, "%s", err.msg);
	refuse_value(d, f, node, text);
	if (slot)
		*(uint32_t *)slot = (uint32_t)value;
	return 0;
}

int decode_number(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	struct err err = {0};
	double value;

	if (!text)
		return -1;
	if (parse_decimal(text, (double)f->min / 1000, (double)f->max / 1000, &value, &err) < 0)
		return decode_fail(d, node, "%s", err.msg);
	if (slot)
		*(double *)slot = value;
	return 0;
}

static int store_bounded(struct decode *d, const struct field *f, struct ynode *node,
			 uint64_t value, void *slot)
{
	auto_buf struct buf limits = BUF_INIT(100);

	fields_limits(f, &limits);
	if (value < f->min || value > f->max)
		return decode_expected(d, node, buf_str(&limits));
	if (slot)
		*(uint64_t *)slot = value;
	return 0;
}

int decode_size(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	struct err err = {0};
	uint64_t bytes;
	bool bare = false;

	if (!text)
		return -1;
	if (parse_size(text, &bytes, &bare, &err) < 0)
		return decode_fail(d, node, "%s", err.msg);
	if (store_bounded(d, f, node, bytes, slot) < 0)
		return -1;
	if (bare && bytes && !node->warned)
		decode_warn(d, node->at, "'%s' has no unit and is taken as MiB; write %sMiB", text,
			    text);
	node->warned = true;
	return 0;
}

int decode_duration(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	struct err err = {0};
	uint64_t ms;

	if (!text)
		return -1;
	if (parse_duration_ms(text, &ms, &err) < 0)
		return decode_fail(d, node, "%s", err.msg);
	return store_bounded(d, f, node, ms, slot);
}

/* The choice nearest to text, NULL when none is close. The caller frees. */
static char *nearest_choice(const char *choices, const char *text)
{
	auto_strv struct strv list = {0};

	for (const char *p = choices; *p;) {
		size_t n = strcspn(p, "|");

		strv_add_take(&list, xstrndup(p, n));
		p += p[n] ? n + 1 : n;
	}
	const char *near =
		list.n > 1 ? strv_nearest(text, (const char *const *)list.v, list.n) : NULL;

	return near ? xstrdup(near) : NULL;
}

static int fail_choice(struct decode *d, const struct field *f, struct ynode *node,
		       const char *text)
{
	auto_buf struct buf list = BUF_INIT(200);
	auto_free char *near = nearest_choice(f->choices, text);

	fields_list_choices(f->choices, &list);
	return decode_fail(d, node, "expected %s, got '%.100s'%s%s%s", buf_str(&list), text,
			   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int decode_choice(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	size_t index = 0;

	if (!text)
		return -1;
	if (!fields_has_choice(f->choices, text, &index))
		return fail_choice(d, f, node, text);
	refuse_value(d, f, node, text);
	if (!slot)
		return 0;
	if (!(f->flags & FIELD_STORE_INDEX))
		return decode_store(d, text, slot);
	*(unsigned int *)slot = (unsigned int)index;
	return 0;
}

int decode_path(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);

	if (!text)
		return -1;
	if (!*text)
		return decode_fail(d, node, "expected a path, got an empty text");
	const char *rest = strncmp(text, "./", 2) == 0 ? text + 2 : text;
	auto_free char *path = xasprintf("%s%s%s", *text == '/' ? "" : d->fleet->dir,
					 *text == '/' ? "" : "/", rest);

	return decode_store(d, path, slot);
}

int decode_shaped(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	const char *wanted = NULL;

	if (!text)
		return -1;
	if (!shape_matches(f->type, text, &wanted))
		return decode_fail(d, node, "expected %s, got '%.100s'", wanted, text);
	return decode_store(d, text, slot);
}
