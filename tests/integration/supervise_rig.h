/* supervise_rig.h - a supervisor with a fake VMM below it, in a directory of its own. */
#ifndef FCVM_TESTS_SUPERVISE_RIG_H
#define FCVM_TESTS_SUPERVISE_RIG_H

#include "client.h"
#include "exec_session.h"
#include "host.h"

struct rig {
	char *data; /* private data directory */
	char *vmm;  /* our copy of the fake: its .script is ours, too */
	char *dir;  /* instance directory of the first VM */
	struct host host;
	struct vm_config config;
	struct workload workload;
	struct proc_id supervisor;
	char *memserver; /* its control socket; clones then use backend uffd */
};

void rig_free(struct rig *r);
#define auto_rig __attribute__((cleanup(rig_free)))

/* The fake every later rig has below it: qemu until this is called. */
void rig_use(const char *engine);
/* What differs with the engine of the rig. */
const char *rig_says(const char *qemu, const char *firecracker);

/* One test for each engine: SUITE/NAME on fake_qemu, SUITE_firecracker/NAME on fake_firecracker. */
#define ENGINE_TEST(suite, name)          \
	static void suite##_##name(void); \
	Test(suite, name)                 \
	{                                 \
		suite##_##name();         \
	}                                 \
	Test(suite##_firecracker, name)   \
	{                                 \
		rig_use("firecracker");   \
		suite##_##name();         \
	}                                 \
	static void suite##_##name(void)

/* script: "fake.X ..." words for the kernel command line, or "". Nothing runs yet. */
void rig_make(struct rig *r, const char *script);
/* Words every later VMM reads at its start. */
void rig_script(const struct rig *r, const char *words);
/* A new instance directory; caller frees. */
char *rig_instance(struct rig *r, const char *name);
void rig_spawn(struct rig *r, const char *dir);
/* Spawns and boots with the workload; fails the test with the sentence. */
void rig_boot(struct rig *r);
struct supervisor_call rig_call(const char *dir, uint64_t ms);
/* The status, and one of its members as text ("null"); the text lives until the next call. */
const char *rig_status(const char *dir, const char *key);
/* Waits (polling status.json) until a member has that text; fails the test after 30 s. */
void rig_await(const char *dir, const char *key, const char *want);
pid_t rig_vmm_of(const char *dir);
void rig_await_gone(pid_t pid);
/* Runs words in the VM; stdout to out, the code is returned (negative errno on failure). */
int rig_exec(const char *dir, const char *words, const char *input, struct buf *out);
/* A snapshot in a staging directory; caller frees the path. */
char *rig_snapshot(struct rig *r, bool keep_running, struct json_object **ret_manifest);
/* A page server of the snapshot, in <data>/memserver; its process. */
struct proc_id rig_memserver(struct rig *r, const char *snapshot);
/* Spawns a supervisor in a new directory and restores into it. */
int rig_restore(struct rig *r, const char *snapshot, const char *dir, const char *restart,
		struct json_object **ret_status, struct err *err);

#endif
