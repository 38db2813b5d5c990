#include "grants.h"

#include <criterion/criterion.h>

#include "cleanup.h"

static char api[] = "api.test", other[] = "other.test";

Test(grants, what_is_new_goes_to_the_kernel_and_what_holds_long_enough_does_not)
{
	const struct net_allow entry = {.name = api, .port = 443};
	auto_grants struct grants g = {0}, fresh = {0}, again = {0}, longer = {0};

	cr_assert(grants_add(&g, &entry, 0x01020304, 5, 1000, &fresh));
	cr_assert_eq(fresh.n, 1u);
	cr_expect_eq(fresh.v[0].to.addr, 0x01020304u);
	cr_expect_eq(fresh.v[0].to.prefix, 32);
	cr_expect_eq(fresh.v[0].to.port, 443);
	cr_expect_eq(fresh.v[0].until_ms, 1000 + 1000 * (GRANT_MIN_S + GRANT_GRACE_S));
	cr_assert(grants_add(&g, &entry, 0x01020304, 5, 1000 + 1000 * GRANT_GRACE_S, &again));
	cr_expect_eq(again.n, 0u);
	cr_assert(grants_add(&g, &entry, 0x01020304, 600, 2000, &longer));
	cr_assert_eq(longer.n, 1u);
	cr_expect_eq(longer.v[0].until_ms, 2000 + 1000 * (600 + GRANT_GRACE_S));
}

Test(grants, no_time_is_longer_than_a_day)
{
	const struct net_allow entry = {.name = api};
	auto_grants struct grants g = {0}, fresh = {0};

	cr_assert(grants_add(&g, &entry, 1, UINT32_MAX, 0, &fresh));
	cr_expect_eq(fresh.v[0].until_ms, 1000u * (GRANT_MAX_S + GRANT_GRACE_S));
}

Test(grants, there_is_a_limit_and_what_has_timed_out_does_not_count)
{
	const struct net_allow entry = {.name = api};
	auto_grants struct grants g = {0}, fresh = {0};

	for (uint32_t i = 0; i < GRANTS_MAX; i++)
		cr_assert(grants_add(&g, &entry, i, 0, 0, &fresh));
	cr_expect_not(grants_add(&g, &entry, GRANTS_MAX, 0, 0, &fresh));
	cr_expect_eq(fresh.n, (size_t)GRANTS_MAX);
	cr_expect(grants_add(&g, &entry, GRANTS_MAX, 0, 1000000, &fresh));
	cr_expect_eq(g.n, 1u);
}

Test(grants, what_the_policy_does_not_name_any_more_is_dropped)
{
	struct net_allow entries[] = {{.name = api, .port = 80}, {.name = other}};
	const struct net_config c = {.egress_deny = true, .allow = entries, .n_allow = 1};
	auto_grants struct grants g = {0}, fresh = {0};

	cr_assert(grants_add(&g, &entries[0], 1, 60, 0, &fresh));
	cr_assert(grants_add(&g, &entries[1], 2, 60, 0, &fresh));
	grants_prune(&g, &c, 1000);
	cr_assert_eq(g.n, 1u);
	cr_expect_eq(g.v[0].to.addr, 1u);
	entries[0].port = 81;
	grants_prune(&g, &c, 1000);
	cr_expect_eq(g.n, 0u);
}
