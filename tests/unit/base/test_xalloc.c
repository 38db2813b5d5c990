#include "xalloc.h"

#include "cleanup.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(xalloc, nothing_is_still_a_block_of_ones_own)
{
	auto_free void *a = xmalloc(0);
	auto_free void *b = xcalloc(0, 8);
	auto_free void *c = xreallocarray(xmalloc(4), 0, 8);

	cr_expect(a && b && c);
}

Test(xalloc, calloc_zeroes)
{
	auto_free char *p = xcalloc(16, 4);

	for (size_t i = 0; i < 64; i++)
		cr_expect_eq(p[i], 0);
}

Test(xalloc, an_overflowing_product_aborts, .signal = SIGABRT)
{
	volatile size_t n = SIZE_MAX / 2;
	(void)xcalloc(n, 4);
}

Test(xalloc, an_overflowing_array_aborts, .signal = SIGABRT)
{
	volatile size_t n = SIZE_MAX / 2;
	(void)xreallocarray(NULL, n, 4);
}

Test(xalloc, strings_are_copied_whole_or_up_to_the_limit)
{
	auto_free char *a = xstrdup("hello");
	auto_free char *b = xstrndup("hello", 2);
	auto_free char *c = xstrndup("hi", 10);
	auto_free char *d = xasprintf("%s-%d", "web", 3);

	cr_expect_str_eq(a, "hello");
	cr_expect_str_eq(b, "he");
	cr_expect_str_eq(c, "hi");
	cr_expect_str_eq(d, "web-3");
}

Test(xalloc, grow_doubles_or_jumps_to_the_need_and_keeps_items)
{
	size_t cap = 0;
	int *v = xgrow(NULL, &cap, 3, sizeof(*v));

	cr_expect_eq(cap, 3);
	v[2] = 42;
	v = xgrow(v, &cap, 4, sizeof(*v));
	cr_expect_eq(cap, 6);
	v = xgrow(v, &cap, 5, sizeof(*v));
	cr_expect_eq(cap, 6, "no growth while there is room");
	v = xgrow(v, &cap, 100, sizeof(*v));
	cr_expect_eq(cap, 100);
	cr_expect_eq(v[2], 42);
	free(v);
}
