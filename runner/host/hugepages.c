#include "hugepages.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "parse.h"
#include "xalloc.h"

#define COUNT_MAX 4096u /* what sysfs calls the size of any of its files */

static int read_count(const char *dir, const char *name, uint64_t *ret, struct err *err)
{
	auto_free char *path = path_join(dir, name);
	auto_buf struct buf text = BUF_INIT(COUNT_MAX + 1);
	int r = file_read(path, COUNT_MAX, &text, err);

	if (r < 0)
		return r;
	auto_free char *number = xstrndup(buf_str(&text), strcspn(buf_str(&text), "\n"));

	r = parse_u64(number, 0, UINT64_MAX, ret, err);
	return r < 0 ? err_wrap(err, "'%s'", path) : 0;
}

int hugepages_read(const char *dir, struct hugepages *ret, struct err *err)
{
	uint64_t total = 0, free_pages = 0, reserved = 0;
	int r = read_count(dir, "nr_hugepages", &total, err);

	if (r == -ENOENT) {
		*ret = (struct hugepages){0, 0};
		return 0;
	}
	if (r >= 0)
		r = read_count(dir, "free_hugepages", &free_pages, err);
	if (r >= 0)
		r = read_count(dir, "resv_hugepages", &reserved, err);
	if (r < 0)
		return r;
	*ret = (struct hugepages){
		.total = total,
		.free = free_pages > reserved ? free_pages - reserved : 0,
	};
	return 0;
}
