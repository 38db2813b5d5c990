#include "vm_volumes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "kinds.h"
#include "storage.h"
#include "vm_net.h"
#include "xalloc.h"

#define DIRECTORY "volumes" /* of a set: disks that all its VMs read */

/* What a node mounts, and as whom; borrows from the spec. */
struct mounts {
	const struct mount_spec *v;
	size_t n;
	const char *fleet;
	char *clone; /* owned */
	uint32_t index;
};

static void mounts_free(struct mounts *ms)
{
	free(ms->clone);
}
#define auto_mounts __attribute__((cleanup(mounts_free)))

static struct mounts mounts_of(const struct node *node)
{
	const struct baseline_spec *b = node->spec;
	const struct fleet_spec *f = node->spec;

	if (node->kind == RESOURCE_BASELINE) {
		char *name = fleet_baseline_clone_name(b);

		return (struct mounts){b->volumes, b->n_volumes, name, name, 0};
	}
	return (struct mounts){f->volumes, f->n_volumes, f->name, xstrdup(node->name), node->index};
}

static int source_of(const struct resource_ctx *ctx, const struct mounts *ms,
		     const struct volume_spec *v, char **ret, struct err *err)
{
	return fleet_volume_source(ctx->fleet, v, ms->fleet, ms->index, ms->clone, ret, err);
}

/* The volume is the one of a mount before this one. */
static bool is_again(const struct mounts *ms, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (ms->v[k].volume == ms->v[i].volume)
			return true;
	return false;
}

/* 19 characters are all a virtio disk can say; a longer name is told by its digest. */
void vm_volumes_serial(const char *name, char ret[20])
{
	char hex[DIGEST_HEX_SIZE];

	if (strlen(name) <= 19 - strlen(VM_VOLUME_PREFIX)) {
		(void)snprintf(ret, 20, VM_VOLUME_PREFIX "%s", name);
		return;
	}
	digest_of(name, strlen(name), hex);
	(void)snprintf(ret, 20, VM_VOLUME_PREFIX "%.15s", hex);
}

/* --- fields ----------------------------------------------------------------------------------- */

static const char *unless(const char *value, const char *dflt)
{
	return strcmp(value, dflt) == 0 ? NULL : value;
}

static void describe_mounts(const char *entry, enum change change, struct place at,
			    const struct mounts *ms, bool inherited, struct field_list *ret)
{
	auto_strv struct strv list = {0};

	for (size_t i = 0; i < ms->n; i++)
		if (inherited || !ms->v[i].inherited)
			strv_addf(&list, "%s:%s%s", ms->v[i].volume->name, ms->v[i].target,
				  ms->v[i].read_only ? ":ro" : "");
	strv_sort(&list);
	if (list.n)
		field_list_add_strv(ret, entry, "volumes", change, at, &list);
}

static void describe_disk(const struct volume_spec *v, struct field_list *ret)
{
	auto_free char *entry = xasprintf("volumes.%s", v->name);
	const enum change r = CHANGE_REPLACE;

	field_list_add_size(ret, entry, "size", r, v->size_at, v->size_bytes);
	field_list_add(ret, entry, "fs", r, v->fs_at, unless(v->fs, "ext4"));
	field_list_add(ret, entry, "per", r, v->per_at, unless(v->per, "clone"));
}

/* own: this VM is made anew for it; else it is only noted, since its clones are. */
static void describe_host(const struct resource_ctx *ctx, const struct mounts *ms,
			  const struct volume_spec *v, bool own, struct field_list *ret)
{
	auto_free char *entry = xasprintf("volumes.%s", v->name);
	auto_free char *source = NULL;

	(void)source_of(ctx, ms, v, &source, NULL);
	const struct {
		const char *leaf;
		struct place at;
		const char *value;
	} fields[] = {
		{"source", v->source_at, source},
		{"access", v->access_at, unless(v->access, "ro")},
		{"trust", v->trust_at, unless(v->trust, "squash")},
		{"cache", v->cache_at, unless(v->cache, "shared")},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (own)
			field_list_add_own(ret, entry, fields[i].leaf, fields[i].at,
					   fields[i].value);
		else
			field_list_add(ret, entry, fields[i].leaf, CHANGE_NONE, fields[i].at,
				       fields[i].value);
	}
}

static void describe_entry(const struct node *node, const struct mounts *ms, struct field_list *ret)
{
	const struct baseline_spec *b = node->spec;
	const struct fleet_spec *f = node->spec;
	bool baseline = node->kind == RESOURCE_BASELINE;
	auto_free char *entry =
		baseline ? xasprintf("baselines.%s", b->name) : xasprintf("fleets.%s", f->name);

	describe_mounts(entry, CHANGE_REPLACE, baseline ? b->volumes_at : f->volumes_at, ms,
			baseline, ret);
}

void vm_volumes_describe(const struct resource_ctx *ctx, const struct node *node,
			 struct field_list *ret)
{
	auto_mounts struct mounts ms = mounts_of(node);
	bool baseline = node->kind == RESOURCE_BASELINE;

	describe_entry(node, &ms, ret);
	for (size_t i = 0; i < ms.n; i++) {
		bool disk = fleet_mount_is_disk(&ms.v[i]);

		if (is_again(&ms, i))
			continue;
		/* A clone's disks are its snapshot's. */
		if (disk && baseline)
			describe_disk(ms.v[i].volume, ret);
		else if (!disk)
			describe_host(ctx, &ms, ms.v[i].volume, !baseline || node->n_users == 0,
				      ret);
	}
}

/* --- mounts ----------------------------------------------------------------------------------- */

static enum volume_cache cache_of(const struct volume_spec *v)
{
	if (strcmp(v->cache, "strict") == 0)
		return VOLUME_STRICT;
	return strcmp(v->cache, "private") == 0 ? VOLUME_PRIVATE : VOLUME_SHARED;
}

static int add_mount(const struct resource_ctx *ctx, const struct mounts *ms,
		     const struct mount_spec *m, struct volume_list *ret, struct err *err)
{
	const struct volume_spec *v = m->volume;
	bool disk = fleet_mount_is_disk(m);
	char serial[20];
	auto_free char *source = NULL;
	int r = disk ? 0 : source_of(ctx, ms, v, &source, err);

	if (r < 0)
		return r;
	vm_volumes_serial(v->name, serial);
	struct volume_mount mount = {
		.name = v->name,
		.type = disk ? VOLUME_DISK : VOLUME_HOST,
		.target = m->target,
		.read_only = fleet_mount_is_read_only(m),
		.source = disk ? serial : source,
		.cache = disk ? VOLUME_SHARED : cache_of(v),
		.trust = !disk && strcmp(v->trust, "full") == 0 ? VOLUME_FULL : VOLUME_SQUASH,
	};

	volume_list_add(ret, &mount);
	return 0;
}

static int by_target(const void *a, const void *b)
{
	const struct volume_mount *x = a, *y = b;

	return strcmp(x->target, y->target);
}

int vm_volumes_list(const struct resource_ctx *ctx, const struct node *node,
		    struct volume_list *ret, struct err *err)
{
	auto_volume_list struct volume_list l = {0};
	auto_mounts struct mounts ms = mounts_of(node);

	for (size_t i = 0; i < ms.n; i++) {
		int r = add_mount(ctx, &ms, &ms.v[i], &l, err);

		if (r < 0)
			return r;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_target);
	*ret = l;
	l = (struct volume_list){0};
	return 0;
}

/* --- drives ----------------------------------------------------------------------------------- */

static bool is_shared(const struct volume_spec *v)
{
	return strcmp(v->per, "set") == 0;
}

/* Another size is another file: who reads the old one goes on. */
static char *shared_path(const struct resource_ctx *ctx, const struct volume_spec *v)
{
	return xasprintf("%s/" DIRECTORY "/%s-%lluK.img", ctx->set_dir, v->name,
			 (unsigned long long)v->size_bytes >> 10);
}

void vm_volumes_add_disks(const struct resource_ctx *ctx, const struct baseline_spec *b,
			  struct vm_config *config)
{
	for (size_t i = 0; i < b->n_volumes && config->n_disks < VM_DISKS_MAX; i++) {
		const struct volume_spec *v = b->volumes[i].volume;
		struct vm_disk *disk = &config->disks[config->n_disks];

		if (!fleet_mount_is_disk(&b->volumes[i]))
			continue;
		vm_volumes_serial(v->name, disk->serial);
		disk->read_only = is_shared(v);
		disk->path = is_shared(v) ? shared_path(ctx, v) : xasprintf("%s.img", disk->serial);
		disk->bytes = v->size_bytes;
		config->n_disks++;
	}
}

/* --- making ----------------------------------------------------------------------------------- */

/* Beside and renamed: nobody reads half a file system. */
static int make_shared(const struct resource_ctx *ctx, const struct volume_spec *v, struct err *err)
{
	auto_free char *path = shared_path(ctx, v);
	auto_free char *staging = xasprintf("%s.%s-%d", path, ctx->run, (int)getpid());
	auto_free char *dir = path_join(ctx->set_dir, DIRECTORY);
	int r = file_exists(path) ? 0 : resource_note(ctx, err, "make disk %s", path);

	if (r < 0 || file_exists(path))
		return r;
	r = file_mkdir_p(dir, 0711, err);
	if (r >= 0)
		r = storage_make_data_disk(staging, v->size_bytes, err);
	if (r < 0)
		return r;
	/* Every VMM of the set opens it, and none may write. */
	if (chmod(staging, 0444) < 0 || rename(staging, path) < 0)
		return err_sys(err, "cannot publish '%s'", path);
	return 0;
}

static int make_directory(const struct resource_ctx *ctx, const struct mounts *ms,
			  const struct volume_spec *v, struct err *err)
{
	auto_free char *path = NULL;
	int r = source_of(ctx, ms, v, &path, err);

	if (r < 0 || file_exists(path))
		return r;
	r = resource_note(ctx, err, "make directory %s", path);
	return r < 0 ? r : file_mkdir_p(path, 0755, err);
}

static int make_one(const struct resource_ctx *ctx, const struct mounts *ms,
		    const struct mount_spec *m, struct err *err)
{
	const struct volume_spec *v = m->volume;

	if (fleet_mount_is_disk(m))
		return is_shared(v) ? make_shared(ctx, v, err) : 0;
	return v->create ? make_directory(ctx, ms, v, err) : 0;
}

int vm_volumes_make(const struct resource_ctx *ctx, const struct node *node, struct err *err)
{
	auto_mounts struct mounts ms = mounts_of(node);

	for (size_t i = 0; i < ms.n; i++) {
		int r = make_one(ctx, &ms, &ms.v[i], err);

		if (r < 0)
			return err_wrap(err, "volume '%s'", ms.v[i].volume->name);
	}
	return 0;
}

/* --- admission -------------------------------------------------------------------------------- */

static int refuse(const struct resource_ctx *ctx, const struct volume_spec *v, const char *path,
		  int code, struct err *err)
{
	auto_free char *field = xasprintf("volumes.%s.source", v->name);

	if (code == ENOENT) {
		(void)err_set(err, ERR_HOST, -code, "no directory '%s'", path);
		(void)err_hint(err, "make it, or say create: true");
	} else {
		(void)err_set(err, ERR_HOST, -code, "cannot use '%s': %s", path, strerror(code));
	}
	return fleet_refuse(ctx->fleet, v->source_at, field, err);
}

static int admit(const struct resource_ctx *ctx, const struct mounts *ms,
		 const struct volume_spec *v, struct err *err)
{
	auto_free char *path = NULL;
	struct stat st;
	int r = source_of(ctx, ms, v, &path, err);

	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return errno == ENOENT && v->create ? 0 : refuse(ctx, v, path, errno, err);
	return S_ISDIR(st.st_mode) ? 0 : refuse(ctx, v, path, ENOTDIR, err);
}

static int admit_node(const struct resource_ctx *ctx, const struct node *node, struct err *err)
{
	auto_mounts struct mounts ms = mounts_of(node);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < ms.n; i++)
		if (!fleet_mount_is_disk(&ms.v[i]) && !is_again(&ms, i))
			r = admit(ctx, &ms, ms.v[i].volume, err);
	return r;
}

int resource_admit_volumes(const struct resource_ctx *ctx, const struct node *nodes, size_t n,
			   const bool *making, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++) {
		const struct node *node = &nodes[i];
		bool is_vm = node->kind == RESOURCE_CLONE || node->kind == RESOURCE_BASELINE;

		if (making[i] && is_vm && node->spec)
			r = admit_node(ctx, node, err);
	}
	return r;
}
