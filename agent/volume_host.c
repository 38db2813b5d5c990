#include "volume_host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "container.h"
#include "control.h"
#include "io.h"
#include "volume_bind.h"
#include "volume_flags.h"
#include "volume_head.h"
#include "volume_pump.h"
#include "xalloc.h"

#define INCOMING_MAX 64 /* streams whose head has not come */
#define AGAIN_MS 1000   /* until the place of a pump that died is taken */

/* How far the present pump's mount is on its way into the running container. */
enum binding {
	BIND_NOTHING, /* what a binder may still do is for a pump that has ended */
	BIND_WANTED,  /* when that binder has ended */
	BIND_RUNS,
};

struct host_mount {
	struct agent *agent;
	char *target;
	struct volume_pump pump; /* the child's */
	struct child child;
	int sock; /* -1: the pump has ended */
	struct loop_source src;
	bool late;   /* the container runs: it has to be put in there */
	bool served; /* it was mounted once: what ends that is made good */
	struct loop_source again;
	enum binding binding;
	struct volume_bind bind;
	struct child binder;
	struct volume_flags flags; /* the changer's */
	struct child changer;
	bool ready;
	char *failure;   /* NULL: none */
	uint16_t wanted; /* streams asked for, a bit each */
};

struct incoming {
	struct incoming *next;
	struct agent *agent;
	struct loop_source src;
	int fd;
	size_t len;
	uint8_t head[VOLUME_HEAD_MAX];
};

struct volume_hosts {
	struct host_mount *v[PROTO_VOLUMES_MAX];
	size_t n;
	struct incoming *incoming;
	size_t n_incoming;
	void (*done)(void *data, int code, const char *text);
	void *data;
	struct child probe;
};

int volume_hosts_new(struct agent *agent, struct err *err)
{
	(void)err;
	agent->volume_hosts = xcalloc(1, sizeof(*agent->volume_hosts));
	return 0;
}

static void incoming_free(struct incoming *in)
{
	struct volume_hosts *h = in->agent->volume_hosts;
	struct incoming **at = &h->incoming;

	while (*at != in)
		at = &(*at)->next;
	*at = in->next;
	h->n_incoming--;
	loop_remove(in->agent->loop, &in->src);
	cleanup_close_p(&in->fd);
	free(in);
}

static void mount_free(struct host_mount *m)
{
	loop_remove(m->agent->loop, &m->src);
	loop_remove(m->agent->loop, &m->again);
	child_forget(&m->agent->children, &m->child);
	child_forget(&m->agent->children, &m->binder);
	child_forget(&m->agent->children, &m->changer);
	cleanup_close_p(&m->sock);
	free(m->target);
	free(m->failure);
	free(m);
}

void volume_hosts_free(struct agent *agent)
{
	struct volume_hosts *h = agent->volume_hosts;

	if (!h)
		return;
	child_forget(&agent->children, &h->probe);
	while (h->incoming)
		incoming_free(h->incoming);
	for (size_t i = 0; i < h->n; i++)
		mount_free(h->v[i]);
	free(TAKE_PTR(agent->volume_hosts));
}

static struct host_mount *find(const struct volume_hosts *h, const char *target)
{
	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->v[i]->target, target) == 0)
			return h->v[i];
	return NULL;
}

/* --- who waits ------------------------------------------------------------------------------ */

static void finish(struct volume_hosts *h, int code, const char *text)
{
	void (*done)(void *data, int code, const char *text) = h->done;

	h->done = NULL;
	if (done)
		done(h->data, code, text);
}

static void check(struct volume_hosts *h)
{
	bool all = true;

	for (size_t i = 0; i < h->n; i++) {
		if (h->v[i]->failure) {
			finish(h, -EIO, h->v[i]->failure);
			return;
		}
		all &= h->v[i]->ready && h->v[i]->changer.pid == 0;
	}
	if (all && h->probe.pid == 0)
		finish(h, 0, "");
}

/* What a restored mount needs is a round trip: statfs is never answered from a cache. */
static int run_probe(void *data)
{
	const struct volume_hosts *h = data;

	for (size_t i = 0; i < h->n; i++) {
		struct statfs st;

		if (h->v[i]->ready && statfs(h->v[i]->target, &st) < 0)
			return (int)i + 1;
	}
	return 0;
}

static void on_probed(void *data, const struct child_end *end)
{
	struct volume_hosts *h = data;
	size_t n = end->status > 0 ? (size_t)end->status : 0;

	h->probe.pid = 0;
	if (n == 0) {
		check(h);
		return;
	}
	auto_free char *text = xasprintf("the volume at '%s' does not answer",
					 n <= h->n ? h->v[n - 1]->target : "?");

	finish(h, -ENOTCONN, text);
}

static bool any_ready(const struct volume_hosts *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->v[i]->ready)
			return true;
	return false;
}

void volume_host_await(struct agent *agent, void (*done)(void *data, int code, const char *text),
		       void *data)
{
	struct volume_hosts *h = agent->volume_hosts;
	struct child_spec spec = {.in = -1, .out = -1, .err = -1, .run = run_probe, .run_data = h};
	struct err err = {0};

	finish(h, -ECANCELED, "another resume began");
	h->done = done;
	h->data = data;
	if (any_ready(h) && h->probe.pid == 0 &&
	    child_spawn(&agent->children, &spec, &h->probe, on_probed, h, &err) < 0) {
		finish(h, err.code, err.msg);
		return;
	}
	check(h);
}

/* --- pumps ---------------------------------------------------------------------------------- */

/* Of one that was mounted once it is no last word. */
static void fail(struct host_mount *m, const char *text)
{
	if (m->failure)
		return;
	agent_say("the volume at '%s': %s", m->target, text);
	if (m->served)
		return;
	m->failure = xasprintf("the volume at '%s': %s", m->target, text);
	check(m->agent->volume_hosts);
}

static void set_ready(struct host_mount *m)
{
	m->ready = m->served = true;
	check(m->agent->volume_hosts);
}

static void bind_late(struct host_mount *m);

static void on_bound(void *data, const struct child_end *end)
{
	struct host_mount *m = data;
	enum binding was = m->binding;
	auto_free char *text = NULL;

	m->binding = BIND_NOTHING;
	if (was == BIND_WANTED)
		bind_late(m);
	if (was != BIND_RUNS)
		return;
	if (end->status == 0) {
		set_ready(m);
		return;
	}
	text = xasprintf("cannot put it into the container: %s", strerror(end->status));
	fail(m, text);
}

/* One binder at a time; a container that has ended meanwhile needs nothing any more. */
static void bind_late(struct host_mount *m)
{
	struct child_spec spec = {
		.in = -1, .out = -1, .err = -1, .run = volume_bind_run, .run_data = &m->bind};
	struct container_view view;
	struct err err = {0};

	if (m->binder.pid != 0) {
		m->binding = BIND_WANTED;
		return;
	}
	if (container_find(m->agent, container_name(m->agent), &view, NULL) < 0) {
		set_ready(m);
		return;
	}
	m->bind = (struct volume_bind){
		.container = view.pid, .target = m->target, .again = m->pump.again};
	if (child_spawn(&m->agent->children, &spec, &m->binder, on_bound, m, &err) < 0)
		fail(m, err.msg);
	else
		m->binding = BIND_RUNS;
}

static void hear(struct host_mount *m, const char *text, size_t len)
{
	unsigned int stream = len > 1 ? (uint8_t)text[1] : VOLUME_STREAMS_MAX;

	if (text[0] == VOLUME_WANTS && stream < VOLUME_STREAMS_MAX) {
		m->wanted |= (uint16_t)(1u << stream);
		control_event_volume(m->agent, m->target, stream);
	} else if (text[0] == VOLUME_READY) {
		if (m->late)
			bind_late(m);
		else
			set_ready(m);
	} else if (text[0] == VOLUME_FAILED) {
		fail(m, text + 1);
	}
}

static void close_sock(struct host_mount *m)
{
	m->binding = BIND_NOTHING;
	loop_remove(m->agent->loop, &m->src);
	cleanup_close_p(&m->sock);
}

static void on_pump(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct host_mount *m = src->data;
	char text[VOLUME_SENTENCE_MAX + 1];
	ssize_t n = recv(m->sock, text, VOLUME_SENTENCE_MAX, MSG_DONTWAIT);

	(void)loop;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		text[n] = '\0';
		hear(m, text, (size_t)n);
		return;
	}
	close_sock(m);
	m->ready = false;
	fail(m, "its process has ended");
}

static void on_again(struct loop *loop, struct loop_source *src, uint32_t events);

/* Its last words lie in the socket, where on_pump finds them before the end. Who was unmounted has
 * ended well; for one that died there is nobody else to carry the workload's messages. */
static void on_ended(void *data, const struct child_end *end)
{
	struct host_mount *m = data;

	if (m->served && end->status != 0)
		(void)loop_timer(m->agent->loop, &m->again, AGAIN_MS, 0, on_again, m, NULL);
}

static int start_pump(struct host_mount *m, struct err *err)
{
	int pair[2] = {-1, -1};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "cannot make a socket pair");
	auto_close int theirs = pair[1];

	m->sock = pair[0];
	m->wanted = 0;
	m->pump.sock = theirs;
	struct child_spec spec = {
		.in = -1, .out = -1, .err = -1, .run = volume_pump_run, .run_data = &m->pump};
	int r = io_set_nonblock(m->sock, true);

	if (r == 0)
		r = loop_add(m->agent->loop, &m->src, m->sock, EPOLLIN, on_pump, m, err);
	if (r == 0)
		r = child_spawn(&m->agent->children, &spec, &m->child, on_ended, m, err);
	return r;
}

/* What was open of it stays dead; what is opened from now on is not. */
static void on_again(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct host_mount *m = src->data;

	(void)events;
	close_sock(m);
	m->ready = false;
	m->pump.again = true;
	m->late = container_state(m->agent) == CONTAINER_STARTED;
	if (start_pump(m, NULL) < 0)
		(void)loop_timer(loop, src, AGAIN_MS, 0, on_again, m, NULL);
}

int volume_host_mount(struct agent *agent, const struct proto_volume *v, struct err *err)
{
	struct volume_hosts *h = agent->volume_hosts;
	struct host_mount *m = NULL;

	if (h->n >= PROTO_VOLUMES_MAX)
		return err_set(err, ERR_GUEST, -ENOSPC, "too many host volumes");
	m = xcalloc(1, sizeof(*m));
	*m = (struct host_mount){.agent = agent,
				 .target = xstrdup(v->target),
				 .sock = -1,
				 .late = container_state(agent) == CONTAINER_STARTED};
	m->pump = (struct volume_pump){
		.target = m->target, .read_only = v->read_only, .trusted = v->trusted};
	int r = start_pump(m, err);

	if (r < 0) {
		mount_free(m);
		return r;
	}
	h->v[h->n++] = m;
	return 0;
}

/* --- another trust -------------------------------------------------------------------------- */

/* Only what was done is noted: after a failure the next resume tries again. */
static void on_changed(void *data, const struct child_end *end)
{
	struct host_mount *m = data;

	m->changer.pid = 0;
	if (end->status == 0) {
		m->pump.trusted = m->flags.trusted;
		check(m->agent->volume_hosts);
		return;
	}
	auto_free char *text = xasprintf("cannot change how the volume at '%s' is mounted: %s",
					 m->target, strerror(end->status));

	finish(m->agent->volume_hosts, -EIO, text);
}

int volume_host_change(struct agent *agent, const struct proto_volume *v, struct err *err)
{
	struct host_mount *m = find(agent->volume_hosts, v->target);
	struct child_spec spec = {.in = -1, .out = -1, .err = -1, .run = volume_flags_run};
	struct container_view view = {0};

	if (!m || m->pump.trusted == (v->trusted != 0))
		return 0;
	if (!m->ready || m->changer.pid != 0)
		return err_set(err, ERR_GUEST, -EBUSY, "it is still being mounted otherwise");
	(void)container_find(agent, container_name(agent), &view, NULL);
	m->flags = (struct volume_flags){
		.container = view.pid, .target = m->target, .trusted = v->trusted != 0};
	spec.run_data = &m->flags;
	return child_spawn(&agent->children, &spec, &m->changer, on_changed, m, err);
}

/* --- streams -------------------------------------------------------------------------------- */

static void hand_over(struct incoming *in)
{
	auto_free char *target = NULL;
	unsigned int stream = 0;
	uint8_t number = 0;

	if (volume_head_get(in->head, in->len, &target, &stream, NULL) < 0)
		return;
	struct host_mount *m = find(in->agent->volume_hosts, target);

	number = (uint8_t)stream;
	if (!m || m->sock < 0 || io_send_fds(m->sock, &number, 1, &in->fd, 1, NULL) < 0)
		return;
	m->wanted &= (uint16_t) ~(1u << stream);
}

static void on_incoming(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct incoming *in = src->data;
	size_t want = volume_head_missing(in->head, in->len);
	ssize_t n = recv(in->fd, in->head + in->len, want, MSG_DONTWAIT);

	(void)loop;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		in->len += (size_t)n;
		want = volume_head_missing(in->head, in->len);
		if (want > 0 && want <= sizeof(in->head) - in->len)
			return;
		if (want == 0)
			hand_over(in);
	}
	incoming_free(in);
}

void volume_host_accept(struct agent *agent, int fd)
{
	struct volume_hosts *h = agent->volume_hosts;
	auto_close int owned = fd;
	struct incoming *in = NULL;

	if (h->n_incoming >= INCOMING_MAX)
		return;
	in = xcalloc(1, sizeof(*in));
	*in = (struct incoming){.next = h->incoming, .agent = agent, .fd = TAKE_FD(owned)};
	h->incoming = in;
	h->n_incoming++;
	if (loop_add(agent->loop, &in->src, in->fd, EPOLLIN, on_incoming, in, NULL) < 0)
		incoming_free(in);
}

void volume_host_announce(struct agent *agent)
{
	const struct volume_hosts *h = agent->volume_hosts;

	for (size_t i = 0; i < h->n; i++)
		for (unsigned int stream = 0; stream < VOLUME_STREAMS_MAX; stream++)
			if (h->v[i]->wanted >> stream & 1)
				control_event_volume(agent, h->v[i]->target, stream);
}

void volume_host_unmount(const struct agent *agent)
{
	const struct volume_hosts *h = agent->volume_hosts;

	for (size_t i = 0; i < h->n; i++)
		if (umount2(h->v[i]->target, 0) < 0)
			(void)umount2(h->v[i]->target, MNT_DETACH);
}
