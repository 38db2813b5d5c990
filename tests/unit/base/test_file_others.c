/* What file.h promises while another process makes and removes at the same place. */
#include "file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "run.h"
#include "xalloc.h"

#define TRIES 10000

/* It does the one thing over and over, until end_other() or the end of the test. */
static pid_t begin_other(void (*one)(const char *path), const char *path)
{
	pid_t parent = getpid(), pid = fork();

	cr_assert_geq(pid, 0);
	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	for (;;)
		one(path);
}

static void end_other(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static void come_and_go(const char *path)
{
	(void)mkdir(path, 0755);
	(void)rmdir(path);
}

Test(file_mkdir_p, a_directory_that_others_remove_meanwhile_is_made_again)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *path = path_join(dir, "a");
	pid_t other = begin_other(come_and_go, path);
	struct err err = {0};

	for (int i = 0; i < TRIES; i++)
		cr_assert_eq(file_mkdir_p(path, 0755, &err), 0, "try %d: %s", i, err.msg);
	end_other(other);
}

Test(file_mkdir_p, a_link_to_nothing_is_no_directory)
{
	auto_tmpdir char *dir = tmpdir_new("base-file");
	auto_free char *path = path_join(dir, "a");
	auto_free char *want = xasprintf("cannot make directory '%s': File exists", path);
	struct err err = {0};

	cr_assert_eq(symlink("nothing", path), 0);
	cr_expect_eq(file_mkdir_p(path, 0755, &err), -EEXIST);
	cr_expect_str_eq(err.msg, want);
}

/* As everybody who waits for a set's lock does. */
static void put_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		(void)close(fd);
}

Test(file_remove_tree, what_others_put_in_meanwhile_goes_with_it)
{
	auto_tmpdir char *dir = tmpdir_new("base-tree");
	auto_free char *tree = path_join(dir, "tree");
	auto_free char *file = path_join(tree, "lock");
	pid_t other = begin_other(put_file, file);
	struct err err = {0};

	for (int i = 0; i < TRIES; i++) {
		cr_assert_eq(file_mkdir_p(tree, 0700, &err), 0, "try %d: %s", i, err.msg);
		cr_assert_eq(file_remove_tree(tree, &err), 0, "try %d: %s", i, err.msg);
	}
	end_other(other);
}
