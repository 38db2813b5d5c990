#include "podman_args.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "json_scan.h"
#include "volumes.h"

/* Identity files are bound as files and rewritten in place, so a clone's container sees its own. */
static const char *const fixed[] = {
	"podman",
	"run",
	"--detach",
	"--replace",
	"--pull=never",
	"--network=host",
	"--uts=host",
	"--log-driver=passthrough",
	"--cgroup-parent=/fcvm",
	"--no-healthcheck",
	"--volume=/run/fcvm:/run/fcvm:ro",
	"--volume=/etc/hostname:/etc/hostname:ro",
	"--volume=/etc/hosts:/etc/hosts:ro",
	"--volume=/etc/machine-id:/etc/machine-id:ro",
	"--volume=/run/fcvm/boot_id:/proc/sys/kernel/random/boot_id:ro",
};

static void add_entrypoint(const struct strv *words, struct strv *args)
{
	auto_buf struct buf json = BUF_INIT(1u << 20);

	if (words->n == 0)
		return;
	for (size_t i = 0; i < words->n; i++) {
		buf_add_char(&json, i ? ',' : '[');
		json_put_str(&json, words->v[i]);
	}
	buf_add_char(&json, ']');
	strv_addf(args, "--entrypoint=%s", buf_str(&json));
}

int podman_args(const struct agent *agent, const struct proto_container *spec, struct strv *args,
		struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(args, fixed[i]);
	strv_addf(args, "--cidfile=%s/" PODMAN_ID_FILE, agent->private_dir);
	strv_addf(args, "--pidfile=%s/" PODMAN_PID_FILE, agent->private_dir);
	strv_addf(args, "--conmon-pidfile=%s/" PODMAN_CONMON_FILE, agent->private_dir);
	strv_addf(args, "--name=%s", spec->name);
	volumes_add_args(agent, args);
	add_entrypoint(&spec->entrypoint, args);
	for (size_t i = 0; i < spec->env.n; i++) {
		/* Without a value podman would take ours. */
		if (!strchr(spec->env.v[i], '='))
			return err_set(err, ERR_GUEST, -EINVAL,
				       "environment of container '%s': '%s' is not NAME=VALUE",
				       spec->name, spec->env.v[i]);
		strv_addf(args, "--env=%s", spec->env.v[i]);
	}
	if (spec->user && *spec->user)
		strv_addf(args, "--user=%s", spec->user);
	if (spec->cwd && *spec->cwd)
		strv_addf(args, "--workdir=%s", spec->cwd);
	strv_add(args, spec->image);
	strv_add_all(args, &spec->command);
	return 0;
}
