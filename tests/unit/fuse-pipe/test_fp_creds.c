#include "fp_creds.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "rig.h"

/* What the kernel says of this very thread. */
static void status_of_thread(char *text, size_t size)
{
	auto_close int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);

	memset(text, 0, size);
	cr_assert(fd >= 0 && read(fd, text, size - 1) > 0);
}

static unsigned long long number(const char *text, const char *field, int which, int base)
{
	const char *at = strstr(text, field);
	char *end;
	unsigned long long v = 0;

	cr_assert_not_null(at);
	at += strlen(field);
	for (int i = 0; i <= which; i++, at = end)
		v = strtoull(at, &end, base);
	return v;
}

#define FSUID(text) number(text, "Uid:", 3, 10)
#define FSGID(text) number(text, "Gid:", 3, 10)
#define EFFECTIVE(text) number(text, "CapEff:", 0, 16)
#define HAS(text, cap) (EFFECTIVE(text) >> (cap)&1)
enum { DAC_OVERRIDE = 1, FOWNER = 3, FSETID = 4, MKNOD = 27 };

static void init(void)
{
	auto_close int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err err = {0};

	cr_assert_eq(fp_creds_init(proc, &err), 0, "%s", err.msg);
}

Test(fp_creds, a_thread_becomes_the_caller_and_the_server_again)
{
	static const uint8_t groups[8] = {77, 0, 0, 0, 78, 0, 0, 0};
	const struct fp_caller caller = {.uid = 1234, .gid = 4321, .groups = groups, .n_groups = 2};
	char text[8192];

	rig_need_root();
	init();
	cr_assert(fp_creds_able());
	cr_assert_eq(fp_creds_caller(&caller, FP_FULL), 0);
	status_of_thread(text, sizeof(text));
	cr_expect(FSUID(text) == 1234 && FSGID(text) == 4321);
	cr_expect_not_null(strstr(text, "Groups:\t77 78 \n"));
	cr_expect(HAS(text, DAC_OVERRIDE), "a trusted guest has checked");
	cr_expect_not(HAS(text, FOWNER));
	cr_expect_not(HAS(text, FSETID));
	cr_assert_eq(fp_creds_server(), 0);
	status_of_thread(text, sizeof(text));
	cr_expect(FSUID(text) == 0 && FSGID(text) == 0);
	cr_expect_not_null(strstr(text, "Groups:\t \n"));
	cr_expect(HAS(text, DAC_OVERRIDE) && HAS(text, FOWNER) && HAS(text, FSETID));
}

Test(fp_creds, what_a_caller_keeps_depends_on_the_trust)
{
	static const struct {
		uid_t uid;
		enum fp_trust trust;
		bool dac, fowner, fsetid, mknod;
	} cases[] = {
		{0, FP_FULL, true, true, true, true},
		{5, FP_FULL, true, false, false, true},
		{0, FP_SQUASH, true, true, false, false},
		{5, FP_SQUASH, false, false, false, false},
	};
	char text[8192];

	rig_need_root();
	init();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_assert_eq(
			fp_creds_caller(&(struct fp_caller){.uid = cases[i].uid}, cases[i].trust),
			0);
		status_of_thread(text, sizeof(text));
		cr_expect_eq(HAS(text, DAC_OVERRIDE), cases[i].dac, "%zu", i);
		cr_expect_eq(HAS(text, FOWNER), cases[i].fowner, "%zu", i);
		cr_expect_eq(HAS(text, FSETID), cases[i].fsetid, "%zu", i);
		cr_expect_eq(HAS(text, MKNOD), cases[i].mknod, "%zu", i);
	}
	cr_assert_eq(fp_creds_kill_suid(NULL), 0);
	status_of_thread(text, sizeof(text));
	cr_expect(FSUID(text) == 0 && HAS(text, FOWNER) && !HAS(text, FSETID));
	cr_assert_eq(fp_creds_kill_suid(&(struct fp_caller){.uid = 5, .gid = 6}), 0);
	status_of_thread(text, sizeof(text));
	cr_expect(FSUID(text) == 0 && FSGID(text) == 6 && !HAS(text, FSETID));
}

Test(fp_creds, more_groups_than_are_remembered_are_set_each_time)
{
	uint8_t groups[4 * 100] = {0};
	struct fp_caller caller = {.uid = 1, .gid = 1, .groups = groups, .n_groups = 100};
	char text[16384];

	rig_need_root();
	init();
	for (size_t i = 0; i < 100; i++)
		groups[4 * i] = (uint8_t)(100 + i);
	cr_assert_eq(fp_creds_caller(&caller, FP_FULL), 0);
	groups[4 * 99] = 50;
	cr_assert_eq(fp_creds_caller(&caller, FP_FULL), 0);
	status_of_thread(text, sizeof(text));
	cr_expect_not_null(strstr(text, "Groups:\t50 100 "));
}

/* Else a request that is refused lends the server's rights to the next one of its caller. */
Test(fp_creds, a_change_that_failed_half_way_is_made_whole_by_the_next)
{
	static const uint8_t nobody[4] = {255, 255, 255, 255};
	static const struct fp_caller bad[] = {
		{.uid = 1234, .gid = 4321, .groups = nobody, .n_groups = 1},
		{.uid = 1234, .gid = UINT32_MAX},
		{.uid = UINT32_MAX, .gid = 4321},
	};
	char text[8192];

	rig_need_root();
	init();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct fp_caller good = {.uid = 1234, .gid = 4321};

		cr_assert_eq(fp_creds_server(), 0);
		cr_expect_eq(fp_creds_caller(&bad[i], FP_SQUASH), -EPERM, "%zu", i);
		cr_expect_eq(fp_creds_caller(&bad[i], FP_SQUASH), -EPERM, "%zu again", i);
		cr_assert_eq(fp_creds_caller(&good, FP_SQUASH), 0, "%zu", i);
		status_of_thread(text, sizeof(text));
		cr_expect(FSUID(text) == 1234 && FSGID(text) == 4321, "%zu", i);
		cr_expect_not_null(strstr(text, "Groups:\t \n"), "%zu", i);
		cr_expect_not(HAS(text, DAC_OVERRIDE), "%zu", i);
	}
}

static void *in_a_thread(void *data)
{
	init();
	(void)fp_creds_caller(&(struct fp_caller){.uid = 1234}, FP_FULL);
	fp_creds_umask(077);
	*(mode_t *)data = umask(0);
	return NULL;
}

Test(fp_creds, other_threads_are_not_touched)
{
	pthread_t thread;
	mode_t inside = 0;
	char text[8192];

	rig_need_root();
	(void)umask(022);
	cr_assert_eq(pthread_create(&thread, NULL, in_a_thread, &inside), 0);
	(void)pthread_join(thread, NULL);
	cr_expect_eq(inside, 077);
	cr_expect_eq(umask(022), 022);
	status_of_thread(text, sizeof(text));
	cr_expect_eq(FSUID(text), 0);
}

Test(fp_creds, not_root_everything_is_done_as_itself)
{
	char text[8192];

	if (geteuid() == 0 && (setresgid(4711, 4711, 4711) < 0 || setresuid(4711, 4711, 4711) < 0))
		cr_skip_test("cannot become another user");
	init();
	cr_expect_not(fp_creds_able());
	cr_expect_eq(fp_creds_caller(&(struct fp_caller){.uid = 0}, FP_FULL), 0);
	status_of_thread(text, sizeof(text));
	cr_expect_eq(FSUID(text), geteuid());
}
