/* publish.c - whether the ports that are about to be published are free. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "map.h"
#include "net.h"
#include "parse.h"
#include "record.h"
#include "vm_net.h"
#include "xalloc.h"

#define STAT_MAX 4096u
#define ANCESTORS_MAX 4

/* What live VMs have that this plan changes or takes away: it is given up before another takes it.
 */
struct ours {
	struct map ports; /* names as port_name() gives them */
	struct map pids;  /* their supervisors, in decimal */
};

static void ours_free(struct ours *o)
{
	map_free(&o->ports);
	map_free(&o->pids);
}
#define auto_ours __attribute__((cleanup(ours_free)))

static void remember(const struct resource_ctx *ctx, const struct node *node,
		     struct json_object *record, struct ours *ours)
{
	auto_strv struct strv holds = {0};
	struct proc_id id;
	char pid[16];

	vm_net_claims(ctx, node, record, NULL, &holds);
	if (holds.n == 0 || !record_get_proc(record, "supervisor", &id) ||
	    !proc_id_alive(&id, ctx->host->boot_id))
		return;
	(void)snprintf(pid, sizeof(pid), "%d", (int)id.pid);
	(void)map_add(&ours->pids, pid, ours);
	for (size_t i = 0; i < holds.n; i++)
		(void)map_add(&ours->ports, holds.v[i], ours);
}

/* 0: gone. */
static pid_t parent_of(pid_t pid)
{
	auto_free char *path = xasprintf("/proc/%d/stat", (int)pid);
	auto_buf struct buf text = BUF_INIT(STAT_MAX);
	uint64_t parent = 0;

	if (file_read(path, STAT_MAX, &text, NULL) < 0)
		return 0;
	const char *rest = strrchr(buf_str(&text), ')');
	/* ") S 123 ..." */
	if (!rest || strlen(rest) < 5)
		return 0;
	auto_free char *number = xstrndup(rest + 4, strcspn(rest + 4, " "));
	return parse_u64(number, 1, INT32_MAX, &parent, NULL) < 0 ? 0 : (pid_t)parent;
}

/* At another address, say: a supervisor of ours, or what it forwards with, some forks below. */
static bool is_ours(const struct ours *ours, pid_t pid)
{
	for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++, pid = parent_of(pid)) {
		char text[16];

		(void)snprintf(text, sizeof(text), "%d", (int)pid);
		if (map_has(&ours->pids, text))
			return true;
	}
	return false;
}

/* At the port's place in the spec; `how` says what is the matter, and the way out. */
static int refuse(const struct resource_ctx *ctx, const struct vm_net_port *want,
		  const struct err *how, struct err *err)
{
	(void)err_set(err, ERR_HOST, how->code, "%s", how->msg);
	(void)err_hint(err, "%s", how->hint);
	return fleet_refuse(ctx->fleet, want->at, want->path, err);
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

/* The VM's own address is given to it when it is made; only whether the user may have such a port
 * can be told before. */
static int admit_own(const struct resource_ctx *ctx, const struct vm_net_port *want,
		     struct err *err)
{
	const struct net_port probe = {"127.0.0.1", want->port.host_port, want->port.guest_port,
				       want->port.udp};
	struct net_holder by;
	struct err how = {0};
	char name[PORT_TEXT_SIZE];

	if (net_port_holder(&probe, &by, &how) != -EACCES)
		return 0;
	/* Without the colon in front. */
	(void)snprintf(how.msg, sizeof(how.msg), "cannot publish %s: Permission denied",
		       port_name(&want->port, name) + 1);
	return refuse(ctx, want, &how, err);
}

static int admit(const struct resource_ctx *ctx, const struct vm_net_port *want,
		 const struct ours *ours, struct err *err)
{
	const struct port *p = &want->port;
	struct net_port port = {
		.host_port = p->host_port, .guest_port = p->guest_port, .udp = p->udp};
	char name[PORT_TEXT_SIZE];
	struct net_holder by;
	struct err how = {0};

	if (!*p->host_ip)
		return ctx->host->is_root ? 0 : admit_own(ctx, want, err);
	if (map_has(&ours->ports, port_name(p, name)))
		return 0;
	memcpy(port.host_ip, p->host_ip, sizeof(port.host_ip));
	int r = net_port_holder(&port, &by, &how);
	if (r == 0 || (r > 0 && is_ours(ours, by.pid)))
		return 0;
	return r < 0 ? refuse(ctx, want, &how, err) : refuse_taken(ctx, want, &by, err);
}

static int admit_node(const struct resource_ctx *ctx, const struct node *node,
		      const struct ours *ours, struct err *err)
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

static bool is_vm(const struct node *n)
{
	return n->kind == RESOURCE_CLONE || n->kind == RESOURCE_BASELINE;
}

static bool publishes(const struct node *n)
{
	return is_vm(n) && n->spec && vm_net_count(n) > 0;
}

int resource_admit_ports(const struct resource_ctx *ctx, const struct node *nodes,
			 const struct seen *seen, size_t n, const bool *making, const bool *leaving,
			 struct err *err)
{
	auto_ours struct ours ours = {0};
	size_t first = 0;
	int r = 0;

	while (first < n && !(making[first] && publishes(&nodes[first])))
		first++;
	for (size_t i = 0; first < n && i < n; i++)
		if (leaving[i] && is_vm(&nodes[i]) && seen[i].record)
			remember(ctx, &nodes[i], seen[i].record, &ours);
	for (size_t i = first; r >= 0 && i < n; i++)
		if (making[i] && publishes(&nodes[i]))
			r = admit_node(ctx, &nodes[i], &ours, err);
	return r;
}
