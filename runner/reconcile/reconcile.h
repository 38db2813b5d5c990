/* reconcile.h - the loop: observe, diff, plan, execute. */
#ifndef FCVM_RECONCILE_RECONCILE_H
#define FCVM_RECONCILE_RECONCILE_H

#include "buf.h"
#include "session.h"

/* What apply would do, as text or (options->json) JSON, into out, also when it is refused for a
 * port that is taken or a directory that is missing. Changes nothing. */
int reconcile_plan(const struct host *host, const struct fleet *fleet,
		   const struct reconcile_options *options, bool destroy, bool all, struct buf *out,
		   bool *ret_changes, struct err *err);
/* Makes it so. *ret_changes: whether there was anything to do. */
int reconcile_apply(const struct host *host, const struct fleet *fleet,
		    const struct reconcile_options *options, bool *ret_changes, struct err *err);
/* Removes everything the set ever made, and the set. fleet may be NULL; with it the set must be
 * the spec's. Nothing there is success. ERR_CLEANUP names what is left. */
int reconcile_destroy(const struct host *host, const struct fleet *fleet, const char *set_name,
		      const struct reconcile_options *options, struct err *err);

/* Refuses (ERR_HOST, by how much) a plan that does not fit on this machine. */
int reconcile_admit(struct session *run, struct err *err);
/* Only whether the ports that would be published are free, and host volumes there. */
int reconcile_admit_host(struct session *run, struct err *err);

#endif
