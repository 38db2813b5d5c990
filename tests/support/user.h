/* user.h - an ordinary user for a test that is root: a uid nobody else has, without an entry in
 * /etc/passwd, and a home. Skips the test (with the reason) when it is not run by root. */
#ifndef FCVM_TESTS_USER_H
#define FCVM_TESTS_USER_H

#include <sys/types.h>

#include "run.h"

struct user {
	uid_t uid;  /* its gid, too */
	char *home; /* 0711, theirs; removed by user_free() */
};
#define auto_user __attribute__((cleanup(user_free)))

void user_make(struct user *u, const char *what);
void user_free(struct user *u);
/* A copy for the user, who may not be able to read the work tree; at most 256 MiB. */
void user_copy(const char *from, const char *to, mode_t mode);

/* Moves the test into a mount namespace of its own where everybody may open /dev/net/tun, as on a
 * stock Debian. Skips the test without that device. */
void user_open_tun(void);
/* Moves the test into a network namespace of its own, where only lo is, up: no other test has a
 * port there. */
void user_own_network(void);
/* Mounts an empty directory over path, in the test's own mount namespace. */
void user_hide(const char *path);

/* The calling process becomes the user, for good. */
void user_become(const struct user *u);
/* fn in a child with one thread that is the user (NULL: whoever the test is). What it writes to
 * stdout is added to out; fn's result must be 0. */
void user_call(const struct user *u, int (*fn)(void *data), void *data, struct buf *out);
/* In a child of user_call(): into a user namespace with the uid mapped to itself, as a supervisor's
 * is. 0, or -1 and errno. */
int user_enter_namespace(void);
/* run_argv() as the user with nothing in the environment but PATH, HOME and env. */
void user_run(const struct user *u, struct run_result *r, const char *const *argv,
	      const char *const *env, uint64_t timeout_ms);

#endif
