/* tiny_world.h - the guest of tests/guest on a real Firecracker: booted and saved by the engine,
 * cloned by real supervisors. Its functions fail the test when something does not work. */
#ifndef FCVM_TESTS_VM_TINY_WORLD_H
#define FCVM_TESTS_VM_TINY_WORLD_H

#include "engine.h"

#define CLONES 8
#define WAIT_MS 60000
#define MEMORY (UINT64_C(16) << 20)
#define HUGE_EACH (MEMORY / VM_HUGE_PAGE)

struct tiny {
	char *data, *snapshot, *binary, *memserver;
	struct host host;
	const struct engine_ops *engine;
	struct engine_caps caps;
	struct vm_config config;
	struct proc_id server;
	char *dirs[CLONES];
	pid_t restoring[CLONES];
};

/* Skips, with the reason, where there is no Firecracker to run. */
void tiny_up(struct tiny *r);
void tiny_down(struct tiny *r);
/* Booted in a namespace and a jail of its own, until it counts; saved and ended. Skips where a
 * jailer is wanted and none is there. */
void tiny_make_snapshot(struct tiny *r, bool jailed, bool clones_jailed);
/* A page server of the snapshot. */
void tiny_serve(struct tiny *r);
/* The guest has no agent: the call that restores waits for one for as long as the clone lives. */
void tiny_clone_vm(struct tiny *r, size_t i, const char *backend);
char *tiny_console_of(const struct tiny *r, size_t i); /* the caller's */
/* Counted on from where its source stopped: at least `n` walks, every page as it must be. */
void tiny_await_ticks(const struct tiny *r, size_t i, int n);
/* Of its status file, as text; the caller's. */
char *tiny_status_of(const struct tiny *r, size_t i, const char *key);
void tiny_await_state(const struct tiny *r, size_t i, const char *want);
/* The processes that supervisors call their VMMs: a root directory, a pid namespace and a cgroup of
 * their own, no identity and no way to get one. */
void tiny_check_jails(const struct tiny *r);
/* What the page server did for each clone: that many faults at least, that many pages at most. */
void tiny_count_faults(const struct tiny *r, uint64_t least, uint64_t most, uint64_t page_size);
void tiny_skip_without_uffd(void);

#endif
