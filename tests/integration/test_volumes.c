/* test_volumes.c - volumes as the loop sees them, on the fake engine: what is made, what a change
 * costs, what is refused before anything starts. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply_rig.h"
#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

TestSuite(volumes, .fini = apply_rig_cleanup);

/* Two clones; `volumes` is the section, `mounts` the baseline's list, `own` the fleet's. */
static void spec(struct apply_rig *r, const char *volumes, const char *mounts, const char *own)
{
	auto_free char *more =
		xasprintf("    volumes: %s\nvolumes: %s\ndefaults: { baseline: { volumes: %s } }\n",
			  own, volumes, mounts);

	apply_rig_spec(r, 64, 2, more);
}

static void expect_plan(struct apply_rig *r, const char *counts)
{
	const struct run_result *out = apply_rig_run(r, 0, "apply", r->spec, NULL);
	auto_free char *line = xasprintf("plan: %s\n", counts);

	cr_expect(strstr(buf_str(&out->out), line), "%s", buf_str(&out->out));
	out = apply_rig_run(r, 0, "apply", r->spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
}

static off_t size_of(const struct apply_rig *r, const char *vm, const char *file)
{
	auto_free char *path = xasprintf("%s/sets/%s/vms/%s/vm/%s", r->data, r->name, vm, file);
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "no %s", path);
	return st.st_size;
}

static ino_t inode_of(const struct apply_rig *r, const char *name)
{
	auto_free char *path = xasprintf("%s/sets/%s/%s", r->data, r->name, name);
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "no %s", path);
	return st.st_ino;
}

Test(volumes, every_clone_has_a_disk_of_its_own_and_a_set_shares_one)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	spec(&r, "{ d: { type: disk, size: 32MiB }, s: { type: disk, size: 16MiB, per: set } }",
	     "{ d: /d, s: \"/s:ro\" }", "[]");
	expect_plan(&r, "8 to create, 0 to update, 0 to replace, 0 to destroy");
	cr_expect_eq(size_of(&r, "web-0", "vol-d.img"), 32 << 20);
	cr_expect_eq(size_of(&r, "web-1", "vol-d.img"), 32 << 20);
	cr_expect_neq(inode_of(&r, "vms/web-0/vm/vol-d.img"),
		      inode_of(&r, "vms/web-1/vm/vol-d.img"));
	ino_t shared = inode_of(&r, "volumes/s-16384K.img");
	uint64_t pid = apply_rig_number(&r, "web-0", "pid");

	/* The drive is in the snapshot: another size is another baseline. */
	spec(&r, "{ d: { type: disk, size: 48MiB }, s: { type: disk, size: 16MiB, per: set } }",
	     "{ d: /d, s: \"/s:ro\" }", "[]");
	const struct run_result *out = apply_rig_run(&r, 0, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out), "volumes.d.size"), "%s", buf_str(&out->out));
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_neq(apply_rig_number(&r, "web-0", "pid"), pid);
	cr_expect_eq(size_of(&r, "web-0", "vol-d.img"), 48 << 20);
	cr_expect_eq(inode_of(&r, "volumes/s-16384K.img"), shared);
	apply_rig_finish(&r);
}

Test(volumes, a_directory_that_moves_rolls_the_clones_and_leaves_the_baseline)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	spec(&r, "{ o: { type: host, source: \"a/{{clone}}\", access: rw, create: true } }",
	     "{ o: /o }", "[]");
	expect_plan(&r, "8 to create, 0 to update, 0 to replace, 0 to destroy");
	auto_free char *own = xasprintf("%s/a/web-1", r.dir);
	auto_free char *baseline = xasprintf("%s/a/_baseline-web", r.dir);
	cr_expect(file_exists(own));
	cr_expect(file_exists(baseline));
	uint64_t server = apply_rig_number(&r, "web@healthy/0", "pid");

	spec(&r, "{ o: { type: host, source: \"b/{{clone}}\", access: rw, create: true } }",
	     "{ o: /o }", "[]");
	expect_plan(&r, "0 to create, 0 to update, 2 to replace, 0 to destroy");
	cr_expect_eq(apply_rig_number(&r, "web@healthy/0", "pid"), server, "the snapshot stays");
	spec(&r, "{ o: { type: host, source: \"b/{{clone}}\", create: true } }", "{ o: /o }", "[]");
	expect_plan(&r, "0 to create, 0 to update, 2 to replace, 0 to destroy");
	spec(&r, "{ o: { type: host, source: \"b/{{clone}}\", create: true, cache: strict } }",
	     "{ o: /o }", "[]");
	expect_plan(&r, "0 to create, 0 to update, 2 to replace, 0 to destroy");
	/* Whether they may share, or are made, is no difference to who has them. */
	spec(&r, "{ o: { type: host, source: \"b/{{clone}}\", cache: strict, share: true } }",
	     "{ o: /o }", "[]");
	const struct run_result *out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_finish(&r);
	cr_expect(file_exists(own), "what guests wrote is the user's");
}

Test(volumes, a_fleets_own_volume_rolls_only_its_clones)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	spec(&r, "{ o: { type: host, source: . } }", "[]", "[]");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	uint64_t server = apply_rig_number(&r, "web@healthy/0", "pid");
	spec(&r, "{ o: { type: host, source: . } }", "[]", "[\"o:/o\"]");
	expect_plan(&r, "0 to create, 0 to update, 2 to replace, 0 to destroy");
	cr_expect_eq(apply_rig_number(&r, "web@healthy/0", "pid"), server, "the snapshot stays");
	/* In the baseline it is part of what the snapshot has. */
	spec(&r, "{ o: { type: host, source: . } }", "[\"o:/o\"]", "[]");
	const struct run_result *out = apply_rig_run(&r, 0, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out), "baselines.web.volumes"), "%s", buf_str(&out->out));
	apply_rig_finish(&r);
}

Test(volumes, a_missing_directory_is_exit_4_with_its_place_before_anything_starts)
{
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	spec(&r, "{ o: { type: host, source: nowhere } }", "{ o: /o }", "[]");
	const struct run_result *out = apply_rig_run(&r, 4, "plan", r.spec, NULL);
	auto_free char *said =
		xasprintf("%s:16:37: error: volumes.o.source: no directory '%s/nowhere'\n"
			  "volumes: { o: { type: host, source: nowhere } }\n%36s^\n"
			  "hint: make it, or say create: true\n",
			  r.spec, r.dir, "");
	cr_expect(strstr(buf_str(&out->err), said), "%s", buf_str(&out->err));
	out = apply_rig_run(&r, 4, "apply", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->err), said), "%s", buf_str(&out->err));
	cr_expect_eq(apply_rig_count(&r, "baseline", "running"), 0);
	apply_rig_run(&r, 0, "validate", r.spec, NULL);
	auto_free char *there = xasprintf("%s/nowhere", r.dir);
	cr_assert_eq(mkdir(there, 0755), 0);
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	apply_rig_finish(&r);
}

Test(volumes, a_snapshot_that_lost_a_volumes_disk_is_made_again)
{
	auto_apply_rig struct apply_rig r;
	const struct run_result *out = NULL;

	apply_rig_make(&r, 1, false);
	spec(&r, "{ s: { type: disk, size: 16MiB, per: set } }", "{ s: \"/s:ro\" }", "[]");
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	auto_free char *disk = xasprintf("%s/sets/%s/volumes/s-16384K.img", r.data, r.name);
	cr_assert_eq(unlink(disk), 0);
	out = apply_rig_run(&r, 0, "plan", r.spec, NULL);
	cr_expect(strstr(buf_str(&out->out), "s-16384K.img is gone"), "%s", buf_str(&out->out));
	apply_rig_run(&r, 0, "apply", r.spec, NULL);
	out = apply_rig_run(&r, 0, "apply", r.spec, NULL);
	cr_expect_str_eq(buf_str(&out->out), "no changes\n");
	apply_rig_finish(&r);
}

Test(volumes, podman_run_takes_directories_of_this_machine_only)
{
	static const struct {
		int status;
		const char *volume, *says;
	} cases[] = {
		{3, "data:/d",
		 "--volume: expected HOSTDIR:/TARGET[:ro] with HOSTDIR beginning with / or ., got "
		 "'data:/d'"},
		{3, "/d", "--volume: expected HOSTDIR:/TARGET[:ro]"},
		{3, "/{{x}}:/d", "--volume: '{{' in '/{{x}}:/d' is not possible"},
		{3, "/:/proc", "target '/proc' would cover /proc, which is the guest's own"},
		{3, "/:/d:rw", "expected 'ro' after the target, got 'rw'"},
		{4, "/no/such:/d", "fcvm: error: --volume: no directory '/no/such'\n"},
	};
	auto_apply_rig struct apply_rig r;

	apply_rig_make(&r, 1, false);
	auto_free char *image = xasprintf("dir:%s/image", r.dir);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct run_result *out =
			apply_rig_run(&r, cases[i].status, "podman", "run", "--network", "none",
				      "-v", cases[i].volume, image, NULL);

		cr_expect(strstr(buf_str(&out->err), cases[i].says), "%s: %s", cases[i].volume,
			  buf_str(&out->err));
	}
	apply_rig_run(&r, 0, "destroy", "default", NULL);
}
