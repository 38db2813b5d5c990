/* sweep.c - what is on the host of VMs whose supervisor was killed: it could not take it back. */
#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "host_table.h"
#include "hostside.h"
#include "ledger.h"
#include "net.h"
#include "nfsock.h"
#include "rtlink.h"
#include "strv.h"
#include "sysctl.h"
#include "xalloc.h"

struct sweep {
	const struct host *host;
	struct mnl_socket *nl;
	struct nl_sock *rt;
	struct slot *dead; /* their connections go together: the kernel's list of them is long */
	size_t n_dead, cap;
};

static void add_dead(struct sweep *w, const struct slot *s)
{
	w->dead = xgrow(w->dead, &w->cap, w->n_dead + 1, sizeof(*w->dead));
	w->dead[w->n_dead++] = *s;
}

/* 1: nobody holds the directory's network, and until *ret_lock is closed nobody will. */
static int is_dead(const char *owner, int *ret_lock)
{
	auto_free char *path = path_join(owner, NET_LOCK);

	if (!file_exists(path))
		return 1;
	return file_lock(path, false, 0, NULL, ret_lock, NULL) >= 0;
}

static void sweep_slot(void *data, uint32_t number, const char *owner)
{
	struct sweep *w = data;
	struct slot s = slot_of(number);
	auto_close int lock = -1;

	if (!is_dead(owner, &lock))
		return;
	/* Its number may go out again at once: its elements go first. */
	(void)host_table_purge(w->nl, &s, NULL);
	(void)ledger_release(w->host, "slot", owner, NULL);
	add_dead(w, &s);
}

static void sweep_loopback(void *data, uint32_t number, const char *owner)
{
	const struct sweep *w = data;
	auto_close int lock = -1;

	(void)number;
	if (is_dead(owner, &lock))
		(void)ledger_release(w->host, "loopback", owner, NULL);
}

/* Elements whose link is gone, of whichever data directory: a VM's link comes before its elements.
 */
static void sweep_orphans(struct sweep *w)
{
	auto_elements struct elements vms = {0};

	if (elements_read(w->nl, SET_VMIF, &vms, NULL) < 0)
		return;
	for (size_t i = 0; i < vms.n; i++) {
		char link[SLOT_LINK_SIZE];
		struct slot s;

		element_link_name(&vms.v[i], link);
		if (!slot_of_link(link, &s) || rtlink_exists(w->rt, link, NULL) != 0)
			continue;
		(void)host_table_purge(w->nl, &s, NULL);
		add_dead(w, &s);
	}
}

/* After the last VM the host is as it was before the first. */
static int sweep_table(const struct sweep *w, struct err *err)
{
	auto_elements struct elements uplinks = {0};
	auto_close int lock = -1;
	int r = hostside_lock(w->host, &lock, err);

	if (r < 0 || !host_table_remove_unused(w->nl, &uplinks))
		return r;
	for (size_t i = 0; i < uplinks.n; i++) {
		char link[SLOT_LINK_SIZE];
		const struct sysctl s = {"ipv4", link, "forwarding", true};

		element_link_name(&uplinks.v[i], link);
		(void)sysctl_set(&s, false, NULL);
	}
	return 0;
}

static int sweep_host(struct sweep *w, struct err *err)
{
	int r = ledger_each(w->host, "slot", sweep_slot, w, err);

	if (r >= 0)
		r = ledger_each(w->host, "loopback", sweep_loopback, w, err);
	if (r < 0)
		return r;
	sweep_orphans(w);
	hostside_cut_dead(w->nl, w->dead, w->n_dead);
	return sweep_table(w, err);
}

int net_sweep(const struct host *host, struct err *err)
{
	auto_nfsock struct mnl_socket *nl = NULL;
	auto_rtlink struct nl_sock *rt = NULL;
	struct sweep w = {.host = host};
	int r = 0;

	if (!host->is_root)
		return ledger_each(host, "loopback", sweep_loopback, &w, err);
	r = nfsock_open(&nl, err);
	if (r >= 0)
		r = rtlink_open(&rt, err);
	if (r < 0)
		return r;
	w.nl = nl;
	w.rt = rt;
	r = sweep_host(&w, err);
	free(w.dead);
	return r;
}
