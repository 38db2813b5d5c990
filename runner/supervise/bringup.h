/* bringup.h - what a supervisor was asked to make of its VM. */
#ifndef FCVM_SUPERVISE_BRINGUP_H
#define FCVM_SUPERVISE_BRINGUP_H

#include "client.h"
#include "vm.h"
#include "workload_json.h"

/* How to make the VM; kept for restarts. */
struct bringup_spec {
	bool restore;
	struct vm_config config; /* restore: the manifest's */
	struct workload workload;
	bool has_workload;
	bool workload_in_snapshot; /* restore: it runs there already */
	char *hostname, *metadata;
	char *snapshot_dir, *backend, *memserver;
	struct hook *hooks;
	size_t n_hooks;
	bool health_override;
	struct net_config net;
	struct volume_list volumes; /* restore: the manifest's, unless the request had others */
	bool has_volumes;           /* restore: the request had them */
	uint32_t gid;
	uint64_t timeout_ms;
};

void bringup_spec_free(struct bringup_spec *l);

#endif
