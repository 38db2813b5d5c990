/* vmlogs.h - what containers and the console say, from the guest to <instance>/logs/NAME.log and
 * <instance>/console.log. Names and bytes are the guest's: names are checked, their number and
 * every file are bounded. */
#ifndef FCVM_SUPERVISE_VMLOGS_H
#define FCVM_SUPERVISE_VMLOGS_H

#include <stdint.h>

#include "err.h"
#include "loop.h"

#define VMLOGS_FILE_MAX (UINT64_C(16) << 20)
#define VMLOGS_CONSOLE_MAX (UINT64_C(1) << 20)
#define VMLOGS_NAMES_MAX 16u

struct vmlogs;

int vmlogs_new(struct loop *loop, const char *dir, struct vmlogs **ret, struct err *err);
void vmlogs_free(struct vmlogs *l);
/* fd (owned): the agent's log connection, frames of MSG_LOG. */
int vmlogs_attach(struct vmlogs *l, int fd, struct err *err);
/* A fresh console pipe; *ret_write_fd is the caller's, to be closed once the VMM has it. */
int vmlogs_console(struct vmlogs *l, int *ret_write_fd, struct err *err);
/* Takes in what both still hold, writes it and lets go of them. */
void vmlogs_detach(struct vmlogs *l);
/* Bytes the agent has sent so far: as long as it grows, more may be coming. */
uint64_t vmlogs_received(const struct vmlogs *l);
/* The last lines of the console, for an error sentence; caller frees. Never NULL. */
char *vmlogs_console_tail(const struct vmlogs *l);

#endif
