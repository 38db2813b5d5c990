/* volume_head.h - the first frame of a volume's stream, by which the agent knows whose it is; what
 * follows is fuse-pipe's (docs/fuse-pipe.md). Both sides use it. */
#ifndef FCVM_AGENT_VOLUME_HEAD_H
#define FCVM_AGENT_VOLUME_HEAD_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define VOLUME_HEAD_MAX 512u /* the whole frame */
#define VOLUME_STREAMS_MAX 16u

void volume_head_put(struct buf *out, const char *target, uint64_t stream);
/* How many bytes more than len the head has, as far as it can be told; 0 when it is whole. */
size_t volume_head_missing(const uint8_t *data, size_t len);
/* Of a whole head: *ret_target is the caller's. */
int volume_head_get(const uint8_t *data, size_t len, char **ret_target, unsigned int *ret_stream,
		    struct err *err);

#endif
