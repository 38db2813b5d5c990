/* snap.c - a snapshot of the running VM: hooks and freeze in the guest -> silence on the channel ->
 * memory to disk while it still runs -> engine state, and disks while it is paused -> manifest.
 * The VM goes on where asked to, else its memory and disk are the snapshot's from then on.
 * One at a time: whoever asks meanwhile is next. What nobody waits for any more (kill -9 of apply)
 * is undone: a VM must not go into a directory that nobody publishes. So is what meets a stop. */
#include "super.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "proto.h"
#include "storage.h"
#include "tlv.h"
#include "vmmanifest.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FREEZE_MS 60000 /* beyond hooks and settling: sync and freeze */
#define QUIESCE_MS 15000
#define VMSTATE_FILE "vmstate"

struct snapping {
	struct super *s;
	struct snapping *next; /* waits for this one's end */
	struct ctl_request *req;
	char *dir;
	struct hook *hooks;
	size_t n_hooks;
	uint64_t settle_ms;
	uint64_t deadline_ms; /* the client's */
	bool keep;
	bool orphan; /* its client is gone */
	uint32_t gid;
	struct vmmanifest_digests digests;
	struct hostfacts host;
	struct json_object *manifest;
	struct err err; /* why it failed; the guest is being woken up */
	bool quiesced, reaped;
	struct loop_source timer;
};

static void snap_free(struct snapping *p)
{
	loop_remove(p->s->loop, &p->timer);
	json_put_p(&p->manifest);
	hooks_free(p->hooks, p->n_hooks);
	free(p->dir);
	free(p);
}

/* The first in line. */
static void answer(struct super *s)
{
	struct snapping *p = s->snap;

	s->snap = p->next;
	if (p->err.code < 0)
		ctl_fail(p->req, &p->err);
	else
		ctl_reply(p->req, json_object_get(p->manifest));
	snap_free(p);
}

void snap_abort(struct super *s, const struct err *why)
{
	while (s->snap) {
		if (s->snap->err.code >= 0)
			s->snap->err = *why;
		(void)err_wrap(&s->snap->err, "snapshot");
		answer(s);
	}
}

static int check_wanted(struct snapping *p)
{
	if (p->orphan)
		return err_set(&p->err, ERR_FAILED, -ECANCELED, "nobody waits for it");
	/* Its clones would go on with the shutdown. */
	if (p->s->stopping)
		return err_set(&p->err, ERR_FAILED, -ECANCELED, "the VM is being stopped");
	return 0;
}

/* --- the guest goes on ---------------------------------------------------------------------- */

static void begin_next(struct super *s);

static void on_thawed(void *data, const struct agentlink_answer *a)
{
	struct snapping *p = data;
	struct super *s = p->s;
	struct err err = {0};

	if (a->over)
		return;
	if (a->code < 0) {
		(void)err_set(&err, ERR_GUEST, a->code, "the guest stays frozen: %s", a->text);
		super_end(s, ENDED_CRASHED, &err);
		return;
	}
	answer(s);
	begin_next(s);
}

static void thaw(struct snapping *p)
{
	struct err err = {0};

	if (agentlink_request(p->s->link, MSG_THAW, NULL, FREEZE_MS, on_thawed, p, &err) < 0)
		super_end(p->s, ENDED_CRASHED, &err);
}

void snap_on_synced(struct super *s)
{
	if (s->snap) {
		loop_remove(s->loop, &s->snap->timer);
		thaw(s->snap);
	}
}

static void on_no_answer(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct snapping *p = src->data;
	struct err err = {0};

	(void)loop;
	(void)events;
	(void)err_set(&err, ERR_GUEST, -ETIMEDOUT, "the guest does not answer around a snapshot");
	super_end(p->s, ENDED_CRASHED, &err);
}

static void set_timer(struct snapping *p, uint64_t ms, loop_fn fn)
{
	(void)loop_timer(p->s->loop, &p->timer, ms, 0, fn, p, NULL);
}

static void wake_guest(struct snapping *p)
{
	struct err err = {0};

	if (!p->quiesced) {
		thaw(p);
		return;
	}
	set_timer(p, QUIESCE_MS, on_no_answer);
	if (vchan_sync(p->s->chan, true, &err) < 0)
		super_end(p->s, ENDED_CRASHED, &err);
}

/* --- the snapshot's files ------------------------------------------------------------------- */

/* Root's, readable by the clones' only group, and on disk. */
static int seal(const struct snapping *p, const char *name, struct err *err)
{
	auto_free char *path = path_join(p->dir, name);
	auto_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot open '%s'", path);
	if (p->s->host->is_root && fchown(fd, 0, p->gid) < 0)
		return err_sys(err, "cannot give '%s' to group %u", path, p->gid);
	if (fchmod(fd, 0440) < 0)
		return err_sys(err, "cannot protect '%s'", path);
	if (fsync(fd) < 0)
		return err_sys(err, "cannot write '%s'", path);
	return 0;
}

/* Of the very file that was checked: the VMM runs, and may put another in its place. */
static int copy_file(struct snapping *p, const char *name, struct err *err)
{
	auto_close int fd = -1;
	auto_free char *from = vmdir_path(p->s, name), *to = path_join(p->dir, name);
	struct clone_file_spec spec = {.from = from, .to = to, .mode = 0400};
	int r = vmdir_open(p->s, name, &fd, err);

	return r < 0 ? r : storage_clone_fd(fd, &spec, NULL, err);
}

/* The VMM is dead: nobody writes it any more, and nobody can put another in its place. */
static int move_file(struct snapping *p, const char *name, struct err *err)
{
	auto_close int fd = -1;
	auto_free char *from = vmdir_path(p->s, name), *to = path_join(p->dir, name);
	int r = vmdir_open(p->s, name, &fd, err);

	if (r < 0)
		return r;
	if (rename(from, to) < 0)
		return err_sys(err, "cannot move '%s' to '%s'", from, to);
	return 0;
}

typedef int (*file_fn)(struct snapping *p, const char *name, struct err *err);

static int each_disk(struct snapping *p, file_fn fn, struct err *err)
{
	const struct vm_config *c = &p->s->launch.config;
	int r = 0;

	for (size_t i = 0; i < c->n_disks && r >= 0; i++)
		if (!c->disks[i].read_only)
			r = fn(p, c->disks[i].path, err);
	return r;
}

static int each_file(struct snapping *p, file_fn fn, struct err *err)
{
	int r = fn(p, VM_MEMORY, err);

	return r < 0 ? r : each_disk(p, fn, err);
}

static int seal_file(struct snapping *p, const char *name, struct err *err)
{
	return seal(p, name, err);
}

/* Memory that the VMM writes on too must be copied while it stands still. */
static bool memory_is_live(const struct snapping *p)
{
	return (p->s->engine->can & ENGINE_MEMORY_FILE) != 0;
}

static int copy_in_pause(void *data, struct err *err)
{
	int r = memory_is_live(data) ? copy_file(data, VM_MEMORY, err) : 0;

	return r < 0 ? r : each_disk(data, copy_file, err);
}

/* A file made for the snapshot is copied when the VM runs again: nothing lengthens the pause. It is
 * not moved, since the VMM may still have it open. */
static int copy_memory(struct snapping *p, struct err *err)
{
	auto_free char *path = vmdir_path(p->s, VM_MEMORY);
	int r = 0;

	if (memory_is_live(p))
		return 0;
	r = copy_file(p, VM_MEMORY, err);
	(void)unlink(path);
	return r;
}

/* --- taking it ------------------------------------------------------------------------------ */

/* Most of the memory reaches the disk before the pause, not in it. */
static int flush_memory(struct super *s, struct err *err)
{
	auto_close int fd = -1;
	int r = vmdir_open(s, VM_MEMORY, &fd, err);

	if (r >= 0 && fsync(fd) < 0)
		r = err_sys(err, "cannot write the VM's memory to disk");
	return r;
}

static int save(struct snapping *p, uint64_t *ret_pause_ms, struct err *err)
{
	auto_free char *state = path_join(p->dir, VMSTATE_FILE);
	struct vm_snapshot to = {
		.state_path = state,
		.between = p->keep ? copy_in_pause : NULL,
		.data = p,
		.resume = p->keep,
	};
	uint64_t start = now_ms();
	int r = p->s->engine->snapshot(&p->s->vm, &to, p->deadline_ms, err);

	*ret_pause_ms = now_ms() - start;
	return r;
}

static int write_manifest(struct snapping *p, uint64_t pause_ms, struct err *err)
{
	struct super *s = p->s;
	auto_free char *path = path_join(p->dir, VMMANIFEST_FILE);
	struct vmmanifest_facts facts = {
		.config = &s->launch.config,
		.workload = s->launch.has_workload ? &s->launch.workload : NULL,
		.volumes = &s->launch.volumes,
		.caps = &s->caps,
		.engine = s->engine->name,
		.host = &p->host,
		.created_at = s->host->unix_ms(),
		.pause_ms = pause_ms,
		.dir = p->dir,
	};
	int r = vmmanifest_make(&facts, &p->digests, &p->manifest, err);

	if (r >= 0)
		r = json_save(path, p->manifest, err);
	return r;
}

static int take(struct snapping *p, struct err *err)
{
	uint64_t pause_ms = 0;
	int r = volset_save(p->s->volumes, p->dir, err);

	if (r >= 0 && memory_is_live(p))
		r = flush_memory(p->s, err);

	if (r >= 0)
		r = save(p, &pause_ms, err);
	if (r >= 0 && p->keep)
		r = copy_memory(p, err);
	if (r < 0)
		return r;
	if (!p->keep) {
		p->reaped = true;
		super_take_down(p->s);
		r = each_file(p, move_file, err);
	}
	if (r >= 0)
		r = each_file(p, seal_file, err);
	if (r >= 0)
		r = seal(p, VMSTATE_FILE, err);
	if (r >= 0)
		r = write_manifest(p, pause_ms, err);
	return r < 0 ? r : seal(p, VMMANIFEST_FILE, err);
}

static void on_silence(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct snapping *p = src->data;
	struct super *s = p->s;

	(void)loop;
	(void)events;
	/* Its end must not be taken for the guest's. */
	if (!vchan_keeps_streams(s->chan)) {
		agentlink_free(s->link);
		s->link = NULL;
	}
	if (check_wanted(p) >= 0)
		(void)take(p, &p->err);
	if (!p->reaped) {
		wake_guest(p);
		return;
	}
	/* The VM is gone either way; the answer comes first, so that a failure has its reason. */
	answer(s);
	super_end(s, ENDED_REAPED, NULL);
}

void snap_on_quiesced(struct super *s)
{
	/* From the loop's top: the channel that is calling may not outlive what follows. */
	if (s->snap) {
		s->snap->quiesced = true;
		set_timer(s->snap, 0, on_silence);
	}
}

static void on_prepared(void *data, const struct agentlink_answer *a)
{
	struct snapping *p = data;
	struct super *s = p->s;

	if (a->over)
		return;
	/* A stop makes it fail, too, and is the better reason. */
	if (check_wanted(p) >= 0 && a->code < 0)
		(void)err_set(&p->err, ERR_GUEST, a->code, "prepare: %s", a->text);
	if (p->err.code < 0) {
		wake_guest(p);
		return;
	}
	ctl_progress(p->req, "the guest is frozen");
	set_timer(p, QUIESCE_MS, on_no_answer);
	if (vchan_quiesce(s->chan, &p->err) < 0)
		super_end(s, ENDED_CRASHED, &p->err);
}

/* --- begin ---------------------------------------------------------------------------------- */

static int may_begin(const struct super *s, struct err *err)
{
	if (s->launch.restore)
		return err_set(err, ERR_SPEC, -EOPNOTSUPP,
			       "a clone cannot be snapshotted in this version: snapshot its "
			       "baseline");
	if (!s->resumed || s->launching)
		return err_set(err, ERR_FAILED, -EAGAIN, "cannot snapshot a VM that is %s",
			       vmstate_run_name(s->st.run));
	return 0;
}

static int send_prepare(struct snapping *p, struct err *err)
{
	auto_buf struct buf body = BUF_INIT(AGENTMSG_MAX);
	uint64_t ms = FREEZE_MS + p->settle_ms;

	for (size_t i = 0; i < p->n_hooks; i++)
		ms += p->hooks[i].timeout_ms;
	agentmsg_hooks(&body, p->hooks, p->n_hooks);
	tlv_put_u64(&body, TAG_SETTLE_MS, p->settle_ms);
	return agentlink_request(p->s->link, MSG_PREPARE, &body, ms, on_prepared, p, err);
}

static int begin(struct snapping *p)
{
	int r = check_wanted(p);

	if (r >= 0)
		r = may_begin(p->s, &p->err);
	if (r >= 0)
		r = hostfacts_read(&p->host, &p->err);
	if (r >= 0)
		r = vmmanifest_digest(&p->s->launch.config, &p->digests, &p->err);
	return r < 0 ? r : send_prepare(p, &p->err);
}

static void begin_next(struct super *s)
{
	while (s->snap && begin(s->snap) < 0) {
		(void)err_wrap(&s->snap->err, "snapshot");
		answer(s);
	}
}

static void on_gone(void *data, struct ctl_request *req)
{
	struct snapping *p = data;

	(void)req;
	p->orphan = true;
}

static int read_args(struct snapping *p, struct json_object *args, struct err *err)
{
	uint64_t timeout_ms = json_opt_u64(args, "timeout_ms", 0);
	struct json_object *arr = NULL;
	const char *dir = NULL;
	int r = json_get_str(args, "dir", &dir, err);

	if (r >= 0 && json_object_object_get_ex(args, "prepare", &arr))
		r = hooks_from_json(arr, &p->hooks, &p->n_hooks, err);
	if (r < 0)
		return r;
	p->dir = xstrdup(dir);
	p->keep = json_opt_bool(args, "keep_running", false);
	p->gid = (uint32_t)json_opt_u64(args, "gid", 0);
	p->settle_ms = json_opt_u64(args, "settle_ms", 0);
	p->deadline_ms = timeout_ms ? deadline_in(timeout_ms) : 0;
	return 0;
}

int snap_begin(struct super *s, struct ctl_request *req, struct json_object *args, struct err *err)
{
	struct snapping *p = xcalloc(1, sizeof(*p)), **last = &s->snap;
	int r = 0;

	p->s = s;
	p->req = req;
	r = read_args(p, args, err);
	if (r < 0) {
		snap_free(p);
		return err_wrap(err, "snapshot");
	}
	while (*last)
		last = &(*last)->next;
	*last = p;
	ctl_on_gone(req, on_gone, p);
	if (s->snap == p)
		begin_next(s);
	else
		ctl_progress(req, "waiting for another snapshot of this VM to end");
	return 0;
}
