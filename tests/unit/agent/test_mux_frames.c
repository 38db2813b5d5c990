#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "mux_rig.h"

struct bad_frame {
	const char *what;
	uint32_t id;
	uint8_t type;
	uint16_t len;
	const char *why;
};

Test(mux, a_malformed_frame_ends_the_link_with_a_reason_and_a_new_sync_mends_it)
{
	static const struct bad_frame cases[] = {
		{"type 0", 0, 0, 0, "frame of unknown type 0"},
		{"type 12", 0, 12, 0, "frame of unknown type 12"},
		{"guest's frame", 0, MUX_SYNC_ACK, 17, "SYNC_ACK frame from the wrong side"},
		{"guest's frame", 0, MUX_QUIESCED, 0, "QUIESCED frame from the wrong side"},
		{"short SYNC", 0, MUX_SYNC, 3, "SYNC frame with 3 bytes"},
		{"short OPEN", 2, MUX_OPEN, 3, "OPEN frame with 3 bytes"},
		{"odd id", 3, MUX_OPEN, 4, "OPEN of stream 3, which is not the peer's to open"},
		{"id 0", 0, MUX_OPEN, 4, "OPEN of stream 0, which is not the peer's to open"},
		{"open twice", 2, MUX_OPEN, 4, "OPEN of stream 2, which is not the peer's to open"},
		{"opened twice", 2, MUX_OPENED, 0, "OPENED of stream 2, which is open already"},
		{"refused late", 2, MUX_REFUSED, 2, "REFUSED of stream 2, which is open already"},
		{"empty DATA", 2, MUX_DATA, 0, "DATA frame with 0 bytes"},
		{"fat DATA", 2, MUX_DATA, MUX_PAYLOAD_MAX + 1, "DATA frame with 16385 bytes"},
		{"fat FIN", 2, MUX_FIN, 1, "FIN frame with 1 bytes"},
		{"credit", 2, MUX_WINDOW_ADD, 4, "stream 2 got credit for more than its window"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct bad_frame *c = &cases[i];
		static const uint8_t payload[MUX_PAYLOAD_MAX + 1] = {[0] = 1};
		uint8_t port[4];
		struct mux_rig r;

		mux_rig_raw(&r);
		mux_rig_put_sync(&r, false);
		store_le32(port, 4998);
		mux_rig_put_frame(&r, 2, MUX_OPEN, port, 4);
		RUN_UNTIL(&r, r.guest.n_accepted == 1);
		mux_rig_put_frame(&r, c->id, c->type, payload, c->len);
		RUN_UNTIL(&r, r.guest.lost);
		cr_expect_str_eq(r.guest.why, c->why, "%s: '%s'", c->what, r.guest.why);
		cr_expect_eq(r.guest.mux->n_streams, 0);
		mux_rig_put_sync(&r, false);
		RUN_UNTIL(&r, r.guest.synced == 2);
		mux_rig_free(&r);
	}
}

Test(mux, more_data_than_the_window_ends_the_link)
{
	static const uint8_t block[MUX_PAYLOAD_MAX];
	struct mux_rig r;
	uint8_t port[4];

	mux_rig_raw(&r);
	mux_rig_put_sync(&r, false);
	store_le32(port, 4998);
	mux_rig_put_frame(&r, 2, MUX_OPEN, port, 4);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	for (int i = 0; i < 64 && !r.guest.lost; i++) {
		mux_rig_put_frame(&r, 2, MUX_DATA, block, sizeof(block));
		mux_rig_run_dry(&r);
	}
	cr_expect_eq(r.guest.lost, 1);
	cr_expect_str_eq(r.guest.why, "stream 2 got more than its window");
	mux_rig_free(&r);
}

/* The peer has a limit of its own, which a hostile one does not keep. */
Test(mux, one_stream_more_than_the_limit_is_refused_and_the_others_stay)
{
	uint8_t answer[256];
	struct mux_rig r;
	uint8_t port[4];

	mux_rig_raw(&r);
	mux_rig_put_sync(&r, false);
	store_le32(port, 4998);
	for (int i = 0; i < (int)MUX_STREAMS_MAX; i++) {
		mux_rig_put_frame(&r, 2 + 2 * (uint32_t)i, MUX_OPEN, port, 4);
		RUN_UNTIL(&r, r.guest.n_accepted == i + 1);
		/* Answers that nobody takes would end the reading of requests. */
		while (read(r.fds[0], answer, sizeof(answer)) > 0)
			continue;
	}
	mux_rig_run_dry(&r);
	while (read(r.fds[0], answer, sizeof(answer)) > 0)
		continue;
	mux_rig_put_frame(&r, 2 + 2 * MUX_STREAMS_MAX, MUX_OPEN, port, 4);
	mux_rig_run_dry(&r);
	cr_assert_eq(read(r.fds[0], answer, sizeof(answer)), MUX_HEAD_SIZE + 2);
	cr_expect_eq(load_le32(answer), 2 + 2 * MUX_STREAMS_MAX);
	cr_expect_eq(answer[4], MUX_REFUSED);
	cr_expect_eq(load_le16(answer + MUX_HEAD_SIZE), EMFILE);
	cr_expect_eq(r.guest.n_accepted, (int)MUX_STREAMS_MAX);
	cr_expect_eq(r.guest.mux->n_streams, MUX_STREAMS_MAX);
	cr_expect_eq(r.guest.lost, 0);
	mux_rig_free(&r);
}

Test(mux, frames_of_streams_nobody_knows_any_more_are_ignored)
{
	static const uint8_t types[] = {MUX_DATA, MUX_WINDOW_ADD, MUX_FIN, MUX_RESET, MUX_OPENED};
	static const uint16_t sizes[] = {5, 4, 0, 0, 0};
	struct mux_rig r;

	mux_rig_raw(&r);
	mux_rig_put_sync(&r, false);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		mux_rig_put_frame(&r, 40, types[i], "xxxxx", sizes[i]);
	mux_rig_run_dry(&r);
	cr_expect_eq(r.guest.synced, 1);
	cr_expect_eq(r.guest.lost, 0);
	mux_rig_free(&r);
}

Test(mux, a_guest_finds_the_sync_behind_half_a_frame_of_an_older_host)
{
	struct mux_rig r;

	mux_rig_raw(&r);
	cr_assert_eq(write(r.fds[0], "\2\0\0\0\6\0\0\0garbage\0\0\0\0\1\0", 21), 21);
	mux_rig_put_sync(&r, false);
	RUN_UNTIL(&r, r.guest.synced == 1);
	mux_rig_free(&r);
}

Test(mux, keeping_the_streams_of_a_link_that_never_was_is_refused)
{
	struct mux_rig r;

	mux_rig_raw(&r);
	mux_rig_put_sync(&r, true);
	RUN_UNTIL(&r, r.guest.lost);
	cr_expect_str_eq(r.guest.why, "peer wants to keep the streams of another link");
	mux_rig_free(&r);
}

Test(mux, a_peer_of_another_version_is_answered_with_ours_and_refused)
{
	uint8_t sync[18] = {MUX_VERSION + 1};
	uint8_t answer[MUX_HEAD_SIZE + 17];
	struct mux_rig r;

	mux_rig_raw(&r);
	mux_rig_put_frame(&r, 0, MUX_SYNC, sync, sizeof(sync));
	RUN_UNTIL(&r, r.guest.lost);
	cr_expect_str_eq(r.guest.why, "peer speaks mux version 2, this is version 1");
	cr_assert_eq(read(r.fds[0], answer, sizeof(answer)), (ssize_t)sizeof(answer));
	cr_expect_eq(answer[4], MUX_SYNC_ACK);
	cr_expect_eq(answer[MUX_HEAD_SIZE], MUX_VERSION);
	mux_rig_free(&r);
}

Test(mux, a_host_that_asks_and_never_reads_is_not_answered_without_bound)
{
	struct mux_rig r;
	uint8_t port[4];
	uint8_t raw[MUX_HEAD_SIZE + 4] = {[4] = MUX_OPEN, [6] = 4};
	size_t sent = 0;
	uint32_t id = 2;

	mux_rig_raw(&r);
	r.guest.refuse = ECONNREFUSED;
	mux_rig_put_sync(&r, false);
	store_le32(port, 4998);
	for (int idle = 0; idle < 3;) {
		store_le32(raw, id);
		ssize_t n = write(r.fds[0], raw, sizeof(raw));
		if (n != (ssize_t)sizeof(raw)) {
			/* A half frame would end the test, not the guest. */
			cr_assert_lt(n, 0);
			idle++;
			mux_rig_run_dry(&r);
			continue;
		}
		idle = 0;
		id += 2;
		cr_assert_lt(++sent, 1000000, "the guest takes requests for ever");
	}
	cr_expect_lt(r.guest.mux->ctl.bytes, 2 * MUX_CTL_HIGH + MUX_RX_SIZE * 2);
	cr_expect_eq(r.guest.lost, 0);
	mux_rig_free(&r);
}

Test(mux, a_sync_behind_more_garbage_than_one_read_takes_is_found_without_new_bytes)
{
	enum { GARBAGE = MUX_RX_SIZE + 5000 };
	static uint8_t bytes[GARBAGE + MUX_HEAD_SIZE + MUX_SYNC_SIZE];
	struct mux_rig r;

	mux_rig_raw(&r);
	mux_rig_put_sync(&r, false);
	RUN_UNTIL(&r, r.guest.synced == 1);
	memset(bytes, 0xee, GARBAGE);
	bytes[GARBAGE] = bytes[GARBAGE + 1] = bytes[GARBAGE + 2] = bytes[GARBAGE + 3] = 0;
	bytes[GARBAGE + 4] = MUX_SYNC;
	bytes[GARBAGE + 5] = 0;
	store_le16(bytes + GARBAGE + 6, MUX_SYNC_SIZE);
	bytes[GARBAGE + MUX_HEAD_SIZE] = MUX_VERSION;
	cr_assert_eq(write(r.fds[0], bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	RUN_UNTIL(&r, r.guest.synced == 2);
	cr_expect_eq(r.guest.lost, 1);
	mux_rig_free(&r);
}
