/* fake_guest.h - the guest half of the fake VMMs: a scripted agent, behind the real mux (fake_qemu)
 * or behind connections of its own (fake_firecracker). Longer than a header may be: a fake is one
 * program of one object file. */
#ifndef FCVM_TESTS_FAKE_GUEST_H
#define FCVM_TESTS_FAKE_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "loop.h"
#include "mux.h"
#include "parse.h"
#include "proto.h"
#include "proto_workload.h"
#include "tlv.h"
#include "xalloc.h"

#define TICK_MS 20
#define LAST_FRAMES_MS 30 /* for what is on its way through socket pairs and mux */

struct guest;

struct service {
	struct guest *g;
	struct service *prev, *next;
	uint32_t port;
	struct loop_source src;
	struct buf in, out;
	bool echo, waiting;
};

struct guest {
	struct loop *loop;
	struct mux *mux;
	struct strv script;
	int qmp, channel;
	struct buf qmp_in;
	int state_fd;
	bool incoming, running;
	struct service *all, *control, *logs;
	char *container, *hostname, *epoch, *metadata;
	bool check, frozen;
	uint64_t held;     /* a PREPARE or RESUME without an answer, 0: none */
	bool let_go;       /* no other one is held */
	uint64_t resuming; /* a RESUME that waits for health, 0: none */
	int exit_code;     /* of the container, -1: runs */
	uint64_t ticks;
	struct loop_source tick, end;
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	_exit(1);
}

static const char *scripted(const struct guest *g, const char *name)
{
	for (size_t i = 0; i < g->script.n; i++) {
		const char *word = g->script.v[i] + strlen("fake.");
		size_t n = strlen(name);

		if (strncmp(word, name, n) == 0 && (word[n] == '=' || word[n] == '\0'))
			return word[n] == '=' ? word + n + 1 : "";
	}
	return NULL;
}

static void add_script(struct guest *g, const char *text)
{
	auto_strv struct strv words = {0};

	if (parse_words(text, &words, NULL) < 0)
		return;
	for (size_t i = 0; i < words.n; i++)
		if (strncmp(words.v[i], "fake.", 5) == 0)
			strv_add(&g->script, words.v[i]);
}

/* Words every VMM of this program reads at its start. */
static void read_script_file(struct guest *g)
{
	auto_buf struct buf text = BUF_INIT(65536);
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 8);

	if (n < 0)
		return;
	memcpy(path + n, ".script", 8);
	if (file_read(path, 65535, &text, NULL) >= 0)
		add_script(g, buf_str(&text));
}

/* Whoever opens the other end knows that we are here. */
static void wait_at(const struct guest *g, const char *gate)
{
	const char *path = scripted(g, gate);
	auto_close int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char byte;

	if (path && (fd < 0 || read(fd, &byte, 1) != 1))
		die("fake: no gate '%s': %s", path, strerror(errno));
}

/* --- the agent's services ------------------------------------------------------------------- */

static void service_flush(struct service *s)
{
	while (s->out.len > 0) {
		ssize_t n = send(s->src.fd, s->out.data, s->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0)
			break;
		buf_consume(&s->out, (size_t)n);
	}
	(void)loop_mod(s->g->loop, &s->src,
		       (s->out.len < 65536 ? EPOLLIN : 0u) | (s->out.len ? EPOLLOUT : 0u));
}

static void put(struct service *s, enum agent_msg msg, const struct buf *body)
{
	if (!s)
		return;
	frame_put(&s->out, (uint16_t)msg, 0, body ? buf_str(body) : "", body ? body->len : 0);
	service_flush(s);
}

static void reply(struct service *s, uint64_t id, int code, const char *text)
{
	auto_buf struct buf b = BUF_INIT(4096);

	tlv_put_u64(&b, TAG_ID, id);
	tlv_put_u64(&b, TAG_CODE, (uint64_t)code);
	tlv_put_str(&b, TAG_TEXT, text);
	put(s, MSG_REPLY, &b);
}

static void say_state(struct guest *g, enum agent_msg msg, const char *state, int code)
{
	auto_buf struct buf b = BUF_INIT(4096);

	tlv_put_str(&b, TAG_NAME, g->container);
	tlv_put_str(&b, TAG_STATE, state);
	if (code >= 0)
		tlv_put_u64(&b, TAG_EXIT_CODE, (uint64_t)code);
	tlv_put_str(&b, TAG_TEXT, msg == MSG_EVENT_HEALTH ? "fake probe" : "");
	put(g->control, msg, &b);
}

static void log_line(struct guest *g, const char *text)
{
	auto_buf struct buf b = BUF_INIT(4096);

	tlv_put_str(&b, TAG_NAME, g->container);
	tlv_put_u64(&b, TAG_STREAM, 1);
	tlv_put_u64(&b, TAG_UNIX_NS, (uint64_t)io_unix_ms() * 1000000);
	tlv_put(&b, TAG_DATA, text, strlen(text));
	put(g->logs, MSG_LOG, &b);
}

static void on_end(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)src;
	(void)events;
	_exit(0);
}

static void container_ends(struct guest *g, int code)
{
	if (!g->container || g->exit_code >= 0)
		return;
	g->exit_code = code;
	log_line(g, "bye");
	say_state(g, MSG_EVENT_CONTAINER, "exited", code);
}

static void on_tick(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct guest *g = src->data;
	auto_free char *text =
		xasprintf("tick %llu host=%s epoch=%s", (unsigned long long)g->ticks,
			  g->hostname ? g->hostname : "-", g->epoch ? g->epoch : "-");

	(void)loop;
	(void)events;
	if (!g->container || g->frozen || g->exit_code >= 0 || !g->running)
		return;
	g->ticks++;
	log_line(g, text);
	if (scripted(g, "exit") && g->ticks == 2) {
		uint64_t code = 0;

		(void)parse_u64(scripted(g, "exit"), 0, 255, &code, NULL);
		container_ends(g, (int)code);
	}
}

static void say_health(struct guest *g)
{
	if (g->check)
		say_state(g, MSG_EVENT_HEALTH, scripted(g, "unhealthy") ? "unhealthy" : "healthy",
			  -1);
}

static void hello(struct service *s, uint64_t id)
{
	auto_buf struct buf b = BUF_INIT(4096);
	uint64_t version = AGENT_PROTO_VERSION;

	if (scripted(s->g, "protocol"))
		(void)parse_u64(scripted(s->g, "protocol"), 0, 1000, &version, NULL);
	tlv_put_u64(&b, TAG_ID, id);
	tlv_put_u64(&b, TAG_CODE, 0);
	tlv_put_u64(&b, TAG_VERSION, version);
	tlv_put_str(&b, TAG_BOOT_ID, "fake");
	put(s, MSG_REPLY, &b);
	if (s->g->container && s->g->exit_code < 0)
		say_state(s->g, MSG_EVENT_CONTAINER, "started", -1);
}

static void resume(struct service *s, uint64_t id, const struct frame *f)
{
	static const char *const gates[] = {"clock",   "entropy", "identity", "sockets",
					    "network", "volumes", "hooks",    "health"};
	struct guest *g = s->g;
	auto_proto_resume struct proto_resume r = {0};
	struct err err = {0};

	if (proto_get_resume(f->body, f->len, &r, &err) < 0) {
		reply(s, id, EINVAL, err.msg);
		return;
	}
	free(g->hostname);
	free(g->epoch);
	free(g->metadata);
	g->hostname = TAKE_PTR(r.hostname);
	g->epoch = TAKE_PTR(r.epoch);
	g->metadata = TAKE_PTR(r.metadata);
	g->frozen = false;
	if (r.has_health)
		g->check = proto_health_has_check(&r.health);
	for (size_t i = 0; i < ARRAY_SIZE(gates); i++) {
		auto_buf struct buf b = BUF_INIT(256);

		tlv_put_str(&b, TAG_NAME, gates[i]);
		tlv_put_u64(&b, TAG_MS, i);
		put(s, MSG_EVENT_GATE, &b);
	}
	say_health(g);
	/* As the agent: a clone's identity is answered for when its workload is healthy. */
	if (scripted(g, "hold_resume"))
		g->held = id;
	else if (!g->container || !g->check || !scripted(g, "unhealthy"))
		reply(s, id, 0, NULL);
	else
		g->resuming = id;
}

static void workload(struct service *s, uint64_t id, const struct frame *f)
{
	struct guest *g = s->g;
	auto_proto_container struct proto_container c = {0};
	const uint8_t *body = NULL;
	size_t len = 0;
	struct err err = {0};

	if (proto_find(f->body, f->len, TAG_CONTAINER, &body, &len, &err) <= 0 ||
	    proto_get_container(body, len, &c, &err) < 0) {
		reply(s, id, EINVAL, err.msg);
		return;
	}
	g->container = TAKE_PTR(c.name);
	g->check = proto_health_has_check(&c.health);
	g->exit_code = -1;
	reply(s, id, 0, NULL);
	say_state(g, MSG_EVENT_CONTAINER, "started", -1);
	say_health(g);
}

static void metadata(struct service *s, uint64_t id, const struct frame *f)
{
	free(TAKE_PTR(s->g->metadata));
	(void)proto_find_str(f->body, f->len, TAG_METADATA, 65536, &s->g->metadata, NULL);
	reply(s, id, 0, NULL);
}

static void healthcheck(struct service *s, uint64_t id, const struct frame *f)
{
	struct guest *g = s->g;
	struct proto_health h = {0};
	const uint8_t *body = NULL;
	size_t len = 0;

	/* As the agent: the check that a resume brings is what counts once its hooks are done. */
	if ((!scripted(g, "hold_resume") || g->let_go) &&
	    proto_find(f->body, f->len, TAG_HEALTH, &body, &len, NULL) > 0 &&
	    proto_get_health(body, len, &h, NULL) >= 0)
		g->check = proto_health_has_check(&h);
	proto_health_free(&h);
	/* Its first probe is never due. */
	reply(s, id, 0, NULL);
}

static void shut_down(struct service *s, uint64_t id, const struct frame *f)
{
	struct guest *g = s->g;

	(void)f;
	if (scripted(g, "cross"))
		reply(s, g->held, 0, NULL);
	reply(s, id, 0, NULL);
	/* As the agent: what stands still gets no SIGTERM. */
	container_ends(g, g->frozen ? 137 : 143);
	if (g->resuming)
		reply(s, g->resuming, ESRCH, "the container ended before it was healthy");
	if (!scripted(g, "cross") && !scripted(g, "freezing"))
		(void)loop_timer(g->loop, &g->end, LAST_FRAMES_MS, 0, on_end, g, NULL);
}

static bool refuse(struct service *s, uint64_t id, uint16_t msg)
{
	auto_free char *name = xasprintf("refuse_%s", agent_msg_name(msg));
	const char *text = scripted(s->g, name);
	uint64_t code = 0;

	if (!text || parse_u64(text, 1, 4095, &code, NULL) < 0)
		return false;
	reply(s, id, (int)code, "scripted");
	return true;
}

/* As the agent: what is being frozen is not, any more. */
static void thaw(struct service *s, uint64_t id)
{
	if (scripted(s->g, "freezing"))
		reply(s, s->g->held, ECANCELED, "the workload was thawed meanwhile");
	s->g->frozen = false;
	reply(s, id, 0, NULL);
}

static bool holds(const struct guest *g)
{
	return scripted(g, "cross") || scripted(g, "freezing") ||
	       (scripted(g, "hold") && !g->let_go);
}

static void on_control(struct service *s, const struct frame *f)
{
	uint64_t id = 0;

	(void)proto_find_u64(f->body, f->len, TAG_ID, 0, &id, NULL);
	if (refuse(s, id, f->type))
		return;
	if (f->type == MSG_HELLO) {
		hello(s, id);
	} else if (f->type == MSG_RESUME) {
		resume(s, id, f);
	} else if (f->type == MSG_WORKLOAD) {
		workload(s, id, f);
	} else if (f->type == MSG_METADATA) {
		metadata(s, id, f);
	} else if (f->type == MSG_HEALTHCHECK) {
		healthcheck(s, id, f);
	} else if (f->type == MSG_SHUTDOWN) {
		shut_down(s, id, f);
	} else if (f->type == MSG_PREPARE && scripted(s->g, "frozen")) {
		return;
	} else if (f->type == MSG_PREPARE && holds(s->g)) {
		s->g->held = id;
	} else if (f->type == MSG_THAW) {
		thaw(s, id);
	} else {
		s->g->frozen = f->type == MSG_PREPARE;
		reply(s, id, 0, NULL);
	}
}

static void let_go(struct guest *g)
{
	g->let_go = true;
	g->frozen = !scripted(g, "hold_resume");
	reply(g->control, g->held, 0, NULL);
}

static void exec_exit(struct service *s, int code, const char *text)
{
	auto_buf struct buf b = BUF_INIT(4096);

	tlv_put_u64(&b, TAG_EXIT_CODE, (uint64_t)code);
	tlv_put_str(&b, TAG_TEXT, text);
	put(s, MSG_EXEC_EXIT, &b);
}

static void exec_say(struct service *s, const char *text)
{
	auto_buf struct buf b = BUF_INIT(65536);

	buf_addf(&b, "%s\n", text);
	put(s, MSG_EXEC_STDOUT, &b);
}

static int number(const struct strv *argv)
{
	uint64_t n = 0;

	if (argv->n > 1)
		(void)parse_u64(argv->v[1], 0, 255, &n, NULL);
	return (int)n;
}

static void exec_command(struct service *s, const struct strv *argv)
{
	struct guest *g = s->g;
	const char *name = argv->n ? argv->v[0] : "";

	if (strcmp(name, "cat") == 0) {
		s->echo = true;
	} else if (strcmp(name, "wait") == 0) {
		s->waiting = true;
	} else if (strcmp(name, "poweroff") == 0) {
		_exit(0);
	} else if (strcmp(name, "crash") == 0) {
		die("fake: crashed as told");
	} else if (strcmp(name, "echo") == 0 || strcmp(name, "identity") == 0) {
		auto_buf struct buf b = BUF_INIT(65536);

		for (size_t i = 1; i < argv->n; i++)
			buf_addf(&b, "%s%s", i > 1 ? " " : "", argv->v[i]);
		if (name[0] == 'i')
			buf_addf(&b, "%s %s %s", g->hostname, g->epoch,
				 g->metadata ? g->metadata : "-");
		exec_say(s, buf_str(&b));
		exec_exit(s, 0, NULL);
	} else if (strcmp(name, "exit") == 0) {
		exec_exit(s, number(argv), NULL);
	} else if (strcmp(name, "frozen") == 0) {
		exec_exit(s, g->frozen ? 0 : 1, NULL);
	} else if (strcmp(name, "checked") == 0) {
		exec_exit(s, g->check ? 0 : 1, NULL);
	} else if (strcmp(name, "held") == 0) {
		exec_exit(s, g->held ? 0 : 1, NULL);
	} else if (strcmp(name, "let-go") == 0) {
		exec_exit(s, 0, NULL);
		let_go(g);
	} else if (strcmp(name, "container-exit") == 0) {
		exec_exit(s, 0, NULL);
		container_ends(g, number(argv));
	} else {
		exec_exit(s, 127, "command not found");
	}
}

static void on_exec(struct service *s, const struct frame *f)
{
	auto_strv struct strv argv = {0};
	struct tlv t = {0};
	size_t pos = 0;
	uint64_t sig = 0;

	if (f->type == MSG_EXEC_STDIN && s->echo) {
		frame_put(&s->out, MSG_EXEC_STDOUT, 0, f->body, f->len);
		service_flush(s);
	} else if (f->type == MSG_EXEC_STDIN_EOF && s->echo) {
		exec_exit(s, 0, NULL);
	} else if (f->type == MSG_EXEC_SIGNAL && s->waiting) {
		(void)proto_find_u64(f->body, f->len, TAG_SIGNAL, 0, &sig, NULL);
		exec_exit(s, 128 + (int)sig, NULL);
	} else if (f->type == MSG_EXEC_START) {
		while (tlv_next(f->body, f->len, &pos, &t, NULL) > 0) {
			char *word = NULL;

			if (t.tag == TAG_ARG && tlv_str(&t, 65536, &word, NULL) >= 0)
				strv_add_take(&argv, word);
		}
		exec_command(s, &argv);
	}
}

static void service_free(struct service *s)
{
	struct guest *g = s->g;

	if (g->control == s)
		g->control = NULL;
	if (g->logs == s)
		g->logs = NULL;
	if (s->prev)
		s->prev->next = s->next;
	else
		g->all = s->next;
	if (s->next)
		s->next->prev = s->prev;
	loop_remove(g->loop, &s->src);
	(void)close(s->src.fd);
	buf_free(&s->in);
	buf_free(&s->out);
	free(s);
}

static void on_service(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct service *s = src->data;
	char chunk[65536];
	ssize_t n = recv(src->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	struct frame f = {0};
	size_t used = 0;

	(void)loop;
	if (events & EPOLLOUT)
		service_flush(s);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		service_free(s);
		return;
	}
	buf_add(&s->in, chunk, (size_t)n);
	while (frame_get((const uint8_t *)buf_str(&s->in), s->in.len, AGENT_CONTROL_MAX, &f, &used,
			 NULL) > 0) {
		if (s->port == AGENT_PORT_CONTROL)
			on_control(s, &f);
		else if (s->port == AGENT_PORT_EXEC)
			on_exec(s, &f);
		buf_consume(&s->in, used);
	}
}

static bool is_served(uint32_t port)
{
	return port == AGENT_PORT_CONTROL || port == AGENT_PORT_LOGS || port == AGENT_PORT_EXEC ||
	       port == AGENT_PORT_STATUS;
}

/* fd, non-blocking, is the service's. */
static void service_start(struct guest *g, uint32_t port, int fd)
{
	struct service *s = xcalloc(1, sizeof(*s));

	s->g = g;
	s->port = port;
	s->in = (struct buf)BUF_INIT(4u << 20);
	s->out = (struct buf)BUF_INIT(64u << 20);
	s->next = g->all;
	if (s->next)
		s->next->prev = s;
	g->all = s;
	(void)loop_add(g->loop, &s->src, fd, EPOLLIN, on_service, s, NULL);
	if (port == AGENT_PORT_CONTROL)
		g->control = s;
	if (port == AGENT_PORT_LOGS)
		g->logs = s;
}

#endif
