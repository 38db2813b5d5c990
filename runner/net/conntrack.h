/* conntrack.h - connections the kernel tracks, of the namespace the socket was opened in: cutting
 * those that are not allowed any more. The next packet of a cut connection is judged anew. */
#ifndef FCVM_NET_CONNTRACK_H
#define FCVM_NET_CONNTRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct mnl_socket;

/* IPv4 only; addresses in host byte order. */
struct flow {
	uint32_t src, dst; /* as whoever began it wrote them */
	uint16_t dst_port; /* 0 where the protocol has none */
	uint8_t proto;
	uint32_t answers_from; /* who answers, after translation */
};

/* Whether the namespace the process is in tracks any connection. */
bool conntrack_any(void);
/* Cuts every flow for which pick() is true. */
int conntrack_cut(struct mnl_socket *nl, bool (*pick)(void *data, const struct flow *flow),
		  void *data, struct err *err);

#endif
