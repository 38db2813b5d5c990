/* digest.h - SHA-256 (libcrypto) of bytes, files and canonical field lists. */
#ifndef FCVM_BASE_DIGEST_H
#define FCVM_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define DIGEST_HEX_SIZE 65 /* 64 hex digits and NUL */

struct digest; /* opaque running state */

void digest_free_p(struct digest **d);
#define auto_digest __attribute__((cleanup(digest_free_p)))

struct digest *digest_new(void);
void digest_add(struct digest *d, const void *data, size_t len);
/* Unambiguous: lengths are hashed with the bytes. NULL value differs from "". */
void digest_add_field(struct digest *d, const char *key, const char *value);
void digest_add_u64(struct digest *d, const char *key, uint64_t value);
/* Finishes and resets the state. */
void digest_hex(struct digest *d, char ret[DIGEST_HEX_SIZE]);
void digest_of(const void *data, size_t len, char ret[DIGEST_HEX_SIZE]);
/* HMAC-SHA-256 under one key, which is copied; one thread at a time. Compare what a peer sent with
 * digest_equal(), which takes the same time wherever they differ. */
#define DIGEST_MAC_SIZE 32
struct digest_mac;
void digest_mac_free_p(struct digest_mac **m);
struct digest_mac *digest_mac_new(const void *key, size_t len);
void digest_mac_of(struct digest_mac *m, const void *data, size_t len,
		   uint8_t ret[DIGEST_MAC_SIZE]);
bool digest_equal(const void *a, const void *b, size_t len);
int digest_file(const char *path, char ret[DIGEST_HEX_SIZE], struct err *err);

#endif
