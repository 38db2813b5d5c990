#include "oci.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assets.h"
#include "cleanup.h"
#include "file.h"
#include "image_test.h"
#include "xalloc.h"

/* Most items are a name and a text; the zeros behind them mean "plain file, whole text". */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

Test(oci, sources_are_taken_apart)
{
	static const struct {
		const char *source, *transport, *path, *ref;
	} cases[] = {
		{"oci-archive:a.tar", "oci-archive", "/base/a.tar", NULL},
		{"oci-archive:../x/a.tar:v1", "oci-archive", "/base/../x/a.tar", "v1"},
		{"docker-archive:/a.tar:name:tag", "docker-archive", "/a.tar", "name:tag"},
		{"oci:/dir", "oci", "/dir", NULL},
		{"dir:/a:b", "dir", "/a:b", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_oci_source struct oci_source s = {0};
		struct err err = {0};

		cr_assert_eq(oci_source_parse(cases[i].source, "/base", &s, &err), 0, "%s",
			     err.msg);
		cr_expect_str_eq(oci_transport_name(&s), cases[i].transport);
		cr_expect_str_eq(s.path, cases[i].path);
		if (cases[i].ref)
			cr_expect_str_eq(s.ref, cases[i].ref);
		else
			cr_expect_null(s.ref);
	}
}

Test(oci, other_sources_are_refused_with_what_is_accepted)
{
	static const struct {
		const char *source, *sentence;
	} cases[] = {
		{"docker://alpine", "image 'docker://alpine': expected oci-archive:PATH, "
				    "docker-archive:PATH, oci:DIR or dir:DIR"},
		{"", "image '': expected oci-archive:PATH, docker-archive:PATH, oci:DIR or "
		     "dir:DIR"},
		{"oci-archive:", "image 'oci-archive:': the path is missing"},
		{"oci::x", "image 'oci::x': the path is missing"},
		{"oci:/d:", "image 'oci:/d:': the reference is empty"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct oci_source s = {0};
		struct err err = {0};

		cr_expect_eq(oci_source_parse(cases[i].source, "/", &s, &err), -EINVAL);
		cr_expect_str_eq(err.msg, cases[i].sentence);
		cr_expect_eq(err.class, ERR_SPEC);
		cr_expect_null(s.path);
	}
}

Test(oci, base_names_fit_a_container_reference)
{
	static const struct {
		const char *path, *name;
	} cases[] = {
		{"/x/hello.oci.tar", "hello"},
		{"/x/My App_1.2.TAR.GZ", "my-app-1-2"},
		{"/x/web.docker.tar", "web"},
		{"/x/dir/", "dir"},
		{"/x/--a--.tar", "a"},
		{"/x/\xc3\xa9.tar", "image"},
		{"/", "image"},
		{".tar", "tar"},
		{"/x/aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee.tar",
		 "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *name = oci_base_name(cases[i].path);

		cr_expect_str_eq(name, cases[i].name, "%s -> %s", cases[i].path, name);
	}
}

/* --- archives --- */

static int resolve(const struct fixture *f, const char *source, char digest[DIGEST_HEX_SIZE],
		   struct err *err)
{
	*err = (struct err){0};
	return image_resolve(source, f->dir, digest, err);
}

static void put_oci(const struct fixture *f, const struct item *items)
{
	auto_free char *path = path_join(f->dir, "a.tar");

	put_tar(path, items);
}

/* The sentence after "image 'TRANSPORT:DIR/a.tar': ". */
static void expect_refused(const struct fixture *f, const char *source, const char *sentence)
{
	char digest[DIGEST_HEX_SIZE] = "untouched";
	struct err err;
	const char *rest;

	cr_expect_lt(resolve(f, source, digest, &err), 0, "%s", sentence);
	rest = strstr(err.msg, "': ");
	cr_expect_str_eq(rest ? rest + 3 : err.msg, sentence);
	cr_expect_eq(err.class, ERR_SPEC);
	cr_expect_str_eq(digest, "untouched");
}

Test(oci, an_archive_gives_the_digest_of_its_manifest_wherever_its_entries_stand)
{
	auto_fixture struct fixture f = fixture_new();
	struct oci_texts t;
	char digest[DIGEST_HEX_SIZE];
	struct err err;

	oci_texts(&t, NULL, NULL);
	auto_free char *dotted = xasprintf("./%s", t.config_name);
	const struct item orders[][6] = {
		{{"oci-layout", "{}"},
		 {"index.json", t.index},
		 {t.config_name, t.config},
		 {t.manifest_name, t.manifest},
		 {"blobs/sha256/layer", "layer"},
		 {NULL}},
		{{"blobs/sha256/layer", "layer"},
		 {t.manifest_name, t.manifest},
		 {dotted, t.config},
		 {"./index.json", t.index},
		 {NULL}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		put_oci(&f, orders[i]);
		cr_assert_eq(resolve(&f, "oci-archive:a.tar", digest, &err), 0, "%s", err.msg);
		cr_expect_str_eq(digest, t.manifest_digest);
	}
}

Test(oci, archives_with_missing_or_wrong_parts_are_refused)
{
	struct oci_texts t;

	oci_texts(&t, NULL, NULL);
	auto_free char *no_manifest = xasprintf("it has no '%s'", t.manifest_name);
	auto_free char *no_config = xasprintf("it has no '%s'", t.config_name);
	char wrong[DIGEST_HEX_SIZE];

	digest_of("{}", 2, wrong);
	auto_free char *wrong_bytes = xasprintf("'%s' has SHA-256 %s", t.manifest_name, wrong);
	auto_free char *link = xasprintf("'%s' is not a regular file", t.manifest_name);
	const struct {
		struct item items[6];
		const char *sentence;
	} cases[] = {
		{{{"x", "y"}}, "it has no 'index.json'"},
		{{{"index.json", t.index}}, no_manifest},
		{{{"index.json", t.index}, {t.manifest_name, t.manifest}}, no_config},
		{{{"index.json", t.index}, {t.manifest_name, "{}"}}, wrong_bytes},
		{{{"index.json", t.index}, {t.manifest_name, "index.json", ITEM_SYMLINK}}, link},
		{{{"index.json", t.index}, {"index.json", t.index}}, "'index.json' is in it twice"},
		{{{"index.json", t.index}, {"./index.json", "{}"}}, "'index.json' is in it twice"},
		{{{"index.json", t.index}, {"../x", "y"}}, "entry '../x' leads out of the archive"},
		{{{"a/../../index.json", t.index}},
		 "entry 'a/../../index.json' leads out of the archive"},
		{{{"/index.json", t.index}}, "entry '/index.json' has an absolute name"},
		{{{"index.json", "", ITEM_HOLE, (4u << 20) + 1}},
		 "'index.json' is larger than 4194304 bytes"},
		{{{"index.json", "{\"manifests\":[]}"}}, "it holds 0 images, expected one"},
		{{{"index.json", "{\"manifests\":[{\"digest\":\"sha256:../../x\"}]}"}},
		 "'sha256:../../x' is not a sha256 digest"},
		{{{"index.json", "{\"manifests\":[7]}"}},
		 "key 'digest' is missing, wanted a string"},
		{{{"index.json", "{\"manifests\":[null]}"}},
		 "key 'digest' is missing, wanted a string"},
		{{{"index.json", "{\"manifests\":{}}"}},
		 "key 'manifests': wanted an array, got object"},
		{{{"index.json", "[]"}}, "key 'manifests' is missing, wanted an array"},
		{{{"index.json", "7"}}, "key 'manifests' is missing, wanted an array"},
		{{{"index.json", "{\"manifests\":[{\"digest\":\"md5:0\"}]}"}},
		 "'md5:0' is not a sha256 digest"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture f = fixture_new();

		put_oci(&f, cases[i].items);
		expect_refused(&f, "oci-archive:a.tar", cases[i].sentence);
	}
}

Test(oci, layers_with_absurd_sizes_are_refused)
{
	static const struct {
		const char *size, *sentence;
	} cases[] = {
		{"2000000000000", "its layers are larger than 1099511627776 bytes"},
		{"-1", "layer 0: key 'size': wanted 0 or more, got -1"},
		{"\"10\"", "layer 0: key 'size': wanted a whole number, got string"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture f = fixture_new();
		struct oci_texts t;

		oci_texts(&t, NULL, cases[i].size);
		auto_free char *want =
			xasprintf("manifest %.12s: %s", t.manifest_digest, cases[i].sentence);

		put_oci(&f, (const struct item[]){{"index.json", t.index},
						  {t.manifest_name, t.manifest},
						  {t.config_name, t.config},
						  {NULL}});
		expect_refused(&f, "oci-archive:a.tar", want);
	}
}

Test(oci, images_for_other_machines_are_refused)
{
	auto_fixture struct fixture f = fixture_new();
	struct oci_texts t;

	oci_texts(&t, "arm64", NULL);
	put_oci(&f, (const struct item[]){{"index.json", t.index},
					  {t.manifest_name, t.manifest},
					  {t.config_name, t.config},
					  {NULL}});
	expect_refused(&f, "oci-archive:a.tar", "it is for linux/arm64, expected linux/amd64");
}

Test(oci, layers_are_counted)
{
	auto_fixture struct fixture f = fixture_new();
	auto_buf struct buf manifest = BUF_INIT(1u << 20);
	char digest[DIGEST_HEX_SIZE];

	buf_addf(&manifest, "{\"config\":{\"digest\":\"sha256:%064d\"},\"layers\":[", 1);
	for (int i = 0; i < 513; i++)
		buf_addf(&manifest, "%s{}", i ? "," : "");
	buf_add_str(&manifest, "]}");
	digest_of(manifest.data, manifest.len, digest);
	auto_free char *name = xasprintf("blobs/sha256/%s", digest);
	auto_free char *index = xasprintf("{\"manifests\":[{\"digest\":\"sha256:%s\"}]}", digest);
	auto_free char *want = xasprintf("manifest %.12s: it has 513 layers, limit 512", digest);

	put_oci(&f,
		(const struct item[]){{"index.json", index}, {name, buf_str(&manifest)}, {NULL}});
	expect_refused(&f, "oci-archive:a.tar", want);
}

Test(oci, what_is_no_archive_is_refused_without_waiting)
{
	auto_fixture struct fixture f = fixture_new();
	auto_free char *fifo = path_join(f.dir, "fifo");

	put_text(f.dir, "a.tar", "this is not a tar archive, not even nearly");
	expect_refused(&f, "oci-archive:a.tar",
		       "it cannot be read as a tar archive: Unrecognized archive format");
	expect_refused(&f, "oci-archive:gone.tar", "No such file or directory");
	expect_refused(&f, "oci-archive:.", "it is not a regular file");
	expect_refused(&f, "oci:a.tar", "it is not a directory");
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	expect_refused(&f, "oci-archive:fifo", "it is not a regular file");
	expect_refused(&f, "oci:fifo", "it is not a directory");
}

Test(oci, references_choose_among_several_images)
{
	auto_fixture struct fixture f = fixture_new();
	struct oci_texts t;
	char digest[DIGEST_HEX_SIZE];
	struct err err;

	oci_texts(&t, NULL, NULL);
	auto_free char *index = xasprintf(
		"{\"manifests\":[{\"digest\":\"sha256:%064d\",\"annotations\":"
		"{\"org.opencontainers.image.ref.name\":\"old\"}},{\"digest\":\"sha256:%s\","
		"\"annotations\":{\"org.opencontainers.image.ref.name\":\"new\"}}]}",
		3, t.manifest_digest);

	put_oci(&f, (const struct item[]){{"index.json", index},
					  {t.manifest_name, t.manifest},
					  {t.config_name, t.config},
					  {NULL}});
	cr_assert_eq(resolve(&f, "oci-archive:a.tar:new", digest, &err), 0, "%s", err.msg);
	cr_expect_str_eq(digest, t.manifest_digest);
	expect_refused(&f, "oci-archive:a.tar", "it holds 2 images, expected one");
	expect_refused(&f, "oci-archive:a.tar:other", "it has no image with reference 'other'");
}

/* index.json -> index of platforms; amd64 NULL leaves that one out. */
static void put_multi(const struct fixture *f, const struct oci_texts *t, const char *amd64)
{
	char digest[DIGEST_HEX_SIZE];
	auto_free char *nested = xasprintf(
		"{\"manifests\":[{\"digest\":\"sha256:%064d\",\"platform\":{\"os\":\"linux\","
		"\"architecture\":\"arm64\"}},{\"digest\":\"sha256:%s\",\"platform\":"
		"{\"os\":\"linux\",\"architecture\":\"%s\"}},{\"digest\":\"sha256:%064d\","
		"\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}",
		4, t->manifest_digest, amd64, 5);

	digest_of(nested, strlen(nested), digest);
	auto_free char *name = xasprintf("blobs/sha256/%s", digest);
	auto_free char *index = xasprintf("{\"manifests\":[{\"digest\":\"sha256:%s\"}]}", digest);

	put_oci(f, (const struct item[]){{"index.json", index},
					 {name, nested},
					 {t->manifest_name, t->manifest},
					 {t->config_name, t->config},
					 {NULL}});
}

Test(oci, a_multi_platform_index_gives_the_image_for_this_platform)
{
	auto_fixture struct fixture f = fixture_new();
	struct oci_texts t;
	char digest[DIGEST_HEX_SIZE];
	struct err err;

	oci_texts(&t, NULL, NULL);
	put_multi(&f, &t, "amd64");
	cr_assert_eq(resolve(&f, "oci-archive:a.tar", digest, &err), 0, "%s", err.msg);
	cr_expect_str_eq(digest, t.manifest_digest);
	put_multi(&f, &t, "s390x");
	expect_refused(&f, "oci-archive:a.tar", "it has no image for linux/amd64");
}

Test(oci, indexes_may_nest_only_so_deep)
{
	auto_fixture struct fixture f = fixture_new();
	char *names[5], *texts[5];
	struct item items[6] = {0};
	char digest[DIGEST_HEX_SIZE] = "";

	digest_of("{}", 2, digest);
	for (int i = 0; i < 5; i++) {
		texts[i] = xasprintf("{\"manifests\":[{\"digest\":\"sha256:%s\",\"platform\":"
				     "{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}",
				     digest);
		digest_of(texts[i], strlen(texts[i]), digest);
		names[i] = i == 4 ? xstrdup("index.json") : xasprintf("blobs/sha256/%s", digest);
		items[i] = (struct item){.name = names[i], .data = texts[i]};
	}
	put_oci(&f, items);
	expect_refused(&f, "oci-archive:a.tar", "its indexes are nested too deeply");
	for (int i = 0; i < 5; i++) {
		cleanup_free_p(&names[i]);
		cleanup_free_p(&texts[i]);
	}
}

Test(oci, layouts_and_skopeo_directories_are_read)
{
	auto_fixture struct fixture f = fixture_new();
	struct oci_texts t;
	char digest[DIGEST_HEX_SIZE];
	struct err err;

	oci_texts(&t, NULL, NULL);
	put_text(f.dir, "layout/index.json", t.index);
	auto_free char *manifest = xasprintf("layout/%s", t.manifest_name);
	auto_free char *config = xasprintf("layout/%s", t.config_name);
	auto_free char *flat = xasprintf("flat/%s", t.config_digest);

	put_text(f.dir, manifest, t.manifest);
	put_text(f.dir, config, t.config);
	cr_assert_eq(resolve(&f, "oci:layout", digest, &err), 0, "%s", err.msg);
	cr_expect_str_eq(digest, t.manifest_digest);
	put_text(f.dir, "flat/manifest.json", t.manifest);
	put_text(f.dir, flat, t.config);
	cr_assert_eq(resolve(&f, "dir:flat", digest, &err), 0, "%s", err.msg);
	cr_expect_str_eq(digest, t.manifest_digest);
}

Test(oci, docker_archives_are_known_by_their_config)
{
	auto_fixture struct fixture f = fixture_new();
	struct oci_texts t;
	char digest[DIGEST_HEX_SIZE];
	struct err err;
	static const char one[] = "[{\"Config\":\"c.json\",\"RepoTags\":[\"web:latest\"]}]";
	static const char two[] = "[{\"Config\":\"c.json\",\"RepoTags\":[\"web:latest\"]},"
				  "{\"Config\":\"d.json\",\"RepoTags\":null}]";

	oci_texts(&t, NULL, NULL);
	put_oci(&f, (const struct item[]){{"manifest.json", one}, {"c.json", t.config}, {NULL}});
	cr_assert_eq(resolve(&f, "docker-archive:a.tar", digest, &err), 0, "%s", err.msg);
	cr_expect_str_eq(digest, t.config_digest);
	cr_assert_eq(resolve(&f, "docker-archive:a.tar:web", digest, &err), 0, "%s", err.msg);
	expect_refused(&f, "docker-archive:a.tar:api", "it has no image with reference 'api'");
	put_oci(&f, (const struct item[]){{"manifest.json", two}, {"c.json", t.config}, {NULL}});
	expect_refused(&f, "docker-archive:a.tar", "it holds 2 images, expected one");
	put_oci(&f, (const struct item[]){{"manifest.json", "{}"}, {NULL}});
	expect_refused(&f, "docker-archive:a.tar", "it holds 0 images, expected one");
}

Test(image, a_digest_that_is_not_cached_is_not_found)
{
	auto_fixture struct fixture f = fixture_new();
	struct image_have have = {0};
	char digest[DIGEST_HEX_SIZE];
	struct err err = {0};

	digest_of("x", 1, digest);
	cr_expect_eq(image_lookup(&f.host, digest, &have, &err), 0);
}
