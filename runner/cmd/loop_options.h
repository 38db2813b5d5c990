/* loop_options.h - what plan, apply and destroy have in common: the spec, flags, where output goes.
 */
#ifndef FCVM_CMD_LOOP_OPTIONS_H
#define FCVM_CMD_LOOP_OPTIONS_H

#include "commands.h"
#include "fleet.h"
#include "reconcile.h"

/* Reads the spec (fleet.yaml when path is NULL), prints its problems, refuses what no code
 * executes. */
int load_fleet(const char *path, const struct strv *sets, struct fleet **ret, struct err *err);
/* Prints what the loop found wrong with the spec; returns r. */
int loop_refused(const struct fleet *fleet, int r);
/* Output of the loop: the answer to stdout, the talk to stderr. */
void loop_options_init(const struct command_ctx *ctx, struct reconcile_options *o);

#endif
