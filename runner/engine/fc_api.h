/* fc_api.h - Firecracker's REST API over its Unix socket: one function per call. Replies are the
 * VMM's, which is not trusted: bounded, and one connection a request, so that nothing is ever sent
 * twice and no answer is taken for another's. A mutating call that timed out is never repeated. */
#ifndef FCVM_ENGINE_FC_API_H
#define FCVM_ENGINE_FC_API_H

#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "fc_json.h"
#include "json.h"

#define FC_API_SOCK "api.sock"
#define FC_REPLY_MAX (1u << 20)

struct fc_api;

/* dir/api.sock, which must be uid's; connected to by each call. */
int fc_api_new(const char *dir, uid_t uid, struct fc_api **ret, struct err *err);
void fc_api_free_p(struct fc_api **api);

/* Before InstanceStart. */
int fc_api_put_machine(struct fc_api *api, const struct vm_config *c, uint64_t deadline_ms,
		       struct err *err);
int fc_api_put_boot_source(struct fc_api *api, const struct vm_config *c, uint64_t deadline_ms,
			   struct err *err);
int fc_api_put_drive(struct fc_api *api, const struct vm_config *c, size_t i, uint64_t deadline_ms,
		     struct err *err);
int fc_api_put_nic(struct fc_api *api, uint64_t deadline_ms, struct err *err);
int fc_api_put_vsock(struct fc_api *api, uint64_t deadline_ms, struct err *err);
int fc_api_put_entropy(struct fc_api *api, uint64_t deadline_ms, struct err *err);
int fc_api_put_mmds_config(struct fc_api *api, uint64_t deadline_ms, struct err *err);
/* A JSON object; before a load, too. */
int fc_api_put_mmds(struct fc_api *api, const char *data, uint64_t deadline_ms, struct err *err);
/* InstanceStart | SendCtrlAltDel | FlushMetrics */
int fc_api_put_action(struct fc_api *api, const char *type, uint64_t deadline_ms, struct err *err);

/* Paused | Resumed */
int fc_api_patch_vm(struct fc_api *api, const char *state, uint64_t deadline_ms, struct err *err);
int fc_api_put_snapshot_create(struct fc_api *api, uint64_t deadline_ms, struct err *err);
/* After a 400 the process exits: it is of no more use. */
int fc_api_put_snapshot_load(struct fc_api *api, const struct fc_load *l, uint64_t deadline_ms,
			     struct err *err);

/* "Not started", "Running" or "Paused". */
int fc_api_get_state(struct fc_api *api, char *ret, size_t size, uint64_t deadline_ms,
		     struct err *err);

#endif
