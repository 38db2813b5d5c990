/* dns_msg.h - just enough of DNS to relay it: questions, refusals, and the addresses of an answer.
 * Pure; every byte may be hostile. */
#ifndef FCVM_NET_DNS_MSG_H
#define FCVM_NET_DNS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEAD_SIZE 12u
#define DNS_QUERY_MAX 4096u
#define DNS_MESSAGE_MAX 65535u
#define DNS_NAME_SIZE 256 /* text and NUL */
#define DNS_ADDRESSES_MAX 64u

enum { DNS_TYPE_A = 1, DNS_TYPE_AAAA = 28 };
enum dns_code { DNS_OK = 0, DNS_SERVFAIL = 2, DNS_REFUSED = 5 };

/* The one question of a message. */
struct dns_question {
	uint16_t id, type, class;
	char name[DNS_NAME_SIZE]; /* lower case, no trailing dot; the root is "" */
	size_t end;               /* of the question, from the start of the message */
};

/* False: not a query of one question that anybody should answer. */
bool dns_read_query(const uint8_t *msg, size_t len, struct dns_question *ret);
/* The question comes back with that code and no answers; room for DNS_QUERY_MAX. Returns its
 * length. */
size_t dns_make_reply(const uint8_t *query, const struct dns_question *q, enum dns_code code,
		      uint8_t *ret);
/* Whether the message answers that question, asked with that id. */
bool dns_is_answer(const uint8_t *msg, size_t len, const struct dns_question *q, uint16_t id);
/* The A records of an answer, in host byte order, and the longest time one may be kept. False: it
 * is malformed. */
struct dns_addresses {
	uint32_t v[DNS_ADDRESSES_MAX];
	size_t n;
	uint32_t ttl_s;
};
bool dns_read_addresses(const uint8_t *msg, size_t len, struct dns_addresses *ret);

uint16_t dns_id(const uint8_t *msg);
void dns_set_id(uint8_t *msg, uint16_t id);

#endif
