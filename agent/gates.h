/* gates.h - single steps of a resume that need only the kernel. */
#ifndef FCVM_AGENT_GATES_H
#define FCVM_AGENT_GATES_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

int gate_clock(uint64_t unix_now_ns, struct err *err);
/* Mixes in and credits the bytes, then makes the kernel's generator reseed from them. */
int gate_entropy(const uint8_t *bytes, size_t len, struct err *err);
/* Destroys every TCP socket that is not listening and talks to more than loopback. Timewait stays.
 */
int gate_sockets(struct err *err);
/* eth0, when there is one: MTU (0 = leave it), neighbours forgotten. */
int gate_network(uint32_t mtu, struct err *err);

#endif
