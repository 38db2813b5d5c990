/* qemu_sight.h - which files QEMU sees when it runs as an ordinary user (hide.h). */
#ifndef FCVM_ENGINE_QEMU_SIGHT_H
#define FCVM_ENGINE_QEMU_SIGHT_H

#include "engine.h"
#include "hide.h"

struct qemu_sight {
	struct hide hide;
	char *owned[HIDE_KEEP_MAX]; /* what hide points to and nobody else has */
	size_t n_owned;
};

/* binary: the absolute path that is executed; memory: the snapshot's, NULL at a boot. Of the data
 * directory the VM's own, the snapshot's and the cache are kept, and of a QEMU that lies in the
 * user's files its directory with the data beside it. Pure but for HOME; borrows its arguments. */
void qemu_sight_of(const struct vm *vm, const char *binary, const char *memory,
		   struct qemu_sight *ret);
void qemu_sight_free(struct qemu_sight *s);
#define auto_sight __attribute__((cleanup(qemu_sight_free)))

#endif
