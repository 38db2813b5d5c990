#include "hostside.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "cleanup.h"
#include "host_table.h"
#include "net_answers.h"
#include "nfsock.h"

static struct mnl_socket *enter(void)
{
	struct mnl_socket *nl = NULL;
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_geq(nfsock_open(&nl, &err), 0, "%s", err.msg);
	cr_assert_geq(host_table_ensure(nl, &err), 0, "%s", err.msg);
	return nl;
}

static void add_allowed(struct elements *l, const struct slot *s, const char *text)
{
	struct net_allow a = {0};

	cr_assert_eq(net_allow_parse(text, &a, NULL), 0);
	elements_allow(l, s, &a, 0);
}

Test(hostside, what_the_kernel_refuses_is_not_called_done)
{
	auto_nfsock struct mnl_socket *nl = enter();
	auto_elements struct elements there = {0}, all = {0};
	const struct slot s = slot_of(5);
	struct err err = {0};

	add_allowed(&there, &s, "10.0.0.0/8:443/tcp");
	cr_assert_eq(elements_commit(nl, &there, &err), 0, "%s", err.msg);
	elements_vm(&all, &s);
	add_allowed(&all, &s, "10.1.0.0/16:443/tcp");
	cr_expect_eq(hostside_commit(nl, &all, &err), -EEXIST);
	cr_expect_str_eq(err.msg, "cannot change table 'fcvm' of nftables: File exists");
	cr_expect_eq(elements_has_link(nl, SET_VMIF, s.link, &err), 0);
}

struct sweeper {
	struct mnl_socket *nl;
	const struct slot *dead;
};

static void sweep_once(void *data)
{
	const struct sweeper *w = data;

	net_after_answer.run = NULL;
	cr_assert_eq(host_table_purge(w->nl, w->dead, NULL), 0);
}

/* Whether the dead VM's port is still in the way when it is looked for, or a sweep was faster. */
static void publish_over_a_dead_vm(bool is_swept)
{
	auto_nfsock struct mnl_socket *nl = enter(), *other = NULL;
	auto_elements struct elements old = {0}, all = {0}, found = {0};
	const struct slot dead = slot_of(5), s = slot_of(6);
	const struct net_port port = {"0.0.0.0", 80, 80, false};
	struct sweeper w = {.dead = &dead};
	struct err err = {0};

	cr_assert_geq(nfsock_open(&other, &err), 0, "%s", err.msg);
	w.nl = other;
	elements_port(&old, &dead, &port);
	cr_assert_eq(elements_commit(nl, &old, &err), 0, "%s", err.msg);
	elements_vm(&all, &s);
	elements_port(&all, &s, &port);
	if (is_swept)
		net_after_answer = (struct net_after_answer){.run = sweep_once, .data = &w};
	cr_expect_eq(hostside_commit(nl, &all, &err), 0, "%s", err.msg);
	cr_expect_null(net_after_answer.run);
	cr_expect_eq(elements_has_link(nl, SET_VMIF, s.link, &err), 1);
	cr_assert_eq(elements_read(nl, SET_PUB_ANY, &found, &err), 0, "%s", err.msg);
	cr_assert_eq(found.n, 1u);
	cr_expect(element_is_of(&found.v[0], &s));
}

Test(hostside, a_port_of_a_dead_vm_is_taken_over)
{
	publish_over_a_dead_vm(false);
}

Test(hostside, a_port_that_a_sweep_has_just_taken_from_a_dead_vm_is_published)
{
	publish_over_a_dead_vm(true);
}
