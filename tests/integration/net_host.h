/* net_host.h - a network namespace of the test's own, which stands for the host's: whatever fcvm
 * makes there can be seen whole, and is gone with the test. */
#ifndef FCVM_TESTS_NET_HOST_H
#define FCVM_TESTS_NET_HOST_H

/* From now on we, and what we start, are on a host with nothing but lo. Skips the test where that
 * is not possible. */
void net_host_make(void);
/* Its links and rules; the caller frees. */
char *net_host_look(void);
/* Fails the test unless it becomes so again: namespaces die asynchronously. */
void net_host_expect(const char *before);

#endif
