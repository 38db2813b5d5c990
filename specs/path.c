#include "path.h"

#include <stdio.h>

static void add(struct spec_path *p, int written)
{
	size_t room = sizeof(p->text) - p->len;

	if (written > 0)
		p->len += (size_t)written < room ? (size_t)written : room - 1;
}

size_t path_push(struct spec_path *p, const char *key)
{
	size_t before = p->len;

	add(p,
	    snprintf(p->text + p->len, sizeof(p->text) - p->len, "%s%s", before ? "." : "", key));
	return before;
}

size_t path_push_index(struct spec_path *p, size_t index)
{
	size_t before = p->len;

	add(p, snprintf(p->text + p->len, sizeof(p->text) - p->len, "[%zu]", index));
	return before;
}

void path_pop(struct spec_path *p, size_t len)
{
	p->len = len;
	p->text[len] = '\0';
}
