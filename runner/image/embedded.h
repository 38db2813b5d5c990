/* embedded.h - the embedded binaries for the other builders of this folder. */
#ifndef FCVM_IMAGE_EMBEDDED_H
#define FCVM_IMAGE_EMBEDDED_H

#include <stddef.h>

#include "digest.h"

/* The agent's bytes and digest, in memory. */
const void *embedded_agent_data(size_t *ret_len);
void embedded_agent_digest(char ret[DIGEST_HEX_SIZE]);

#endif
