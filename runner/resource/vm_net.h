/* vm_net.h - a VM's network: what the spec says in the words of the supervisor (net_config.h), and
 * as fields of a plan. Pure. */
#ifndef FCVM_RESOURCE_VM_NET_H
#define FCVM_RESOURCE_VM_NET_H

#include "field_list.h"
#include "fleet.h"
#include "net_config.h"
#include "resource.h"

/* Nodes here are baselines and clones with a spec. `auto` is what this host can do best. */
enum net_mode vm_net_mode(const struct resource_choice *choice, const struct network_spec *n);
/* The caller frees with net_config_free(). */
int vm_net_config(const struct resource_choice *choice, const struct node *node,
		  struct net_config *ret, struct err *err);
/* The mode replaces the VM but nothing made from it; ports, egress and resolvers change in place.
 */
void vm_net_describe(const struct resource_choice *choice, const struct node *node,
		     struct field_list *ret);

/* As resource_ops has it: ports, 0.0.0.0 being every address. */
void vm_net_claims(const struct resource_ctx *ctx, const struct node *node,
		   struct json_object *record, struct strv *ret_wants, struct strv *ret_holds);

/* Ports of *net that the record does not have are left out. */
void vm_net_keep_recorded(struct json_object *record, struct net_config *net);
/* What the VM publishes, by its status, becomes what seen's record says: a change that was begun
 * may have ended half-way. */
void vm_net_observe(struct json_object *status, struct seen *seen);

/* Port i of the node, and where it is said: "fleets.web.ports[0]"; the caller frees. */
struct vm_net_port {
	struct port port;
	struct place at;
	char *path;
};
size_t vm_net_count(const struct node *node);
int vm_net_port(const struct node *node, size_t i, struct vm_net_port *ret, struct err *err);

#endif
