#include "qmp.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#define READ_CHUNK 16384
#define DRAIN_READS 4

struct event {
	enum qmp_event kind;
	struct json_object *data;
};

struct qmp {
	int fd;
	struct buf in;
	size_t scanned; /* of in: holds no newline */
	uint64_t last_id;
	struct event events[QMP_EVENTS_MAX];
	size_t first, n_events; /* a ring */
};

static const char *const event_names[] = {
	[QMP_STOP] = "STOP",
	[QMP_RESUME] = "RESUME",
	[QMP_SHUTDOWN] = "SHUTDOWN",
	[QMP_MIGRATION] = "MIGRATION",
};

struct qmp *qmp_new(int fd)
{
	struct qmp *q = xcalloc(1, sizeof(*q));

	q->fd = fd;
	q->in = (struct buf)BUF_INIT(QMP_LINE_MAX + READ_CHUNK);
	return q;
}

void qmp_free_p(struct qmp **q)
{
	if (!*q)
		return;
	qmp_clear_events(*q);
	buf_free(&(*q)->in);
	(void)close((*q)->fd);
	free(*q);
	*q = NULL;
}

int qmp_fd(const struct qmp *q)
{
	return q->fd;
}

void qmp_clear_events(struct qmp *q)
{
	while (q->n_events > 0) {
		json_put_p(&q->events[q->first].data);
		q->first = (q->first + 1) % QMP_EVENTS_MAX;
		q->n_events--;
	}
}

static int keep_event(struct qmp *q, struct json_object *msg, struct err *err)
{
	const char *name = json_opt_str(msg, "event", "");
	struct json_object *data = json_opt_obj(msg, "data");

	for (size_t i = 0; i < ARRAY_SIZE(event_names); i++) {
		if (strcmp(name, event_names[i]) != 0)
			continue;
		if (q->n_events == QMP_EVENTS_MAX)
			return err_set(err, ERR_FAILED, -EPROTO, "qemu floods us with %s events",
				       name);
		q->events[(q->first + q->n_events++) % QMP_EVENTS_MAX] =
			(struct event){(enum qmp_event)i, json_object_get(data)};
		break;
	}
	return 0;
}

static int receive(struct qmp *q, uint64_t deadline_ms, struct err *err)
{
	char chunk[READ_CHUNK];
	ssize_t n;
	/* One that never stops talking is always ready, and must not outlast the deadline. */
	int r = deadline_left(deadline_ms) == 0 ? 0 : io_wait(q->fd, POLLIN, deadline_ms);

	if (r == 0)
		return err_set(err, ERR_TIMEOUT, -ETIMEDOUT, "qemu did not answer in time");
	if (r < 0)
		return err_sys_code(err, r, "cannot wait for qemu");
	n = recv(q->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return err_set(err, ERR_FAILED, -ECONNRESET, "qemu closed its monitor");
	if (n < 0)
		return err_sys(err, "cannot read from qemu");
	buf_add(&q->in, chunk, (size_t)n);
	return 0;
}

/* One message; a line without a newline is bounded before it can grow. */
static int next_message(struct qmp *q, uint64_t deadline_ms, struct json_object **ret,
			struct err *err)
{
	for (;;) {
		const char *start = buf_str(&q->in);
		const char *end = q->in.len > q->scanned
					  ? memchr(start + q->scanned, '\n', q->in.len - q->scanned)
					  : NULL;

		if (end) {
			size_t len = (size_t)(end - start);
			int r = json_parse(start, len, ret, err);

			buf_consume(&q->in, len + 1);
			q->scanned = 0;
			if (r == 0 && !json_object_is_type(*ret, json_type_object)) {
				json_put_p(ret);
				return err_set(err, ERR_FAILED, -EPROTO,
					       "qemu sent something other than a JSON object");
			}
			return r < 0 ? err_wrap(err, "qemu's monitor") : 0;
		}
		q->scanned = q->in.len;
		if (q->in.len > QMP_LINE_MAX)
			return err_set(err, ERR_FAILED, -EMSGSIZE,
				       "qemu sent a line of more than %u bytes", QMP_LINE_MAX);
		int r = receive(q, deadline_ms, err);
		if (r < 0)
			return r;
	}
}

int qmp_greet(struct qmp *q, uint64_t deadline_ms, struct err *err)
{
	auto_json struct json_object *hello = NULL;
	int r = next_message(q, deadline_ms, &hello, err);

	if (r < 0)
		return r;
	if (!json_opt_obj(hello, "QMP"))
		return err_set(err, ERR_FAILED, -EPROTO, "qemu did not greet us as QMP does");
	return qmp_do(q, "qmp_capabilities", deadline_ms, err);
}

static int send_command(struct qmp *q, const struct qmp_command *cmd, uint64_t deadline_ms,
			struct err *err)
{
	auto_json struct json_object *msg = json_object_new_object();
	auto_free char *line = NULL;
	auto_free char *text = NULL;
	int r;

	json_add_str(msg, "execute", cmd->name);
	json_add_u64(msg, "id", ++q->last_id);
	if (cmd->arguments)
		json_add(msg, "arguments", cmd->arguments);
	line = json_line(msg);
	text = xasprintf("%s\n", line);
	if (!cmd->fd_name)
		return io_write_full(q->fd, text, strlen(text), deadline_ms, err);
	r = io_send_fds(q->fd, text, strlen(text), &cmd->fd, 1, err);
	return r < 0 ? r : 0;
}

static int check_reply(const struct qmp *q, const char *name, struct json_object *msg,
		       struct json_object **ret, struct err *err)
{
	struct json_object *error = json_opt_obj(msg, "error");
	struct json_object *value = NULL;

	if (error)
		return err_set(err, ERR_FAILED, -EIO, "qemu refuses %s: %s", name,
			       json_opt_str(error, "desc", "no reason given"));
	if (json_opt_u64(msg, "id", 0) != q->last_id)
		return err_set(err, ERR_FAILED, -EPROTO,
			       "qemu answered something other than our %s", name);
	if (!json_object_object_get_ex(msg, "return", &value))
		return err_set(err, ERR_FAILED, -EPROTO, "qemu's answer to %s has no result", name);
	if (ret)
		*ret = json_object_get(value);
	return 0;
}

int qmp_call(struct qmp *q, const struct qmp_command *cmd, uint64_t deadline_ms,
	     struct json_object **ret, struct err *err)
{
	int r = send_command(q, cmd, deadline_ms, err);

	while (r == 0) {
		auto_json struct json_object *msg = NULL;

		r = next_message(q, deadline_ms, &msg, err);
		if (r < 0)
			break;
		if (!json_object_object_get_ex(msg, "event", NULL))
			return check_reply(q, cmd->name, msg, ret, err);
		r = keep_event(q, msg, err);
	}
	(void)err_wrap(err, "%s", cmd->name);
	return r;
}

int qmp_do(struct qmp *q, const char *name, uint64_t deadline_ms, struct err *err)
{
	const struct qmp_command cmd = {.name = name};

	return qmp_call(q, &cmd, deadline_ms, NULL, err);
}

int qmp_give_fd(struct qmp *q, const char *name, int fd, uint64_t deadline_ms, struct err *err)
{
	struct json_object *arguments = json_object_new_object();
	const struct qmp_command cmd = {
		.name = "getfd", .arguments = arguments, .fd = fd, .fd_name = name};

	json_add_str(arguments, "fdname", name);
	return qmp_call(q, &cmd, deadline_ms, NULL, err);
}

int qmp_next_event(struct qmp *q, uint64_t deadline_ms, enum qmp_event *ret,
		   struct json_object **ret_data, struct err *err)
{
	while (q->n_events == 0) {
		auto_json struct json_object *msg = NULL;
		int r = next_message(q, deadline_ms, &msg, err);

		if (r == 0 && !json_object_object_get_ex(msg, "event", NULL))
			r = err_set(err, ERR_FAILED, -EPROTO, "qemu answered without being asked");
		if (r == 0)
			r = keep_event(q, msg, err);
		if (r < 0)
			return r;
	}
	*ret = q->events[q->first].kind;
	*ret_data = TAKE_PTR(q->events[q->first].data);
	q->first = (q->first + 1) % QMP_EVENTS_MAX;
	q->n_events--;
	return 0;
}

int qmp_drain(struct qmp *q, struct err *err)
{
	char chunk[READ_CHUNK];

	/* Bounded: a VMM that never stops talking must not keep us from everything else. */
	for (int i = 0; i < DRAIN_READS; i++) {
		ssize_t n = recv(q->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		const char *newline;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return err_sys(err, "cannot read from qemu");
		if (n == 0)
			return err_set(err, ERR_FAILED, -ECONNRESET, "qemu closed its monitor");
		/* Only the part behind the last newline can still become a message. */
		newline = memrchr(chunk, '\n', (size_t)n);
		if (newline) {
			buf_reset(&q->in);
			q->scanned = 0;
			n -= newline + 1 - chunk;
			buf_add(&q->in, newline + 1, (size_t)n);
		} else if (q->in.len <= QMP_LINE_MAX) {
			buf_add(&q->in, chunk, (size_t)n);
		}
	}
	return 0;
}
