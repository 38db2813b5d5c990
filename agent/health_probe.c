#include "health_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "launch.h"
#include "parse.h"
#include "xalloc.h"

struct probe {
	struct agent *agent;
	probe_done done;
	void *data;
	struct probe_target target;
	bool http;
	uint64_t timeout_ms;
	int fd;
	struct loop_source sock;
	struct loop_source timer;
	struct buf request; /* what is still to be sent */
	struct buf answer;
	struct task *task;
};

static void probe_free(struct probe *p)
{
	loop_remove(p->agent->loop, &p->sock);
	loop_remove(p->agent->loop, &p->timer);
	cleanup_close_p(&p->fd);
	buf_free(&p->request);
	buf_free(&p->answer);
	free(p);
}

void probe_abandon(struct probe *p)
{
	if (p->task)
		task_abandon(p->task);
	probe_free(p);
}

static void finish(struct probe *p, bool ok, const char *output)
{
	p->done(p->data, ok, output);
	probe_free(p);
}

__attribute__((format(printf, 2, 3))) static void fail(struct probe *p, const char *fmt, ...)
{
	auto_buf struct buf text = BUF_INIT(512);
	va_list ap;

	buf_addf(&text, "%s %s:%u: ", p->http ? "GET" : "connect", p->target.address,
		 p->target.port);
	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	finish(p, false, buf_str(&text));
}

static void on_timeout(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct probe *p = src->data;
	char limit[32];

	(void)loop;
	(void)events;
	fail(p, "no answer within %s", format_duration_ms(p->timeout_ms, limit, sizeof(limit)));
}

/* Only the first line matters; the rest of the body is not waited for. */
static void read_answer(struct probe *p)
{
	char piece[512];
	ssize_t n = recv(p->fd, piece, sizeof(piece), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail(p, "%s", strerror(errno));
		return;
	}
	buf_add(&p->answer, piece, (size_t)n);
	int status = probe_http_status(buf_str(&p->answer), p->answer.len);
	if (status < 0 || (status == 0 && n == 0)) {
		fail(p, "the answer is not HTTP");
	} else if (status > 0) {
		auto_buf struct buf text = BUF_INIT(512);

		buf_add(&text, p->answer.data, strcspn(p->answer.data, "\r\n"));
		finish(p, status >= 200 && status <= 399, buf_str(&text));
	}
}

static void write_request(struct probe *p)
{
	ssize_t n = send(p->fd, p->request.data, p->request.len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		fail(p, "%s", strerror(errno));
		return;
	}
	buf_consume(&p->request, (size_t)n);
	if (p->request.len == 0)
		(void)loop_mod(p->agent->loop, &p->sock, EPOLLIN);
}

static void on_sock(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct probe *p = src->data;
	int code = 0;
	socklen_t len = sizeof(code);

	(void)loop;
	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &code, &len) == 0 && code) {
		fail(p, "%s", strerror(code));
		return;
	}
	if (!p->http)
		finish(p, true, "connected");
	else if (p->request.len > 0)
		write_request(p);
	else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_answer(p);
}

static int connect_to(const struct probe_target *t, int *ret_fd)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(t->port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(t->port)};
	bool is_v4 = inet_pton(AF_INET, t->address, &v4.sin_addr) == 1;
	auto_close int fd =
		socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	(void)inet_pton(AF_INET6, t->address, &v6.sin6_addr);
	int r = is_v4 ? connect(fd, (const struct sockaddr *)&v4, sizeof(v4))
		      : connect(fd, (const struct sockaddr *)&v6, sizeof(v6));
	if (r < 0 && errno != EINPROGRESS)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void on_task(void *data, int code, const char *output)
{
	struct probe *p = data;

	p->task = NULL;
	if (*output || code == 0) {
		finish(p, code == 0, output);
		return;
	}
	auto_buf struct buf text = BUF_INIT(64);
	buf_addf(&text, "exit code %d", code);
	finish(p, false, buf_str(&text));
}

static int start_exec(struct probe *p, const char *container, const struct proto_health *spec,
		      struct err *err)
{
	struct launch_spec launch = {
		.container = container, .argv = &spec->exec, .timeout_ms = spec->timeout_ms};

	return task_start(p->agent, &launch, on_task, p, &p->task, err);
}

static int start_socket(struct probe *p, const struct proto_health *spec, struct err *err)
{
	p->http = spec->http != NULL;
	int r = p->http ? probe_parse_http(spec->http, &p->target, err)
			: probe_parse_tcp(spec->tcp, &p->target, err);
	if (r < 0)
		return r;
	if (p->http)
		buf_addf(&p->request,
			 "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: fcvm\r\n"
			 "Accept: */*\r\nConnection: close\r\n\r\n",
			 p->target.path, p->target.host, p->target.port);
	r = connect_to(&p->target, &p->fd);
	if (r < 0)
		return err_sys_code(err, r, "%s %s:%u", p->http ? "GET" : "connect",
				    p->target.address, p->target.port);
	r = loop_add(p->agent->loop, &p->sock, p->fd, EPOLLOUT, on_sock, p, err);
	if (r < 0)
		return r;
	return loop_timer(p->agent->loop, &p->timer, p->timeout_ms, 0, on_timeout, p, err);
}

int probe_start(struct agent *agent, const char *container, const struct proto_health *spec,
		probe_done done, void *data, struct probe **ret, struct err *err)
{
	struct probe *p = xcalloc(1, sizeof(*p));

	p->agent = agent;
	p->done = done;
	p->data = data;
	p->fd = -1;
	p->timeout_ms = spec->timeout_ms;
	p->request = (struct buf)BUF_INIT(4096);
	p->answer = (struct buf)BUF_INIT(8192);
	int r = spec->exec.n > 0 ? start_exec(p, container, spec, err) : start_socket(p, spec, err);
	if (r < 0) {
		probe_free(p);
		return r;
	}
	*ret = p;
	return 0;
}
