#include "hugepages.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"

static void put(const char *dir, const char *name, const char *text)
{
	auto_free char *path = path_join(dir, name);

	cr_assert_geq(file_replace(path, text, strlen(text), 0600, NULL), 0);
}

Test(hugepages, what_is_reserved_is_not_free)
{
	auto_tmpdir char *dir = tmpdir_new("hugepages");
	struct hugepages pool = {7, 7};
	struct err err = {0};

	cr_assert_eq(hugepages_read(dir, &pool, &err), 0, "%s", err.msg);
	cr_expect(pool.total == 0 && pool.free == 0, "a kernel without them");
	put(dir, "nr_hugepages", "64\n");
	put(dir, "free_hugepages", "40\n");
	put(dir, "resv_hugepages", "15\n");
	cr_assert_eq(hugepages_read(dir, &pool, &err), 0, "%s", err.msg);
	cr_expect_eq(pool.total, 64);
	cr_expect_eq(pool.free, 25);
	put(dir, "resv_hugepages", "41\n");
	cr_assert_eq(hugepages_read(dir, &pool, &err), 0, "%s", err.msg);
	cr_expect_eq(pool.free, 0);
	put(dir, "free_hugepages", "many\n");
	cr_expect_eq(hugepages_read(dir, &pool, &err), -EINVAL);
	cr_expect_eq(pool.total, 64, "untouched");
}

Test(hugepages, this_host_can_be_asked)
{
	struct hugepages pool = {0};
	struct err err = {0};

	cr_assert_eq(hugepages_read(HUGEPAGES_DIR, &pool, &err), 0, "%s", err.msg);
	cr_expect_leq(pool.free, pool.total);
}
