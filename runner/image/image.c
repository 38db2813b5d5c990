#include "assets.h"

#include "buf.h"
#include "cache.h"
#include "cleanup.h"
#include "file.h"
#include "oci.h"
#include "parse.h"
#include "run.h"
#include "say.h"
#include "seal.h"
#include "xalloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIND "image"
#define STORE "store.img"
#define OPAQUE_XATTR "user.overlay.opaque"
#define COPY_TIMEOUT_MS (60u * 60 * 1000)

void image_have_free(struct image_have *i)
{
	free(i->store);
	free(i->reference);
	*i = (struct image_have){0};
}

int image_resolve(const char *source, const char *base_dir, char ret_digest[DIGEST_HEX_SIZE],
		  struct err *err)
{
	auto_oci_source struct oci_source s = {0};
	struct oci_image image;
	int r = oci_source_parse(source, base_dir, &s, err);

	if (r == 0)
		r = oci_resolve(&s, &image, err);
	if (r < 0)
		return r;
	memcpy(ret_digest, image.digest, DIGEST_HEX_SIZE);
	return 0;
}

struct job {
	const struct host *host;
	const struct oci_source *source;
	const struct oci_image *image;
	const struct asset_progress *progress;
};

/* skopeo splits its arguments at these, and knows no way to quote them. */
static int check_dir_name(const char *dir, struct err *err)
{
	if (!strpbrk(dir, "+:@[]"))
		return 0;
	(void)err_set(err, ERR_HOST, -EINVAL, "the data directory '%s' has one of +:@[] in it",
		      dir);
	return err_hint(err, "choose another with --data-dir");
}

/* The source is named through a link in a directory of ours: whatever its path contains, skopeo
 * sees "source". */
static int skopeo_copy(const struct job *job, const char *dir, const char *reference,
		       struct err *err)
{
	auto_free char *link = path_join(dir, "source");
	auto_free char *from =
		xasprintf("%s:source%s%s", oci_transport_name(job->source),
			  job->source->ref ? ":" : "", job->source->ref ? job->source->ref : "");
	auto_free char *to =
		xasprintf("containers-storage:[overlay@%s/store+%s/run]%s", dir, dir, reference);
	const char *const argv[] = {
		"skopeo", "--insecure-policy", "--tmpdir", dir, "copy", "--quiet", from, to, NULL};
	const struct run_tool tool = {
		.argv = argv,
		.cwd = dir,
		.package = "skopeo",
		.timeout_ms = COPY_TIMEOUT_MS,
		.wants_root = true,
	};

	if (symlink(job->source->path, link) < 0)
		return err_sys(err, "cannot link '%s'", link);
	return run_tool(job->host, &tool, err);
}

static bool is_expected(const struct oci_image *image, struct json_object *stored)
{
	auto_free char *digest = xasprintf("sha256:%s", image->digest);

	if (image->by_config)
		return strcmp(json_opt_str(stored, "id", ""), image->digest) == 0;
	return strcmp(json_opt_str(stored, "digest", ""), digest) == 0;
}

/* What was copied is what was resolved, or the file changed (or fooled us) in between. */
static int check_copied(const struct job *job, const char *dir, struct err *err)
{
	auto_free char *path = path_join(dir, "store/overlay-images/images.json");
	auto_json struct json_object *images = NULL;
	auto_buf struct buf text = BUF_INIT(JSON_TEXT_MAX);
	int r = file_read(path, JSON_TEXT_MAX, &text, err);

	if (r == 0)
		r = json_parse(buf_str(&text), text.len, &images, err);
	if (r < 0)
		return r;
	if (json_object_is_type(images, json_type_array) && json_object_array_length(images) == 1 &&
	    is_expected(job->image, json_object_array_get_idx(images, 0)))
		return 0;
	return err_set(err, ERR_FAILED, -EAGAIN, "the copied image is not %.12s: did '%s' change?",
		       job->image->digest, job->source->path);
}

/* An ordinary user's tools are root in a user namespace of one user: files of other owners cannot
 * be made, and a directory that hides what lies below is marked in a way only such a namespace
 * understands. Neither may go unnoticed into the store. */
static int check_as_user(const struct job *job, const char *tree, struct err *err)
{
	bool hides = false;
	int r = job->host->is_root ? 0 : seal_tree_has_xattr(tree, OPAQUE_XATTR, &hides, err);

	if (r == 0 && hides)
		r = err_set(err, ERR_HOST, -EPERM, "a layer hides directories of the one below");
	return r;
}

/* `why` is set; what root could have done says so. */
static int cannot_unpack(const struct job *job, struct err *err)
{
	int r = err_wrap(err, "cannot unpack image '%s:%s'", oci_transport_name(job->source),
			 job->source->path);

	if (job->host->is_root || !err || err->hint[0])
		return r;
	err->class = ERR_HOST;
	return err_hint(err,
			"sudo fcvm setup --image %s:%s puts it into the cache every user reads",
			oci_transport_name(job->source), job->source->path);
}

static int make(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	const struct job *job = data;
	auto_free char *name = oci_base_name(job->source->path);
	auto_free char *reference = xasprintf("localhost/%s:%.12s", name, job->image->digest);
	auto_free char *work = path_join(dir, "work");
	auto_free char *tree = path_join(work, "store");
	auto_free char *store = path_join(dir, STORE);
	char size[32];
	struct stat st;
	int r = check_dir_name(job->host->data_dir, err);

	if (r < 0)
		return r;
	asset_say(job->progress, "unpacking image '%s', %s", name,
		  format_size(job->image->bytes, size, sizeof(size)));
	r = file_mkdir_p(work, 0700, err);
	if (r == 0)
		r = skopeo_copy(job, work, reference, err);
	if (r == 0)
		r = check_copied(job, work, err);
	if (r == 0)
		r = check_as_user(job, tree, err);
	if (r < 0)
		return cannot_unpack(job, err);
	r = run_mksquashfs(job->host, tree, store, err);
	if (r == 0)
		r = file_remove_tree(work, err);
	if (r < 0)
		return r;
	if (stat(store, &st) == 0)
		asset_say(job->progress, "packed image '%s', %s", name,
			  format_size((uint64_t)st.st_size, size, sizeof(size)));
	json_add_str(made_of, "digest", job->image->digest);
	json_add_str(made_of, "reference", reference);
	json_add_str(made_of, "source", job->source->path);
	return 0;
}

static void fill(const struct cache_entry *entry, struct image_have *ret)
{
	auto_digest struct digest *content = digest_new();

	(void)snprintf(ret->digest, sizeof(ret->digest), "%s",
		       cache_entry_made_of(entry, "digest"));
	digest_add_field(content, "image", ret->digest);
	digest_add_field(content, "store", cache_entry_sha256(entry, STORE));
	digest_hex(content, ret->content);
	ret->store = cache_entry_path(entry, STORE);
	ret->reference = xstrdup(cache_entry_made_of(entry, "reference"));
}

int image_ensure(const struct host *host, const char *source, const char *base_dir,
		 const struct asset_progress *progress, struct image_have *ret, struct err *err)
{
	auto_oci_source struct oci_source s = {0};
	auto_cache_entry struct cache_entry entry = {0};
	struct oci_image image;
	int r = oci_source_parse(source, base_dir, &s, err);

	if (r == 0)
		r = oci_resolve(&s, &image, err);
	if (r < 0)
		return r;
	auto_free char *what = xasprintf("image '%s'", s.path);
	struct job job = {.host = host, .source = &s, .image = &image, .progress = progress};
	const struct cache_build build = {
		.make = make, .data = &job, .what = what, .progress = progress};

	r = cache_ensure(host, KIND, image.digest, &build, &entry, err);
	if (r == 0)
		fill(&entry, ret);
	return r;
}

int image_lookup(const struct host *host, const char *digest, struct image_have *ret,
		 struct err *err)
{
	auto_cache_entry struct cache_entry entry = {0};
	int r = cache_lookup(host, KIND, digest, &entry, err);

	if (r == 1)
		fill(&entry, ret);
	return r;
}
