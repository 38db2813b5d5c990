#include "hist.h"

#include <criterion/criterion.h>

Test(hist, an_empty_one_says_zero)
{
	static struct hist h;

	cr_expect_eq(hist_percentile(&h, 50), 0);
	cr_expect_eq(hist_percentile(&h, 99), 0);
}

Test(hist, percentiles_are_never_below_and_at_most_an_eighth_above_the_truth)
{
	static struct hist h;

	for (uint64_t ns = 1; ns <= 100000; ns++)
		hist_add(&h, ns);
	for (unsigned int percent = 1; percent <= 100; percent++) {
		uint64_t truth = (uint64_t)1000 * percent, got = hist_percentile(&h, percent);

		cr_expect_geq(got, truth, "%u", percent);
		cr_expect_leq(got, truth + truth / 8, "%u", percent);
	}
}

Test(hist, small_values_are_exact_and_huge_ones_still_count)
{
	static struct hist h;

	hist_add(&h, 0);
	cr_expect_eq(hist_percentile(&h, 50), 0);
	hist_add(&h, 7);
	hist_add(&h, 7);
	cr_expect_eq(hist_percentile(&h, 50), 7);
	for (int i = 0; i < 10; i++)
		hist_add(&h, UINT64_MAX);
	cr_expect_gt(hist_percentile(&h, 99), UINT64_C(1) << 40);
}

Test(hist, merging_adds)
{
	static struct hist a, b;

	for (int i = 0; i < 90; i++)
		hist_add(&a, 10);
	for (int i = 0; i < 10; i++)
		hist_add(&b, 100000);
	hist_merge(&a, &b);
	cr_expect_eq(hist_percentile(&a, 90), 10);
	cr_expect_geq(hist_percentile(&a, 91), 100000);
}
