#include "commands.h"

#include "cleanup.h"
#include "digest.h"
#include "foreground.h"
#include "imperative.h"
#include "io.h"
#include "json.h"
#include "loop_options.h"
#include "parse.h"
#include "shape.h"
#include "xalloc.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define EXIT_OURS 125

struct podman_flags {
	const char *name, *memory, *engine, *network, *workdir, *user;
	uint64_t cpus;
	struct strv env, ports, volumes;
	bool remove;
};

/* "512m" as podman writes it is "512MiB" here; everything else goes to the spec's own parser. */
static char *size_text(const char *s)
{
	size_t digits = strspn(s, "0123456789");
	const char *unit = s + digits;

	if (digits == 0 || strlen(unit) != 1 || !strchr("kKmMgG", *unit))
		return xstrdup(s);
	return xasprintf("%.*s%ciB", (int)digits, s,
			 *unit == 'k'   ? 'K'
			 : *unit == 'm' ? 'M'
			 : *unit == 'g' ? 'G'
					: *unit);
}

/* Podman's words for the same things are understood. */
static const char *network_name(const char *word)
{
	if (strcmp(word, "bridge") == 0)
		return "bridged";
	return strcmp(word, "slirp4netns") == 0 ? "rootless" : word;
}

/* K=V, or K alone: ours, as podman does it. */
static struct json_object *environment(const struct host *host, const struct strv *env)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < env->n; i++) {
		const char *eq = strchr(env->v[i], '=');
		auto_free char *key = xstrndup(env->v[i], eq ? (size_t)(eq - env->v[i]) : SIZE_MAX);
		const char *value = eq ? eq + 1 : host->getenv(key);

		if (value)
			json_add_str(o, key, value);
	}
	return o;
}

/* HOSTDIR:/TARGET[:ro] as a volume "vN" of the spec and where it is mounted. */
static int add_volume(const char *text, size_t number, struct json_object *volumes,
		      struct json_object *mounts, struct err *err)
{
	const char *rest = strchr(text, ':');
	auto_free char *name = xasprintf("v%zu", number);
	auto_free char *source = rest ? xstrndup(text, (size_t)(rest - text)) : NULL;
	struct json_object *o = NULL;

	/* Podman takes a word without a slash for a volume of its own making. */
	if (!source || (source[0] != '/' && source[0] != '.'))
		return err_set(err, ERR_SPEC, -EINVAL,
			       "--volume: expected HOSTDIR:/TARGET[:ro] with HOSTDIR beginning "
			       "with / or ., got '%s'",
			       text);
	if (strstr(source, "{{"))
		return err_set(err, ERR_SPEC, -EINVAL, "--volume: '{{' in '%s' is not possible",
			       text);
	o = json_object_new_object();
	json_add_str(o, "type", "host");
	json_add_str(o, "source", source);
	json_add_str(o, "access", "rw");
	json_add(volumes, name, o);
	auto_free char *mount = xasprintf("%s%s", name, rest);

	json_object_array_add(mounts, json_object_new_string(mount));
	return 0;
}

/* Into the spec `o` and its baseline `b`. */
static int add_volumes(const struct strv *texts, struct json_object *o, struct json_object *b,
		       struct err *err)
{
	struct json_object *volumes = NULL, *mounts = NULL;
	int r = 0;

	if (texts->n == 0)
		return 0;
	volumes = json_object_new_object();
	mounts = json_object_new_array();
	json_add(o, "volumes", volumes);
	json_add(b, "volumes", mounts);
	for (size_t i = 0; i < texts->n && r >= 0; i++)
		r = add_volume(texts->v[i], i, volumes, mounts, err);
	return r;
}

/* The spec somebody would have written for this command; JSON is YAML. */
static int spec_text(const struct host *host, const struct podman_flags *f, const char *name,
		     const struct strv *args, char **ret, struct err *err)
{
	auto_json struct json_object *o = json_object_new_object();
	struct json_object *baselines = json_object_new_object();
	struct json_object *b = json_object_new_object();
	auto_free char *memory = f->memory ? size_text(f->memory) : NULL;

	json_add_str(b, "image", args->v[0]);
	json_add_bool(b, "keep_running", true);
	if (memory)
		json_add_str(b, "memory", memory);
	if (f->network)
		json_add_str(b, "network", network_name(f->network));
	if (f->cpus)
		json_add_u64(b, "cpus", f->cpus);
	if (f->workdir)
		json_add_str(b, "workdir", f->workdir);
	if (f->user)
		json_add_str(b, "user", f->user);
	if (f->env.n)
		json_add(b, "environment", environment(host, &f->env));
	if (args->n > 1) {
		struct json_object *command = json_object_new_array();

		for (size_t i = 1; i < args->n; i++)
			json_object_array_add(command, json_object_new_string(args->v[i]));
		json_add(b, "command", command);
	}
	json_add(baselines, name, b);
	json_add_str(o, "apiVersion", "fcvm/v1");
	json_add_str(o, "name", "default");
	json_add(o, "baselines", baselines);
	int r = add_volumes(&f->volumes, o, b, err);
	if (r < 0)
		return r;
	*ret = json_line(o);
	return 0;
}

/* Ports of a baseline are no field of a spec. */
static int finish_fleet(struct fleet *fleet, const struct podman_flags *f, struct buf *ret_problems,
			struct err *err)
{
	struct baseline_spec *b = &fleet->baselines[0];
	int r = fleet_refuse_unavailable(fleet, ret_problems, err);

	if (r < 0)
		return r;
	r = fleet_ports_parse(&f->ports, &b->ports, &b->n_ports, err);
	return r < 0 ? err_wrap(err, "--publish") : 0;
}

/* A name would be an entry of images, and this spec has none. */
static int check_image(const char *image, struct err *err)
{
	if (strchr(image, ':'))
		return 0;
	return err_set(err, ERR_SPEC, -EINVAL, "IMAGE: expected %s, got '%s'", shape_sources,
		       image);
}

static int make_fleet(const struct host *host, const struct podman_flags *f, const char *name,
		      const struct strv *args, struct fleet **ret, struct err *err)
{
	auto_free char *text = NULL;
	auto_free char *cwd = getcwd(NULL, 0);
	static const struct fleet_word words[] = {
		{"image", "IMAGE"},
		{"memory", "--memory"},
		{"cpus", "--cpus"},
		{"network", "--network"},
		{"workdir", "--workdir"},
		{"user", "--user"},
		{"environment", "--env"},
		{"command", "COMMAND"},
		{"volumes", "--volume"},
		{"source", "--volume"},
		{NULL, NULL},
	};
	const struct fleet_options options = {.words = words};
	auto_buf struct buf problems = BUF_INIT(SIZE_MAX);

	if (!cwd)
		return err_sys(err, "cannot tell the current directory");
	/* Relative sources start where the user stands. */
	auto_free char *path = xasprintf("%s/podman run", cwd);
	int r = check_image(args->v[0], err);
	if (r >= 0)
		r = spec_text(host, f, name, args, &text, err);
	if (r >= 0)
		r = fleet_parse(path, text, strlen(text), &options, ret, &problems, err);
	if (r >= 0 && (r = finish_fleet(*ret, f, &problems, err)) < 0)
		fleet_free_p(ret);
	return r;
}

static int run_vm(struct command_ctx *ctx, const struct podman_flags *f, const char *name,
		  const struct fleet *fleet, int *ret_exit, struct err *err)
{
	struct reconcile_options options;
	auto_imperative_vm struct imperative_vm vm = {0};
	int code = 0;

	foreground_block_signals();
	loop_options_init(ctx, &options);
	options.engine = f->engine;
	options.no_wait = true;
	/* The container's output is the answer; a table that is redrawn would garble it. */
	options.terminal = false;
	int r = imperative_boot(ctx->host, fleet, &options, &vm, err);
	if (r < 0) {
		*ret_exit = err->class == ERR_FAILED || err->class == ERR_GUEST ? EXIT_OURS : 0;
		return r;
	}
	r = foreground_wait(ctx->host, vm.dir, true, &code, err);
	if (f->remove) {
		int removed = imperative_remove(ctx->host, RESOURCE_BASELINE, name, vm.run,
						r < 0 ? NULL : err);
		r = r < 0 ? r : removed;
	}
	*ret_exit = r < 0 ? EXIT_OURS : code;
	return r;
}

static int run(struct command_ctx *ctx, const struct podman_flags *f, const struct strv *args,
	       int *ret_exit, struct err *err)
{
	auto_fleet struct fleet *fleet = NULL;
	char uuid[37];

	io_uuid(uuid);
	auto_free char *name = f->name ? xstrdup(f->name) : xasprintf("vm-%.6s", uuid);
	if (!parse_is_name(name))
		return err_set(err, ERR_SPEC, -EINVAL,
			       "--name: expected letters a-z, digits and '-', got '%s'", name);
	int r = make_fleet(ctx->host, f, name, args, &fleet, err);
	return r < 0 ? r : run_vm(ctx, f, name, fleet, ret_exit, err);
}

int cmd_podman_run(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	struct podman_flags f = {0};
	auto_strv struct strv args = {0};
	const struct opt opts[] = {
		{0, "name", OPT_STR, &f.name, "NAME", "name of the VM (default: made up)", NULL, 0,
		 0},
		{'m', "memory", OPT_STR, &f.memory, "SIZE", "memory of the VM, e.g. 512MiB or 512m",
		 NULL, 0, 0},
		{0, "cpus", OPT_U64, &f.cpus, "N", "virtual CPUs", NULL, 1, 32},
		{'p', "publish", OPT_STRV, &f.ports, "[IP:][HOST:]GUEST[/udp]",
		 "publish a port; HOST:GUEST binds 127.0.0.1; repeatable", NULL, 0, 0},
		{'v', "volume", OPT_STRV, &f.volumes, "HOSTDIR:/TARGET[:ro]",
		 "a directory of this machine in the VM and the container; repeatable", NULL, 0, 0},
		{0, "network", OPT_CHOICE, &f.network, "MODE",
		 "auto (default), bridged, rootless or none",
		 "auto|bridged|rootless|none|bridge|slirp4netns", 0, 0},
		{'e', "env", OPT_STRV, &f.env, "K=V", "environment of the container; repeatable",
		 NULL, 0, 0},
		{'w', "workdir", OPT_STR, &f.workdir, "DIR", "directory the container starts in",
		 NULL, 0, 0},
		{'u', "user", OPT_STR, &f.user, "USER", "user the container runs as", NULL, 0, 0},
		{0, "rm", OPT_FLAG, &f.remove, NULL, "remove the VM and its logs when it has ended",
		 NULL, 0, 0},
		{0, "engine", OPT_CHOICE, &f.engine, "ENGINE", "auto, qemu or firecracker",
		 "auto|qemu|firecracker", 0, 0},
	};
	const struct command_args how = {opts,
					 ARRAY_SIZE(opts),
					 .stop_at_positional = true,
					 .min_args = 1,
					 .max_args = SIZE_MAX,
					 .later = "d|detach|i|interactive|t|tty|privileged|"
						  "health-cmd"};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	if (r >= 0 && !help)
		r = run(ctx, &f, &args, ret_exit, err);
	strv_free(&f.env);
	strv_free(&f.ports);
	strv_free(&f.volumes);
	return r;
}
