/* container.c - from `podman run` to the exit code. conmon writes the code into a file named after
 * the container (inotify), and is reaped by us as its new parent. */
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "cleanup.h"
#include "control.h"
#include "file.h"
#include "health.h"
#include "logs.h"
#include "op_resume.h"
#include "parse.h"
#include "podman_args.h"
#include "status.h"
#include "xalloc.h"

#define EXITS_DIR "/run/libpod/exits"
#define BUNDLES_DIR "/var/lib/containers/storage/overlay-containers"
#define ID_LEN 64u
#define FREEZE_TIMEOUT_MS 10000
#define KILL_TIMEOUT_MS 10000

struct container {
	struct agent *agent;
	enum container_state state;
	struct proto_container spec;
	struct child podman;
	struct child conmon;
	struct loop_source exits;
	int exits_fd;
	char id[ID_LEN + 1];
	char *bundle;
	pid_t pid;
	int pidfd;
	char seen_id[ID_LEN + 1]; /* whose exit file came last, perhaps before we know our own id */
	int seen_code;
	int exit_code;
	char *why; /* what the exit event says */
	struct freezer freezer;
	bool frozen; /* or about to be, while the freezer works */
	struct loop_source stop_timer;
	bool killed;
	void (*stopped)(void *data);
	void *stopped_data;
};

int container_new(struct agent *agent, struct err *err)
{
	struct container *c = xcalloc(1, sizeof(*c));

	(void)err;
	c->agent = agent;
	c->exits_fd = c->pidfd = -1;
	agent->container = c;
	return 0;
}

void container_free(struct agent *agent)
{
	struct container *c = agent->container;

	if (!c)
		return;
	freezer_cancel(&c->freezer);
	loop_remove(agent->loop, &c->exits);
	loop_remove(agent->loop, &c->stop_timer);
	cleanup_close_p(&c->exits_fd);
	cleanup_close_p(&c->pidfd);
	proto_container_free(&c->spec);
	free(c->bundle);
	free(c->why);
	free(c);
	agent->container = NULL;
}

enum container_state container_state(const struct agent *agent)
{
	return agent->container->state;
}

const char *container_name(const struct agent *agent)
{
	return agent->container->spec.name ? agent->container->spec.name : "";
}

void container_announce(struct agent *agent)
{
	static const char *const names[] = {"", "created", "started", "exited"};
	const struct container *c = agent->container;

	if (c->state == CONTAINER_NONE)
		return;
	control_event_container(agent, container_name(agent), names[c->state],
				c->state == CONTAINER_EXITED ? c->exit_code : -1,
				c->why ? c->why : "");
}

int container_find(struct agent *agent, const char *name, struct container_view *ret,
		   struct err *err)
{
	const struct container *c = agent->container;

	if (c->state == CONTAINER_NONE || strcmp(name, c->spec.name) != 0)
		return err_set(err, ERR_GUEST, -ENOENT, "no container '%s' in this VM", name);
	if (c->state == CONTAINER_EXITED)
		return err_set(err, ERR_GUEST, -ESRCH,
			       "container '%s' is not running: it exited with %d", name,
			       c->exit_code);
	if (c->state != CONTAINER_STARTED)
		return err_set(err, ERR_GUEST, -ESRCH, "container '%s' has not started yet", name);
	*ret = (struct container_view){.id = c->id, .bundle = c->bundle, .pid = c->pid};
	return 0;
}

/* --- its end ---------------------------------------------------------------------------------- */

static void set_exited(struct container *c, int code, const char *why)
{
	struct agent *agent = c->agent;
	void (*stopped)(void *data) = c->stopped;

	if (c->state == CONTAINER_EXITED)
		return;
	c->state = CONTAINER_EXITED;
	c->exit_code = code;
	free(c->why);
	c->why = xstrdup(why);
	cleanup_close_p(&c->pidfd);
	loop_remove(agent->loop, &c->stop_timer);
	c->stopped = NULL;
	health_pause(agent);
	/* What it said last goes ahead of the news. */
	logs_drain(agent);
	container_announce(agent);
	status_exit(agent, code);
	op_resume_container_ended(agent);
	if (stopped)
		stopped(c->stopped_data);
}

static bool read_number(const char *path, uint64_t max, uint64_t *ret)
{
	auto_buf struct buf text = BUF_INIT(64);

	if (file_read(path, 32, &text, NULL) < 0 || text.len == 0)
		return false;
	text.data[strcspn(text.data, " \n")] = '\0';
	return parse_u64(text.data, 0, max, ret, NULL) == 0;
}

static void see_exit(struct container *c, const char *name)
{
	auto_free char *path = path_join(EXITS_DIR, name);
	uint64_t code;

	if (strspn(name, "0123456789abcdef") != ID_LEN || name[ID_LEN] ||
	    !read_number(path, 255, &code))
		return;
	memcpy(c->seen_id, name, ID_LEN);
	c->seen_code = (int)code;
}

static void read_exits(struct container *c)
{
	_Alignas(struct inotify_event) char events[4096];
	ssize_t n;

	while ((n = read(c->exits_fd, events, sizeof(events))) > 0) {
		for (char *at = events; at < events + n;) {
			const struct inotify_event *ev = (void *)at;

			if (ev->len > 0)
				see_exit(c, ev->name);
			at += sizeof(*ev) + ev->len;
		}
	}
}

/* False while conmon has not written the code. */
static bool check_exit(struct container *c)
{
	read_exits(c);
	if (c->state != CONTAINER_STARTED || strcmp(c->seen_id, c->id) != 0)
		return false;
	set_exited(c, c->seen_code, "");
	return true;
}

static void on_exits(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	(void)check_exit(src->data);
}

/* Whoever is left would run on with nobody to tell how it ended. */
static void lost_monitor(struct container *c)
{
	(void)cgroup_kill(AGENT_CGROUP, NULL);
	set_exited(c, 255, "its monitor ended without an exit code");
}

static void on_conmon(void *data, const struct child_end *end)
{
	struct container *c = data;

	(void)end;
	if (c->state == CONTAINER_STARTED && !check_exit(c))
		lost_monitor(c);
}

/* --- its start -------------------------------------------------------------------------------- */

static char *private_path(const struct container *c, const char *name)
{
	return path_join(c->agent->private_dir, name);
}

static int read_pid(const struct container *c, const char *name, pid_t *ret, struct err *err)
{
	auto_free char *path = private_path(c, name);
	uint64_t pid;

	if (!read_number(path, INT32_MAX, &pid) || pid < 2)
		return err_set(err, ERR_GUEST, -EBADMSG, "podman left no process id in '%s'", path);
	*ret = (pid_t)pid;
	return 0;
}

static int learn(struct container *c, struct err *err)
{
	auto_free char *id_path = private_path(c, PODMAN_ID_FILE);
	auto_buf struct buf id = BUF_INIT(256);
	pid_t conmon = 0;
	int r = file_read(id_path, 128, &id, err);

	if (r < 0)
		return r;
	if (strspn(buf_str(&id), "0123456789abcdef") != ID_LEN)
		return err_set(err, ERR_GUEST, -EBADMSG, "podman left no container id");
	memcpy(c->id, id.data, ID_LEN);
	free(c->bundle);
	c->bundle = xasprintf(BUNDLES_DIR "/%s/userdata", c->id);
	r = read_pid(c, PODMAN_PID_FILE, &c->pid, err);
	if (r == 0)
		r = read_pid(c, PODMAN_CONMON_FILE, &conmon, err);
	if (r < 0)
		return r;
	child_adopt(&c->agent->children, conmon, &c->conmon, on_conmon, c);
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	return 0;
}

/* Its last sentence; what came before it the container or the runtime said. */
static const char *podmans_error(const char *words)
{
	const char *error = words;

	for (const char *at = words; (at = strstr(at, "Error: ")); at++)
		error = at;
	return *error ? error : "podman run failed";
}

static void on_podman(void *data, const struct child_end *end)
{
	struct container *c = data;
	auto_buf struct buf words = BUF_INIT(4096);
	struct err err = {0};

	if (c->state != CONTAINER_CREATED)
		return;
	if (end->stage != CHILD_RAN) {
		buf_addf(&words, "cannot run podman: %s", strerror(end->code));
		set_exited(c, 127, buf_str(&words));
		return;
	}
	if (end->status != 0) {
		logs_drain(c->agent);
		logs_last_words(c->agent, &words);
		set_exited(c, end->status, podmans_error(buf_str(&words)));
		return;
	}
	if (learn(c, &err) < 0) {
		set_exited(c, 125, err.msg);
		return;
	}
	c->state = CONTAINER_STARTED;
	container_announce(c->agent);
	if (check_exit(c))
		return;
	/* Gone before we adopted it: nobody will tell us. */
	if (kill(c->conmon.pid, 0) < 0)
		lost_monitor(c);
	else
		health_begin(c->agent);
}

static int watch_exits(struct container *c, struct err *err)
{
	auto_close int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = file_mkdir_p(EXITS_DIR, 0755, err);

	if (r < 0)
		return r;
	if (fd < 0 || inotify_add_watch(fd, EXITS_DIR, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
		return err_sys(err, "cannot watch '%s'", EXITS_DIR);
	r = loop_add(c->agent->loop, &c->exits, fd, EPOLLIN, on_exits, c, err);
	if (r == 0)
		c->exits_fd = TAKE_FD(fd);
	return r;
}

/* A pipe for each stream: podman hands them to the container as they are. */
static int make_pipes(struct agent *agent, int ret_write[2], struct err *err)
{
	for (int i = 0; i < 2; i++) {
		int fds[2];

		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_sys(err, "cannot make a pipe");
		ret_write[i] = fds[1];
		int r = logs_attach(agent, i + 1, fds[0], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int start_podman(struct container *c, const struct strv *args, struct err *err)
{
	int out[2] = {-1, -1};
	int r = make_pipes(c->agent, out, err);
	struct child_spec spec = {
		.argv = (const char *const *)args->v, .in = -1, .out = out[0], .err = out[1]};

	if (r == 0)
		r = child_spawn(&c->agent->children, &spec, &c->podman, on_podman, c, err);
	cleanup_close_p(&out[0]);
	cleanup_close_p(&out[1]);
	return r;
}

/* podman refuses to overwrite them, and an old one would be taken for the new. */
static void remove_old_files(const struct container *c)
{
	static const char *const names[] = {PODMAN_ID_FILE, PODMAN_PID_FILE, PODMAN_CONMON_FILE};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *path = private_path(c, names[i]);

		(void)unlink(path);
	}
}

int container_run(struct agent *agent, struct proto_container *spec, struct err *err)
{
	struct container *c = agent->container;
	auto_free char *id_path = private_path(c, PODMAN_ID_FILE);
	auto_strv struct strv args = {0};

	if (c->state != CONTAINER_NONE)
		return err_set(err, ERR_GUEST, -EBUSY, "this VM runs container '%s' already",
			       c->spec.name);
	int r = podman_args(agent, spec, &args, err);
	if (r == 0)
		r = watch_exits(c, err);
	if (r < 0)
		return r;
	remove_old_files(c);
	logs_expect_id(agent, id_path);
	r = start_podman(c, &args, err);
	if (r < 0) {
		loop_remove(agent->loop, &c->exits);
		cleanup_close_p(&c->exits_fd);
		return r;
	}
	c->spec = *spec;
	*spec = (struct proto_container){0};
	c->state = CONTAINER_CREATED;
	container_announce(agent);
	health_set(agent, &c->spec.health);
	return 0;
}

/* --- freeze, thaw, stop ------------------------------------------------------------------------
 */

int container_freeze(struct agent *agent, void (*done)(void *data, int r), void *data,
		     struct err *err)
{
	struct container *c = agent->container;
	int r;

	/* Without a machine of our own there is no workload either. */
	if (!agent->machine) {
		c->frozen = true;
		done(data, 0);
		return 0;
	}
	r = freezer_start(&c->freezer, agent->loop, AGENT_CGROUP, FREEZE_TIMEOUT_MS, done, data,
			  err);
	if (r == 0)
		c->frozen = true;
	return r;
}

int container_thaw(struct agent *agent, struct err *err)
{
	struct container *c = agent->container;

	freezer_abort(&c->freezer);
	int r = agent->machine ? cgroup_thaw(AGENT_CGROUP, err) : 0;
	if (r == 0)
		c->frozen = false;
	return r;
}

static void kill_all(struct container *c);

static void on_stop_timer(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct container *c = src->data;

	(void)loop;
	(void)events;
	if (c->killed)
		set_exited(c, 137, "it did not end after SIGKILL");
	else
		kill_all(c);
}

static void kill_all(struct container *c)
{
	c->killed = true;
	(void)cgroup_kill(AGENT_CGROUP, NULL);
	if (loop_timer(c->agent->loop, &c->stop_timer, KILL_TIMEOUT_MS, 0, on_stop_timer, c, NULL) <
	    0)
		set_exited(c, 137, "it could not be stopped in time");
}

void container_stop(struct agent *agent, uint64_t grace_ms, void (*done)(void *data), void *data)
{
	struct container *c = agent->container;

	if (c->state == CONTAINER_NONE || c->state == CONTAINER_EXITED) {
		done(data);
		return;
	}
	c->stopped = done;
	c->stopped_data = data;
	/* This may be a clone that has no identity yet: not even its end may run there. */
	if (c->frozen && !c->freezer.done) {
		kill_all(c);
		return;
	}
	(void)container_thaw(agent, NULL);
	if (c->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGTERM, NULL, 0);
	if (loop_timer(agent->loop, &c->stop_timer, grace_ms, 0, on_stop_timer, c, NULL) < 0)
		set_exited(c, 137, "it could not be stopped in time");
}
