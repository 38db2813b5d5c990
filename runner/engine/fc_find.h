/* fc_find.h - which firecracker is installed, what it can, and whether fcvm drives it. */
#ifndef FCVM_ENGINE_FC_FIND_H
#define FCVM_ENGINE_FC_FIND_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "host.h"
#include "probe.h"

struct fc_version {
	unsigned int major, minor, patch;
};

/* Fields of requests that older versions answer with 400: bodies name only what the version has. */
enum fc_feature {
	FC_NETWORK_OVERRIDES,
	FC_VSOCK_OVERRIDE,
	FC_CLOCK_REALTIME, /* beyond the version, the host's kernel must be 5.16 or newer */
	FC_N_FEATURES,
};

/* FCVM_FIRECRACKER, else PATH; *ret is malloc'ed. -ENOENT when there is none. */
int fc_find(const struct host *host, char **ret, struct err *err);
/* Asks the binary for its version and snapshot format; for probe_binary(). */
int fc_ask(const char *binary, struct probe_binary *ret, struct err *err);

/* The same of a jailer, which has no format. */
int fc_ask_jailer(const char *binary, struct probe_binary *ret, struct err *err);

/* "Firecracker v1.16.1\n..." -> "1.16.1", "v10.0.0\n..." -> "10.0.0"; pure. */
int fc_parse_version(const char *text, char *ret, size_t size, struct err *err);
int fc_parse_format(const char *text, char *ret, size_t size, struct err *err);
/* "1.16.1" or "1.17.0-dev". */
int fc_read_version(const char *text, struct fc_version *ret, struct err *err);
/* Refuses, with the reason, what fcvm does not drive. */
int fc_check_version(const struct fc_version *v, struct err *err);
bool fc_has(const struct fc_version *v, enum fc_feature feature);
/* "6.18.44-fc": may a clone's kvmclock be set by the host's real time? */
bool fc_kernel_sets_clock(const char *release);

#endif
