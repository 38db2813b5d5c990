#include "assets.h"

#include "apt.h"
#include "buf.h"
#include "cache.h"
#include "cleanup.h"
#include "file.h"
#include "fstype.h"
#include "pins.h"
#include "rootfs_build.h"
#include "run.h"
#include "say.h"
#include "source.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOTFS_FORMAT 1
#define KIND "rootfs"
#define IMAGE "root.img"

static const char *const our_packages[] = {
	"ca-certificates", "conmon", "crun", "iproute2", "kmod", "mount", "netavark", "podman",
};

void rootfs_have_free(struct rootfs_have *r)
{
	free(r->image);
	free(r->fstype);
	*r = (struct rootfs_have){0};
}

static int fill(const struct cache_entry *entry, struct rootfs_have *ret, struct err *err)
{
	auto_free char *image = cache_entry_path(entry, IMAGE);
	const char *fstype = NULL;
	int r = fstype_detect(image, &fstype, err);

	if (r < 0)
		return r;
	(void)snprintf(ret->digest, sizeof(ret->digest), "%s", cache_entry_sha256(entry, IMAGE));
	ret->fstype = xstrdup(fstype);
	ret->image = TAKE_PTR(image);
	return 0;
}

/* --- a root file system the user gives --- */

struct given {
	const struct host *host;
	const char *path;
	const char *digest;
	bool is_dir;
	const struct asset_progress *progress;
};

static int pack_dir(const struct given *g, const char *image, struct err *err)
{
	char after[DIGEST_HEX_SIZE] = "";
	int r;

	asset_say(g->progress, "packing root file system '%s'", g->path);
	r = run_mksquashfs(g->host, g->path, image, err);
	if (r == 0)
		r = source_digest(KIND, g->path, NULL, &(bool){false}, after, err);
	if (r < 0)
		return r;
	if (strcmp(after, g->digest) != 0)
		return err_set(err, ERR_FAILED, -EAGAIN, "rootfs '%s' changed while it was packed",
			       g->path);
	return 0;
}

static int make_given(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	const struct given *g = data;
	auto_free char *image = path_join(dir, IMAGE);
	const char *fstype;
	int r;

	json_add_str(made_of, "path", g->path);
	if (g->is_dir)
		return pack_dir(g, image, err);
	r = source_copy(KIND, g->path, g->digest, image, err);
	if (r == 0)
		r = fstype_detect(image, &fstype, err);
	return r < 0 ? err_wrap(err, "cannot use rootfs '%s'", g->path) : 0;
}

static void given_key(const struct given *g, char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();

	digest_add_u64(d, "format", ROOTFS_FORMAT);
	digest_add_field(d, g->is_dir ? "directory" : "image", g->digest);
	digest_hex(d, ret);
}

/* 1 and *ret_entry, or 0 when it is not in the cache and build is false. */
static int find_given(const struct host *host, const struct rootfs_want *want, bool build,
		      const struct asset_progress *progress, struct cache_entry *ret_entry,
		      struct err *err)
{
	char digest[DIGEST_HEX_SIZE], key[DIGEST_HEX_SIZE];
	struct given g = {.host = host, .path = want->path, .digest = digest, .progress = progress};
	const struct cache_build how = {.make = make_given,
					.data = &g,
					.what = "the root file system",
					.progress = progress};
	int r = source_digest(KIND, want->path, want->sha256, &g.is_dir, digest, err);

	if (r < 0)
		return r;
	given_key(&g, key);
	if (!build)
		return cache_lookup(host, KIND, key, ret_entry, err);
	r = cache_ensure(host, KIND, key, &how, ret_entry, err);
	return r < 0 ? r : 1;
}

/* --- a root file system built here --- */

static int all_packages(const struct rootfs_want *want, struct strv *ret, struct err *err)
{
	if (!apt_is_suite_name(want->suite))
		return err_set(err, ERR_SPEC, -EINVAL, "'%s' is not a Debian suite", want->suite);
	for (size_t i = 0; i < ARRAY_SIZE(our_packages); i++)
		strv_add(ret, our_packages[i]);
	for (size_t i = 0; want->packages && i < want->packages->n; i++) {
		const char *name = want->packages->v[i];

		if (!apt_is_package_name(name))
			return err_set(err, ERR_SPEC, -EINVAL, "'%s' is not a Debian package name",
				       name);
		if (!strv_has(ret, name))
			strv_add(ret, name);
	}
	strv_sort(ret);
	return 0;
}

/* What is asked for, under which the built one is pinned. */
static void want_digest(const char *suite, const struct strv *packages, char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();

	digest_add_u64(d, "format", ROOTFS_FORMAT);
	digest_add_field(d, "suite", suite);
	for (size_t i = 0; i < packages->n; i++)
		digest_add_field(d, "package", packages->v[i]);
	digest_hex(d, ret);
}

/* Packages move, so the same wish can be built again (setup --update): at is 0 for the first. */
static void build_key(const char *wish, uint64_t at, char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();

	digest_add_field(d, "wish", wish);
	digest_add_u64(d, "at", at);
	digest_hex(d, ret);
}

static int make_built(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	return rootfs_build(data, dir, made_of, err);
}

/* 1 and the key of the entry that stands for this wish, 0 when it was never built. */
static int pinned_key(const struct host *host, const char *wish, char ret[DIGEST_HEX_SIZE],
		      struct err *err)
{
	auto_json struct json_object *pin = NULL;
	const char *key;
	int r = pins_get(host, KIND, wish, &pin, err);

	if (r <= 0)
		return r;
	r = json_get_str(pin, "key", &key, err);
	if (r < 0)
		return err_wrap(err, "the pinned rootfs in pins.json");
	(void)snprintf(ret, DIGEST_HEX_SIZE, "%s", key);
	return 1;
}

static int pin(const struct host *host, const char *wish, const char *key, const char *suite,
	       struct err *err)
{
	struct json_object *value = json_object_new_object();

	json_add_str(value, "key", key);
	json_add_str(value, "suite", suite);
	return pins_set(host, KIND, wish, value, err);
}

static int build_with_key(const struct rootfs_build *b, const char *wish, const char *key,
			  struct cache_entry *ret, struct err *err)
{
	struct rootfs_build data = *b;
	const struct cache_build how = {.make = make_built,
					.data = &data,
					.what = "the root file system",
					.progress = b->progress};
	int r = cache_ensure(b->host, KIND, key, &how, ret, err);

	return r < 0 ? r : pin(b->host, wish, key, b->suite, err);
}

/* Built again beside the old one. The same bytes are no update: what was made on the old image
 * stays good. */
static int build_update(const struct rootfs_build *b, const char *wish, const char *old_key,
			struct cache_entry *ret, struct err *err)
{
	auto_cache_entry struct cache_entry old = {0};
	char key[DIGEST_HEX_SIZE];
	int known = cache_lookup(b->host, KIND, old_key, &old, err);
	int r;

	if (known < 0)
		return known;
	build_key(wish, (uint64_t)b->host->unix_ms(), key);
	r = build_with_key(b, wish, key, ret, err);
	if (r < 0 || known == 0 ||
	    strcmp(cache_entry_sha256(&old, IMAGE), cache_entry_sha256(ret, IMAGE)) != 0)
		return r;
	asset_say(b->progress, "the root file system is up to date");
	r = pin(b->host, wish, old_key, b->suite, err);
	if (r == 0)
		r = file_remove_tree(ret->dir, err);
	cache_entry_free(ret);
	*ret = old;
	old = (struct cache_entry){0};
	return r;
}

static int find_built(const struct host *host, const struct rootfs_want *want, bool build,
		      const struct asset_progress *progress, struct cache_entry *ret,
		      struct err *err)
{
	auto_strv struct strv packages = {0};
	char wish[DIGEST_HEX_SIZE], key[DIGEST_HEX_SIZE];
	const struct rootfs_build b = {host, want->suite, &packages, progress};
	int pinned, r = all_packages(want, &packages, err);

	if (r < 0)
		return r;
	want_digest(want->suite, &packages, wish);
	pinned = pinned_key(host, wish, key, err);
	if (pinned < 0)
		return pinned;
	if (!build)
		return pinned && !want->update ? cache_lookup(host, KIND, key, ret, err) : 0;
	if (pinned && want->update) {
		r = build_update(&b, wish, key, ret, err);
		return r < 0 ? r : 1;
	}
	if (!pinned)
		build_key(wish, 0, key);
	else if ((r = cache_lookup(host, KIND, key, ret, err)) != 0)
		return r;
	r = build_with_key(&b, wish, key, ret, err);
	return r < 0 ? r : 1;
}

static int find_any(const struct host *host, const struct rootfs_want *want, bool build,
		    const struct asset_progress *progress, struct rootfs_have *ret, struct err *err)
{
	auto_cache_entry struct cache_entry entry = {0};
	int r = want->path ? find_given(host, want, build, progress, &entry, err)
			   : find_built(host, want, build, progress, &entry, err);

	if (r <= 0)
		return r;
	r = fill(&entry, ret, err);
	return r < 0 ? r : 1;
}

int rootfs_ensure(const struct host *host, const struct rootfs_want *want,
		  const struct asset_progress *progress, struct rootfs_have *ret, struct err *err)
{
	int r = find_any(host, want, true, progress, ret, err);

	return r < 0 ? r : 0;
}

int rootfs_lookup(const struct host *host, const struct rootfs_want *want, struct rootfs_have *ret,
		  struct err *err)
{
	return find_any(host, want, false, NULL, ret, err);
}
