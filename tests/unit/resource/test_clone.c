#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "kinds.h"
#include "proc.h"
#include "record.h"
#include "run.h"
#include "vm_dir.h"
#include "xalloc.h"

static struct json_object *record_with(const char *key, const char *value)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, key, value);
	return o;
}

Test(clone, it_is_not_restored_over_the_memory_of_another_snapshot)
{
	char name[] = "web-0", of[] = "web@healthy", by[] = "web@healthy/0";
	struct node node = {.kind = RESOURCE_CLONE, .name = name};
	struct node snapshot = {.kind = RESOURCE_SNAPSHOT, .name = of};
	struct node server = {.kind = RESOURCE_MEMSERVER, .name = by};
	auto_json struct json_object *taken = record_with("dir", "/s/new");
	auto_json struct json_object *serves = record_with("snapshot_dir", "/s/old");
	struct seen have = {.record = taken}, old = {.record = serves}, none = {0};
	const struct need_list needs = {{{&snapshot, &have}, {&server, &old}}, 2};
	struct fleet_spec fleet = {.name = name};
	struct json_object *made = NULL;
	struct err err = {0};

	node.spec = &fleet;
	cr_expect_lt(
		resource_clone.create(&(struct resource_ctx){0}, &needs, &node, &none, &made, &err),
		0);
	cr_expect_str_eq(err.msg, "memory server 'web@healthy/0' serves an older snapshot than the "
				  "'web@healthy' there is");
	cr_expect_null(made);
}

static void describe(struct field_list *f, const char *restart, const char *metadata)
{
	field_list_add(f, "fleets.web", "restart", CHANGE_UPDATE, (struct place){0}, restart);
	field_list_add(f, "fleets.web", "metadata", CHANGE_UPDATE, (struct place){0}, metadata);
}

/* A clone of fleet "web" whose record says restart: no and metadata: old. */
static enum change change_of(const char *restart, const char *metadata, bool ended)
{
	auto_free char *policy = xstrdup(restart);
	char name[] = "web";
	struct fleet_spec fleet = {.name = name, .restart = policy};
	struct node node = {.kind = RESOURCE_CLONE, .name = name, .spec = &fleet};
	auto_json struct json_object *record = record_with("key", "");
	struct seen seen = {.exists = true, .healthy = true, .ended = ended, .record = record};
	auto_field_list struct field_list was = {0}, want = {0};
	auto_reasons struct reasons why = {0};

	describe(&was, "no", "old");
	describe(&want, restart, metadata);
	json_add(record, "spec", field_list_to_json(&was));
	return resource_clone.diff(&node, &want, &seen, &why);
}

Test(clone, one_that_did_its_work_is_made_again_only_when_it_is_to_run_again)
{
	cr_expect_eq(change_of("no", "old", true), CHANGE_NONE);
	cr_expect_eq(change_of("no", "new", true), CHANGE_UPDATE);
	cr_expect_eq(change_of("on-failure", "old", true), CHANGE_UPDATE);
	cr_expect_eq(change_of("always", "new", true), CHANGE_REPLACE);
	cr_expect_eq(change_of("always", "old", false), CHANGE_UPDATE);
}

/* Of a clone of fleet "web" with that policy, whose supervisor is, or was, this test. */
static struct json_object *supervised(const char *dir, const char *restart, bool alive)
{
	struct json_object *record = record_with("dir", dir);
	auto_field_list struct field_list was = {0};
	struct proc_id id;

	cr_assert_eq(proc_id_of(getpid(), &id, NULL), 0);
	id.start_time += alive ? 0 : 1;
	describe(&was, restart, "old");
	record_set_state(record, "ready");
	json_add_str(record, "fleet", "web");
	json_add(record, "spec", field_list_to_json(&was));
	json_add(record, "supervisor", record_proc(&id));
	return record;
}

static const struct {
	const char *restart;
	bool alive, ended;
} exits[] = {
	{"no", false, true},
	{"on-failure", false, true},
	{"always", true, true}, /* it waits for its restart */
	{"always", false, false},
};

Test(clone, what_exited_0_did_its_work_unless_its_supervisor_died_before_it_ran_it_again)
{
	static const char status[] = "{\"state\":\"stopped\",\"ended\":\"exited\",\"exit_code\":0}";
	auto_tmpdir char *dir = tmpdir_new("clone");
	auto_free char *vm = vm_dir_path(dir, "web-0"), *path = path_join(vm, SUPERVISE_STATUS);
	struct host host;

	cr_assert_geq(host_init(&host, dir, NULL), 0);
	cr_assert_eq(file_mkdir_p(vm, 0711, NULL), 0);
	cr_assert_eq(file_replace(path, status, strlen(status), 0600, NULL), 0);
	const struct resource_ctx ctx = {.host = &host, .set_dir = dir};
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		struct seen seen = {.record = supervised(vm, exits[i].restart, exits[i].alive)};

		cr_assert_eq(resource_clone.observe(&ctx, NULL, &seen, NULL), 0);
		cr_expect_eq(seen.ended, exits[i].ended, "case %zu", i);
		cr_expect_eq(seen.healthy, exits[i].ended, "case %zu", i);
		cr_expect_str_eq(seen.why ? seen.why : "",
				 exits[i].ended ? "" : "its supervisor is gone", "case %zu", i);
		seen_clear(&seen);
	}
	host_free(&host);
}
