/* fc_json.h - struct vm_config to the bodies of Firecracker's requests; pure. Almost every body of
 * it refuses fields it does not know: nothing optional is sent as null, nothing newer than the
 * version. Each function returns malloc'ed text. */
#ifndef FCVM_ENGINE_FC_JSON_H
#define FCVM_ENGINE_FC_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "vm.h"

/* Names in the VMM's working directory, and its devices' names in requests. */
#define FC_VSOCK "v.sock"
#define FC_UFFD "uffd.sock"
#define FC_STATE "vmstate"
#define FC_NIC "eth0"
#define FC_GUEST_CID 3
#define FC_CPUS_MAX 32
#define FC_PAYLOAD_MAX 131072 /* of a request; metadata is the largest */

/* What the VM asks for and Firecracker cannot. */
int fc_json_check(const struct vm_config *c, struct err *err);

char *fc_json_machine(const struct vm_config *c);
char *fc_json_boot(const struct vm_config *c);
/* Disk number i; its name in paths, too, is d<i>: only letters, digits and _ are taken. */
char *fc_json_drive(const struct vm_config *c, size_t i);
char *fc_json_nic(void);
char *fc_json_vsock(void);
char *fc_json_mmds_config(void);
char *fc_json_action(const char *type);
char *fc_json_vm_state(const char *state);
char *fc_json_snapshot(void);

struct fc_load {
	const char *state_path;
	const char *memory_path; /* NULL: the page server behind FC_UFFD */
	bool network_overrides, vsock_override, clock_realtime;
};
/* Loads and resumes. */
char *fc_json_load(const struct fc_load *l);

#endif
