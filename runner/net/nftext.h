/* nftext.h - rulesets as text, through libnftables, in the namespace the caller is in. */
#ifndef FCVM_NET_NFTEXT_H
#define FCVM_NET_NFTEXT_H

#include "err.h"

/* One transaction: all of it or nothing. */
int nftext_run(const char *text, struct err *err);

#endif
