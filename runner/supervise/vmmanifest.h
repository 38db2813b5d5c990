/* vmmanifest.h - manifest.json: what a snapshot is, and whether this host can restore it
 * (decisions 24). Pure but for digests and sizes of files when it is made. */
#ifndef FCVM_SUPERVISE_VMMANIFEST_H
#define FCVM_SUPERVISE_VMMANIFEST_H

#include "client.h"
#include "engine.h"
#include "hostfacts.h"
#include "json.h"

#define VMMANIFEST_FILE "manifest.json"
#define VMMANIFEST_VERSION 1

struct vmmanifest_facts {
	const struct vm_config *config;
	const struct workload *workload; /* NULL: none runs */
	const struct volume_list *volumes;
	const struct engine_caps *caps;
	const char *engine;
	const struct hostfacts *host;
	int64_t created_at; /* unix ms */
	uint64_t pause_ms;
	const char *dir; /* of the snapshot: sizes of its files */
};

/* Digests of kernel, initrd and root file system, which take time: before the pause, not in it. */
struct vmmanifest_digests {
	char kernel[65], initrd[65], rootfs[65];
};
int vmmanifest_digest(const struct vm_config *config, struct vmmanifest_digests *ret,
		      struct err *err);

/* *ret: the caller puts it. */
int vmmanifest_make(const struct vmmanifest_facts *f, const struct vmmanifest_digests *d,
		    struct json_object **ret, struct err *err);

/* What a restore needs of it; every member is checked. */
struct vmmanifest {
	struct vm_config config;
	struct workload workload;
	bool has_workload;
	struct volume_list volumes;
};
void vmmanifest_free(struct vmmanifest *m);
int vmmanifest_read(struct json_object *o, struct vmmanifest *ret, struct err *err);
/* 0: this engine on this host may load it. Else ERR_HOST, saying what differs. */
int vmmanifest_check_host(struct json_object *o, const char *engine, const struct engine_caps *caps,
			  const struct hostfacts *host, struct err *err);

#endif
