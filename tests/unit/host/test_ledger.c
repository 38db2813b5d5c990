#include "ledger.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

static struct host host_in(char *dir)
{
	static char ids_dir[300];
	struct host host = {.data_dir = dir, .ids_dir = ids_dir};
	struct err err;

	(void)snprintf(ids_dir, sizeof(ids_dir), "%s/ledger", dir);

	cr_assert_eq(host_make_dirs(&host, &err), 0, "%s", err.msg);
	return host;
}

static char *make_owner(const struct host *host, int i)
{
	char *dir = xasprintf("%s/sets/vm-%d", host->data_dir, i);

	cr_assert(mkdir(dir, 0700) == 0 || errno == EEXIST);
	return dir;
}

Test(ledger, the_same_owner_gets_the_same_number_and_another_the_next)
{
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	uint32_t a = 0, again = 0, b = 0, gid = 0;
	struct err err;

	cr_assert_eq(ledger_take(&host, "uid", "/a", &a, &err), 0, "%s", err.msg);
	cr_assert_eq(ledger_take(&host, "uid", "/b", &b, &err), 0);
	cr_assert_eq(ledger_take(&host, "uid", "/a", &again, &err), 0);
	cr_assert_eq(ledger_take(&host, "gid", "/z", &gid, &err), 0);
	cr_expect_eq(a, LEDGER_UID_FIRST);
	cr_expect_eq(b, LEDGER_UID_FIRST + 1);
	cr_expect_eq(again, a);
	cr_expect_eq(gid, LEDGER_UID_FIRST);
}

Test(ledger, a_released_number_is_the_next_to_go_out)
{
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	uint32_t n = 0;
	struct err err;

	cr_assert_eq(ledger_take(&host, "uid", "/a", &n, &err), 0);
	cr_assert_eq(ledger_take(&host, "uid", "/b", &n, &err), 0);
	cr_assert_eq(ledger_take(&host, "uid", "/c", &n, &err), 0);
	cr_assert_eq(ledger_release(&host, "uid", "/b", &err), 0);
	cr_assert_eq(ledger_release(&host, "uid", "/b", &err), 0, "gone already is success");
	cr_assert_eq(ledger_take(&host, "uid", "/d", &n, &err), 0);
	cr_expect_eq(n, LEDGER_UID_FIRST + 1);
}

Test(ledger, numbers_of_owners_that_are_gone_come_back)
{
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	struct err err;
	uint32_t n = 0;

	for (int i = 0; i < 64; i++) {
		auto_free char *owner = make_owner(&host, i);

		cr_assert_eq(ledger_take(&host, "uid", owner, &n, &err), 0);
		if (i == 5)
			cr_assert_eq(rmdir(owner), 0);
	}
	cr_assert_eq(ledger_take(&host, "uid", "/", &n, &err), 0);
	cr_expect_eq(n, LEDGER_UID_FIRST + 5);
}

Test(ledger, twenty_processes_at_once_get_twenty_numbers)
{
	enum { N = 20 };
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	uint32_t *got = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(got, MAP_FAILED);
	for (int i = 0; i < N; i++) {
		if (fork() == 0) {
			auto_free char *owner = make_owner(&host, i);

			_exit(ledger_take(&host, "uid", owner, &got[i], NULL) < 0);
		}
	}
	for (int i = 0; i < N; i++) {
		int status = -1;

		cr_assert_gt(wait(&status), 0);
		cr_expect_eq(status, 0);
	}
	for (int i = 0; i < N; i++) {
		cr_expect_geq(got[i], LEDGER_UID_FIRST);
		cr_expect_lt(got[i], LEDGER_UID_FIRST + N);
		for (int j = 0; j < i; j++)
			cr_expect_neq(got[i], got[j]);
	}
}

Test(ledger, damage_is_named_and_nothing_is_handed_out)
{
	static const char *const texts[] = {
		"x /a\n",
		"1 /a\n",
		"1879048192\n",
		"1879048192 relative\n",
		"1879048193 /a\n1879048192 /b\n",
		"1879048192 /a\n1879048192 /b\n",
	};
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	auto_free char *path = path_join(tmp, "ledger/uid");

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err err;
		uint32_t n = 7;

		cr_assert_eq(file_replace(path, texts[i], strlen(texts[i]), 0600, &err), 0);
		cr_expect_eq(ledger_take(&host, "uid", "/new", &n, &err), -EBADMSG, "%s", texts[i]);
		cr_expect_eq(n, 7);
		cr_expect(strstr(err.msg, "is damaged after entry"), "%s", err.msg);
		cr_expect_str_eq(err.hint, "destroy every set, then remove that file");
	}
}

Test(ledger, an_owner_that_would_break_the_file_is_refused)
{
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	struct err err;
	uint32_t n = 7;

	cr_expect_eq(ledger_take(&host, "uid", "relative", &n, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "'relative' cannot own a uid");
	cr_expect_eq(ledger_take(&host, "uid", "/a\n1879048192 /b", &n, &err), -EINVAL);
}

static bool is_odd(void *data, uint32_t number)
{
	(void)data;
	return number % 2 == 1;
}

static bool is_over(void *data, uint32_t number)
{
	const uint32_t *limit = data;

	return number > *limit;
}

Test(ledger, numbers_that_do_not_fit_are_passed_over)
{
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	uint32_t a = 0, b = 0, limit = 6;
	struct err err;

	cr_assert_eq(ledger_take_if(&host, "slot", "/a", is_odd, NULL, &a, &err), 0, "%s", err.msg);
	cr_assert_eq(ledger_take_if(&host, "slot", "/b", is_odd, NULL, &b, &err), 0);
	cr_expect_eq(a, 1u);
	cr_expect_eq(b, 3u);
	cr_assert_eq(ledger_take_if(&host, "slot", "/a", is_over, &limit, &a, &err), 0);
	cr_expect_eq(a, 7u, "its number did not fit any more");
	cr_expect_eq(ledger_find(&host, "slot", "/b", &b, &err), 1);
	cr_expect_eq(b, 3u);
	cr_expect_eq(ledger_find(&host, "slot", "/x", &b, &err), 0);
	cr_assert_eq(ledger_take(&host, "slot", "/c", &b, &err), 0);
	cr_expect_eq(b, 0u);
	limit = LEDGER_SLOT_COUNT;
	cr_expect_eq(ledger_take_if(&host, "slot", "/d", is_over, &limit, &a, &err), -ENOSPC);
	cr_expect_str_eq(err.msg, "all 16384 slots are taken");
	cr_expect_eq(ledger_take(&host, "bed", "/d", &a, &err), -EINVAL);
}

static void add_owner(void *data, uint32_t number, const char *owner)
{
	buf_addf(data, "%u=%s ", number, owner);
}

Test(ledger, what_ends_with_the_boot_is_forgotten_after_it)
{
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	auto_buf struct buf text = BUF_INIT(400);
	uint32_t n = 0;
	struct err err;

	(void)snprintf(host.boot_id, sizeof(host.boot_id), "one");
	cr_assert_eq(ledger_take(&host, "loopback", "/a", &n, &err), 0);
	cr_assert_eq(ledger_take(&host, "loopback", "/b", &n, &err), 0);
	cr_assert_eq(ledger_each(&host, "loopback", add_owner, &text, &err), 0);
	cr_expect_str_eq(buf_str(&text), "0=/a 1=/b ");
	(void)snprintf(host.boot_id, sizeof(host.boot_id), "two");
	buf_reset(&text);
	cr_assert_eq(ledger_each(&host, "loopback", add_owner, &text, &err), 0);
	cr_expect_str_eq(buf_str(&text), "");
	cr_assert_eq(ledger_take(&host, "loopback", "/c", &n, &err), 0);
	cr_expect_eq(n, 0u);
}

/* One that has a name of so many characters. */
static char *named_owner(const struct host *host, int length, unsigned i)
{
	char *dir = xasprintf("%s/sets/%0*u", host->data_dir, length, i);

	cr_assert(mkdir(dir, 0700) == 0 || errno == EEXIST);
	return dir;
}

static off_t size_of(const struct host *host, const char *kind)
{
	auto_free char *path = xasprintf("%s/ledger/%s", host->data_dir, kind);
	struct stat st;

	cr_assert_eq(stat(path, &st), 0);
	return st.st_size;
}

/* As a full disk would: no file may grow past its second page. What comes first in the file moves
 * all the rest, whose end is then not written. */
Test(ledger, what_cannot_be_written_whole_leaves_the_old_text)
{
	enum { LIMIT = 2 * 4096, NAME = 80, LONG_NAME = 250 };
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	struct rlimit before, files;
	struct err err = {0};
	unsigned count = 1;
	uint32_t n = 0;

	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	files = (struct rlimit){LIMIT, before.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &files), 0);
	cr_assert_eq(ledger_take(&host, "slot", tmp, &n, &err), 0, "%s", err.msg);
	for (off_t line = (off_t)strlen(tmp) + NAME + 16; size_of(&host, "slot") + line <= LIMIT;) {
		auto_free char *owner = named_owner(&host, NAME, count++);

		cr_assert_eq(ledger_take(&host, "slot", owner, &n, &err), 0, "%s", err.msg);
	}
	cr_assert_eq(ledger_release(&host, "slot", tmp, &err), 0, "%s", err.msg);
	auto_free char *large = named_owner(&host, LONG_NAME, 0);
	cr_expect_eq(ledger_take(&host, "slot", large, &n, &err), -EFBIG, "%s", err.msg);
	for (unsigned i = 1; i < count; i++) {
		auto_free char *owner = named_owner(&host, NAME, i);

		cr_assert_eq(ledger_find(&host, "slot", owner, &n, &err), 1, "%u: %s", i, err.msg);
		cr_expect_eq(n, i);
	}
	cr_assert_eq(ledger_take(&host, "slot", tmp, &n, &err), 0, "%s", err.msg);
	cr_expect_eq(n, 0);
	/* What counts coverage writes at the process's end. */
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static unsigned files_in(const char *path)
{
	auto_closedir DIR *dir = opendir(path);
	unsigned n = 0;

	cr_assert_not_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

/* A limit of its own kills the child half-way through the text. */
static void take_and_be_killed(const struct host *host, const char *owner, off_t limit)
{
	const struct rlimit files = {(rlim_t)limit, (rlim_t)limit};
	int status = 0;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		struct err err;
		uint32_t n;

		(void)signal(SIGXFSZ, SIG_DFL);
		(void)setrlimit(RLIMIT_FSIZE, &files);
		(void)ledger_take(host, "uid", owner, &n, &err);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ, "status %#x", status);
}

Test(ledger, writers_that_are_killed_leave_no_files)
{
	enum { LIMIT = 300, NAME = 80 };
	auto_tmpdir char *tmp = tmpdir_new("ledger");
	struct host host = host_in(tmp);
	struct err err = {0};
	unsigned before;
	uint32_t n = 0;

	for (unsigned i = 0; i < LIMIT / NAME; i++) {
		auto_free char *owner = named_owner(&host, NAME, i);

		cr_assert_eq(ledger_take(&host, "uid", owner, &n, &err), 0, "%s", err.msg);
	}
	before = files_in(host.ids_dir);
	for (unsigned i = 0; i < 3; i++)
		take_and_be_killed(&host, tmp, LIMIT);
	cr_assert_eq(ledger_find(&host, "uid", tmp, &n, &err), 0, "%s", err.msg);
	cr_assert_eq(ledger_take(&host, "uid", tmp, &n, &err), 0, "%s", err.msg);
	cr_expect_eq(n, LEDGER_UID_FIRST + LIMIT / NAME);
	cr_expect_eq(files_in(host.ids_dir), before);
}

/* An empty /var/lib of the test's own. */
static void own_system(void)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("none", "/var/lib", "tmpfs", 0, "mode=0755"), 0);
}

static void expect_mode(const char *path, mode_t mode)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "%s", path);
	cr_expect_eq(st.st_mode & 07777, mode, "%s", path);
}

Test(ledger, data_directories_of_root_share_uids_and_gids_and_nothing_else)
{
	static const struct {
		const char *kind;
		uint32_t first, second;
	} cases[] = {
		{"uid", LEDGER_UID_FIRST, LEDGER_UID_FIRST + 1},
		{"gid", LEDGER_UID_FIRST, LEDGER_UID_FIRST + 1},
		{"slot", 0, 0},
		{"loopback", 0, 0},
	};
	auto_tmpdir char *one = tmpdir_new("ledger"), *two = tmpdir_new("ledger");
	struct host first, second;
	struct err err = {0};

	own_system();
	umask(0077);
	cr_assert_eq(host_init(&first, one, &err), 0, "%s", err.msg);
	cr_assert_eq(host_init(&second, two, &err), 0, "%s", err.msg);
	cr_assert_eq(host_make_dirs(&first, &err), 0, "%s", err.msg);
	cr_assert_eq(host_make_dirs(&second, &err), 0, "%s", err.msg);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t a = 7, b = 7;

		cr_assert_eq(ledger_take(&first, cases[i].kind, one, &a, &err), 0, "%s", err.msg);
		cr_assert_eq(ledger_take(&second, cases[i].kind, two, &b, &err), 0, "%s", err.msg);
		cr_expect_eq(a, cases[i].first, "%s: %u", cases[i].kind, a);
		cr_expect_eq(b, cases[i].second, "%s: %u", cases[i].kind, b);
	}
	expect_mode("/var/lib/fcvm", 0711);
	expect_mode("/var/lib/fcvm/ledger", 0700);
	host_free(&first);
	host_free(&second);
}
