#include "mux_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame.h"
#include "io.h"

static int on_accept(void *data, uint32_t port, int *ret_fd)
{
	struct end *e = data;
	int pair[2];

	if (e->refuse)
		return -e->refuse;
	cr_assert_eq(port, 4998);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	e->accepted[e->n_accepted++] = pair[0];
	*ret_fd = pair[1];
	return 0;
}

static void on_synced(void *data, bool fresh)
{
	struct end *e = data;

	e->synced++;
	e->fresh += fresh;
}

static void on_quiesced(void *data)
{
	((struct end *)data)->quiesced++;
}

static void on_lost(void *data, const char *why)
{
	struct end *e = data;

	e->lost++;
	(void)snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct mux_ops ops = {on_accept, on_synced, on_quiesced, on_lost};

void mux_rig_run_dry(struct mux_rig *r)
{
	while (loop_once(r->loop, 20, NULL) > 0)
		;
}

void mux_rig_open(struct mux_rig *r)
{
	*r = (struct mux_rig){0};
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->fds), 0);
	cr_assert_eq(mux_new(r->loop, r->fds[0], true, &ops, &r->host, &r->host.mux, NULL), 0);
	cr_assert_eq(mux_new(r->loop, r->fds[1], false, &ops, &r->guest, &r->guest.mux, NULL), 0);
}

void mux_rig_new(struct mux_rig *r)
{
	mux_rig_open(r);
	cr_assert_eq(mux_sync(r->host.mux, false, NULL), 0);
	RUN_UNTIL(r, r->host.synced);
}

void mux_rig_free(struct mux_rig *r)
{
	mux_free(r->host.mux);
	mux_free(r->guest.mux);
	for (int i = 0; i < r->host.n_accepted; i++)
		(void)close(r->host.accepted[i]);
	for (int i = 0; i < r->guest.n_accepted; i++)
		(void)close(r->guest.accepted[i]);
	loop_free_p(&r->loop);
	(void)close(r->fds[0]);
	(void)close(r->fds[1]);
}

void mux_rig_raw(struct mux_rig *r)
{
	*r = (struct mux_rig){0};
	cr_assert_eq(loop_new(&r->loop, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, r->fds), 0);
	cr_assert_eq(mux_new(r->loop, r->fds[1], false, &ops, &r->guest, &r->guest.mux, NULL), 0);
}

void mux_rig_put_frame(struct mux_rig *r, uint32_t id, uint8_t type, const void *payload,
		       uint16_t len)
{
	uint8_t raw[MUX_HEAD_SIZE + MUX_PAYLOAD_MAX + 1] = {0};

	store_le32(raw, id);
	raw[4] = type;
	store_le16(raw + 6, len);
	if (len)
		memcpy(raw + MUX_HEAD_SIZE, payload, len);
	cr_assert_eq(write(r->fds[0], raw, MUX_HEAD_SIZE + len), MUX_HEAD_SIZE + len);
}

void mux_rig_put_sync(struct mux_rig *r, bool keep)
{
	uint8_t payload[18] = {MUX_VERSION, keep, 1, 2, 3};

	mux_rig_put_frame(r, 0, MUX_SYNC, payload, sizeof(payload));
}
