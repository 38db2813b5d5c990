#include "eventlog.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"
#include "xalloc.h"

static int64_t noon(void)
{
	return 1000;
}

static const struct host host = {.unix_ms = noon};

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -1 : st.st_size;
}

Test(eventlog, an_event_is_one_line)
{
	auto_tmpdir char *dir = tmpdir_new("eventlog");
	auto_free char *path = path_join(dir, EVENTLOG_NAME);
	auto_buf struct buf text = BUF_INIT(4096);
	auto_json struct json_object *o = eventlog_new(&host, "state", 7), *back = NULL;

	json_add_str(o, "error", "two\nlines");
	for (int i = 0; i < 2; i++) {
		auto_close int fd = -1;

		cr_assert_eq(eventlog_open(path, &fd, NULL), 0);
		eventlog_write(fd, o);
	}
	cr_assert_geq(file_read(path, 4096, &text, NULL), 0);
	size_t half = text.len / 2;
	cr_expect_eq(memcmp(text.data, (const char *)text.data + half, half), 0);
	cr_expect_eq(strcspn(buf_str(&text), "\n"), half - 1);
	cr_assert_eq(json_parse(buf_str(&text), half, &back, NULL), 0);
	cr_expect_eq(json_opt_u64(back, "seq", 0), 7);
	cr_expect_str_eq(json_opt_str(back, "t", ""), "1970-01-01T00:00:01.000Z");
	cr_expect_str_eq(json_opt_str(back, "type", ""), "state");
	cr_expect_str_eq(json_opt_str(back, "error", ""), "two\nlines");
}

static void *open_and_write(void *data)
{
	auto_json struct json_object *o = eventlog_new(&host, "state", 0);
	auto_close int fd = -1;

	cr_assert_eq(eventlog_open(data, &fd, NULL), 0);
	eventlog_write(fd, o);
	return NULL;
}

/* A second one that turns over would throw the first one's events away. */
Test(eventlog, of_many_that_find_it_too_long_one_turns_it_over)
{
	auto_tmpdir char *dir = tmpdir_new("eventlog");
	auto_free char *path = path_join(dir, EVENTLOG_NAME);
	auto_free char *old = xasprintf("%s" EVENTLOG_OLD, path);
	auto_json struct json_object *o = eventlog_new(&host, "state", 0);
	auto_free char *line = json_line(o);
	pthread_t threads[16];

	for (int round = 0; round < 20; round++) {
		(void)unlink(path);
		cr_assert_eq(file_replace(path, "", 0, 0600, NULL), 0);
		cr_assert_eq(truncate(path, EVENTLOG_MAX + 1), 0);
		for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
			cr_assert_eq(pthread_create(&threads[i], NULL, open_and_write, path), 0);
		for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
			(void)pthread_join(threads[i], NULL);
		cr_expect_eq(size_of(old), EVENTLOG_MAX + 1);
		cr_expect_eq(size_of(path), (off_t)(ARRAY_SIZE(threads) * (strlen(line) + 1)));
	}
}

Test(eventlog, as_long_as_it_may_be_it_is_gone_on_with)
{
	auto_tmpdir char *dir = tmpdir_new("eventlog");
	auto_free char *path = path_join(dir, EVENTLOG_NAME);

	cr_assert_eq(file_replace(path, "", 0, 0600, NULL), 0);
	cr_assert_eq(truncate(path, EVENTLOG_MAX), 0);
	(void)open_and_write(path);
	cr_expect_gt(size_of(path), EVENTLOG_MAX);
}

Test(eventlog, a_link_is_not_followed_and_a_set_that_is_gone_stays_so)
{
	auto_tmpdir char *dir = tmpdir_new("eventlog");
	auto_free char *path = path_join(dir, EVENTLOG_NAME), *target = path_join(dir, "target");
	auto_free char *gone = path_join(dir, "gone/" EVENTLOG_NAME);
	struct err err = {0};
	int fd = -1;

	cr_assert_eq(symlink(target, path), 0);
	cr_expect_lt(eventlog_open(path, &fd, &err), 0);
	cr_expect_eq(size_of(target), -1);
	cr_expect_lt(eventlog_open(gone, &fd, &err), 0);
	cr_expect_eq(size_of(gone), -1);
}
