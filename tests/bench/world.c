#include "world.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "parse.h"
#include "xalloc.h"

#define SYSTEM_CACHE "/var/lib/fcvm/cache"
#define IMAGE TEST_BUILD_DIR "/examples/hello.oci.tar"
#define FCVM_MS 180000u /* a hang is a failure; nothing here is near it */

void world_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fprintf(stderr, "bench: ");
	(void)vfprintf(stderr, fmt, ap);
	(void)fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

static void check(int r, const struct err *err)
{
	if (r < 0)
		world_die("%s", err->msg);
}

static void write_spec(const struct world *w, const char *image, const char *baseline_keys,
		       const char *body)
{
	auto_free char *text =
		xasprintf("apiVersion: fcvm/v1\nname: %s\nbaselines:\n  web:\n"
			  "    image: \"oci-archive:%s\"\n    memory: 256MiB\n"
			  "    healthcheck: { http: \"http://:8080/healthz\" }\n%s%s",
			  w->set, image, baseline_keys, body);
	struct err err = {0};

	check(file_replace(w->spec, text, strlen(text), w->user ? 0644 : 0600, &err), &err);
}

static const char *cache_dir(void)
{
	const char *cache = getenv("FCVM_TEST_CACHE");

	return cache ? cache : SYSTEM_CACHE;
}

/* A user's fcvm reads the system's cache, wherever root has filled it. */
static char *furnish_user(struct world *w)
{
	auto_free char *fcvm = path_join(w->dir, "fcvm");
	char *image = path_join(w->dir, "hello.oci.tar");

	user_make(w->user, w->set);
	user_copy(run_fcvm_path(), fcvm, 0755);
	user_copy(IMAGE, image, 0644);
	if (strcmp(cache_dir(), SYSTEM_CACHE) != 0 &&
	    mount(cache_dir(), SYSTEM_CACHE, NULL, MS_BIND, NULL) < 0)
		world_die("cannot mount '%s'", cache_dir());
	return image;
}

static char *furnish_root(const struct world *w)
{
	auto_free char *link = path_join(w->dir, "cache");
	char cwd[4096];

	if (symlink(cache_dir(), link) < 0)
		world_die("cannot make '%s'", link);
	if (!getcwd(cwd, sizeof(cwd)))
		world_die("no working directory");
	return path_join(cwd, IMAGE);
}

static void make(struct world *w, const char *set, const char *baseline_keys, const char *body)
{
	auto_free char *image = NULL;
	struct err err = {0};

	w->dir = xasprintf("/tmp/fcvm-bench-%s-XXXXXX", set);
	if (!mkdtemp(w->dir) || chmod(w->dir, 0711) < 0)
		world_die("cannot make '%s'", w->dir);
	w->set = xstrdup(set);
	w->spec = path_join(w->dir, "fleet.yaml");
	check(file_mkdir_p("/var/lib/fcvm", 0711, &err), &err);
	check(file_mkdir_p(SYSTEM_CACHE, 0755, &err), &err);
	check(file_mkdir_p(cache_dir(), 0755, &err), &err);
	image = w->user ? furnish_user(w) : furnish_root(w);
	write_spec(w, image, baseline_keys, body);
}

static void run_in(const struct world *w, struct run_result *r, const char *const *words)
{
	const char *argv[64];
	size_t n = 1;

	if (!w->user) {
		run_fcvm(r, w->dir, FCVM_MS, words);
		return;
	}
	auto_free char *fcvm = path_join(w->dir, "fcvm");
	argv[0] = fcvm;
	while (*words && n < ARRAY_SIZE(argv) - 1)
		argv[n++] = *words++;
	argv[n] = NULL;
	user_run(w->user, r, argv, NULL, FCVM_MS);
}

static int end(struct world *w, int status)
{
	auto_run struct run_result r = RUN_INIT;
	struct err err = {0};

	run_in(w, &r, (const char *const[]){"destroy", w->set, NULL});
	if (r.status != 0) {
		(void)fprintf(stderr, "bench: destroy failed, see %s\n%s", w->dir, buf_str(&r.err));
		return 1;
	}
	auto_free char *left = host_leftovers(w->user ? w->user->home : w->dir);
	if (*left) {
		(void)fprintf(stderr, "bench: left behind:\n%s", left);
		return 1;
	}
	check(file_remove_tree(w->dir, &err), &err);
	if (w->user)
		user_free(w->user);
	free(w->dir);
	free(w->set);
	free(w->spec);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int run_world(struct user *user, const char *set, const char *baseline_keys,
		     const char *body, void (*measure)(const struct world *w))
{
	struct world w = {.user = user};
	int status = 0;

	if (geteuid() != 0) {
		(void)fprintf(stderr, "bench: needs root\n");
		return 4;
	}
	make(&w, set, baseline_keys, body);
	pid_t pid = fork();
	if (pid == 0) {
		measure(&w);
		exit(0);
	}
	/* Ctrl-C ends the measuring; what it started is removed here. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		continue;
	return end(&w, status);
}

int world_run(const char *set, const char *baseline_keys, const char *body,
	      void (*measure)(const struct world *w))
{
	return run_world(NULL, set, baseline_keys, body, measure);
}

int world_run_user(const char *set, const char *baseline_keys, const char *body,
		   void (*measure)(const struct world *w))
{
	struct user user = {0};

	return run_world(&user, set, baseline_keys, body, measure);
}

void world_fcvm_heard(const struct world *w, struct run_result *ret, const char *const *words)
{
	run_in(w, ret, words);
	if (ret->status != 0)
		world_die("fcvm %s: status %d\n%s%s", words[0], ret->status, buf_str(&ret->out),
			  buf_str(&ret->err));
}

void world_fcvm(const struct world *w, const char *const *words)
{
	auto_run struct run_result r = RUN_INIT;

	world_fcvm_heard(w, &r, words);
}

struct json_object *world_ps(const struct world *w, const char *kind)
{
	auto_run struct run_result r = RUN_INIT;
	struct json_object *ret = json_object_new_array();

	run_in(w, &r, (const char *const[]){"ps", w->set, "--format", "json", NULL});
	auto_json struct json_object *all = run_json(&r);
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *row = json_object_array_get_idx(all, i);

		if (strcmp(json_opt_str(row, "kind", ""), kind) == 0)
			(void)json_object_array_add(ret, json_object_get(row));
	}
	return ret;
}

struct json_object *world_status(const struct world *w, const char *vm)
{
	auto_free char *path = xasprintf("%s/sets/%s/vms/%s/status.json", w->dir, w->set, vm);
	struct json_object *o = NULL;
	struct err err = {0};

	check(json_load(path, &o, &err), &err);
	return o;
}

char *world_snapshot_dir(const struct world *w, const char *snapshot)
{
	auto_free char *home = xasprintf("%s/sets/%s/snapshots/%s", w->dir, w->set, snapshot);
	auto_closedir DIR *d = opendir(home);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && e->d_type == DT_DIR)
			return path_join(home, e->d_name);
	world_die("no snapshot in %s", home);
}

char *world_subdir(const struct world *w, const char *name)
{
	char *dir = path_join(w->dir, name);
	struct err err = {0};

	check(file_remove_tree(dir, &err), &err);
	check(file_mkdir_p(dir, 0711, &err), &err);
	return dir;
}

uint64_t world_memory_of(pid_t pid, const char *key)
{
	auto_free char *path = xasprintf("/proc/%d/smaps_rollup", pid);
	auto_free char *want = xasprintf("\n%s:", key);
	auto_buf struct buf text = BUF_INIT(8192);
	struct err err = {0};
	uint64_t kib = 0;

	check(file_read(path, 8192, &text, &err), &err);
	const char *at = strstr(buf_str(&text), want);
	if (!at)
		world_die("%s has no %s", path, key);
	at += strlen(want);
	at += strspn(at, " \t");
	auto_free char *number = xstrndup(at, strcspn(at, " \n"));
	check(parse_u64(number, 0, UINT32_MAX, &kib, &err), &err);
	return kib << 10;
}
