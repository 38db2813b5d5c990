#include "zeromap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "xalloc.h"

#define PAGE ((size_t)4096)
#define CHUNK (256 * PAGE)

void zeromap_free(struct zeromap *map)
{
	free(map->bits);
	map->bits = NULL;
	map->pages = 0;
}

void zeromap_init(struct zeromap *map, uint64_t size)
{
	map->pages = (size_t)(size / PAGE + (size % PAGE != 0));
	map->bits = xcalloc(map->pages / 64 + 1, sizeof(*map->bits));
}

size_t zeromap_mark(struct zeromap *map, uint64_t offset, uint64_t len)
{
	size_t first = (size_t)(offset / PAGE + (offset % PAGE != 0));
	size_t end = (size_t)((offset + len) / PAGE);

	if (end > map->pages)
		end = map->pages;
	for (size_t page = first; page < end; page++)
		map->bits[page / 64] |= UINT64_C(1) << (page % 64);
	return end > first ? end - first : 0;
}

size_t zeromap_count(const struct zeromap *map)
{
	size_t n = 0;

	for (size_t i = 0; i < map->pages / 64 + 1; i++)
		n += (size_t)__builtin_popcountll(map->bits[i]);
	return n;
}

/* Most pages with data differ in the first bytes. */
static bool is_zero(const unsigned char *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static int scan_chunk(int fd, uint64_t at, uint64_t end, unsigned char *chunk, struct zeromap *map,
		      struct err *err)
{
	size_t want = (size_t)(end - at < CHUNK ? end - at : CHUNK);

	for (size_t have = 0; have < want;) {
		ssize_t n = pread(fd, chunk + have, want - have, (off_t)(at + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "cannot read snapshot memory");
		if (n == 0)
			return err_set(err, ERR_FAILED, -EIO,
				       "snapshot memory ended at byte %ju while it was read",
				       (uintmax_t)(at + have));
		have += (size_t)n;
	}
	for (size_t i = 0; i + PAGE <= want; i += PAGE)
		if (is_zero(chunk + i, PAGE))
			(void)zeromap_mark(map, at + i, PAGE);
	return 0;
}

/* Data runs are widened to whole pages, so a page that is half hole is read, never guessed. */
static int scan_data(int fd, uint64_t from, uint64_t to, unsigned char *chunk, struct zeromap *map,
		     struct err *err)
{
	int r = 0;

	for (uint64_t at = from - from % PAGE; at < to && r == 0; at += CHUNK)
		r = scan_chunk(fd, at, to, chunk, map, err);
	return r;
}

int zeromap_scan(int fd, uint64_t size, struct zeromap *ret, struct err *err)
{
	auto_zeromap struct zeromap map = {0};
	auto_free unsigned char *chunk = xmalloc(CHUNK);
	uint64_t at = 0;

	zeromap_init(&map, size);
	while (at < size) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);

		if (data < 0 && errno != ENXIO)
			return err_sys(err, "cannot find the data in snapshot memory");
		uint64_t from = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
		(void)zeromap_mark(&map, at, from - from % PAGE - at);
		if (from == size)
			break;
		off_t hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return err_sys(err, "cannot find the holes in snapshot memory");
		uint64_t to = ((uint64_t)hole + PAGE - 1) / PAGE * PAGE;
		if (to > size)
			to = size;
		int r = scan_data(fd, from, to, chunk, &map, err);
		if (r < 0)
			return r;
		at = to;
	}
	*ret = map;
	map = (struct zeromap){0};
	return 0;
}
