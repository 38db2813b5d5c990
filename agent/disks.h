/* disks.h - virtio disks by serial; waits on the kernel's events, never by sleeping. */
#ifndef FCVM_AGENT_DISKS_H
#define FCVM_AGENT_DISKS_H

#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "proto_volume.h"
#include "strv.h"

/* Listens to the kernel's device events; before modules are loaded. */
int disks_watch(int *ret_fd, struct err *err);
/* Waits until `ready` says yes (1), looking again at every event; -ETIMEDOUT at the deadline. */
int disks_wait(int watch_fd, int (*ready)(void *data), void *data, uint64_t deadline_ms);
/* "/dev/vdX" of the disk with this serial, waited for; caller frees. */
int disks_find(int watch_fd, const char *serial, uint64_t deadline_ms, char **ret, struct err *err);
/* Where the VMM gives disks serials of its own making, "fcvm.disks=root,data" on the kernel's
 * command line names them in their order. *ret gets that of "vda"..., or nothing; pure. */
void disks_serial_by_order(const char *cmdline, const char *device, struct buf *ret);
/* Serials that begin with prefix, sorted. */
int disks_list(const char *prefix, struct strv *ret, struct err *err);
/* Mounts the drive whose serial is the volume's source at its target, which exists. A writable one
 * is blank: like /tmp, everybody may write to it. */
int disks_mount_volume(const struct proto_volume *v, struct err *err);

#endif
