#include "dns_msg.h"

#include <string.h>

#define FLAG_ANSWER 0x80u /* of the third byte */
#define MASK_OPCODE 0x78u
#define FLAG_RECURSION_WANTED 0x01u
#define FLAG_RECURSION_THERE 0x80u /* of the fourth */
#define LABEL_POINTER 0xc0u
#define CLASS_IN 1u
#define RECORD_HEAD 10u /* type, class, time to live, length */
#define TTL_SIGN 0x80000000u

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t load32(const uint8_t *at)
{
	return (uint32_t)load16(at) << 16 | load16(at + 2);
}

static void store16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

uint16_t dns_id(const uint8_t *msg)
{
	return load16(msg);
}

void dns_set_id(uint8_t *msg, uint16_t id)
{
	store16(msg, id);
}

/* One label as text; a dot or a control byte inside one could pass for another name. */
static bool add_label(char *name, size_t *len, const uint8_t *at, size_t n)
{
	if (*len + n + 2 > DNS_NAME_SIZE)
		return false;
	if (*len > 0)
		name[(*len)++] = '.';
	for (size_t i = 0; i < n; i++) {
		uint8_t c = at[i];

		if (c <= ' ' || c == '.' || c >= 0x7f)
			return false;
		name[(*len)++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	return true;
}

/* A question's name is never compressed: there is nothing before it to point to. Returns the offset
 * behind it, 0 when it is malformed. */
static size_t read_name(const uint8_t *msg, size_t len, size_t at, char name[DNS_NAME_SIZE])
{
	size_t n = 0;

	while (at < len && msg[at] != 0) {
		size_t size = msg[at];

		if (size & LABEL_POINTER || at + 1 + size > len ||
		    !add_label(name, &n, msg + at + 1, size))
			return 0;
		at += 1 + size;
	}
	name[n] = '\0';
	return at < len ? at + 1 : 0;
}

static bool read_question(const uint8_t *msg, size_t len, struct dns_question *ret)
{
	size_t at = 0;

	if (load16(msg + 4) != 1)
		return false;
	at = read_name(msg, len, DNS_HEAD_SIZE, ret->name);
	if (at == 0 || at + 4 > len)
		return false;
	ret->id = load16(msg);
	ret->type = load16(msg + at);
	ret->class = load16(msg + at + 2);
	ret->end = at + 4;
	return true;
}

bool dns_read_query(const uint8_t *msg, size_t len, struct dns_question *ret)
{
	struct dns_question q = {0};

	if (len < DNS_HEAD_SIZE || len > DNS_QUERY_MAX || (msg[2] & (FLAG_ANSWER | MASK_OPCODE)) ||
	    !read_question(msg, len, &q) || q.class != CLASS_IN)
		return false;
	*ret = q;
	return true;
}

size_t dns_make_reply(const uint8_t *query, const struct dns_question *q, enum dns_code code,
		      uint8_t *ret)
{
	memcpy(ret, query, q->end);
	memset(ret + 6, 0, 6);
	ret[2] = (uint8_t)(FLAG_ANSWER | (query[2] & FLAG_RECURSION_WANTED));
	ret[3] = (uint8_t)(FLAG_RECURSION_THERE | code);
	return q->end;
}

bool dns_is_answer(const uint8_t *msg, size_t len, const struct dns_question *q, uint16_t id)
{
	struct dns_question back = {0};

	return len >= DNS_HEAD_SIZE && load16(msg) == id && (msg[2] & FLAG_ANSWER) &&
	       !(msg[2] & MASK_OPCODE) && read_question(msg, len, &back) && back.type == q->type &&
	       back.class == q->class && strcmp(back.name, q->name) == 0;
}

/* A record's name may end in a pointer; where it points to does not matter here. */
static size_t skip_name(const uint8_t *msg, size_t len, size_t at)
{
	while (at < len) {
		uint8_t size = msg[at];

		if (size == 0)
			return at + 1;
		if ((size & LABEL_POINTER) == LABEL_POINTER)
			return at + 2 <= len ? at + 2 : 0;
		if (size & LABEL_POINTER)
			return 0;
		at += 1u + size;
	}
	return 0;
}

bool dns_read_addresses(const uint8_t *msg, size_t len, struct dns_addresses *ret)
{
	struct dns_addresses a = {0};
	struct dns_question q = {0};
	size_t at = 0, records = 0;

	if (len < DNS_HEAD_SIZE || !read_question(msg, len, &q))
		return false;
	at = q.end;
	records = load16(msg + 6);
	for (size_t i = 0; i < records; i++) {
		size_t head = skip_name(msg, len, at), size = 0;
		uint32_t ttl = 0;

		if (head == 0 || head + RECORD_HEAD > len)
			return false;
		size = load16(msg + head + 8);
		at = head + RECORD_HEAD + size;
		if (at > len)
			return false;
		if (load16(msg + head) != DNS_TYPE_A || load16(msg + head + 2) != CLASS_IN ||
		    size != 4 || a.n == DNS_ADDRESSES_MAX)
			continue;
		ttl = load32(msg + head + 4);
		ttl = ttl & TTL_SIGN ? 0 : ttl;
		a.ttl_s = ttl > a.ttl_s ? ttl : a.ttl_s;
		a.v[a.n++] = load32(msg + head + RECORD_HEAD);
	}
	*ret = a;
	return true;
}
