/* init.h - PID 1's own work: from the initrd to a guest in which Podman runs. */
#ifndef FCVM_AGENT_INIT_H
#define FCVM_AGENT_INIT_H

#include <stddef.h>

#include "agent.h"
#include "buf.h"

/* Stage 1, in the initrd: kernel file systems, modules, disks by serial, overlay root, chroot. */
int init_enter_root(struct err *err);
/* Stage 2, in the root: mounts, cgroups, image stores, Podman's configuration, network, identity.
 */
int init_setup(struct agent *agent, struct err *err);
/* Says why on the console and ends the VM. */
__attribute__((noreturn)) void init_die(const struct err *err);

/* What init_detect_fstype says of a disk. */
int init_probe_fstype(const char *dev, const char **ret, struct err *err);

/* Pure: the value of NAME= on a kernel command line into ret ("" when absent or too long). */
void init_cmdline_value(const char *cmdline, const char *name, char *ret, size_t size);
/* Pure: squashfs | erofs | ext4 by the first 2 KiB of a disk; NULL when it is none of them. */
const char *init_detect_fstype(const uint8_t *head, size_t len);
/* Pure: storage.conf with n image stores /images/0.. */
void init_storage_conf(size_t n_stores, struct buf *out);

#endif
