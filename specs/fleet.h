/* fleet.h - the wanted state: what a fleet spec says, resolved, typed and checked.
 *
 * Every entry knows its place in the file. All strings are owned by struct fleet. Names, images,
 * references, defaults and templates are resolved: a reader needs no YAML. Fields that no code
 * executes yet are refused by fleet_refuse_unavailable() and have no member here.
 *
 * Longer than 150 lines: it is one picture of the spec, and a reader wants it on one page. */
#ifndef FCVM_SPECS_FLEET_H
#define FCVM_SPECS_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "port.h"
#include "strv.h"

struct place {
	uint32_t line, col; /* 1-based; columns in code points; 0 = built in or defaulted */
};

struct kernel_spec {
	char *name;
	struct place at;
	char *package; /* or path */
	char *path;    /* absolute */
	struct place path_at;
	char *sha256;
	struct strv args;
};

struct rootfs_spec {
	char *name;
	struct place at;
	char *suite;
	struct strv packages; /* user's, beyond ours */
	char *path;
	struct place path_at;
	char *sha256;
	uint64_t size_bytes;
	struct place size_at;
};

struct image_spec { /* named in images:, or made for an inline source: name = the source text */
	char *name;
	struct place at;
	char *source;
	struct place source_at;
	char *inlined; /* where: "baselines.web.image"; NULL in images: */
};

struct hook_spec {
	struct place at;
	char *container; /* NULL = guest OS */
	struct strv argv;
	uint64_t timeout_ms; /* 30000 */
};

struct probe_spec {
	struct place at; /* line 0: no healthcheck given */
	char *http, *tcp;
	struct strv exec;
	bool none;
	uint64_t interval_ms, start_interval_ms, timeout_ms, start_period_ms;
	uint32_t retries;
};

struct container_spec {
	char *name;
	struct place at;
	char *image_ref; /* as written: an image's name or a source */
	const struct image_spec *image;
	struct place image_at;
	struct strv command, entrypoint; /* n 0 = image's */
	struct strv environment;         /* K=V, sorted by key */
	char *user, *workdir;            /* NULL = image's */
	struct probe_spec health;
};

struct network_spec {
	char *name;
	struct place at; /* line 0: built in, name is its mode */
	char *mode;      /* "auto" | "bridged" | "rootless" | "none" */
	struct place mode_at;
	char *egress_default;          /* "allow" | "deny" */
	struct strv egress_allow, dns; /* as written */
	struct place egress_default_at, egress_allow_at, dns_at;
};

struct volume_spec {
	char *name;
	struct place at;
	char *type; /* "host" | "disk" */
	/* host */
	char *source; /* variables written out, templates not expanded: fleet_volume_source() */
	struct template *source_compiled;
	char *access; /* "ro" | "rw" */
	bool create, share;
	char *trust; /* "squash" | "full" */
	char *cache; /* "strict" | "shared" | "private" */
	/* disk */
	uint64_t size_bytes;
	char *fs;  /* "ext4" */
	char *per; /* "clone" | "set" */
	struct place source_at, access_at, trust_at, cache_at, size_at, fs_at, per_at;
};

struct mount_spec { /* a volume at a path of the guest */
	struct place at;
	char *volume_ref; /* as written */
	const struct volume_spec *volume;
	char *target;
	bool read_only; /* :ro */
	bool inherited; /* a fleet's: its baseline says so */
};

struct port_spec { /* a port of each clone; fleet_port() tells which */
	struct place at;
	char *text; /* variables written out, templates not expanded */
	struct template *compiled;
};

enum huge_pages { HUGE_PAGES_NONE, HUGE_PAGES_2M };

struct baseline_spec {
	char *name;
	struct place at;
	char *kernel_ref, *rootfs_ref; /* as written */
	const struct kernel_spec *kernel;
	const struct rootfs_spec *rootfs;
	uint32_t cpus;
	uint64_t memory_bytes;
	char *engine;  /* "auto" | "qemu" | "firecracker" */
	char *sandbox; /* "namespace" | "jailer" | "none" */
	enum huge_pages huge_pages;
	char *network_ref; /* as written */
	const struct network_spec *network;
	struct place cpus_at, memory_at, engine_at, sandbox_at, huge_pages_at, network_at;
	struct port_spec *ports; /* no field of a spec: podman run -p */
	size_t n_ports;
	struct mount_spec *volumes;
	size_t n_volumes;
	struct place volumes_at;
	uint64_t ready_timeout_ms;
	bool keep_running;
	struct container_spec container;
};

enum snapshot_when { WHEN_BOOTED, WHEN_STARTED, WHEN_HEALTHY, WHEN_MANUAL };

struct snapshot_spec {
	char *name; /* "B@healthy" for the implicit one */
	struct place at;
	char *from_ref; /* as written */
	const struct baseline_spec *from;
	struct place from_at;
	enum snapshot_when when;
	struct place when_at;
	struct hook_spec *prepare;
	size_t n_prepare;
	uint64_t settle_ms;
	char *backend; /* "auto" | "uffd" | "file" */
	struct place backend_at;
	bool implicit;
};

struct fleet_spec {
	char *name;
	struct place at;
	char *from_ref; /* as written: a snapshot or a baseline */
	const struct snapshot_spec *from;
	struct place from_at;
	char *network_ref; /* as written; NULL: the baseline's */
	const struct network_spec *network;
	struct place network_at;
	struct port_spec *ports;
	size_t n_ports;
	struct place ports_at;
	struct mount_spec *volumes; /* all of a clone: the baseline's, with others in their place */
	size_t n_volumes;
	struct place volumes_at;
	uint32_t count;
	struct place count_at;
	char *name_template; /* "web-{{index}}", variables written out */
	struct template *name_compiled;
	struct place name_at;
	char *restart; /* "no" | "on-failure" | "always" */
	struct place restart_at;
	struct hook_spec *on_clone;
	size_t n_on_clone;
	struct probe_spec health;    /* .at.line 0 = the baseline's */
	struct strv metadata_keys;   /* sorted */
	struct strv metadata_values; /* same order; variables written out, templates not expanded */
	struct template **metadata_compiled; /* same order */
	struct place metadata_at;
};

struct policy_spec {
	uint64_t memory_reserve_bytes;         /* 1 GiB */
	double memory_overcommit;              /* 1.0 */
	uint32_t build, boot, restore, health; /* parallelism 1 2 16 32 */
};

/* What a command calls the fields of a baseline it makes a spec for: "memory", "--memory". */
struct fleet_word {
	const char *field, *word;
};

#define FLEET_BY_HAND "default" /* the set of VMs made by hand */

struct fleet {
	char *path; /* real path of the first file */
	char *dir;  /* its directory: relative sources start here */
	char *name;
	struct place name_at;
	struct strv labels; /* K=V */
	struct policy_spec policy;
	char *engine; /* defaults.engine or "auto" */
	struct kernel_spec *kernels;
	size_t n_kernels;
	struct rootfs_spec *rootfs;
	size_t n_rootfs;
	struct image_spec *images;
	size_t n_images;
	struct network_spec *networks; /* built-in ones that are used included */
	size_t n_networks;
	struct volume_spec *volumes;
	size_t n_volumes;
	struct baseline_spec *baselines;
	size_t n_baselines;
	struct snapshot_spec *snapshots; /* implicit ones included */
	size_t n_snapshots;
	struct fleet_spec *fleets;
	size_t n_fleets;
	struct refusal *refusals; /* valid fields this version does not execute */
	size_t n_refusals, cap_refusals;
	struct diag *diag;              /* source text, for errors found later; see diag.h */
	const struct fleet_word *words; /* of fleet_options */
};

struct fleet_options {
	const struct strv *sets; /* "vars.tag=1.9", "fleets.web.count=5" */
	/* Of a spec that no file holds, up to one without field: its first problem goes to err, in
	 * these words, and none to ret_problems. NULL: it is a file's. */
	const struct fleet_word *words;
};

/* Reads, decodes and checks. On spec problems returns -EINVAL with class ERR_SPEC; all problems
 * (cap 100) are then in *ret_problems as ready-to-print text in file order, err->msg is their
 * count. *ret is set only on success; *ret_problems then holds the warnings, usually none. */
int fleet_load(const char *path, const struct fleet_options *options, struct fleet **ret,
	       struct buf *ret_problems, struct err *err);
/* Same from memory, path only for messages and relative names (tests, fuzzing). */
int fleet_parse(const char *path, const char *text, size_t len, const struct fleet_options *options,
		struct fleet **ret, struct buf *ret_problems, struct err *err);
/* Plan time: fields that are valid but not executed by this version ("not available in this
 * version"), in the same format. 0 when there is none. validate does not call it. */
int fleet_refuse_unavailable(const struct fleet *fleet, struct buf *ret_problems, struct err *err);
void fleet_free(struct fleet *fleet);
void fleet_free_p(struct fleet **fleet);
#define auto_fleet __attribute__((cleanup(fleet_free_p)))

/* What err says of the field at that place becomes a problem found after loading, kept until it is
 * printed; err, its code kept, then says how many there are. For a field that no file says (line 0)
 * err is wrapped. */
int fleet_refuse(const struct fleet *fleet, struct place at, const char *path, struct err *err);
#ifdef FCVM_ANALYZE
#define fleet_refuse(...) err_negative(fleet_refuse(__VA_ARGS__))
#endif
size_t fleet_problems(const struct fleet *fleet);
/* "FILE:L:C: error: PATH: SENTENCE", source line, caret; in file order. They are then forgotten. */
void fleet_print_problems(const struct fleet *fleet, struct buf *out);

/* Clone names and metadata of index i, templates expanded; caller frees. The name is checked. */
int fleet_clone_name(const struct fleet_spec *f, uint32_t index, char **ret, struct err *err);
/* metadata.json text with keys in order. */
int fleet_clone_metadata(const struct fleet *fleet, const struct fleet_spec *f, uint32_t index,
			 const char *clone_name, char **ret, struct err *err);
/* What p says for the clone of that index and name. */
int fleet_port(const struct port_spec *p, const char *fleet_name, uint32_t index,
	       const char *clone_name, struct port *ret, struct err *err);
/* The directory a host volume is for one clone, absolute and without empty or "." parts. */
int fleet_volume_source(const struct fleet *fleet, const struct volume_spec *v,
			const char *fleet_name, uint32_t index, const char *clone_name, char **ret,
			struct err *err);
/* What {{clone}} is in a baseline: no clone can be called that. Caller frees. */
char *fleet_baseline_clone_name(const struct baseline_spec *b);
bool fleet_mount_is_disk(const struct mount_spec *m);
/* A host volume whose access is ro, or one that is mounted :ro. */
bool fleet_mount_is_read_only(const struct mount_spec *m);
/* Ports from texts without templates (podman run -p); fleet_free_ports() gives them back. */
int fleet_ports_parse(const struct strv *texts, struct port_spec **ret, size_t *ret_n,
		      struct err *err);
void fleet_free_ports(struct port_spec *ports, size_t n);

#endif
