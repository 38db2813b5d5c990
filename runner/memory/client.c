/* client.c - the page server as its supervisors, fcvm and the steps of apply see it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "frame.h"
#include "io.h"
#include "memserver.h"
#include "strv.h"
#include "wire.h"

#define READY_FD 3
/* Before it is ready it reads the whole memory file once, from a disk that may be slow. */
#define START_BYTES_PER_MS 16384u
#define START_MS 60000u

/* --- starting --- */

void memserver_argv(const struct host *host, const struct memserver_spec *spec, struct strv *argv)
{
	strv_add(argv, host->exe);
	strv_add(argv, "internal");
	strv_add(argv, "memserver");
	strv_addf(argv, "--tag=%s", spec->tag ? spec->tag : "");
	strv_add(argv, "--dir");
	strv_add(argv, spec->dir);
	strv_addf(argv, "--memory=%s", spec->memory);
	strv_addf(argv, "--uid=%u", spec->uid);
	strv_addf(argv, "--gid=%u", spec->gid);
	strv_addf(argv, "--ready-fd=%d", READY_FD);
	if (spec->foreground)
		strv_add(argv, "--foreground");
}

static int spawn(const struct host *host, const struct memserver_spec *spec, int log, int ready,
		 int *ret_pidfd, pid_t *ret_pid, struct err *err)
{
	auto_strv struct strv argv = {0};
	const struct proc_fd fds[] = {{.from = ready, .to = READY_FD}};

	memserver_argv(host, spec, &argv);
	const struct proc_spec child = {
		.argv = (const char *const *)argv.v,
		.in = -1,
		.out = -1,
		.err = log,
		.fds = fds,
		.n_fds = ARRAY_SIZE(fds),
		.new_session = !spec->foreground,
		.death_signal = spec->foreground ? SIGKILL : 0,
	};
	return proc_spawn(&child, ret_pidfd, ret_pid, err);
}

/* 'R', or 'E' and a sentence up to the end, or nothing when it died without a word. */
static int await_ready(int fd, uint64_t deadline_ms, struct err *err)
{
	char text[1024] = "";
	size_t len = 0;

	while (len < sizeof(text) - 1) {
		int r = io_wait(fd, POLLIN, deadline_ms);

		if (r == 0)
			return err_set(err, ERR_NOT_READY, -ETIMEDOUT, "it was not ready in time");
		ssize_t n = r < 0 ? r : read(fd, text + len, sizeof(text) - 1 - len);
		if (n < 0)
			return err_sys(err, "cannot hear from it");
		if (n == 0)
			break;
		len += (size_t)n;
		if (text[0] == 'R')
			return 0;
	}
	text[len] = '\0';
	return err_set(err, ERR_FAILED, -ECHILD, "%s", len > 1 ? text + 1 : "it ended at once");
}

static int start(const struct host *host, const struct memserver_spec *spec, struct proc_id *ret,
		 struct err *err)
{
	auto_free char *log_path = path_join(spec->dir, "server.log");
	auto_close int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	auto_close int pidfd = -1;
	int pipe_fds[2], status = 0, r;
	pid_t pid = 0;

	if (log < 0)
		return err_sys(err, "cannot open '%s'", log_path);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int ready = pipe_fds[0];
	auto_close int write_end = pipe_fds[1];
	r = spawn(host, spec, log, write_end, &pidfd, &pid, err);
	if (r < 0)
		return r;
	(void)close(TAKE_FD(write_end));
	r = await_ready(ready, spec->deadline_ms, err);
	if (r == 0)
		r = proc_id_of(pid, ret, err);
	if (r < 0) {
		(void)proc_signal(pidfd, SIGKILL);
		(void)proc_wait(pidfd, 0, &status, NULL);
	}
	return r;
}

uint64_t memserver_start_ms(uint64_t bytes)
{
	return START_MS + bytes / START_BYTES_PER_MS;
}

int memserver_spawn(const struct host *host, const struct memserver_spec *spec, struct proc_id *ret,
		    struct err *err)
{
	int r = start(host, spec, ret, err);

	return r < 0 ? err_wrap(err, "page server of '%s'", spec->memory) : 0;
}

/* --- talking --- */

struct talk {
	int fd;
	uint64_t deadline_ms;
	struct buf body; /* of the last reply */
	struct proc_id server;
};

static void talk_end(struct talk *t)
{
	cleanup_close_p(&t->fd);
	buf_free(&t->body);
}
#define auto_talk __attribute__((cleanup(talk_end)))
#define TALK_INIT(deadline)                               \
	{                                                 \
		-1, (deadline), BUF_INIT(FRAME_BODY_MAX), \
		{                                         \
			0                                 \
		}                                         \
	}

/* The server's own error as ours. */
static int take_error(const char *text, size_t len, struct err *err)
{
	auto_json struct json_object *o = NULL;
	int r = json_parse(text, len, &o, err);

	if (r < 0)
		return err_wrap(err, "bad report of the page server");
	uint64_t class = json_opt_u64(o, "class", ERR_FAILED);
	uint64_t code = json_opt_u64(o, "code", EPROTO);
	(void)err_set(err, class <= ERR_INTERRUPTED ? (enum err_class) class : ERR_FAILED,
		      code > 0 && code < 4096 ? -(int)code : -EPROTO, "%s",
		      json_opt_str(o, "message", "the page server gave no reason"));
	const char *hint = json_opt_str(o, "hint", "");
	if (*hint)
		(void)err_hint(err, "%s", hint);
	return code > 0 && code < 4096 ? -(int)code : -EPROTO;
}

static int send_request(struct talk *t, enum wire_type type, struct json_object *body, int pass_fd,
			struct err *err)
{
	auto_buf struct buf out = BUF_INIT(FRAME_HEAD_SIZE + WIRE_BODY_MAX);
	auto_free char *text = json_line(body);

	frame_put(&out, (uint16_t)type, 0, text, strlen(text));
	if (!buf_ok(&out))
		return err_set(err, ERR_FAILED, -EMSGSIZE, "request of %zu bytes, limit %u",
			       strlen(text), WIRE_BODY_MAX);
	return pass_fd < 0 ? io_write_full(t->fd, out.data, out.len, t->deadline_ms, err)
			   : io_send_fds(t->fd, out.data, out.len, &pass_fd, 1, err);
}

/* body is consumed. want: the type of the reply; *ret is its object when not NULL. */
static int ask(struct talk *t, enum wire_type type, struct json_object *body, int pass_fd,
	       enum wire_type want, struct json_object **ret, struct err *err)
{
	auto_json struct json_object *owned = body;
	struct frame f = {0};
	int r = send_request(t, type, owned, pass_fd, err);

	if (r == 0)
		r = frame_read(t->fd, FRAME_BODY_MAX, &f, &t->body, t->deadline_ms, err);
	if (r < 0)
		return r;
	if (f.type == WIRE_ERROR || f.type == WIRE_REPORT)
		return take_error((const char *)f.body, f.len, err);
	if (f.type != (uint16_t)want)
		return err_set(err, ERR_FAILED, -EPROTO,
			       "the page server sent frame %u, expected %d", f.type, (int)want);
	return ret ? json_parse((const char *)f.body, f.len, ret, err) : 0;
}

static int read_hello(struct talk *t, struct json_object *o, struct err *err)
{
	const char *boot_id = "";
	uint64_t pid = 0;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int r = json_get_u64(o, "pid", &pid, err);

	if (r == 0)
		r = json_get_u64(o, "start_time", &t->server.start_time, err);
	if (r == 0)
		r = json_get_str(o, "boot_id", &boot_id, err);
	if (r < 0)
		return r;
	if (getsockopt(t->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return err_sys(err, "cannot see who answers");
	if (peer.pid != (pid_t)pid || strlen(boot_id) >= sizeof(t->server.boot_id))
		return err_set(err, ERR_FAILED, -EPROTO, "process %d answers for page server %ju",
			       peer.pid, (uintmax_t)pid);
	t->server.pid = peer.pid;
	memcpy(t->server.boot_id, boot_id, strlen(boot_id) + 1);
	return 0;
}

static int talk_start(struct talk *t, const char *sock_path, struct err *err)
{
	auto_json struct json_object *reply = NULL;
	struct json_object *hello = json_object_new_object();
	int r;

	json_add_u64(hello, "proto", MEMSERVER_PROTO_VERSION);
	json_add_str(hello, "version", FCVM_VERSION);
	r = io_unix_connect(sock_path, t->deadline_ms, &t->fd, err);
	if (r < 0) {
		json_put_p(&hello);
		return r;
	}
	r = ask(t, WIRE_HELLO, hello, -1, WIRE_HELLO, &reply, err);
	return r < 0 ? r : read_hello(t, reply, err);
}

int memserver_connect(const char *sock_path, const struct memserver_announce *a,
		      uint64_t deadline_ms, int *ret_conn, struct proc_id *ret_server,
		      struct err *err)
{
	auto_talk struct talk t = TALK_INIT(deadline_ms);
	struct json_object *body = NULL;
	int r = talk_start(&t, sock_path, err);

	if (r < 0)
		return r;
	body = json_object_new_object();
	json_add_str(body, "vm_id", a->vm_id);
	json_add_u64(body, "uid", a->uid);
	json_add_u64(body, "pid", (uint64_t)a->vmm.pid);
	json_add_u64(body, "start_time", a->vmm.start_time);
	json_add_str(body, "boot_id", a->vmm.boot_id);
	r = ask(&t, WIRE_ANNOUNCE, body, a->listen_fd, WIRE_OK, NULL, err);
	if (r == 0)
		r = io_set_nonblock(t.fd, true);
	if (r < 0)
		return r;
	*ret_server = t.server;
	*ret_conn = TAKE_FD(t.fd);
	return 0;
}

int memserver_ping(int conn, struct err *err)
{
	uint8_t frame[FRAME_HEAD_SIZE] = {0};

	store_le16(frame + 4, WIRE_PING);
	ssize_t n = send(conn, frame, sizeof(frame), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return err_sys(err, "the page server is gone");
	return n == (ssize_t)sizeof(frame)
		       ? 0
		       : err_set(err, ERR_FAILED, -EPIPE, "the page server reads nothing");
}

/* Peeked first: a frame is taken whole or left for the next call, so that no state is kept. */
int memserver_read(int conn, struct err *err)
{
	uint8_t data[FRAME_HEAD_SIZE + WIRE_BODY_MAX];
	struct frame f;
	size_t used = 0;
	ssize_t n = recv(conn, data, sizeof(data), MSG_DONTWAIT | MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return err_sys(err, "the page server is gone");
	if (n == 0)
		return err_set(err, ERR_FAILED, -EPIPE, "the page server is gone");
	int r = frame_get(data, (size_t)n, WIRE_BODY_MAX, &f, &used, err);
	if (r <= 0)
		return r;
	(void)recv(conn, data, used, MSG_DONTWAIT);
	if (f.type == WIRE_PONG || f.type == WIRE_HANDOFF)
		return 1;
	if (f.type == WIRE_REPORT || f.type == WIRE_ERROR) {
		r = take_error((const char *)f.body, f.len, err);
		(void)err_wrap(err, "the page server cannot serve this VM");
		return r;
	}
	return err_set(err, ERR_FAILED, -EPROTO, "the page server sent frame %u", f.type);
}

int memserver_metrics(const char *sock_path, uint64_t deadline_ms, struct json_object **ret,
		      struct err *err)
{
	auto_talk struct talk t = TALK_INIT(deadline_ms);
	int r = talk_start(&t, sock_path, err);

	return r < 0 ? r
		     : ask(&t, WIRE_METRICS, json_object_new_object(), -1, WIRE_METRICS, ret, err);
}

static bool is_gone(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED;
}

static int stop(const char *sock_path, bool force, uint64_t deadline_ms, struct err *err)
{
	auto_talk struct talk t = TALK_INIT(deadline_ms);
	auto_close int pidfd = -1;
	struct json_object *body = NULL;
	int r = talk_start(&t, sock_path, err);

	if (r < 0)
		return r;
	r = proc_id_open(&t.server, t.server.boot_id, &pidfd);
	if (r < 0)
		return r == -ESRCH ? 0 : err_sys_code(err, r, "cannot hold the page server");
	body = json_object_new_object();
	json_add_bool(body, "force", force);
	r = ask(&t, WIRE_STOP, body, -1, WIRE_OK, NULL, err);
	if (r < 0)
		return r;
	r = io_wait(pidfd, POLLIN, deadline_ms);
	if (r == 0)
		return err_set(err, ERR_TIMEOUT, -ETIMEDOUT, "page server %d did not end in time",
			       t.server.pid);
	return r < 0 ? err_sys_code(err, r, "cannot wait for the page server") : 0;
}

int memserver_stop(const char *sock_path, bool force, uint64_t deadline_ms, struct err *err)
{
	struct err why = {0};
	int r = stop(sock_path, force, deadline_ms, &why);

	if (r < 0 && !is_gone(r)) {
		if (err)
			*err = why;
		return r;
	}
	/* The server has no right to its directory any more: its socket is ours to remove. */
	if (unlink(sock_path) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove '%s'", sock_path);
	return 0;
}
