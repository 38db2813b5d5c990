#include "fake_ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "run.h"
#include "xalloc.h"

static void append(const struct resource_ctx *ctx, const char *verb, const char *name)
{
	auto_free char *path = path_join(ctx->set_dir, "log");
	auto_free char *line = xasprintf("%s %s\n", verb, name);
	auto_close int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	(void)!write(fd, line, strlen(line));
}

static bool is_told(const char *name, const char *order)
{
	auto_free char *word = xasprintf(".%s", order);

	return strstr(name, word) != NULL;
}

static void wait_for_go(const struct resource_ctx *ctx)
{
	auto_free char *path = path_join(ctx->set_dir, "go");

	while (!file_exists(path))
		(void)usleep(1000);
}

static int obey(const struct resource_ctx *ctx, const char *name, struct err *err)
{
	if (is_told(name, "talk")) {
		ctx->say(ctx->data, "first");
		ctx->say(ctx->data, "second \"quoted\"\nline");
	}
	if (is_told(name, "wait"))
		wait_for_go(ctx);
	if (is_told(name, "note") && ctx->note(ctx->data, "a side effect", err) < 0)
		return err->code;
	if (is_told(name, "hang"))
		for (;;)
			(void)pause();
	if (is_told(name, "crash"))
		_exit(3);
	if (is_told(name, "fail"))
		return err_set(err, ERR_FAILED, -EIO, "told to fail");
	if (is_told(name, "host"))
		return err_set(err, ERR_HOST, -EPERM, "not on this host");
	if (is_told(name, "late"))
		return err_set(err, ERR_NOT_READY, -ETIMEDOUT, "not ready in time");
	return 0;
}

static int run_verb(const struct resource_ctx *ctx, const char *verb, const struct node *node,
		    struct json_object **ret, struct err *err)
{
	append(ctx, verb, node->name);
	int r = obey(ctx, node->name, err);
	append(ctx, "end", node->name);
	if (r < 0)
		return r;
	*ret = json_object_new_object();
	json_add_str(*ret, "key", "made");
	json_add_bool(*ret, "last_user", ctx->last_user);
	return 0;
}

static int fake_create(const struct resource_ctx *ctx, const struct need_list *needs,
		       const struct node *node, const struct seen *seen, struct json_object **ret,
		       struct err *err)
{
	(void)seen;
	/* What was needed is there, with the record its own step returned. */
	for (size_t i = 0; i < needs->n; i++)
		if (strcmp(json_opt_str(needs->v[i].seen->record, "key", ""), "made") != 0)
			return err_set(err, ERR_FAILED, -ENOENT, "a need is missing");
	return run_verb(ctx, "create", node, ret, err);
}

static int fake_two(const struct resource_ctx *ctx, const struct node *node,
		    const struct seen *seen, struct json_object **ret, struct err *err)
{
	(void)seen;
	return run_verb(ctx, "prune", node, ret, err);
}

static int fake_yield(const struct resource_ctx *ctx, const struct node *node,
		      const struct seen *seen, bool stays, struct err *err)
{
	auto_json struct json_object *o = NULL;

	(void)seen;
	return run_verb(ctx, stays ? "yield" : "leave", node, &o, err);
}

static int fake_destroy(const struct resource_ctx *ctx, const struct node *node,
			const struct seen *seen, struct err *err)
{
	auto_json struct json_object *o = NULL;

	(void)seen;
	return run_verb(ctx, "destroy", node, &o, err);
}

static bool never(const struct node *node)
{
	(void)node;
	return false;
}

static char *no_path(const struct node *node, struct place *ret_at)
{
	*ret_at = (struct place){0};
	return xstrdup(node->name);
}

static void no_fields(const struct resource_ctx *ctx, const struct node *node,
		      struct field_list *ret)
{
	(void)ctx, (void)node, (void)ret;
}

static int nothing_there(const struct resource_ctx *ctx, const struct node *node, struct seen *seen,
			 struct err *err)
{
	(void)ctx, (void)node, (void)seen, (void)err;
	return 0;
}

static enum change no_change(const struct node *node, const struct field_list *want,
			     const struct seen *seen, struct reasons *why)
{
	(void)node, (void)want, (void)seen, (void)why;
	return CHANGE_NONE;
}

static void no_claims(const struct resource_ctx *ctx, const struct node *node,
		      struct json_object *record, struct strv *ret_wants, struct strv *ret_holds)
{
	(void)ctx, (void)node, (void)record, (void)ret_wants, (void)ret_holds;
}

static uint64_t deadline_ms(const struct node *node)
{
	/* Killed at once: the executor's slack comes on top. */
	return is_told(node->name, "hang") && is_told(node->name, "soon") ? 1 : 60000;
}

#define FAKE(word, which, ...)                                                          \
	{                                                                               \
		.kind = word, .permit = which, .on_demand = never, .path = no_path,     \
		.describe = no_fields, .observe = nothing_there, .diff = no_change,     \
		.claims = no_claims, .deadline_ms = deadline_ms, .create = fake_create, \
		.update = fake_create, .release = fake_two, .prune = fake_two,          \
		.yield = fake_yield, .destroy = fake_destroy, __VA_ARGS__               \
	}

static const struct resource_ops fakes[RESOURCE_KINDS] = {
	[RESOURCE_KERNEL] = FAKE("kernel", PERMIT_BUILD, ),
	[RESOURCE_ROOTFS] = FAKE("rootfs", PERMIT_BUILD, ),
	[RESOURCE_IMAGE] = FAKE("image", PERMIT_BUILD, ),
	[RESOURCE_BASELINE] = FAKE("baseline", PERMIT_BOOT, .one_user = true),
	[RESOURCE_SNAPSHOT] = FAKE("snapshot", PERMIT_BOOT, .holds = true, .beside = true),
	[RESOURCE_MEMSERVER] = FAKE("memserver", PERMIT_BOOT, .holds = true, .beside = true),
	[RESOURCE_CLONE] = FAKE("clone", PERMIT_RESTORE, ),
};
const struct resource_ops *const fake_table[RESOURCE_KINDS] = {
	&fakes[0], &fakes[1], &fakes[2], &fakes[3], &fakes[4], &fakes[5], &fakes[6],
};

static const char *no_env(const char *name)
{
	(void)name;
	return NULL;
}

void fake_make(struct fake_run *f)
{
	*f = (struct fake_run){.dir = tmpdir_new("loop")};
	f->host = (struct host){.unix_ms = io_unix_ms, .getenv = no_env};
	f->ctx = (struct resource_ctx){.host = &f->host,
				       .choice = &f->choice,
				       .set = "fake",
				       .set_dir = f->dir,
				       .run = "0badcafe"};
	f->g.ops = fake_table;
	f->x = (struct execute){.ctx = &f->ctx,
				.g = &f->g,
				.seen = f->seen,
				.plan = &f->plan,
				.lock_fd = -1,
				.permits = {1, 1, 1, 1}};
}

void fake_free(struct fake_run *f)
{
	for (size_t i = 0; i < f->g.n; i++)
		seen_clear(&f->seen[i]);
	plan_free(&f->plan);
	graph_free(&f->g);
	tmpdir_remove(&f->dir);
}

/* Of any kind: the fakes never look, and messages begin with a name. */
static char any_name[] = "any";
static const union {
	struct baseline_spec largest;
	struct fleet_spec fleet;
	struct snapshot_spec snapshot;
	struct image_spec image;
} any_spec = {.largest = {.name = any_name}};
_Static_assert(sizeof(any_spec) == sizeof(any_spec.largest), "the rest of it is zero");

size_t fake_add(struct fake_run *f, enum resource_kind kind, const char *name, const size_t *needs)
{
	size_t i = graph_add(&f->g, kind, name, &any_spec, 0);

	for (; needs && *needs != SIZE_MAX; needs++)
		graph_need(&f->g, i, *needs);
	cr_assert_lt(i, 64);
	return i;
}

int fake_execute(struct fake_run *f)
{
	struct err err = {0};

	cr_assert_eq(graph_sort(&f->g, &err), 0);
	plan_build(&f->ctx, &f->g, f->seen, true, &f->plan);
	int r = execute_plan(&f->x, &f->res, &err);
	cr_expect_geq(r, 0, "%s", err.msg);
	return r;
}

char *fake_log(const struct fake_run *f)
{
	auto_free char *path = path_join(f->dir, "log");
	struct buf text = BUF_INIT(1u << 20);

	(void)file_read(path, 1u << 20, &text, NULL);
	return buf_detach(&text);
}

size_t fake_count(const struct fake_run *f, const char *line)
{
	auto_free char *log = fake_log(f);
	auto_free char *whole = xasprintf("%s\n", line);
	size_t n = 0;

	for (char *at = log; (at = strstr(at, whole)); at += strlen(whole))
		n += at == log || at[-1] == '\n';
	return n;
}

void fake_touch(const struct fake_run *f, const char *name)
{
	auto_free char *path = path_join(f->dir, name);

	cr_assert_eq(file_replace(path, "", 0, 0600, NULL), 0);
}
