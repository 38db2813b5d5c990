#include "workload_json.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"
#include "xalloc.h"

static struct workload sample(void)
{
	struct workload w = {
		.name = xstrdup("main"),
		.image = xstrdup("localhost/hello:1"),
		.store_serial = xstrdup("img0"),
		.user = xstrdup("1000:1000"),
		.health = {.interval_ms = 10000,
			   .start_interval_ms = 250,
			   .timeout_ms = 5000,
			   .start_period_ms = 7,
			   .retries = 3},
	};

	strv_add(&w.entrypoint, "/bin/server");
	strv_add(&w.command, "--port");
	strv_add(&w.command, "80 \"quoted\"\nline");
	strv_add(&w.environment, "A=ä");
	strv_add(&w.health.exec, "true");
	return w;
}

Test(workload_json, what_runs_survives_the_way_there_and_back)
{
	auto_workload struct workload w = sample(), back = {0};
	auto_json struct json_object *o = workload_to_json(&w), *again = NULL;
	struct err err = {0};

	cr_assert_geq(workload_from_json(o, &back, &err), 0, "%s", err.msg);
	again = workload_to_json(&back);
	auto_free char *one = json_line(o), *two = json_line(again);

	cr_expect_str_eq(one, two);
	cr_expect_str_eq(back.command.v[1], "80 \"quoted\"\nline");
	cr_expect_null(back.workdir);
	cr_expect_eq(back.health.retries, 3);
	cr_expect(healthspec_has_check(&back.health));
}

Test(workload_json, nothing_is_taken_on_trust)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"{}", "workload: a name and an image are required"},
		{"{\"name\":1,\"image\":\"x\"}", NULL},
		{"{\"name\":\"a\",\"image\":\"x\"}", NULL},
		{"{\"name\":\"a\",\"image\":\"x\",\"entrypoint\":[],\"command\":[1],"
		 "\"environment\":[]}",
		 NULL},
		{"{\"name\":\"a\",\"image\":\"x\",\"entrypoint\":[],\"command\":[],"
		 "\"environment\":[],\"health\":{\"http\":\"a\",\"tcp\":\"b\",\"exec\":[],"
		 "\"interval_ms\":1,\"start_interval_ms\":1,\"timeout_ms\":1,"
		 "\"start_period_ms\":1,\"retries\":1}}",
		 "workload: health check: at most one of http, tcp and exec"},
		{"[]", NULL},
		{"null", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_json struct json_object *o = NULL;
		struct workload w = {0};
		struct err err = {0};

		cr_assert_geq(json_parse(cases[i].text, strlen(cases[i].text), &o, &err), 0);
		cr_expect_lt(workload_from_json(o, &w, &err), 0, "%s", cases[i].text);
		cr_expect_eq(strncmp(err.msg, "workload: ", 10), 0, "%s", err.msg);
		if (cases[i].says)
			cr_expect_str_eq(err.msg, cases[i].says);
		cr_expect_null(w.name, "outputs are untouched");
	}
}

Test(workload_json, hooks_survive_and_are_bounded)
{
	struct hook hooks[2] = {{.timeout_ms = 30000}, {.container = xstrdup("main")}};
	struct hook *back = NULL;
	size_t n = 0;
	struct err err = {0};

	strv_add(&hooks[0].argv, "sync");
	strv_add(&hooks[1].argv, "flush");
	auto_json struct json_object *o = hooks_to_json(hooks, 2);

	cr_assert_geq(hooks_from_json(o, &back, &n, &err), 0, "%s", err.msg);
	cr_assert_eq(n, 2);
	cr_expect_null(back[0].container);
	cr_expect_eq(back[0].timeout_ms, 30000);
	cr_expect_str_eq(back[1].container, "main");
	cr_expect_str_eq(back[1].argv.v[0], "flush");
	hooks_free(back, n);

	while (json_object_array_length(o) <= HOOKS_MAX)
		json_object_array_add(o, json_object_get(json_object_array_get_idx(o, 0)));
	cr_expect_eq(hooks_from_json(o, &back, &n, &err), -EMSGSIZE);
	cr_expect_str_eq(err.msg, "65 hooks, limit 64");
	for (int i = 0; i < 2; i++) {
		free(hooks[i].container);
		strv_free(&hooks[i].argv);
	}
}

Test(workload_json, a_hook_without_a_command_is_named)
{
	auto_json struct json_object *o = NULL;
	struct hook *hooks = NULL;
	size_t n = 0;
	struct err err = {0};
	static const char text[] = "[{\"argv\":[],\"timeout_ms\":1}]";

	cr_assert_geq(json_parse(text, strlen(text), &o, &err), 0);
	cr_expect_lt(hooks_from_json(o, &hooks, &n, &err), 0);
	cr_expect_str_eq(err.msg, "hook 0: a hook needs a command");
}
