#include "fp_state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "run.h"

static void free_state_p(struct fp_state **s)
{
	fp_state_free(*s);
}
#define auto_state __attribute__((cleanup(free_state_p)))

static struct fp_state *open_at(const char *path)
{
	struct fp_state *s = NULL;
	struct err err = {0};
	int fd = -1;

	if (path)
		cr_assert_eq(fp_state_file(path, &fd, &err), 0, "%s", err.msg);
	cr_assert_eq(fp_state_open(fd, &s, &err), 0, "%s", err.msg);
	return s;
}

static const struct fp_inode node = {.id = 0x500000007, .dev = 66, .ino = 1234, .type = S_IFDIR};
static const struct fp_place place = {.handle = {.bytes = 8, .type = 1, .data = "handle!"}};

Test(fp_state, a_sealed_node_comes_back)
{
	auto_state struct fp_state *s = open_at(NULL);
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_record r;
	size_t len = fp_seal_node(s, &node, &place, key, value);

	cr_assert_leq(len, FP_RECORD_MAX);
	cr_assert_eq(fp_unseal(s, key, value, len, &r), 0);
	cr_expect(!r.is_file && r.id == node.id && r.st.st_dev == 66 && r.st.st_ino == 1234);
	cr_expect(r.st.st_mode == S_IFDIR && r.place.handle.bytes == 8 && r.place.handle.type == 1);
	cr_expect_eq(memcmp(r.place.handle.data, "handle!", 8), 0);
}

Test(fp_state, the_longest_handle_and_name_fit)
{
	auto_state struct fp_state *s = open_at(NULL);
	struct fp_place longest = {
		.by_name = true, .handle = {.bytes = FP_HANDLE_MAX}, .parent = 77};
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_record r;
	memset(longest.name, 'n', NAME_MAX);
	size_t len = fp_seal_node(s, &node, &longest, key, value);

	cr_assert_leq(len, FP_RECORD_MAX);
	cr_assert_eq(fp_unseal(s, key, value, len, &r), 0);
	cr_expect(r.place.by_name && r.place.parent == 77);
	cr_expect_str_eq(r.place.name, longest.name);
}

Test(fp_state, a_sealed_file_comes_back)
{
	auto_state struct fp_state *s = open_at(NULL);
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_record r;
	size_t len = fp_seal_file(s, 99, node.id, O_RDWR, key, value);

	cr_assert_eq(fp_unseal(s, key, value, len, &r), 0);
	cr_expect(r.is_file && r.id == 99 && r.node == node.id && r.flags == O_RDWR);
}

Test(fp_state, whatever_is_changed_is_refused)
{
	auto_state struct fp_state *s = open_at(NULL);
	auto_state struct fp_state *other = open_at(NULL);
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_record r;
	size_t len = fp_seal_node(s, &node, &place, key, value);

	for (size_t i = 0; i < len; i++) {
		value[i] ^= 1;
		cr_expect_eq(fp_unseal(s, key, value, len, &r), -EBADMSG, "value %zu", i);
		value[i] ^= 1;
	}
	for (size_t i = 0; i < FP_KEY_SIZE; i++) {
		key[i] ^= 1;
		cr_expect_eq(fp_unseal(s, key, value, len, &r), -EBADMSG, "key %zu", i);
		key[i] ^= 1;
	}
	for (size_t i = 0; i < len; i++)
		cr_expect_eq(fp_unseal(s, key, value, i, &r), -EBADMSG, "length %zu", i);
	cr_expect_eq(fp_unseal(s, key, value, FP_RECORD_MAX + 1, &r), -EBADMSG);
	cr_expect_eq(fp_unseal(other, key, value, len, &r), -EBADMSG, "another volume's");
	cr_expect_eq(fp_unseal(s, key, value, len, &r), 0);
}

Test(fp_state, the_key_and_the_log_outlive_the_process)
{
	auto_tmpdir char *dir = tmpdir_new("state");
	auto_free char *path = path_join(dir, "state");
	static const uint8_t session[FP_SESSION_SIZE] = {1};
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_record r;
	int result = 0;

	struct fp_state *s = open_at(path);
	cr_expect_not(fp_state_session(s, session));
	size_t len = fp_seal_node(s, &node, &place, key, value);
	fp_log_end(s, fp_log_begin(s, 10), 0);
	fp_log_end(s, fp_log_begin(s, 12), -EEXIST);
	(void)fp_log_begin(s, 14);
	fp_state_free(s);

	s = open_at(path);
	cr_expect(fp_state_session(s, session));
	cr_expect_eq(fp_unseal(s, key, value, len, &r), 0);
	cr_expect(fp_log_find(s, 10, &result) == FP_LOG_DONE && result == 0);
	cr_expect(fp_log_find(s, 12, &result) == FP_LOG_DONE && result == -EEXIST);
	cr_expect_eq(fp_log_find(s, 14, &result), FP_LOG_STARTED);
	cr_expect_eq(fp_log_find(s, 16, &result), FP_LOG_NEW);
	cr_expect_not(fp_state_session(s, (const uint8_t[FP_SESSION_SIZE]){2}));
	cr_expect_eq(fp_log_find(s, 10, &result), FP_LOG_NEW, "another mount's numbers");
	fp_state_free(s);
}

/* The next process writes behind what the last one noted, which may come again any time. */
Test(fp_state, the_log_goes_on_where_the_last_process_stopped)
{
	auto_tmpdir char *dir = tmpdir_new("state");
	auto_free char *path = path_join(dir, "state");
	int result = 1;

	for (uint64_t unique = 2; unique <= 2 * 100; unique += 2) {
		struct fp_state *s = open_at(path);

		fp_log_end(s, fp_log_begin(s, unique), 0);
		fp_state_free(s);
	}
	struct fp_state *s = open_at(path);
	for (uint64_t unique = 2; unique <= 2 * 100; unique += 2)
		cr_expect_eq(fp_log_find(s, unique, &result), FP_LOG_DONE, "%zu", (size_t)unique);
	fp_state_free(s);
}

/* Begun, killed, done when it came again. */
Test(fp_state, what_is_done_counts_more_than_that_it_was_begun)
{
	auto_state struct fp_state *s = open_at(NULL);
	int result = 1;

	(void)fp_log_begin(s, 10);
	fp_log_end(s, fp_log_begin(s, 10), 0);
	cr_expect_eq(fp_log_find(s, 10, &result), FP_LOG_DONE);
	cr_expect_eq(result, 0);
}

Test(fp_state, the_log_is_bounded)
{
	auto_state struct fp_state *s = open_at(NULL);
	int result;

	for (uint64_t unique = 2; unique <= 2 * 5000; unique += 2)
		fp_log_end(s, fp_log_begin(s, unique), 0);
	cr_expect_eq(fp_log_find(s, 2, &result), FP_LOG_NEW, "the oldest is gone");
	cr_expect_eq(fp_log_find(s, 2 * 5000, &result), FP_LOG_DONE);
}

/* Its slot has been another request's meanwhile: that one's end is not known. */
Test(fp_state, the_end_of_a_request_that_took_too_long_is_nobody_elses)
{
	auto_state struct fp_state *s = open_at(NULL);
	int result;

	struct fp_log_ticket slow = fp_log_begin(s, 2);
	for (uint64_t unique = 4; unique <= 2 * 4097; unique += 2)
		(void)fp_log_begin(s, unique);
	fp_log_end(s, slow, 0);
	for (uint64_t unique = 4; unique <= 2 * 4097; unique += 2)
		cr_assert_eq(fp_log_find(s, unique, &result), FP_LOG_STARTED, "%zu",
			     (size_t)unique);
}

Test(fp_state, one_process_at_a_time_and_no_other_file)
{
	auto_tmpdir char *dir = tmpdir_new("state");
	auto_free char *path = path_join(dir, "state"), *wrong = path_join(dir, "wrong");
	auto_state struct fp_state *s = open_at(path);
	struct err err = {0};
	int fd = -1;
	struct stat st;

	cr_assert_not_null(s);
	cr_expect_eq(fp_state_file(path, &fd, &err), -EBUSY);
	cr_expect(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	cr_assert_eq(file_replace(wrong, "text", 4, 0600, &err), 0);
	cr_expect_eq(fp_state_file(wrong, &fd, &err), -EINVAL);
	cr_assert_eq(unlink(wrong), 0);
	cr_assert_eq(symlink("elsewhere", wrong), 0);
	cr_expect_eq(fp_state_file(wrong, &fd, &err), -ELOOP);
	cr_expect_lt(fp_state_file(dir, &fd, &err), 0);
	cr_expect_eq(fd, -1);
}

Test(fp_state, a_state_for_another_directory_keeps_the_session_and_nothing_else)
{
	auto_tmpdir char *dir = tmpdir_new("state");
	auto_free char *path = path_join(dir, "s");
	static const uint8_t session[FP_SESSION_SIZE] = "the mount";
	uint8_t key[FP_KEY_SIZE], value[FP_RECORD_MAX];
	struct fp_record r;
	struct err err = {0};
	int result = 0, fd = -1;
	struct fp_state *s = open_at(path);
	size_t len = fp_seal_node(s, &node, &place, key, value);

	(void)fp_state_session(s, session);
	fp_log_end(s, fp_log_begin(s, 42), 0);
	fp_state_free(s);
	cr_assert_eq(fp_state_file(path, &fd, &err), 0, "%s", err.msg);
	cr_assert_eq(fp_state_rekey(fd, &err), 0, "%s", err.msg);
	cr_assert_eq(fp_state_open(fd, &s, &err), 0, "%s", err.msg);
	cr_expect_eq(fp_unseal(s, key, value, len, &r), -EBADMSG);
	cr_expect_eq(fp_log_find(s, 42, &result), FP_LOG_NEW);
	cr_expect(fp_state_session(s, session), "its mount goes on");
	fp_state_free(s);
}

Test(fp_state, only_a_state_is_given_another_key)
{
	auto_tmpdir char *dir = tmpdir_new("state");
	auto_free char *path = path_join(dir, "s");
	struct err err = {0};
	int fd = -1;

	cr_assert_eq(fp_state_file(path, &fd, &err), 0, "%s", err.msg);
	cr_expect_eq(fp_state_rekey(fd, &err), -EINVAL);
	cr_expect_str_eq(err.msg, "not a state file of fuse-pipe");
	(void)close(fd);
}
