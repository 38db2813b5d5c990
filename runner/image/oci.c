#include "oci.h"

#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BASE_NAME_MAX 40

struct oci_transport {
	const char *name;
	bool has_ref;
	int (*read)(const char *path, const char *name, struct buf *out, struct err *err);
	int (*resolve)(const struct oci_reader *r, const char *ref, struct oci_image *ret,
		       struct err *err);
};

static const struct oci_transport transports[] = {
	{"oci-archive", true, oci_read_archive, oci_resolve_layout},
	{"docker-archive", true, oci_read_archive, oci_resolve_docker},
	{"oci", true, oci_read_dir, oci_resolve_layout},
	{"dir", false, oci_read_dir, oci_resolve_dir},
};

void oci_source_free(struct oci_source *s)
{
	free(s->path);
	free(s->ref);
	*s = (struct oci_source){0};
}

const char *oci_transport_name(const struct oci_source *s)
{
	return s->transport->name;
}

static const struct oci_transport *transport_of(const char *source, const char **ret_rest)
{
	for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
		size_t n = strlen(transports[i].name);

		if (strncmp(source, transports[i].name, n) == 0 && source[n] == ':') {
			*ret_rest = source + n + 1;
			return &transports[i];
		}
	}
	return NULL;
}

int oci_source_parse(const char *source, const char *base_dir, struct oci_source *ret,
		     struct err *err)
{
	const char *rest = NULL;
	const struct oci_transport *t = transport_of(source, &rest);

	if (!t) {
		(void)err_set(err, ERR_SPEC, -EINVAL,
			      "image '%s': expected oci-archive:PATH, docker-archive:PATH, "
			      "oci:DIR or dir:DIR",
			      source);
		return err_hint(err, "`skopeo copy docker://NAME oci-archive:NAME.tar` makes one "
				     "from a registry");
	}
	size_t n = t->has_ref ? strcspn(rest, ":") : strlen(rest);

	if (n == 0)
		return err_set(err, ERR_SPEC, -EINVAL, "image '%s': the path is missing", source);
	if (t->has_ref && rest[n] == ':' && rest[n + 1] == '\0')
		return err_set(err, ERR_SPEC, -EINVAL, "image '%s': the reference is empty",
			       source);
	auto_free char *path = xstrndup(rest, n);

	ret->transport = t;
	ret->path = path[0] == '/' ? TAKE_PTR(path) : path_join(base_dir, path);
	ret->ref = t->has_ref && rest[n] == ':' ? xstrdup(rest + n + 1) : NULL;
	return 0;
}

int oci_resolve(const struct oci_source *s, struct oci_image *ret, struct err *err)
{
	const struct oci_reader reader = {.read = s->transport->read, .path = s->path};
	struct oci_image image = {0};
	int r = s->transport->resolve(&reader, s->ref, &image, err);

	if (r < 0) {
		if (err)
			err->class = ERR_SPEC;
		return err_wrap(err, "image '%s:%s'", s->transport->name, s->path);
	}
	*ret = image;
	return 0;
}

static bool strip_suffix(char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	if (n <= m || strcmp(name + n - m, suffix) != 0)
		return false;
	name[n - m] = '\0';
	return true;
}

char *oci_base_name(const char *path)
{
	static const char *const suffixes[] = {".tar.gz", ".tgz", ".tar", ".oci", ".docker"};
	auto_buf struct buf out = BUF_INIT(BASE_NAME_MAX);
	auto_free char *copy = xstrdup(path);
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	char *name = slash ? slash + 1 : copy;

	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		(void)strip_suffix(name, suffixes[i]);
	for (const char *p = name; *p; p++) {
		bool fits = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9');

		if (fits)
			buf_add_char(&out, *p);
		else if (out.len > 0 && out.data[out.len - 1] != '-')
			buf_add_char(&out, '-');
	}
	while (out.len > 0 && out.data[out.len - 1] == '-')
		out.data[--out.len] = '\0';
	return out.len > 0 ? buf_detach(&out) : xstrdup("image");
}
