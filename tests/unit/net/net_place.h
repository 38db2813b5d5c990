/* net_place.h - children of a test, and the namespaces they are in. */
#ifndef FCVM_TESTS_UNIT_NET_PLACE_H
#define FCVM_TESTS_UNIT_NET_PLACE_H

#include <sys/types.h>

/* fork(); the child dies with the test. */
pid_t net_spawn(void);
/* Into the network namespace of that process; 0: stays. Ends the process when it cannot. */
void net_enter(pid_t where);
/* `ip WORDS` there; fails the test. */
void net_ip_at(pid_t where, const char *words);

#endif
