/* net_dns.h - a resolver and its client, for tests.
 *
 * The resolver knows api.test (203.0.113.1, 5 s), two.test (198.51.100.7, 5 s), both.test (the
 * two), big.test (100 addresses: cut short over UDP, whole over TCP), liar.test (answers another
 * question first), no.test (no such name) and silent.test (nothing is said). */
#ifndef FCVM_TESTS_UNIT_NET_DNS_H
#define FCVM_TESTS_UNIT_NET_DNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* In a child, until the test ends. */
void net_resolver_at(pid_t where, const char *ip);
/* "CODE ADDRESS..." of the answer, "CODE N addresses" for more than two, "cut" or "nothing". The
 * text lives until the next call. */
const char *net_ask(pid_t where, const char *server, const char *name, uint16_t type, bool tcp);

#endif
