#include "slirp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "json.h"
#include "net.h"
#include "proc.h"
#include "xalloc.h"

#define READY_MS 10000
#define CALL_MS 5000
#define ANSWER_MAX (64u << 10)

struct slirp {
	const char *dir;
	int pidfd;
	int life; /* the other end is its: closed, it ends */
};

/* --- the process --- */

static int await_ready(int ready, int pidfd, struct err *err)
{
	uint64_t deadline_ms = deadline_in(READY_MS);
	char byte = 0;
	int r = io_wait(ready, POLLIN, deadline_ms);

	if (r == 0)
		return err_set(err, ERR_HOST, -ETIMEDOUT, "slirp4netns did not begin in time");
	if (r > 0 && read(ready, &byte, 1) == 1 && byte == '1')
		return 0;
	(void)io_wait(pidfd, POLLIN, deadline_ms);
	return err_set(err, ERR_HOST, -EIO,
		       "slirp4netns ended at once; supervisor.log has what it said");
}

static int make_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

int slirp_start(struct outside *outside, const char *dir, struct slirp **ret, struct err *err)
{
	auto_close int ready = -1, ready_theirs = -1, life = -1, life_theirs = -1, pidfd = -1;
	struct outside_slirp what = {.target = getpid(), .dir = dir, .sock = SLIRP_SOCK};
	auto_free char *sock = path_join(dir, SLIRP_SOCK);
	int r = file_remove_tree(sock, err);

	if (r == 0)
		r = make_pipe(&ready, &ready_theirs, err);
	if (r == 0)
		r = make_pipe(&life_theirs, &life, err);
	if (r < 0)
		return r;
	what.ready_fd = ready_theirs;
	what.exit_fd = life_theirs;
	r = outside_run_slirp(outside, &what, &pidfd, err);
	cleanup_close_p(&ready_theirs);
	ready_theirs = -1;
	if (r == 0)
		r = await_ready(ready, pidfd, err);
	if (r < 0)
		return r;
	*ret = xcalloc(1, sizeof(**ret));
	**ret = (struct slirp){.dir = dir, .pidfd = TAKE_FD(pidfd), .life = TAKE_FD(life)};
	return 0;
}

void slirp_stop(struct slirp *s)
{
	if (!s)
		return;
	auto_free char *sock = path_join(s->dir, SLIRP_SOCK);

	(void)proc_signal(s->pidfd, SIGTERM);
	cleanup_close_p(&s->life);
	cleanup_close_p(&s->pidfd);
	(void)unlink(sock);
	free(s);
}

int slirp_pidfd(const struct slirp *s)
{
	return s->pidfd;
}

/* --- its API: one connection a call, JSON both ways --- */

static int read_answer(int fd, struct buf *out, struct err *err)
{
	uint64_t deadline_ms = deadline_in(CALL_MS);

	for (;;) {
		char chunk[4096];
		int r = io_wait(fd, POLLIN, deadline_ms);
		ssize_t n = r > 0 ? read(fd, chunk, sizeof(chunk)) : -1;

		if (r == 0)
			return err_set(err, ERR_FAILED, -ETIMEDOUT, "slirp4netns does not answer");
		if (n == 0)
			return 0;
		if (n < 0 && (r < 0 || errno != EINTR))
			return err_sys(err, "cannot hear slirp4netns");
		if (n > 0)
			buf_add(out, chunk, (size_t)n);
		if (!buf_ok(out))
			return err_set(err, ERR_FAILED, -EMSGSIZE, "slirp4netns says too much");
	}
}

/* *ret gets what stands under "return"; the caller puts it. */
static int take_answer(const struct buf *text, struct json_object **ret, struct err *err)
{
	auto_json struct json_object *o = NULL;
	int r = json_parse(buf_str(text), text->len, &o, err);

	if (r < 0)
		return err_wrap(err, "slirp4netns");
	struct json_object *error = json_opt_obj(o, "error");

	if (error)
		return err_set(err, ERR_HOST, -EADDRINUSE, "slirp4netns: %s",
			       json_opt_str(error, "desc", "refused"));
	if (!json_opt_obj(o, "return"))
		return err_set(err, ERR_FAILED, -EPROTO, "slirp4netns gave no answer");
	*ret = json_object_get(json_opt_obj(o, "return"));
	return 0;
}

static int call(struct slirp *s, const char *verb, struct json_object *arguments,
		struct json_object **ret, struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();
	auto_free char *sock = path_join(s->dir, SLIRP_SOCK), *line = NULL;
	auto_buf struct buf text = BUF_INIT(ANSWER_MAX);
	auto_close int fd = -1;
	int r = 0;

	json_add_str(o, "execute", verb);
	json_add(o, "arguments", arguments);
	line = json_line(o);
	r = io_unix_connect(sock, deadline_in(CALL_MS), &fd, err);
	if (r == 0)
		r = io_write_full(fd, line, strlen(line), deadline_in(CALL_MS), err);
	if (r == 0 && shutdown(fd, SHUT_WR) < 0)
		r = err_sys(err, "cannot end a request to slirp4netns");
	if (r == 0)
		r = read_answer(fd, &text, err);
	return r < 0 ? r : take_answer(&text, ret, err);
}

int slirp_forward(struct slirp *s, const struct net_port *port, uint64_t *ret_id, struct err *err)
{
	struct json_object *a = json_object_new_object();
	auto_json struct json_object *answer = NULL;
	int r;

	json_add_str(a, "proto", port->udp ? "udp" : "tcp");
	json_add_str(a, "host_addr", port->host_ip);
	json_add_u64(a, "host_port", port->host_port);
	json_add_str(a, "guest_addr", NET_GUEST_IP);
	json_add_u64(a, "guest_port", port->guest_port);
	r = call(s, "add_hostfwd", a, &answer, err);
	return r < 0 ? r : json_get_u64(answer, "id", ret_id, err);
}

int slirp_unforward(struct slirp *s, uint64_t id, struct err *err)
{
	struct json_object *a = json_object_new_object();
	auto_json struct json_object *answer = NULL;
	struct err why = {0};
	int r;

	json_add_u64(a, "id", id);
	r = call(s, "remove_hostfwd", a, &answer, &why);
	if (r == -EADDRINUSE)
		return 0; /* it knows of no such forward */
	if (r < 0 && err)
		*err = why;
	return r;
}
