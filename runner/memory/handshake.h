/* handshake.h - Firecracker's hand-off, received from a VMM that may be hostile.
 *
 * One message on a Unix stream: a JSON array of regions and one userfaultfd by SCM_RIGHTS; no
 * length, no reply, body and descriptor perhaps in separate reads. */
#ifndef FCVM_MEMORY_HANDSHAKE_H
#define FCVM_MEMORY_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "proc.h"
#include "regions.h"

#define HANDSHAKE_TEXT_MAX 8192u
#define HANDSHAKE_MS 5000 /* from connecting to the whole message */

struct handshake {
	char text[HANDSHAKE_TEXT_MAX];
	size_t len;
	int uffd; /* -1: not there yet; owned */
};

void handshake_init(struct handshake *h);
void handshake_free(struct handshake *h);

/* The peer of sock is this user and process, and that process still is the one that started then.
 */
int handshake_check_peer(int sock, uid_t uid, const struct proc_id *vmm, const char *boot_id,
			 struct err *err);
/* Reads what is there, without blocking. 1: text and descriptor are whole; 0: more must come. The
 * first descriptor counts, others are closed. */
int handshake_read(struct handshake *h, int sock, struct err *err);
/* Checks both: *ret_uffd (the caller's) is a userfaultfd, made non-blocking. */
int handshake_finish(struct handshake *h, uint64_t file_size, struct regions *ret_regions,
		     int *ret_uffd, struct err *err);
/* The regions in the text. Pure. */
int handshake_parse(const char *text, size_t len, uint64_t file_size, struct regions *ret,
		    struct err *err);

#endif
