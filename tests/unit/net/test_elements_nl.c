#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "cleanup.h"
#include "elements.h"
#include "host_table.h"
#include "net_answers.h"
#include "nfsock.h"

/* Two VMs of so many addresses: more than the kernel puts into one answer, and the one that
 * goes is read first. */
#define MANY 600u
#define BATCH 8192u

struct bed {
	struct mnl_socket *nl, *other;
	struct elements guest; /* of the VM that goes */
	struct slot s;         /* of the one that stays */
};

static void add_many(struct elements *l, const struct slot *s)
{
	for (uint32_t i = 0; i < MANY; i++) {
		const struct net_allow a = {
			.addr = 0x0a000000u + i, .prefix = 32, .port = 443, .proto = NET_PROTO_TCP};

		elements_allow(l, s, &a, 0);
	}
}

static void begin(struct bed *b)
{
	auto_elements struct elements stay = {0};
	const struct slot goes = slot_of(5);
	struct err err = {0};

	if (geteuid() != 0)
		cr_skip_test("network namespaces need root");
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_geq(nfsock_open(&b->nl, &err), 0, "%s", err.msg);
	cr_assert_geq(nfsock_open(&b->other, &err), 0, "%s", err.msg);
	cr_assert_geq(host_table_ensure(b->nl, &err), 0, "%s", err.msg);
	b->s = slot_of(6);
	add_many(&b->guest, &goes);
	add_many(&stay, &b->s);
	cr_assert_eq(elements_commit(b->nl, &b->guest, &err), 0, "%s", err.msg);
	cr_assert_eq(elements_commit(b->nl, &stay, &err), 0, "%s", err.msg);
	elements_reverse(&b->guest);
}

static void end(struct bed *b)
{
	elements_free(&b->guest);
	nfsock_close_p(&b->nl);
	nfsock_close_p(&b->other);
}

static void go(void *data)
{
	const struct bed *b = data;

	net_after_answer.run = NULL;
	cr_assert_eq(elements_commit(b->other, &b->guest, NULL), 0);
}

Test(elements_nl, a_set_is_read_whole_while_others_change_it)
{
	static const enum element_set sets[] = {SET_ALLOW};
	auto_elements struct elements found = {0};
	struct bed b = {0};
	struct err err = {0};

	begin(&b);
	net_after_answer = (struct net_after_answer){BATCH, go, &b};
	cr_expect_eq(host_table_read(b.nl, &b.s, sets, 1, &found, &err), 0, "%s", err.msg);
	cr_expect_null(net_after_answer.run);
	cr_expect_eq(found.n, MANY, "%zu", found.n);
	end(&b);
}

static void change_something(void *data)
{
	const struct bed *b = data;
	auto_elements struct elements uplink = {0};

	elements_link(&uplink, SET_UPLINK, "wan0")->take_out =
		elements_has_link(b->other, SET_UPLINK, "wan0", NULL) > 0;
	cr_assert_eq(elements_commit(b->other, &uplink, NULL), 0);
}

Test(elements_nl, a_set_of_a_table_that_never_rests_is_not_read_at_all)
{
	auto_elements struct elements found = {0};
	struct bed b = {0};
	struct err err = {0};

	begin(&b);
	(void)elements_link(&found, SET_VMIF, "fv9");
	net_after_answer = (struct net_after_answer){BATCH, change_something, &b};
	cr_expect_eq(elements_read(b.nl, SET_ALLOW, &found, &err), -EAGAIN);
	net_after_answer.run = NULL;
	cr_expect_str_eq(err.msg, "cannot read set 'allow4' of nftables table 'fcvm': "
				  "Resource temporarily unavailable");
	cr_expect_eq(found.n, 1u, "%zu", found.n);
	end(&b);
}
