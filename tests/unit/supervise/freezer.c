#include "freezer.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#define FREEZER "/sys/fs/cgroup/freezer"
#define PATIENCE_MS 60000

static void write_to(const char *dir, const char *name, const char *text)
{
	auto_free char *path = path_join(dir, name);
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0, "cannot open '%s'", path);
	cr_assert_geq(file_write_fd(fd, text, strlen(text), NULL), 0, "cannot write '%s'", path);
}

char *freezer_new(void)
{
	char *dir = xasprintf(FREEZER "/fcvm-test-%d", (int)getpid());

	if (mkdir(dir, 0755) < 0)
		cr_skip_test("needs a writable cgroup v1 freezer at " FREEZER);
	return dir;
}

void freezer_take(const char *dir, pid_t pid)
{
	auto_free char *who = xasprintf("%d", (int)pid);

	write_to(dir, "cgroup.procs", who);
}

/* It says FREEZING until then. */
void freezer_freeze(const char *dir)
{
	auto_free char *state = path_join(dir, "freezer.state");
	uint64_t deadline = deadline_in(PATIENCE_MS);
	auto_buf struct buf text = BUF_INIT(64);

	write_to(dir, "freezer.state", "FROZEN");
	while (strcmp(buf_str(&text), "FROZEN\n") != 0) {
		cr_assert_gt(deadline_left(deadline), 0, "somebody is not frozen");
		buf_reset(&text);
		cr_assert_geq(file_read(state, 32, &text, NULL), 0);
	}
}

void freezer_let_go(const char *dir)
{
	write_to(dir, "freezer.state", "THAWED");
}
