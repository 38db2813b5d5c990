#include "vm_env.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

static const char default_body[] = "snapshots:\n"
				   "  web-warm: { from: web, memory: { backend: auto } }\n"
				   "fleets:\n"
				   "  web: { from: web-warm, count: 3 }\n";

static void write_spec(struct vm_env *env, const char *body)
{
	auto_buf struct buf text = BUF_INIT(1u << 20);
	struct err err = {0};
	char cwd[4096];

	cr_assert_not_null(getcwd(cwd, sizeof(cwd)));
	buf_addf(&text,
		 "apiVersion: fcvm/v1\nname: %s\nbaselines:\n  web:\n"
		 "    image: \"oci-archive:%s/%s/examples/hello.oci.tar\"\n    memory: 256MiB\n"
		 "    healthcheck: { http: \"http://:8080/healthz\" }\n%s",
		 env->set, cwd, TEST_BUILD_DIR, body ? body : default_body);
	cr_assert_eq(file_replace(env->spec, text.data, text.len, 0600, &err), 0, "%s", err.msg);
}

/* The world of the running test, for the clean-up after a failed assertion: a copy, since the
 * test's own stack is gone by then. */
static struct vm_env live;

void vm_env_init(struct vm_env *env, const char *what, const char *body)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	if (!file_exists("/dev/net/tun"))
		cr_skip_test("needs /dev/net/tun");
	const char *cache = getenv("FCVM_TEST_CACHE");
	char uuid[37];

	io_uuid(uuid);
	uuid[8] = '\0';
	env->dir = tmpdir_new(what);
	cr_assert_eq(chmod(env->dir, 0711), 0);
	env->set = xasprintf("%s-%s", what, uuid);
	env->spec = path_join(env->dir, "fleet.yaml");
	cache = cache ? cache : "/var/lib/fcvm/cache";
	cr_assert_eq(file_mkdir_p("/var/lib/fcvm", 0711, NULL), 0);
	cr_assert_eq(file_mkdir_p(cache, 0755, NULL), 0);
	auto_free char *link = path_join(env->dir, "cache");
	cr_assert_eq(symlink(cache, link), 0);
	write_spec(env, body);
	live = *env;
}

void vm_env_cleanup(void)
{
	auto_run struct run_result r = RUN_INIT;

	if (!live.dir)
		return;
	run_fcvm(&r, live.dir, VM_TIMEOUT_MS, (const char *const[]){"destroy", live.set, NULL});
	tmpdir_remove(&live.dir);
}

void vm_run(struct vm_env *env, struct run_result *r, int want, const char *const *words)
{
	run_fcvm(r, env->dir, VM_TIMEOUT_MS, words);
	if (want >= 0)
		cr_assert_eq(r->status, want, "fcvm %s: status %d, wanted %d\n%s%s", words[0],
			     r->status, want, buf_str(&r->out), buf_str(&r->err));
}

void vm_apply(struct vm_env *env, const char *set1, const char *set2)
{
	auto_run struct run_result r = RUN_INIT;
	const char *words[8] = {"apply", env->spec};
	size_t n = 2;

	if (set1) {
		words[n++] = "--set";
		words[n++] = set1;
	}
	if (set2) {
		words[n++] = "--set";
		words[n++] = set2;
	}
	vm_run(env, &r, 0, words);
}

struct json_object *vm_ps(struct vm_env *env)
{
	auto_run struct run_result r = RUN_INIT;

	VM_RUN(env, &r, 0, "ps", env->set, "--format", "json");
	return run_json(&r);
}

struct json_object *vm_row(struct json_object *ps, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(ps); i++) {
		struct json_object *row = json_object_array_get_idx(ps, i);

		if (strcmp(json_opt_str(row, "name", ""), name) == 0)
			return row;
	}
	cr_assert_fail("ps has no '%s':\n%s", name, json_object_to_json_string(ps));
	return NULL;
}

const char *vm_name(const struct vm_env *env, const char *suffix)
{
	static char ring[8][160];
	static unsigned int next;
	char *name = ring[next++ % ARRAY_SIZE(ring)];

	(void)snprintf(name, sizeof(ring[0]), "%s.%s", env->set, suffix);
	return name;
}

struct json_object *vm_get(struct vm_env *env, const char *clone, const char *path)
{
	auto_run struct run_result r = RUN_INIT;

	VM_RUN(env, &r, 0, "exec", clone, "--", "/hello", "get", path);
	return run_json(&r);
}

pid_t vm_pid(struct json_object *ps, const char *name)
{
	uint64_t pid = json_opt_u64(vm_row(ps, name), "pid", 0);

	cr_assert_gt(pid, 0, "'%s' has no pid", name);
	return (pid_t)pid;
}

size_t vm_count(struct json_object *ps, const char *kind, const char *state)
{
	size_t n = 0;

	for (size_t i = 0; i < json_object_array_length(ps); i++) {
		struct json_object *row = json_object_array_get_idx(ps, i);

		n += strcmp(json_opt_str(row, "kind", ""), kind) == 0 &&
		     (!state || strcmp(json_opt_str(row, "state", ""), state) == 0);
	}
	return n;
}

void vm_await_state(struct vm_env *env, const char *name, const char *state)
{
	uint64_t deadline = deadline_in(60000);

	for (;;) {
		auto_json struct json_object *ps = vm_ps(env);
		const char *now = json_opt_str(vm_row(ps, name), "state", "");

		if (strcmp(now, state) == 0)
			return;
		cr_assert_gt(deadline_left(deadline), 0, "'%s' is '%s', wanted '%s'", name, now,
			     state);
		(void)poll(NULL, 0, 50);
	}
}

char *vm_only_dir(const char *parent)
{
	auto_closedir DIR *d = opendir(parent);
	const struct dirent *e;
	char *found = NULL;

	cr_assert_not_null(d, "no %s", parent);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || e->d_type != DT_DIR)
			continue;
		cr_assert_null(found, "several directories in %s", parent);
		found = path_join(parent, e->d_name);
	}
	cr_assert_not_null(found, "%s is empty", parent);
	return found;
}

char *vm_snapshot_dir(struct vm_env *env, const char *snapshot)
{
	auto_free char *parent = xasprintf("%s/sets/%s/snapshots/%s", env->dir, env->set, snapshot);

	return vm_only_dir(parent);
}

char *vm_read(const char *path)
{
	struct buf text = BUF_INIT(64u << 20);
	struct err err = {0};

	cr_assert_eq(file_read(path, 64u << 20, &text, &err), 0, "%s", err.msg);
	return buf_detach(&text);
}

/* A retried boot is an event for users and a failure here. */
static void check_no_retries(const struct vm_env *env)
{
	auto_free char *path = xasprintf("%s/sets/%s/events.jsonl", env->dir, env->set);
	auto_free char *text = vm_read(path);
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		auto_json struct json_object *o = NULL;

		if (json_parse(line, strlen(line), &o, NULL) == 0)
			cr_assert_str_neq(json_opt_str(o, "type", ""), "resource_retry", "%s",
					  line);
	}
}

void vm_env_finish(struct vm_env *env)
{
	auto_run struct run_result r = RUN_INIT;

	check_no_retries(env);
	VM_RUN(env, &r, 0, "destroy", env->set);
	auto_free char *set_dir = xasprintf("%s/sets/%s", env->dir, env->set);
	cr_assert(!file_exists(set_dir), "destroy left %s", set_dir);
	auto_free char *left = host_leftovers(env->dir);
	cr_assert_str_eq(left, "", "left behind:\n%s", left);
	live.dir = NULL;
	free(env->set);
	free(env->spec);
	tmpdir_remove(&env->dir);
}
