/* zeromap.h - one bit for each page of a file or of a VM: is it known to be zero? */
#ifndef FCVM_MEMORY_ZEROMAP_H
#define FCVM_MEMORY_ZEROMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct zeromap {
	uint64_t *bits;
	size_t pages;
};

void zeromap_free(struct zeromap *map);
#define auto_zeromap __attribute__((cleanup(zeromap_free)))

/* All bits clear; a page that is only partly inside size counts. */
void zeromap_init(struct zeromap *map, uint64_t size);
/* Sets the bit of every page that lies in a hole or holds only zero bytes. Reads all data once
 * (pread: a file that shrinks meanwhile is an error, not a signal). */
int zeromap_scan(int fd, uint64_t size, struct zeromap *ret, struct err *err);
/* Marks the whole pages within [offset, offset + len); returns how many. */
size_t zeromap_mark(struct zeromap *map, uint64_t offset, uint64_t len);
size_t zeromap_count(const struct zeromap *map);

/* Is the page at this offset known to be zero? */
static inline bool zeromap_test(const struct zeromap *map, uint64_t offset)
{
	size_t page = (size_t)(offset / 4096);

	return page < map->pages && (map->bits[page / 64] >> (page % 64) & 1);
}

/* All of them from there on. */
static inline bool zeromap_test_all(const struct zeromap *map, uint64_t offset, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += 4096)
		if (!zeromap_test(map, offset + at))
			return false;
	return true;
}

#endif
