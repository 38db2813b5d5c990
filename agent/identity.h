/* identity.h - who this guest is: host name, machine-id, boot_id, epoch, metadata. Files are
 * rewritten in place, because containers have them bind-mounted. */
#ifndef FCVM_AGENT_IDENTITY_H
#define FCVM_AGENT_IDENTITY_H

#include "agent.h"
#include "proto_workload.h"

/* At boot: makes the files, shadows /proc's boot_id with ours. */
int identity_setup(struct agent *agent, struct err *err);
/* All of a resume's identity. Texts are checked first, nothing is written when one is bad. */
int identity_apply(struct agent *agent, const struct proto_resume *r, struct err *err);
int identity_set_metadata(struct agent *agent, const char *metadata, struct err *err);
/* The current boot_id; "" when it cannot be read. */
void identity_boot_id(struct agent *agent, char ret[37]);

#endif
