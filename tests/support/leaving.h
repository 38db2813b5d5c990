/* leaving.h - what stands in for a supervisor that is about to end. */
#ifndef FCVM_TESTS_LEAVING_H
#define FCVM_TESTS_LEAVING_H

#include <stdbool.h>
#include <sys/types.h>

/* Its exit status when it was let go on to its end. */
#define LEAVING_STATUS 7

/* Supervises what is in dir, in a child of the caller's. Hangs up on the first caller when it
 * listens, and takes a while to end. */
pid_t leaving_start(const char *dir, bool listens);
/* Reaps it; whether it came to its end by itself. */
bool leaving_ended_well(pid_t pid);

#endif
