#include "super.h"

#include "cleanup.h"
#include "proto.h"
#include "tlv.h"
#include "volume_json.h"
#include "xalloc.h"

#include <errno.h>

#define STOP_GRACE_MAX_MS 3600000u

static char *opt_dup(struct json_object *o, const char *key)
{
	const char *s = json_opt_str(o, key, NULL);

	return s ? xstrdup(s) : NULL;
}

static int may_launch(const struct super *s, struct err *err)
{
	if (!s->launched)
		return 0;
	return err_set(err, ERR_FAILED, -EALREADY, "this supervisor has had its VM; it is %s",
		       vmstate_run_name(s->st.run));
}

static int take_identity(struct json_object *args, struct bringup_spec *l, struct err *err)
{
	l->hostname = opt_dup(args, "hostname");
	l->metadata = opt_dup(args, "metadata");
	if (l->metadata && strlen(l->metadata) > SUPER_METADATA_MAX)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "metadata is longer than %u bytes",
			       SUPER_METADATA_MAX);
	return 0;
}

static int take_workload(struct json_object *args, struct bringup_spec *l, struct err *err)
{
	struct json_object *o = json_opt_obj(args, "workload");

	if (!o)
		return 0;
	l->has_workload = true;
	return workload_from_json(o, &l->workload, err);
}

static int take_net(struct json_object *args, struct bringup_spec *l, struct err *err)
{
	struct json_object *o = json_opt_obj(args, "net");

	return o ? net_config_from_json(o, &l->net, err) : 0;
}

static int take_volumes(struct json_object *args, struct bringup_spec *l, struct err *err)
{
	struct json_object *arr = NULL;

	l->has_volumes = json_object_object_get_ex(args, "volumes", &arr) && arr;
	return volumes_from_json(arr, &l->volumes, err);
}

static void launch(struct super *s, struct ctl_request *req, const struct bringup_spec *l)
{
	bringup_spec_free(&s->launch);
	s->launch = *l;
	s->launched = true;
	s->launch_req = req;
	vmstate_set_text(&s->st.snapshot, l->snapshot_dir);
	vmstate_set_text(&s->st.backend, l->backend);
	loop_remove(s->loop, &s->idle_timer);
	bringup_begin(s);
}

static int read_start(struct json_object *args, struct bringup_spec *l, struct err *err)
{
	struct json_object *config = NULL;
	int r = json_get_obj(args, "config", &config, err);

	if (r >= 0)
		r = vm_config_from_json(config, &l->config, err);
	if (r >= 0)
		r = take_workload(args, l, err);
	if (r >= 0)
		r = take_identity(args, l, err);
	if (r >= 0)
		r = take_net(args, l, err);
	if (r >= 0)
		r = take_volumes(args, l, err);
	if (r >= 0)
		l->config.data_bytes = json_opt_u64(args, "data_bytes", 0);
	return r;
}

static int verb_start(struct super *s, struct ctl_request *req, struct json_object *args,
		      struct err *err)
{
	struct bringup_spec l = {0};
	int r = may_launch(s, err);

	if (r >= 0)
		r = read_start(args, &l, err);
	if (r < 0) {
		bringup_spec_free(&l);
		return err_wrap(err, "start");
	}
	launch(s, req, &l);
	return 0;
}

static int take_backend(struct json_object *args, struct bringup_spec *l, struct err *err)
{
	const char *dir = NULL, *backend = NULL;
	int r = json_get_str(args, "snapshot_dir", &dir, err);

	if (r >= 0)
		r = json_get_str(args, "backend", &backend, err);
	if (r < 0)
		return r;
	l->snapshot_dir = xstrdup(dir);
	l->backend = xstrdup(backend);
	l->memserver = opt_dup(args, "memserver");
	if (strcmp(backend, "file") != 0 && strcmp(backend, "uffd") != 0)
		return err_set(err, ERR_FAILED, -EINVAL, "backend: expected uffd or file, got '%s'",
			       backend);
	if (strcmp(backend, "uffd") == 0 && !l->memserver)
		return err_set(err, ERR_FAILED, -EINVAL, "backend uffd needs a memory server");
	return 0;
}

static int take_gid(struct json_object *args, uint32_t *ret, struct err *err)
{
	uint64_t gid = json_opt_u64(args, "gid", 0);

	if (gid == 0 || gid >= UINT32_MAX)
		return err_set(err, ERR_FAILED, -EINVAL, "gid: expected a snapshot's group");
	*ret = (uint32_t)gid;
	return 0;
}

static int read_restore(struct json_object *args, struct bringup_spec *l, struct err *err)
{
	struct json_object *health = json_opt_obj(args, "health"), *hooks = NULL;
	int r = take_backend(args, l, err);

	l->restore = true;
	l->timeout_ms = json_opt_u64(args, "timeout_ms", 0);
	if (r >= 0)
		r = take_workload(args, l, err);
	if (r >= 0)
		r = take_identity(args, l, err);
	if (r >= 0)
		r = take_gid(args, &l->gid, err);
	if (r >= 0)
		r = take_net(args, l, err);
	if (r >= 0)
		r = take_volumes(args, l, err);
	if (r >= 0 && json_object_object_get_ex(args, "on_clone", &hooks))
		r = hooks_from_json(hooks, &l->hooks, &l->n_hooks, err);
	if (r >= 0 && health) {
		healthspec_free(&l->workload.health);
		r = healthspec_from_json(health, &l->workload.health, err);
		l->health_override = r >= 0;
	}
	return r;
}

static int verb_restore(struct super *s, struct ctl_request *req, struct json_object *args,
			struct err *err)
{
	struct bringup_spec l = {0};
	enum restart_policy restart = RESTART_NO;
	int r = may_launch(s, err);

	if (r >= 0)
		r = read_restore(args, &l, err);
	if (r >= 0)
		r = restart_parse(json_opt_str(args, "restart", NULL), &restart, err);
	if (r < 0) {
		bringup_spec_free(&l);
		return err_wrap(err, "restore");
	}
	s->restart = restart;
	launch(s, req, &l);
	return 0;
}

static int verb_wait(struct super *s, struct ctl_request *req, struct json_object *args,
		     struct err *err)
{
	(void)err;
	waits_add(s, req, args);
	return 0;
}

static int verb_status(struct super *s, struct ctl_request *req, struct json_object *args,
		       struct err *err)
{
	(void)args;
	(void)err;
	ctl_reply(req, vmstate_to_json(&s->st));
	return 0;
}

static int verb_stop(struct super *s, struct ctl_request *req, struct json_object *args,
		     struct err *err)
{
	uint64_t grace_ms = json_opt_u64(args, "grace_ms", 0);

	(void)err;
	stop_request(s, req, grace_ms < STOP_GRACE_MAX_MS ? grace_ms : STOP_GRACE_MAX_MS);
	return 0;
}

static int verb_snapshot(struct super *s, struct ctl_request *req, struct json_object *args,
			 struct err *err)
{
	return snap_begin(s, req, args, err);
}

static const struct {
	const char *name;
	/* Takes req, or fails and leaves it. */
	int (*run)(struct super *s, struct ctl_request *req, struct json_object *args,
		   struct err *err);
} verbs[] = {
	{"start", verb_start},    {"restore", verb_restore},   {"wait", verb_wait},
	{"status", verb_status},  {"snapshot", verb_snapshot}, {"stop", verb_stop},
	{"update", update_begin},
};

void verbs_handle(void *data, struct ctl_request *req, const char *verb, struct json_object *args)
{
	struct super *s = data;
	struct err err = {0};
	size_t i = 0;

	while (i < ARRAY_SIZE(verbs) && strcmp(verbs[i].name, verb) != 0)
		i++;
	if (i == ARRAY_SIZE(verbs))
		(void)err_set(&err, ERR_FAILED, -ENOSYS, "the supervisor knows no '%.40s'", verb);
	else if (verbs[i].run(s, req, args, &err) >= 0)
		return;
	ctl_fail(req, &err);
}
