/* decode_ref.c - values that name something else: entries, networks, images, volumes. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "shape.h"
#include "xalloc.h"

static const struct {
	const char *section, *one, *built_in;
} sections[] = {
	{"kernels", "kernel", "default"}, {"rootfs", "rootfs", "debian"},
	{"images", "image", NULL},        {"secrets", "secret", NULL},
	{"volumes", "volume", NULL},      {"networks", "network", NULL},
	{"baselines", "baseline", NULL},  {"snapshots", "snapshot", NULL},
	{"fleets", "fleet", NULL},        {"jobs", "job", NULL},
};

void decode_names(const struct decode *d, const char *wanted, struct strv *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		const struct ynode *map = ynode_get(d->root, sections[i].section);
		const char *built_in = sections[i].built_in;

		if (!fields_has_choice(wanted, sections[i].section, NULL))
			continue;
		if (built_in && !ynode_pair(map, built_in))
			strv_add(ret, built_in);
		for (size_t k = 0; map && map->kind == YNODE_MAP && k < map->n; k++) {
			if (strncmp(map->pairs[k].key, "x-", 2) != 0 &&
			    !ynode_is_null(map->pairs[k].value))
				strv_add(ret, map->pairs[k].key);
		}
	}
}

bool decode_exists(const struct decode *d, const char *wanted, const char *name)
{
	if (strncmp(name, "x-", 2) == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		const struct ynode *map = ynode_get(d->root, sections[i].section);
		const char *built_in = sections[i].built_in;

		if (!fields_has_choice(wanted, sections[i].section, NULL))
			continue;
		if ((built_in && strcmp(built_in, name) == 0) ||
		    !ynode_is_null(ynode_get(map, name)))
			return true;
	}
	return false;
}

int decode_unknown_ref(struct decode *d, struct ynode *node, const char *wanted, const char *name)
{
	auto_strv struct strv names = {0};
	auto_buf struct buf what = BUF_INIT(100);
	auto_buf struct buf list = BUF_INIT(500);

	decode_names(d, wanted, &names);
	const char *near = strv_nearest(name, (const char *const *)names.v, names.n);

	for (size_t i = ARRAY_SIZE(sections); i-- > 0;) {
		if (fields_has_choice(wanted, sections[i].section, NULL))
			buf_addf(&what, "%s%s", what.len ? " or " : "", sections[i].one);
	}
	buf_add_str(&list, names.n ? "there are: " : "there are none");
	for (size_t i = 0; i < names.n; i++)
		buf_addf(&list, "%s%s", i ? ", " : "", names.v[i]);
	return decode_fail(d, node, "no %s '%.100s'; %s%s%s%s", buf_str(&what), name,
			   buf_str(&list), near ? "; did you mean '" : "", near ? near : "",
			   near ? "'?" : "");
}

/* "web@healthy" names the snapshot that exists without being written down. */
static bool is_implicit(const struct decode *d, const char *wanted, const char *name)
{
	const char *at = strchr(name, '@');

	if (!at || strcmp(at, "@healthy") != 0 || !fields_has_choice(wanted, "snapshots", NULL))
		return false;
	auto_free char *baseline = xstrndup(name, (size_t)(at - name));

	return decode_exists(d, "baselines", baseline);
}

int decode_ref(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);

	if (!text)
		return -1;
	if (!decode_exists(d, f->choices, text) && !is_implicit(d, f->choices, text))
		return decode_unknown_ref(d, node, f->choices, text);
	return decode_store(d, text, slot);
}

int decode_network(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);

	if (!text)
		return -1;
	if (!fields_has_choice(f->choices, text, NULL) && !decode_exists(d, "networks", text)) {
		auto_strv struct strv names = {0};
		auto_buf struct buf list = BUF_INIT(400);

		decode_names(d, "networks", &names);
		for (size_t i = 0; i < names.n; i++)
			buf_addf(&list, ", %s", names.v[i]);
		return decode_fail(
			d, node, "no network '%.100s'; there are: auto, bridged, rootless, none%s",
			text, buf_str(&list));
	}
	return decode_store(d, text, slot);
}

int decode_source(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	bool later = false;

	if (!text)
		return -1;
	if (!shape_is_source(text, &later))
		return decode_fail(d, node, "expected %s, got '%.100s'", shape_sources, text);
	if (later)
		decode_refuse(d, node, node->at);
	return decode_store(d, text, slot);
}

/* link.c turns it into a pointer; here only whether it can be one. */
int decode_image(struct decode *d, const struct field *f, struct ynode *node, void *slot)
{
	auto_free char *text = decode_text(d, f, node);
	bool later = false;

	if (!text)
		return -1;
	bool is_source = shape_is_source(text, &later);

	if (later)
		decode_refuse(d, node, node->at);
	(void)decode_store(d, text, slot);
	if (is_source || decode_exists(d, "images", text))
		return 0;
	if (strpbrk(text, ":/"))
		return decode_fail(d, node,
				   "'%.100s' is no entry of images and no source; expected %s",
				   text, shape_sources);
	return decode_unknown_ref(d, node, "images", text);
}
