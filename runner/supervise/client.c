#include "client.h"

#include "buf.h"
#include "cleanup.h"
#include "ctl.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "parse.h"
#include "volume_json.h"
#include "workload_json.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define PATIENCE_MS 5000

static int dial(const struct supervisor_call *call, int *ret_fd, struct err *err)
{
	auto_free char *path = path_join(call->dir, CTL_SOCK);
	int r = io_unix_connect(path, call->deadline_ms, ret_fd, err);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return err_set(err, ERR_FAILED, r, "nothing supervises the VM in '%s'", call->dir);
	return r;
}

static int send_json(int fd, enum ctl_frame type, struct json_object *o, uint64_t deadline_ms,
		     struct err *err)
{
	auto_free char *text = json_line(o);

	return frame_write(fd, (uint16_t)type, 0, text, strlen(text), deadline_ms, err);
}

static int greet(int fd, const struct supervisor_call *call, struct err *err)
{
	auto_json struct json_object *hello = json_object_new_object();

	json_add_u64(hello, "proto", SUPERVISE_PROTO_VERSION);
	json_add_str(hello, "fcvm", FCVM_VERSION);
	return send_json(fd, CTL_HELLO, hello, call->deadline_ms, err);
}

static int ask(int fd, const struct supervisor_call *call, const char *verb,
	       struct json_object *args, struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add_str(o, "verb", verb);
	json_add(o, "args", args ? json_object_get(args) : NULL);
	return send_json(fd, CTL_REQUEST, o, call->deadline_ms, err);
}

static int check_hello(struct json_object *o, struct err *err)
{
	uint64_t proto = json_opt_u64(o, "proto", 0);

	if (proto == SUPERVISE_PROTO_VERSION)
		return 0;
	return err_set(err, ERR_FAILED, -EPROTONOSUPPORT,
		       "the VM is running under fcvm %s (protocol %llu), not protocol %d; restart "
		       "it to upgrade",
		       json_opt_str(o, "fcvm", "of another version"), (unsigned long long)proto,
		       SUPERVISE_PROTO_VERSION);
}

/* The supervisor's own error, as if it had happened here. */
static int take_failure(struct json_object *o, struct err *err)
{
	int64_t class = ERR_FAILED, code = 0;
	const char *hint = json_opt_str(o, "hint", "");

	if (json_get_i64(o, "class", &class, NULL) < 0 || class < 0 || class > ERR_INTERRUPTED)
		class = ERR_FAILED;
	if (json_get_i64(o, "code", &code, NULL) < 0 || code >= 0 || code < -4095)
		code = -EIO;
	(void)err_set(err, (enum err_class) class, (int)code, "%s",
		      json_opt_str(o, "msg", "the supervisor gave no reason"));
	return hint[0] ? err_hint(err, "%s", hint) : (int)code;
}

static int take_reply(struct json_object *o, struct json_object **ret, struct err *err)
{
	struct json_object *result = NULL;

	if (!json_opt_bool(o, "ok", false))
		return take_failure(o, err);
	if (ret && json_object_object_get_ex(o, "result", &result))
		*ret = json_object_get(result);
	return 0;
}

/* 1: *o was the reply; 0: go on reading. */
static int take_frame(const struct supervisor_call *call, const struct frame *f,
		      struct json_object *o, struct err *err)
{
	if (f->type == CTL_HELLO)
		return check_hello(o, err);
	if (f->type == CTL_PROGRESS && call->progress)
		call->progress(call->data, json_opt_str(o, "text", ""));
	return f->type == CTL_REPLY;
}

static int read_reply(int fd, const struct supervisor_call *call, struct json_object **ret,
		      struct err *err)
{
	auto_buf struct buf body = BUF_INIT(FRAME_BODY_MAX + 1);

	for (;;) {
		auto_json struct json_object *o = NULL;
		struct frame f = {0};
		int r = frame_read(fd, FRAME_BODY_MAX, &f, &body, call->deadline_ms, err);

		if (r == -EPIPE || r == -ECONNRESET)
			return err_set(err, ERR_FAILED, -ECONNRESET,
				       "the supervisor of '%s' ended before it answered",
				       call->dir);
		if (r >= 0)
			r = json_parse((const char *)f.body, f.len, &o, err);
		if (r >= 0)
			r = take_frame(call, &f, o, err);
		if (r != 0)
			return r < 0 ? r : take_reply(o, ret, err);
	}
}

/* args is borrowed. */
static int request(const struct supervisor_call *call, const char *verb, struct json_object *args,
		   struct json_object **ret, struct err *err)
{
	auto_close int fd = -1;
	int r = dial(call, &fd, err);

	if (r >= 0)
		r = greet(fd, call, err);
	if (r >= 0)
		r = ask(fd, call, verb, args, err);
	/* A supervisor that refuses answers at once and may hang up while we still write. */
	if (r == -EPIPE || r == -ECONNRESET || r >= 0)
		r = fd < 0 ? r : read_reply(fd, call, ret, err);
	if (r == -ETIMEDOUT && err && err->class == ERR_FAILED)
		err->class = ERR_NOT_READY;
	return r;
}

static void add_identity(struct json_object *o, const struct vm_identity *id)
{
	json_add_str(o, "hostname", id ? id->hostname : NULL);
	json_add_str(o, "metadata", id ? id->metadata : NULL);
}

int supervisor_start(const struct supervisor_call *call, const struct vm_config *config,
		     const struct workload *workload, const struct vm_identity *identity,
		     const struct net_config *net, const struct volume_list *volumes,
		     struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add(o, "config", vm_config_to_json(config));
	json_add_u64(o, "data_bytes", config->data_bytes);
	json_add(o, "workload", workload_to_json(workload));
	add_identity(o, identity);
	json_add(o, "net", net_config_to_json(net));
	json_add(o, "volumes", volumes_to_json(volumes));
	return request(call, "start", o, NULL, err);
}

/* The supervisor answers by itself at the deadline, with what was missing; that takes a moment. */
static struct supervisor_call with_timeout(const struct supervisor_call *call,
					   struct json_object *args)
{
	struct supervisor_call patient = *call;
	int left = deadline_left(call->deadline_ms);

	/* 0 would be none. */
	json_add_u64(args, "timeout_ms", left < 0 ? 0 : left == 0 ? 1 : (uint64_t)left);
	if (patient.deadline_ms)
		patient.deadline_ms += PATIENCE_MS;
	return patient;
}

int supervisor_wait(const struct supervisor_call *call, enum supervisor_until until,
		    struct err *err)
{
	static const char *const names[] = {"booted", "started", "healthy"};
	auto_json struct json_object *o = json_object_new_object();
	struct supervisor_call patient = with_timeout(call, o);

	json_add_str(o, "until", names[until]);
	return request(&patient, "wait", o, NULL, err);
}

int supervisor_snapshot(const struct supervisor_call *call, const struct snapshot_request *req,
			struct json_object **ret_manifest, struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();
	struct supervisor_call patient = with_timeout(call, o);

	json_add_str(o, "dir", req->dir);
	json_add(o, "prepare", hooks_to_json(req->prepare, req->n_prepare));
	json_add_u64(o, "settle_ms", req->settle_ms);
	json_add_bool(o, "keep_running", req->keep_running);
	json_add_u64(o, "gid", req->gid);
	return request(&patient, "snapshot", o, ret_manifest, err);
}

int supervisor_restore(const struct supervisor_call *call, const struct restore_request *req,
		       struct json_object **ret_status, struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();
	struct supervisor_call patient = with_timeout(call, o);

	json_add_str(o, "snapshot_dir", req->snapshot_dir);
	json_add_str(o, "backend", req->backend);
	json_add_str(o, "memserver", req->memserver);
	add_identity(o, &req->identity);
	json_add(o, "on_clone", hooks_to_json(req->on_clone, req->n_on_clone));
	json_add(o, "health", healthspec_to_json(req->health));
	json_add_str(o, "restart", req->restart);
	json_add_u64(o, "gid", req->gid);
	json_add(o, "workload", workload_to_json(req->workload));
	json_add(o, "net", net_config_to_json(req->net));
	json_add(o, "volumes", volumes_to_json(req->volumes));
	return request(&patient, "restore", o, ret_status, err);
}

int supervisor_update(const struct supervisor_call *call, const struct update_request *req,
		      struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();

	json_add_str(o, "metadata", req->metadata);
	json_add_str(o, "restart", req->restart);
	json_add(o, "health", healthspec_to_json(req->health));
	json_add(o, "net", net_config_to_json(req->net));
	return request(call, "update", o, NULL, err);
}

int supervisor_status(const struct supervisor_call *call, struct json_object **ret, struct err *err)
{
	return request(call, "status", NULL, ret, err);
}

static int read_boot_id(char ret[37], struct err *err)
{
	auto_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, 36);

	if (n != 36)
		return err_set(err, ERR_FAILED, -EIO, "cannot read this boot's id");
	ret[36] = '\0';
	return 0;
}

/* pid 0 when o has none; proc_id_open() then says it is gone. */
static struct proc_id proc_of(struct json_object *o, const char *pid_key, const char *start_key,
			      const char *boot_id)
{
	struct proc_id id = {
		.pid = (pid_t)json_opt_u64(o, pid_key, 0),
		.start_time = json_opt_u64(o, start_key, 0),
	};

	(void)snprintf(id.boot_id, sizeof(id.boot_id), "%s", boot_id);
	return id;
}

static struct proc_id supervisor_of(struct json_object *status)
{
	struct json_object *o = json_opt_obj(status, "supervisor");

	return proc_of(o, "pid", "start_time", json_opt_str(o, "boot_id", ""));
}

static struct proc_id vmm_of(struct json_object *status)
{
	const char *boot_id = json_opt_str(json_opt_obj(status, "supervisor"), "boot_id", "");

	return proc_of(status, "pid", "pid_start", boot_id);
}

static void add_crash(struct json_object *o)
{
	json_add_str(o, "state", "failed");
	json_add_str(o, "health", "none");
	json_add_str(o, "ended", "crashed");
	json_add_str(o, "error", "its supervisor is gone");
	json_add(o, "pid", NULL);
	json_add(o, "pid_start", NULL);
}

/* Has the last word, or may still say it. */
static bool is_told(struct json_object *o, const char *boot_id)
{
	struct proc_id id = supervisor_of(o);

	return json_opt_str(o, "ended", NULL) || (id.pid > 0 && proc_id_alive(&id, boot_id));
}

int supervisor_peek(const char *dir, const char *boot_id, struct json_object **ret, struct err *err)
{
	auto_free char *path = path_join(dir, SUPERVISE_STATUS);
	auto_json struct json_object *o = NULL;
	int r = json_load(path, &o, err);

	if (r < 0)
		return r;
	if (!is_told(o, boot_id)) {
		/* It may have said it, and ended, after it was read. */
		json_put_p(&o);
		r = json_load(path, &o, err);
		if (r < 0)
			return r;
		if (!is_told(o, boot_id))
			add_crash(o);
	}
	*ret = TAKE_PTR(o);
	return 0;
}

#define STOP_SLACK_MS 5000
#define KILL_WAIT_MS 10000

/* Waits for the end of what id names; kill: helps it along. Gone already is success. */
static int wait_gone(const struct proc_id *id, const char *boot_id, uint64_t deadline_ms, bool kill)
{
	auto_close int fd = -1;

	if (id->pid <= 0 || proc_id_open(id, boot_id, &fd) < 0)
		return 0;
	if (kill)
		(void)proc_signal(fd, SIGKILL);
	return io_wait(fd, POLLIN, deadline_ms) > 0 ? 0 : -ETIMEDOUT;
}

static uint64_t sooner(uint64_t a_ms, uint64_t b_ms)
{
	return b_ms == 0 || a_ms < b_ms ? a_ms : b_ms;
}

bool supervisor_hung_up(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE;
}

/* Returns until when its process may take to go: what counts is that it goes. Who refuses or is
 * silent is not waited for. */
static uint64_t ask_to_stop(const struct supervisor_call *call, uint64_t grace_ms)
{
	auto_json struct json_object *args = json_object_new_object();
	struct supervisor_call asked = *call;

	asked.deadline_ms = sooner(deadline_in(grace_ms + STOP_SLACK_MS), call->deadline_ms);
	json_add_u64(args, "grace_ms", grace_ms);
	int r = request(&asked, "stop", args, NULL, NULL);
	if (r >= 0)
		return asked.deadline_ms;
	if (supervisor_hung_up(r))
		return sooner(deadline_in(STOP_SLACK_MS), asked.deadline_ms);
	return now_ms();
}

static int stop_process(const struct supervisor_call *call, const struct proc_id *id,
			const char *boot_id, uint64_t grace_ms, struct err *err)
{
	if (wait_gone(id, boot_id, ask_to_stop(call, grace_ms), false) == 0)
		return 0;
	if (wait_gone(id, boot_id, deadline_in(KILL_WAIT_MS), true) == 0)
		return 0;
	return err_set(err, ERR_TIMEOUT, -ETIMEDOUT,
		       "supervisor %d of '%s' does not end, not even when killed", (int)id->pid,
		       call->dir);
}

/* Who holds the supervisor's lock: the file names a pid, and the lock, still held once its pidfd is
 * open, says that it is that process. 1 and *ret_pidfd, or 0 when nobody does. */
static int lock_holder(const char *path, int *ret_pidfd, struct err *err)
{
	auto_buf struct buf holder = BUF_INIT(256);
	auto_close int lock = -1, pidfd = -1;
	int r = file_lock(path, false, 0, &holder, &lock, err);
	uint64_t pid = 0;

	if (r != -EWOULDBLOCK)
		return r < 0 ? r : 0;
	auto_free char *word = xstrndup(buf_str(&holder), strcspn(buf_str(&holder), " \n"));
	if (parse_u64(word, 1, INT_MAX, &pid, NULL) < 0)
		return err_set(err, ERR_FAILED, -EBADMSG, "'%s' does not say who holds it", path);
	pidfd = pidfd_open((pid_t)pid, 0);
	if (file_lock(path, false, 0, NULL, &lock, NULL) >= 0)
		return 0;
	if (pidfd < 0)
		return err_sys_code(err, -ESRCH, "'%s' is held by another process than it says",
				    path);
	*ret_pidfd = TAKE_FD(pidfd);
	return 1;
}

/* status.json tells nothing: of a boot that ended with the power, of a supervisor that has just
 * been started, or somebody broke it. Whether there is a supervisor its lock says. */
static int stop_unknown(const struct supervisor_call *call, uint64_t grace_ms, struct err *err)
{
	auto_free char *path = path_join(call->dir, SUPERVISE_LOCK);
	auto_close int pidfd = -1;
	int r = file_exists(path) ? lock_holder(path, &pidfd, err) : 0;

	if (r <= 0)
		return r;
	if (io_wait(pidfd, POLLIN, ask_to_stop(call, grace_ms)) > 0)
		return 0;
	(void)proc_signal(pidfd, SIGKILL);
	if (io_wait(pidfd, POLLIN, deadline_in(KILL_WAIT_MS)) > 0)
		return 0;
	return err_set(err, ERR_TIMEOUT, -ETIMEDOUT,
		       "the supervisor of '%s' does not end, not even when killed", call->dir);
}

int supervisor_stop(const struct supervisor_call *call, uint64_t grace_ms, struct err *err)
{
	auto_free char *path = path_join(call->dir, SUPERVISE_STATUS);
	auto_json struct json_object *status = NULL;
	char boot_id[37] = {0};
	struct proc_id id = {0};
	int r = json_load(path, &status, err);

	if (r == -ENOENT || r == -EINVAL)
		return stop_unknown(call, grace_ms, err);
	if (r >= 0)
		r = read_boot_id(boot_id, err);
	if (r < 0)
		return r;
	id = supervisor_of(status);
	r = stop_process(call, &id, boot_id, grace_ms, err);
	if (r < 0)
		return r;
	/* It dies with its supervisor; an apply that comes next must not meet it. The pid may be
	 * newer than the first reading. */
	json_put_p(&status);
	status = NULL;
	if (json_load(path, &status, NULL) < 0)
		return 0;
	id = vmm_of(status);
	if (wait_gone(&id, boot_id, deadline_in(KILL_WAIT_MS), true) == 0)
		return 0;
	return err_set(err, ERR_TIMEOUT, -ETIMEDOUT, "VMM %d of '%s' does not end", (int)id.pid,
		       call->dir);
}
