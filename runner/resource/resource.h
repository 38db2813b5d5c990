/* resource.h - what the loop knows of any resource: its verbs and three plain structs.
 *
 * A node is what is wanted (from the spec) or, when the spec no longer has it, what a record says
 * exists. seen is what is there. The set's records hold only what cannot be observed.
 *
 * Longer than 150 lines: the one contract between the loop and every resource. */
#ifndef FCVM_RESOURCE_RESOURCE_H
#define FCVM_RESOURCE_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "err.h"
#include "field_list.h"
#include "fleet.h"
#include "host.h"
#include "json.h"
#include "net_config.h"

enum resource_kind {
	RESOURCE_KERNEL,
	RESOURCE_ROOTFS,
	RESOURCE_IMAGE,
	RESOURCE_BASELINE,
	RESOURCE_SNAPSHOT,
	RESOURCE_MEMSERVER,
	RESOURCE_CLONE,
	RESOURCE_KINDS,
};

/* A permit limits how many steps of its kind run at once (policy.parallelism). */
enum resource_permit { PERMIT_BUILD, PERMIT_BOOT, PERMIT_RESTORE, PERMIT_HEALTH, PERMITS };

#define NODE_NEEDS_MAX 6

struct node {
	enum resource_kind kind;
	char *name;       /* "web-3"; the address is KIND/NAME */
	const void *spec; /* kernel_spec, baseline_spec, ... NULL when only recorded */
	uint32_t index;   /* clones */
	/* Both are "" while something it needs is not built yet. */
	char digest[DIGEST_HEX_SIZE]; /* all that makes a difference: says whether */
	char key[DIGEST_HEX_SIZE];    /* what a replacement depends on: passed to dependents */
	size_t needs[NODE_NEEDS_MAX]; /* indexes of nodes whose key is part of ours */
	size_t n_needs;
	size_t n_users; /* wanted nodes that need this one */
};

struct seen {
	bool exists;                   /* something of it is there (a record, a directory) */
	bool healthy;                  /* and it is what its record says (alive, files present) */
	bool held;                     /* it runs only for its users' sake (a baseline) */
	bool ended;                    /* a VM that did its work: healthy, and nothing runs */
	bool old;                      /* its record names leftovers of a replace */
	uint64_t pid;                  /* of a VM's VMM now; 0: none */
	char digest[DIGEST_HEX_SIZE];  /* as recorded */
	char content[DIGEST_HEX_SIZE]; /* assets: digest of the bytes; "" when not known yet */
	char *why;                     /* owned; when not healthy: "supervisor gone" */
	struct json_object *record;    /* owned; NULL when none */
};

/* What this host runs VMs with; measured once a run. */
struct resource_choice {
	char engine[32];
	char version[64];
	char sha256[DIGEST_HEX_SIZE];
	char why[1024];
	char machine[128], guest_cpu[64], snapshot_format[32]; /* what a snapshot has baked in */
	uint64_t tsc_khz;
	bool tcg;
	bool uffd;          /* userfaultfd with kernel-mode faults is permitted */
	char uffd_why[160]; /* why not */
	bool no_nic;        /* the host refuses /dev/net/tun: VMs get no network card */
	char nic_why[160];
	enum net_mode auto_network; /* what `network: auto` means here */
};

/* Passed to every verb. Everything is borrowed for the call. */
struct resource_ctx {
	const struct host *host;
	const struct fleet *fleet; /* NULL: nothing but records is known (destroy) */
	const struct resource_choice *choice;
	const char *set, *set_dir;
	char run[9];          /* this run's random id: names of staging things carry it */
	uint64_t started_ms;  /* when the step began (CLOCK_BOOTTIME) */
	uint64_t deadline_ms; /* absolute */
	bool last_user;       /* nothing else of this run needs what this step needs */
	bool foreground;      /* VMs are our children and die with us */
	bool no_wait;         /* started is enough, health may follow */
	bool after_kill;      /* the run before was cut off: its requests may be under way */
	/* Both may be NULL. note goes to the journal before a side effect inside a verb. */
	void (*say)(void *data, const char *text);
	int (*note)(void *data, const char *what, struct err *err);
	void *data;
};

/* What a node needs, with what is known of it; same order as node->needs. */
struct need {
	const struct node *node;
	const struct seen *seen;
};
struct need_list {
	struct need v[NODE_NEEDS_MAX];
	size_t n;
};

/* A verb that makes or changes something returns the record as it now is on disk (the caller puts
 * it). Every verb may be repeated; every entry exists. */
struct resource_ops {
	const char *kind;
	enum resource_permit permit;
	bool holds;    /* users live on it: when it is made anew, they are too */
	bool beside;   /* a replacement is made beside the old one, which prune() takes away */
	bool one_user; /* steps that need it run one at a time */
	/* Made only when a user is about to be made (assets, baselines that are reaped). */
	bool (*on_demand)(const struct node *node);
	/* What the plan calls its place in the spec, "fleets.web.count"; caller frees. */
	char *(*path)(const struct node *node, struct place *ret_at);
	/* The wanted fields, in a fixed order; pure. */
	void (*describe)(const struct resource_ctx *ctx, const struct node *node,
			 struct field_list *ret);
	/* seen->record is loaded already (or NULL); changes nothing, starts nothing. */
	int (*observe)(const struct resource_ctx *ctx, const struct node *node, struct seen *seen,
		       struct err *err);
	/* Of what exists: record and observation against the wanted fields; pure. */
	enum change (*diff)(const struct node *node, const struct field_list *want,
			    const struct seen *seen, struct reasons *why);
	/* What of the host only one can have (published ports): what is wanted, and what the record
	 * says it has; names of any form; pure. */
	void (*claims)(const struct resource_ctx *ctx, const struct node *node,
		       struct json_object *record, struct strv *ret_wants, struct strv *ret_holds);
	uint64_t (*deadline_ms)(const struct node *node); /* how long a step may take */
	int (*create)(const struct resource_ctx *ctx, const struct need_list *needs,
		      const struct node *node, const struct seen *seen, struct json_object **ret,
		      struct err *err);
	int (*update)(const struct resource_ctx *ctx, const struct need_list *needs,
		      const struct node *node, const struct seen *seen, struct json_object **ret,
		      struct err *err);
	/* Gives back what is held for users that are all made. */
	int (*release)(const struct resource_ctx *ctx, const struct node *node,
		       const struct seen *seen, struct json_object **ret, struct err *err);
	/* Takes away what a replace left beside the new one. */
	int (*prune)(const struct resource_ctx *ctx, const struct node *node,
		     const struct seen *seen, struct json_object **ret, struct err *err);
	/* Lets go of what it claims and is not to keep, before its own step; `stays`: that step
	 * changes it in place, so it runs on. The record is left to that step. */
	int (*yield)(const struct resource_ctx *ctx, const struct node *node,
		     const struct seen *seen, bool stays, struct err *err);
	/* Record included; fine if it is already gone. */
	int (*destroy)(const struct resource_ctx *ctx, const struct node *node,
		       const struct seen *seen, struct err *err);
};

/* kind -> verbs; the only place that knows all kinds. */
extern const struct resource_ops *const resource_table[RESOURCE_KINDS];
const struct resource_ops *resource_ops_of(enum resource_kind kind);
/* -1 for an unknown word. */
int resource_kind_by_name(const char *word);
/* "clone/web-3", "memserver/web@healthy/0"; caller frees. */
char *resource_address(enum resource_kind kind, const char *name);
/* What the plan calls the node's place in the spec: "fleets.web"; caller frees. *ret_at may be
 * NULL. A node that is only recorded has none: NULL. */
char *resource_spec_path(const struct node *node, struct place *ret_at);

/* Digest and key from fields, content and the keys of what it needs (addresses included). Leaves
 * both "" when a need has no key yet, or an asset's content is not known yet. */
void resource_digest(struct node *node, const struct field_list *want, const struct seen *seen,
		     const struct need_list *needs);

/* "uffd" or "file": what the snapshot's clones get their memory by on this host. */
const char *resource_backend(const struct resource_choice *choice, const struct snapshot_spec *s);

/* Measures once: engine, acceleration, userfaultfd. wish NULL or "auto": FCVM_ENGINE, else the
 * spec's, else by measurement. Refuses (ERR_HOST) a spec that insists on what is not there. */
int resource_choose(const struct host *host, const char *wish, const struct fleet *fleet,
		    struct resource_choice *ret, struct err *err);
bool resource_uses_auto_network(const struct fleet *fleet);

/* Whether what the nodes with `making` publish is free on this host, or held by VMs of nodes with
 * `leaving`, which a step of the plan changes or takes away. ERR_HOST names the port, its place in
 * the spec and who has it. seen is as long as nodes. */
int resource_admit_ports(const struct resource_ctx *ctx, const struct node *nodes,
			 const struct seen *seen, size_t n, const bool *making, const bool *leaving,
			 struct err *err);

/* Whether the directories that nodes with `making` serve to their guests are there, or will be
 * made. ERR_HOST names the place in the spec. */
int resource_admit_volumes(const struct resource_ctx *ctx, const struct node *nodes, size_t n,
			   const bool *making, struct err *err);

/* Takes back what VMs had on the host whose supervisors were killed (links, rules, addresses), and
 * what the last VM of this host needed. Cheap, and safe at any time. */
int resource_sweep_networks(const struct host *host, struct err *err);

/* Removes whatever still stands in the set's directories once its records are gone, processes
 * included. What could not be removed is named in `left`, one a line; only a failure to look is a
 * failure. */
int resource_sweep(const struct resource_ctx *ctx, struct buf *left, struct err *err);

void seen_clear(struct seen *seen);
__attribute__((format(printf, 2, 3))) void seen_unhealthy(struct seen *seen, const char *fmt, ...);

#endif
