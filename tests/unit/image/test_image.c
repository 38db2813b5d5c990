#include "assets.h"

#include <criterion/criterion.h>

#include "cache.h"
#include "cleanup.h"
#include "file.h"
#include "image_test.h"

/* An entry as image_ensure() leaves it, with these bytes for a store. */
static int make(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	char digest[DIGEST_HEX_SIZE];

	(void)err;
	digest_of("web", 3, digest);
	put_text(dir, "store.img", data);
	json_add_str(made_of, "digest", digest);
	json_add_str(made_of, "reference", "localhost/web:1");
	return 0;
}

/* What a look-up says of a cache that holds such a store. */
static void look_up(char *store, struct image_have *ret)
{
	auto_fixture struct fixture f = fixture_new();
	auto_cache_entry struct cache_entry entry = {0};
	const struct cache_build build = {.make = make, .data = store, .what = "image 'web'"};
	char digest[DIGEST_HEX_SIZE];
	struct err err = {0};

	digest_of("web", 3, digest);
	cr_assert_eq(cache_ensure(&f.host, "image", digest, &build, &entry, &err), 0, "%s",
		     err.msg);
	cr_assert_eq(image_lookup(&f.host, digest, ret, &err), 1, "%s", err.msg);
}

Test(image, its_content_is_that_of_the_source_and_of_the_store_made_of_it)
{
	char one[] = "one", two[] = "two";
	struct image_have first = {0}, again = {0}, other = {0};

	look_up(one, &first);
	look_up(one, &again);
	look_up(two, &other);
	cr_expect_str_eq(first.digest, other.digest);
	cr_expect_str_eq(first.content, again.content);
	cr_expect_str_neq(first.content, other.content);
	cr_expect_str_neq(first.content, first.digest);
	image_have_free(&first);
	image_have_free(&again);
	image_have_free(&other);
}
