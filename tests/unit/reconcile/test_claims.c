#include "claims.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "loop_rig.h"
#include "record.h"
#include "xalloc.h"

#define HEAD RIG_SPEC_HEAD "baselines:\n  web: { image: api, healthcheck: { tcp: \":80\" } }\n"
#define BIGGER \
	RIG_SPEC_HEAD "baselines:\n  web: { image: api, cpus: 2, healthcheck: { tcp: \":80\" } }\n"
#define FLEET(name, count, ports) \
	"  " name ": { from: web, network: bridged, count: " count ", ports: [\"" ports "\"] }\n"

/* What an apply of `to` would do after one of `from`. */
static void after(struct rig *was, struct rig *now, const char *from, const char *to)
{
	auto_free char *first = xasprintf(HEAD "fleets:\n%s", from);
	auto_free char *second = xasprintf(HEAD "fleets:\n%s", to);

	rig_make_text(was, first);
	rig_settle(was);
	rig_make_text(now, second);
	rig_inherit(now, was);
	rig_plan(now);
}

Test(claims, a_shifted_port_is_taken_once_its_holder_has_let_go)
{
	auto_rig struct rig was, now;

	after(&was, &now, FLEET("web", "3", "{{8080 + index}}:80"),
	      FLEET("web", "3", "{{8081 + index}}:80"));
	size_t a = rig_step(&now, VERB_UPDATE, "clone/web-0"),
	       b = rig_step(&now, VERB_UPDATE, "clone/web-1"),
	       c = rig_step(&now, VERB_UPDATE, "clone/web-2");

	cr_expect(rig_waits(&now, a, rig_step(&now, VERB_YIELD, "clone/web-1")));
	cr_expect(rig_waits(&now, b, c), "it waits for nobody, and lets go by its own step");
	cr_expect_not(rig_waits(&now, a, b));
	rig_expect_no_circle(&now);
}

Test(claims, a_renamed_fleet_takes_its_ports_over_from_what_goes)
{
	auto_rig struct rig was, now;

	after(&was, &now, FLEET("web", "2", "{{8080 + index}}:80"),
	      FLEET("site", "2", "{{8080 + index}}:80"));
	cr_expect(rig_waits(&now, rig_step(&now, VERB_CREATE, "clone/site-1"),
			    rig_step(&now, VERB_DESTROY, "clone/web-1")));
	cr_expect_not(rig_waits(&now, rig_step(&now, VERB_CREATE, "clone/site-1"),
				rig_step(&now, VERB_DESTROY, "clone/web-0")));
}

Test(claims, who_swaps_ports_lets_go_before_anyone_takes)
{
	auto_rig struct rig was, now;

	after(&was, &now, FLEET("a", "1", "8080:80") FLEET("b", "1", "8081:80"),
	      FLEET("a", "1", "8081:80") FLEET("b", "1", "8080:80"));
	size_t a = rig_step(&now, VERB_UPDATE, "clone/a-0"),
	       b = rig_step(&now, VERB_UPDATE, "clone/b-0");

	for (size_t i = 0; i < 2; i++) {
		size_t yield = rig_step(&now, VERB_YIELD, i ? "clone/b-0" : "clone/a-0");

		cr_expect(rig_waits(&now, a, yield));
		cr_expect(rig_waits(&now, b, yield));
		cr_expect_eq(now.plan.steps[yield].action, CHANGE_NONE, "no step for people");
		cr_expect(now.plan.steps[yield].stays);
	}
	rig_expect_no_circle(&now);
}

Test(claims, who_swaps_ports_and_is_replaced_is_stopped_before_anyone_takes)
{
	auto_rig struct rig was, now;

	rig_make_text(&was, HEAD "fleets:\n" FLEET("a", "1", "8080:80") FLEET("b", "1", "8081:80"));
	rig_settle(&was);
	rig_make_text(&now,
		      BIGGER "fleets:\n" FLEET("a", "1", "8081:80") FLEET("b", "1", "8080:80"));
	rig_inherit(&now, &was);
	rig_plan(&now);
	size_t a = rig_step(&now, VERB_YIELD, "clone/a-0");

	cr_expect(rig_waits(&now, rig_step(&now, VERB_CREATE, "clone/a-0"), a));
	cr_expect(rig_waits(&now, rig_step(&now, VERB_CREATE, "clone/b-0"), a));
	cr_expect_not(now.plan.steps[a].stays);
	cr_expect(rig_waits(&now, a, rig_step(&now, VERB_CREATE, "memserver/web@healthy/0")),
		  "not before there is something to replace it by");
	rig_expect_no_circle(&now);
}

static const struct {
	const char *had, *wants;
	bool waits;
} overlaps[] = {
	{"0.0.0.0:8080:80", "8080:80", true},    {"8080:80", "0.0.0.0:8080:80", true},
	{"0.0.0.0:8080:80", "8080", true},       {"8080", "0.0.0.0:8080:80", true},
	{"8080:80", "127.0.0.2:8080:80", false}, {"0.0.0.0:8080:80", "8080:80/udp", false},
};

Test(claims, every_address_is_anothers_too)
{
	for (size_t i = 0; i < ARRAY_SIZE(overlaps); i++) {
		auto_free char *before = xasprintf(FLEET("a", "1", "%s"), overlaps[i].had);
		auto_free char *later = xasprintf(FLEET("b", "1", "%s"), overlaps[i].wants);
		auto_rig struct rig was, now;

		after(&was, &now, before, later);
		cr_expect_eq(rig_waits(&now, rig_step(&now, VERB_CREATE, "clone/b-0"),
				       rig_step(&now, VERB_DESTROY, "clone/a-0")),
			     overlaps[i].waits, "%s after %s", overlaps[i].wants, overlaps[i].had);
	}
}

Test(claims, every_holder_of_what_one_takes_lets_go)
{
	auto_rig struct rig was, now;

	after(&was, &now, FLEET("a", "2", "127.0.0.{{1 + index}}:8080:80"),
	      FLEET("b", "1", "0.0.0.0:8080:80"));
	size_t b = rig_step(&now, VERB_CREATE, "clone/b-0");

	cr_expect(rig_waits(&now, b, rig_step(&now, VERB_DESTROY, "clone/a-0")));
	cr_expect(rig_waits(&now, b, rig_step(&now, VERB_DESTROY, "clone/a-1")));
}

Test(claims, a_vms_own_address_is_claimed_by_nobody_else)
{
	auto_rig struct rig was, now;

	after(&was, &now, FLEET("a", "1", "80"), FLEET("b", "1", "80"));
	cr_expect_not(rig_waits(&now, rig_step(&now, VERB_CREATE, "clone/b-0"),
				rig_step(&now, VERB_DESTROY, "clone/a-0")));
}

Test(claims, a_record_of_other_types_claims_nothing)
{
	static const char *const texts[] = {
		"{}", "{\"spec\":7}", "{\"spec\":{\"update\":{\"x.ports\":[1]}}}",
		"{\"spec\":{\"update\":{\"x.ports\":\"{\"}}}",
		"{\"spec\":{\"update\":{\"x.ports\":\"[7, \\\"x\\\", \\\"0:0\\\"]\"}}}"};
	auto_rig struct rig r;

	rig_make_text(&r, HEAD "fleets:\n" FLEET("a", "1", "8080:80"));
	const struct node *clone = &r.g.nodes[rig_node(&r, "clone/a-0")];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_json struct json_object *record = NULL;
		auto_strv struct strv wants = {0}, holds = {0};

		cr_assert_eq(json_parse(texts[i], strlen(texts[i]), &record, NULL), 0, "%s",
			     texts[i]);
		resource_ops_of(RESOURCE_CLONE)->claims(&r.ctx, clone, record, &wants, &holds);
		cr_expect_eq(holds.n, 0, "%s", texts[i]);
		cr_assert_eq(wants.n, 2);
		cr_expect_str_eq(wants.v[0], "0.0.0.0:8080/tcp");
		cr_expect_str_eq(wants.v[1], "127.0.0.1:8080/tcp");
	}
}
