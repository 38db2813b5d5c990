#include "fp_server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "rig.h"
#include "run.h"

/* In a child: 0, or the line that found something wrong. */
#define MUST(cond)                                 \
	do {                                       \
		if (!(cond))                       \
			_exit(__LINE__ % 250 + 1); \
	} while (0)

static void confined(const char *dir, const char *outside, const struct fp_options *opt)
{
	int root = -1, proc = -1, status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	struct err err = {0};
	struct stat st;

	MUST(fp_server_confine(dir, opt, &root, &proc, &err) == 0);
	MUST(access(outside, F_OK) < 0 && access("/etc/passwd", F_OK) < 0);
	MUST(access("/inside", F_OK) == 0);
	MUST(fstatat(root, "inside", &st, 0) == 0);
	/* ".." of the root is the root. */
	MUST(openat(root, "../../../../etc/passwd", O_RDONLY) < 0);
	MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	/* Through the descriptor from before: paths to /proc are gone. */
	char text[8192] = "";
	MUST(pread(status, text, sizeof(text) - 1, 0) > 0);
	const char *prm = strstr(text, "CapPrm:"), *bnd = strstr(text, "CapBnd:");
	unsigned long long want = opt->trust == FP_FULL ? 0x880000dfull : 0xcf;
	MUST(prm && strtoull(prm + 7, NULL, 16) == want);
	MUST(bnd && strtoull(bnd + 7, NULL, 16) == want);
	int made = openat(root, "new", O_WRONLY | O_CREAT, 0600);
	MUST(opt->read_only ? made < 0 && errno == EROFS : made >= 0);
	_exit(0);
}

static int run_confined(const struct fp_options *opt)
{
	auto_tmpdir char *dir = tmpdir_new("confine");
	auto_free char *served = path_join(dir, "served"), *outside = path_join(dir, "outside");
	auto_free char *inside = path_join(served, "inside");
	int status = -1;

	cr_assert_eq(mkdir(served, 0755), 0);
	cr_assert_eq(file_replace(inside, "", 0, 0644, NULL), 0);
	cr_assert_eq(file_replace(outside, "", 0, 0644, NULL), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		confined(served, outside, opt);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(fp_confine, as_root_nothing_but_the_directory_is_left)
{
	rig_need_root();
	cr_expect_eq(run_confined(&(struct fp_options){.trust = FP_SQUASH}), 0);
}

Test(fp_confine, full_trust_keeps_three_more_rights)
{
	rig_need_root();
	cr_expect_eq(run_confined(&(struct fp_options){.trust = FP_FULL}), 0);
}

Test(fp_confine, read_only_is_the_kernels_word_too)
{
	rig_need_root();
	cr_expect_eq(run_confined(&(struct fp_options){.trust = FP_FULL, .read_only = true}), 0);
}

Test(fp_confine, what_is_no_directory_is_refused_with_its_name)
{
	struct fp_options opt = {.trust = FP_FULL};
	struct err err = {0};
	int root = -1, proc = -1;

	cr_expect_lt(fp_server_confine("/nonexistent/dir", &opt, &root, &proc, &err), 0);
	cr_expect_str_eq(err.msg,
			 "cannot open directory '/nonexistent/dir': No such file or directory");
	cr_expect(root == -1 && proc == -1);
}
