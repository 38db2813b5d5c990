/* fleet_free.c - gives everything back that a struct fleet owns. */
#include <stdlib.h>

#include "decode.h"
#include "diag.h"
#include "fleet.h"

static void free_health(struct probe_spec *p)
{
	free(p->http);
	free(p->tcp);
	strv_free(&p->exec);
}

void fleet_free_hooks(struct hook_spec *hooks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(hooks[i].container);
		strv_free(&hooks[i].argv);
	}
	free(hooks);
}

void fleet_free_ports(struct port_spec *ports, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(ports[i].text);
		template_free(ports[i].compiled);
	}
	free(ports);
}

static void free_networks(struct fleet *f)
{
	for (size_t i = 0; i < f->n_networks; i++) {
		free(f->networks[i].name);
		free(f->networks[i].mode);
		free(f->networks[i].egress_default);
		strv_free(&f->networks[i].egress_allow);
		strv_free(&f->networks[i].dns);
	}
	free(f->networks);
}

void fleet_free_mounts(struct mount_spec *mounts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(mounts[i].volume_ref);
		free(mounts[i].target);
	}
	free(mounts);
}

static void free_volumes(struct fleet *f)
{
	for (size_t i = 0; i < f->n_volumes; i++) {
		struct volume_spec *v = &f->volumes[i];

		free(v->name);
		free(v->type);
		free(v->source);
		template_free(v->source_compiled);
		free(v->access);
		free(v->trust);
		free(v->cache);
		free(v->fs);
		free(v->per);
	}
	free(f->volumes);
}

static void free_assets(struct fleet *f)
{
	for (size_t i = 0; i < f->n_kernels; i++) {
		free(f->kernels[i].name);
		free(f->kernels[i].package);
		free(f->kernels[i].path);
		free(f->kernels[i].sha256);
		strv_free(&f->kernels[i].args);
	}
	for (size_t i = 0; i < f->n_rootfs; i++) {
		free(f->rootfs[i].name);
		free(f->rootfs[i].suite);
		free(f->rootfs[i].path);
		free(f->rootfs[i].sha256);
		strv_free(&f->rootfs[i].packages);
	}
	for (size_t i = 0; i < f->n_images; i++) {
		free(f->images[i].name);
		free(f->images[i].source);
		free(f->images[i].inlined);
	}
	free(f->kernels);
	free(f->rootfs);
	free(f->images);
}

static void free_container(struct container_spec *c)
{
	free(c->name);
	free(c->image_ref);
	strv_free(&c->command);
	strv_free(&c->entrypoint);
	strv_free(&c->environment);
	free(c->user);
	free(c->workdir);
	free_health(&c->health);
}

static void free_baselines(struct fleet *f)
{
	for (size_t i = 0; i < f->n_baselines; i++) {
		struct baseline_spec *b = &f->baselines[i];

		free(b->name);
		free(b->kernel_ref);
		free(b->rootfs_ref);
		free(b->engine);
		free(b->sandbox);
		free(b->network_ref);
		fleet_free_ports(b->ports, b->n_ports);
		fleet_free_mounts(b->volumes, b->n_volumes);
		free_container(&b->container);
	}
	free(f->baselines);
}

static void free_snapshots(struct fleet *f)
{
	for (size_t i = 0; i < f->n_snapshots; i++) {
		struct snapshot_spec *s = &f->snapshots[i];

		free(s->name);
		free(s->from_ref);
		free(s->backend);
		fleet_free_hooks(s->prepare, s->n_prepare);
	}
	free(f->snapshots);
}

static void free_fleets(struct fleet *f)
{
	for (size_t i = 0; i < f->n_fleets; i++) {
		struct fleet_spec *one = &f->fleets[i];

		free(one->name);
		free(one->from_ref);
		free(one->network_ref);
		fleet_free_ports(one->ports, one->n_ports);
		fleet_free_mounts(one->volumes, one->n_volumes);
		free(one->name_template);
		template_free(one->name_compiled);
		free(one->restart);
		fleet_free_hooks(one->on_clone, one->n_on_clone);
		free_health(&one->health);
		for (size_t k = 0; k < one->metadata_keys.n; k++)
			template_free(one->metadata_compiled[k]);
		free(one->metadata_compiled);
		strv_free(&one->metadata_keys);
		strv_free(&one->metadata_values);
	}
	free(f->fleets);
}

void fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return;
	free_assets(fleet);
	free_networks(fleet);
	free_volumes(fleet);
	free_baselines(fleet);
	free_snapshots(fleet);
	free_fleets(fleet);
	for (size_t i = 0; i < fleet->n_refusals; i++)
		free(fleet->refusals[i].path);
	free(fleet->refusals);
	free(fleet->path);
	free(fleet->dir);
	free(fleet->name);
	free(fleet->engine);
	strv_free(&fleet->labels);
	diag_free(fleet->diag);
	free(fleet);
}

void fleet_free_p(struct fleet **fleet)
{
	fleet_free(*fleet);
	*fleet = NULL;
}
