/* proc_priv.h - shared inside runner/host only. */
#ifndef FCVM_HOST_PROC_PRIV_H
#define FCVM_HOST_PROC_PRIV_H

#include "err.h"

/* fork() without the C library's locks, which another thread may have held when a child that calls
 * this was forked itself. 0 in the child, which must not allocate. */
int proc_fork_raw(void);
int proc_boot_id(char ret[37], struct err *err);

#endif
