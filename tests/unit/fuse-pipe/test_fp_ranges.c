#include "fp_ranges.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define END INT64_MAX

Test(fp_ranges, parts_are_split_joined_and_taken_out)
{
	static const struct {
		const char *what;
		struct fp_range set[4];
		size_t n_set;
		struct fp_range want[3];
		size_t n_want;
	} cases[] = {
		{"one", {{5, 9, F_RDLCK}}, 1, {{5, 9, F_RDLCK}}, 1},
		{"touching", {{5, 9, F_RDLCK}, {10, 12, F_RDLCK}}, 2, {{5, 12, F_RDLCK}}, 1},
		{"before", {{5, 9, F_RDLCK}, {0, 4, F_RDLCK}}, 2, {{0, 9, F_RDLCK}}, 1},
		{"between",
		 {{0, 4, F_RDLCK}, {8, 9, F_RDLCK}, {5, 7, F_RDLCK}},
		 3,
		 {{0, 9, F_RDLCK}},
		 1},
		{"another kind inside",
		 {{0, END, F_RDLCK}, {5, 9, F_WRLCK}},
		 2,
		 {{0, 4, F_RDLCK}, {5, 9, F_WRLCK}, {10, END, F_RDLCK}},
		 3},
		{"a hole",
		 {{0, END, F_WRLCK}, {5, 5, F_UNLCK}},
		 2,
		 {{0, 4, F_WRLCK}, {6, END, F_WRLCK}},
		 2},
		{"over all",
		 {{1, 2, F_RDLCK}, {4, 5, F_WRLCK}, {7, 8, F_RDLCK}, {0, END, F_WRLCK}},
		 4,
		 {{0, END, F_WRLCK}},
		 1},
		{"all gone", {{1, 2, F_RDLCK}, {0, END, F_UNLCK}}, 2, {{0}}, 0},
		{"nothing there", {{1, 2, F_UNLCK}}, 1, {{0}}, 0},
		{"the end", {{END, END, F_RDLCK}, {0, END, F_RDLCK}}, 2, {{0, END, F_RDLCK}}, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fp_ranges r = {0};

		for (size_t k = 0; k < cases[i].n_set; k++)
			fp_ranges_set(&r, cases[i].set[k].start, cases[i].set[k].end,
				      cases[i].set[k].type);
		cr_expect_eq(r.n, cases[i].n_want, "%s: %zu parts", cases[i].what, r.n);
		for (size_t k = 0; k < r.n && k < cases[i].n_want; k++)
			cr_expect(r.v[k].start == cases[i].want[k].start &&
					  r.v[k].end == cases[i].want[k].end &&
					  r.v[k].type == cases[i].want[k].type,
				  "%s: part %zu is %jd..%jd", cases[i].what, k,
				  (intmax_t)r.v[k].start, (intmax_t)r.v[k].end);
		fp_ranges_free(&r);
	}
}

/* Beside a byte each for 64 positions. */
Test(fp_ranges, any_order_gives_what_bytes_would)
{
	static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
	struct fp_ranges r = {0};
	short want[64], got[64];
	unsigned int seed = 1;

	for (size_t i = 0; i < 64; i++)
		want[i] = F_UNLCK;
	for (int round = 0; round < 20000; round++) {
		int a = rand_r(&seed) % 64, b = rand_r(&seed) % 64;
		short type = types[rand_r(&seed) % 3];
		size_t before = r.n;

		fp_ranges_set(&r, a < b ? a : b, a < b ? b : a, type);
		cr_assert_leq(r.n, before + 2);
		for (int i = a < b ? a : b; i <= (a < b ? b : a); i++)
			want[i] = type;
		for (size_t i = 0; i < 64; i++)
			got[i] = F_UNLCK;
		for (size_t k = 0; k < r.n; k++) {
			cr_assert(k == 0 || r.v[k - 1].end < r.v[k].start);
			cr_assert(k == 0 || r.v[k - 1].end + 1 < r.v[k].start ||
				  r.v[k - 1].type != r.v[k].type);
			for (int64_t i = r.v[k].start; i <= r.v[k].end; i++)
				got[i] = r.v[k].type;
		}
		cr_assert_eq(memcmp(want, got, sizeof(want)), 0, "round %d", round);
	}
	fp_ranges_free(&r);
}
