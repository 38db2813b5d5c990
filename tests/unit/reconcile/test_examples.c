/* test_examples.c - every example is valid, all of it is executed, and its first plan is known. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "loop_rig.h"
#include "run.h"
#include "xalloc.h"

#define DIR_EXAMPLES "examples"

static void check_example(const char *name)
{
	auto_free char *path = path_join(DIR_EXAMPLES, name);
	auto_free char *golden = xasprintf("example-%.*s.txt", (int)strcspn(name, "."), name);
	auto_buf struct buf text = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);
	auto_rig struct rig r;

	cr_assert_geq(file_read(path, 1u << 20, &text, NULL), 0);
	rig_make_text(&r, buf_str(&text));
	cr_expect_eq(fleet_refuse_unavailable(r.fleet, &out, NULL), 0, "%s", buf_str(&out));
	rig_inherit(&r, NULL);
	rig_plan(&r);
	struct plan_view view = rig_view(&r);
	plan_print_text(&view, &out);
	golden_check(golden, buf_str(&out));
}

/* The head of a file says what it shows. */
static void check_head(const char *name)
{
	auto_free char *path = path_join(DIR_EXAMPLES, name);
	auto_buf struct buf text = BUF_INIT(1u << 20);

	cr_assert_geq(file_read(path, 1u << 20, &text, NULL), 0);
	cr_expect_eq(strncmp(buf_str(&text), "# yaml-language-server: ", 24), 0, "%s", name);
	cr_expect_not_null(strstr(buf_str(&text), "\n#\n# "), "%s", name);
}

Test(examples, each_is_planned_as_its_golden_file_says)
{
	auto_closedir DIR *dir = opendir(DIR_EXAMPLES);
	const struct dirent *e;
	size_t n = 0;

	cr_assert_not_null(dir, "run from the top of the source tree");
	while ((e = readdir(dir))) {
		if (!strstr(e->d_name, ".yaml"))
			continue;
		check_example(e->d_name);
		check_head(e->d_name);
		n++;
	}
	cr_expect_geq(n, 3);
}
