#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "frame.h"
#include "io.h"
#include "mux_rig.h"
#include "xalloc.h"

struct opened {
	int calls;
	int code;
};

static void on_opened(void *data, int local, int code)
{
	struct opened *o = data;

	cr_assert_geq(local, 0);
	o->calls++;
	o->code = code;
}

/* Opens a stream from `from`; returns our end of it. */
static int open_stream(struct end *from, struct opened *o)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	cr_assert_eq(mux_open(from->mux, 4998, pair[1], o ? on_opened : NULL, o, NULL), 0);
	return pair[0];
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* Bytes read until EAGAIN or the end; *ret_end tells which. */
static size_t slurp(int fd, char *to, size_t size, bool *ret_end)
{
	size_t at = 0;

	*ret_end = false;
	while (at < size) {
		ssize_t n = read(fd, to + at, size - at);

		if (n == 0)
			*ret_end = true;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	return at;
}

static void echo_once(int from, int to, const char *text)
{
	cr_assert_eq(write(from, text, strlen(text)), (ssize_t)strlen(text));
	(void)to;
}

Test(mux, a_stream_carries_bytes_both_ways_whoever_opened_it)
{
	struct mux_rig r;
	char text[16] = "";
	bool end;

	mux_rig_new(&r);
	for (int i = 0; i < 2; i++) {
		struct end *from = i ? &r.guest : &r.host, *to = i ? &r.host : &r.guest;
		struct opened o = {0};
		auto_close int ours = open_stream(from, &o);

		RUN_UNTIL(&r, to->n_accepted == 1 && o.calls == 1);
		cr_expect_eq(o.code, 0);
		echo_once(ours, to->accepted[0], "ping");
		RUN_UNTIL(&r, readable(to->accepted[0]));
		cr_expect_eq(slurp(to->accepted[0], text, sizeof(text), &end), 4);
		cr_expect_str_eq(text, "ping");
		echo_once(to->accepted[0], ours, "pong");
		RUN_UNTIL(&r, readable(ours));
		cr_expect_eq(slurp(ours, text, sizeof(text), &end), 4);
		cr_expect_str_eq(text, "pong");
	}
	mux_rig_free(&r);
}

Test(mux, a_thousand_streams_each_keep_their_own_bytes)
{
	struct mux_rig r;
	int ours[1000];

	mux_rig_new(&r);
	for (int i = 0; i < 1000; i++) {
		char text[32];
		int n = snprintf(text, sizeof(text), "stream %d", i);

		ours[i] = open_stream(&r.host, NULL);
		cr_assert_eq(write(ours[i], text, (size_t)n), n);
	}
	RUN_UNTIL(&r, r.guest.n_accepted == 1000);
	mux_rig_run_dry(&r);
	for (int i = 0; i < 1000; i++) {
		char want[32], got[32] = "";
		bool end;

		(void)snprintf(want, sizeof(want), "stream %d", i);
		cr_assert_eq(slurp(r.guest.accepted[i], got, sizeof(got), &end), strlen(want));
		cr_assert_str_eq(got, want);
		(void)close(ours[i]);
	}
	mux_rig_free(&r);
}

Test(mux, more_streams_than_the_limit_are_refused_and_the_link_stays)
{
	struct mux_rig r;
	int ours[MUX_STREAMS_MAX];
	int pair[2];
	struct err err = {0};

	mux_rig_new(&r);
	for (unsigned int i = 0; i < MUX_STREAMS_MAX; i++)
		ours[i] = open_stream(&r.host, NULL);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_expect_eq(mux_open(r.host.mux, 4998, pair[1], NULL, NULL, &err), -EMFILE);
	cr_expect_str_eq(err.msg, "channel has 1024 streams open, the limit");
	RUN_UNTIL(&r, r.guest.n_accepted == (int)MUX_STREAMS_MAX);
	cr_expect_eq(r.host.lost + r.guest.lost, 0);
	for (unsigned int i = 0; i < MUX_STREAMS_MAX; i++)
		(void)close(ours[i]);
	(void)close(pair[0]);
	mux_rig_free(&r);
}

/* Writes as much as is taken until nothing moves any more; returns how much that was. */
static size_t stuff(struct mux_rig *r, int fd)
{
	static char block[65536];
	size_t total = 0;

	for (int idle = 0; idle < 3;) {
		ssize_t n = write(fd, block, sizeof(block));

		idle = n > 0 ? 0 : idle + 1;
		total += n > 0 ? (size_t)n : 0;
		mux_rig_run_dry(r);
	}
	return total;
}

Test(mux, a_reader_that_does_not_read_stops_its_own_stream_and_no_other)
{
	struct mux_rig r;
	char text[16] = "";
	bool end;

	mux_rig_new(&r);
	auto_close int stuck = open_stream(&r.host, NULL);
	auto_close int lively = open_stream(&r.host, NULL);
	RUN_UNTIL(&r, r.guest.n_accepted == 2);
	size_t taken = stuff(&r, stuck);
	/* The window, and what three socket buffers hold: bounded, whatever the kernel's sizes. */
	cr_expect_gt(taken, MUX_WINDOW / 2);
	cr_expect_lt(taken, 8u << 20);
	struct mux_stream *st = mux_stream_find(r.host.mux, 2);
	cr_expect_eq(st->credit, 0);
	echo_once(lively, -1, "alive");
	RUN_UNTIL(&r, readable(r.guest.accepted[1]));
	cr_expect_eq(slurp(r.guest.accepted[1], text, sizeof(text), &end), 5);
	cr_expect_str_eq(text, "alive");

	/* Once it reads, all of it arrives and the credit is whole again but for one step. */
	size_t got = 0;
	char *sink = xmalloc(1u << 20);
	while (got < taken) {
		RUN_UNTIL(&r, readable(r.guest.accepted[0]));
		got += slurp(r.guest.accepted[0], sink, 1u << 20, &end);
	}
	free(sink);
	mux_rig_run_dry(&r);
	cr_expect_eq(got, taken);
	cr_expect_gt(st->credit, MUX_WINDOW - MUX_WINDOW / 4);
	cr_expect_leq(st->credit, MUX_WINDOW);
	mux_rig_free(&r);
}

Test(mux, half_a_close_lets_the_other_half_finish)
{
	struct mux_rig r;
	char text[16] = "";
	bool end;

	mux_rig_new(&r);
	auto_close int ours = open_stream(&r.host, NULL);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	echo_once(ours, -1, "question");
	cr_assert_eq(shutdown(ours, SHUT_WR), 0);
	RUN_UNTIL(&r, readable(r.guest.accepted[0]));
	mux_rig_run_dry(&r);
	cr_expect_eq(slurp(r.guest.accepted[0], text, sizeof(text), &end), 8);
	cr_expect(end);
	echo_once(r.guest.accepted[0], -1, "answer");
	(void)shutdown(r.guest.accepted[0], SHUT_WR);
	RUN_UNTIL(&r, readable(ours));
	mux_rig_run_dry(&r);
	cr_expect_eq(slurp(ours, text, sizeof(text), &end), 6);
	cr_expect(end);
	cr_expect_eq(r.host.mux->n_streams + r.guest.mux->n_streams, 0);
	mux_rig_free(&r);
}

Test(mux, a_writer_that_closes_at_once_loses_none_of_its_bytes)
{
	struct mux_rig r;
	size_t sent, got = 0;
	char *sink = xmalloc(1u << 20);
	bool end = false;

	mux_rig_new(&r);
	auto_close int ours = open_stream(&r.host, NULL);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	sent = stuff(&r, r.guest.accepted[0]);
	(void)close(r.guest.accepted[0]);
	r.guest.n_accepted = 0;
	while (!end) {
		RUN_UNTIL(&r, readable(ours));
		got += slurp(ours, sink, 1u << 20, &end);
	}
	free(sink);
	mux_rig_run_dry(&r);
	cr_expect_eq(got, sent);
	cr_expect_eq(r.host.mux->n_streams + r.guest.mux->n_streams, 0);
	mux_rig_free(&r);
}

/* As a client of exec that is killed while its command does not read. */
Test(mux, a_hosts_client_that_is_gone_ends_its_stream_however_much_of_it_is_unread)
{
	static const struct {
		const char *what;
		bool credit_left;
	} cases[] = {{"no credit", false}, {"some credit", true}};
	static char bytes[MUX_WINDOW - 4096];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mux_rig r;

		mux_rig_new(&r);
		int ours = open_stream(&r.host, NULL);
		RUN_UNTIL(&r, r.guest.n_accepted == 1);
		if (!cases[i].credit_left)
			(void)stuff(&r, ours);
		for (size_t sent = 0; cases[i].credit_left && sent < sizeof(bytes);) {
			ssize_t n = write(ours, bytes + sent, sizeof(bytes) - sent);

			sent += n > 0 ? (size_t)n : 0;
			mux_rig_run_dry(&r);
		}
		cr_assert_eq(mux_stream_find(r.host.mux, 2)->credit > 0, cases[i].credit_left);
		cr_assert_gt(mux_stream_find(r.guest.mux, 2)->in.len, 0);
		(void)close(ours);
		mux_rig_run_dry(&r);
		cr_expect_eq(r.host.mux->n_streams, 0, "%s", cases[i].what);
		cr_expect_eq(r.guest.mux->n_streams, 0, "%s", cases[i].what);
		mux_rig_free(&r);
	}
}

Test(mux, a_peer_that_is_gone_resets_the_stream_on_both_sides)
{
	struct mux_rig r;

	mux_rig_new(&r);
	int ours = open_stream(&r.host, NULL);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	(void)close(ours);
	RUN_UNTIL(&r, r.host.mux->n_streams + r.guest.mux->n_streams == 0);
	cr_expect(readable(r.guest.accepted[0]));
	cr_expect_eq(r.host.lost + r.guest.lost, 0);
	mux_rig_free(&r);
}

Test(mux, a_refused_stream_tells_its_errno_once)
{
	struct mux_rig r;
	struct opened o = {0};

	mux_rig_new(&r);
	r.guest.refuse = ECONNREFUSED;
	auto_close int ours = open_stream(&r.host, &o);
	cr_assert_geq(ours, 0);
	RUN_UNTIL(&r, o.calls);
	cr_expect_eq(o.code, -ECONNREFUSED);
	mux_rig_run_dry(&r);
	cr_expect_eq(o.calls, 1);
	cr_expect_eq(r.host.mux->n_streams, 0);
	mux_rig_free(&r);
}

Test(mux, a_quiet_link_carries_nothing_until_the_next_sync_and_keeps_its_streams)
{
	struct mux_rig r;
	char text[16] = "";
	bool end;

	mux_rig_new(&r);
	auto_close int ours = open_stream(&r.host, NULL);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	cr_assert_eq(mux_quiesce(r.host.mux, NULL), 0);
	RUN_UNTIL(&r, r.host.quiesced);
	echo_once(ours, -1, "one");
	echo_once(r.guest.accepted[0], -1, "two");
	mux_rig_run_dry(&r);
	cr_expect_not(readable(r.guest.accepted[0]));
	cr_expect_not(readable(ours));

	cr_assert_eq(mux_sync(r.host.mux, true, NULL), 0);
	RUN_UNTIL(&r, readable(r.guest.accepted[0]) && readable(ours));
	cr_expect_eq(slurp(ours, text, sizeof(text), &end), 3);
	cr_expect_eq(r.host.synced, 2);
	cr_expect_eq(r.guest.synced, 2);
	cr_expect_eq(r.guest.fresh, 1);
	mux_rig_free(&r);
}

Test(mux, a_fresh_sync_resets_every_stream_and_new_ones_work)
{
	struct mux_rig r;
	struct opened o = {0};
	bool end;
	char text[4];

	mux_rig_new(&r);
	auto_close int old = open_stream(&r.host, NULL);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	cr_assert_eq(mux_quiesce(r.host.mux, NULL), 0);
	RUN_UNTIL(&r, r.host.quiesced);
	cr_assert_eq(mux_sync(r.host.mux, false, NULL), 0);
	RUN_UNTIL(&r, r.guest.fresh == 2);
	cr_expect_eq(slurp(old, text, sizeof(text), &end), 0);
	cr_expect(end);
	(void)slurp(r.guest.accepted[0], text, sizeof(text), &end);
	cr_expect(end);
	auto_close int fresh = open_stream(&r.host, &o);
	cr_assert_geq(fresh, 0);
	RUN_UNTIL(&r, o.calls && r.guest.n_accepted == 2);
	cr_expect_eq(o.code, 0);
	mux_rig_free(&r);
}

Test(mux, what_is_opened_before_the_answer_to_sync_is_sent_after_it)
{
	struct mux_rig r;

	mux_rig_open(&r);
	cr_assert_eq(mux_sync(r.host.mux, false, NULL), 0);
	auto_close int ours = open_stream(&r.host, NULL);
	cr_assert_geq(ours, 0);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	cr_expect_eq(r.host.lost + r.guest.lost, 0);
	mux_rig_free(&r);
}

Test(mux, two_syncs_in_a_row_end_in_a_working_link)
{
	struct mux_rig r;
	struct opened o = {0};

	mux_rig_open(&r);
	cr_assert_eq(mux_sync(r.host.mux, false, NULL), 0);
	cr_assert_eq(mux_sync(r.host.mux, false, NULL), 0);
	RUN_UNTIL(&r, r.host.synced);
	cr_assert_eq(mux_sync(r.host.mux, true, NULL), 0);
	cr_assert_eq(mux_sync(r.host.mux, true, NULL), 0);
	auto_close int ours = open_stream(&r.host, &o);
	cr_assert_geq(ours, 0);
	RUN_UNTIL(&r, o.calls);
	cr_expect_eq(o.code, 0);
	mux_rig_free(&r);
}

Test(mux, a_host_that_goes_away_resets_the_streams_and_the_guest_waits_for_the_next)
{
	struct mux_rig r;
	struct opened o = {0};
	bool end;
	char text[4];

	mux_rig_new(&r);
	auto_close int ours = open_stream(&r.host, &o);
	cr_assert_geq(ours, 0);
	RUN_UNTIL(&r, r.guest.n_accepted == 1);
	(void)shutdown(r.fds[0], SHUT_WR);
	RUN_UNTIL(&r, r.guest.lost);
	cr_expect_str_eq(r.guest.why, "peer closed the link");
	(void)slurp(r.guest.accepted[0], text, sizeof(text), &end);
	cr_expect(end);
	cr_expect_eq(r.guest.mux->n_streams, 0);
	mux_rig_free(&r);
}

Test(mux, a_guest_that_goes_away_ends_the_hosts_link_for_good)
{
	struct mux_rig r;
	struct opened o = {0};
	struct err err = {0};
	int pair[2];

	mux_rig_new(&r);
	r.guest.refuse = ECONNREFUSED;
	auto_close int ours = open_stream(&r.host, NULL);
	cr_assert_geq(ours, 0);
	mux_free(TAKE_PTR(r.guest.mux));
	(void)shutdown(r.fds[1], SHUT_RDWR);
	RUN_UNTIL(&r, r.host.lost);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_expect_eq(mux_open(r.host.mux, 4998, pair[1], on_opened, &o, &err), -EPIPE);
	cr_expect_str_eq(err.msg, "channel to the guest is lost: peer closed the link");
	(void)close(pair[0]);
	mux_rig_free(&r);
}
