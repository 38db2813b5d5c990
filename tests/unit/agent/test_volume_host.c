#include "volume_host.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent_rig.h"
#include "cleanup.h"
#include "container.h"
#include "container_rig.h"
#include "file.h"
#include "io.h"
#include "parse.h"
#include "proto.h"
#include "proto_workload.h"
#include "pump_host.h"
#include "services.h"
#include "volume_head.h"
#include "volumes.h"
#include "xalloc.h"

struct answer {
	bool done;
	int code;
	char text[256];
};

static void on_done(void *data, int code, const char *text)
{
	struct answer *a = data;

	a->done = true;
	a->code = code;
	(void)snprintf(a->text, sizeof(a->text), "%s", text);
}

Test(volume_host, none_is_ready_at_once)
{
	struct agent_rig r;
	struct answer a = {0};

	agent_rig_new(&r);
	volume_host_await(&r.agent, on_done, &a);
	cr_expect(a.done && a.code == 0);
	agent_rig_free(&r);
}

static void mount_at(struct agent_rig *r, const char *target)
{
	auto_free char *name = xstrdup("v"), *kind = xstrdup("host"), *at = xstrdup(target);
	const struct proto_volume v = {.name = name, .kind = kind, .target = at};
	struct err err = {0};

	cr_assert_eq(volume_host_mount(&r->agent, &v, &err), 0, "%s", err.msg);
}

/* What the supervisor does with an event: a stream of the server's, its head in front, goes through
 * the port. Bytes of two sockets are carried by the pair itself here, so the head is written by the
 * side that is then the server's. */
static void serve_wish(struct agent_rig *r, struct pump_host *h, struct client *c)
{
	auto_buf struct buf head = BUF_INIT(VOLUME_HEAD_MAX);
	auto_free char *target = NULL;
	uint64_t stream = 99;
	int pair[2];

	cr_assert_eq(c->last_type, MSG_EVENT_VOLUME);
	cr_assert_eq(proto_find_str((const uint8_t *)c->last.data, c->last.len, TAG_NAME, 255,
				    &target, NULL),
		     1);
	cr_assert_eq(proto_find_u64((const uint8_t *)c->last.data, c->last.len, TAG_STREAM, 99,
				    &stream, NULL),
		     0);
	cr_expect_str_eq(target, h->target);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	volume_head_put(&head, target, stream);
	cr_assert_eq(io_write_full(pair[0], head.data, head.len, 0, NULL), 0);
	pump_host_give(h, pair[0]);
	cr_assert_eq(serve_connection(&r->agent, AGENT_PORT_VOLUMES, pair[1]), 0);
}

/* Serves every wish until the loop's condition holds. */
#define SERVE_UNTIL(r, h, c, cond)                             \
	for (int seen_ = (c)->frames; !(cond);) {              \
		RIG_UNTIL((r), (cond) || (c)->frames > seen_); \
		if ((c)->frames > seen_)                       \
			serve_wish((r), (h), (c));             \
		seen_ = (c)->frames;                           \
	}

static void await_volume(struct agent_rig *r, struct pump_host *h, struct client *c)
{
	struct answer a = {0};

	volume_host_await(&r->agent, on_done, &a);
	SERVE_UNTIL(r, h, c, a.done);
	cr_expect_eq(a.code, 0, "%s", a.text);
}

Test(volume_host, a_volume_is_there_when_its_streams_have_come)
{
	struct pump_host h;
	struct agent_rig r;
	struct client c;

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	mount_at(&r, h.target);
	await_volume(&r, &h, &c);
	client_close(&c);
	agent_rig_free(&r);
	pump_host_stop(&h);
}

/* The process of ours that has the name of pumps. */
static pid_t find_pump(void)
{
	auto_closedir DIR *proc = opendir("/proc");
	const struct dirent *e;
	uint64_t pid = 0;

	while ((e = readdir(proc))) {
		auto_free char *path = xasprintf("/proc/%s/stat", e->d_name);
		auto_buf struct buf text = BUF_INIT(4096);
		auto_free char *want = NULL;

		if (parse_u64(e->d_name, 2, INT32_MAX, &pid, NULL) < 0 ||
		    file_read(path, text.max - 1, &text, NULL) < 0)
			continue;
		want = xasprintf("%ju (fc-volume) ", (uintmax_t)pid);
		const char *parent = strncmp(buf_str(&text), want, strlen(want)) == 0
					     ? buf_str(&text) + strlen(want) + 2
					     : "0";
		if (strtol(parent, NULL, 10) == getpid())
			return (pid_t)pid;
	}
	return 0;
}

Test(volume_host, a_pump_that_dies_is_replaced_and_the_volume_is_there_again)
{
	struct pump_host h;
	struct agent_rig r;
	struct client c;
	struct statfs st;

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	mount_at(&r, h.target);
	await_volume(&r, &h, &c);
	auto_free char *below = path_join(h.root, "f"), *through = path_join(h.target, "f");
	pid_t pump = find_pump();

	cr_assert_gt(pump, 0);
	cr_assert_eq(kill(pump, SIGKILL), 0);
	RIG_UNTIL(&r, statfs(h.target, &st) < 0 && errno == ENOTCONN);
	SERVE_UNTIL(&r, &h, &c, find_pump() != 0 && find_pump() != pump);
	await_volume(&r, &h, &c);
	cr_assert_eq(file_replace(below, "x", 1, 0644, NULL), 0);
	cr_expect(file_exists(through));
	client_close(&c);
	agent_rig_free(&r);
	pump_host_stop(&h);
}

static void kill_pump(struct agent_rig *r, struct pump_host *h, struct client *c)
{
	struct statfs st;
	pid_t pump = find_pump();

	cr_assert_gt(pump, 0);
	cr_assert_eq(kill(pump, SIGKILL), 0);
	RIG_UNTIL(r, statfs(h->target, &st) < 0 && errno == ENOTCONN);
	SERVE_UNTIL(r, h, c, statfs(h->target, &st) == 0);
}

/* Who puts the first mount into the container waits there for a disk, while the pump of that mount
 * dies and the next one's is there. */
Test(volume_host, a_mount_is_put_into_the_container_once_the_one_before_it_is, .timeout = 60)
{
	struct container_rig container;
	struct pump_host h;
	struct agent_rig r;
	struct client c;

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	mount_at(&r, h.target);
	await_volume(&r, &h, &c);
	auto_free char *below = path_join(h.root, "f"), *dam = path_join(h.dir, "in");
	container_rig_start(&container, &r, dam);
	/* One that has heard nothing of the container. */
	client_close(&c);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	auto_free char *seen = xasprintf("/proc/%d/root%s/f", (int)container.init, h.target);

	cr_assert_eq(file_replace(below, "x", 1, 0644, NULL), 0);
	kill_pump(&r, &h, &c);
	SERVE_UNTIL(&r, &h, &c, container_rig_guest(&container) != 0);
	kill_pump(&r, &h, &c);
	/* What that pump had to say. */
	while (loop_once(r.loop, 500, NULL) > 0)
		;
	container_rig_open_dam(&container);
	await_volume(&r, &h, &c);
	cr_expect(file_exists(seen));
	/* Everybody is known still. */
	cr_assert_eq(kill(container.monitor, SIGKILL), 0);
	RIG_UNTIL(&r, container_state(&r.agent) == CONTAINER_EXITED);
	client_close(&c);
	agent_rig_free(&r);
	container_rig_stop(&container);
	pump_host_stop(&h);
}

Test(volume_host, what_was_unmounted_stays_so)
{
	struct pump_host h;
	struct agent_rig r;
	struct client c;

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	mount_at(&r, h.target);
	await_volume(&r, &h, &c);
	cr_assert_eq(umount2(h.target, MNT_DETACH), 0);
	RIG_UNTIL(&r, find_pump() == 0);
	/* Longer than it takes one that died. */
	uint64_t deadline = deadline_in(1500);
	RIG_UNTIL(&r, deadline_left(deadline) == 0);
	cr_expect_eq(find_pump(), 0);
	client_close(&c);
	agent_rig_free(&r);
	pump_host_stop(&h);
}

static void want(struct agent_rig *r, const char *target, bool trusted)
{
	const struct proto_volume v = {.name = xstrdup("v"),
				       .kind = xstrdup("host"),
				       .target = xstrdup(target),
				       .source = xstrdup(""),
				       .trusted = trusted};
	struct proto_volumes l = {.v = xcalloc(1, sizeof(v)), .n = 1};
	struct err err = {0};

	l.v[0] = v;
	/* So that it mounts. */
	r->agent.machine = true;
	cr_assert_eq(volumes_apply(&r->agent, &l, &err), 0, "%s", err.msg);
	r->agent.machine = false;
}

static unsigned long untrusted(const char *target)
{
	struct statvfs st = {0};

	cr_assert_eq(statvfs(target, &st), 0);
	return st.f_flag & (ST_NOSUID | ST_NODEV);
}

Test(volume_host, one_that_goes_on_with_another_trust_is_mounted_so)
{
	struct pump_host h;
	struct agent_rig r;
	struct client c;

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	want(&r, h.target, false);
	await_volume(&r, &h, &c);
	cr_expect_eq(untrusted(h.target), ST_NOSUID | ST_NODEV);
	want(&r, h.target, true);
	await_volume(&r, &h, &c);
	cr_expect_eq(untrusted(h.target), 0);
	want(&r, h.target, false);
	await_volume(&r, &h, &c);
	cr_expect_eq(untrusted(h.target), ST_NOSUID | ST_NODEV);
	client_close(&c);
	agent_rig_free(&r);
	pump_host_stop(&h);
}

Test(volume_host, the_gate_is_shut_when_a_mount_cannot_be_changed)
{
	struct pump_host h;
	struct agent_rig r;
	struct client c;
	struct answer a = {0};

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	want(&r, h.target, false);
	await_volume(&r, &h, &c);
	cr_assert_eq(umount2(h.target, MNT_DETACH), 0);
	want(&r, h.target, true);
	volume_host_await(&r.agent, on_done, &a);
	RIG_UNTIL(&r, a.done);
	cr_expect_eq(a.code, -EIO);
	cr_expect_not_null(strstr(a.text, h.target), "%s", a.text);
	client_close(&c);
	agent_rig_free(&r);
	pump_host_stop(&h);
}

Test(volume_host, wishes_are_repeated_to_a_host_that_is_new)
{
	struct pump_host h;
	struct agent_rig r;
	struct client first, second;

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &first);
	mount_at(&r, h.target);
	RIG_UNTIL(&r, first.frames > 0);
	client_open(&r, AGENT_PORT_CONTROL, &second);
	volume_host_announce(&r.agent);
	RIG_UNTIL(&r, second.frames > 0);
	cr_expect_eq(second.last_type, MSG_EVENT_VOLUME);
	client_close(&first);
	client_close(&second);
	agent_rig_free(&r);
	pump_host_stop(&h);
}

Test(volume_host, streams_of_no_volume_and_noise_are_dropped)
{
	static const char *const noise[] = {"GET / HTTP/1.1\r\n\r\n",
					    "\xff\xff\xff\xff\xff\xff\xff\xff"};
	struct agent_rig r;

	agent_rig_new(&r);
	for (size_t i = 0; i < ARRAY_SIZE(noise); i++) {
		auto_close int ours = -1;
		int pair[2];
		char c;

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		ours = pair[0];
		cr_assert_eq(serve_connection(&r.agent, AGENT_PORT_VOLUMES, pair[1]), 0);
		cr_assert_eq(io_write_full(ours, noise[i], 8, 0, NULL), 0);
		RIG_UNTIL(&r, recv(ours, &c, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
	}
	agent_rig_free(&r);
}

Test(volume_host, one_that_cannot_be_mounted_says_so)
{
	struct pump_host h;
	struct agent_rig r;
	struct client c;
	struct answer a = {0};

	pump_host_start(&h);
	agent_rig_new(&r);
	client_open(&r, AGENT_PORT_CONTROL, &c);
	/* A file is no directory to mount on. */
	free(h.target);
	h.target = path_join(h.dir, "file");
	cr_assert_eq(file_replace(h.target, "x", 1, 0644, NULL), 0);
	mount_at(&r, h.target);
	volume_host_await(&r.agent, on_done, &a);
	SERVE_UNTIL(&r, &h, &c, a.done);
	cr_expect_eq(a.code, -EIO);
	cr_expect_not_null(strstr(a.text, h.target), "%s", a.text);
	client_close(&c);
	agent_rig_free(&r);
	pump_host_stop(&h);
}
