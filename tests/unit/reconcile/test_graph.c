#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "loop_rig.h"

static size_t position(const struct graph *g, size_t node)
{
	for (size_t i = 0; i < g->n_wanted; i++)
		if (g->order[i] == node)
			return i;
	return SIZE_MAX;
}

Test(graph, every_node_comes_after_what_it_needs)
{
	auto_rig struct rig r;

	rig_make(&r, NULL, NULL);
	for (size_t i = 0; i < r.g.n; i++)
		for (size_t e = 0; e < r.g.nodes[i].n_needs; e++)
			cr_expect_lt(position(&r.g, r.g.nodes[i].needs[e]), position(&r.g, i));
}

Test(graph, a_fleet_is_kernel_rootfs_image_baseline_snapshot_server_and_clones)
{
	auto_rig struct rig r;
	static const char *const want[] = {
		"kernel/default", "rootfs/debian",        "image/api",
		"baseline/web",   "snapshot/web@healthy", "memserver/web@healthy/0",
		"clone/web-0",    "clone/web-1",          "clone/web-2"};

	rig_make(&r, NULL, NULL);
	cr_assert_eq(r.g.n, ARRAY_SIZE(want));
	for (size_t i = 0; i < r.g.n; i++) {
		auto_free char *a = resource_address(r.g.nodes[i].kind, r.g.nodes[i].name);

		cr_expect_str_eq(a, want[i]);
	}
}

Test(graph, backend_file_and_count_zero_need_no_server)
{
	auto_rig struct rig file, zero;

	rig_make_text(&file, RIG_SPEC_HEAD "baselines: { web: { image: api } }\n"
					   "snapshots:\n"
					   "  warm: { from: web, memory: { backend: file } }\n"
					   "fleets: { web: { from: warm, count: 2 } }\n");
	rig_make(&zero, "count: 3", "count: 0");
	for (size_t i = 0; i < zero.g.n; i++)
		cr_expect_neq(zero.g.nodes[i].kind, RESOURCE_MEMSERVER);
	for (size_t i = 0; i < file.g.n; i++)
		cr_expect_neq(file.g.nodes[i].kind, RESOURCE_MEMSERVER);
}

Test(graph, a_cycle_is_named_from_its_first_node_to_its_first_node)
{
	auto_graph struct graph g = {.ops = resource_table};
	struct err err = {0};
	size_t a = graph_add(&g, RESOURCE_BASELINE, "a", NULL, 0);
	size_t b = graph_add(&g, RESOURCE_SNAPSHOT, "b", NULL, 0);
	size_t c = graph_add(&g, RESOURCE_CLONE, "c", NULL, 0);

	graph_need(&g, a, b);
	graph_need(&g, b, c);
	graph_need(&g, c, a);
	cr_assert_eq(graph_sort(&g, &err), -ELOOP);
	cr_expect_str_eq(err.msg, "baseline/a needs snapshot/b needs clone/c needs baseline/a: "
				  "nothing can come first");
}

Test(graph, a_chain_of_100000_is_sorted_without_recursion)
{
	auto_graph struct graph g = {.ops = resource_table};
	struct err err = {0};

	for (size_t i = 0; i < 100000; i++) {
		graph_add(&g, RESOURCE_CLONE, "x", NULL, 0);
		if (i)
			graph_need(&g, i - 1, i);
	}
	cr_assert_eq(graph_sort(&g, &err), 0);
	cr_expect_eq(g.order[0], 99999);
	cr_expect_eq(g.order[99999], 0);
}

Test(graph, recorded_nodes_are_found_after_the_index_was_made)
{
	auto_rig struct rig r;

	rig_make(&r, NULL, NULL);
	graph_index(&r.g);
	size_t i = graph_add_recorded(&r.g, RESOURCE_CLONE, "old-7", 7);
	cr_expect_eq(graph_find(&r.g, "clone/old-7"), (ssize_t)i);
	cr_expect_eq(graph_find(&r.g, "clone/web-2"), (ssize_t)rig_node(&r, "clone/web-2"));
	cr_expect_lt(graph_find(&r.g, "clone/web-3"), 0);
}

Test(graph, a_clone_with_the_name_of_a_baseline_is_refused)
{
	auto_rig struct rig r;
	auto_graph struct graph g = {0};
	struct err err = {0};

	rig_make(&r, "count: 3", "count: 1");
	free(r.fleet->baselines[0].name);
	r.fleet->baselines[0].name = strdup("web-0");
	cr_assert_eq(graph_build(r.fleet, &r.choice, &g, &err), -EEXIST);
	cr_expect_eq(err.class, ERR_SPEC);
	auto_buf struct buf said = BUF_INIT(10000);
	fleet_print_problems(r.fleet, &said);
	cr_expect_str_eq(buf_str(&said),
			 "/specs/fleet.yaml:11:3: error: fleets.web: clone 'web-0' has the name of "
			 "a baseline; give the fleet another name or a name template\n"
			 "  web:\n  ^\n");
}
