/* check_memory.c - huge pages: what they ask of the fields around them. */
#include "decode.h"
#include "parse.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

static void check_size(struct decode *d, const struct baseline_spec *b)
{
	size_t before = path_push(&d->path, "baselines");
	char size[32];

	(void)path_push(&d->path, b->name);
	(void)path_push(&d->path, "memory");
	if (b->memory_bytes % HUGE_PAGE != 0)
		(void)decode_fail_at(d, b->memory_at.line ? b->memory_at : b->huge_pages_at,
				     "expected a multiple of 2 MiB beside huge_pages: 2M, got %s",
				     format_size(b->memory_bytes, size, sizeof(size)));
	path_pop(&d->path, before);
}

/* A private mapping of a file has the pages of that file. */
static void check_backend(struct decode *d, const struct snapshot_spec *s)
{
	size_t before = path_push(&d->path, "snapshots");

	(void)path_push(&d->path, s->name);
	(void)path_push(&d->path, "memory.backend");
	if (strcmp(s->backend, "file") == 0)
		(void)decode_fail_at(d, s->backend_at,
				     "memory in huge pages comes from a page server: expected auto "
				     "or uffd, got 'file'");
	path_pop(&d->path, before);
}

void check_memory(struct decode *d)
{
	const struct fleet *fleet = d->fleet;

	for (size_t i = 0; i < fleet->n_baselines; i++)
		if (fleet->baselines[i].huge_pages == HUGE_PAGES_2M)
			check_size(d, &fleet->baselines[i]);
	for (size_t i = 0; i < fleet->n_snapshots; i++)
		if (fleet->snapshots[i].from->huge_pages == HUGE_PAGES_2M)
			check_backend(d, &fleet->snapshots[i]);
}
