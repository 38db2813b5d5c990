#include "hostside.h"

#include <errno.h>
#include <net/if.h>
#include <unistd.h>

#include "cleanup.h"
#include "conntrack.h"
#include "file.h"
#include "host_table.h"
#include "io.h"
#include "ledger.h"
#include "rtlink.h"
#include "sysctl.h"

/* Nobody has it (TEST-NET-3): what leads there is the default route. */
#define SOMEWHERE 0xcb007101u

/* Of the host, as the table is, not of a data directory. */
int hostside_lock(const struct host *host, int *ret_fd, struct err *err)
{
	auto_free char *path = path_join(host->ids_dir, "net.lock");
	int r = host_make_ids_dir(host, err);

	return r < 0 ? r : file_lock(path, true, 0, NULL, ret_fd, err);
}

/* --- uplink ---------------------------------------------------------------------------------- */

/* Only what was off becomes ours to switch off again, and forwards for VMs only (host_rules.c). */
static int forward(struct mnl_socket *nl, const struct sysctl *s, struct err *err)
{
	auto_elements struct elements mine = {0};
	int r = 0;

	(void)elements_link(&mine, SET_UPLINK, s->link);
	r = elements_commit(nl, &mine, err);
	return r < 0 ? r : sysctl_set(s, true, err);
}

void hostside_yield_uplinks(struct mnl_socket *nl)
{
	static const struct sysctl router = {"ipv4", "all", "forwarding", false};
	auto_elements struct elements ours = {0};

	if (!sysctl_get(&router) || elements_read(nl, SET_UPLINK, &ours, NULL) < 0)
		return;
	elements_reverse(&ours);
	(void)elements_commit(nl, &ours, NULL);
}

/* 1: `link` is where the default route leads; a host without a way out has VMs without one. */
static int find_uplink(struct nl_sock *rt, char link[IF_NAMESIZE], struct err *err)
{
	struct rtlink_match m = {0};
	int r = rtlink_match_route(rt, SOMEWHERE, &m, err);

	if (r <= 0)
		return r;
	return m.link != 0 && if_indextoname(m.link, link) && strcmp(link, "lo") != 0;
}

/* Of a link nobody has, where there is no way out: nothing is to be switched on. */
static int find_forwarding(struct nl_sock *rt, char link[IF_NAMESIZE], struct sysctl *ret,
			   bool *ret_needed, struct err *err)
{
	int r = find_uplink(rt, link, err);

	*ret = (struct sysctl){"ipv4", link, "forwarding", false};
	*ret_needed = r > 0 && !sysctl_get(ret);
	return r < 0 ? r : 0;
}

/* Under the lock. */
static int make_ready(struct mnl_socket *nl, struct nl_sock *rt, struct err *err)
{
	char link[IF_NAMESIZE] = "";
	struct sysctl forwarding;
	bool needed = false;
	int r = host_table_ensure(nl, err);

	if (r >= 0)
		r = find_forwarding(rt, link, &forwarding, &needed, err);
	return r < 0 || !needed ? r : forward(nl, &forwarding, err);
}

/* As a rule all is there, and nobody is kept waiting; what is not is made under the lock, which the
 * one who takes it all away again holds, too. */
static int prepare_once(const struct host *host, struct mnl_socket *nl, struct nl_sock *rt,
			struct err *err)
{
	char link[IF_NAMESIZE] = "";
	struct sysctl forwarding;
	auto_close int lock = -1;
	bool needed = false;
	int r = find_forwarding(rt, link, &forwarding, &needed, err);

	if (r < 0 || (!needed && host_table_is_loaded(nl)))
		return r;
	r = hostside_lock(host, &lock, err);
	return r < 0 ? r : make_ready(nl, rt, err);
}

int hostside_prepare(const struct host *host, struct mnl_socket *nl, struct nl_sock *rt,
		     struct err *err)
{
	int r = -ENOENT;

	for (int i = 0; i < HOSTSIDE_TRIES && r == -ENOENT; i++)
		r = prepare_once(host, nl, rt, err);
	return r;
}

/* --- slot ------------------------------------------------------------------------------------ */

struct choice {
	struct nl_sock *rt;
	struct rtlink_match clash;
	bool has_clash;
	bool look_at_links;
};

static bool is_used(struct choice *c, uint32_t addr)
{
	struct rtlink_match m = {0};

	if (rtlink_match_route(c->rt, addr, &m, NULL) <= 0 || m.prefix == 0)
		return false;
	c->clash = m;
	c->has_clash = true;
	return true;
}

/* Free is what neither a route nor a link of this host speaks of: another data directory may have
 * it, or a VPN. */
static bool is_free(void *data, uint32_t number)
{
	struct choice *c = data;
	struct slot s = slot_of(number);

	return !is_used(c, s.host_addr) && !is_used(c, s.vm_addr) &&
	       (!c->look_at_links || rtlink_exists(c->rt, s.link, NULL) == 0);
}

static int explain(const struct choice *c, int code, struct err *err)
{
	char dst[NET_IP4_SIZE];

	if (code != -ENOSPC || !c->has_clash)
		return code;
	slot_format(c->clash.dst, dst);
	return err_hint(err,
			"routes of this host lead to " SLOT_NET "/16, as %s/%u does: fcvm needs "
			"these addresses for bridged VMs",
			dst, c->clash.prefix);
}

int hostside_take_slot(const struct host *host, const char *owner, struct mnl_socket *nl,
		       struct nl_sock *rt, bool again, struct slot *ret, struct err *err)
{
	struct choice c = {.rt = rt, .look_at_links = again};
	uint32_t number = 0;
	int r = ledger_take_if(host, "slot", owner, is_free, &c, &number, err);

	if (r < 0)
		return explain(&c, r, err);
	*ret = slot_of(number);
	/* Of a VM whose ledger is gone. */
	if (elements_has_link(nl, SET_VMIF, ret->link, NULL) > 0)
		hostside_forget(nl, ret);
	return 0;
}

void hostside_forget_owner(const struct host *host, const char *owner, struct mnl_socket *nl)
{
	uint32_t number = 0;

	if (ledger_find(host, "slot", owner, &number, NULL) <= 0)
		return;
	struct slot s = slot_of(number);

	hostside_forget(nl, &s);
	(void)ledger_release(host, "slot", owner, NULL);
}

/* --- link ------------------------------------------------------------------------------------ */

int hostside_loopback(const struct slot *s, bool on, struct err *err)
{
	const struct sysctl route_localnet = {"ipv4", s->link, "route_localnet", false};

	return sysctl_set(&route_localnet, on, err);
}

int hostside_link_up(struct nl_sock *rt, const struct slot *s, bool loopback, struct err *err)
{
	const struct rtlink_conf conf = {.forwarding = true, .route_localnet = loopback};
	int r = rtlink_configure(rt, s->link, &conf, err);

	if (r >= 0)
		r = rtlink_add_address(rt, s->link, s->host_addr, SLOT_PREFIX, err);
	return r < 0 ? r : rtlink_set_up(rt, s->link, err);
}

/* --- elements -------------------------------------------------------------------------------- */

void hostside_egress(const struct slot *s, const struct net_config *c, struct elements *ret)
{
	if (!c->egress_deny)
		return;
	(void)elements_link(ret, SET_RESTRICTED, s->link);
	for (size_t i = 0; i < c->n_allow; i++)
		if (!c->allow[i].name)
			elements_allow(ret, s, &c->allow[i], 0);
}

void hostside_elements(const struct slot *s, const struct ports *ports, const struct net_config *c,
		       struct elements *ret)
{
	elements_vm(ret, s);
	for (size_t i = 0; i < ports->n; i++)
		elements_port(ret, s, &ports->v[i].port);
	hostside_egress(s, c, ret);
}

void hostside_granted(const struct slot *s, const struct grants *g, struct elements *ret)
{
	uint64_t now = now_ms();

	for (size_t i = 0; g && i < g->n; i++)
		if (g->v[i].until_ms > now)
			elements_allow(ret, s, &g->v[i].to, g->v[i].until_ms - now);
}

static void add_behind(struct elements *to, const struct elements *from, size_t first)
{
	for (size_t i = first; i < from->n; i++)
		elements_copy(to, &from->v[i]);
}

/* What the spec allows anyway needs no grant, and the kernel takes no overlap: static entries come
 * first, and what they cover never gets in. An element that is there keeps its own time in kernels
 * before 6.12 unless it goes first; added before that, so that there is one to go. */
void hostside_grant(const struct slot *s, const struct net_config *c, const struct grants *fresh,
		    struct elements *ret)
{
	auto_elements struct elements all = {0}, old = {0};
	size_t n_static = 0;

	hostside_egress(s, c, &all);
	n_static = all.n;
	hostside_granted(s, fresh, &all);
	add_behind(&old, &all, n_static);
	elements_reverse(&old);
	add_behind(ret, &all, n_static);
	add_behind(ret, &old, 0);
	add_behind(ret, &all, n_static);
}

/* The same place in the same map. */
static bool is_in_the_way(const struct element *there, const struct elements *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (!l->v[i].take_out && l->v[i].set == there->set &&
		    memcmp(l->v[i].key, there->key, element_key_size(there->set)) == 0)
			return true;
	return false;
}

int hostside_commit(struct mnl_socket *nl, const struct elements *l, struct err *err)
{
	auto_elements struct elements there = {0}, changes = {0};
	int r = elements_commit(nl, l, err);

	if (r != -EEXIST)
		return r;
	r = elements_read(nl, SET_PUB, &there, err);
	if (r >= 0)
		r = elements_read(nl, SET_PUB_ANY, &there, err);
	if (r < 0)
		return r;
	/* What was in the way may be gone by now, or was no port: the kernel is asked again. */
	for (size_t i = 0; i < there.n; i++)
		if (is_in_the_way(&there.v[i], l))
			elements_copy(&changes, &there.v[i]);
	elements_reverse(&changes);
	for (size_t i = 0; i < l->n; i++)
		elements_copy(&changes, &l->v[i]);
	return elements_commit(nl, &changes, err);
}

static int enter_once(const struct host *host, struct mnl_socket *nl, struct nl_sock *rt,
		      const struct elements *l, struct err *err)
{
	auto_close int lock = -1;
	int r = hostside_lock(host, &lock, err);

	if (r >= 0)
		r = make_ready(nl, rt, err);
	return r < 0 ? r : hostside_commit(nl, l, err);
}

int hostside_enter(const struct host *host, struct mnl_socket *nl, struct nl_sock *rt,
		   const struct elements *l, struct err *err)
{
	int r = hostside_commit(nl, l, err);

	/* Once as a rule: only who knows no lock takes a table away that is being entered. */
	for (int i = 0; i < HOSTSIDE_TRIES && r == -ENOENT; i++)
		r = enter_once(host, nl, rt, l, err);
	return r;
}

struct cut {
	const struct slot *slots;
	size_t n;
	bool all;
};

static bool is_of(void *data, const struct flow *flow)
{
	const struct cut *c = data;

	for (size_t i = 0; i < c->n; i++) {
		uint32_t vm = c->slots[i].vm_addr;

		if (flow->src == vm || (c->all && (flow->dst == vm || flow->answers_from == vm)))
			return true;
	}
	return false;
}

int hostside_cut(struct mnl_socket *nl, const struct slot *s, bool all, struct err *err)
{
	struct cut c = {.slots = s, .n = 1, .all = all};

	return conntrack_cut(nl, is_of, &c, err);
}

void hostside_cut_dead(struct mnl_socket *nl, const struct slot *slots, size_t n)
{
	struct cut c = {.slots = slots, .n = n, .all = true};

	if (n > 0)
		(void)conntrack_cut(nl, is_of, &c, NULL);
}

void hostside_forget(struct mnl_socket *nl, const struct slot *s)
{
	(void)host_table_purge(nl, s, NULL);
	hostside_cut_dead(nl, s, 1);
}
