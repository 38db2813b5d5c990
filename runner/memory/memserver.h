/* memserver.h - the page server of one snapshot, seen from outside it.
 *
 * `fcvm internal memserver` serves <snapshot>/memory over userfaultfd (Firecracker's hand-off).
 * It serves only VMs that a supervisor announced (decisions 13) and never signals a VMM: it
 * reports, the supervisor kills. Control socket: <dir>/server.sock, frames of JSON. */
#ifndef FCVM_MEMORY_MEMSERVER_H
#define FCVM_MEMORY_MEMSERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "host.h"
#include "json.h"
#include "proc.h"
#include "strv.h"

#define MEMSERVER_PROTO_VERSION 1
#define MEMSERVER_PING_MS 1000
#define MEMSERVER_DEAD_MS 10000 /* silence that counts as death */

struct memserver_spec {
	const char *dir;    /* exists; server.sock, metrics.json and server.log go here */
	const char *memory; /* the snapshot's memory file */
	const char *tag;    /* shown in argv */
	uid_t uid;          /* dropped to after opening the file; from the ledger */
	gid_t gid;
	bool foreground; /* child that dies with us */
	/* When memserver_spawn() gives it up, as in io.h; not the server's to know. */
	uint64_t deadline_ms;
};
/* How long a start may take: 60 s, and the scan of that much memory at 16 MB/s. */
uint64_t memserver_start_ms(uint64_t bytes);
/* The words it is started with. dir is one by itself: whoever finds the process by its directory
 * (a record that has no pid yet) looks for that. */
void memserver_argv(const struct host *host, const struct memserver_spec *spec, struct strv *ret);
/* Returns when the socket listens. Detached unless foreground. A server whose starter dies first
 * ends by itself. */
int memserver_spawn(const struct host *host, const struct memserver_spec *spec, struct proc_id *ret,
		    struct err *err);
/* The process itself: what `internal memserver` runs. Opens the file and binds server.sock as it
 * was started, then drops to uid/gid for good. ready_fd gets 'R' once it listens, or 'E' and the
 * error's sentence. Returns its exit status, err set unless 0. */
int memserver_main(const struct memserver_spec *spec, int ready_fd, struct err *err);
/* `fcvm internal memserver --dir D --memory F --uid N --gid N --ready-fd N [--tag T]
 * [--foreground]`; argv[0] is "memserver". */
int memserver_internal(int argc, char **argv, int *ret_exit, struct err *err);

/* Supervisor side. Announces a VM: the server will accept exactly one hand-off on listen_fd (bound
 * by the caller, duplicated here) from a process with this uid, pid and start time. *ret_conn stays
 * open as long as the VM is served: MSG_PONG answers pings, any report ("cannot serve: ...") or
 * end of file means kill the VMM. serve_pid is the server's. */
struct memserver_announce {
	const char *vm_id;
	uid_t uid;
	struct proc_id vmm;
	int listen_fd;
};
int memserver_connect(const char *sock_path, const struct memserver_announce *a,
		      uint64_t deadline_ms, int *ret_conn, struct proc_id *ret_server,
		      struct err *err);
/* Non-blocking half for the supervisor's loop: send one ping; read what came. Returns 1 when a
 * pong (or the hand-off note) came, 0 for nothing, negative with the report in err. */
int memserver_ping(int conn, struct err *err);
int memserver_read(int conn, struct err *err);

/* {"pid","memory","bytes","zero_pages","clients":[{"vm_id","pid","page_size","faults","copied","zero","removed",
 *  "retried","p50_us","p99_us"}],"totals":{the same counts, of ended VMs too,
 * "clients","refused"}}; caller puts it. The same text, at most a second old, is in
 * <dir>/metrics.json. */
int memserver_metrics(const char *sock_path, uint64_t deadline_ms, struct json_object **ret,
		      struct err *err);
/* Ends it and returns when it has ended; refused (-EBUSY) while VMs are served unless force. Gone
 * already is success; the socket is removed. */
int memserver_stop(const char *sock_path, bool force, uint64_t deadline_ms, struct err *err);

/* Whether userfaultfd with kernel-mode faults is permitted here; the reason when not. */
bool memserver_uffd_permitted(char *why, size_t size);

#endif
