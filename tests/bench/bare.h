/* bare.h - the bare engine: what fcvm's VMM is run with (its argv and environment, taken from a
 * running one), run again by the least program that can: a tap, a monitor, the channel. It is the
 * peer of boot, clone and snapshot; nothing of fcvm stands between.
 *
 * Each VM has a process of its own that waits for a word to go, so n of them start at one moment;
 * the clock starts there. What is needed beforehand (its directory, copies of its files, its
 * network namespace) is prepared outside the clock, which favours the peer. */
#ifndef FCVM_TESTS_BENCH_BARE_H
#define FCVM_TESTS_BENCH_BARE_H

#include <stdint.h>
#include <sys/types.h>

#include "strv.h"

struct bare_model {
	struct strv argv, env;
};
/* Of a VMM that runs. */
void bare_capture(pid_t vmm, struct bare_model *ret);
/* A booting VMM's command line as one that waits for a state; its memory stays a shared file, so
 * that it can be saved again. */
void bare_make_incoming(struct bare_model *m);
void bare_model_free(struct bare_model *m);

enum bare_stage {
	BARE_RESTORED, /* vCPUs run; of a boot: the VMM runs */
	BARE_AGENT,    /* its agent said hello */
	BARE_READY,    /* identity, thaw, health; not of a boot */
	BARE_STAGES,
};

struct bare_job {
	const struct bare_model *model;
	const char *dir;    /* the VMM's; holds the files it names relatively */
	const char *state;  /* vmstate to load; NULL: a boot, which ends with the agent's hello */
	const char *memory; /* what its pages come from; served by a plain handler when the model
			     * has a userfaultfd */
};

struct bare_vm {
	pid_t pid; /* of the process around it */
	int fd;    /* to that process */
	pid_t vmm;
	double ms[BARE_STAGES]; /* since go */
};

/* Makes n of them go at once and waits until all are where they should be. */
void bare_start(const struct bare_job *jobs, size_t n, struct bare_vm *ret);
/* Saves the VM's state as a snapshot does (memory stays where it is), lets `cp` copy each of the
 * files (NULL-terminated names in the VM's directory; NULL: none), and goes on; ms. */
double bare_save(struct bare_vm *vm, bool copy_files);
void bare_end(struct bare_vm *vms, size_t n);

#endif
