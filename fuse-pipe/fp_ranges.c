#include "fp_ranges.h"

#include <fcntl.h>
#include <stdlib.h>

#include "xalloc.h"

/* In order; what touches the last one and is of its kind becomes part of it. */
static void append(struct fp_ranges *r, int64_t start, int64_t end, short type)
{
	struct fp_range *last = r->n ? &r->v[r->n - 1] : NULL;

	if (start > end || type == F_UNLCK)
		return;
	if (last && last->type == type && last->end + 1 == start)
		last->end = end;
	else
		r->v[r->n++] = (struct fp_range){start, end, type};
}

void fp_ranges_set(struct fp_ranges *r, int64_t start, int64_t end, short type)
{
	struct fp_ranges old = *r;
	size_t i = 0;

	r->v = xreallocarray(NULL, old.n + 2, sizeof(*r->v));
	r->n = 0;
	for (; i < old.n && old.v[i].end < start; i++)
		append(r, old.v[i].start, old.v[i].end, old.v[i].type);
	if (i < old.n && old.v[i].start < start)
		append(r, old.v[i].start, start - 1, old.v[i].type);
	append(r, start, end, type);
	for (; i < old.n; i++)
		if (old.v[i].end > end)
			append(r, old.v[i].start > end ? old.v[i].start : end + 1, old.v[i].end,
			       old.v[i].type);
	free(old.v);
}

void fp_ranges_free(struct fp_ranges *r)
{
	free(r->v);
	*r = (struct fp_ranges){0};
}
