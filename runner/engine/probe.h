/* probe.h - facts about this machine that cost milliseconds to learn, remembered per boot in
 * <data>/probe.json where that can be written. */
#ifndef FCVM_ENGINE_PROBE_H
#define FCVM_ENGINE_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"
#include "host.h"

/* Below this KVM is emulated, and TCG is as fast. */
#define PROBE_KVM_FAST_MINSN_S 50.0

struct probe_machine {
	double kvm_minsn_s;  /* 0: KVM cannot be used */
	char kvm_error[200]; /* why not, "" when it can */
	uint64_t tsc_khz;
};
/* Never fails: a KVM that does not work is a fact like any other. */
void probe_machine(const struct host *host, struct probe_machine *ret);

struct probe_binary {
	char version[64];
	char format[32]; /* of snapshots; "" where the version says it all */
	char sha256[DIGEST_HEX_SIZE];
};
/* ask fills version and format; called when the binary is another than the last time. */
int probe_binary(const struct host *host, const char *path,
		 int (*ask)(const char *path, struct probe_binary *ret, struct err *err),
		 struct probe_binary *ret, struct err *err);

/* The sentence for engine_caps.why, and whether KVM is the choice; pure. */
bool probe_prefers_kvm(const struct probe_machine *m, char *ret_why, size_t size);
/* The same for engines that have nothing but KVM. */
void probe_kvm_speed(const struct probe_machine *m, char *ret_why, size_t size);

#endif
