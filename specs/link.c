/* link.c - references become pointers; what is built in or implied joins what is written. */
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "xalloc.h"

/* Entries of every kind begin with their name. */
static void *find(void *array, size_t n, size_t size, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		char *entry = (char *)array + i * size;
		char *entry_name;

		memcpy(&entry_name, entry, sizeof(entry_name));
		if (strcmp(entry_name, name) == 0)
			return entry;
	}
	return NULL;
}

#define FIND(fleet, member, name) \
	find((fleet)->member, (fleet)->n_##member, sizeof(*(fleet)->member), name)

static void drop(char **text)
{
	free(*text);
	*text = NULL;
}

/* A kernel or root of its own has no package or suite. */
static void settle_assets(struct decode *d)
{
	struct fleet *fleet = d->fleet;

	for (size_t i = 0; i < fleet->n_kernels; i++) {
		if (fleet->kernels[i].path)
			drop(&fleet->kernels[i].package);
	}
	for (size_t i = 0; i < fleet->n_rootfs; i++) {
		if (fleet->rootfs[i].path)
			drop(&fleet->rootfs[i].suite);
	}
}

static void add_kernel(struct fleet *fleet, const char *name)
{
	if (FIND(fleet, kernels, name))
		return;
	fleet->kernels =
		xreallocarray(fleet->kernels, fleet->n_kernels + 1, sizeof(*fleet->kernels));
	fleet->kernels[fleet->n_kernels++] = (struct kernel_spec){
		.name = xstrdup(name), .package = xstrdup("linux-image-cloud-amd64")};
}

static void add_rootfs(struct fleet *fleet, const char *name)
{
	if (FIND(fleet, rootfs, name))
		return;
	fleet->rootfs = xreallocarray(fleet->rootfs, fleet->n_rootfs + 1, sizeof(*fleet->rootfs));
	fleet->rootfs[fleet->n_rootfs++] = (struct rootfs_spec){
		.name = xstrdup(name), .suite = xstrdup("bookworm"), .size_bytes = 4ull << 30};
}

static void add_network(struct fleet *fleet, const char *name)
{
	if (!name || FIND(fleet, networks, name))
		return;
	fleet->networks =
		xreallocarray(fleet->networks, fleet->n_networks + 1, sizeof(*fleet->networks));
	fleet->networks[fleet->n_networks++] = (struct network_spec){
		.name = xstrdup(name), .mode = xstrdup(name), .egress_default = xstrdup("allow")};
}

static void add_image(struct fleet *fleet, const struct baseline_spec *b)
{
	const struct container_spec *container = &b->container;

	if (FIND(fleet, images, container->image_ref))
		return;
	fleet->images = xreallocarray(fleet->images, fleet->n_images + 1, sizeof(*fleet->images));
	fleet->images[fleet->n_images++] = (struct image_spec){
		.name = xstrdup(container->image_ref),
		.at = container->image_at,
		.source = xstrdup(container->image_ref),
		.inlined = xasprintf("baselines.%s.image", b->name),
	};
}

/* A snapshot wins over a baseline of the same name. */
static void add_snapshot(struct fleet *fleet, struct fleet_spec *f)
{
	if (FIND(fleet, snapshots, f->from_ref))
		return;
	auto_free char *baseline = xstrndup(f->from_ref, strcspn(f->from_ref, "@"));
	char *name = xasprintf("%s@healthy", baseline);

	free(f->from_ref);
	f->from_ref = name;
	if (FIND(fleet, snapshots, name))
		return;
	fleet->snapshots =
		xreallocarray(fleet->snapshots, fleet->n_snapshots + 1, sizeof(*fleet->snapshots));
	fleet->snapshots[fleet->n_snapshots++] = (struct snapshot_spec){
		.name = xstrdup(name),
		.from_ref = xstrdup(baseline),
		.from_at = f->from_at,
		.when = WHEN_HEALTHY,
		.backend = xstrdup("auto"),
		.implicit = true,
	};
}

/* Short form: the baseline's own image is the container "main". */
static void settle_container(struct decode *d, struct container_spec *container)
{
	if (container->name)
		return;
	container->name = decode_keep(d, "main");
	container->at = container->image_at;
}

static void link_mounts(struct fleet *fleet, struct mount_spec *mounts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mounts[i].volume = FIND(fleet, volumes, mounts[i].volume_ref);
}

static const struct mount_spec *mount_at(const struct mount_spec *mounts, size_t n,
					 const char *target)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(mounts[i].target, target) == 0)
			return &mounts[i];
	return NULL;
}

/* A clone has what its baseline has, in front, unless it has something else there. */
static void inherit_mounts(struct decode *d, struct fleet_spec *f)
{
	const struct baseline_spec *b = f->from->from;
	struct mount_spec *all = xcalloc(f->n_volumes + b->n_volumes + 1, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < b->n_volumes; i++) {
		const struct mount_spec *m = &b->volumes[i];

		if (mount_at(f->volumes, f->n_volumes, m->target))
			continue;
		all[n] = *m;
		all[n].inherited = true;
		all[n].volume_ref = decode_keep(d, m->volume_ref);
		all[n++].target = decode_keep(d, m->target);
	}
	for (size_t i = 0; i < f->n_volumes; i++)
		all[n++] = f->volumes[i];
	free(f->volumes);
	f->volumes = all;
	f->n_volumes = n;
}

void link_spec(struct decode *d)
{
	struct fleet *fleet = d->fleet;

	settle_assets(d);
	for (size_t i = 0; i < fleet->n_baselines; i++) {
		struct baseline_spec *b = &fleet->baselines[i];

		settle_container(d, &b->container);
		add_kernel(fleet, b->kernel_ref);
		add_rootfs(fleet, b->rootfs_ref);
		add_network(fleet, b->network_ref);
		add_image(fleet, b);
	}
	for (size_t i = 0; i < fleet->n_fleets; i++) {
		add_network(fleet, fleet->fleets[i].network_ref);
		add_snapshot(fleet, &fleet->fleets[i]);
	}
	/* The arrays do not move any more. */
	for (size_t i = 0; i < fleet->n_baselines; i++) {
		struct baseline_spec *b = &fleet->baselines[i];

		b->kernel = FIND(fleet, kernels, b->kernel_ref);
		b->rootfs = FIND(fleet, rootfs, b->rootfs_ref);
		b->network = FIND(fleet, networks, b->network_ref);
		b->container.image = FIND(fleet, images, b->container.image_ref);
		link_mounts(fleet, b->volumes, b->n_volumes);
	}
	for (size_t i = 0; i < fleet->n_snapshots; i++)
		fleet->snapshots[i].from = FIND(fleet, baselines, fleet->snapshots[i].from_ref);
	for (size_t i = 0; i < fleet->n_fleets; i++) {
		struct fleet_spec *f = &fleet->fleets[i];

		f->from = FIND(fleet, snapshots, f->from_ref);
		f->network = f->network_ref ? FIND(fleet, networks, f->network_ref)
					    : f->from->from->network;
		link_mounts(fleet, f->volumes, f->n_volumes);
		inherit_mounts(d, f);
	}
}
