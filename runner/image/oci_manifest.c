#include "oci.h"

#include "cleanup.h"
#include "xalloc.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define REF_NAME "org.opencontainers.image.ref.name"
#define NESTED_MAX 2 /* index.json may name an index, which names the image */

static int bad(struct err *err, const char *what)
{
	return err_set(err, ERR_SPEC, -EBADMSG, "%s", what);
}

static int read_json(const struct oci_reader *r, const char *name, struct json_object **ret,
		     char ret_digest[DIGEST_HEX_SIZE], struct err *err)
{
	auto_buf struct buf text = BUF_INIT(OCI_JSON_MAX);
	int rc = r->read(r->path, name, &text, err);

	if (rc < 0)
		return rc;
	rc = json_parse(buf_str(&text), text.len, ret, err);
	if (rc < 0)
		return err_wrap(err, "'%s'", name);
	if (ret_digest)
		digest_of(buf_str(&text), text.len, ret_digest);
	return 0;
}

/* "sha256:" and 64 hex digits: nothing else can then be part of a file name. */
static int parse_digest(const char *s, char ret[DIGEST_HEX_SIZE], struct err *err)
{
	static const char prefix[] = "sha256:";
	size_t n = sizeof(prefix) - 1;

	if (strncmp(s, prefix, n) != 0 || strlen(s + n) != DIGEST_HEX_SIZE - 1 ||
	    strspn(s + n, "0123456789abcdef") != DIGEST_HEX_SIZE - 1)
		return err_set(err, ERR_SPEC, -EBADMSG, "'%.100s' is not a sha256 digest", s);
	memcpy(ret, s + n, DIGEST_HEX_SIZE);
	return 0;
}

static int descriptor_digest(struct json_object *descriptor, char ret[DIGEST_HEX_SIZE],
			     struct err *err)
{
	const char *s;
	int r = json_get_str(descriptor, "digest", &s, err);

	return r < 0 ? r : parse_digest(s, ret, err);
}

static int read_blob(const struct oci_reader *r, const char *format, const char *digest,
		     struct json_object **ret, struct err *err)
{
	auto_free char *name = NULL;
	auto_json struct json_object *blob = NULL;
	char have[DIGEST_HEX_SIZE];
	const char *cut = strchr(format, '*');
	int rc;

	name = xasprintf("%.*s%s%s", (int)(cut - format), format, digest, cut + 1);
	rc = read_json(r, name, &blob, have, err);
	if (rc < 0)
		return rc;
	if (strcmp(have, digest) != 0)
		return err_set(err, ERR_SPEC, -EBADMSG, "'%s' has SHA-256 %s", name, have);
	*ret = TAKE_PTR(blob);
	return 0;
}

/* --- choosing one of several --- */

static bool is_amd64(struct json_object *descriptor)
{
	struct json_object *platform = json_opt_obj(descriptor, "platform");

	return platform && strcmp(json_opt_str(platform, "os", ""), "linux") == 0 &&
	       strcmp(json_opt_str(platform, "architecture", ""), "amd64") == 0;
}

static int choose_platform(struct json_object *manifests, struct json_object **ret, struct err *err)
{
	for (size_t i = 0; i < json_object_array_length(manifests); i++) {
		struct json_object *m = json_object_array_get_idx(manifests, i);

		if (is_amd64(m)) {
			*ret = m;
			return 0;
		}
	}
	return bad(err, "it has no image for linux/amd64");
}

static bool has_ref(struct json_object *descriptor, const char *ref)
{
	struct json_object *notes = json_opt_obj(descriptor, "annotations");

	return notes && strcmp(json_opt_str(notes, REF_NAME, ""), ref) == 0;
}

/* As skopeo: without a reference there must be exactly one image to take. */
static int choose_ref(struct json_object *manifests, const char *ref, struct json_object **ret,
		      struct err *err)
{
	size_t n = json_object_array_length(manifests);
	struct json_object *last = NULL;
	size_t found = 0;

	if (!ref && n != 1) {
		(void)err_set(err, ERR_SPEC, -EINVAL, "it holds %zu images, expected one", n);
		return err_hint(err, "name one: SOURCE:REFERENCE");
	}
	for (size_t i = 0; i < n; i++) {
		struct json_object *m = json_object_array_get_idx(manifests, i);

		if (ref && !has_ref(m, ref))
			continue;
		last = m;
		found++;
	}
	if (found > 1)
		return err_set(err, ERR_SPEC, -EBADMSG, "reference '%s' is in it twice", ref);
	if (found == 0)
		return err_set(err, ERR_SPEC, -ENOENT, "it has no image with reference '%s'", ref);
	*ret = last;
	return 0;
}

/* --- an image manifest --- */

static int sum_layers(struct json_object *manifest, uint64_t *ret, struct err *err)
{
	struct json_object *layers;
	uint64_t sum = 0;
	int r = json_get_arr(manifest, "layers", &layers, err);

	if (r < 0)
		return r;
	if (json_object_array_length(layers) > OCI_LAYERS_MAX)
		return err_set(err, ERR_SPEC, -EFBIG, "it has %zu layers, limit %u",
			       json_object_array_length(layers), OCI_LAYERS_MAX);
	for (size_t i = 0; i < json_object_array_length(layers); i++) {
		struct json_object *layer = json_object_array_get_idx(layers, i);
		char digest[DIGEST_HEX_SIZE];
		uint64_t size = 0;

		r = descriptor_digest(layer, digest, err);
		if (r == 0)
			r = json_get_u64(layer, "size", &size, err);
		if (r < 0)
			return err_wrap(err, "layer %zu", i);
		if (size > OCI_BYTES_MAX - sum)
			return err_set(err, ERR_SPEC, -EFBIG,
				       "its layers are larger than %llu bytes", OCI_BYTES_MAX);
		sum += size;
	}
	*ret = sum;
	return 0;
}

static int check_config(struct json_object *config, struct err *err)
{
	const char *os = json_opt_str(config, "os", "linux");
	const char *arch = json_opt_str(config, "architecture", "amd64");

	if (strcmp(os, "linux") == 0 && strcmp(arch, "amd64") == 0)
		return 0;
	return err_set(err, ERR_SPEC, -ENOEXEC, "it is for %.40s/%.40s, expected linux/amd64", os,
		       arch);
}

/* format: where blobs lie, '*' standing for the digest. */
static int read_image(const struct oci_reader *r, const char *format, struct json_object *manifest,
		      const char *digest, struct oci_image *ret, struct err *err)
{
	auto_json struct json_object *config = NULL;
	struct json_object *descriptor;
	char config_digest[DIGEST_HEX_SIZE];
	int rc = json_get_obj(manifest, "config", &descriptor, err);

	if (rc == 0)
		rc = descriptor_digest(descriptor, config_digest, err);
	if (rc == 0)
		rc = sum_layers(manifest, &ret->bytes, err);
	if (rc < 0)
		return err_wrap(err, "manifest %.12s", digest);
	rc = read_blob(r, format, config_digest, &config, err);
	if (rc == 0)
		rc = check_config(config, err);
	if (rc < 0)
		return rc;
	memcpy(ret->digest, digest, DIGEST_HEX_SIZE);
	return 0;
}

static int manifests_of(struct json_object *index, struct json_object **ret, struct err *err)
{
	int r = json_get_arr(index, "manifests", ret, err);

	if (r == 0 && json_object_array_length(*ret) > OCI_LAYERS_MAX)
		r = err_set(err, ERR_SPEC, -EFBIG, "it has %zu manifests, limit %u",
			    json_object_array_length(*ret), OCI_LAYERS_MAX);
	return r;
}

static bool is_index(struct json_object *o)
{
	return json_object_is_type(json_object_object_get(o, "manifests"), json_type_array);
}

/* --- transports --- */

int oci_resolve_layout(const struct oci_reader *r, const char *ref, struct oci_image *ret,
		       struct err *err)
{
	static const char blobs[] = "blobs/sha256/*";
	auto_json struct json_object *index = NULL;
	struct json_object *manifests, *chosen;
	char digest[DIGEST_HEX_SIZE];
	int rc = read_json(r, "index.json", &index, NULL, err);

	if (rc == 0)
		rc = manifests_of(index, &manifests, err);
	if (rc == 0)
		rc = choose_ref(manifests, ref, &chosen, err);
	for (int depth = 0; rc == 0; depth++) {
		auto_json struct json_object *blob = NULL;

		rc = descriptor_digest(chosen, digest, err);
		if (rc == 0)
			rc = read_blob(r, blobs, digest, &blob, err);
		if (rc < 0)
			return rc;
		if (!is_index(blob))
			return read_image(r, blobs, blob, digest, ret, err);
		if (depth == NESTED_MAX)
			return bad(err, "its indexes are nested too deeply");
		rc = manifests_of(blob, &manifests, err);
		if (rc == 0)
			rc = choose_platform(manifests, &chosen, err);
		/* chosen lives in blob: keep that until the next round has read the digest */
		json_put_p(&index);
		index = TAKE_PTR(blob);
	}
	return rc;
}

int oci_resolve_dir(const struct oci_reader *r, const char *ref, struct oci_image *ret,
		    struct err *err)
{
	auto_json struct json_object *top = NULL, *image = NULL;
	struct json_object *manifests, *chosen;
	char digest[DIGEST_HEX_SIZE];
	int rc = read_json(r, "manifest.json", &top, digest, err);

	(void)ref;
	if (rc < 0)
		return rc;
	if (!is_index(top))
		return read_image(r, "*", top, digest, ret, err);
	rc = manifests_of(top, &manifests, err);
	if (rc == 0)
		rc = choose_platform(manifests, &chosen, err);
	if (rc == 0)
		rc = descriptor_digest(chosen, digest, err);
	if (rc == 0)
		rc = read_blob(r, "*.manifest.json", digest, &image, err);
	return rc < 0 ? rc : read_image(r, "*", image, digest, ret, err);
}

static bool has_tag(struct json_object *item, const char *ref)
{
	struct json_object *tags = json_object_object_get(item, "RepoTags");
	auto_free char *latest = xasprintf("%s:latest", ref);

	if (!json_object_is_type(tags, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(tags); i++) {
		const char *tag = json_object_get_string(json_object_array_get_idx(tags, i));

		if (tag && (strcmp(tag, ref) == 0 || strcmp(tag, latest) == 0))
			return true;
	}
	return false;
}

static int choose_docker(struct json_object *list, const char *ref, struct json_object **ret,
			 struct err *err)
{
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	if (!ref && n != 1) {
		(void)err_set(err, ERR_SPEC, -EINVAL, "it holds %zu images, expected one", n);
		return err_hint(err, "name one: docker-archive:PATH:NAME:TAG");
	}
	for (size_t i = 0; i < n; i++) {
		*ret = json_object_array_get_idx(list, i);
		if (!ref || has_tag(*ret, ref))
			return 0;
	}
	return err_set(err, ERR_SPEC, -ENOENT, "it has no image with reference '%s'", ref);
}

/* The config names the digests of all layers' contents, and skopeo checks those while it copies:
 * its own digest, the image id, pins the image. */
int oci_resolve_docker(const struct oci_reader *r, const char *ref, struct oci_image *ret,
		       struct err *err)
{
	auto_json struct json_object *list = NULL, *config = NULL;
	struct json_object *item = NULL;
	const char *name = "";
	struct stat st;
	int rc = read_json(r, "manifest.json", &list, NULL, err);

	if (rc == 0)
		rc = choose_docker(list, ref, &item, err);
	if (rc == 0)
		rc = json_get_str(item, "Config", &name, err);
	if (rc < 0)
		return rc;
	if (strlen(name) > OCI_NAME_MAX)
		return bad(err, "the name of its config is too long");
	rc = read_json(r, name, &config, ret->digest, err);
	if (rc == 0)
		rc = check_config(config, err);
	if (rc == 0 && stat(r->path, &st) == 0)
		ret->bytes = (uint64_t)st.st_size;
	ret->by_config = true;
	return rc;
}
