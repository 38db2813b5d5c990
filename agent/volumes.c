#include "volumes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "disks.h"
#include "file.h"
#include "volume_host.h"
#include "xalloc.h"

struct volumes {
	struct proto_volumes have;
};

int volumes_new(struct agent *agent, struct err *err)
{
	(void)err;
	agent->volumes = xcalloc(1, sizeof(*agent->volumes));
	return 0;
}

void volumes_free(struct agent *agent)
{
	if (!agent->volumes)
		return;
	proto_volumes_free(&agent->volumes->have);
	free(TAKE_PTR(agent->volumes));
}

static int mount_disk(struct agent *agent, const struct proto_volume *v, struct err *err)
{
	(void)agent;
	return disks_mount_volume(v, err);
}

/* A clone's disks are its snapshot's, and so is how they are mounted. */
static int keep_disk(struct agent *agent, const struct proto_volume *v, struct err *err)
{
	(void)agent;
	(void)v;
	(void)err;
	return 0;
}

/* One row a kind; new kinds join here. */
static const struct {
	const char *kind;
	int (*mount)(struct agent *agent, const struct proto_volume *v, struct err *err);
	int (*change)(struct agent *agent, const struct proto_volume *v, struct err *err);
} kinds[] = {
	{"disk", mount_disk, keep_disk},
	{"host", volume_host_mount, volume_host_change},
};

static bool has(const struct volumes *vs, const struct proto_volume *v)
{
	for (size_t i = 0; i < vs->have.n; i++)
		if (strcmp(vs->have.v[i].target, v->target) == 0)
			return true;
	return false;
}

static int mount_one(struct agent *agent, const struct proto_volume *v, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i].kind, v->kind) != 0)
			continue;
		if (!agent->machine)
			return 0;
		/* Nothing may be made at a target that is mounted: its bytes come through us. */
		bool there = has(agent->volumes, v);
		int r = there ? 0 : file_mkdir_p(v->target, 0755, err);

		if (r >= 0)
			r = (there ? kinds[i].change : kinds[i].mount)(agent, v, err);
		return r < 0 ? err_wrap(err, "volume '%s'", v->name) : 0;
	}
	return err_set(err, ERR_GUEST, -EOPNOTSUPP, "volume '%s': the agent knows no kind '%s'",
		       v->name, v->kind);
}

int volumes_apply(struct agent *agent, struct proto_volumes *want, struct err *err)
{
	for (size_t i = 0; i < want->n; i++) {
		int r = mount_one(agent, &want->v[i], err);

		if (r < 0)
			return r;
	}
	proto_volumes_free(&agent->volumes->have);
	agent->volumes->have = *want;
	*want = (struct proto_volumes){0};
	return 0;
}

void volumes_add_args(const struct agent *agent, struct strv *args)
{
	const struct proto_volumes *l = &agent->volumes->have;

	for (size_t i = 0; i < l->n; i++)
		strv_addf(args, "--volume=%s:%s:%s", l->v[i].target, l->v[i].target,
			  l->v[i].read_only ? "ro" : "rw");
}
