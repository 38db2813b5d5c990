#include "slot.h"

#include <arpa/inet.h>

#include "ledger.h"
#include "parse.h"

#define FIRST_ADDR 0x0ac80000u /* 10.200.0.0 */
#define PREFIX "fv"

struct slot slot_of(uint32_t number)
{
	struct slot s = {
		.number = number,
		.host_addr = FIRST_ADDR + 4 * number + 1,
		.vm_addr = FIRST_ADDR + 4 * number + 2,
	};

	(void)snprintf(s.link, sizeof(s.link), PREFIX "%u", number);
	return s;
}

bool slot_of_link(const char *link, struct slot *ret)
{
	const char *digits = link + strlen(PREFIX);
	uint64_t number = 0;

	if (strncmp(link, PREFIX, strlen(PREFIX)) != 0 ||
	    parse_u64(digits, 0, LEDGER_SLOT_COUNT - 1, &number, NULL) < 0)
		return false;
	*ret = slot_of((uint32_t)number);
	return strcmp(ret->link, link) == 0;
}

void slot_format(uint32_t addr, char ret[NET_IP4_SIZE])
{
	struct in_addr in = {.s_addr = htonl(addr)};

	(void)inet_ntop(AF_INET, &in, ret, NET_IP4_SIZE);
}
