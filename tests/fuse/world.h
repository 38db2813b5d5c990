/* world.h - a file system of its own for a test: loop image, server, mount; all in a mount
 * namespace, so that nothing outlives the test, however it ends. */
#ifndef FCVM_TESTS_FUSE_WORLD_H
#define FCVM_TESTS_FUSE_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum world_fs { FS_EXT4, FS_BTRFS };

enum world_flags {
	WORLD_FULL_TRUST = 1, /* trust=full: owners and modes as they are */
	WORLD_BIND = 2,       /* a bind mount in place of server and mount: the tests' own test */
	WORLD_READ_ONLY = 4,
	WORLD_USER = 8, /* both programs as WORLD_UID, the mount through fusermount3 */
};
#define WORLD_UID 1 /* daemon: fusermount3 asks for the name */
#define WORLD_UID_TEXT "1"

struct world {
	char *dir;  /* below /tmp */
	char *bare; /* on the loop image: the reference side */
	char *vol;  /* on the same image: what the server serves */
	char *mnt;  /* `vol` through the mount */
	char *sock;
	const char *cache;
	unsigned int flags;
	int bare_fd, vol_fd, mnt_fd;
	int spawner; /* starts servers */
	int server;  /* pidfd */
	pid_t mount;
};

#define auto_world __attribute__((cleanup(world_close)))

/* Skips the test, naming what is missing, where it cannot run; fails it otherwise. */
void world_open(struct world *w, enum world_fs fs, const char *cache, unsigned int flags);
void world_close(struct world *w);
/* .fini of every test: what a failed assertion has left on disk. */
void world_cleanup(void);

/* For tests that kill one side: start it again at the same places. */
void world_start_server(struct world *w);
void world_start_mount(struct world *w);
/* SIGKILL, and gone when this returns. */
void world_kill_server(struct world *w);
void world_kill(pid_t *pid);
/* Waits for its end; the exit code, or 128 + signal. */
int world_wait(pid_t pid);
/* Starts a program, as another user unless uid is 0; it dies with the test. Its stdout is *ret_out
 * where that is not NULL. */
pid_t world_spawn(const char *const *argv, uid_t uid, int *ret_out);
/* Deadline for one program of a test, generous: a hang fails, a slow machine does not. */
#define WORLD_TIMEOUT_MS 300000

#endif
