#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "json_scan.h"
#include "launch_crun.h"
#include "passwd.h"
#include "podman_args.h"
#include "volumes.h"

static const char config[] =
	"{\"ociVersion\":\"1.0\",\"hostname\":\"x\", \"process\": {\"terminal\":false,"
	"\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"/hello\"],"
	"\"env\":[\"PATH=/bin\",\"A=\\\"q\\\" \\u00e9\\n\"],\"cwd\":\"/srv\","
	"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"],\"effective\":[\"CAP_CHOWN\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1,\"soft\":1}]},\"root\":{}}";

static void process(const struct launch_spec *spec, const struct child_user *user, const char *home,
		    struct buf *out)
{
	struct err err = {0};

	cr_assert_eq(crun_process_json(config, strlen(config), spec, user, home, out, &err), 0,
		     "%s", err.msg);
}

Test(crun, a_command_inherits_the_containers_process_settings)
{
	auto_strv struct strv argv = {0};
	auto_strv struct strv env = {0};
	auto_buf struct buf out = BUF_INIT(1u << 16);
	struct launch_spec spec = {.argv = &argv, .env = &env};

	strv_add(&argv, "sh");
	strv_add(&argv, "a \"b\"");
	strv_add(&env, "A=new");
	strv_add(&env, "B=2");
	process(&spec, NULL, NULL, &out);
	cr_expect_str_eq(
		buf_str(&out),
		"{\"user\":{\"uid\":0,\"gid\":0},"
		"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"],\"effective\":[\"CAP_CHOWN\"]},"
		"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1,\"soft\":1}],"
		"\"args\":[\"sh\",\"a \\\"b\\\"\"],\"cwd\":\"/srv\","
		"\"env\":[\"PATH=/bin\",\"A=new\",\"B=2\"],\"terminal\":false}",
		"%s", buf_str(&out));
}

Test(crun, another_user_loses_the_capabilities_but_the_bounding_set)
{
	auto_strv struct strv argv = {0};
	auto_buf struct buf out = BUF_INIT(1u << 16);
	struct child_user user = {.uid = 1000, .gid = 1001, .groups = {10, 20}, .n_groups = 2};
	struct launch_spec spec = {.argv = &argv, .cwd = "/tmp", .tty = true, .user = "app"};

	strv_add(&argv, "id");
	process(&spec, &user, "/home/app", &out);
	cr_expect_str_eq(
		buf_str(&out),
		"{\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1,\"soft\":1}],"
		"\"user\":{\"uid\":1000,\"gid\":1001,\"additionalGids\":[10,20]},"
		"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"]},"
		"\"args\":[\"id\"],\"cwd\":\"/tmp\","
		"\"env\":[\"PATH=/bin\",\"A=\\\"q\\\" \xc3\xa9\\u000a\",\"HOME=/home/app\"],"
		"\"terminal\":true}",
		"%s", buf_str(&out));
}

Test(crun, a_configuration_without_a_process_is_refused)
{
	auto_strv struct strv argv = {0};
	auto_buf struct buf out = BUF_INIT(1u << 16);
	struct launch_spec spec = {.argv = &argv};
	struct err err = {0};

	cr_expect_eq(crun_process_json("{}", 2, &spec, NULL, NULL, &out, &err), -EBADMSG);
	cr_expect_str_eq(err.msg, "the container's config.json has no 'process'");
}

Test(crun, its_complaints_become_the_shells_exit_codes)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{"executable file `x` not found in $PATH: No such file or directory", 127},
		{"open executable: Permission denied", 126},
		{"open executable: Operation not permitted", 126},
		{"chdir `/x`: No such file or directory", 126},
		{"exec container process `/x`: Exec format error", 126},
		{"error opening file `/run/crun/x/status`: No such file or directory", 127},
		{"the container `x` is not running", 125},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(crun_error_code(cases[i].text), cases[i].code, "%s", cases[i].text);
}

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "app:x:1000:1001:App:/home/app:/bin/sh\n"
			     "broken\n"
			     "nohome:x:5:6::\n";
static const char group[] = "root:x:0:\nwheel:x:10:foo,app\napps:x:20:app2\nx:x:30:app\n";

Test(passwd, users_and_groups_by_name_and_number)
{
	static const struct {
		const char *want;
		uint32_t uid, gid;
		size_t n_groups;
		const char *home;
	} cases[] = {
		{"app", 1000, 1001, 2, "/home/app"},
		{"1000", 1000, 1001, 2, "/home/app"},
		{"app:wheel", 1000, 10, 0, "/home/app"},
		{"app:77", 1000, 77, 0, "/home/app"},
		{"4242", 4242, 0, 0, "/"},
		{"4242:5", 4242, 5, 0, "/"},
		{"nohome", 5, 6, 0, "/"},
		{"root", 0, 0, 0, "/root"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct passwd_user u;
		struct err err = {0};

		cr_assert_eq(passwd_lookup(passwd, group, cases[i].want, &u, &err), 0, "%s",
			     err.msg);
		cr_expect_eq(u.ids.uid, cases[i].uid);
		cr_expect_eq(u.ids.gid, cases[i].gid, "%s", cases[i].want);
		cr_expect_eq(u.ids.n_groups, cases[i].n_groups, "%s", cases[i].want);
		cr_expect_str_eq(u.home, cases[i].home);
	}
}

Test(passwd, who_is_not_there_is_named)
{
	static const struct {
		const char *want, *why;
	} cases[] = {
		{"nobody", "no user 'nobody' in /etc/passwd"},
		{"broken", "no user 'broken' in /etc/passwd"},
		{"", "no user '' in /etc/passwd"},
		{"4294967295", "no user '4294967295' in /etc/passwd"},
		{"app:none", "no group 'none' in /etc/group"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct passwd_user u;
		struct err err = {0};

		cr_expect_eq(passwd_lookup(passwd, group, cases[i].want, &u, &err), -ENOENT);
		cr_expect_str_eq(err.msg, cases[i].why, "%s", err.msg);
	}
}

Test(json_scan, walks_objects_and_arrays_and_stops_at_nonsense)
{
	static const struct {
		const char *text, *path, *want; /* NULL: not found */
	} cases[] = {
		{"{\"a\":{\"b\":[1, 2 ]}}", "a.b", "[1, 2 ]"},
		{" {\"a\":\"x\\\"}\",\"b\":7}", "b", "7"},
		{"{\"a\":1}", "b", NULL},
		{"{\"a\":1}", "a.b", NULL},
		{"{\"a\"", "a", NULL},
		{"{\"a\":", "a", NULL},
		{"{\"a\"1}", "a", NULL},
		{"{a:1}", "a", NULL},
		{"", "a", NULL},
		{"{", "a", NULL},
		{"[1]", "a", NULL},
		{"{\"a\":\"", "a", "\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_span v = {cases[i].text, strlen(cases[i].text)}, got;
		bool found = json_scan_find(v, cases[i].path, &got);

		cr_expect_eq(found, cases[i].want != NULL, "%s", cases[i].text);
		if (found && cases[i].want)
			cr_expect(json_span_is(got, cases[i].want), "%s: %.*s", cases[i].text,
				  (int)got.len, got.at);
	}
}

Test(json_scan, strings_are_unescaped_or_refused)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"\"a\\n\\t\\\"\\\\\\/\"", "a\n\t\"\\/"},
		{"\"\\u00e9\\u20ac\\ud83d\\ude00\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\"\"", ""},
		{"\"\\u12\"", NULL},
		{"\"\\x\"", NULL},
		{"\"\\ud83d\"", NULL},
		{"\"\\u0000\"", NULL},
		{"7", NULL},
		{"\"", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_span v = {cases[i].text, strlen(cases[i].text)};
		auto_buf struct buf out = BUF_INIT(256);
		bool ok = json_scan_str(v, &out);

		cr_expect_eq(ok, cases[i].want != NULL, "%s", cases[i].text);
		if (ok && cases[i].want)
			cr_expect_str_eq(buf_str(&out), cases[i].want);
	}
}

Test(podman, the_command_line_holds_what_the_host_resolved)
{
	static const char *const want[] = {"--cidfile=/p/container.id",
					   "--pidfile=/p/container.pid",
					   "--conmon-pidfile=/p/conmon.pid",
					   "--name=main",
					   "--entrypoint=[\"/bin/sh\",\"a\\\"b\"]",
					   "--env=A=--rm",
					   "--user=app",
					   "--workdir=/srv",
					   "localhost/x:1",
					   "--privileged"};
	struct agent agent = {.private_dir = "/p"};
	auto_proto_container struct proto_container c = {0};
	auto_strv struct strv args = {0};
	struct err err = {0};

	cr_assert_eq(volumes_new(&agent, &err), 0);
	c.name = strdup("main");
	c.image = strdup("localhost/x:1");
	c.user = strdup("app");
	c.cwd = strdup("/srv");
	strv_add(&c.entrypoint, "/bin/sh");
	strv_add(&c.entrypoint, "a\"b");
	strv_add(&c.env, "A=--rm");
	strv_add(&c.command, "--privileged");
	cr_assert_eq(podman_args(&agent, &c, &args, &err), 0);
	cr_assert_gt(args.n, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		cr_expect_str_eq(args.v[args.n - ARRAY_SIZE(want) + i], want[i]);
	cr_expect(strv_has(&args, "--uts=host"));
	cr_expect(strv_has(&args, "--network=host"));
	cr_expect(strv_has(&args, "--cgroup-parent=/fcvm"));
	strv_add(&c.env, "NAMEONLY");
	cr_expect_eq(podman_args(&agent, &c, &args, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "environment of container 'main': 'NAMEONLY' is not NAME=VALUE");
	volumes_free(&agent);
}
