/* publish.c - whether the ports that are about to be published are free. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "map.h"
#include "net.h"
#include "record.h"
#include "vm_net.h"
#include "xalloc.h"

static bool lives(const struct host *host, struct json_object *record)
{
	struct proc_id id;

	return record_get_proc(record, "supervisor", &id) && proc_id_alive(&id, host->boot_id);
}

/* At the port's place in the spec; `how` says what is the matter, and the way out. */
static int refuse(const struct resource_ctx *ctx, const struct vm_net_port *want,
		  const struct err *how, struct err *err)
{
	auto_free char *place = vm_net_place(ctx->fleet, want->at);

	(void)err_set(err, ERR_HOST, how->code, "%s%s: %s", place, want->path, how->msg);
	return err_hint(err, "%s", how->hint);
}

static int refuse_taken(const struct resource_ctx *ctx, const struct vm_net_port *want,
			const struct net_holder *by, struct err *err)
{
	auto_free char *holder = by->pid ? xasprintf("pid %d (%s)", (int)by->pid, by->name)
					 : xstrdup("a process of another user");
	char name[PORT_TEXT_SIZE];
	struct err how = {0};

	(void)err_set(&how, ERR_HOST, -EADDRINUSE, "port %s is taken by %s",
		      port_name(&want->port, name), holder);
	(void)err_hint(&how, "choose another host port, or end what holds it");
	return refuse(ctx, want, &how, err);
}

static int admit(const struct resource_ctx *ctx, const struct vm_net_port *want,
		 const struct map *ours, struct err *err)
{
	const struct port *p = &want->port;
	struct net_port port = {
		.host_port = p->host_port, .guest_port = p->guest_port, .udp = p->udp};
	char name[PORT_TEXT_SIZE];
	struct net_holder by;
	struct err how = {0};

	/* The VM's own address is given to it when it is made. */
	if (!*p->host_ip || map_has(ours, port_name(p, name)))
		return 0;
	memcpy(port.host_ip, p->host_ip, sizeof(port.host_ip));
	int r = net_port_holder(&port, &by, &how);
	if (r == 0)
		return 0;
	return r < 0 ? refuse(ctx, want, &how, err) : refuse_taken(ctx, want, &by, err);
}

static int admit_node(const struct resource_ctx *ctx, const struct node *node,
		      const struct map *ours, struct err *err)
{
	size_t n = vm_net_count(node);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++) {
		struct vm_net_port want = {0};

		r = vm_net_port(node, i, &want, err);
		if (r >= 0)
			r = admit(ctx, &want, ours, err);
		free(want.path);
	}
	return r;
}

/* What a live VM of the set has is given up before another of its VMs takes it. */
static void remember(const struct resource_ctx *ctx, const struct node *node,
		     struct json_object *record, struct map *ours)
{
	auto_strv struct strv holds = {0};

	vm_net_claims(ctx, node, record, NULL, &holds);
	if (holds.n == 0 || !lives(ctx->host, record))
		return;
	for (size_t i = 0; i < holds.n; i++)
		(void)map_add(ours, holds.v[i], ours);
}

static bool is_vm(const struct node *n)
{
	return n->kind == RESOURCE_CLONE || n->kind == RESOURCE_BASELINE;
}

static bool publishes(const struct node *n)
{
	return is_vm(n) && n->spec && vm_net_count(n) > 0;
}

int resource_admit_ports(const struct resource_ctx *ctx, const struct node *nodes,
			 const struct seen *seen, size_t n, const bool *making, struct err *err)
{
	auto_map struct map ours = {0};
	size_t first = 0;
	int r = 0;

	while (first < n && !(making[first] && publishes(&nodes[first])))
		first++;
	for (size_t i = 0; first < n && i < n; i++)
		if (is_vm(&nodes[i]) && seen[i].record)
			remember(ctx, &nodes[i], seen[i].record, &ours);
	for (size_t i = first; r >= 0 && i < n; i++)
		if (making[i] && publishes(&nodes[i]))
			r = admit_node(ctx, &nodes[i], &ours, err);
	return r;
}
