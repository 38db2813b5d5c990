/* guest_records.h - what the host asked to keep: opaque values under opaque keys, handed back to a
 * server that knows nothing of this mount. One caller at a time. */
#ifndef FCVM_FUSE_PIPE_GUEST_RECORDS_H
#define FCVM_FUSE_PIPE_GUEST_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

struct guest_record;

struct guest_records {
	struct guest_record **buckets;
	size_t n, n_buckets; /* a power of two, 0 at first */
};

/* key and value as an FP_T_KEEP item has them; replaces what the key had. Beyond the limit another
 * key is not kept. */
int guest_records_keep(struct guest_records *records, const uint8_t *data, size_t len,
		       struct err *err);
/* Fine if there is none. */
void guest_records_drop(struct guest_records *records, const uint8_t *key);
/* Where a walk stands; {0} at first. Valid while nothing is kept or dropped. */
struct guest_records_pos {
	size_t bucket;
	const struct guest_record *next;
};
/* Appends one bare frame with the next records, as many as fit; the last one has FP_F_END. Returns
 * false when that was it. */
bool guest_records_frame(const struct guest_records *records, struct guest_records_pos *pos,
			 struct buf *out);
void guest_records_free(struct guest_records *records);

#endif
