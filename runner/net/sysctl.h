/* sysctl.h - /proc/sys/net of the namespace the caller is in. */
#ifndef FCVM_NET_SYSCTL_H
#define FCVM_NET_SYSCTL_H

#include <stdbool.h>

#include "err.h"

/* net.FAMILY.conf.LINK.KEY; a key this kernel lacks (no IPv6) is fine when `optional`. */
struct sysctl {
	const char *family, *link, *key;
	bool optional;
};
int sysctl_set(const struct sysctl *s, bool on, struct err *err);
/* False as well when it cannot be read. */
bool sysctl_get(const struct sysctl *s);

#endif
