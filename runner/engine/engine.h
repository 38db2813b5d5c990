/* engine.h - one table of functions per VMM. Called only inside the VM's supervisor; `probe` alone
 * is also called by plan and doctor. Nothing above engine/ asks which engine runs. */
#ifndef FCVM_ENGINE_ENGINE_H
#define FCVM_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "host.h"
#include "loop.h"
#include "proc.h"
#include "vm.h"

#define ENGINE_SNAPSHOT (1u << 0)
#define ENGINE_UFFD (1u << 1)
#define ENGINE_TCG (1u << 2)
#define ENGINE_OWN_TAP (1u << 3) /* opens tap0 itself: nobody else may hold it */
#define ENGINE_HUGE_PAGES (1u << 5)
#define ENGINE_MEMORY_FILE (1u << 4) /* a booted VM's memory is vm_dir/memory while it runs */

struct engine_caps {
	char binary[512];     /* absolute path */
	char jailer[512];     /* absolute path of what `sandbox: jailer` is done by, or "" */
	char jailer_why[192]; /* then: why not */
	char version[64];
	char sha256[65];
	enum vm_accel accel; /* what it would use here */
	bool kvm_usable;     /* /dev/kvm opens and runs guests */
	double kvm_minsn_s;  /* measured ring-0 speed, million instructions a second; 0 = no kvm */
	char why[448];       /* one sentence: why this engine and accel were chosen */
	uint64_t tsc_khz;    /* the host's, measured */
	char cpu_model[64];  /* what guests get, for the manifest */
	char machine[128];   /* machine type with its options, for the manifest */
	char snapshot_format[32]; /* of its state files; "" where the version says it all */
};

/* One VM inside its supervisor. The engine fills the lower half. */
struct vm {
	const struct host *host;
	struct loop *loop;
	char *vm_dir; /* <instance>/vm: the VMM's cwd */
	uid_t uid;    /* the VMM's; never 0 when we are root */
	gid_t gid;
	bool has_tap;    /* there is a tap0 in the VM's namespace */
	int tap_fd;      /* it, open; -1 for none, and for engines with ENGINE_OWN_TAP; borrowed */
	int console_fd;  /* write end of the console log pipe; borrowed */
	int userfaultfd; /* open /dev/userfaultfd for the shim, or -1; borrowed */
	/* In a user namespace of ours, with the user's own uid: qemu hides their files (hide.h). */
	bool hide_files;
	const char *shim;     /* absolute path of libfcvm-uffd.so; engines without UFFD of their own
			       * need it in restore, both backends */
	const char *metrics;  /* file that an engine with counters keeps the newest in, or NULL */
	const char *metadata; /* a JSON object for engines with a metadata service, or NULL */
	/* --- filled by the engine; closed by stop(), so take your loop sources off before --- */
	int pidfd;
	pid_t pid;
	int channel_fd; /* byte stream to virtserialport (mux on it), -1 for engines with vsock */
	const char *vsock; /* those: a socket in vm_dir, the VMM's own, that takes "CONNECT port" */
	void *engine;      /* private */
	int exit_status;   /* after stop(): exit code, or 128 + signal */
	char last_words[512]; /* after stop(): the last lines of the VMM's stderr, "; " between */
};

struct vm_snapshot {
	const char *state_path;                      /* written by us, absolute */
	int (*between)(void *data, struct err *err); /* while paused: clone memory and disks */
	void *data;
	bool resume; /* go on afterwards; false: stays paused until stop() */
};

enum memory_backend { MEMORY_FILE, MEMORY_UFFD };

struct vm_restore {
	const struct vm_config *config;
	const char *state_path;
	const char *memory_path; /* the snapshot's, read-only */
	enum memory_backend backend;
	/* uffd: called when the VMM exists (pid known) but has not run: announce it to the server.
	 * vm_dir/uffd.sock is where the VMM connects. */
	int (*announce)(void *data, pid_t pid, struct err *err);
	void *data;
};

struct engine_ops {
	const char *name;
	unsigned int can;
	int (*probe)(const struct host *host, struct engine_caps *ret, struct err *err);
	/* Makes vm_dir/memory (a leftover is removed) where it is the VM's memory
	 * (ENGINE_MEMORY_FILE), then returns when the VMM runs the guest
	 * (not when the guest is up). vm_dir, data.img in it and console_fd are the caller's work.
	 * On failure nothing is left running and vm is as before. */
	int (*start)(struct vm *vm, const struct vm_config *config, uint64_t deadline_ms,
		     struct err *err);
	/* Pauses, writes state_path (must not exist; 0600, ours) and, unless it is there all the
	 * time, vm_dir/memory (the caller's to remove), calls between(), goes on if asked
	 * (also when between() failed). Whoever reflinks memory in between() does well to fsync
	 * vm_dir/memory just before. -EOPNOTSUPP for a VM that was itself restored. */
	int (*snapshot)(struct vm *vm, const struct vm_snapshot *to, uint64_t deadline_ms,
			struct err *err);
	/* Returns when vCPUs run. vm->userfaultfd is required for MEMORY_UFFD. On
	 * failure nothing is left running and vm is as before. */
	int (*restore)(struct vm *vm, const struct vm_restore *from, uint64_t deadline_ms,
		       struct err *err);
	/* Asks nicely (ACPI; the caller has told the agent before), then kills at the grace; a
	 * paused VM is killed at once. Reaps, fills exit_status and last_words, frees what
	 * start/restore made. Repeating it, or calling it on a VMM that has ended by itself, is
	 * success. */
	int (*stop)(struct vm *vm, uint64_t grace_ms, struct err *err);
};

/* NULL for an unknown name. */
const struct engine_ops *engine_by_name(const char *name);
/* "auto", "qemu", "firecracker": chooses and probes. The reason is in ret_caps->why. auto: the
 * first of firecracker and qemu that runs here at speed, qemu where none does. */
int engine_choose(const struct host *host, const char *wish, const struct engine_ops **ret,
		  struct engine_caps *ret_caps, struct err *err);

#endif
