/* vmlinux.h - a kernel file (bzImage or ELF) to the uncompressed ELF every engine boots.
 *
 * Input is treated as hostile: every offset is checked against the file, every size against
 * VMLINUX_MAX before memory is taken. The result always has a PVH entry (XEN_ELFNOTE_PHYS32_ENTRY),
 * because that is how QEMU microvm starts it. */
#ifndef FCVM_IMAGE_VMLINUX_H
#define FCVM_IMAGE_VMLINUX_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

#define VMLINUX_MAX (256u << 20) /* of the input file and of the ELF */

/* Appends the ELF to out, which must be empty with a max of VMLINUX_MAX. Sentences begin with what
 * is wrong, without a file name. */
int vmlinux_extract(const uint8_t *image, size_t len, struct buf *out, struct err *err);
/* x86-64 ELF with loadable segments inside the file and a PVH note? */
int vmlinux_check_elf(const uint8_t *elf, size_t len, struct err *err);
/* from -> to (0644, whole or not at all); the caller names the kernel in the sentence. */
int vmlinux_convert(const char *from, const char *to, struct err *err);

#endif
