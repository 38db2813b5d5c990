/* fuzz_uffd_layout.c - the memory layout a VMM hands over with its userfaultfd. Byte 0 chooses the
 * size of the memory file. Whatever is accepted must stay inside the file and answer for every
 * page of every region. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "handshake.h"
#include "io.h"
#include "regions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static const uint64_t file_sizes[] = {512ull << 20, 0, 4096, 1ull << 40, UINT64_MAX, 4097};

static void check_region(const struct regions *all, size_t i, uint64_t file_size)
{
	const struct region *v = &all->v[i];
	const uint64_t probes[] = {v->base, v->base + 1, v->base + v->size / 2,
				   v->base + v->size - 1};
	uint64_t page = 0, offset = 0, len = 0;

	CHECK(v->size > 0 && v->offset <= file_size && v->size <= file_size - v->offset);
	CHECK(v->base <= UINT64_MAX - (v->size - 1));
	for (size_t k = 0; k < ARRAY_SIZE(probes); k++) {
		CHECK(regions_find_page(all, probes[k], &page, &offset));
		CHECK(page % all->page_size == 0 && page <= probes[k]);
		CHECK(probes[k] - page < all->page_size);
		CHECK(offset - v->offset == page - v->base);
		CHECK(offset <= file_size - all->page_size);
	}
	CHECK(regions_clip(all, i, 0, UINT64_MAX, &offset, &len));
	CHECK(offset == v->offset && len <= v->size);
	CHECK(!regions_clip(all, i, v->base, v->base, &offset, &len));
}

/* The same text as it really comes: through a socket, with a descriptor of the wrong kind. */
static void receive(const uint8_t *data, size_t size, uint64_t file_size)
{
	struct handshake h;
	struct regions regions;
	int pair[2], fd = memfd_create("fuzz", MFD_CLOEXEC), uffd = -1;

	handshake_init(&h);
	CHECK(fd >= 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	(void)io_send_fds(pair[1], data, size, &fd, 1, NULL);
	(void)close(pair[1]);
	if (handshake_read(&h, pair[0], NULL) == 1)
		CHECK(handshake_finish(&h, file_size, &regions, &uffd, NULL) < 0 && uffd < 0);
	handshake_free(&h);
	(void)close(pair[0]);
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct regions regions;
	uint64_t file_size;

	if (size < 2)
		return 0;
	file_size = file_sizes[data[0] % ARRAY_SIZE(file_sizes)];
	data++;
	size--;
	if (handshake_parse((const char *)data, size, file_size, &regions, NULL) == 0) {
		CHECK(regions.n > 0 && regions.n <= REGIONS_MAX);
		CHECK(regions.page_size == REGIONS_PAGE || regions.page_size == REGIONS_HUGE_PAGE);
		for (size_t i = 0; i < regions.n; i++)
			check_region(&regions, i, file_size);
	}
	receive(data, size, file_size);
	return 0;
}
