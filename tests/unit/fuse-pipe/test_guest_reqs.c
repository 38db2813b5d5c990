#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "frame.h"
#include "guest_reqs.h"

#define HEAD 8
#define RESENT 1

static void add(struct guest_reqs *reqs, uint64_t unique, bool wants_answer)
{
	struct guest_req *req = guest_req_new(reqs, HEAD + 8);

	memset(req->frame, 0, HEAD + 8);
	store_le64(req->frame + HEAD, unique);
	req->len = HEAD + 8;
	req->unique = unique;
	req->wants_answer = wants_answer;
	guest_reqs_add(reqs, req);
}

/* "2 4r 6": what would be sent, in order; r = marked as sent before. */
static void expect_unsent(const struct guest_reqs *reqs, const char *want)
{
	auto_buf struct buf got = BUF_INIT(4096);
	struct iovec iov[16];
	size_t n = guest_reqs_iov(reqs, iov, ARRAY_SIZE(iov));

	for (size_t i = 0; i < n; i++) {
		const uint8_t *frame = iov[i].iov_base;

		buf_addf(&got, "%s%ju%s", i ? " " : "", (uintmax_t)load_le64(frame + HEAD),
			 load_le16(frame + 4) & RESENT ? "r" : "");
	}
	cr_expect_str_eq(buf_str(&got), want);
}

Test(guest_reqs, are_sent_in_the_order_they_came)
{
	struct guest_reqs reqs = {0};
	struct iovec iov[2];

	for (uint64_t u = 2; u <= 8; u += 2)
		add(&reqs, u, true);
	expect_unsent(&reqs, "2 4 6 8");
	cr_expect_eq(guest_reqs_iov(&reqs, iov, 2), 2);
	guest_reqs_sent(&reqs, 2 * (HEAD + 8) + 5);
	cr_expect_eq(guest_reqs_iov(&reqs, iov, 2), 2);
	cr_expect_eq(iov[0].iov_len, HEAD + 8 - 5, "the rest of a frame of which a part is sent");
	guest_reqs_sent(&reqs, 2 * (HEAD + 8) - 5);
	expect_unsent(&reqs, "");
	cr_expect_eq(reqs.bytes, 4 * (HEAD + 8));
	guest_reqs_free(&reqs);
}

Test(guest_reqs, what_wants_no_answer_is_gone_once_it_is_sent)
{
	struct guest_reqs reqs = {0};

	add(&reqs, 2, false);
	add(&reqs, 4, true);
	guest_reqs_sent(&reqs, 3);
	cr_expect_not_null(guest_reqs_find(&reqs, 2));
	guest_reqs_sent(&reqs, HEAD + 8 - 3);
	cr_expect_null(guest_reqs_find(&reqs, 2));
	cr_expect_not_null(guest_reqs_find(&reqs, 4));
	guest_reqs_free(&reqs);
}

Test(guest_reqs, what_was_sent_even_in_part_is_marked_when_it_is_sent_again)
{
	struct guest_reqs reqs = {0};

	for (uint64_t u = 2; u <= 8; u += 2)
		add(&reqs, u, true);
	guest_reqs_sent(&reqs, 2 * (HEAD + 8) + 1);
	guest_reqs_remove(&reqs, guest_reqs_find(&reqs, 4));
	guest_reqs_rewind(&reqs, RESENT);
	expect_unsent(&reqs, "2r 6r 8");
	guest_reqs_free(&reqs);
}

Test(guest_reqs, are_found_among_many_and_removed_anywhere)
{
	struct guest_reqs reqs = {0};

	for (uint64_t u = 2; u <= 20000; u += 2)
		add(&reqs, u, true);
	guest_reqs_sent(&reqs, 10000 * (HEAD + 8));
	for (uint64_t u = 20000; u >= 4; u -= 4)
		guest_reqs_remove(&reqs, guest_reqs_find(&reqs, u));
	cr_expect_null(guest_reqs_find(&reqs, 20000));
	cr_expect_not_null(guest_reqs_find(&reqs, 19998));
	cr_expect_eq(reqs.bytes, 5000 * (HEAD + 8));
	guest_reqs_free(&reqs);
}

Test(guest_reqs, a_large_buffer_is_used_again)
{
	struct guest_reqs reqs = {0};
	struct guest_req *req = guest_req_new(&reqs, 1u << 20);
	const struct guest_req *first = req;

	req->len = HEAD;
	guest_reqs_add(&reqs, req);
	guest_reqs_remove(&reqs, req);
	req = guest_req_new(&reqs, 1u << 20);
	cr_expect_eq(req, first);
	req->len = HEAD;
	guest_reqs_add(&reqs, req);
	guest_reqs_free(&reqs);
}
