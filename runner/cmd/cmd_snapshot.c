#include "commands.h"

#include "cleanup.h"
#include "exec_session.h"
#include "foreground.h"
#include "imperative.h"
#include "inventory.h"
#include "io.h"
#include "loop_options.h"
#include "parse.h"
#include "record.h"
#include "rows.h"
#include "set.h"
#include "snapshot_find.h"
#include "storage.h"
#include "table.h"
#include "vm_find.h"
#include "vm_verbs.h"
#include "xalloc.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int cmd_snapshot_create(struct command_ctx *ctx, int argc, char **argv, int *ret_exit,
			struct err *err)
{
	auto_strv struct strv args = {0};
	auto_inventory struct inventory vms = {0};
	const struct inventory_item *vm = NULL;
	const char *tag = NULL;
	const struct opt opts[] = {
		{0, "tag", OPT_STR, &tag, "NAME", "name of the snapshot", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .min_args = 1, .max_args = 1};
	struct reconcile_options options;
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	if (!tag)
		return err_set(err, ERR_SPEC, -EINVAL, "'snapshot create' needs --tag NAME");
	if (!parse_is_name(tag))
		return err_set(err, ERR_SPEC, -EINVAL,
			       "--tag: expected letters a-z, digits and '-', got '%s'", tag);
	if ((r = inventory_load(ctx->host, NULL, INVENTORY_VMS, &vms, err)) < 0 ||
	    (r = vm_find_item(&vms, args.v[0], false, &vm, err)) < 0)
		return r;
	loop_options_init(ctx, &options);
	return imperative_snapshot(ctx->host, vm, tag, &options, err);
}

/* --- ls, rm --- */

static struct json_object *row_of(const struct inventory_item *it)
{
	struct json_object *row = json_object_new_object();

	json_add_str(row, "name", it->name);
	json_add_str(row, "set", it->set);
	json_add_str(row, "state", record_state(it->record));
	if (it->dir)
		json_add_u64(row, "size_bytes", storage_tree_blocks(it->dir));
	else
		json_add(row, "size_bytes", NULL);
	json_add_str(row, "from", json_opt_str(it->record, "source", NULL));
	json_add_str(row, "created_at", json_opt_str(it->record, "created_at", NULL));
	return row;
}

static void add_table(struct json_object *rows, struct buf *out)
{
	static const char *const headings[] = {"NAME", "SET", "STATE", ">SIZE", "FROM", "CREATED"};
	auto_table struct table *t = table_new(headings, ARRAY_SIZE(headings));

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		uint64_t bytes = json_opt_u64(row, "size_bytes", UINT64_MAX);
		char size[32];

		table_cell(t, json_opt_str(row, "name", NULL));
		table_cell(t, json_opt_str(row, "set", NULL));
		table_cell(t, json_opt_str(row, "state", NULL));
		table_cell(t, bytes == UINT64_MAX ? NULL : format_size(bytes, size, sizeof(size)));
		table_cell(t, json_opt_str(row, "from", NULL));
		table_cell(t, json_opt_str(row, "created_at", NULL));
	}
	table_print(t, out);
}

static int list(const struct host *host, const char *format, struct err *err)
{
	auto_inventory struct inventory all = {0};
	auto_json struct json_object *rows = json_object_new_array();
	auto_buf struct buf out = BUF_INIT(16u << 20);
	int r = inventory_load(host, NULL, 1u << RESOURCE_SNAPSHOT, &all, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < all.n; i++)
		json_object_array_add(rows, row_of(&all.v[i]));
	if (!rows_print(rows, format, &out))
		add_table(rows, &out);
	return command_print(&out, err);
}

int cmd_snapshot_ls(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	const char *format = "table";
	bool json = false, help = false;
	auto_strv struct strv args = {0};
	const struct opt opts[] = {
		{0, "format", OPT_CHOICE, &format, "FORMAT", "table, json or jsonl",
		 "table|json|jsonl", 0, 0},
		{0, "json", OPT_FLAG, &json, NULL, "the same as --format json", NULL, 0, 0},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .max_args = 0};
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	return r < 0 || help ? r : list(ctx->host, json ? "json" : format, err);
}

int cmd_snapshot_rm(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_inventory struct inventory all = {0};
	auto_strv struct strv args = {0};
	const struct inventory_item *it = NULL;
	const struct command_args how = {.min_args = 1, .max_args = 1};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	r = inventory_load(ctx->host, NULL, SNAPSHOT_FIND_KINDS, &all, err);
	if (r < 0 || (r = snapshot_find(&all, args.v[0], &it, err)) < 0 ||
	    (r = snapshot_refuse_used(&all, it, err)) < 0)
		return r;
	return vm_remove(ctx->host, it, NULL, err);
}

/* --- serve --- */

static int serve_until_end(struct command_ctx *ctx, const struct inventory_item *snapshot,
			   struct err *err)
{
	auto_free char *name = NULL;
	struct proc_id id;
	int r = snapshot_serve_start(ctx->host, snapshot, &name, &id, err);

	if (r < 0)
		return r;
	auto_buf struct buf out = BUF_INIT(64);
	buf_addf(&out, "%d\n", (int)id.pid);
	r = command_print(&out, err);
	if (r >= 0)
		r = snapshot_serve_wait(ctx->host, &id, err);
	int removed =
		imperative_remove(ctx->host, RESOURCE_MEMSERVER, name, NULL, r < 0 ? NULL : err);
	return r < 0 ? r : removed;
}

int cmd_snapshot_serve(struct command_ctx *ctx, int argc, char **argv, int *ret_exit,
		       struct err *err)
{
	auto_inventory struct inventory all = {0};
	auto_strv struct strv args = {0};
	const struct inventory_item *it = NULL;
	const struct command_args how = {.min_args = 1, .max_args = 1};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r < 0 || help)
		return r;
	foreground_block_signals();
	if ((r = inventory_load(ctx->host, NULL, SNAPSHOT_FIND_KINDS, &all, err)) < 0 ||
	    (r = snapshot_find(&all, args.v[0], &it, err)) < 0)
		return r;
	return serve_until_end(ctx, it, err);
}

/* --- run --- */

struct run_flags {
	const char *snapshot, *name, *exec, *engine, *network;
	struct strv ports;
	uint64_t pid;
};

static int find_source(const struct inventory *all, const struct run_flags *f,
		       struct imperative_clone *what, struct err *err)
{
	if (!f->pid == !f->snapshot)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "give either --pid SERVE_PID or --snapshot NAME");
	if (f->snapshot)
		return snapshot_find(all, f->snapshot, &what->snapshot, err);
	return snapshot_find_served(all, f->pid, &what->server, &what->snapshot, err);
}

static int exec_in(const struct host *host, const char *dir, const char *command, int *ret_exit,
		   struct err *err)
{
	auto_strv struct strv argv = {0};
	auto_free char *container = NULL;
	struct exec_result result = {0};
	int r = parse_words(command, &argv, err);

	if (r < 0)
		return err_wrap(err, "--exec");
	container = snapshot_container(host, dir);
	struct exec_request req = {
		.instance_dir = dir,
		.argv = &argv,
		.container = container,
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
	};
	r = exec_session_run(&req, &result, err);
	if (r < 0)
		return r;
	*ret_exit = result.code;
	return 0;
}

static int run_clone(struct command_ctx *ctx, const struct run_flags *f,
		     const struct imperative_clone *what, int *ret_exit, struct err *err)
{
	struct reconcile_options options;
	auto_imperative_vm struct imperative_vm vm = {0};

	loop_options_init(ctx, &options);
	options.engine = f->engine;
	options.terminal = false;
	int r = imperative_clone(ctx->host, what, &options, &vm, err);
	if (r < 0)
		return r;
	r = f->exec ? exec_in(ctx->host, vm.dir, f->exec, ret_exit, err)
		    : foreground_wait(ctx->host, vm.dir, true, ret_exit, err);
	int removed = imperative_remove(ctx->host, RESOURCE_CLONE, what->name, vm.run,
					r < 0 ? NULL : err);
	return r < 0 ? r : removed;
}

static int find_and_run(struct command_ctx *ctx, const struct run_flags *f, int *ret_exit,
			struct err *err)
{
	auto_inventory struct inventory all = {0};
	struct imperative_clone what = {.network = f->network ? f->network : "auto",
					.ports = &f->ports};
	char uuid[37];
	int r = 0;

	io_uuid(uuid);
	foreground_block_signals();
	if ((r = inventory_load(ctx->host, NULL, SNAPSHOT_FIND_KINDS, &all, err)) < 0 ||
	    (r = find_source(&all, f, &what, err)) < 0)
		return r;
	auto_free char *name = f->name ? xstrdup(f->name) : xasprintf("clone-%.6s", uuid);
	if (!parse_is_name(name))
		return err_set(err, ERR_SPEC, -EINVAL,
			       "--name: expected letters a-z, digits and '-', got '%s'", name);
	what.name = name;
	return run_clone(ctx, f, &what, ret_exit, err);
}

int cmd_snapshot_run(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	auto_strv struct strv args = {0};
	struct run_flags f = {0};
	const struct opt opts[] = {
		{0, "pid", OPT_U64, &f.pid, "SERVE_PID", "memory from that snapshot serve", NULL, 1,
		 INT32_MAX},
		{0, "snapshot", OPT_STR, &f.snapshot, "NAME", "memory from the snapshot's file",
		 NULL, 0, 0},
		{0, "name", OPT_STR, &f.name, "NAME", "name of the clone (default: made up)", NULL,
		 0, 0},
		{0, "exec", OPT_STR, &f.exec, "CMD",
		 "run CMD in the container and end with its exit code", NULL, 0, 0},
		{'p', "publish", OPT_STRV, &f.ports, "[IP:][HOST:]GUEST[/udp]",
		 "publish a port; HOST:GUEST binds 127.0.0.1; repeatable", NULL, 0, 0},
		{0, "network", OPT_CHOICE, &f.network, "MODE",
		 "auto (default), bridged, rootless or none", "auto|bridged|rootless|none", 0, 0},
		{0, "engine", OPT_CHOICE, &f.engine, "ENGINE", "auto, qemu or firecracker",
		 "auto|qemu|firecracker", 0, 0},
	};
	const struct command_args how = {.opts = opts, .n = ARRAY_SIZE(opts)};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	if (r >= 0 && !help)
		r = find_and_run(ctx, &f, ret_exit, err);
	strv_free(&f.ports);
	return r;
}
