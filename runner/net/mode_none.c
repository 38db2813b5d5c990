/* mode_none.c - a namespace with tap0 and nothing behind it: the agent channel is all the VM has.
 */
#include <errno.h>

#include "net_priv.h"
#include "netns.h"
#include "userns.h"

#define MTU 1500u

static int none_refuse(const struct net_config *c, struct err *err)
{
	if (c->n_ports == 0)
		return 0;
	return err_set(err, ERR_SPEC, -EINVAL, "network none cannot publish ports");
}

static int none_up(struct net *n, struct err *err)
{
	struct err refused = {0};
	int r = none_refuse(&n->config, err);

	if (r >= 0 && !n->host->is_root)
		r = userns_enter(err);
	if (r < 0)
		return r;
	r = netns_enter(&n->tap_fd, &refused);
	/* No tap: VMs without a NIC still run here, others are refused by the engine. */
	if (r >= 0 || r == -EACCES)
		return 0;
	if (err)
		*err = refused;
	return r;
}

static int none_serve(struct net *n, struct err *err)
{
	(void)n;
	(void)err;
	return 0;
}

static int none_host_socket(struct net *n, int family, int type)
{
	(void)n;
	(void)family;
	(void)type;
	return -EOPNOTSUPP;
}

static int none_grant(struct net *n, const struct grants *fresh)
{
	(void)n;
	(void)fresh;
	return -EOPNOTSUPP;
}

static int none_update(struct net *n, const struct net_config *to, struct err *err)
{
	(void)n;
	return none_refuse(to, err);
}

static void none_down(struct net *n)
{
	(void)n;
}

const struct net_ops net_none = {
	.mode = NET_NONE,
	.mtu = MTU,
	.up = none_up,
	.serve = none_serve,
	.host_socket = none_host_socket,
	.grant = none_grant,
	.update = none_update,
	.down = none_down,
};
