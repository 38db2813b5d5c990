#include <criterion/criterion.h>

#include "cleanup.h"
#include "json.h"
#include "loop_rig.h"
#include "xalloc.h"

#define CLONES "replace clone/web-0\nreplace clone/web-1\nreplace clone/web-2\n"

static void put_member(struct rig *r, const char *address, const char *key, const char *value)
{
	json_add_str(r->seen[rig_node(r, address)].record, key, value);
}

/* As an apply leaves it that ended once the snapshot was taken again, under the same key. */
static void settle_moved(struct rig *r, const char *server_on, uint64_t server_pid)
{
	struct seen *server;

	rig_make(r, NULL, NULL);
	rig_settle(r);
	put_member(r, "snapshot/web@healthy", "dir", "/s/new");
	put_member(r, "memserver/web@healthy/0", "snapshot_dir", server_on);
	server = &r->seen[rig_node(r, "memserver/web@healthy/0")];
	json_add_u64(server->record, "pid", server_pid);
	for (unsigned i = 0; i < 3; i++) {
		auto_free char *clone = xasprintf("clone/web-%u", i);

		put_member(r, clone, "snapshot_dir", i < 2 ? "/s/old" : "/s/new");
		json_add_u64(r->seen[rig_node(r, clone)].record, "serve_pid", 7);
	}
}

static const struct {
	const char *server_on;
	uint64_t server_pid;
	const char *steps, *node, *reason;
} moved[] = {
	{"/s/old", 7, "replace memserver/web@healthy/0\n" CLONES, "memserver/web@healthy/0",
	 "because of snapshot/web@healthy; state: 'on an older one' -> 'on the one there is'"},
	{"/s/new", 7, "replace clone/web-0\nreplace clone/web-1\n", "clone/web-0",
	 "because of snapshot/web@healthy; state: 'on an older one' -> 'on the one there is'"},
	{"/s/new", 8, CLONES, "clone/web-2",
	 "because of memserver/web@healthy/0; state: 'on an older one' -> 'on the one there is'"},
};

Test(diff, what_stands_on_an_older_one_of_the_same_key_is_made_again)
{
	for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
		auto_rig struct rig was, now;

		settle_moved(&was, moved[i].server_on, moved[i].server_pid);
		rig_make(&now, NULL, NULL);
		rig_inherit(&now, &was);
		rig_plan(&now);
		auto_free char *steps = rig_steps(&now);
		cr_expect_str_eq(steps, moved[i].steps, "case %zu gave:\n%s", i, steps);
		if (now.plan.n == 0)
			continue;
		auto_free char *reason = plan_reason_text(
			&now.g, &now.plan.steps[rig_step(&now, VERB_CREATE, moved[i].node)]);
		cr_expect_str_eq(reason, moved[i].reason);
	}
}

Test(diff, an_older_snapshot_goes_after_all_that_stand_on_it)
{
	auto_rig struct rig was, now;

	settle_moved(&was, "/s/old", 7);
	was.seen[rig_node(&was, "snapshot/web@healthy")].old = true;
	rig_make(&now, NULL, NULL);
	rig_inherit(&now, &was);
	rig_plan(&now);
	size_t prune = rig_step(&now, VERB_PRUNE, "snapshot/web@healthy");
	cr_expect(rig_waits(&now, prune, rig_step(&now, VERB_CREATE, "clone/web-0")));
	cr_expect(rig_waits(&now, prune, rig_step(&now, VERB_PRUNE, "memserver/web@healthy/0")));
}
