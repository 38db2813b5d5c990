#include "loop_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "diag.h"
#include "io.h"
#include "observe.h"
#include "record.h"
#include "xalloc.h"

static int64_t noon(void)
{
	return INT64_C(1700000000000);
}

void rig_make_text(struct rig *r, const char *text)
{
	const struct strv none = {0};
	const struct fleet_options options = {.sets = &none};
	auto_buf struct buf problems = BUF_INIT(65536);
	struct err err = {0};

	*r = (struct rig){.host = {.unix_ms = noon, .is_root = true}};
	r->choice = (struct resource_choice){.engine = "qemu", .tcg = true, .uffd = true};
	snprintf(r->choice.why, sizeof(r->choice.why), "no /dev/kvm");
	snprintf(r->choice.version, sizeof(r->choice.version), "7.2");
	cr_assert_geq(fleet_parse("/specs/fleet.yaml", text, strlen(text), &options, &r->fleet,
				  &problems, &err),
		      0, "%s", buf_str(&problems));
	r->ctx = (struct resource_ctx){
		.host = &r->host,
		.fleet = r->fleet,
		.choice = &r->choice,
		.set = r->fleet->name,
		.set_dir = "/nonexistent/sets/shop",
		.run = "0badcafe",
	};
	cr_assert_geq(graph_build(r->fleet, &r->choice, &r->g, &err), 0, "%s", err.msg);
}

void rig_make(struct rig *r, const char *from, const char *to)
{
	const char *at = from ? strstr(RIG_SPEC, from) : NULL;

	if (!from) {
		rig_make_text(r, RIG_SPEC);
		return;
	}
	cr_assert(at, "'%s' is not in the spec", from);
	auto_free char *text =
		xasprintf("%.*s%s%s", (int)(at - RIG_SPEC), RIG_SPEC, to, at + strlen(from));
	rig_make_text(r, text);
}

void rig_free(struct rig *r)
{
	observe_free(r->seen, r->n_seen);
	plan_free(&r->plan);
	graph_free(&r->g);
	fleet_free(r->fleet);
}

/* What a look-up would have said: bytes that depend on the source alone. */
static void invent_content(const struct node *n, struct seen *seen)
{
	const struct image_spec *image = n->spec;
	const char *text = n->kind == RESOURCE_IMAGE ? image->source : n->name;

	if (n->kind <= RESOURCE_IMAGE)
		digest_of(text, strlen(text), seen->content);
}

static void settle_node(struct rig *r, size_t i)
{
	struct node *n = &r->g.nodes[i];
	struct seen *s = &r->seen[i];
	struct need_list needs = graph_needs(&r->g, r->seen, i);
	auto_field_list struct field_list want = {0};

	r->g.ops[n->kind]->describe(&r->ctx, n, &want);
	s->record = record_new(&r->ctx, n, &want, &needs);
	json_add_str(s->record, "content", s->content);
	record_set_state(s->record, n->kind == RESOURCE_BASELINE ? "reaped" : "ready");
	s->exists = s->healthy = n->kind != RESOURCE_BASELINE;
	if (n->kind == RESOURCE_CLONE)
		json_add_str(s->record, "fleet", ((const struct fleet_spec *)n->spec)->name);
	snprintf(s->digest, sizeof(s->digest), "%s", n->digest);
}

void rig_settle(struct rig *r)
{
	r->n_seen = r->g.n;
	r->seen = xcalloc(r->g.n + 1, sizeof(*r->seen));
	for (size_t k = 0; k < r->g.n_wanted; k++) {
		size_t i = r->g.order[k];

		invent_content(&r->g.nodes[i], &r->seen[i]);
		observe_digest(&r->ctx, &r->g, r->seen, i);
		settle_node(r, i);
	}
}

static void add_gone(struct rig *now, struct rig *was)
{
	for (size_t i = 0; i < was->g.n; i++) {
		const struct node *n = &was->g.nodes[i];
		auto_free char *address = resource_address(n->kind, n->name);

		if (graph_find(&now->g, address) < 0)
			graph_add_recorded(&now->g, n->kind, n->name, n->index);
	}
}

void rig_inherit(struct rig *now, struct rig *was)
{
	graph_index(&now->g);
	if (was)
		add_gone(now, was);
	now->n_seen = now->g.n;
	now->seen = xcalloc(now->g.n + 1, sizeof(*now->seen));
	for (size_t i = 0; was && i < was->g.n; i++) {
		auto_free char *address =
			resource_address(was->g.nodes[i].kind, was->g.nodes[i].name);
		struct seen *s = &now->seen[graph_find(&now->g, address)];

		*s = was->seen[i];
		was->seen[i] = (struct seen){0};
		s->content[0] = '\0';
	}
	for (size_t k = 0; k < now->g.n_wanted; k++) {
		size_t i = now->g.order[k];

		if (was)
			invent_content(&now->g.nodes[i], &now->seen[i]);
		observe_digest(&now->ctx, &now->g, now->seen, i);
	}
}

void rig_plan(struct rig *r)
{
	plan_build(&r->ctx, &r->g, r->seen, true, &r->plan);
}

char *rig_steps(const struct rig *r)
{
	struct buf b = BUF_INIT(1u << 20);

	for (size_t i = 0; i < r->plan.n; i++) {
		const struct step *s = &r->plan.steps[i];
		const struct node *n = &r->g.nodes[s->node];

		if (s->action == CHANGE_NONE)
			continue;
		auto_free char *address = resource_address(n->kind, n->name);
		buf_addf(&b, "%s %s\n", plan_action_name(s->action), address);
	}
	return buf_detach(&b);
}

struct plan_view rig_view(struct rig *r)
{
	return (struct plan_view){
		.ctx = &r->ctx, .g = &r->g, .plan = &r->plan, .file = "fleet.yaml"};
}

size_t rig_node(const struct rig *r, const char *address)
{
	for (size_t i = 0; i < r->g.n; i++) {
		auto_free char *own = resource_address(r->g.nodes[i].kind, r->g.nodes[i].name);

		if (strcmp(own, address) == 0)
			return i;
	}
	cr_assert(false, "no node %s", address);
	return 0;
}

size_t rig_step(const struct rig *r, enum verb verb, const char *address)
{
	size_t node = rig_node(r, address);

	for (size_t i = 0; i < r->plan.n; i++)
		if (r->plan.steps[i].node == node && r->plan.steps[i].verb == verb)
			return i;
	cr_assert(false, "no such step for %s", address);
	return 0;
}

bool rig_waits(const struct rig *r, size_t later, size_t earlier)
{
	const struct step *s = &r->plan.steps[earlier];

	for (size_t e = 0; e < s->n_edges; e++) {
		size_t next = r->plan.edges[s->first_edge + e];

		if (next == later || rig_waits(r, later, next))
			return true;
	}
	return false;
}

void rig_expect_no_circle(const struct rig *r)
{
	auto_free size_t *waits = xcalloc(r->plan.n + 1, sizeof(*waits));
	auto_free size_t *ready = xcalloc(r->plan.n + 1, sizeof(*ready));
	size_t n = 0;

	for (size_t i = 0; i < r->plan.n; i++)
		if ((waits[i] = r->plan.steps[i].n_waits) == 0)
			ready[n++] = i;
	for (size_t k = 0; k < n; k++) {
		const struct step *s = &r->plan.steps[ready[k]];

		for (size_t e = 0; e < s->n_edges; e++)
			if (--waits[r->plan.edges[s->first_edge + e]] == 0)
				ready[n++] = r->plan.edges[s->first_edge + e];
	}
	cr_expect_eq(n, r->plan.n, "%zu of %zu steps are never ready", r->plan.n - n, r->plan.n);
}
