/* test_apply_refused.c - runs that end before their first step: what they say, and that nothing of
 * them is left. */
#include <criterion/criterion.h>
#include <string.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "event_lines.h"
#include "file.h"
#include "xalloc.h"

TestSuite(refused, .fini = apply_rig_cleanup);

#define NO_ASSETS \
	"--set", "kernels.default.path=./no-kernel", "--set", "rootfs.debian.path=./no-rootfs"

static char *set_dir(const struct apply_rig *r)
{
	auto_free char *sets = path_join(r->data, "sets");

	return path_join(sets, r->name);
}

Test(refused, everything_that_is_missing_is_told_and_no_set_is_left)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	auto_free char *set = set_dir(&r);
	const struct run_result *out = apply_rig_run(&r, 3, "apply", r.spec, NO_ASSETS, NULL);
	const char *kernel = strstr(buf_str(&out->err), ": error: kernels.default.path: cannot ");
	const char *rootfs = strstr(buf_str(&out->err), ": error: rootfs.debian.path: cannot ");

	cr_assert(kernel && rootfs && kernel < rootfs, "%s", buf_str(&out->err));
	cr_expect_eq(strncmp(buf_str(&out->err), r.spec, strlen(r.spec)), 0, "%s",
		     buf_str(&out->err));
	cr_expect(strstr(rootfs, "\nfcvm: error: 2 problems in '"), "%s", buf_str(&out->err));
	cr_expect_not(file_exists(set), "a set that nothing was made of");
	out = apply_rig_run(&r, 3, "plan", r.spec, NO_ASSETS, NULL);
	cr_expect(strstr(buf_str(&out->err), ": error: kernels.default.path: "));
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_not(strstr(buf_str(&out->err), "cut off"), "%s", buf_str(&out->err));
	apply_rig_finish(&r);
}

Test(refused, the_events_end_with_the_reason)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	const struct run_result *out =
		apply_rig_run(&r, 3, "apply", "--json", r.spec, NO_ASSETS, NULL);
	auto_json struct json_object *last =
		event_last(buf_str(&out->out), "type", "summary", NULL);

	cr_assert_not_null(last, "%s", buf_str(&out->out));
	cr_expect_eq(strncmp(json_opt_str(last, "error", ""), "2 problems in '", 15), 0);
	cr_expect_eq(json_opt_u64(last, "done", 9), 0);
	apply_rig_finish(&r);
}

Test(refused, a_set_that_is_there_stays_as_it_is)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	apply_rig_run(&r, 3, "apply", r.spec, NO_ASSETS, NULL);
	apply_rig_run(&r, 4, "apply", r.spec, "--set", "baselines.web.memory=1TiB", NULL);
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, NULL);

	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	cr_expect_str_eq(buf_str(&out->err), "");
	apply_rig_finish(&r);
}

Test(refused, podman_run_speaks_of_its_own_options)
{
	static const struct {
		const char *option, *value, *image, *said;
	} cases[] = {
		{"--memory", "foo", "oci-archive:x",
		 "--memory: expected a size such as 512MiB or 4GiB, got 'foo'"},
		{"--name", "box", "nginx",
		 "IMAGE: expected oci-archive:FILE, docker-archive:FILE, oci:DIR or dir:DIR, got "
		 "'nginx'"},
		{"--name", "box", "docker://nginx", "IMAGE: not available in this version"},
		{"--name", "box", "oci-archive:/no/such.tar",
		 "IMAGE: image 'oci-archive:/no/such.tar': No such file or directory"},
	};
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct run_result *out =
			apply_rig_run(&r, 3, "podman", "run", cases[i].option, cases[i].value,
				      cases[i].image, NULL);
		auto_free char *want = xasprintf("fcvm: error: %s\n", cases[i].said);

		cr_expect_str_eq(buf_str(&out->err), want);
	}
	auto_free char *hand = xasprintf("%s/sets/default", r.data);
	cr_expect_not(file_exists(hand));
	apply_rig_finish(&r);
}

Test(refused, setup_looks_at_its_images_before_anything_is_built)
{
	static const char *const images[] = {"nginx", "oci-archive:/no/such.tar"};
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	auto_free char *cache = path_join(r.data, "cache");
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		const struct run_result *out =
			apply_rig_run(&r, 3, "setup", "--image", images[i], NULL);

		cr_expect(strstr(buf_str(&out->err), images[i]), "%s", buf_str(&out->err));
		cr_expect_not(file_exists(cache));
	}
	apply_rig_finish(&r);
}
