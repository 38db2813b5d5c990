/* proto_volume.h - the volumes of a VM in MSG_RESUME, as plain structs: what is mounted where. */
#ifndef FCVM_AGENT_PROTO_VOLUME_H
#define FCVM_AGENT_PROTO_VOLUME_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define PROTO_VOLUMES_MAX 32

struct proto_volume {
	char *name;
	char *kind;   /* "disk", "host" */
	char *target; /* where, in the guest and in every container */
	char *source; /* disk: serial of its drive */
	uint64_t read_only;
	uint64_t trusted; /* host: device nodes and set-id bits work */
};

struct proto_volumes {
	struct proto_volume *v;
	size_t n;
};

void proto_volumes_free(struct proto_volumes *l);
#define auto_proto_volumes __attribute__((cleanup(proto_volumes_free)))

/* Appends one TAG_VOLUME. */
void proto_put_volume(struct buf *out, const struct proto_volume *v);
/* Every TAG_VOLUME of a body, checked: targets may be mounted over and are distinct. *ret must be
 * zeroed; it is valid to free after a failure. */
int proto_get_volumes(const uint8_t *body, size_t len, struct proto_volumes *ret, struct err *err);

#endif
