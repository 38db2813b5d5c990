/* restart.h - whether a VM that ended comes back, and when. Pure. */
#ifndef FCVM_SUPERVISE_RESTART_H
#define FCVM_SUPERVISE_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "vmstate.h"

#define RESTART_FIRST_MS UINT64_C(1000)
#define RESTART_LAST_MS UINT64_C(60000)

enum restart_policy { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS };

int restart_parse(const char *s, enum restart_policy *ret, struct err *err); /* NULL = "no" */
/* What was stopped by hand or became a snapshot never comes back. */
bool restart_wanted(enum restart_policy policy, enum vm_ended ended, int exit_code);
/* tries in a row without a VM that stayed up for RESTART_LAST_MS: 1 s, 2 s, 4 s ... 1 min. */
uint64_t restart_delay_ms(uint32_t tries);

#endif
