/* replay.c - runs a fuzz target over its checked-in corpus, as an ordinary test. The target's name
 * is the program's: replay-NAME reads tests/fuzz/corpus/NAME. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

Test(corpus, every_input_is_survived)
{
	char exe[4096] = "";

	/* Not argv[0]: Criterion's workers have another. */
	cr_assert_gt(readlink("/proc/self/exe", exe, sizeof(exe) - 1), 0);
	const char *dash = strrchr(exe, '-');
	cr_assert_not_null(dash);
	auto_free char *dir = path_join("tests/fuzz/corpus", dash + 1);
	auto_closedir DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0;

	cr_assert_not_null(d, "%s: %s", dir, strerror(errno));
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		auto_free char *path = path_join(dir, e->d_name);
		auto_buf struct buf text = BUF_INIT(8u << 20);
		struct err err = {0};

		cr_assert_eq(file_read(path, 8u << 20, &text, &err), 0, "%s", err.msg);
		cr_assert_eq(LLVMFuzzerTestOneInput((const uint8_t *)buf_str(&text), text.len), 0);
		n++;
	}
	cr_assert_gt(n, 0, "%s is empty", dir);
}
