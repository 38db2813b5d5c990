#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent_rig.h"
#include "cleanup.h"
#include "health_probe.h"
#include "health_state.h"
#include "io.h"
#include "xalloc.h"

static const struct health_times no_period = {
	.interval_ms = 10000, .start_interval_ms = 250, .retries = 3};
static const struct health_times with_period = {
	.interval_ms = 10000, .start_interval_ms = 250, .retries = 3, .start_period_ms = 1000};

struct step {
	uint64_t at_ms;
	uint64_t delay_ms;
	enum health_kind kind;
	bool ok;
	bool changed;
};

static void walk(const struct health_times *t, const struct step *steps, size_t n)
{
	struct health_state s;

	health_state_start(&s, 1000);
	cr_expect_eq(s.kind, HEALTH_STARTING);
	for (size_t i = 0; i < n; i++) {
		bool changed = health_state_result(&s, t, steps[i].ok, 1000 + steps[i].at_ms);

		cr_expect_eq(changed, steps[i].changed, "step %zu", i);
		cr_expect_str_eq(health_kind_name(s.kind), health_kind_name(steps[i].kind),
				 "step %zu", i);
		cr_expect_eq(health_state_delay_ms(&s, t), steps[i].delay_ms, "step %zu", i);
	}
}

Test(health, without_a_start_period_a_slow_start_is_only_slow)
{
	static const struct step steps[] = {
		{0, 250, HEALTH_STARTING, false, false},
		{250, 250, HEALTH_STARTING, false, false},
		{500, 250, HEALTH_STARTING, false, false},
		{90000, 250, HEALTH_STARTING, false, false},
		{90250, 10000, HEALTH_HEALTHY, true, true},
	};

	walk(&no_period, steps, ARRAY_SIZE(steps));
}

Test(health, failures_count_once_the_start_period_is_over)
{
	static const struct step steps[] = {
		{0, 250, HEALTH_STARTING, false, false},
		{999, 250, HEALTH_STARTING, false, false},
		{1000, 250, HEALTH_STARTING, false, false},
		{1250, 250, HEALTH_STARTING, false, false},
		{1500, 250, HEALTH_UNHEALTHY, false, true},
		{1750, 10000, HEALTH_HEALTHY, true, true},
	};

	walk(&with_period, steps, ARRAY_SIZE(steps));
}

Test(health, after_the_first_success_retries_failures_in_a_row_make_it_unhealthy)
{
	static const struct step steps[] = {
		{0, 10000, HEALTH_HEALTHY, true, true},
		{10000, 10000, HEALTH_HEALTHY, false, false},
		{20000, 10000, HEALTH_HEALTHY, false, false},
		{30000, 10000, HEALTH_HEALTHY, true, false},
		{40000, 10000, HEALTH_HEALTHY, false, false},
		{50000, 10000, HEALTH_HEALTHY, false, false},
		{60000, 10000, HEALTH_UNHEALTHY, false, true},
		{70000, 10000, HEALTH_UNHEALTHY, false, false},
		{80000, 10000, HEALTH_HEALTHY, true, true},
	};

	walk(&no_period, steps, ARRAY_SIZE(steps));
}

Test(probe, urls_name_an_address_a_port_and_a_path)
{
	static const struct {
		const char *url, *address, *host, *path;
		uint16_t port;
	} cases[] = {
		{"http://:8080/healthz", "127.0.0.1", "localhost", "/healthz", 8080},
		{"http://", "127.0.0.1", "localhost", "/", 80},
		{"http://localhost", "127.0.0.1", "localhost", "/", 80},
		{"http://10.0.0.1:1?x=1", "10.0.0.1", "10.0.0.1", "/?x=1", 1},
		{"http://[::1]:99/a/b", "::1", "::1", "/a/b", 99},
		{"http://[::1]/", "::1", "::1", "/", 80},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct probe_target t;
		struct err err = {0};

		cr_assert_eq(probe_parse_http(cases[i].url, &t, &err), 0, "%s", err.msg);
		cr_expect_str_eq(t.address, cases[i].address);
		cr_expect_str_eq(t.host, cases[i].host);
		cr_expect_str_eq(t.path, cases[i].path, "%s", t.path);
		cr_expect_eq(t.port, cases[i].port);
	}
}

Test(probe, what_is_no_url_is_refused_with_a_sentence)
{
	static const struct {
		const char *text, *why;
		bool tcp;
	} cases[] = {
		{"https://x/", "health check URL 'https://x/' does not begin with http://", false},
		{"http://example.com/",
		 "health check host 'example.com' is not empty, localhost or an address", false},
		{"http://:0/", "health check port in ':0': expected 1 to 65535, got '0'", false},
		{"http://:99999/",
		 "health check port in ':99999': expected 1 to 65535, got '99999'", false},
		{"http://[::1/", "health check address '[::1' is malformed", false},
		{"http://:80/a\r\nX: y", "health check URL 'http://:80/a\r\nX: y' is malformed",
		 false},
		{"localhost", "health check 'localhost' names no port", true},
		{":x", "health check port in ':x': expected 1 to 65535, got 'x'", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct probe_target t;
		struct err err = {0};
		int r = cases[i].tcp ? probe_parse_tcp(cases[i].text, &t, &err)
				     : probe_parse_http(cases[i].text, &t, &err);

		cr_expect_lt(r, 0);
		cr_expect_str_eq(err.msg, cases[i].why, "%s", err.msg);
	}
}

Test(probe, a_status_line_is_read_as_soon_as_it_is_there)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"", 0},
		{"HTT", 0},
		{"HTTP/1.1 200", 0},
		{"HTTP/1.1 200 OK\r\n", 200},
		{"HTTP/1.0 404\r\n", 404},
		{"HTTP/1.1 302 Found\r\n", 302},
		{"HTTP/2.0 200 OK", -EBADMSG},
		{"SSH-2.0-x", -EBADMSG},
		{"HTTP/1.1 20x OK", -EBADMSG},
		{"HTTP/1.1 0200 OK", -EBADMSG},
		{"HTTP/1.1 099 OK", -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(probe_http_status(cases[i].text, strlen(cases[i].text)),
			     cases[i].status, "'%s'", cases[i].text);
}

struct result {
	bool done, ok;
	char text[256];
};

static void on_probe(void *data, bool ok, const char *output)
{
	struct result *res = data;

	res->done = true;
	res->ok = ok;
	(void)snprintf(res->text, sizeof(res->text), "%s", output);
}

/* A listener on loopback; its port. */
static int listen_on(uint16_t *ret_port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, 4), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	*ret_port = ntohs(addr.sin_port);
	return fd;
}

Test(probe, an_http_answer_decides)
{
	static const struct {
		const char *answer;
		bool ok;
		const char *text; /* %s: GET ADDRESS:PORT */
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", true, "HTTP/1.1 200 OK"},
		{"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", true, "HTTP/1.1 302 Found"},
		{"HTTP/1.1 503 Busy\r\n\r\n", false, "HTTP/1.1 503 Busy"},
		{"garbage", false, "%s: the answer is not HTTP"},
		{"", false, "%s: the answer is not HTTP"},
		{NULL, false, "%s: no answer within 100ms"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct agent_rig r;
		uint16_t port;
		struct result res = {0};
		struct probe *probe;
		char request[512] = "", want[256], peer[64];
		auto_close int listener = listen_on(&port);
		auto_free char *url = xasprintf("http://:%u/x", port);
		struct proto_health spec = {.http = url,
					    .timeout_ms = cases[i].answer ? 20000 : 100};

		agent_rig_new(&r);
		cr_assert_eq(probe_start(&r.agent, "", &spec, on_probe, &res, &probe, NULL), 0);
		auto_close int conn = accept(listener, NULL, NULL);
		cr_assert_geq(conn, 0);
		while (!strstr(request, "\r\n\r\n")) {
			(void)loop_once(r.loop, 10, NULL);
			ssize_t n = recv(conn, request + strlen(request),
					 sizeof(request) - strlen(request) - 1, MSG_DONTWAIT);
			cr_assert(n != 0);
		}
		cr_expect_eq(strncmp(request, "GET /x HTTP/1.1\r\nHost: localhost:", 33), 0);
		if (cases[i].answer)
			(void)!write(conn, cases[i].answer, strlen(cases[i].answer));
		if (cases[i].answer)
			(void)shutdown(conn, SHUT_RDWR);
		RIG_UNTIL(&r, res.done);
		(void)snprintf(peer, sizeof(peer), "GET 127.0.0.1:%u", port);
		const char *at = strstr(cases[i].text, "%s");
		(void)snprintf(want, sizeof(want), "%s%s", at ? peer : "",
			       at ? at + 2 : cases[i].text);
		cr_expect_eq(res.ok, cases[i].ok, "%zu", i);
		cr_expect_str_eq(res.text, want, "%s", res.text);
		agent_rig_free(&r);
	}
}

Test(probe, a_tcp_port_answers_or_refuses)
{
	struct agent_rig r;
	uint16_t port;
	struct result res = {0}, refused = {0};
	struct probe *probe;
	int listener = listen_on(&port);
	auto_free char *text = xasprintf(":%u", port);
	auto_free char *want = xasprintf("connect 127.0.0.1:%u: Connection refused", port);
	struct proto_health spec = {.tcp = text, .timeout_ms = 20000};
	struct err err = {0};

	agent_rig_new(&r);
	cr_assert_eq(probe_start(&r.agent, "", &spec, on_probe, &res, &probe, NULL), 0);
	RIG_UNTIL(&r, res.done);
	cr_expect(res.ok);
	(void)close(listener);
	int started = probe_start(&r.agent, "", &spec, on_probe, &refused, &probe, &err);
	if (started == 0)
		RIG_UNTIL(&r, refused.done);
	cr_expect_not(refused.ok);
	cr_expect_str_eq(started == 0 ? refused.text : err.msg, want, "%s",
			 started == 0 ? refused.text : err.msg);
	agent_rig_free(&r);
}
