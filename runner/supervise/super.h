/* super.h - the supervisor's inside: one struct for the VM and what is under way with it; shared by
 * the files of this folder only.
 *
 * Handlers run on one loop and never tear a VM down themselves, since they may be called from
 * inside the very thing that would be freed: they call super_end(), and the teardown runs from the
 * loop's top. The first reason given wins.
 *
 * Longer than 150 lines: the one struct all files of this folder share. */
#ifndef FCVM_SUPERVISE_SUPER_H
#define FCVM_SUPERVISE_SUPER_H

#include "agentlink.h"
#include "agentmsg.h"
#include "bringup.h"
#include "client.h"
#include "ctl.h"
#include "engine.h"
#include "loop.h"
#include "memserver.h"
#include "net.h"
#include "restart.h"
#include "supervise.h"
#include "vchan.h"
#include "vmlogs.h"
#include "vmstate.h"
#include "volset.h"

#define SUPER_VM_DIR "vm"
#define SUPER_UFFD_SOCK "uffd.sock"
#define SUPER_METRICS "metrics.json" /* the engine's counters, where it has some */
#define SUPER_METADATA_MAX (64u << 10)
#define SUPER_BOOT_MS 60000u /* decisions 25: a boot that hangs is tried again, visibly */

struct waiter;
struct snapping;

/* What was said last, or seen by who asked for the launch. */
struct told {
	uint64_t seq;
	enum vm_run run;
	enum vm_health health;
};

struct super {
	const struct host *host;
	const struct supervisor_spec *spec;
	struct loop *loop;
	struct ctl *ctl;
	struct vmlogs *logs;
	const struct engine_ops *engine;
	struct engine_caps caps;
	struct vmstate st;
	struct told told; /* of it, in events */

	/* the VM */
	struct vm vm;
	char *metrics;
	struct vchan *chan;
	struct agentlink *link;
	struct net *net; /* from the first launch on */
	struct volset *volumes;
	char probe_text[512];  /* what the last health probe said */
	uint64_t mem_asked_ms; /* the oldest ping without an answer, 0: none */
	int mem_conn;          /* to the memory server, -1: none */
	int uffd_listen;

	/* how far it is */
	bool launched;   /* the one start or restore was asked for */
	bool launching;  /* until it is answered */
	bool up;         /* engine->stop() is due */
	bool hello_done; /* the agent answers */
	bool resumed;    /* the guest has its identity */
	bool container_started;
	bool check_again; /* the guest's RESUME, under way, has an older health check */
	bool guest_lost;
	bool stopping;    /* the guest was asked to go */
	bool stop_wanted; /* by hand: no restart */

	/* what is under way */
	struct bringup_spec launch;
	struct ctl_request *launch_req; /* NULL on restarts */
	uint64_t launch_ms;             /* when this try began */
	uint64_t resume_sent_ms;
	uint64_t boot_ms; /* deadline of one boot */
	struct snapping *snap;
	struct waiter *waiters;
	struct ctl_request *stop_req;
	uint64_t ready_at_ms;
	uint64_t logs_seen, logs_deadline_ms;
	uint32_t boot_tries, restart_tries;
	enum restart_policy restart;

	/* the end */
	enum vm_ended stop_as;
	uint64_t stop_grace_ms; /* the guest's */
	enum vm_ended ending;   /* ENDED_NOT: none */
	struct err end_err;
	struct err silence; /* why guest_lost */

	struct loop_source signals, vmm, mem_src;
	struct loop_source idle_timer; /* until somebody asks for a VM */
	struct loop_source launch_timer, wait_timer, mem_timer;
	struct loop_source stop_timer, end_timer, restart_timer;
};

/* main.c */
void super_save(struct super *s);
void super_timer(struct super *s, struct loop_source *src, uint64_t ms, loop_fn fn);
void super_progress(struct super *s, const char *text); /* to whoever asked for the launch */

/* vmevents.c: what happens to the VM while nobody waits for it, into the set's events */
void vmevents_tell(struct super *s);

/* end.c */
/* The VM has to go, for that reason; `why` NULL where `ended` says all. */
void super_end(struct super *s, enum vm_ended ended, const struct err *why);
/* Channel or agent are gone. As a rule the VMM's own end follows and says more; if it does not,
 * the VM has crashed. */
void super_guest_lost(struct super *s, const struct err *why);
/* Of a VM that is being taken down: another one takes its place. */
bool super_comes_back(const struct super *s);
/* The policy has changed: what waits for its restart waits for nothing when none is due. */
void super_restart_changed(struct super *s);
/* What is left of the VM goes at once. Never from inside a channel's callback. */
void super_take_down(struct super *s);
/* The VMM's process ended, or was taken from us by a snapshot. */
void super_watch_vmm(struct super *s);

/* verbs.c: ctl.sock's requests */
void verbs_handle(void *data, struct ctl_request *req, const char *verb, struct json_object *args);

/* bringup.c: engine runs -> channel -> hello -> resume -> workload -> ready */
void bringup_begin(struct super *s);                       /* s->launch and s->launch_req are set */
void bringup_fail(struct super *s, const struct err *why); /* answers who asked */

/* boot.c, restore.c: until the VMM runs; blocking */
int boot_run(struct super *s, struct err *err);
int restore_run(struct super *s, struct err *err);
int boot_volumes(struct super *s, struct err *err); /* of both: servers of host volumes */
/* 1: the agent did not answer, and another try is due. */
int boot_retry(struct super *s);

/* vmdir.c: <instance>/vm, which belongs to the VMM: nothing in it is taken on trust */
int vmdir_make(struct super *s, gid_t gid, struct err *err);
char *vmdir_path(const struct super *s, const char *name); /* caller frees */
/* O_NOFOLLOW; a regular file with one link, owned by the VM's uid, or an err. */
int vmdir_open(const struct super *s, const char *name, int *ret_fd, struct err *err);

/* waits.c: who waits for the VM to become something */
void waits_add(struct super *s, struct ctl_request *req, struct json_object *args);
void waits_check(struct super *s);
void waits_fail(struct super *s); /* the VM has ended */

/* snap.c, update.c; both take req, or fail and leave it */
int update_begin(struct super *s, struct ctl_request *req, struct json_object *args,
		 struct err *err);
void update_on_resumed(struct super *s);
int snap_begin(struct super *s, struct ctl_request *req, struct json_object *args, struct err *err);
void snap_on_quiesced(struct super *s);
void snap_on_synced(struct super *s);
void snap_abort(struct super *s, const struct err *why); /* the VM has ended */

/* memwatch.c: fail-closed (decisions 4, 13) */
int memwatch_start(struct super *s, struct err *err);
void memwatch_stop(struct super *s);

/* stop.c: asks the guest, then ends the VM */
void stop_begin(struct super *s, enum vm_ended ended, uint64_t grace_ms);
void stop_after_logs(struct super *s); /* the container has ended */
void stop_on_linked(struct super *s);  /* to the guest anew, after a snapshot */
void stop_request(struct super *s, struct ctl_request *req, uint64_t grace_ms);

#endif
