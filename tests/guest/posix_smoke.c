/* posix_smoke.c - the POSIX tables inside a guest: on its own file system and on a volume.
 *
 * posix_smoke BARE MOUNT STEP: in new directories below both, which it leaves there, of every STEP
 * cases of each table the first. Says one JSON object: cases, differences, and the first of those
 * as text. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "parse.h"
#include "posix.h"
#include "xalloc.h"

static const struct {
	const char *name;
	posix_build build;
} tables[] = {
#define NAMED(name) {#name, posix_build_##name},
	POSIX_TABLES(NAMED)};

struct counts {
	size_t cases, differences;
};

static int open_new(const char *path, int *ret_fd, struct err *err)
{
	if (mkdir(path, 0755) < 0)
		return err_sys(err, "cannot make '%s'", path);
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, "cannot open '%s'", path) : 0;
}

static int run_table(size_t i, const char *const tops[2], size_t step, struct counts *sum,
		     struct buf *report, struct err *err)
{
	auto_free char *bare = xasprintf("%s/%s", tops[0], tables[i].name);
	auto_free char *mount = xasprintf("%s/%s", tops[1], tables[i].name);
	auto_close int bare_fd = -1, mount_fd = -1;
	struct posix_table table = {0};
	int r = open_new(bare, &bare_fd, err);

	if (r == 0)
		r = open_new(mount, &mount_fd, err);
	if (r < 0)
		return r;
	const struct posix_sides sides = {.bare_fd = bare_fd,
					  .mount_fd = mount_fd,
					  .below_fd = -1,
					  .bare = bare,
					  .mount = mount};

	tables[i].build(&table);
	posix_thin_out(&table, step);
	r = posix_run(&table, &sides, report, err);
	sum->cases += table.n;
	sum->differences += r > 0 ? (size_t)r : 0;
	free(table.cases);
	return r < 0 ? err_wrap(err, "%s", tables[i].name) : 0;
}

static void print_text(const char *text)
{
	(void)putchar('"');
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p == '"' || *p == '\\' || *p < ' ' || *p > '~')
			(void)printf("\\u%04x", *p);
		else
			(void)putchar(*p);
	(void)putchar('"');
}

int main(int argc, char **argv)
{
	auto_buf struct buf report = BUF_INIT(256u << 10);
	struct counts sum = {0};
	struct err err = {0};
	uint64_t step = 0;
	int r = 0;

	if (argc != 4 || parse_u64(argv[3], 1, 1000, &step, &err) < 0) {
		(void)fprintf(stderr, "usage: posix_smoke BARE MOUNT STEP\n");
		return 2;
	}
	const char *const tops[2] = {argv[1], argv[2]};

	(void)umask(022);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(tables); i++)
		r = run_table(i, tops, (size_t)step, &sum, &report, &err);
	(void)printf("{\"cases\":%zu,\"differences\":%zu,\"error\":", sum.cases, sum.differences);
	print_text(r < 0 ? err.msg : "");
	(void)printf(",\"shown\":");
	print_text(buf_str(&report));
	(void)printf("}\n");
	return r < 0 || sum.differences > 0;
}
