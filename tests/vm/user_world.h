/* user_world.h - an ordinary user with fcvm, on a host with an internet behind it: all in mount and
 * network namespaces of the test's own, so that nothing of it outlives the test.
 *
 * The test's process is the host, 203.0.113.2 on wan0; the internet is 203.0.113.1, 198.51.100.7
 * and, where it should not be reached, 169.254.169.254. The asset cache is root's, built before the
 * host loses its real network. */
#ifndef FCVM_TESTS_USER_WORLD_H
#define FCVM_TESTS_USER_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "run.h"
#include "user.h"

#define WORLD_INET "203.0.113.1"
#define WORLD_INET_2 "198.51.100.7"
#define WORLD_HOST "203.0.113.2"
#define WORLD_METADATA "169.254.169.254"

struct user_world {
	struct user user;
	char *dir; /* ours: fcvm, the image and the spec */
	char *spec, *set;
	pid_t inet; /* a process in that namespace */
};

/* Skips the test (with the reason) without root or /dev/net/tun. body follows the hello baseline.
 */
void user_world_make(struct user_world *w, const char *what, const char *body);
/* destroy must succeed and leave nothing. */
void user_world_finish(struct user_world *w);
/* For TestSuite(.fini): what a failed test left running is destroyed. */
void user_world_cleanup(void);

/* fcvm as the user, words ending in NULL; status checked against want (-1: any). */
void user_world_run(struct user_world *w, struct run_result *r, int want, const char *const *words);
#define WORLD_RUN(w, r, want, ...) \
	user_world_run((w), (r), (want), (const char *const[]){__VA_ARGS__, NULL})

/* Listens in the internet or on the host until the test ends: who connects is told "NAME PEER\n". A
 * byte a connection goes to the descriptor returned. */
int world_serve(struct user_world *w, bool inet, const char *name, const char *ip, uint16_t port);
/* A resolver on the host at 127.0.0.53:53 that knows one name. */
void world_resolve(struct user_world *w, const char *name, const char *ip);
/* What is said at ip:port to who connects from the host or the internet: "" when nothing. */
char *world_hear(struct user_world *w, bool inet, const char *ip, uint16_t port);
/* The same from a guest; the text of a bash that tried. */
char *guest_hear(struct user_world *w, const char *clone, const char *host, uint16_t port);
/* A script in the guest OS of SET.CLONE; its stdout. */
char *guest_sh(struct user_world *w, const char *clone, const char *script);

#endif
