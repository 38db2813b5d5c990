/* fuzz_dns.c - what guests and resolvers send to the DNS relay. The first byte says where the query
 * ends and the answer to it begins. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dns_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)              \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static void check_query(const uint8_t *msg, size_t len, struct dns_question *q)
{
	uint8_t reply[DNS_QUERY_MAX];
	struct dns_question back = {0};
	struct dns_addresses none = {0};
	size_t n = 0;

	CHECK(q->end <= len && strlen(q->name) < DNS_NAME_SIZE);
	n = dns_make_reply(msg, q, DNS_REFUSED, reply);
	CHECK(n == q->end);
	CHECK(dns_is_answer(reply, n, q, q->id));
	CHECK(!dns_read_query(reply, n, &back));
	CHECK(dns_read_addresses(reply, n, &none) && none.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_question q = {0};
	struct dns_addresses a = {.n = 0};
	size_t cut = 0;

	if (size < 1)
		return 0;
	cut = data[0] < size - 1 ? data[0] : size - 1;
	data++;
	size--;
	if (dns_read_query(data, cut, &q)) {
		check_query(data, cut, &q);
		(void)dns_is_answer(data + cut, size - cut, &q, q.id);
	}
	if (dns_read_addresses(data + cut, size - cut, &a))
		CHECK(a.n <= DNS_ADDRESSES_MAX);
	return 0;
}
