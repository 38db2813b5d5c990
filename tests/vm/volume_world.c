#include "volume_world.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "exec_session.h"
#include "file.h"
#include "io.h"
#include "ledger.h"
#include "parse.h"
#include "vmmanifest.h"
#include "xalloc.h"

#define CALL_MS 180000
#define AWAIT_MS 60000

static const char body[] = "snapshots:\n  web-warm: { from: web }\n"
			   "fleets:\n  web: { from: web-warm, count: 0 }\n";

static struct volume_world live;

static void copy_tool(const char *dir, const char *from, const char *name)
{
	auto_buf struct buf bytes = BUF_INIT(8u << 20);
	auto_free char *to = path_join(dir, name);
	struct err err = {0};

	cr_assert_geq(file_read(from, bytes.max - 1, &bytes, &err), 0, "%s", err.msg);
	cr_assert_geq(file_replace(to, bytes.data, bytes.len, 0755, &err), 0, "%s", err.msg);
}

static void take_assets(struct volume_world *w)
{
	auto_free char *dir = vm_snapshot_dir(&w->env, "web-warm");
	auto_free char *path = path_join(dir, VMMANIFEST_FILE);
	auto_json struct json_object *o = NULL;
	struct vmmanifest m = {0};
	struct err err = {0};

	cr_assert_geq(json_load(path, &o, &err), 0, "%s", err.msg);
	cr_assert_geq(vmmanifest_read(o, &m, &err), 0, "%s", err.msg);
	w->config = m.config;
	w->workload = m.workload;
	m.config = (struct vm_config){0};
	m.workload = (struct workload){0};
	vmmanifest_free(&m);
}

static void set_workload(struct workload *w, const char *verb)
{
	free(w->health.http);
	w->health.http = NULL;
	strv_free(&w->entrypoint);
	strv_free(&w->command);
	strv_add(&w->entrypoint, "/tools/tool");
	strv_add(&w->command, verb);
	strv_add(&w->command, "/vol");
}

void world_init(struct volume_world *w, const char *what, const char *verb)
{
	struct err err = {0};

	*w = (struct volume_world){0};
	vm_env_init(&w->env, what, body);
	vm_apply(&w->env, NULL, NULL);
	cr_assert_geq(host_init(&w->host, w->env.dir, &err), 0, "%s", err.msg);
	free(w->host.exe);
	w->host.exe = realpath(run_fcvm_path(), NULL);
	take_assets(w);
	set_workload(&w->workload, verb);
	auto_free char *tools = world_dir(w, "tools"), *vol = world_dir(w, "vol");

	copy_tool(tools, TEST_BUILD_DIR "/tests/volume_tool", "tool");
	copy_tool(tools, TEST_BUILD_DIR "/tests/posix_smoke", "posix_smoke");
	world_add(&w->volumes, "tools", "/tools", tools, true);
	world_add(&w->volumes, "vol", "/vol", vol, false);
	live = *w;
}

char *world_dir(const struct volume_world *w, const char *name)
{
	char *path = xasprintf("%s/dirs/%s", w->env.dir, name);

	cr_assert_geq(file_mkdir_p(path, 0755, NULL), 0);
	return path;
}

void world_add(struct volume_list *l, const char *name, const char *target, const char *source,
	       bool read_only)
{
	auto_free char *n = xstrdup(name), *t = xstrdup(target), *s = xstrdup(source);
	const struct volume_mount m = {.name = n,
				       .type = VOLUME_HOST,
				       .target = t,
				       .source = s,
				       .read_only = read_only,
				       .cache = VOLUME_SHARED};

	volume_list_add(l, &m);
}

void world_add_full(struct volume_list *l, const char *name, const char *target, const char *source)
{
	world_add(l, name, target, source, false);
	l->v[l->n - 1].trust = VOLUME_FULL;
}

static struct supervisor_call call_of(const char *dir)
{
	return (struct supervisor_call){.dir = dir, .deadline_ms = deadline_in(CALL_MS)};
}

static const char *spawn(struct volume_world *w)
{
	char *dir = xasprintf("%s/vm-%zu", w->env.dir, w->n_vms);
	auto_free char *tag = xasprintf("%s/vm/%zu", w->env.set, w->n_vms);
	const struct supervisor_spec spec = {
		.dir = dir, .tag = tag, .engine = "qemu", .vm_id = "a-vm-with-volumes"};
	struct proc_id id;
	struct err err = {0};

	cr_assert_lt(w->n_vms, WORLD_VMS);
	w->vms[w->n_vms++] = dir;
	live = *w;
	cr_assert_eq(mkdir(dir, 0711), 0);
	cr_assert_geq(supervisor_spawn(&w->host, &spec, &id, &err), 0, "%s", err.msg);
	return dir;
}

const char *world_boot(struct volume_world *w)
{
	const char *dir = spawn(w);
	struct supervisor_call call = call_of(dir);
	const struct vm_identity id = {.hostname = "base"};
	struct err err = {0};

	cr_assert_geq(
		supervisor_start(&call, &w->config, &w->workload, &id, NULL, &w->volumes, &err), 0,
		"%s", err.msg);
	cr_assert_geq(supervisor_wait(&call, UNTIL_STARTED, &err), 0, "%s", err.msg);
	return dir;
}

char *world_snapshot(struct volume_world *w, const char *vm, bool keep_running)
{
	char *dir = xasprintf("%s/snap-%zu", w->env.dir, w->n_vms);
	struct supervisor_call call = call_of(vm);
	const struct snapshot_request req = {
		.dir = dir, .keep_running = keep_running, .gid = LEDGER_UID_FIRST};
	auto_json struct json_object *manifest = NULL;
	struct err err = {0};

	cr_assert_eq(mkdir(dir, 0750), 0);
	cr_assert_eq(chown(dir, 0, LEDGER_UID_FIRST), 0);
	cr_assert_geq(supervisor_snapshot(&call, &req, &manifest, &err), 0, "%s", err.msg);
	return dir;
}

const char *world_restore(struct volume_world *w, const char *snapshot,
			  const struct volume_list *volumes, const char *restart)
{
	const char *dir = spawn(w);
	struct supervisor_call call = call_of(dir);
	const struct restore_request req = {.snapshot_dir = snapshot,
					    .backend = "file",
					    .identity = {.hostname = "clone"},
					    .restart = restart,
					    .gid = LEDGER_UID_FIRST,
					    .volumes = volumes};
	auto_json struct json_object *status = NULL;
	struct err err = {0};

	cr_assert_geq(supervisor_restore(&call, &req, &status, &err), 0, "%s", err.msg);
	cr_expect(json_object_object_get_ex(json_opt_obj(status, "gates"), "volumes", NULL),
		  "no gate 'volumes': %s", json_object_to_json_string(status));
	return dir;
}

static int exec_argv(const char *vm, const struct strv *argv, struct buf *out)
{
	auto_tmpdir char *tmp = tmpdir_new("exec");
	auto_free char *path = path_join(tmp, "out");
	auto_close int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	auto_close int both = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
	const struct exec_request req = {.instance_dir = vm,
					 .argv = argv,
					 .timeout_ms = CALL_MS,
					 .in = in,
					 .out = fd,
					 .err = both};
	struct exec_result result = {0};
	struct err err = {0};

	cr_assert_geq(exec_session_run(&req, &result, &err), 0, "%s", err.msg);
	if (out)
		cr_assert_geq(file_read(path, out->max - 1, out, &err), 0, "%s", err.msg);
	return result.code;
}

int world_sh(const char *vm, const char *text, struct buf *out)
{
	auto_strv struct strv argv = {0};

	strv_add(&argv, "sh");
	strv_add(&argv, "-c");
	strv_add(&argv, text);
	return exec_argv(vm, &argv, out);
}

/* Of 12,000 cases; each takes an emulated guest a tenth of a second. */
#define POSIX_STEP 29
#define POSIX_CASES 400

void world_posix(const char *vm, const char *mount, const char *run)
{
	/* The guest's root is an overlay without access times; its data disk is ext4. */
	auto_free char *text = xasprintf(
		"mkdir -p /var/lib/containers/bare /run/bare && { mountpoint -q /run/bare || "
		"mount --bind /var/lib/containers/bare /run/bare && "
		"mount -o remount,bind,strictatime /run/bare; } && "
		"mkdir /run/bare/%s %s/%s && /tools/posix_smoke /run/bare/%s %s/%s %d",
		run, mount, run, run, mount, run, POSIX_STEP);
	auto_buf struct buf out = BUF_INIT(1u << 20);
	struct err err = {0};
	int code = world_sh(vm, text, &out);
	auto_json struct json_object *o = NULL;

	cr_assert_geq(json_parse(buf_str(&out), out.len, &o, &err), 0, "status %d: %s", code,
		      buf_str(&out));
	cr_expect_str_eq(json_opt_str(o, "error", "?"), "");
	cr_expect_eq(json_opt_u64(o, "differences", UINT64_MAX), 0, "%s",
		     json_opt_str(o, "shown", ""));
	cr_expect_geq(json_opt_u64(o, "cases", 0), POSIX_CASES);
	cr_expect_eq(code, 0);
	(void)fprintf(stderr, "in the guest: %ju cases, %ju differences\n",
		      (uintmax_t)json_opt_u64(o, "cases", 0),
		      (uintmax_t)json_opt_u64(o, "differences", 0));
}

void world_stop(const char *vm)
{
	struct supervisor_call call = call_of(vm);
	struct err err = {0};

	cr_assert_geq(supervisor_stop(&call, 10000, &err), 0, "%s", err.msg);
}

void world_finish(struct volume_world *w)
{
	for (size_t i = 0; i < w->n_vms; i++) {
		world_stop(w->vms[i]);
		cr_assert_geq(ledger_release(&w->host, "uid", w->vms[i], NULL), 0);
		free(w->vms[i]);
	}
	w->n_vms = 0;
	live = *w;
	cr_expect_eq(world_servers(w, "", NULL), 0, "servers of volumes are left");
	vm_config_free(&w->config);
	workload_free(&w->workload);
	volume_list_free(&w->volumes);
	host_free(&w->host);
	vm_env_finish(&w->env);
}

void world_cleanup(void)
{
	for (size_t i = 0; i < live.n_vms; i++) {
		struct supervisor_call call = call_of(live.vms[i]);

		(void)supervisor_stop(&call, 0, NULL);
	}
	vm_env_cleanup();
}

char *world_read(const struct volume_world *w, const char *path)
{
	auto_free char *whole = xasprintf("%s/dirs/%s", w->env.dir, path);

	return vm_read(whole);
}

void world_await_text(const char *path, const char *begin)
{
	uint64_t deadline = deadline_in(AWAIT_MS);

	for (;;) {
		auto_buf struct buf text = BUF_INIT(1u << 20);

		if (file_read(path, text.max - 1, &text, NULL) >= 0 &&
		    strncmp(buf_str(&text), begin, strlen(begin)) == 0)
			return;
		cr_assert_gt(deadline_left(deadline), 0, "'%s' has '%s', wanted '%s'", path,
			     buf_str(&text), begin);
		(void)poll(NULL, 0, 50);
	}
}

/* Its argv names the directory, which lies below the world's. */
static bool is_server(const char *pid, const char *dir)
{
	auto_free char *path = xasprintf("/proc/%s/cmdline", pid);
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[4096];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	for (ssize_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	text[n] = '\0';
	return strstr(text, " internal volumes ") && strstr(text, dir);
}

size_t world_servers(const struct volume_world *w, const char *dir, pid_t *ret)
{
	auto_free char *want = xasprintf("--dir=%s/dirs/%s", w->env.dir, dir);
	auto_closedir DIR *proc = opendir("/proc");
	const struct dirent *e;
	size_t n = 0;
	uint64_t pid = 0;

	while ((e = readdir(proc))) {
		if (parse_u64(e->d_name, 2, INT32_MAX, &pid, NULL) < 0 ||
		    !is_server(e->d_name, want))
			continue;
		n++;
		if (ret)
			*ret = (pid_t)pid;
	}
	return n;
}
