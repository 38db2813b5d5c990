/* check_volumes.c - volumes: their kind decides their fields; writers must not collide. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "target.h"
#include "xalloc.h"

#define DISKS_MAX 8        /* of one VM */
#define WRITERS_MAX 100000 /* in one set */

static const char host_keys[] = "source|access|create|share|trust|cache";
static const char disk_keys[] = "size|fs|per";

static const char *text_of(const struct ynode *map, const char *key, const char *dflt)
{
	const struct ynode *node = ynode_get(map, key);

	return ynode_is_null(node) || node->kind != YNODE_SCALAR ? dflt : node->text;
}

/* Runs before linking, from check_spec(): fields of the other kind, and the one that is needed. */
void check_volume(struct decode *d, const struct ypair *pair)
{
	const char *type = text_of(pair->value, "type", "");
	bool host = strcmp(type, "host") == 0;
	const char *needed = host ? "source" : "size";

	if (!host && strcmp(type, "disk") != 0)
		return;
	for (size_t i = 0; i < pair->value->n; i++) {
		const struct ypair *one = &pair->value->pairs[i];
		size_t before = path_push(&d->path, one->key);

		if (fields_has_choice(host ? disk_keys : host_keys, one->key, NULL))
			(void)decode_fail_at(d, one->key_at,
					     "a volume of type %s has no such field", type);
		path_pop(&d->path, before);
	}
	size_t before = path_push(&d->path, needed);

	if (ynode_is_null(ynode_get(pair->value, needed)))
		(void)decode_fail_at(d, pair->key_at, "required, but not given");
	path_pop(&d->path, before);
}

/* --- after linking -------------------------------------------------------------------------- */

static const struct mount_spec *mount_at(const struct mount_spec *mounts, size_t n,
					 const char *target)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(mounts[i].target, target) == 0)
			return &mounts[i];
	return NULL;
}

/* m is the one behind those n. */
static void check_apart(struct decode *d, const struct mount_spec *mounts, size_t n,
			const struct mount_spec *m)
{
	if (mount_at(mounts, n, m->target)) {
		(void)decode_fail_at(d, m->at, "two volumes at '%.100s'", m->target);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (target_overlaps(mounts[i].target, m->target))
			(void)decode_fail_at(
				d, m->at, "one volume cannot lie in another: '%.100s' and '%.100s'",
				mounts[i].target, m->target);
}

static void check_targets(struct decode *d, const struct mount_spec *mounts, size_t n)
{
	size_t disks = 0;

	for (size_t i = 0; i < n; i++) {
		const struct mount_spec *m = &mounts[i];

		check_apart(d, mounts, i, m);
		if (!fleet_mount_is_disk(m))
			continue;
		/* Two mounts of one drive cannot differ in :ro. */
		for (size_t k = 0; k < i; k++)
			if (mounts[k].volume == m->volume)
				(void)decode_fail_at(d, m->at, "disk '%s' is at '%.100s' already",
						     m->volume->name, mounts[k].target);
		if (++disks == DISKS_MAX + 1)
			(void)decode_fail_at(d, m->at, "expected at most %d disks", DISKS_MAX);
	}
}

static void check_baseline_disk(struct decode *d, const struct mount_spec *m)
{
	const struct volume_spec *v = m->volume;

	if (!fleet_mount_is_disk(m) || m->read_only || strcmp(v->per, "set") != 0)
		return;
	struct spec_path outer = d->path;

	path_pop(&d->path, 0);
	(void)path_push(&d->path, "volumes");
	(void)path_push(&d->path, v->name);
	(void)path_push(&d->path, "per");
	(void)decode_fail_at(d, v->per_at,
			     "a disk for the whole set is read only: mount it with :ro, or say "
			     "per: clone");
	d->path = outer;
}

/* Drives are in the snapshot: clones have those of their baseline, where it has them. */
static void check_fleet_mount(struct decode *d, const struct fleet_spec *f,
			      const struct mount_spec *m)
{
	const struct baseline_spec *b = f->from->from;
	const struct mount_spec *base = mount_at(b->volumes, b->n_volumes, m->target);
	bool same = base && base->volume == m->volume && base->read_only == m->read_only;

	if (m->inherited || same)
		return;
	if (fleet_mount_is_disk(m))
		(void)decode_fail_at(d, m->at,
				     "a disk is part of the snapshot: give '%s' to baseline '%s'",
				     m->volume->name, b->name);
	else if (base && fleet_mount_is_disk(base))
		(void)decode_fail_at(d, m->at,
				     "disk '%s' of the snapshot is at '%.100s': choose another "
				     "target",
				     base->volume->name, m->target);
}

/* --- writers -------------------------------------------------------------------------------- */

struct writer {
	const struct fleet_spec *fleet;
	uint32_t index;
};

struct writers {
	struct map paths; /* directory -> struct writer, the first that was found */
	size_t n;
	bool *told; /* by volume */
};

static void refuse_writer(struct decode *d, const struct volume_spec *v)
{
	struct spec_path outer = d->path;

	path_pop(&d->path, 0);
	(void)path_push(&d->path, "volumes");
	(void)path_push(&d->path, v->name);
	(void)path_push(&d->path, "access");
	(void)decode_fail_at(d, v->access_at,
			     "several clones would write to it: put {{clone}} into source, or say "
			     "share: true");
	d->path = outer;
}

/* False ends the volume's check: one problem says enough. */
static bool add_writer(struct decode *d, const struct mount_spec *m, struct writer me,
		       struct writers *all)
{
	auto_free char *name = NULL, *path = NULL;
	struct err err = {0};

	if (fleet_clone_name(me.fleet, me.index, &name, NULL) < 0)
		return false;
	if (fleet_volume_source(d->fleet, m->volume, me.fleet->name, me.index, name, &path, &err) <
	    0) {
		(void)decode_fail_at(d, m->volume->source_at, "%s", err.msg);
		return false;
	}
	const struct writer *other = map_get(&all->paths, path);

	if (!other) {
		struct writer *copy = xmalloc(sizeof(*copy));

		*copy = me;
		(void)map_add(&all->paths, path, copy);
		all->n++;
		return true;
	}
	if (other->fleet == me.fleet && other->index == me.index)
		return true;
	refuse_writer(d, m->volume);
	return false;
}

/* Whether or not it is mounted :ro in containers, what counts is who may write on the host. */
static void check_mount_writers(struct decode *d, const struct fleet_spec *f,
				const struct mount_spec *m, struct writers *all)
{
	bool *told = &all->told[m->volume - d->fleet->volumes];
	bool constant = !strstr(m->volume->source, "{{");
	uint32_t n = constant && f->count > 2 ? 2 : f->count;

	for (uint32_t i = 0; i < n && !*told; i++) {
		if (all->n >= WRITERS_MAX)
			(void)decode_fail_at(d, m->at,
					     "expected at most %d clones that write to host "
					     "directories",
					     WRITERS_MAX);
		*told = all->n >= WRITERS_MAX || !add_writer(d, m, (struct writer){f, i}, all);
	}
}

static bool writes(const struct mount_spec *m)
{
	return !fleet_mount_is_disk(m) && !fleet_mount_is_read_only(m) && !m->volume->share;
}

static void check_fleet_mounts(struct decode *d, const struct fleet_spec *f, struct writers *all)
{
	for (size_t i = 0; i < f->n_volumes; i++) {
		check_fleet_mount(d, f, &f->volumes[i]);
		if (writes(&f->volumes[i]))
			check_mount_writers(d, f, &f->volumes[i], all);
	}
}

static size_t push_entry(struct decode *d, const char *section, const char *name)
{
	size_t before = path_push(&d->path, section);

	(void)path_push(&d->path, name);
	(void)path_push(&d->path, "volumes");
	return before;
}

void check_volumes(struct decode *d)
{
	const struct fleet *fleet = d->fleet;
	auto_free bool *told = xcalloc(fleet->n_volumes + 1, sizeof(*told));
	struct writers all = {.paths.free_value = free, .told = told};

	for (size_t i = 0; i < fleet->n_baselines; i++) {
		const struct baseline_spec *b = &fleet->baselines[i];
		size_t before = push_entry(d, "baselines", b->name);

		check_targets(d, b->volumes, b->n_volumes);
		for (size_t k = 0; k < b->n_volumes; k++)
			check_baseline_disk(d, &b->volumes[k]);
		path_pop(&d->path, before);
	}
	for (size_t i = 0; i < fleet->n_fleets; i++) {
		const struct fleet_spec *f = &fleet->fleets[i];
		size_t before = push_entry(d, "fleets", f->name);

		check_targets(d, f->volumes, f->n_volumes);
		check_fleet_mounts(d, f, &all);
		path_pop(&d->path, before);
	}
	map_free(&all.paths);
}
