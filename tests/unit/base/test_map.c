#include "map.h"

#include "cleanup.h"
#include "xalloc.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

Test(map, an_empty_map_has_nothing)
{
	auto_map struct map m = {0};
	size_t pos = 0;
	const char *key;
	void *value;

	cr_expect_null(map_get(&m, "a"));
	cr_expect_not(map_has(&m, "a"));
	cr_expect_not(map_next(&m, &pos, &key, &value));
}

Test(map, add_refuses_a_key_that_is_there_and_set_replaces_it)
{
	auto_map struct map m = {0};
	int one = 1, two = 2;

	cr_expect(map_add(&m, "k", &one));
	cr_expect_not(map_add(&m, "k", &two));
	cr_expect_eq(map_get(&m, "k"), &one);
	map_set(&m, "k", &two);
	cr_expect_eq(map_get(&m, "k"), &two);
	cr_expect_eq(m.n, 1);
}

Test(map, a_null_value_is_there_all_the_same)
{
	auto_map struct map m = {0};

	map_set(&m, "k", NULL);
	cr_expect(map_has(&m, "k"));
	cr_expect_null(map_get(&m, "k"));
}

Test(map, keys_are_copied)
{
	auto_map struct map m = {0};
	char key[] = "abc";

	map_add(&m, key, &m);
	key[0] = 'x';
	cr_expect(map_has(&m, "abc"));
	cr_expect_not(map_has(&m, "xbc"));
}

Test(map, thousands_of_keys_are_found_and_visited_once)
{
	auto_map struct map m = {0};
	static bool seen[5000];
	char key[32];
	size_t pos = 0, n = 0;
	const char *k;
	void *v;

	for (uintptr_t i = 0; i < 5000; i++) {
		(void)snprintf(key, sizeof(key), "clone-%lu", (unsigned long)i);
		cr_assert(map_add(&m, key, (void *)(i + 1)));
	}
	for (uintptr_t i = 0; i < 5000; i++) {
		(void)snprintf(key, sizeof(key), "clone-%lu", (unsigned long)i);
		cr_assert_eq((uintptr_t)map_get(&m, key), i + 1);
	}
	for (; map_next(&m, &pos, &k, &v); n++) {
		cr_expect_not(seen[(uintptr_t)v - 1]);
		seen[(uintptr_t)v - 1] = true;
	}
	cr_expect_eq(n, 5000);
	cr_expect_not(map_has(&m, "clone-5000"));
}

static int freed;
static void count_free(void *p)
{
	freed++;
	free(p);
}

Test(map, owned_values_are_freed_once_when_replaced_or_at_the_end)
{
	struct map m = {.free_value = count_free};
	char *same = xstrdup("b");

	map_add(&m, "a", xstrdup("a"));
	map_set(&m, "a", xstrdup("a2"));
	cr_expect_eq(freed, 1);
	map_set(&m, "b", same);
	map_set(&m, "b", same);
	cr_expect_eq(freed, 1, "set to itself frees nothing");
	map_free(&m);
	cr_expect_eq(freed, 3);
	map_free(&m);
	cr_expect_eq(freed, 3);
}
