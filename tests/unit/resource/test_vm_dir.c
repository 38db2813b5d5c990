#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "proc.h"
#include "record.h"
#include "run.h"
#include "vm_dir.h"
#include "xalloc.h"

/* A set with one VM in it, whose "supervisor" is this test. */
struct world {
	char *dir, *vm;
	struct host host;
	struct resource_ctx ctx;
	struct seen seen;
};

static void world_make(struct world *w)
{
	struct err err = {0};

	*w = (struct world){.dir = tmpdir_new("vmdir")};
	cr_assert_geq(host_init(&w->host, w->dir, &err), 0);
	w->vm = vm_dir_path(w->dir, "web-0");
	w->ctx = (struct resource_ctx){.host = &w->host, .set = "shop", .set_dir = w->dir};
	cr_assert_eq(file_mkdir_p(w->vm, 0711, &err), 0);
	w->seen.record = json_object_new_object();
	json_add_str(w->seen.record, "dir", w->vm);
	record_set_state(w->seen.record, "ready");
}

static void world_free(struct world *w)
{
	seen_clear(&w->seen);
	host_free(&w->host);
	free(w->vm);
	tmpdir_remove(&w->dir);
}
#define auto_world __attribute__((cleanup(world_free)))

static void put_status(const struct world *w, const char *state, const char *rest, bool alive)
{
	auto_free char *path = path_join(w->vm, SUPERVISE_STATUS);
	struct proc_id id;

	cr_assert_eq(proc_id_of(getpid(), &id, NULL), 0);
	auto_free char *text =
		xasprintf("{\"state\":\"%s\",\"supervisor\":{\"pid\":%d,\"start_time\":%llu,"
			  "\"boot_id\":\"%s\"}%s}",
			  state, (int)id.pid, (unsigned long long)id.start_time + (alive ? 0 : 1),
			  id.boot_id, rest);
	cr_assert_eq(file_replace(path, text, strlen(text), 0600, NULL), 0);
}

struct status_case {
	const char *state, *rest;
	bool alive, exists, healthy;
	const char *why;
};

static const struct status_case cases[] = {
	{"ready", "", true, true, true, NULL},
	{"running", "", true, true, true, NULL},
	{"ready", "", false, true, false, "failed: its supervisor is gone"},
	{"lost", ",\"ended\":\"memserver\",\"error\":\"memory server gone\"", true, true, false,
	 "lost: memory server gone"},
	{"failed", ",\"ended\":\"exited\",\"exit_code\":3,\"error\":\"exit code 3\"", false, true,
	 false, "failed: exit code 3"},
	/* it did its work */
	{"stopped", ",\"ended\":\"exited\",\"exit_code\":0", false, true, true, NULL},
	{"stopped", ",\"ended\":\"exited\",\"exit_code\":2", false, true, false, "stopped"},
	{"stopped", ",\"ended\":\"requested\",\"exit_code\":null", false, true, false, "stopped"},
};

Test(vm_dir, state_is_checked_against_reality)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct status_case *c = &cases[i];
		auto_world struct world w;
		struct err err = {0};

		world_make(&w);
		put_status(&w, c->state, c->rest, c->alive);
		cr_assert_eq(vm_dir_observe(&w.ctx, &w.seen, &err), 0);
		cr_expect_eq(w.seen.exists, c->exists, "case %zu", i);
		cr_expect_eq(w.seen.ended, c->healthy && strcmp(c->state, "stopped") == 0,
			     "case %zu", i);
		cr_expect_eq(w.seen.healthy, c->healthy, "case %zu: %s", i, w.seen.why);
		if (c->why)
			cr_expect_str_eq(w.seen.why, c->why);
	}
}

Test(vm_dir, what_a_hand_stopped_is_not_as_wanted_even_with_exit_code_0)
{
	auto_world struct world w;

	world_make(&w);
	put_status(&w, "stopped", ",\"ended\":\"requested\",\"exit_code\":0", false);
	json_add_bool(w.seen.record, "stopped_by_hand", true);
	cr_assert_eq(vm_dir_observe(&w.ctx, &w.seen, NULL), 0);
	cr_expect_not(w.seen.healthy);
	cr_expect_str_eq(w.seen.why, "stopped by hand");
}

Test(vm_dir, half_made_ones_and_missing_directories_are_made_again)
{
	auto_world struct world w;

	world_make(&w);
	record_set_state(w.seen.record, "creating");
	cr_assert_eq(vm_dir_observe(&w.ctx, &w.seen, NULL), 0);
	cr_expect_not(w.seen.healthy);
	cr_expect_str_eq(w.seen.why, "half made");
	record_set_state(w.seen.record, "ready");
	cr_assert_eq(file_remove_tree(w.vm, NULL), 0);
	cr_assert_eq(vm_dir_observe(&w.ctx, &w.seen, NULL), 0);
	cr_expect_str_eq(w.seen.why, "its directory tells nothing of it");
}

Test(vm_dir, a_record_that_points_out_of_its_set_is_not_followed)
{
	auto_world struct world w;

	world_make(&w);
	put_status(&w, "ready", "", true);
	json_add_str(w.seen.record, "dir", "/etc");
	cr_assert_eq(vm_dir_observe(&w.ctx, &w.seen, NULL), 0);
	cr_expect_not(w.seen.healthy);
}

Test(vm_dir, removal_of_what_is_gone_is_success)
{
	auto_world struct world w;
	struct err err = {0};

	world_make(&w);
	cr_assert_geq(host_make_dirs(&w.host, &err), 0);
	cr_expect_geq(vm_dir_remove(&w.ctx, w.vm, 0, &err), 0, "%s", err.msg);
	cr_expect_not(file_exists(w.vm));
	cr_expect_geq(vm_dir_remove(&w.ctx, w.vm, 0, &err), 0, "%s", err.msg);
}
