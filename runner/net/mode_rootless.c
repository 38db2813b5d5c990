/* mode_rootless.c - an ordinary user's VM on the network: a user namespace with br0{slirp0,tap0},
 * slirp4netns behind it, and a filter in front of the VM (docs/network.md). */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bridge.h"
#include "cleanup.h"
#include "hostaddrs.h"
#include "io.h"
#include "log.h"
#include "loopback.h"
#include "net_priv.h"
#include "netns.h"
#include "nftext.h"
#include "outside.h"
#include "rootless_ports.h"
#include "rootless_rules.h"
#include "slirp.h"
#include "userns.h"
#include "xalloc.h"

#define RULES_MAX (1u << 20)
#define RETRY_MS 1000

struct rootless {
	struct hostaddrs *addrs; /* of the host's namespace */
	struct loopback loopback;
	struct forwarders by; /* slirp NULL: it has ended and did not begin again yet */
	struct forwards forwards;
	struct loop_source on_addrs, on_slirp, retry;
};

/* --- up -------------------------------------------------------------------------------------- */

/* What is done in the host's namespaces before they are left. The address is taken even if no port
 * wants it yet: later there is no way to claim one. */
static int prepare(struct net *n, struct err *err)
{
	struct rootless *m = n->mode;
	int r = hostaddrs_open(&m->addrs, err);

	if (r == 0)
		r = loopback_take(n->host, n->dir, &m->loopback, err);
	return r < 0 ? r : outside_start(&m->by.outside, err);
}

static int enter(struct net *n, struct err *err)
{
	int r = n->host->is_root ? 0 : userns_enter(err);

	if (r == 0)
		r = netns_enter(&n->tap_fd, err);
	if (r == -EACCES)
		return err_hint(err, "chmod 0666 /dev/net/tun, as udev does; without it only "
				     "'network: none' is possible");
	return r < 0 ? r : bridge_make(SLIRP_MTU, err);
}

static int run_rules(const struct buf *text, struct err *err)
{
	if (!buf_ok(text))
		return err_set(err, ERR_HOST, -EFBIG, "the network policy is too long");
	return nftext_run(buf_str(text), err);
}

static void add_grants(const struct grants *g, struct buf *out)
{
	uint64_t now = now_ms();

	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].until_ms > now)
			rootless_rules_named(&g->v[i].to, g->v[i].to.addr,
					     (uint32_t)((g->v[i].until_ms - now) / 1000 + 1), out);
}

static int load_table(struct net *n, struct err *err)
{
	struct rootless *m = n->mode;
	auto_buf struct buf text = BUF_INIT(RULES_MAX);
	auto_free uint32_t *host = NULL;
	size_t n_host = 0;
	int r = hostaddrs_list(m->addrs, &host, &n_host, err);

	if (r < 0)
		return r;
	rootless_rules_table(&n->config, host, n_host, &text);
	if (n->relay)
		add_grants(relay_grants(n->relay, &n->config), &text);
	return run_rules(&text, err);
}

/* The filter stands before anything can pass it: there is no VM yet, or (after slirp4netns has
 * ended) the old one still stands at tap0. */
static int start_uplink(struct net *n, struct err *err)
{
	struct rootless *m = n->mode;
	int r = slirp_start(m->by.outside, n->dir, &m->by.slirp, err);

	if (r == 0)
		r = bridge_add_uplink(SLIRP_MTU, err);
	return r < 0 ? r : load_table(n, err);
}

static void show(struct net *n, const struct net_config *c)
{
	struct rootless *m = n->mode;
	bool wanted = false;

	free(n->view.ports);
	n->view.ports = xcalloc(m->forwards.n + 1, sizeof(*n->view.ports));
	n->view.n_ports = m->forwards.n;
	for (size_t i = 0; i < m->forwards.n; i++) {
		n->view.ports[i] = m->forwards.v[i].port;
		wanted = wanted || !c->ports[i].host_ip[0];
	}
	(void)snprintf(n->view.loopback, sizeof(n->view.loopback), "%s",
		       wanted ? m->loopback.ip : "");
}

/* The forwards become those of `c`; what was there stays on failure. */
static int change_ports(struct net *n, const struct net_config *c, struct err *err)
{
	struct rootless *m = n->mode;
	auto_forwards struct forwards want = {0};
	int r;

	forwards_of(c, m->loopback.ip, &want);
	r = forwards_change(&m->by, &m->forwards, &want, err);
	if (r < 0)
		return r;
	forwards_free(&m->forwards);
	m->forwards = want;
	want = (struct forwards){0};
	return 0;
}

static int rootless_up(struct net *n, struct err *err)
{
	struct rootless *m = xcalloc(1, sizeof(*m));
	int r;

	m->loopback = (struct loopback)LOOPBACK_NONE;
	n->mode = m;
	r = prepare(n, err);
	if (r == 0)
		r = enter(n, err);
	if (r == 0)
		r = start_uplink(n, err);
	if (r == 0) {
		m->by.udp = udpfwd_new(m->by.outside);
		r = change_ports(n, &n->config, err);
	}
	if (r == 0)
		show(n, &n->config);
	return r;
}

/* --- for the relay ---------------------------------------------------------------------------- */

static int rootless_host_socket(struct net *n, int family, int type)
{
	struct rootless *m = n->mode;
	auto_close int fd = -1;
	int r = outside_socket(m->by.outside, family, type, &fd, NULL);

	if (r == 0)
		r = io_set_nonblock(fd, true);
	return r < 0 ? r : TAKE_FD(fd);
}

static int rootless_grant(struct net *n, const struct grants *fresh)
{
	auto_buf struct buf text = BUF_INIT(RULES_MAX);

	(void)n;
	add_grants(fresh, &text);
	return run_rules(&text, NULL);
}

/* --- while it runs --------------------------------------------------------------------------- */

static void try_again(struct net *n);

static void on_retry(struct loop *loop, struct loop_source *src, uint32_t events)
{
	(void)loop;
	(void)events;
	try_again(src->data);
}

static void on_slirp(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct net *n = src->data;
	struct rootless *m = n->mode;

	(void)events;
	loop_remove(loop, src);
	slirp_stop(m->by.slirp);
	m->by.slirp = NULL;
	try_again(n);
}

static int watch_slirp(struct net *n, struct err *err)
{
	struct rootless *m = n->mode;

	return loop_add(n->loop, &m->on_slirp, slirp_pidfd(m->by.slirp), EPOLLIN, on_slirp, n, err);
}

static int bring_back(struct net *n, struct err *err)
{
	struct rootless *m = n->mode;
	int r = 0;

	if (m->by.slirp)
		return load_table(n, err);
	r = start_uplink(n, err);
	if (r == 0)
		r = forwards_renew(&m->by, &m->forwards, err);
	if (r == 0)
		r = watch_slirp(n, err);
	if (r < 0) {
		slirp_stop(m->by.slirp);
		m->by.slirp = NULL;
	}
	return r;
}

/* An uplink that ended, rules that could not be changed: until it works again. */
static void try_again(struct net *n)
{
	struct rootless *m = n->mode;
	struct err err = {0};

	if (bring_back(n, &err) == 0)
		return;
	log_debug("network: %s", err.msg);
	(void)loop_timer(n->loop, &m->retry, RETRY_MS, 0, on_retry, n, NULL);
}

static int change_host(struct rootless *m, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(RULES_MAX);
	auto_free uint32_t *host = NULL;
	size_t n_host = 0;
	int r = hostaddrs_list(m->addrs, &host, &n_host, err);

	if (r < 0)
		return r;
	rootless_rules_host(host, n_host, &text);
	return run_rules(&text, err);
}

static void on_addrs(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct net *n = src->data;

	(void)loop;
	(void)events;
	if (change_host(n->mode, NULL) < 0)
		try_again(n);
}

static int rootless_serve(struct net *n, struct err *err)
{
	struct rootless *m = n->mode;
	int r = watch_slirp(n, err);

	if (r == 0)
		r = udpfwd_serve(m->by.udp, n->loop, err);
	if (r == 0)
		r = loop_add(n->loop, &m->on_addrs, hostaddrs_fd(m->addrs), EPOLLIN, on_addrs, n,
			     err);
	return r;
}

/* The policy and the ports of the table that is there. */
static int change_rules(struct net *n, const struct net_config *to, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(RULES_MAX);

	rootless_rules_policy(to, &text);
	if (n->relay)
		add_grants(relay_grants(n->relay, to), &text);
	rootless_rules_ports(to->ports, to->n_ports, &text);
	return run_rules(&text, err);
}

static int rootless_update(struct net *n, const struct net_config *to, struct err *err)
{
	struct rootless *m = n->mode;
	int r;

	if (!m->by.slirp)
		return err_set(err, ERR_HOST, -EAGAIN, "slirp4netns is being started again");
	r = change_rules(n, to, err);
	if (r < 0)
		return r;
	r = change_ports(n, to, err);
	if (r < 0) {
		(void)change_rules(n, &n->config, NULL);
		return r;
	}
	show(n, to);
	return 0;
}

static void rootless_down(struct net *n)
{
	struct rootless *m = n->mode;

	if (!m)
		return;
	if (n->loop) {
		loop_remove(n->loop, &m->on_addrs);
		loop_remove(n->loop, &m->on_slirp);
		loop_remove(n->loop, &m->retry);
	}
	udpfwd_free(m->by.udp);
	slirp_stop(m->by.slirp);
	outside_stop(m->by.outside);
	hostaddrs_close(m->addrs);
	loopback_release(n->host, n->dir, &m->loopback);
	forwards_free(&m->forwards);
	free(m);
	n->mode = NULL;
}

const struct net_ops net_rootless = {
	.mode = NET_ROOTLESS,
	.mtu = SLIRP_MTU,
	.up = rootless_up,
	.serve = rootless_serve,
	.resolves = true,
	.host_socket = rootless_host_socket,
	.grant = rootless_grant,
	.update = rootless_update,
	.down = rootless_down,
};
