/* freezer.h - processes that SIGKILL does not end before they are let go: as ones that hang in a
 * disk. Cgroup v1's freezer does that; without one the test is skipped. */
#ifndef FCVM_TESTS_FREEZER_H
#define FCVM_TESTS_FREEZER_H

#include <sys/types.h>

/* A freezer with nobody in it; caller frees the path, and removes it in the end. */
char *freezer_new(void);
void freezer_take(const char *dir, pid_t pid);
/* Returns when nobody in it runs. */
void freezer_freeze(const char *dir);
void freezer_let_go(const char *dir);

#endif
