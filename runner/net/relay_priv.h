/* relay_priv.h - between relay.c, relay_udp.c and relay_tcp.c only. */
#ifndef FCVM_NET_RELAY_PRIV_H
#define FCVM_NET_RELAY_PRIV_H

#include "dns_msg.h"
#include "relay.h"
#include "resolvers.h"

#define RELAY_ASK_MS 4000u   /* one resolver, then the next */
#define RELAY_IDLE_MS 10000u /* a TCP client that says nothing */

struct exchange;
struct client;

struct relay {
	struct relay_spec spec;
	struct net_config config;
	struct resolvers resolvers;
	struct grants grants;
	struct loop_source udp, tcp, tick;
	struct exchange *exchanges;
	struct client *clients;
	size_t n_exchanges, n_clients;
};

enum relay_verdict { RELAY_DROP, RELAY_REPLY, RELAY_ASK };

/* What to do with a guest's message; for RELAY_REPLY, reply (DNS_QUERY_MAX) and its length. */
enum relay_verdict relay_judge(struct relay *r, const uint8_t *msg, size_t len,
			       struct dns_question *q, uint8_t *reply, size_t *ret_len);
/* Whether the guest may see that answer; its addresses are open then. */
bool relay_admit(struct relay *r, const struct dns_question *q, const uint8_t *msg, size_t len);
uint16_t relay_draw_id(void);

int relay_udp_listen(struct relay *r, const char *ip, struct err *err);
void relay_udp_tick(struct relay *r, uint64_t now_ms);
void relay_udp_free(struct relay *r);
int relay_tcp_listen(struct relay *r, const char *ip, struct err *err);
void relay_tcp_tick(struct relay *r, uint64_t now_ms);
void relay_tcp_free(struct relay *r);

#endif
