/* regions.h - where a VM's memory lies in its address space and in the snapshot file. Pure. */
#ifndef FCVM_MEMORY_REGIONS_H
#define FCVM_MEMORY_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define REGIONS_MAX 16
#define REGIONS_PAGE 4096u
#define REGIONS_HUGE_PAGE (2u << 20)

struct region {
	uint64_t base;   /* virtual address in the VMM */
	uint64_t size;   /* bytes */
	uint64_t offset; /* in the memory file */
};

struct regions {
	struct region v[REGIONS_MAX];
	size_t n;
	uint64_t page_size; /* of all of them: REGIONS_PAGE, or REGIONS_HUGE_PAGE from hugetlbfs */
};

/* Appends one region after checking it: whole pages of page_size, no wrap-around, inside a file of
 * file_size bytes, sharing neither addresses nor file bytes with the others. regions is untouched
 * on error.
 */
int regions_add(struct regions *regions, const struct region *region, uint64_t file_size,
		struct err *err);

/* The page holding addr: its first address and its offset in the file. False when addr is in no
 * region. */
bool regions_find_page(const struct regions *regions, uint64_t addr, uint64_t *ret_page,
		       uint64_t *ret_offset);

/* Cuts [start, end) down to region i: false when nothing is left, else the part's file offset and
 * length. */
bool regions_clip(const struct regions *regions, size_t i, uint64_t start, uint64_t end,
		  uint64_t *ret_offset, uint64_t *ret_len);

#endif
