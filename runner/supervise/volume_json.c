#include "volume_json.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "cleanup.h"
#include "parse.h"
#include "target.h"
#include "xalloc.h"

#define SERIAL_MAX 19u

static const char *const types[] = {[VOLUME_HOST] = "host", [VOLUME_DISK] = "disk"};
static const char *const caches[] = {
	[VOLUME_STRICT] = "strict", [VOLUME_SHARED] = "shared", [VOLUME_PRIVATE] = "private"};
static const char *const trusts[] = {[VOLUME_SQUASH] = "squash", [VOLUME_FULL] = "full"};

static struct json_object *mount_to_json(const struct volume_mount *m)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "name", m->name);
	json_add_str(o, "type", types[m->type]);
	json_add_str(o, "target", m->target);
	json_add_bool(o, "read_only", m->read_only);
	json_add_str(o, "source", m->source);
	json_add_str(o, "cache", caches[m->cache]);
	json_add_str(o, "trust", trusts[m->trust]);
	return o;
}

struct json_object *volumes_to_json(const struct volume_list *l)
{
	struct json_object *arr = NULL;

	if (!l)
		return NULL;
	arr = json_object_new_array();
	for (size_t i = 0; i < l->n; i++)
		json_object_array_add(arr, mount_to_json(&l->v[i]));
	return arr;
}

static int get_word(struct json_object *o, const char *key, const char *const *words, size_t n,
		    unsigned int *ret, struct err *err)
{
	const char *text = NULL;
	int r = json_get_str(o, key, &text, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], text) == 0) {
			*ret = (unsigned int)i;
			return 0;
		}
	}
	return err_set(err, ERR_FAILED, -EINVAL, "%s: '%.40s' is none of its values", key, text);
}

static int check_source(enum volume_type type, const char *source, struct err *err)
{
	size_t len = strlen(source);

	if (type == VOLUME_HOST && (source[0] != '/' || len >= PATH_MAX))
		return err_set(err, ERR_FAILED, -EINVAL,
			       "source: expected the absolute path of a directory");
	if (type == VOLUME_DISK && (len == 0 || len > SERIAL_MAX || strpbrk(source, "/,")))
		return err_set(err, ERR_FAILED, -EINVAL,
			       "source: expected the serial of a drive, got '%.40s'", source);
	return 0;
}

static int get_words(struct json_object *o, struct volume_mount *m, struct err *err)
{
	unsigned int type = 0, cache = 0, trust = 0;
	int r = get_word(o, "type", types, ARRAY_SIZE(types), &type, err);

	if (r >= 0)
		r = get_word(o, "cache", caches, ARRAY_SIZE(caches), &cache, err);
	if (r >= 0)
		r = get_word(o, "trust", trusts, ARRAY_SIZE(trusts), &trust, err);
	if (r < 0)
		return r;
	m->type = (enum volume_type)type;
	m->cache = (enum volume_cache)cache;
	m->trust = (enum volume_trust)trust;
	return 0;
}

static int check_apart(const struct volume_list *l, const char *target, struct err *err)
{
	if (volume_list_find(l, target))
		return err_set(err, ERR_FAILED, -EEXIST, "'%s' is the target of two volumes",
			       target);
	for (size_t i = 0; i < l->n; i++)
		if (target_overlaps(l->v[i].target, target))
			return err_set(err, ERR_FAILED, -EEXIST,
				       "targets '%s' and '%s': one volume cannot lie in another",
				       l->v[i].target, target);
	return 0;
}

static int get_mount(struct json_object *o, struct volume_list *l, struct err *err)
{
	const char *name = NULL, *target = NULL, *source = NULL;
	struct volume_mount m = {0};
	int r = get_words(o, &m, err);

	if (r >= 0)
		r = json_get_str(o, "name", &name, err);
	if (r >= 0)
		r = json_get_str(o, "target", &target, err);
	if (r >= 0)
		r = json_get_str(o, "source", &source, err);
	if (r >= 0)
		r = json_get_bool(o, "read_only", &m.read_only, err);
	if (r >= 0 && !parse_is_name(name))
		r = err_set(err, ERR_FAILED, -EINVAL, "name: '%.40s' is none", name);
	if (r >= 0)
		r = target_check(target, err);
	if (r >= 0)
		r = check_apart(l, target, err);
	if (r >= 0)
		r = check_source(m.type, source, err);
	if (r < 0)
		return r;
	auto_free char *own_name = xstrdup(name), *own_target = xstrdup(target);
	auto_free char *own_source = xstrdup(source);

	m.name = own_name;
	m.target = own_target;
	m.source = own_source;
	volume_list_add(l, &m);
	return 0;
}

int volumes_from_json(struct json_object *arr, struct volume_list *ret, struct err *err)
{
	auto_volume_list struct volume_list l = {0};
	size_t n = 0;

	if (arr && !json_object_is_type(arr, json_type_array))
		return err_set(err, ERR_FAILED, -EINVAL, "volumes are not a list");
	n = arr ? json_object_array_length(arr) : 0;
	if (n > VOLUMES_MAX)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "%zu volumes, limit %u", n, VOLUMES_MAX);
	for (size_t i = 0; i < n; i++) {
		int r = get_mount(json_object_array_get_idx(arr, i), &l, err);

		if (r < 0)
			return err_wrap(err, "volume %zu", i);
	}
	*ret = l;
	l = (struct volume_list){0};
	return 0;
}
