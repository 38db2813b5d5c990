/* agent.h - the guest's side as a whole: one loop, one table of children, the services and what
 * they share. Everything runs on the loop; nothing here blocks on a peer or a child. */
#ifndef FCVM_AGENT_AGENT_H
#define FCVM_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "child.h"
#include "err.h"
#include "loop.h"

#define AGENT_RUN_DIR "/run/fcvm"         /* shown to containers, read-only there */
#define AGENT_PRIVATE_DIR "/run/fc-agent" /* ours */
#define AGENT_CGROUP "/sys/fs/cgroup/fcvm"
#define AGENT_DATA_DIR "/fcvm" /* the data disk, a plain ext4 mount */

struct control;
struct container;
struct health;
struct logs;
struct status;
struct volume_hosts;
struct volumes;

struct agent {
	struct loop *loop;
	bool machine; /* we are PID 1 of a VM; false: a test runs us, the system is not ours */
	const char *run_dir; /* AGENT_RUN_DIR, or a test's */
	const char *private_dir;
	struct children children;
	struct control *control;
	struct container *container;
	struct health *health;
	struct logs *logs;
	struct status *status;
	struct volumes *volumes;
	struct volume_hosts *volume_hosts;
};

/* Makes the services; machine false leaves the system alone. loop is borrowed. */
int agent_init(struct agent *agent, struct loop *loop, bool machine, const char *run_dir,
	       const char *private_dir, struct err *err);
void agent_fini(struct agent *agent);

/* Says something on the console (machine) or to the log's sink (tests). */
__attribute__((format(printf, 1, 2))) void agent_say(const char *fmt, ...);

#endif
