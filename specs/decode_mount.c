/* decode_mount.c - volumes at paths of the guest: VOLUME:/TARGET[:ro] in a list, or a map. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "target.h"
#include "xalloc.h"

#define MOUNTS_MAX 32 /* of one VM */

/* Cuts ":ro" off the target. */
static int take_target(struct decode *d, struct ynode *node, char *target, struct mount_spec *ret)
{
	char *option = strchr(target, ':');
	struct err err = {0};

	if (option)
		*option++ = '\0';
	if (option && strcmp(option, "ro") != 0)
		return decode_fail(d, node, "expected 'ro' after the target, got '%.100s'", option);
	if (target_check(target, &err) < 0)
		return decode_fail(d, node, "%s", err.msg);
	ret->read_only = option != NULL;
	ret->target = decode_keep(d, target);
	return 0;
}

static int take_volume(struct decode *d, struct ynode *node, const char *volume,
		       struct mount_spec *ret)
{
	if (!decode_exists(d, "volumes", volume))
		return decode_unknown_ref(d, node, "volumes", volume);
	ret->at = node->at;
	ret->volume_ref = decode_keep(d, volume);
	return 0;
}

static int decode_item(struct decode *d, const struct field *f, struct ynode *node,
		       struct mount_spec *ret)
{
	auto_free char *text = node->kind == YNODE_BAD ? NULL : decode_text(d, f, node);

	if (!text)
		return -1;
	char *target = strchr(text, ':');

	if (!target)
		return decode_fail(d, node, "expected VOLUME:/TARGET[:ro], got '%.100s'", text);
	*target++ = '\0';
	return take_target(d, node, target, ret) < 0 ? -1 : take_volume(d, node, text, ret);
}

static int decode_pair(struct decode *d, const struct field *f, struct ypair *pair,
		       struct mount_spec *ret)
{
	struct ynode *node = pair->value;
	auto_free char *target = node->kind == YNODE_BAD ? NULL : decode_text(d, f, node);

	if (!target || take_target(d, node, target, ret) < 0)
		return -1;
	return take_volume(d, node, pair->key, ret);
}

/* Those that are wrong stay in the array, empty: nothing reads it once there was a problem. */
static void decode_all(struct decode *d, const struct field *f, struct ynode *node,
		       struct mount_spec *mounts)
{
	for (size_t i = 0; i < node->n; i++) {
		bool map = node->kind == YNODE_MAP;
		size_t before = map ? path_push(&d->path, node->pairs[i].key)
				    : path_push_index(&d->path, i);

		if (map)
			(void)decode_pair(d, f, &node->pairs[i], &mounts[i]);
		else
			(void)decode_item(d, f, node->items[i], &mounts[i]);
		path_pop(&d->path, before);
	}
}

int decode_mounts(struct decode *d, const struct field *f, struct ynode *node, void *dst)
{
	if (ynode_is_empty(node))
		return 0;
	if (node->kind != YNODE_LIST && node->kind != YNODE_MAP)
		return decode_expected(d, node, "a list");
	if (node->n > MOUNTS_MAX)
		return decode_fail(d, node, "expected at most %d volumes, got %zu", MOUNTS_MAX,
				   node->n);
	struct mount_spec *mounts = xcalloc(node->n + 1, sizeof(*mounts));

	decode_all(d, f, node, mounts);
	if (!dst || !f->offset) {
		fleet_free_mounts(mounts, node->n);
		return 0;
	}
	memcpy((char *)dst + f->offset - 1, &mounts, sizeof(struct mount_spec *));
	memcpy((char *)dst + f->count - 1, &node->n, sizeof(size_t));
	return 0;
}
