/* view.h - what the spec says, in the words of the supervisor (client.h). Results borrow every
 * string from the spec; arrays of hooks are the caller's to free(). */
#ifndef FCVM_RESOURCE_VIEW_H
#define FCVM_RESOURCE_VIEW_H

#include "assets.h"
#include "client.h"
#include "field_list.h"
#include "fleet.h"
#include "resource.h"
#include "vm.h"

#define VIEW_STORE_SERIAL "img0" /* the agent mounts every disk named img* as an image store */

struct health_spec view_health(const struct probe_spec *p);
struct hook *view_hooks(const struct hook_spec *hooks, size_t n);
struct workload view_workload(const struct container_spec *c, const char *reference);
/* The probe a clone of this fleet runs: its own, else its baseline's; NULL: what the snapshot's
 * manifest says (snapshots taken by hand). */
const struct probe_spec *view_clone_probe(const struct fleet_spec *f);

/* Everything below *ret is a copy: vm_config_free(). */
void view_config(const struct resource_choice *choice, const struct baseline_spec *b,
		 const struct kernel_have *kernel, const struct rootfs_have *rootfs,
		 const char *store, struct vm_config *ret);

/* The probe as fields: target with class `target`, the rest (intervals, retries) in place. */
void view_describe_probe(const struct probe_spec *p, const char *entry, enum change target,
			 enum change rest, struct field_list *ret);
void view_describe_hooks(const struct hook_spec *hooks, size_t n, const char *entry,
			 const char *leaf, enum change change, struct field_list *ret);

#endif
