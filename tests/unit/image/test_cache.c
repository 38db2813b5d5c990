#include "cache.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "image_test.h"
#include "run.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct maker {
	const char *log;   /* one byte is appended for each time make runs, or NULL */
	const char *value; /* content of the file made */
	int fail;
	int wait_fd; /* make reads a byte from here first; -1: it does not */
	int told_fd; /* make writes a byte here when it has begun; -1: it does not */
};

static int make(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	const struct maker *m = data;
	char byte = 'x';
	FILE *log = m->log ? fopen(m->log, "ae") : NULL;

	if (log) {
		(void)fputc('x', log);
		(void)fclose(log);
	}
	put_text(dir, "sub/value", m->value);
	if (m->told_fd >= 0)
		cr_assert_eq(write(m->told_fd, &byte, 1), 1);
	if (m->wait_fd >= 0)
		(void)!read(m->wait_fd, &byte, 1);
	json_add_str(made_of, "value", m->value);
	return m->fail ? err_set(err, ERR_FAILED, m->fail, "the maker failed") : 0;
}

static int ensure(const struct fixture *f, const char *key, struct maker *m,
		  struct cache_entry *ret, struct err *err)
{
	const struct cache_build build = {.make = make, .data = m, .what = "the thing"};

	return cache_ensure(&f->host, "kind", key, &build, ret, err);
}

static int count_tmp(const struct fixture *f)
{
	auto_free char *dir = host_cache_dir(&f->host, "kind");
	auto_closedir DIR *d = opendir(dir);
	const struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		n += strncmp(e->d_name, ".tmp-", 5) == 0;
	return n;
}

Test(cache, an_entry_is_built_once_and_then_found)
{
	auto_fixture struct fixture f = fixture_new();
	auto_free char *log = path_join(f.dir, "log");
	struct maker m = {.log = log, .value = "hello", .wait_fd = -1, .told_fd = -1};
	struct err err = {0};

	cr_expect_eq(cache_lookup(&f.host, "kind", KEY, &(struct cache_entry){0}, &err), 0);
	for (int i = 0; i < 2; i++) {
		auto_cache_entry struct cache_entry e = {0};

		cr_assert_eq(ensure(&f, KEY, &m, &e, &err), 0, "%s", err.msg);
		cr_expect_str_eq(cache_entry_made_of(&e, "value"), "hello");
		cr_expect_str_eq(
			cache_entry_sha256(&e, "sub/value"),
			"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
		cr_expect_str_eq(cache_entry_sha256(&e, "absent"), "");
	}
	struct stat st;

	cr_assert_eq(stat(log, &st), 0);
	cr_expect_eq(st.st_size, 1);
	cr_expect_eq(count_tmp(&f), 0);
}

Test(cache, entries_are_readable_by_others_whatever_the_umask)
{
	auto_fixture struct fixture f = fixture_new();
	auto_cache_entry struct cache_entry e = {0};
	struct maker m = {.value = "v", .wait_fd = -1, .told_fd = -1};
	struct err err = {0};
	struct stat st;

	(void)umask(077);
	cr_assert_eq(ensure(&f, KEY, &m, &e, &err), 0, "%s", err.msg);

	const struct {
		const char *name;
		mode_t mode;
	} want[] = {
		{"..", 0755},        {".", 0755},         {"sub", 0755},
		{"sub/value", 0644}, {"meta.json", 0644}, {"../.locks", 0700},
	};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		auto_free char *path = path_join(e.dir, want[i].name);

		cr_assert_eq(stat(path, &st), 0, "%s", path);
		cr_expect_eq(st.st_mode & 07777, want[i].mode, "%s", path);
	}
}

Test(cache, a_failed_build_leaves_nothing_and_passes_its_error_on)
{
	auto_fixture struct fixture f = fixture_new();
	auto_cache_entry struct cache_entry e = {0};
	struct maker m = {.value = "v", .fail = -EIO, .wait_fd = -1, .told_fd = -1};
	struct err err = {0};

	cr_expect_eq(ensure(&f, KEY, &m, &e, &err), -EIO);
	cr_expect_str_eq(err.msg, "the maker failed");
	cr_expect_null(e.dir);
	cr_expect_eq(count_tmp(&f), 0);
	cr_expect_eq(cache_lookup(&f.host, "kind", KEY, &e, &err), 0);
}

Test(cache, damaged_entries_count_as_absent_and_are_built_again)
{
	static const struct {
		const char *file, *text;
	} damage[] = {
		{"meta.json", ""},
		{"meta.json", "[]"},
		{"meta.json", "{\"format\":1,\"key\":\"" KEY "\",\"made_of\":{},\"files\":{}}"},
		{"meta.json", "{\"format\":9,\"key\":\"" KEY "\",\"made_of\":{},\"files\":"
			      "{\"sub/value\":{\"size\":3}}}"},
		{"meta.json", "{\"format\":1,\"key\":\"" OTHER "\",\"made_of\":{},\"files\":"
			      "{\"sub/value\":{\"size\":3}}}"},
		{"meta.json", "{\"format\":1,\"key\":\"" KEY "\",\"made_of\":{},\"files\":"
			      "{\"sub/value\":7}}"},
		{"sub/value", "cut"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
		auto_fixture struct fixture f = fixture_new();
		auto_cache_entry struct cache_entry first = {0}, again = {0};
		struct maker m = {.value = "value", .wait_fd = -1, .told_fd = -1};
		struct err err = {0};

		cr_assert_eq(ensure(&f, KEY, &m, &first, &err), 0, "%s", err.msg);
		put_text(first.dir, damage[i].file, damage[i].text);
		cr_expect_eq(cache_lookup(&f.host, "kind", KEY, &again, &err), 0, "case %zu", i);
		m.value = "again";
		cr_assert_eq(ensure(&f, KEY, &m, &again, &err), 0, "%s", err.msg);
		cr_expect_str_eq(cache_entry_made_of(&again, "value"), "again", "case %zu", i);
		cr_expect_eq(count_tmp(&f), 0, "case %zu", i);
	}
}

Test(cache, concurrent_builders_of_one_key_build_it_once)
{
	auto_fixture struct fixture f = fixture_new();
	auto_free char *log = path_join(f.dir, "log");
	pid_t pids[6];

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		cr_assert_geq(pids[i], 0);
		if (pids[i] == 0) {
			struct maker m = {.log = log, .value = "v", .wait_fd = -1, .told_fd = -1};
			struct cache_entry e = {0};

			_exit(ensure(&f, KEY, &m, &e, NULL) == 0 ? 0 : 1);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status = 0;

		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_expect_eq(status, 0);
	}
	struct stat st;

	cr_assert_eq(stat(log, &st), 0);
	cr_expect_eq(st.st_size, 1, "built %d times", (int)st.st_size);
}

/* Starts a builder of key that stops half way; returns when it is there. */
static pid_t start_stuck_builder(const struct fixture *f, const char *key, int *ret_keep_open)
{
	int told[2], wait[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(told), 0);
	cr_assert_eq(pipe(wait), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		struct maker m = {.value = "half", .wait_fd = wait[0], .told_fd = told[1]};
		struct cache_entry e = {0};

		(void)close(wait[1]);
		_exit(ensure(f, key, &m, &e, NULL) == 0 ? 0 : 1);
	}
	(void)close(told[1]);
	(void)close(wait[0]);
	cr_assert_eq(read(told[0], &byte, 1), 1);
	(void)close(told[0]);
	*ret_keep_open = wait[1];
	return pid;
}

Test(cache, leftovers_of_killed_builders_are_removed_by_the_next_builder)
{
	static const char *const next_keys[] = {KEY, OTHER};

	for (size_t i = 0; i < ARRAY_SIZE(next_keys); i++) {
		auto_fixture struct fixture f = fixture_new();
		auto_cache_entry struct cache_entry e = {0};
		struct maker m = {.value = "whole", .wait_fd = -1, .told_fd = -1};
		struct err err = {0};
		int keep_open, status;
		pid_t pid = start_stuck_builder(&f, KEY, &keep_open);

		cr_expect_eq(count_tmp(&f), 1);
		cr_assert_eq(kill(pid, SIGKILL), 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert_eq(ensure(&f, next_keys[i], &m, &e, &err), 0, "%s", err.msg);
		cr_expect_str_eq(cache_entry_made_of(&e, "value"), "whole");
		cr_expect_eq(count_tmp(&f), 0, "case %zu", i);
		(void)close(keep_open);
	}
}

Test(cache, a_living_builder_of_another_key_keeps_its_directory)
{
	auto_fixture struct fixture f = fixture_new();
	auto_cache_entry struct cache_entry e = {0}, other = {0};
	struct maker m = {.value = "whole", .wait_fd = -1, .told_fd = -1};
	struct err err = {0};
	int keep_open, status = -1;
	pid_t pid = start_stuck_builder(&f, OTHER, &keep_open);

	cr_assert_eq(ensure(&f, KEY, &m, &e, &err), 0, "%s", err.msg);
	cr_expect_eq(count_tmp(&f), 1);
	(void)close(keep_open); /* lets it go on */
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
	cr_assert_eq(cache_lookup(&f.host, "kind", OTHER, &other, &err), 1);
	cr_expect_str_eq(cache_entry_made_of(&other, "value"), "half");
}

static void remember(void *data, const char *text)
{
	(void)snprintf(data, 256, "%s", text);
	if (strncmp(text, "waiting", 7) == 0)
		cr_expect_neq(strstr(text, ", which is making the thing"), NULL, "%s", text);
}

Test(cache, waiting_for_another_builder_is_said)
{
	auto_fixture struct fixture f = fixture_new();
	int keep_open, status, said[2];
	pid_t pid = start_stuck_builder(&f, KEY, &keep_open);
	char text[256] = "";

	cr_assert_eq(pipe(said), 0);
	pid_t waiter = fork();
	if (waiter == 0) {
		struct maker m = {.value = "v", .wait_fd = -1, .told_fd = -1};
		struct asset_progress progress = {.say = remember, .data = text};
		struct cache_build build = {
			.make = make, .data = &m, .what = "the thing", .progress = &progress};
		struct cache_entry e = {0};

		(void)close(keep_open);
		int r = cache_ensure(&f.host, "kind", KEY, &build, &e, NULL);
		cr_assert_eq(write(said[1], text, sizeof(text)), (ssize_t)sizeof(text));
		_exit(r == 0 ? 0 : 1);
	}
	/* Whether the waiter came before or after this is a race either outcome of which is right;
	 * what must hold is that it got the first one's entry. */
	(void)close(keep_open);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(waitpid(waiter, &status, 0), waiter);
	cr_expect_eq(status, 0);
	cr_assert_eq(read(said[0], text, sizeof(text)), (ssize_t)sizeof(text));
	(void)close(said[0]);
	(void)close(said[1]);
}
