#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "json.h"
#include "loop_rig.h"
#include "record.h"
#include "run.h"
#include "xalloc.h"

/* What an apply of the spec with `from` -> `to` would do after one of the spec as it is. */
static void after_edit(struct rig *was, struct rig *now, const char *from, const char *to)
{
	rig_make(was, NULL, NULL);
	rig_settle(was);
	rig_make(now, from, to);
	rig_inherit(now, was);
	rig_plan(now);
}

static void expect_text(struct rig *r, const char *golden)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);
	struct plan_view view = rig_view(r);

	plan_print_text(&view, &out);
	golden_check(golden, buf_str(&out));
}

Test(plan, a_first_apply_creates_everything_in_order)
{
	auto_rig struct rig r;
	auto_buf struct buf json = BUF_INIT(1u << 20);

	rig_make(&r, NULL, NULL);
	rig_inherit(&r, NULL);
	rig_plan(&r);
	expect_text(&r, "plan-first.txt");
	struct plan_view view = rig_view(&r);
	plan_print_json(&view, &json);
	golden_check("plan-first.json", buf_str(&json));
}

Test(plan, the_same_spec_again_is_no_changes)
{
	auto_rig struct rig was, now;
	auto_buf struct buf out = BUF_INIT(4096);

	after_edit(&was, &now, NULL, NULL);
	struct plan_view view = rig_view(&now);
	plan_print_text(&view, &out);
	cr_expect_str_eq(buf_str(&out), "no changes\n");
	cr_expect_eq(now.plan.n, 0);
}

struct edit {
	const char *from, *to, *steps;
};

#define CLONES(action) action " clone/web-0\n" action " clone/web-1\n" action " clone/web-2\n"
#define BELOW_BASELINE                                                                                 \
	"create baseline/web\nreplace snapshot/web@healthy\nreplace memserver/web@healthy/0\n" CLONES( \
		"replace")

static const struct edit edits[] = {
	/* layout, names and places of things are no changes */
	{"count: 3", "count: 3 # three", ""},
	{"name: shop\n", "name: shop\nx-note: [1, 2]\nlabels: { team: core }\n", ""},
	{"interval: 5s }\n", "interval: 5s }\n    ready_timeout: 5m\n", ""},
	{"count: 3\n", "count: 3\n    on_clone: [[\"/hook\"]]\n", ""},
	{"name: shop\n", "name: shop\npolicy: { parallelism: { restore: 4 } }\n", ""},
	/* the difference only, the highest index first */
	{"count: 3", "count: 5", "create clone/web-3\ncreate clone/web-4\n"},
	{"count: 3", "count: 1", "destroy clone/web-2\ndestroy clone/web-1\n"},
	{"count: 3", "count: 0",
	 "destroy clone/web-2\ndestroy clone/web-1\ndestroy clone/web-0\n"
	 "destroy memserver/web@healthy/0\n"},
	/* in place */
	{"shard: \"{{index}}\"", "shard: \"s{{index}}\"", CLONES("update")},
	{"count: 3\n", "count: 3\n    restart: always\n", CLONES("update")},
	{"interval: 5s", "interval: 7s", CLONES("update")},
	{"count: 3\n", "count: 3\n    network: bridged\n    ports: [80]\n", CLONES("replace")},
	/* the guest's world is the same in every network: no new snapshot */
	{"memory: 256MiB", "memory: 256MiB\n    network: bridged", CLONES("replace")},
	{"name: shop\n",
	 "name: shop\nnetworks: { n: { mode: rootless } }\ndefaults: { fleet: { network: n } }\n",
	 CLONES("replace")},
	/* replace, and everything below with it */
	{"memory: 256MiB", "memory: 512MiB", BELOW_BASELINE},
	{"memory: 256MiB", "memory: 256MiB\n    environment: { A: b }", BELOW_BASELINE},
	{"memory: 256MiB", "memory: 256MiB\n    command: [\"serve\"]", BELOW_BASELINE},
	{"http://:80/", "http://:81/", BELOW_BASELINE},
	{"./api.tar", "./api2.tar", "replace image/api\n" BELOW_BASELINE},
	{"name: shop\n", "name: shop\nkernels: { default: { args: [\"quiet\"] } }\n",
	 "replace kernel/default\n" BELOW_BASELINE},
	{"name: shop\n", "name: shop\nrootfs: { debian: { size: 8GiB } }\n", BELOW_BASELINE},
	/* renamed: the old one goes after the new one came */
	{"  web:\n    from: web", "  api:\n    from: web",
	 "create clone/api-0\ncreate clone/api-1\ncreate clone/api-2\n"
	 "destroy clone/web-2\ndestroy clone/web-1\ndestroy clone/web-0\n"},
	/* a baseline that is to go on is booted; its snapshot stays */
	{"memory: 256MiB", "memory: 256MiB\n    keep_running: true", "create baseline/web\n"},
};

Test(plan, an_edit_touches_what_its_change_class_says_and_nothing_else)
{
	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		auto_rig struct rig was, now;

		after_edit(&was, &now, edits[i].from, edits[i].to);
		auto_free char *steps = rig_steps(&now);
		cr_expect_str_eq(steps, edits[i].steps, "'%s' -> '%s' gave:\n%s", edits[i].from,
				 edits[i].to, steps);
	}
}

#define NET_SPEC(egress, baseline, ports)                                             \
	RIG_SPEC_HEAD                                                                 \
	"networks:\n  n:\n    mode: bridged\n    egress: " egress                     \
	"\nbaselines:\n  web:\n    image: api\n    keep_running: true\n    network: " \
	"" baseline "\n    healthcheck: { tcp: \":80\" }\nfleets:\n  web:\n"          \
	"    from: web\n    network: n\n    ports: [" ports "]\n"

static const struct {
	const char *to, *steps;
} net_edits[] = {
	{NET_SPEC("{ default: allow }", "n", "\"8080:80\""), ""},
	{NET_SPEC("{}", "n", "\"127.0.0.1:8080:80/tcp\""), ""},
	{NET_SPEC("{}", "n", "\"8080:80\", 443"), "update clone/web-0\n"},
	{NET_SPEC("{}", "n", ""), "update clone/web-0\n"},
	{NET_SPEC("{ default: deny }", "n", "\"8080:80\""),
	 "update baseline/web\nupdate clone/web-0\n"},
	{NET_SPEC("{ default: deny, allow: [10.0.0.0/8] }", "n", "\"8080:80\""),
	 "update baseline/web\nupdate clone/web-0\n"},
	{NET_SPEC("{}\n    dns: [1.1.1.1]", "n", "\"8080:80\""),
	 "update baseline/web\nupdate clone/web-0\n"},
	/* a running baseline moves to its new network alone */
	{NET_SPEC("{}", "none", "\"8080:80\""), "replace baseline/web\n"},
};

/* As after an apply: the baseline goes on. */
static void settle_net(struct rig *was)
{
	rig_make_text(was, NET_SPEC("{}", "n", "\"8080:80\""));
	rig_settle(was);
	size_t b = rig_node(was, "baseline/web");

	record_set_state(was->seen[b].record, "ready");
	was->seen[b].exists = was->seen[b].healthy = true;
}

Test(plan, ports_and_policy_change_in_place_and_a_mode_replaces_only_its_vms)
{
	for (size_t i = 0; i < ARRAY_SIZE(net_edits); i++) {
		auto_rig struct rig was, now;

		settle_net(&was);
		rig_make_text(&now, net_edits[i].to);
		rig_inherit(&now, &was);
		rig_plan(&now);
		auto_free char *steps = rig_steps(&now);
		cr_expect_str_eq(steps, net_edits[i].steps, "edit %zu gave:\n%s", i, steps);
	}
}

Test(plan, a_changed_port_says_that_its_connections_drop)
{
	auto_rig struct rig was, now;

	settle_net(&was);
	rig_make_text(&now, NET_SPEC("{ default: deny }", "n", "\"8081:80\""));
	rig_inherit(&now, &was);
	rig_plan(&now);
	expect_text(&now, "plan-ports.txt");
}

#define FROM_SPEC(from)                                                                    \
	RIG_SPEC_HEAD "baselines:\n  web: { image: api, healthcheck: { tcp: \":80\" } }\n" \
		      "snapshots:\n  warm: { from: web }\n"                                \
		      "fleets:\n  web: { from: " from " }\n"

Test(plan, another_snapshot_is_told_as_what_somebody_changed)
{
	auto_rig struct rig was, now;

	rig_make_text(&was, FROM_SPEC("warm"));
	rig_settle(&was);
	rig_make_text(&now, FROM_SPEC("web"));
	rig_inherit(&now, &was);
	rig_plan(&now);
	auto_free char *reason = plan_reason_text(
		&now.g, &now.plan.steps[rig_step(&now, VERB_CREATE, "clone/web-0")]);
	cr_expect_str_eq(reason, "because of snapshot/web@healthy; fleets.web.from: 'warm' -> "
				 "'web@healthy'");
}

Test(plan, the_field_and_the_need_that_caused_a_step_are_told)
{
	auto_rig struct rig was, now;

	after_edit(&was, &now, "memory: 256MiB", "memory: 512MiB");
	expect_text(&now, "plan-memory.txt");
}

Test(plan, clones_move_before_what_they_stood_on_is_taken_away)
{
	auto_rig struct rig was, now;

	after_edit(&was, &now, "memory: 256MiB", "memory: 512MiB");
	size_t clone = rig_step(&now, VERB_CREATE, "clone/web-2");
	size_t server = rig_step(&now, VERB_CREATE, "memserver/web@healthy/0");
	size_t snapshot = rig_step(&now, VERB_CREATE, "snapshot/web@healthy");
	size_t old_server = rig_step(&now, VERB_PRUNE, "memserver/web@healthy/0");
	size_t old_snapshot = rig_step(&now, VERB_PRUNE, "snapshot/web@healthy");

	cr_expect(rig_waits(&now, server, snapshot));
	cr_expect(rig_waits(&now, clone, server));
	cr_expect(rig_waits(&now, old_server, clone));
	cr_expect(rig_waits(&now, old_snapshot, old_server));
	cr_expect_not(rig_waits(&now, clone, old_server));
}

Test(plan, destroy_takes_users_before_what_they_stand_on)
{
	auto_rig struct rig r;

	rig_make(&r, NULL, NULL);
	rig_settle(&r);
	graph_index(&r.g);
	plan_destroy(&r.g, r.seen, &r.plan);
	auto_free char *steps = rig_steps(&r);
	cr_expect_str_eq(steps, "destroy clone/web-2\ndestroy clone/web-1\ndestroy clone/web-0\n"
				"destroy memserver/web@healthy/0\ndestroy snapshot/web@healthy\n"
				"destroy baseline/web\ndestroy image/api\n"
				"destroy rootfs/debian\ndestroy kernel/default\n");
	size_t server = rig_step(&r, VERB_DESTROY, "memserver/web@healthy/0");
	cr_expect(rig_waits(&r, server, rig_step(&r, VERB_DESTROY, "clone/web-0")));
	cr_expect(rig_waits(&r, rig_step(&r, VERB_DESTROY, "snapshot/web@healthy"), server));
}

static void break_node(struct rig *r, const char *address, const char *why)
{
	seen_unhealthy(&r->seen[rig_node(r, address)], "%s", why);
}

Test(plan, a_lost_clone_is_replaced_alone)
{
	auto_rig struct rig was, now;

	rig_make(&was, NULL, NULL);
	rig_settle(&was);
	break_node(&was, "clone/web-1", "lost: its memory server is gone");
	rig_make(&now, NULL, NULL);
	rig_inherit(&now, &was);
	rig_plan(&now);
	expect_text(&now, "plan-lost.txt");
}

Test(plan, a_dead_server_takes_its_clones_with_it_and_the_snapshot_stays)
{
	auto_rig struct rig was, now;

	rig_make(&was, NULL, NULL);
	rig_settle(&was);
	break_node(&was, "memserver/web@healthy/0", "its process is gone");
	rig_make(&now, NULL, NULL);
	rig_inherit(&now, &was);
	rig_plan(&now);
	auto_free char *steps = rig_steps(&now);
	cr_expect_str_eq(steps, "replace memserver/web@healthy/0\n" CLONES("replace"));
	const struct step *s = &now.plan.steps[rig_step(&now, VERB_CREATE, "clone/web-0")];
	cr_expect_eq(s->caused_by, rig_node(&now, "memserver/web@healthy/0"));
}

#define KIND_SPEC(baseline, fleet)                                                      \
	RIG_SPEC_HEAD "baselines:\n"                                                    \
		      "  " baseline ": { image: api, healthcheck: { tcp: \":80\" } }\n" \
		      "snapshots:\n  warm: { from: " baseline " }\n"                    \
		      "fleets:\n  " fleet ": { from: warm, count: 2 }\n"

static void change_kind(struct rig *was, struct rig *now, const char *from, const char *to)
{
	rig_make_text(was, from);
	rig_settle(was);
	rig_make_text(now, to);
	rig_inherit(now, was);
	rig_plan(now);
	rig_expect_no_circle(now);
}

/* Both would live in vms/web-0. */
Test(plan, a_baseline_is_made_when_the_clone_of_its_name_is_gone)
{
	auto_rig struct rig was, now;

	change_kind(&was, &now, KIND_SPEC("base", "web"), KIND_SPEC("web-0", "app"));
	cr_expect(rig_waits(&now, rig_step(&now, VERB_CREATE, "baseline/web-0"),
			    rig_step(&now, VERB_DESTROY, "clone/web-0")));
}

Test(plan, a_clone_is_made_when_the_baseline_of_its_name_is_gone)
{
	auto_rig struct rig was, now;

	change_kind(&was, &now, KIND_SPEC("web-0", "app"), KIND_SPEC("base", "web"));
	cr_expect(rig_waits(&now, rig_step(&now, VERB_CREATE, "clone/web-0"),
			    rig_step(&now, VERB_DESTROY, "baseline/web-0")));
}

Test(plan, a_cached_snapshot_survives_the_loss_of_all_it_was_made_from)
{
	auto_rig struct rig was, now;

	rig_make(&was, NULL, NULL);
	rig_settle(&was);
	rig_make(&now, NULL, NULL);
	rig_inherit(&now, &was);
	/* gone from the cache; the records still tell their digests */
	for (size_t i = 0; i < now.g.n && now.g.nodes[i].kind <= RESOURCE_IMAGE; i++)
		now.seen[i].exists = false;
	rig_plan(&now);
	cr_expect_eq(now.plan.n, 0);
}

Test(plan, a_new_clone_demands_the_disks_it_opens_but_no_baseline)
{
	auto_rig struct rig was, now;

	rig_make(&was, NULL, NULL);
	rig_settle(&was);
	rig_make(&now, "count: 3", "count: 4");
	rig_inherit(&now, &was);
	now.seen[rig_node(&now, "rootfs/debian")].exists = false;
	rig_plan(&now);
	auto_free char *steps = rig_steps(&now);
	cr_expect_str_eq(steps, "create rootfs/debian\ncreate clone/web-3\n");
}

Test(plan, a_baseline_that_still_runs_beside_its_snapshot_is_reaped)
{
	auto_rig struct rig was, now;

	rig_make(&was, NULL, NULL);
	rig_settle(&was);
	rig_make(&now, NULL, NULL);
	rig_inherit(&now, &was);
	struct seen *s = &now.seen[rig_node(&now, "baseline/web")];
	s->exists = s->healthy = s->held = true;
	rig_plan(&now);
	cr_assert_eq(now.plan.n, 1);
	cr_expect_eq(now.plan.steps[0].verb, VERB_RELEASE);
	cr_expect_eq(now.plan.steps[0].action, CHANGE_UPDATE);
}

Test(plan, leftovers_of_an_interrupted_replace_are_a_step_of_their_own)
{
	auto_rig struct rig was, now;

	rig_make(&was, NULL, NULL);
	rig_settle(&was);
	was.seen[rig_node(&was, "snapshot/web@healthy")].old = true;
	rig_make(&now, NULL, NULL);
	rig_inherit(&now, &was);
	rig_plan(&now);
	auto_free char *steps = rig_steps(&now);
	cr_expect_str_eq(steps, "update snapshot/web@healthy\n");
	cr_expect_eq(now.plan.steps[0].verb, VERB_PRUNE);
}

Test(plan, what_a_hand_made_stays)
{
	auto_rig struct rig was, now;

	rig_make(&was, "count: 3", "count: 4");
	rig_settle(&was);
	json_add_bool(was.seen[rig_node(&was, "clone/web-3")].record, "imperative", true);
	rig_make(&now, NULL, NULL);
	rig_inherit(&now, &was);
	rig_plan(&now);
	cr_expect_eq(now.plan.n, 0);
}

Test(plan, many_like_steps_are_one_line_and_json_lists_them_all)
{
	auto_rig struct rig r;
	auto_buf struct buf json = BUF_INIT(1u << 20);
	auto_json struct json_object *o = NULL;
	struct json_object *changes = NULL;

	rig_make(&r, "count: 3", "count: 12");
	rig_inherit(&r, NULL);
	rig_plan(&r);
	expect_text(&r, "plan-many.txt");
	struct plan_view view = rig_view(&r);
	plan_print_json(&view, &json);
	cr_assert_eq(json_parse(json.data, json.len, &o, NULL), 0);
	cr_assert_eq(json_get_arr(o, "changes", &changes, NULL), 0);
	cr_expect_eq(json_object_array_length(changes), 18);
}

Test(plan, json_all_lists_what_does_not_change)
{
	auto_rig struct rig was, now;
	auto_buf struct buf json = BUF_INIT(1u << 20);
	auto_json struct json_object *o = NULL;
	struct json_object *changes = NULL;

	after_edit(&was, &now, "count: 3", "count: 4");
	struct plan_view view = rig_view(&now);
	view.all = true;
	plan_print_json(&view, &json);
	cr_assert_eq(json_parse(json.data, json.len, &o, NULL), 0);
	cr_assert_eq(json_get_arr(o, "changes", &changes, NULL), 0);
	cr_expect_eq(json_object_array_length(changes), 10);
	struct json_object *last = json_object_array_get_idx(changes, 9);
	cr_expect_str_eq(json_opt_str(last, "action", ""), "none");
}

static size_t work_of(unsigned int count)
{
	auto_rig struct rig r;
	auto_free char *to = xasprintf("count: %u", count);

	rig_make(&r, "count: 3", to);
	r.n_seen = r.g.n;
	r.seen = xcalloc(r.g.n + 1, sizeof(*r.seen));
	rig_plan(&r);
	cr_expect_eq(r.plan.n, count + 6);
	return r.plan.work;
}

Test(plan, the_work_grows_with_the_fleet_and_not_with_its_square)
{
	size_t small = work_of(10000), large = work_of(100000);

	cr_expect_leq(large, small * 101 / 10, "%zu, then %zu", small, large);
}
