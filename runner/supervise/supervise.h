/* supervise.h - the process behind one VM: `fcvm internal supervise`. Everything else talks to it
 * through client.h. */
#ifndef FCVM_SUPERVISE_SUPERVISE_H
#define FCVM_SUPERVISE_SUPERVISE_H

#include "client.h"
#include "err.h"
#include "host.h"

struct supervise_options {
	struct supervisor_spec spec; /* --dir --tag --engine --vm-id [--events] [--foreground] */
	const char *shim;            /* libfcvm-uffd.so, extracted; restores need it */
	int ready_fd; /* --ready-fd: a pipe's write end, -1 for none. One line goes there: "+PID"
			 once ctl.sock listens, or "-SENTENCE" */
};

/* Goes into the background unless spec.foreground, and returns when the VM has ended for good: 0,
 * or a negative errno when the supervisor itself could not work. Its status.json and logs stay. */
int supervise_main(const struct host *host, const struct supervise_options *options,
		   struct err *err);

#endif
