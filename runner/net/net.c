#include "net.h"

#include <errno.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "net_priv.h"
#include "xalloc.h"

/* A supervisor that was killed may still be on its way out. */
#define LOCK_MS 10000

static const struct net_ops *const modes[] = {
	&net_none,
	&net_bridged,
	&net_rootless,
};

static const struct net_ops *ops_of(enum net_mode mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (modes[i]->mode == mode)
			return modes[i];
	return NULL;
}

static int begin(struct net *n, const struct net_spec *spec, struct err *err)
{
	auto_free char *lock = path_join(spec->dir, NET_LOCK);
	enum net_mode mode = spec->config ? spec->config->mode : NET_NONE;
	int r = 0;

	n->ops = ops_of(mode);
	if (!n->ops)
		return err_set(err, ERR_HOST, -EOPNOTSUPP, "this fcvm has no network mode '%s'",
			       net_mode_name(mode));
	if (spec->config)
		net_config_copy(spec->config, &n->config);
	n->view.mode = mode;
	r = file_lock(lock, true, deadline_in(LOCK_MS), NULL, &n->lock, err);
	if (r < 0)
		return r;
	return n->ops->up(n, err);
}

int net_up(const struct net_spec *spec, struct net **ret, struct err *err)
{
	struct net *n = xcalloc(1, sizeof(*n));
	int r = 0;

	n->host = spec->host;
	n->dir = xstrdup(spec->dir);
	n->lock = n->tap_fd = -1;
	r = begin(n, spec, err);
	if (r < 0) {
		net_down(n);
		return err_wrap(err, "network");
	}
	n->has_tap = n->tap_fd >= 0;
	*ret = n;
	return 0;
}

static int host_socket(void *data, int family, int type)
{
	struct net *n = data;

	return n->ops->host_socket(n, family, type);
}

static int grant(void *data, const struct grants *fresh)
{
	struct net *n = data;

	return n->ops->grant(n, fresh);
}

int net_serve(struct net *n, struct loop *loop, struct err *err)
{
	const struct relay_spec spec = {
		.loop = loop, .host_socket = host_socket, .grant = grant, .data = n};
	int r = 0;

	n->loop = loop;
	if (n->ops->resolves)
		r = relay_new(&spec, NET_DNS_IP, &n->config, &n->relay, err);
	return r < 0 ? r : n->ops->serve(n, err);
}

int net_update(struct net *n, const struct net_config *to, struct err *err)
{
	int r = 0;

	if (to->mode != n->config.mode)
		return err_set(err, ERR_FAILED, -EINVAL,
			       "network: a running VM keeps its mode %s, it cannot become %s",
			       net_mode_name(n->config.mode), net_mode_name(to->mode));
	r = n->ops->update(n, to, err);
	if (r < 0)
		return err_wrap(err, "network");
	net_config_free(&n->config);
	net_config_copy(to, &n->config);
	if (n->relay)
		relay_configure(n->relay, to);
	return 0;
}

void net_down(struct net *n)
{
	if (!n)
		return;
	relay_free(n->relay);
	if (n->ops && n->lock >= 0)
		n->ops->down(n);
	cleanup_close_p(&n->tap_fd);
	cleanup_close_p(&n->lock);
	net_config_free(&n->config);
	free(n->view.ports);
	free(n->dir);
	free(n);
}

bool net_has_tap(const struct net *n)
{
	return n->has_tap;
}

int net_tap_fd(const struct net *n)
{
	return n->tap_fd;
}

void net_close_tap(struct net *n)
{
	cleanup_close_p(&n->tap_fd);
	n->tap_fd = -1;
}

uint32_t net_mtu(const struct net *n)
{
	return n->ops->mtu;
}

const struct net_view *net_look(const struct net *n)
{
	return &n->view;
}

struct json_object *net_ports_json(const struct net_view *v)
{
	struct json_object *arr = json_object_new_array();

	for (size_t i = 0; i < v->n_ports; i++)
		json_object_array_add(arr, net_port_to_json(&v->ports[i]));
	return arr;
}
