/* doctor.h - one question doctor asks of this host; those about networks have a file of their own.
 */
#ifndef FCVM_CMD_DOCTOR_H
#define FCVM_CMD_DOCTOR_H

#include "buf.h"
#include "engine.h"
#include "host.h"

struct finding {
	bool ok;
	struct buf value; /* what was found */
	struct buf hint;  /* the way out when not ok */
};

struct examined {
	const struct host *host;
	struct engine_caps qemu, firecracker;
	struct err qemu_err, firecracker_err; /* code 0: the engine has the answers */
	char *dir; /* the data directory, or the nearest one above it that exists */
};

/* Each fills f, whose ok is false; name is the check's. */
typedef void doctor_check(const struct examined *e, const char *name, struct finding *f);
doctor_check doctor_tool; /* the program of that name is there */
doctor_check doctor_tun, doctor_userns, doctor_nftables, doctor_forwarding, doctor_forward_drop;
doctor_check doctor_ports;

#endif
