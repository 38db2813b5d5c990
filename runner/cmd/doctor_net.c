/* doctor_net.c - what doctor asks about networks. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "doctor.h"
#include "file.h"
#include "hostnet.h"
#include "ledger.h"
#include "netns.h"
#include "userns.h"
#include "xalloc.h"

#define RULESET_MAX (8u << 20)
#define ROUTES_MAX (1u << 20)

void doctor_tun(const struct examined *e, const char *name, struct finding *f)
{
	char why[160] = "";

	(void)e, (void)name;
	f->ok = netns_tap_permitted(why, sizeof(why));
	buf_add_str(&f->value, f->ok ? "/dev/net/tun opens" : why);
	if (!f->ok)
		buf_add_str(&f->hint, "modprobe tun, and chmod 0666 /dev/net/tun for ordinary "
				      "users; without it virtual machines have no network card and "
				      "only 'network: none'");
}

void doctor_userns(const struct examined *e, const char *name, struct finding *f)
{
	char why[200] = "";

	(void)name;
	f->ok = userns_permitted(why, sizeof(why));
	buf_add_str(&f->value, f->ok ? "permitted" : why);
	if (!f->ok)
		buf_addf(&f->hint,
			 "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and "
			 "kernel.apparmor_restrict_unprivileged_userns decide; without them %s",
			 e->host->is_root ? "'network: rootless' is not possible"
					  : "an ordinary user runs no virtual machines");
}

/* An ordinary user may ask only in a namespace of their own. */
static bool ask_in_child(struct err *err)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		auto_buf struct buf rules = BUF_INIT(RULESET_MAX);

		_exit(userns_enter(NULL) == 0 && unshare(CLONE_NEWNET) == 0 &&
				      hostnet_ruleset(&rules, NULL) == 0
			      ? 0
			      : 1);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
		return true;
	(void)err_set(err, ERR_HOST, -1, "not to be had in a user namespace");
	return false;
}

void doctor_nftables(const struct examined *e, const char *name, struct finding *f)
{
	auto_buf struct buf rules = BUF_INIT(RULESET_MAX);
	struct err err = {0};

	(void)name;
	f->ok = e->host->is_root ? hostnet_ruleset(&rules, &err) >= 0 : ask_in_child(&err);
	buf_add_str(&f->value, f->ok ? "the kernel has nf_tables" : err.msg);
	if (!f->ok)
		buf_add_str(&f->hint, "modprobe nf_tables; bridged and rootless networks need it");
}

void doctor_forwarding(const struct examined *e, const char *name, struct finding *f)
{
	auto_buf struct buf routes = BUF_INIT(ROUTES_MAX);
	char link[IF_NAMESIZE] = "";

	(void)name;
	(void)file_read("/proc/net/route", ROUTES_MAX - 1, &routes, NULL);
	if (!hostnet_uplink(buf_str(&routes), link)) {
		buf_add_str(&f->value, "no default route");
		buf_add_str(&f->hint, "virtual machines reach this host's networks only");
		return;
	}
	bool on = hostnet_forwards(link);
	auto_free char *path = xasprintf("/proc/sys/net/ipv4/conf/%s/forwarding", link);

	/* The first bridged VM turns it on; rootless ones have no use for it. */
	f->ok = on || !e->host->is_root || faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
	buf_addf(&f->value, "%s passes packets on: %s", link,
		 on      ? "yes"
		 : f->ok ? "once a bridged VM runs"
			 : "no, and fcvm may not change that");
	if (!f->ok)
		buf_addf(&f->hint, "sysctl -w net.ipv4.conf.%s.forwarding=1 where it is allowed",
			 link);
}

/* Every base chain at the hook must accept a packet: what ours accepts, another may still drop. */
void doctor_forward_drop(const struct examined *e, const char *name, struct finding *f)
{
	auto_buf struct buf rules = BUF_INIT(RULESET_MAX);
	auto_buf struct buf chain = BUF_INIT(400);
	struct err err = {0};

	(void)name;
	f->ok = !e->host->is_root;
	if (!e->host->is_root) {
		buf_add_str(&f->value, "not looked at: rootless packets do not pass there");
		return;
	}
	if (hostnet_ruleset(&rules, &err) < 0) {
		buf_add_str(&f->value, err.msg);
		buf_add_str(&f->hint, "modprobe nf_tables");
		return;
	}
	f->ok = !hostnet_drops_forward(buf_str(&rules), &chain);
	buf_addf(&f->value, "%s%s",
		 f->ok ? "no chain drops forwarded packets" : "chain drops: ", buf_str(&chain));
	if (!f->ok)
		buf_add_str(&f->hint,
			    "iptables -I FORWARD -i fv+ -j ACCEPT; iptables -I FORWARD -o fv+ -m "
			    "conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT");
}

struct entries {
	size_t n, stale;
	struct buf first; /* whose directory is gone */
};

static void count(void *data, uint32_t number, const char *owner)
{
	struct entries *all = data;

	(void)number;
	all->n++;
	if (file_exists(owner))
		return;
	if (all->stale++ == 0)
		buf_add_str(&all->first, owner);
}

void doctor_ports(const struct examined *e, const char *name, struct finding *f)
{
	struct entries slots = {.first = BUF_INIT(300)}, addresses = {.first = BUF_INIT(300)};
	auto_free char *ledger = host_path(e->host, "ledger");
	struct err err = {0};

	(void)name;
	if (!file_exists(ledger)) {
		f->ok = true;
		buf_add_str(&f->value, "none given out yet");
	} else if (ledger_each(e->host, "slot", count, &slots, &err) < 0 ||
		   ledger_each(e->host, "loopback", count, &addresses, &err) < 0) {
		buf_add_str(&f->value, err.msg);
		buf_add_str(&f->hint, "the ledger lies in the data directory: is it ours?");
	} else {
		f->ok = slots.stale + addresses.stale == 0;
		buf_addf(&f->value, "%zu links and %zu loopback addresses given out", slots.n,
			 addresses.n);
	}
	if (!f->ok && slots.stale + addresses.stale)
		buf_addf(&f->hint,
			 "%zu of them belong to virtual machines that are gone, e.g. %s; the next "
			 "apply takes them back",
			 slots.stale + addresses.stale,
			 slots.stale ? buf_str(&slots.first) : buf_str(&addresses.first));
	buf_free(&slots.first);
	buf_free(&addresses.first);
}
