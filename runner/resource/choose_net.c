#include "choose_net.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "netns.h"
#include "proc.h"
#include "userns.h"
#include "vm_net.h"
#include "xalloc.h"

/* Who names a network, for messages. */
struct user {
	const struct fleet *fleet;
	const char *section, *name;
	const struct network_spec *network;
	struct place at;
};

/* What a mode lacks here, and the way out; hint NULL: nothing. */
struct lack {
	char why[200];
	const char *hint;
};

static bool has_slirp(const struct host *host)
{
	auto_free char *path = proc_find("slirp4netns", host->getenv("PATH"));

	return path != NULL;
}

static void find_lack(const struct host *host, enum net_mode mode, struct lack *ret)
{
	if (mode == NET_NONE)
		return;
	if (!netns_tap_permitted(ret->why, sizeof(ret->why)))
		ret->hint = "give this user access to /dev/net/tun, or say network: none";
	else if (mode == NET_BRIDGED && !host->is_root)
		*ret = (struct lack){"it needs root", "network: rootless works without"};
	else if (mode == NET_ROOTLESS && !has_slirp(host))
		*ret = (struct lack){"slirp4netns is not installed",
				     "apt install slirp4netns, or say network: none"};
	else if (mode == NET_ROOTLESS && !userns_permitted(ret->why, sizeof(ret->why)))
		ret->hint = "sysctl user.max_user_namespaces, or say network: none";
}

static int refuse(const struct user *u, enum net_mode mode, const struct lack *lack,
		  struct err *err)
{
	const struct place *said = &u->network->mode_at;
	auto_free char *path = xasprintf("%s.%s.network", u->section, u->name);

	(void)err_set(err, ERR_HOST, -EPERM, "%s is not possible here: %s", net_mode_name(mode),
		      lack->why);
	(void)err_hint(err, "%s", lack->hint);
	return fleet_refuse(u->fleet, said->line ? *said : u->at, path, err);
}

static int check_user(const struct lack *lacks, const struct user *u,
		      const struct resource_choice *choice, struct err *err)
{
	enum net_mode mode = vm_net_mode(choice, u->network);

	return lacks[mode].hint ? refuse(u, mode, &lacks[mode], err) : 0;
}

/* Asked once for each mode somebody uses. */
static void find_lacks(const struct host *host, const struct fleet *fleet,
		       const struct resource_choice *choice, struct lack ret[NET_ROOTLESS + 1])
{
	for (size_t i = 0; i < fleet->n_networks; i++) {
		enum net_mode mode = vm_net_mode(choice, &fleet->networks[i]);

		if (!ret[mode].hint)
			find_lack(host, mode, &ret[mode]);
	}
}

/* The spec refuses ports on networks that say none themselves; not those of a command line. */
static int check_ports(const struct user *u, size_t n_ports, struct place at,
		       const struct resource_choice *choice, struct err *err)
{
	bool is_auto = strcmp(u->network->mode, "auto") == 0;
	auto_free char *path = xasprintf("%s.%s.ports", u->section, u->name);

	if (n_ports == 0 || vm_net_mode(choice, u->network) != NET_NONE)
		return 0;
	if (is_auto)
		(void)err_set(err, ERR_HOST, -EPERM,
			      "network auto means none here, which publishes nothing: %s",
			      choice->nic_why);
	else
		(void)err_set(err, ERR_SPEC, -EINVAL, "network none publishes nothing");
	return fleet_refuse(u->fleet, at, path, err);
}

static int check_vm(const struct lack *lacks, const struct user *u, size_t n_ports,
		    struct place ports_at, const struct resource_choice *choice, struct err *err)
{
	int r = check_user(lacks, u, choice, err);

	return r < 0 ? r : check_ports(u, n_ports, ports_at, choice, err);
}

static int check_fleet(const struct host *host, const struct fleet *fleet,
		       const struct resource_choice *choice, struct err *err)
{
	struct lack lacks[NET_ROOTLESS + 1] = {0};
	int refused = 0;

	find_lacks(host, fleet, choice, lacks);
	for (size_t i = 0; i < fleet->n_baselines; i++) {
		const struct baseline_spec *b = &fleet->baselines[i];
		const struct user u = {fleet, "baselines", b->name, b->network, b->network_at};
		int r = check_vm(lacks, &u, b->n_ports, (struct place){0}, choice, err);

		refused = r < 0 ? r : refused;
	}
	for (size_t i = 0; i < fleet->n_fleets; i++) {
		const struct fleet_spec *f = &fleet->fleets[i];
		const struct user u = {fleet, "fleets", f->name, f->network, f->network_at};
		int r = check_vm(lacks, &u, f->n_ports, f->ports_at, choice, err);

		refused = r < 0 ? r : refused;
	}
	return refused;
}

int choose_network(const struct host *host, const struct fleet *fleet,
		   struct resource_choice *choice, struct err *err)
{
	/* Without a tap there is no NIC, whatever the mode (decisions 26). */
	choice->no_nic = !netns_tap_permitted(choice->nic_why, sizeof(choice->nic_why));
	choice->auto_network = choice->no_nic  ? NET_NONE
			       : host->is_root ? NET_BRIDGED
					       : NET_ROOTLESS;
	return fleet ? check_fleet(host, fleet, choice, err) : 0;
}
