/* vmstate.h - what is known of the VM, and status.json: every change is written beside and renamed
 * over, so a reader sees whole states only. */
#ifndef FCVM_SUPERVISE_VMSTATE_H
#define FCVM_SUPERVISE_VMSTATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"
#include "err.h"
#include "host.h"
#include "net.h"
#include "proc.h"
#include "vm.h"

enum vm_run { RUN_CREATING, RUN_RUNNING, RUN_READY, RUN_STOPPED, RUN_FAILED, RUN_LOST };
enum vm_health { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

/* Why a VM is not running any more. */
enum vm_ended {
	ENDED_NOT,
	ENDED_EXITED,    /* the container ended */
	ENDED_POWEROFF,  /* the guest switched itself off */
	ENDED_REQUESTED, /* stop */
	ENDED_REAPED,    /* its memory and disk became a snapshot */
	ENDED_CRASHED,   /* the VMM or its start failed */
	ENDED_MEMSERVER, /* its memory server is gone */
};

#define VMSTATE_GATES_MAX 16

struct gate {
	char name[24];
	uint64_t ms;
};

struct vmstate {
	char *path; /* status.json */
	const char *vm_id, *engine;
	enum vm_accel accel;
	bool has_accel;
	struct proc_id self;
	enum vm_run run;
	enum vm_health health;
	enum vm_ended ended;
	struct proc_id vmm; /* pid 0: none */
	uid_t uid;
	char *snapshot, *backend, *container;
	pid_t serve_pid;
	int64_t created_at; /* unix ms */
	uint64_t ready_ms;  /* 0: not yet */
	struct gate gates[VMSTATE_GATES_MAX];
	size_t n_gates;
	int exit_code; /* -1: none */
	uint32_t restarts;
	const struct net_view *net; /* NULL: not yet */
	char *error;
	struct strv boot_retries;
};

void vmstate_free(struct vmstate *s);
struct json_object *vmstate_to_json(const struct vmstate *s); /* the caller puts it */
int vmstate_save(const struct vmstate *s, struct err *err);
/* What an event tells of it: state, health, restarts, and of one that ended why. */
void vmstate_add_event(const struct vmstate *s, struct json_object *o);
/* Moves to run; false, and nothing changes, where no such step exists (an end is final but for a
 * restart, which goes back to creating). */
bool vmstate_move(struct vmstate *s, enum vm_run to);
/* Names a gate once; a repeated name replaces, too many are dropped. */
void vmstate_gate(struct vmstate *s, const char *name, uint64_t ms);
/* msg may hold what a guest said: it is made readable. NULL: none. */
void vmstate_set_error(struct vmstate *s, const char *msg);
void vmstate_set_text(char **at, const char *text); /* a copy; NULL = unknown */
/* For a new try: gates, health, error, exit code and VMM are of the last one. */
void vmstate_reset(struct vmstate *s);
const char *vmstate_run_name(enum vm_run run);

#endif
