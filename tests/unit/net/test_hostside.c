#include "hostside.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "cleanup.h"
#include "host_table.h"
#include "io.h"
#include "json.h"
#include "net_answers.h"
#include "net_rig.h"
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

/* How long the kernel keeps the element of that address from when it was put in; 0: it has none. */
static uint64_t timeout_of(struct json_object *elems, const char *addr)
{
	for (size_t i = 0; i < json_object_array_length(elems); i++) {
		struct json_object *at = json_object_array_get_idx(elems, i), *elem = NULL,
				   *val = NULL, *concat = NULL;
		uint64_t timeout_s = 0;

		cr_assert_eq(json_get_obj(at, "elem", &elem, NULL), 0);
		cr_assert_eq(json_get_obj(elem, "val", &val, NULL), 0);
		cr_assert_eq(json_get_arr(val, "concat", &concat, NULL), 0);
		cr_assert_eq(json_get_u64(elem, "timeout", &timeout_s, NULL), 0);
		if (strcmp(json_object_get_string(json_object_array_get_idx(concat, 1)), addr) == 0)
			return timeout_s;
	}
	return 0;
}

static struct json_object *read_allowed(void)
{
	static const char *const list[] = {"nft", "-j",   "list",   "set",
					   "ip",  "fcvm", "allow4", NULL};
	auto_buf struct buf text = BUF_INIT(65536);
	struct json_object *o = NULL;

	cr_assert_eq(net_run_at(0, &text, list), 0);
	cr_assert_eq(json_parse(text.data, text.len, &o, NULL), 0);
	return o;
}

static struct net_grant grant_of(uint32_t addr, uint64_t until_ms)
{
	return (struct net_grant){
		.to = {.addr = addr, .prefix = 32, .port = 443, .proto = NET_PROTO_TCP},
		.until_ms = until_ms,
	};
}

/* The first is there for another while, the second has timed out, the third is new. */
Test(hostside, what_is_granted_again_has_its_time_anew_whatever_has_timed_out)
{
	static const char *const addrs[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
	auto_nfsock struct mnl_socket *nl = enter();
	auto_elements struct elements before = {0}, changes = {0};
	auto_json struct json_object *o = NULL;
	struct json_object *all = NULL, *set = NULL, *elems = NULL;
	const uint64_t until_ms = now_ms() + UINT64_C(86400000);
	struct net_grant v[] = {grant_of(0x0a000001, until_ms), grant_of(0x0a000002, until_ms),
				grant_of(0x0a000003, until_ms)};
	const struct grants fresh = {.v = v, .n = ARRAY_SIZE(v)};
	const struct net_config c = {.egress_deny = true};
	const struct slot s = slot_of(5);
	struct err err = {0};

	elements_allow(&before, &s, &v[0].to, 3600000);
	cr_assert_eq(elements_commit(nl, &before, &err), 0, "%s", err.msg);
	hostside_grant(&s, &c, &fresh, &changes);
	cr_assert_eq(elements_commit(nl, &changes, &err), 0, "%s", err.msg);
	o = read_allowed();
	cr_assert_eq(json_get_arr(o, "nftables", &all, NULL), 0);
	cr_assert_eq(json_get_obj(json_object_array_get_idx(all, 1), "set", &set, NULL), 0);
	cr_assert_eq(json_get_arr(set, "elem", &elems, NULL), 0);
	cr_expect_eq(json_object_array_length(elems), ARRAY_SIZE(addrs));
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		cr_expect_gt(timeout_of(elems, addrs[i]), 3600u, "%s", addrs[i]);
}
