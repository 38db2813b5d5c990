/* server.h - inside the page server process: its connections, announced VMs and counts.
 *
 * Everything here runs in the one controlling thread; serve.h has the others. */
#ifndef FCVM_MEMORY_SERVER_H
#define FCVM_MEMORY_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "handshake.h"
#include "hist.h"
#include "json.h"
#include "loop.h"
#include "proc.h"
#include "serve.h"

#define SERVER_CONNS_MAX 4096

struct conn;
struct served;

struct counts {
	uint64_t faults, copied, zero, removed, retried;
};

struct server {
	struct loop *loop;
	struct serve *serve;
	const char *memory; /* its path, for metrics only */
	uint64_t size;
	struct proc_id self;
	uid_t owner;  /* who started us: only root and this user may connect */
	int live_dir; /* writable by our uid; holds metrics.json */
	char *saved;  /* text of metrics.json */
	struct loop_source listen, note, tick;
	struct conn *conns;
	size_t n_conns;
	uint64_t clients, refused; /* hand-offs taken, connections and hand-offs turned away */
	struct counts ended;       /* of VMs that are gone */
	struct hist service;       /* of VMs that are gone */
};

/* Takes listen_fd (bound, listening). The server must have serve, size, self, owner and live_dir.
 */
int server_start(struct server *s, int listen_fd, struct err *err);
void server_free(struct server *s);
struct json_object *server_metrics(struct server *s);

/* --- connections (control.c) --- */
int control_accept(struct server *s, int fd, struct err *err);
void control_free_all(struct server *s);
/* The VM announced on the connection, NULL for none; for walking all of them. */
struct conn *control_next(const struct conn *c);
struct served *control_served(const struct conn *c);
/* Tells the supervisor. Both may free the connection and all that hangs on it. */
void control_note_handoff(struct conn *c, uint64_t bytes);
void control_report(struct conn *c, const struct err *why);

/* --- announced VMs (served.c) --- */
/* listen_fd is taken over, also on failure. */
int served_announce(struct server *s, struct conn *conn, struct json_object *body, int listen_fd,
		    struct served **ret, struct err *err);
void served_free(struct served *vm);
/* Its thread gave it up. May free it and its connection. */
void served_ended(struct served *vm, const struct err *why);
/* Whether a VMM is there that needs us. */
bool served_is_live(const struct served *vm);
/* NULL before the hand-off and after the end. */
struct json_object *served_metrics(const struct served *vm);
void served_add_counts(const struct served *vm, struct counts *counts, struct hist *service);

#endif
