#include "volume.h"

#include <criterion/criterion.h>

Test(volume, a_list_owns_copies_of_what_is_added)
{
	char name[] = "src", target[] = "/src", source[] = "/srv";
	struct volume_mount m = {
		.name = name, .target = target, .source = source, .read_only = true};
	auto_volume_list struct volume_list l = {0}, copy = {0};

	volume_list_add(&l, &m);
	target[1] = 'x';
	volume_list_add(&l, &m);
	volume_list_copy(&l, &copy);
	volume_list_free(&l);
	cr_expect_eq(l.n, 0);
	cr_assert_eq(copy.n, 2);
	cr_expect_str_eq(copy.v[0].target, "/src");
	cr_expect(copy.v[1].read_only);
	cr_expect_eq(volume_list_find(&copy, "/xrc"), &copy.v[1]);
	cr_expect_null(volume_list_find(&copy, "/"));
}
