/* volume_source.c - what a volume is for one VM. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fleet.h"
#include "template.h"
#include "xalloc.h"

/* Empty and "." parts go; ".." stays, since a link may stand before it. */
static void tidy(char *path)
{
	char *out = path;

	for (const char *p = path; *p;) {
		size_t len = strcspn(p + 1, "/");

		if (len > 0 && !(len == 1 && p[1] == '.')) {
			memmove(out, p, len + 1);
			out += len + 1;
		}
		p += len + 1;
	}
	if (out == path)
		*out++ = '/';
	*out = '\0';
}

int fleet_volume_source(const struct fleet *fleet, const struct volume_spec *v,
			const char *fleet_name, uint32_t index, const char *clone_name, char **ret,
			struct err *err)
{
	struct template_values values = {.index = index, .fleet = fleet_name, .clone = clone_name};
	auto_free char *text = NULL;
	int r = template_expand(v->source_compiled, &values, &text, err);

	if (r < 0)
		return err_wrap(err, "volumes.%s.source of '%s'", v->name, clone_name);
	auto_free char *path =
		text[0] == '/' ? xstrdup(text) : xasprintf("%s/%s", fleet->dir, text);

	tidy(path + strcspn(path, "/"));
	if (!text[0] || strlen(path) >= PATH_MAX)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "volumes.%s.source of '%s': expected a path of 1 to %d bytes",
			       v->name, clone_name, PATH_MAX - 1);
	*ret = TAKE_PTR(path);
	return 0;
}

char *fleet_baseline_clone_name(const struct baseline_spec *b)
{
	return xasprintf("_baseline-%s", b->name);
}

bool fleet_mount_is_disk(const struct mount_spec *m)
{
	return strcmp(m->volume->type, "disk") == 0;
}

bool fleet_mount_is_read_only(const struct mount_spec *m)
{
	return m->read_only || (!fleet_mount_is_disk(m) && strcmp(m->volume->access, "ro") == 0);
}
