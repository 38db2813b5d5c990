/* A VM keeps its name and becomes one of another kind. */
#include <criterion/criterion.h>
#include <string.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

TestSuite(apply_kind, .fini = apply_rig_cleanup);

/* The rig's spec with these names. */
static void spec_named(struct apply_rig *r, const char *baseline, const char *fleet)
{
	auto_free char *text =
		xasprintf("apiVersion: fcvm/v1\nname: %s\n"
			  "kernels: { default: { path: ./vmlinux } }\n"
			  "rootfs: { debian: { path: ./root.sqfs, size: 64MiB } }\n"
			  "baselines:\n  %s:\n    image: \"dir:./image\"\n    memory: 64MiB\n"
			  "    network: none\n    keep_running: true\n"
			  "    healthcheck: { tcp: \":80\" }\n"
			  "fleets:\n  %s: { from: %s, count: 1 }\n",
			  r->name, baseline, fleet, baseline);

	cr_assert_geq(file_replace(r->spec, text, strlen(text), 0644, NULL), 0);
}

/* Whose VM is in the one directory both kinds of it would have. */
static void expect_kind(struct apply_rig *r, const char *kind)
{
	const struct run_result *out = apply_rig_run(r, 0, "apply", r->spec, NULL);

	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	cr_expect_str_eq(apply_rig_text(r, "web-0", "kind"), kind);
	cr_expect_str_eq(apply_rig_text(r, "web-0", "state"), "ready");
}

Test(apply_kind, a_vm_becomes_one_of_another_kind_under_its_name)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	spec_named(&r, "base", "web");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	expect_kind(&r, "clone");
	spec_named(&r, "web-0", "app");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	expect_kind(&r, "baseline");
	spec_named(&r, "base", "web");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	expect_kind(&r, "clone");
	apply_rig_finish(&r);
}
