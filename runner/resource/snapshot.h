/* snapshot.h - an immutable directory, <set>/snapshots/NAME/KEY12, published by rename. */
#ifndef FCVM_RESOURCE_SNAPSHOT_H
#define FCVM_RESOURCE_SNAPSHOT_H

#include "kinds.h"

/* What is taken and from where. */
struct snapshot_take {
	const char *vm_dir; /* of the running VM */
	enum supervisor_until until;
	uint64_t ready_timeout_ms;
	const struct hook_spec *prepare;
	size_t n_prepare;
	uint64_t settle_ms;
	bool keep_running;
};

/* Takes it and publishes it; record (state "creating", with name and key) is on disk first and
 * "ready" with dir, gid and manifest figures last. An older snapshot of that name stays, listed
 * in the record, until snapshot_prune(). Leftovers of a try that died half way are removed. */
int snapshot_take(const struct resource_ctx *ctx, const struct snapshot_take *how,
		  struct json_object *record, const struct seen *before, struct err *err);
/* The directory of a ready record, NULL when it has none inside the set. */
const char *snapshot_dir(const struct resource_ctx *ctx, struct json_object *record);

#endif
