/* What a supervisor makes of Firecracker's own ways. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "supervise_rig.h"
#include "xalloc.h"

/* It comes through a pipe; the files are ours, and so is their size. */
Test(supervise_firecracker, a_guest_that_floods_its_console_fills_two_files_and_no_more)
{
	static const char last[] = "line 099999 of";
	uint64_t deadline_ms = deadline_in(10000);
	auto_rig struct rig r;
	auto_buf struct buf text = BUF_INIT(4u << 20);
	struct stat now = {0}, before = {0};

	rig_use("firecracker");
	rig_make(&r, "fake.flood");
	rig_boot(&r);
	auto_free char *log = path_join(r.dir, "console.log"), *old = xasprintf("%s.1", log);

	while (!strstr(buf_str(&text), last)) {
		buf_reset(&text);
		cr_assert_neq(deadline_left(deadline_ms), 0, "the newest is what is kept");
		/* While it is turned over there is none for a moment. */
		int code = file_read(log, text.max - 1, &text, NULL);
		cr_assert(code >= 0 || code == -ENOENT, "%s", strerror(-code));
	}
	cr_assert_eq(stat(log, &now), 0);
	cr_assert_eq(stat(old, &before), 0);
	cr_expect_leq(now.st_size, 1 << 20);
	cr_expect_leq(before.st_size, 1 << 20);
}

/* A guest that calls its host finds nobody: Firecracker connects such a stream to v.sock_PORT. */
Test(supervise_firecracker, nobody_listens_for_a_guest_that_calls_its_host)
{
	auto_rig struct rig r;
	size_t n = 0;

	rig_use("firecracker");
	rig_make(&r, "");
	rig_boot(&r);
	auto_free char *vm = path_join(r.dir, "vm");
	DIR *d = opendir(vm);

	cr_assert(d);
	for (struct dirent *e; (e = readdir(d));) {
		n += strcmp(e->d_name, "v.sock") == 0;
		cr_expect_neq(strncmp(e->d_name, "v.sock_", 7), 0, "%s", e->d_name);
	}
	(void)closedir(d);
	cr_expect_eq(n, 1);
}
