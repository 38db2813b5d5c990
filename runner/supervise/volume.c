#include "volume.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

static void mount_free(struct volume_mount *m)
{
	free(m->name);
	free(m->target);
	free(m->source);
}

void volume_list_free(struct volume_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		mount_free(&l->v[i]);
	free(l->v);
	*l = (struct volume_list){0};
}

void volume_list_add(struct volume_list *l, const struct volume_mount *m)
{
	struct volume_mount *v = xreallocarray(l->v, l->n + 1, sizeof(*v));

	l->v = v;
	v[l->n] = *m;
	v[l->n].name = xstrdup(m->name);
	v[l->n].target = xstrdup(m->target);
	v[l->n].source = xstrdup(m->source);
	l->n++;
}

void volume_list_copy(const struct volume_list *from, struct volume_list *ret)
{
	*ret = (struct volume_list){0};
	for (size_t i = 0; i < from->n; i++)
		volume_list_add(ret, &from->v[i]);
}

const struct volume_mount *volume_list_find(const struct volume_list *l, const char *target)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i].target, target) == 0)
			return &l->v[i];
	return NULL;
}
