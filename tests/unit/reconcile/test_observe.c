#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "fake_ops.h"
#include "file.h"
#include "observe.h"
#include "record.h"
#include "xalloc.h"

static void put(const char *dir, const char *kind, const char *file, const char *text)
{
	auto_free char *parent = xasprintf("%s/records/%s", dir, kind);
	auto_free char *path = path_join(parent, file);

	cr_assert_eq(file_mkdir_p(parent, 0700, NULL), 0);
	cr_assert_eq(file_replace(path, text, strlen(text), 0600, NULL), 0);
}

Test(observe, records_of_wanted_and_of_unwanted_things_are_found)
{
	auto_fake struct fake_run f;
	struct seen *seen = NULL;
	struct err err = {0};

	fake_make(&f);
	fake_add(&f, RESOURCE_CLONE, "web-0", NULL);
	fake_add(&f, RESOURCE_CLONE, "web-1", NULL);
	cr_assert_eq(graph_sort(&f.g, &err), 0);
	put(f.dir, "clone", "web-1.json",
	    "{\"v\":1,\"kind\":\"clone\",\"name\":\"web-1\",\"digest\":\"d1\"}");
	put(f.dir, "clone", "web-9.json",
	    "{\"v\":1,\"kind\":\"clone\",\"name\":\"web-9\",\"index\":9}");
	put(f.dir, "clone", ".web-3.json.tmp", "half written");
	put(f.dir, "clone", "README", "not ours");
	cr_assert_eq(observe_all(&f.ctx, &f.g, NULL, &seen, &err), 0, "%s", err.msg);
	cr_assert_eq(f.g.n, 3);
	cr_expect_null(seen[0].record);
	cr_expect_str_eq(seen[1].digest, "d1");
	cr_expect_str_eq(f.g.nodes[2].name, "web-9");
	cr_expect_eq(f.g.nodes[2].index, 9);
	cr_expect_null(f.g.nodes[2].spec);
	observe_free(seen, f.g.n);
	f.g.n = 2;
	free(f.g.nodes[2].name);
}

Test(observe, a_broken_record_stops_apply_but_not_destroy)
{
	auto_fake struct fake_run f;
	auto_buf struct buf skipped = BUF_INIT(4096);
	struct seen *seen = NULL;
	struct err err = {0};

	fake_make(&f);
	cr_assert_eq(graph_sort(&f.g, &err), 0);
	put(f.dir, "clone", "web-1.json", "{\"v\":1,");
	cr_expect_lt(observe_all(&f.ctx, &f.g, NULL, &seen, &err), 0);
	cr_expect(strstr(err.msg, "web-1.json"), "%s", err.msg);
	cr_expect_str_eq(err.hint, "fcvm destroy removes the set whatever its records say");
	cr_assert_eq(observe_all(&f.ctx, &f.g, &skipped, &seen, &err), 0);
	cr_expect(strstr(buf_str(&skipped), "web-1.json"));
	observe_free(seen, f.g.n);
}
