/* test_image.c - a container image in the cache, and what happens to what stands on it when it
 * leaves the cache. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "digest.h"
#include "file.h"
#include "xalloc.h"

TestSuite(image, .fini = apply_rig_cleanup);

/* Where the cache has the rig's image. */
static char *entry_of(const struct apply_rig *r)
{
	auto_free char *manifest = path_join(r->dir, "image/manifest.json");
	char hex[DIGEST_HEX_SIZE];
	struct err err = {0};

	cr_assert_geq(digest_file(manifest, hex, &err), 0, "%s", err.msg);
	return xasprintf("%s/cache/image/%s", r->data, hex);
}

static void store_digest(const char *entry, char ret[DIGEST_HEX_SIZE])
{
	auto_free char *store = path_join(entry, "store.img");
	struct err err = {0};

	cr_assert_geq(digest_file(store, ret, &err), 0, "%s", err.msg);
}

static void expect_no_changes(struct apply_rig *r, const char *set)
{
	const struct run_result *out = apply_rig_run(r, 0, "apply", r->spec, "--set", set, NULL);

	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
}

/* No two stores of an image have the same bytes: a guest's memory knows where things lie in one. */
Test(image, one_unpacked_again_with_other_bytes_takes_snapshots_and_clones_along)
{
	auto_apply_rig struct apply_rig r;
	char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];
	struct err err = {0};

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *entry = entry_of(&r);
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	store_digest(entry, before);
	cr_assert_geq(file_remove_tree(entry, &err), 0, "%s", err.msg);
	expect_no_changes(&r, "fleets.web.count=1");
	const struct run_result *out =
		apply_rig_run(&r, 5, "apply", r.spec, "--set", "fleets.web.count=2", NULL);
	store_digest(entry, after);
	cr_assert_str_neq(before, after, "the store was to be another one");
	cr_expect(strstr(buf_str(&out->err), " was built again with other bytes ("), "%s",
		  buf_str(&out->err));
	apply_rig_run(&r, 0, "apply", r.spec, "--set", "fleets.web.count=2", NULL);
	cr_expect_neq(apply_rig_number(&r, "web-0", "pid"), pid);
	cr_expect_eq(apply_rig_count(&r, "clone", "ready"), 2);
	expect_no_changes(&r, "fleets.web.count=2");
	apply_rig_finish(&r);
}

Test(image, one_that_comes_back_with_the_same_bytes_changes_nothing)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *entry = entry_of(&r);
	auto_free char *aside = path_join(r.dir, "aside");
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	cr_assert_eq(rename(entry, aside), 0);
	expect_no_changes(&r, "fleets.web.count=1");
	cr_assert_eq(rename(aside, entry), 0);
	const struct run_result *out =
		apply_rig_run(&r, 0, "apply", r.spec, "--set", "fleets.web.count=2", NULL);
	cr_expect(strstr(buf_str(&out->out),
			 "plan: 1 to create, 0 to update, 0 to replace, 0 to destroy\n"),
		  "%s", buf_str(&out->out));
	cr_expect_eq(apply_rig_number(&r, "web-0", "pid"), pid);
	apply_rig_finish(&r);
}

/* Its bytes are not known before it is unpacked, and one run is enough all the same. */
Test(image, another_one_in_its_place_replaces_all_in_one_run)
{
	auto_apply_rig struct apply_rig r;
	auto_buf struct buf text = BUF_INIT(65536);
	struct err err = {0};

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *manifest = path_join(r.dir, "image/manifest.json");
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");
	cr_assert_geq(file_read(manifest, 65535, &text, &err), 0, "%s", err.msg);
	buf_add_char(&text, '\n');
	cr_assert_geq(file_replace(manifest, text.data, text.len, 0644, &err), 0, "%s", err.msg);
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out), "baselines.web.image: '"), "%s", buf_str(&out->out));
	cr_expect(strstr(buf_str(&out->out), "' -> 'not built yet'"), "%s", buf_str(&out->out));
	cr_expect_neq(apply_rig_number(&r, "web-0", "pid"), pid);
	expect_no_changes(&r, "fleets.web.count=1");
	apply_rig_finish(&r);
}
