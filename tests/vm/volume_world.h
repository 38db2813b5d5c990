/* volume_world.h - a VM with host volumes, driven through its supervisor: kernel, root and image
 * are those of a snapshot that fcvm made, the volumes are the test's. */
#ifndef FCVM_TESTS_VOLUME_WORLD_H
#define FCVM_TESTS_VOLUME_WORLD_H

#include "client.h"
#include "vm_env.h"

#define WORLD_VMS 6

struct volume_world {
	struct vm_env env;
	struct host host;
	struct vm_config config;
	struct workload workload;
	struct volume_list volumes;
	char *vms[WORLD_VMS]; /* instance directories */
	size_t n_vms;
};

/* Volumes: "tools" at /tools, read-only, with the tool in it, which runs as `tool VERB /vol`; "vol"
 * at /vol is dirs/vol, read-write. */
void world_init(struct volume_world *w, const char *what, const char *verb);
/* Stops every VM: nothing of them may be left. */
void world_finish(struct volume_world *w);
/* For TestSuite(.fini). */
void world_cleanup(void);

/* <world>/dirs/NAME, made; caller frees. */
char *world_dir(const struct volume_world *w, const char *name);
void world_add(struct volume_list *l, const char *name, const char *target, const char *source,
	       bool read_only);
/* Read-write with trust: full. */
void world_add_full(struct volume_list *l, const char *name, const char *target,
		    const char *source);
/* Boots with w->volumes; its instance directory, borrowed. */
const char *world_boot(struct volume_world *w);
/* Path, caller frees. */
char *world_snapshot(struct volume_world *w, const char *vm, bool keep_running);
const char *world_restore(struct volume_world *w, const char *snapshot,
			  const struct volume_list *volumes, const char *restart);
/* sh -c TEXT in the guest OS; out may be NULL. */
int world_sh(const char *vm, const char *text, struct buf *out);
/* The POSIX tables (tests/posix) in the guest: a volume of trust full beside the guest's own file
 * system, in new directories called `run`. Fails the test with the first differences. */
void world_posix(const char *vm, const char *mount, const char *run);
void world_stop(const char *vm);
/* Waits until a file has text that begins so; fails the test after 60 s. */
void world_await_text(const char *path, const char *begin);
char *world_read(const struct volume_world *w, const char *path); /* below dirs/ */
/* Processes that serve volumes of this world; the last one's pid in *ret. */
size_t world_servers(const struct volume_world *w, const char *dir, pid_t *ret);

#endif
