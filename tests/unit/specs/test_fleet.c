#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "helper.h"
#include "xalloc.h"

static char *name_of(const struct fleet_spec *f, uint32_t index)
{
	struct err err = {0};
	char *name = NULL;

	cr_assert_eq(fleet_clone_name(f, index, &name, &err), 0, "%s", err.msg);
	return name;
}

Test(fleet, clones_have_names_and_metadata_of_their_own)
{
	auto_fleet struct fleet *f = spec_parse(
		SPEC_HEAD SPEC_WEB
		"vars: { base: 100 }\n"
		"fleets:\n  web:\n    from: web\n    count: 3\n    name: 'n-{{pad(index, 2)}}'\n"
		"    metadata: { z: '{{vars.base + index}}', \"a \\\"b\": '{{clone}} {{fleet}}',"
		" n: 5 }\n");
	const struct fleet_spec *web = &f->fleets[0];
	auto_free char *name = name_of(web, 2);
	auto_free char *metadata = NULL;
	struct err err = {0};

	cr_expect_str_eq(name, "n-02");
	cr_assert_eq(fleet_clone_metadata(f, web, 2, name, &metadata, &err), 0);
	cr_expect_str_eq(metadata, "{\"a \\\"b\":\"n-02 web\",\"n\":\"5\",\"z\":\"102\"}");
	cr_expect_str_eq(web->metadata_values.v[2], "{{100+index}}");
}

Test(fleet, a_changed_variable_changes_only_what_it_reaches)
{
	auto_fleet struct fleet *a = spec_parse(
		SPEC_HEAD SPEC_WEB "vars: { x: 1, y: 1 }\n"
				   "fleets: { w: { from: web, metadata: { k: '{{vars.x}}' } } }\n");
	auto_fleet struct fleet *b = spec_parse(
		SPEC_HEAD SPEC_WEB "vars: { x: 1, y: 2 }\n"
				   "fleets: { w: { from: web, metadata: { k: '1' } } }\n");

	cr_expect_str_eq(a->fleets[0].metadata_values.v[0], b->fleets[0].metadata_values.v[0]);
}

Test(fleet, images_are_shared_by_reference_and_by_source)
{
	auto_fleet struct fleet *f =
		spec_parse(SPEC_HEAD "images: { i: { source: \"oci:x\" } }\n"
				     "baselines:\n"
				     "  a: { image: i, healthcheck: { none: true } }\n"
				     "  b: { image: \"oci:y\", healthcheck: { none: true } }\n"
				     "  c: { image: \"oci:y\", healthcheck: { none: true } }\n");

	cr_assert_eq(f->n_images, 2);
	cr_expect_eq(f->baselines[0].container.image, &f->images[0]);
	cr_expect_eq(f->baselines[1].container.image, f->baselines[2].container.image);
	cr_expect_str_eq(f->images[1].name, "oci:y");
	cr_expect_null(f->images[0].inlined);
}

Test(fleet, a_snapshot_wins_over_a_baseline_of_its_name)
{
	auto_fleet struct fleet *f =
		spec_parse(SPEC_HEAD SPEC_WEB "snapshots: { web: { from: web, when: booted } }\n"
					      "fleets:\n  a: { from: web }\n"
					      "  b: { from: web@healthy }\n");

	cr_assert_eq(f->n_snapshots, 2);
	cr_expect_eq(f->fleets[0].from, &f->snapshots[0]);
	cr_expect_eq(f->fleets[0].from->when, WHEN_BOOTED);
	cr_expect_eq(f->fleets[1].from, &f->snapshots[1]);
	cr_expect(f->fleets[1].from->implicit);
}

Test(fleet, defaults_fill_what_an_entry_does_not_say)
{
	auto_free char *path = xstrdup("tests/data/spec-good/defaults.yaml");
	auto_fleet struct fleet *f = NULL;
	auto_buf struct buf out = BUF_INIT(10000);

	cr_assert_eq(fleet_load(path, NULL, &f, &out, NULL), 0);
	const struct baseline_spec *plain = &f->baselines[0], *own = &f->baselines[1],
				   *many = &f->baselines[2];

	cr_expect_str_eq(plain->engine, "qemu");
	cr_expect_str_eq(plain->container.image->source, "oci:shared");
	cr_expect_eq(plain->memory_bytes, 1ull << 30);
	cr_expect_str_eq(plain->container.health.http, "http://:80/");
	cr_expect_str_eq(own->engine, "auto");
	cr_expect_str_eq(own->container.image->source, "oci:own");
	cr_expect_str_eq(own->container.environment.v[0], "A=default");
	cr_expect_str_eq(own->container.environment.v[1], "B=own");
	cr_expect_null(own->container.health.http, "the entry chose another kind of check");
	cr_expect_str_eq(own->container.health.tcp, ":9");
	cr_expect_eq(own->container.health.interval_ms, 2000);
	cr_expect_str_eq(many->container.name, "c");
	cr_expect_eq(many->container.environment.n, 0);
	cr_expect_eq(f->fleets[0].count, 3);
	cr_expect_str_eq(f->fleets[0].metadata_values.v[0], "x");
	cr_expect_str_eq(f->fleets[0].metadata_values.v[1], "own");
	cr_expect_str_eq(f->fleets[1].restart, "no");
}

Test(fleet, set_reaches_any_field)
{
	static const char *const args[] = {"fleets.web.count=5",
					   "vars.tag=\"x y\"",
					   "baselines.web.healthcheck.tcp=:81",
					   "fleets.web.on_clone=[[/a, b]]",
					   "labels.some.dotted.key=v",
					   "defaults.baseline.memory=1GiB",
					   "fleets.web.metadata.n={{index}}",
					   "baselines.web.command=[a, \"{{x}}\"]",
					   "policy.parallelism.boot=7",
					   "vars.new=1"};
	static const char text[] =
		SPEC_HEAD SPEC_WEB "vars: { tag: old }\nfleets: { web: { from: web, metadata: { t: "
				   "'{{vars.tag}}', u: '{{vars.new + 1}}' } } }\n";
	auto_strv struct strv sets = {0};
	struct fleet_options options = {.sets = &sets};
	auto_fleet struct fleet *f = NULL;
	auto_buf struct buf out = BUF_INIT(10000);

	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		strv_add(&sets, args[i]);
	cr_assert_eq(fleet_parse("t", text, strlen(text), &options, &f, &out, NULL), 0, "%s",
		     buf_str(&out));
	cr_expect_eq(f->fleets[0].count, 5);
	cr_expect_eq(f->fleets[0].count_at.line, 6, "the nearest place in the file");
	cr_expect_str_eq(f->baselines[0].container.health.tcp, ":81");
	cr_expect_str_eq(f->fleets[0].on_clone[0].argv.v[1], "b");
	cr_expect_str_eq(f->labels.v[0], "some.dotted.key=v");
	cr_expect_eq(f->baselines[0].memory_bytes, 1ull << 30);
	cr_expect_str_eq(f->baselines[0].container.command.v[1], "{{x}}");
	cr_expect_eq(f->policy.boot, 7);
	cr_expect_str_eq(f->fleets[0].metadata_values.v[0], "{{index}}");
	cr_expect_str_eq(f->fleets[0].metadata_values.v[1], "\"x y\"");
	cr_expect_str_eq(f->fleets[0].metadata_values.v[2], "2");
}

Test(fleet, set_to_null_takes_a_field_away)
{
	auto_free char *said =
		spec_first_lines(SPEC_HEAD SPEC_WEB "fleets: { web: { from: web, count: 0 } }\n",
				 "fleets.web.from=null");

	cr_expect_str_eq(said, "5:11: error: fleets.web.from: required, but not given\n");
}

Test(fleet, odd_but_valid_values_are_warned_about)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{SPEC_HEAD "baselines: { w: { image: \"oci:w\", memory: 512, healthcheck: { none: "
			   "true } } }\n",
		 "3:43: warning: baselines.w.memory: '512' has no unit and is taken as MiB; write "
		 "512MiB\n"},
		{SPEC_HEAD "baselines: { w: { image: \"oci:w\" } }\nfleets: { w: { from: w } }\n",
		 "4:22: warning: fleets.w.from: the baseline has no healthcheck: its snapshot is "
		 "taken when the container has started\n"},
		{SPEC_HEAD
		 "baselines: { w: { image: \"oci:w\" } }\nsnapshots: { s: { from: w } }\n",
		 "4:14: warning: snapshots.s: the baseline has no healthcheck: taken when its "
		 "container has started\n"},
		{SPEC_HEAD
		 "baselines: { w: { image: \"oci:w\" } }\nsnapshots: { s: { from: w, when: "
		 "started } }\nfleets: { f: { from: s } }\n",
		 ""},
		{SPEC_HEAD "defaults: { baseline: { memory: 256 } }\nbaselines:\n"
			   "  a: { image: \"oci:w\" }\n  b: { image: \"oci:w\" }\n",
		 "3:33: warning: defaults.baseline.memory: '256' has no unit and is taken as MiB; "
		 "write 256MiB\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *said = spec_first_lines(cases[i].text, NULL);

		cr_expect_str_eq(said, cases[i].said, "%s", said);
	}
}

Test(fleet, yaml_types_do_not_leak_in)
{
	auto_fleet struct fleet *f = spec_parse(
		SPEC_HEAD
		"vars: { v: 1.10 }\n"
		"baselines: { w: { image: \"oci:{{vars.v}}\", user: 22:22, environment: { A: "
		"yes, B: 0x10, C: 1e3, D: no }, healthcheck: { none: true } } }\n"
		"fleets: { w: { from: w, restart: no } }\n");
	const struct container_spec *c = &f->baselines[0].container;

	cr_expect_str_eq(c->image->source, "oci:1.10");
	cr_expect_str_eq(c->user, "22:22");
	cr_expect_str_eq(c->environment.v[0], "A=yes");
	cr_expect_str_eq(c->environment.v[1], "B=0x10");
	cr_expect_str_eq(c->environment.v[2], "C=1e3");
	cr_expect_str_eq(c->environment.v[3], "D=no");
	cr_expect_str_eq(f->fleets[0].restart, "no");
}

Test(fleet, loading_resolves_paths_from_the_file)
{
	char dir[] = "/tmp/fcvm-spec-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	auto_free char *path = path_join(dir, "f.yaml");
	auto_free char *link = path_join(dir, "link.yaml");
	auto_free char *kernel = path_join(dir, "k/vmlinux");
	static const char text[] = SPEC_HEAD "kernels: { default: { path: ./k/vmlinux } }\n";
	auto_fleet struct fleet *f = NULL;
	auto_buf struct buf out = BUF_INIT(10000);
	struct err err = {0};

	cr_assert_eq(file_replace(path, text, strlen(text), 0600, &err), 0);
	cr_assert_eq(symlink("f.yaml", link), 0);
	cr_expect_eq(fleet_load(link, NULL, &f, &out, &err), 0, "%s%s", buf_str(&out), err.msg);
	if (f) {
		cr_expect_str_eq(f->path, path);
		cr_expect_str_eq(f->dir, dir);
		cr_expect_str_eq(f->kernels[0].path, kernel);
	}
	cr_expect_eq(file_remove_tree(dir, &err), 0);
}

Test(fleet, a_file_that_cannot_be_read_is_a_spec_error)
{
	struct fleet *f = NULL;
	auto_buf struct buf out = BUF_INIT(10000);
	struct err err = {0};

	cr_expect_eq(fleet_load("/nonexistent/f.yaml", NULL, &f, &out, &err), -ENOENT);
	cr_expect_eq(err.class, ERR_SPEC);
	cr_expect_not_null(strstr(err.msg, "/nonexistent/f.yaml"), "%s", err.msg);
	cr_expect_null(f);
	cr_expect_eq(out.len, 0);
}

Test(fleet, a_large_file_is_refused_by_its_size)
{
	char dir[] = "/tmp/fcvm-spec-XXXXXX";

	cr_assert_not_null(mkdtemp(dir));
	auto_free char *path = path_join(dir, "f.yaml");
	auto_free char *text = xcalloc(1, 3u << 20);
	struct fleet *f = NULL;
	auto_buf struct buf out = BUF_INIT(10000);
	struct err err = {0};

	memset(text, '#', 3u << 20);
	cr_assert_eq(file_replace(path, text, 3u << 20, 0600, &err), 0);
	cr_expect_lt(fleet_load(path, NULL, &f, &out, &err), 0);
	cr_expect_eq(err.class, ERR_SPEC);
	cr_expect_null(f);
	cr_expect_eq(file_remove_tree(dir, NULL), 0);
}

Test(fleet, the_error_counts_the_problems)
{
	static const char text[] = "apiVersion: 1\nname: T\n";
	struct fleet *f = NULL;
	auto_buf struct buf out = BUF_INIT(10000);
	struct err err = {0};

	cr_expect_eq(fleet_parse("d/t.yaml", text, strlen(text), NULL, &f, &out, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "2 problems in 'd/t.yaml'");
}

Test(fleet, one_hundred_thousand_clones_share_one_compiled_template)
{
	auto_fleet struct fleet *f = spec_parse(
		SPEC_HEAD SPEC_WEB "fleets: { web: { from: web, count: 100000, name: "
				   "'web-{{pad(index, 6)}}', metadata: { i: '{{index}}' } } }\n");
	const struct fleet_spec *web = &f->fleets[0];
	auto_free char *first = name_of(web, 0), *last = name_of(web, 99999);

	cr_expect_eq(web->count, 100000);
	cr_expect_eq(web->metadata_values.n, 1);
	cr_expect_str_eq(first, "web-000000");
	cr_expect_str_eq(last, "web-099999");
}

Test(fleet, extensions_are_ignored_at_every_level)
{
	auto_free char *said = spec_says_str(
		SPEC_HEAD
		"x-a: [1]\npolicy: { x-b: 1, memory: { x-c: { d: e } } }\n"
		"baselines:\n  x-template: { nonsense: true }\n"
		"  web: { x-d: 1, image: \"oci:w\", healthcheck: { x-e: 1, tcp: \":80\" } "
		"}\n"
		"fleets: { x-f: 1, web: { from: web } }\n",
		NULL);

	cr_expect_str_eq(said, "");
}
