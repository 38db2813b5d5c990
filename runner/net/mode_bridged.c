/* mode_bridged.c - a slot of the host for every VM: link fvN with a /30, translated twice, so that
 * the inside is the same for all (docs/network.md). */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "conntrack.h"
#include "host_table.h"
#include "hostside.h"
#include "io.h"
#include "ledger.h"
#include "loopback.h"
#include "net_priv.h"
#include "netns.h"
#include "nfsock.h"
#include "ports.h"
#include "rtlink.h"
#include "vmside.h"
#include "xalloc.h"

#define MTU 1500u
/* Another data directory may take the very slot between looking and making. */
#define SLOT_TRIES 16
/* Whoever flushes the host's rules takes ours with them: they are looked after. */
#define CHECK_MS 10000
#define CHANGE_TRIES 3

struct bridged {
	struct slot slot;
	bool has_slot;
	struct mnl_socket *nl; /* of the host's namespace */
	struct nl_sock *rt;    /* likewise */
	int host_ns, vm_ns;
	struct ports ports;
	struct loopback loopback;
	struct loop_source check;
};

/* --- up -------------------------------------------------------------------------------------- */

static int hold_ports(struct net *n, const struct net_config *c, struct ports *ret, struct err *err)
{
	struct bridged *b = n->mode;
	int r = ports_want_loopback(c) ? loopback_take(n->host, n->dir, &b->loopback, err) : 0;

	return r < 0 ? r : ports_hold(c, b->loopback.ip, &b->ports, ret, err);
}

/* What is done in the host's namespace before it is left. */
static int prepare(struct net *n, struct err *err)
{
	struct bridged *b = n->mode;
	int r = netns_open(&b->host_ns, err);

	if (r >= 0)
		r = nfsock_open(&b->nl, err);
	if (r >= 0)
		r = rtlink_open(&b->rt, err);
	if (r >= 0)
		r = hostside_prepare(n->host, b->nl, b->rt, err);
	if (r >= 0)
		hostside_forget_owner(n->host, n->dir, b->nl);
	return r < 0 ? r : hold_ports(n, &n->config, &b->ports, err);
}

static int join_slot(struct net *n, struct nl_sock *inside, struct err *err)
{
	struct bridged *b = n->mode;
	int r = -EEXIST;

	for (int i = 0; i < SLOT_TRIES && r == -EEXIST; i++) {
		r = hostside_take_slot(n->host, n->dir, b->nl, b->rt, i > 0, &b->slot, err);
		if (r < 0)
			return r;
		b->has_slot = true;
		r = rtlink_add_veth(inside, VMSIDE_UPLINK, b->slot.link, b->host_ns, err);
	}
	return r;
}

static int enter_table(struct net *n, struct err *err)
{
	struct bridged *b = n->mode;
	auto_elements struct elements all = {0};

	hostside_elements(&b->slot, &b->ports, &n->config, &all);
	if (n->relay && n->config.egress_deny)
		hostside_granted(&b->slot, relay_grants(n->relay, &n->config), &all);
	return hostside_enter(n->host, b->nl, b->rt, &all, err);
}

static int outside(struct net *n, struct err *err)
{
	struct bridged *b = n->mode;
	int r = netns_join(b->host_ns, err);

	if (r < 0)
		return r;
	r = enter_table(n, err);
	if (r >= 0)
		r = hostside_link_up(b->rt, &b->slot, ports_use_loopback(&b->ports), err);
	if (netns_join(b->vm_ns, r < 0 ? NULL : err) < 0)
		return -EPERM;
	return r;
}

static void show(struct net *n)
{
	struct bridged *b = n->mode;

	slot_format(b->slot.vm_addr, n->view.ip);
	(void)snprintf(n->view.loopback, sizeof(n->view.loopback), "%s", b->loopback.ip);
	ports_copy(&b->ports, &n->view.ports, &n->view.n_ports);
}

static int bridged_up(struct net *n, struct err *err)
{
	struct bridged *b = xcalloc(1, sizeof(*b));
	auto_rtlink struct nl_sock *inside = NULL;
	int r = 0;

	b->host_ns = b->vm_ns = -1;
	b->loopback = (struct loopback)LOOPBACK_NONE;
	n->mode = b;
	r = prepare(n, err);
	if (r >= 0)
		r = netns_enter(&n->tap_fd, err);
	if (r >= 0)
		r = netns_open(&b->vm_ns, err);
	if (r >= 0)
		r = rtlink_open(&inside, err);
	if (r >= 0)
		r = join_slot(n, inside, err);
	if (r >= 0)
		r = vmside_make(inside, &b->slot, err);
	if (r >= 0)
		r = outside(n, err);
	if (r >= 0)
		show(n);
	return r;
}

/* --- while it runs --------------------------------------------------------------------------- */

/* In the host's namespace. */
static int look_after_table(struct net *n, struct err *err)
{
	struct bridged *b = n->mode;
	int r = elements_has_link(b->nl, SET_VMIF, b->slot.link, err);

	return r == 0 ? enter_table(n, err) : r;
}

static void on_check(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct net *n = src->data;
	struct bridged *b = n->mode;

	(void)loop;
	(void)events;
	if (netns_join(b->host_ns, NULL) < 0)
		return;
	(void)look_after_table(n, NULL);
	hostside_yield_uplinks(b->nl);
	(void)netns_join(b->vm_ns, NULL);
}

static int bridged_host_socket(struct net *n, int family, int type)
{
	struct bridged *b = n->mode;
	int fd = -1;

	if (netns_join(b->host_ns, NULL) < 0)
		return -EPERM;
	fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fd = fd < 0 ? -errno : fd;
	return netns_join(b->vm_ns, NULL) < 0 ? -EPERM : fd;
}

static int bridged_serve(struct net *n, struct err *err)
{
	struct bridged *b = n->mode;

	return loop_timer(n->loop, &b->check, CHECK_MS, CHECK_MS, on_check, n, err);
}

static void add_port_changes(const struct bridged *b, const struct ports *to, struct elements *ret)
{
	auto_elements struct elements old = {0};

	for (size_t i = 0; i < b->ports.n; i++)
		if (!ports_find(to, &b->ports.v[i].port))
			elements_port(&old, &b->slot, &b->ports.v[i].port);
	elements_reverse(&old);
	for (size_t i = 0; i < old.n; i++)
		elements_copy(ret, &old.v[i]);
	for (size_t i = 0; i < to->n; i++)
		if (!ports_find(&b->ports, &to->v[i].port))
			elements_port(ret, &b->slot, &to->v[i].port);
}

/* What the kernel has for the VM's egress goes, what `to` says comes, in one transaction. */
static int add_egress_changes(struct net *n, const struct net_config *to, struct elements *ret,
			      struct err *err)
{
	static const enum element_set sets[] = {SET_RESTRICTED, SET_ALLOW, SET_ALLOW_PROTO,
						SET_ALLOW_ADDR};
	struct bridged *b = n->mode;
	auto_elements struct elements want = {0};
	const struct grants *kept = n->relay ? relay_grants(n->relay, to) : NULL;
	int r = host_table_read(b->nl, &b->slot, sets, ARRAY_SIZE(sets), ret, err);

	if (r < 0)
		return r;
	elements_reverse(ret);
	hostside_egress(&b->slot, to, &want);
	if (to->egress_deny)
		hostside_granted(&b->slot, kept, &want);
	for (size_t i = 0; i < want.n; i++)
		elements_copy(ret, &want.v[i]);
	return 0;
}

/* An address may time out between reading and taking out: then it is read again. */
static int change_table(struct net *n, const struct net_config *to, const struct ports *ports,
			struct err *err)
{
	struct bridged *b = n->mode;
	int r = -ENOENT;

	for (int i = 0; i < CHANGE_TRIES && r == -ENOENT; i++) {
		auto_elements struct elements changes = {0};

		r = net_config_same_egress(&n->config, to)
			    ? 0
			    : add_egress_changes(n, to, &changes, err);
		if (r < 0)
			return r;
		add_port_changes(b, ports, &changes);
		r = hostside_commit(b->nl, &changes, err);
	}
	return r;
}

struct unpublished {
	const struct bridged *b;
	const struct ports *to;
};

/* A connection that came in through a port that is published no more, or leads elsewhere. */
static bool is_unpublished(void *data, const struct flow *flow)
{
	const struct unpublished *u = data;
	const struct bridged *b = u->b;

	if (flow->answers_from != b->slot.vm_addr)
		return false;
	for (size_t i = 0; i < b->ports.n; i++) {
		const struct net_port *p = &b->ports.v[i].port;

		if (p->host_port == flow->dst_port && flow->proto == ports_protocol(p) &&
		    !ports_find(u->to, p))
			return true;
	}
	return false;
}

static int cut_changed(struct net *n, const struct net_config *to, const struct ports *ports,
		       struct err *err)
{
	struct bridged *b = n->mode;
	struct unpublished u = {.b = b, .to = ports};
	int r = conntrack_cut(b->nl, is_unpublished, &u, err);

	if (r >= 0 && to->egress_deny && !net_config_same_egress(&n->config, to))
		r = hostside_cut(b->nl, &b->slot, false, err);
	return r;
}

/* In the host's namespace. */
static int change(struct net *n, const struct net_config *to, struct err *err)
{
	struct bridged *b = n->mode;
	struct ports ports = {0};
	int r = hold_ports(n, to, &ports, err);

	if (r < 0)
		return r;
	r = look_after_table(n, err);
	if (r >= 0)
		r = change_table(n, to, &ports, err);
	if (r < 0) {
		ports_give_back(&ports, &b->ports);
		return r;
	}
	/* From here on it is as `to` says; what fails below is told, not undone. */
	r = hostside_loopback(&b->slot, ports_use_loopback(&ports), err);
	if (r >= 0)
		r = cut_changed(n, to, &ports, err);
	ports_close(&b->ports);
	b->ports = ports;
	show(n);
	return r;
}

static int bridged_update(struct net *n, const struct net_config *to, struct err *err)
{
	struct bridged *b = n->mode;
	int r = netns_join(b->host_ns, err);

	if (r < 0)
		return r;
	r = change(n, to, err);
	if (netns_join(b->vm_ns, r < 0 ? NULL : err) < 0)
		return -EPERM;
	return r;
}

static int bridged_grant(struct net *n, const struct grants *fresh)
{
	struct bridged *b = n->mode;
	auto_elements struct elements changes = {0};

	hostside_grant(&b->slot, &n->config, fresh, &changes);
	return elements_commit(b->nl, &changes, NULL);
}

/* The kernel's list of connections is long on any host: it is looked through only when this VM had
 * some. What it had on the host's side went through here. */
static void leave_host(struct net *n)
{
	struct bridged *b = n->mode;
	auto_elements struct elements all = {0};

	hostside_elements(&b->slot, &b->ports, &n->config, &all);
	elements_reverse(&all);
	/* Names may have opened more. */
	if (n->config.egress_deny || elements_commit(b->nl, &all, NULL) < 0)
		(void)host_table_purge(b->nl, &b->slot, NULL);
	if (conntrack_any())
		(void)hostside_cut(b->nl, &b->slot, true, NULL);
	(void)ledger_release(n->host, "slot", n->dir, NULL);
}

static void bridged_down(struct net *n)
{
	struct bridged *b = n->mode;

	if (!b)
		return;
	if (n->loop)
		loop_remove(n->loop, &b->check);
	if (b->has_slot)
		leave_host(n);
	ports_close(&b->ports);
	loopback_release(n->host, n->dir, &b->loopback);
	nfsock_close_p(&b->nl);
	rtlink_close_p(&b->rt);
	cleanup_close_p(&b->host_ns);
	cleanup_close_p(&b->vm_ns);
	free(b);
	n->mode = NULL;
}

const struct net_ops net_bridged = {
	.mode = NET_BRIDGED,
	.mtu = MTU,
	.resolves = true,
	.up = bridged_up,
	.serve = bridged_serve,
	.host_socket = bridged_host_socket,
	.grant = bridged_grant,
	.update = bridged_update,
	.down = bridged_down,
};
