/* client.h - talking to a VM's supervisor over <instance>/ctl.sock: framed JSON, one request and
 * one reply (with progress frames between) per connection, versioned hello first.
 *
 * Instance directory (root's, 0711): ctl.sock v.sock status.json logs/ console.log vm/ (VMM's).
 * Every call blocks up to its deadline. A supervisor of another protocol version answers with
 * "running under X; restart to upgrade". A missing socket is -ENOENT, a dead one -ECONNREFUSED. */
#ifndef FCVM_SUPERVISE_CLIENT_H
#define FCVM_SUPERVISE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "host.h"
#include "json.h"
#include "net_config.h"
#include "proc.h"
#include "strv.h"
#include "vm.h"
#include "volume.h"

#define SUPERVISE_PROTO_VERSION 1

/* Starts `fcvm internal supervise` detached (own session, not our child) in dir, which exists.
 * Returns when ctl.sock listens. tag = "SET/KIND/NAME", shown in its argv. With foreground set it
 * stays our child and dies with us. */
struct supervisor_spec {
	const char *dir;
	const char *tag;
	const char *engine;         /* "qemu" */
	const char *vm_id, *events; /* UUID; path of the set's eventlog.h, or NULL */
	bool foreground;
};
int supervisor_spawn(const struct host *host, const struct supervisor_spec *spec,
		     struct proc_id *ret, struct err *err);

/* argv in the guest OS as root, or inside the container when container is not NULL. */
struct hook {
	char *container;
	struct strv argv;
	uint64_t timeout_ms;
};

struct health_spec {
	char *http, *tcp; /* at most one of http, tcp, exec; none = no check */
	struct strv exec;
	uint64_t interval_ms, start_interval_ms, timeout_ms, start_period_ms;
	uint32_t retries;
};

/* What runs in the VM; fully resolved. Serialised as JSON; see workload_json.c. */
struct workload {
	char *name; /* container name: "main" */
	char *image;
	char *store_serial;
	struct strv entrypoint, command, environment;
	char *user, *workdir; /* NULL: the image's */
	struct health_spec health;
};
void workload_free(struct workload *w);

struct vm_identity {
	const char *hostname;
	const char *metadata; /* JSON text, may be NULL */
};

/* progress: what is being waited for, now and then; may be NULL. */
typedef void (*supervisor_progress)(void *data, const char *text);
struct supervisor_call {
	const char *dir;
	uint64_t deadline_ms;
	supervisor_progress progress;
	void *data;
};

/* Boots and returns once the agent answers. *ret_status as supervisor_status. workload NULL: none
 * is started; net NULL: mode none; volumes NULL: none. */
int supervisor_start(const struct supervisor_call *call, const struct vm_config *config,
		     const struct workload *workload, const struct vm_identity *identity,
		     const struct net_config *net, const struct volume_list *volumes,
		     struct err *err);

enum supervisor_until { UNTIL_BOOTED, UNTIL_STARTED, UNTIL_HEALTHY };
/* -ETIMEDOUT names what was missing and the last probe output; ERR_NOT_READY. Fails at once when
 * the container or VM has ended. */
int supervisor_wait(const struct supervisor_call *call, enum supervisor_until until,
		    struct err *err);

struct snapshot_request {
	const char *dir; /* staging, ours: gets vmstate, memory, data.img, manifest.json */
	const struct hook *prepare;
	size_t n_prepare;
	uint64_t settle_ms;
	bool keep_running; /* false: memory and disk are renamed into dir and the VM ends */
	uint32_t gid;      /* group of the files, 0440 */
};
/* *ret_manifest (caller puts it): engine, machine, devices, digests (decisions 24), pause_ms. Waits
 * for one under way; that of a client that has gone is undone. */
int supervisor_snapshot(const struct supervisor_call *call, const struct snapshot_request *req,
			struct json_object **ret_manifest, struct err *err);

struct restore_request {
	const char *snapshot_dir; /* manifest.json vmstate memory data.img */
	const char *backend;      /* "uffd" | "file" */
	const char *memserver;    /* path of its control socket, NULL for file */
	struct vm_identity identity;
	const struct hook *on_clone;
	size_t n_on_clone;
	const struct health_spec *health; /* NULL: the baseline's */
	const char *restart;              /* "no" | "on-failure" | "always" */
	uint32_t gid;                     /* the snapshot's */
	const struct workload *workload;  /* started after the gates; NULL: what the snapshot has */
	const struct net_config *net;     /* NULL: mode none */
	const struct volume_list *volumes; /* all of them; NULL: the snapshot's */
};
/* Returns when the clone is ready: all gates passed. *ret_status has gates and ready_ms. */
int supervisor_restore(const struct supervisor_call *call, const struct restore_request *req,
		       struct json_object **ret_status, struct err *err);

/* In place, and between two runs for the next one: any NULL member is left as it is. */
struct update_request {
	const char *metadata;
	const char *restart;
	const struct health_spec *health;
	const struct net_config *net; /* of the mode the VM has: ports, egress, resolvers */
};
int supervisor_update(const struct supervisor_call *call, const struct update_request *req,
		      struct err *err);
int supervisor_status(const struct supervisor_call *call, struct json_object **ret,
		      struct err *err);
/* Asks nobody: status.json, corrected when its supervisor is gone (state failed, error says so). */
int supervisor_peek(const char *dir, const char *boot_id, struct json_object **ret,
		    struct err *err);
/* Ends guest, VMM and supervisor; returns when the supervisor is gone. Gone already = success.
 * grace_ms 0 = kill at once. A supervisor that does not obey is killed, and its VMM with it. */
int supervisor_stop(const struct supervisor_call *call, uint64_t grace_ms, struct err *err);
bool supervisor_hung_up(int r); /* a call failed by r because it has ended, or is about to */

/* status.json, written by the supervisor at every change (also the reply of status):
 * {"proto":1,"vm_id","engine","accel","state":"creating|running|ready|stopped|failed|lost",
 *  "health":"healthy|unhealthy|starting|none","pid":VMM's,"pid_start","supervisor":{pid,start_time,
 *  boot_id},"uid","snapshot":dir,"serve_pid","created_at","ready_ms","gates":{...ms},"exit_code",
 *  "restarts","network":"none|bridged|rootless","ip","loopback":"127.x.y.z","ports":[{"host_ip",
 *  "host_port","guest_port","proto"}],"error","backend":"uffd|file","container":name,"boot_retries":
 *  [text],"ended":"exited|poweroff|requested|reaped|crashed|memserver"}; what is unknown: null. */
#define SUPERVISE_STATUS "status.json"
/* Held by the supervisor for as long as it lives. */
#define SUPERVISE_LOCK "supervisor.lock"

#endif
