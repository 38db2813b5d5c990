/* initrd.h - the guest's first file system: our agent as /init and the kernel's modules. */
#ifndef FCVM_IMAGE_INITRD_H
#define FCVM_IMAGE_INITRD_H

#include <sys/types.h>

#include "buf.h"
#include "cache.h"

/* --- cpio "newc" archives, written into a buf --- */
struct cpio_entry {
	const char *name; /* without leading slash */
	mode_t mode;      /* type and permissions */
	dev_t rdev;       /* device nodes only */
	const void *data;
	size_t len;
};
void cpio_add(struct buf *out, const struct cpio_entry *e);
/* The trailer that ends an archive. */
void cpio_end(struct buf *out);

/* The initrd of a kernel entry (its m/ and modules.list) and the embedded agent; cached by the
 * digests of both. The file in the entry is INITRD_NAME. */
#define INITRD_NAME "initrd.cpio"
int initrd_ensure(const struct host *host, const struct cache_entry *kernel,
		  const struct asset_progress *progress, struct cache_entry *ret, struct err *err);
int initrd_lookup(const struct host *host, const struct cache_entry *kernel,
		  struct cache_entry *ret, struct err *err);

#endif
