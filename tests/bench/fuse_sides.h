/* fuse_sides.h - one directory seen through each thing that can show it: itself, our mount with
 * each cache, a split that does nothing, and what others made. A side is mounted fresh each time:
 * what the kernel remembers begins empty. Failure ends the benchmark. */
#ifndef FCVM_TESTS_BENCH_FUSE_SIDES_H
#define FCVM_TESTS_BENCH_FUSE_SIDES_H

#include <stdbool.h>
#include <sys/types.h>

enum side {
	SIDE_HOST,
	SIDE_SHARED, /* ours, the default */
	SIDE_STRICT,
	SIDE_PRIVATE,
	SIDE_NULL,
	SIDE_BINDFS,
	SIDE_SSHFS, /* sftp-server at the other end of a socket: no ssh, no network */
	SIDE_HP,    /* libfuse's passthrough_hp, where FCVM_BENCH_HP names one */
	SIDE_COUNT,
};

struct sides {
	char dir[64]; /* removed by sides_free() */
	char *source; /* the directory */
	char *mnt, *sock;
	enum side up;
	pid_t pids[2];
};

/* In a mount namespace of its own; below `parent`. */
void sides_init(struct sides *s, const char *parent);
void sides_free(struct sides *s);
const char *side_name(enum side side);
/* False when it is not installed; it says so once. */
bool side_is_there(enum side side);
/* The path to work on. */
const char *side_up(struct sides *s, enum side side);
void side_down(struct sides *s);
__attribute__((noreturn)) void sides_die(const char *what);

#endif
