#include "regions.h"

#include <errno.h>

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int check_one(const struct region *r, uint64_t page_size, uint64_t file_size,
		     struct err *err)
{
	if (r->size == 0 || ((r->base | r->size | r->offset) & (page_size - 1)))
		return err_set(err, ERR_GUEST, -EINVAL,
			       "memory region at 0x%jx, size 0x%jx, offset 0x%jx: expected whole "
			       "pages of %ju bytes",
			       (uintmax_t)r->base, (uintmax_t)r->size, (uintmax_t)r->offset,
			       (uintmax_t)page_size);
	if (r->base > UINT64_MAX - r->size)
		return err_set(err, ERR_GUEST, -EOVERFLOW,
			       "memory region at 0x%jx, size 0x%jx ends beyond the address space",
			       (uintmax_t)r->base, (uintmax_t)r->size);
	if (r->offset > file_size || r->size > file_size - r->offset)
		return err_set(err, ERR_GUEST, -ERANGE,
			       "memory region at offset 0x%jx, size 0x%jx: expected it inside the "
			       "memory file of 0x%jx bytes",
			       (uintmax_t)r->offset, (uintmax_t)r->size, (uintmax_t)file_size);
	return 0;
}

int regions_add(struct regions *regions, const struct region *region, uint64_t file_size,
		struct err *err)
{
	int r = check_one(region, regions->page_size, file_size, err);

	if (r < 0)
		return r;
	if (regions->n == REGIONS_MAX)
		return err_set(err, ERR_GUEST, -E2BIG, "more than %d memory regions", REGIONS_MAX);
	for (size_t i = 0; i < regions->n; i++) {
		const struct region *other = &regions->v[i];

		if (overlap(region->base, region->size, other->base, other->size) ||
		    overlap(region->offset, region->size, other->offset, other->size))
			return err_set(err, ERR_GUEST, -EINVAL,
				       "memory regions at 0x%jx and 0x%jx overlap",
				       (uintmax_t)other->base, (uintmax_t)region->base);
	}
	regions->v[regions->n++] = *region;
	return 0;
}

bool regions_find_page(const struct regions *regions, uint64_t addr, uint64_t *ret_page,
		       uint64_t *ret_offset)
{
	for (size_t i = 0; i < regions->n; i++) {
		const struct region *r = &regions->v[i];

		if (addr < r->base || addr - r->base >= r->size)
			continue;
		*ret_page = addr & ~(regions->page_size - 1);
		*ret_offset = r->offset + (*ret_page - r->base);
		return true;
	}
	return false;
}

bool regions_clip(const struct regions *regions, size_t i, uint64_t start, uint64_t end,
		  uint64_t *ret_offset, uint64_t *ret_len)
{
	const struct region *r = &regions->v[i];
	uint64_t from = start > r->base ? start : r->base;
	uint64_t to = end < r->base + r->size ? end : r->base + r->size;

	if (from >= to)
		return false;
	*ret_offset = r->offset + (from - r->base);
	*ret_len = to - from;
	return true;
}
