/* host_rules.h - the text of the host's table. Pure. */
#ifndef FCVM_NET_HOST_RULES_H
#define FCVM_NET_HOST_RULES_H

#include "strv.h"

/* An empty chain whose name says which generation of the rules is loaded. */
#define HOST_RULES_MARKER "gen_"
#define HOST_RULES_MARKER_SIZE 24

void host_rules_marker(char ret[HOST_RULES_MARKER_SIZE]);
/* A transaction that makes the table what it should be: rules are replaced, sets and what is in
 * them stay. stale: markers that go. Caller frees. */
char *host_rules_text(const struct strv *stale);

#endif
