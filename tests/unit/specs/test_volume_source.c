#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "helper.h"

#define FLEET                                                                             \
	"fleets:\n  web: { from: web, count: 2, volumes: [\"o:/out\", \"s:/src\"] }\n"    \
	"baselines:\n  web:\n    image: \"oci:web\"\n    healthcheck: { tcp: \":80\" }\n" \
	"    volumes: [\"s:/src:ro\", \"d:/data\"]\n"
#define VOLUMES                                                                               \
	"volumes:\n  d: { type: disk, size: 64MiB }\n  s: { type: host, source: \"/srv\" }\n" \
	"  o: { type: host, source: \"o/{{clone}}\", access: rw, create: true }\n"

static char *source_of(const char *source)
{
	auto_buf struct buf text = BUF_INIT(4096);
	char *path = NULL;
	struct err err = {0};

	buf_addf(&text, SPEC_HEAD "volumes: { a: { type: host, source: \"%s\" } }\n", source);
	auto_fleet struct fleet *f = spec_parse(buf_str(&text));

	cr_assert_eq(fleet_volume_source(f, &f->volumes[0], "web", 7, "web-7", &path, &err), 0,
		     "%s", err.msg);
	return path;
}

Test(volume_source, a_path_is_the_clones_own_and_tidy)
{
	static const struct {
		const char *source, *path;
	} cases[] = {
		{"/srv", "/srv"},
		{"/", "/"},
		{"/srv//a/./b/", "/srv/a/b"},
		{"/srv/.../..a/", "/srv/.../..a"},
		{"/srv/../etc", "/srv/../etc"},
		{"/o/{{clone}}", "/o/web-7"},
		{"/o/{{fleet}}/{{pad(index, 3)}}", "/o/web/007"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *path = source_of(cases[i].source);

		cr_expect_str_eq(path, cases[i].path);
	}
}

Test(volume_source, relative_ones_start_where_the_spec_lies)
{
	auto_buf struct buf problems = BUF_INIT(4096);
	static const char text[] = SPEC_HEAD "volumes: { a: { type: host, source: . } }\n";
	auto_fleet struct fleet *f = NULL;
	auto_free char *path = NULL;

	cr_assert_eq(
		fleet_parse("/home/me/fleet.yaml", text, strlen(text), NULL, &f, &problems, NULL),
		0);
	cr_assert_eq(fleet_volume_source(f, &f->volumes[0], "", 0, "x", &path, NULL), 0);
	cr_expect_str_eq(path, "/home/me");
}

Test(volume_source, a_clone_has_its_baselines_volumes_and_its_own)
{
	auto_fleet struct fleet *f = spec_parse(SPEC_HEAD VOLUMES FLEET);
	const struct fleet_spec *web = &f->fleets[0];
	auto_free char *name = fleet_baseline_clone_name(&f->baselines[0]);

	cr_expect_str_eq(name, "_baseline-web");
	cr_assert_eq(web->n_volumes, 3);
	cr_expect_str_eq(web->volumes[0].target, "/data");
	cr_expect(web->volumes[0].inherited);
	cr_expect(fleet_mount_is_disk(&web->volumes[0]));
	cr_expect_not(fleet_mount_is_read_only(&web->volumes[0]));
	cr_expect_str_eq(web->volumes[1].volume->name, "o");
	cr_expect_not(fleet_mount_is_read_only(&web->volumes[1]));
	cr_expect_str_eq(web->volumes[2].target, "/src");
	cr_expect_not(web->volumes[2].inherited);
	cr_expect(fleet_mount_is_read_only(&web->volumes[2]));
	cr_expect_eq(f->baselines[0].n_volumes, 2);
	cr_expect_eq(f->volumes[0].size_bytes, 64u << 20);
	cr_expect_str_eq(f->volumes[0].per, "clone");
}

Test(volume_source, the_same_clone_may_write_to_a_directory_twice)
{
	auto_free char *said = spec_first_lines(
		SPEC_HEAD "volumes: { a: { type: host, source: out, access: rw } }\n" SPEC_WEB
			  "fleets: { web: { from: web, volumes: [\"a:/a\", \"a:/b\"] } }\n",
		NULL);

	cr_expect_str_eq(said, "");
}

Test(volume_source, readers_and_sharers_may_be_many)
{
	auto_free char *said = spec_first_lines(
		SPEC_HEAD "volumes:\n  a: { type: host, source: in }\n"
			  "  b: { type: host, source: out, access: rw, share: true }\n"
			  "  c: { type: host, source: ro, access: rw }\n"
			  "  d: { type: host, source: \"own/{{clone}}\", access: rw }\n" SPEC_WEB
			  "fleets: { web: { from: web, count: 100000, "
			  "volumes: { a: /a, b: /b, c: \"/c:ro\", d: /d } } }\n",
		NULL);

	cr_expect_str_eq(said, "");
}
