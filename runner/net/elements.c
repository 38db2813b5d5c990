#include "elements.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include "cleanup.h"
#include "xalloc.h"

/* Every field of a concatenation starts on a boundary of four bytes. */
#define SIZE_LINK 16u
#define SIZE_ADDR 4u
#define SIZE_PROTO 4u
#define SIZE_PORT 4u

static const struct {
	const char *name;
	size_t key, data;
	bool range;
} sets[] = {
	[SET_VMIF] = {"vmif", SIZE_LINK, 0, false},
	[SET_SPOOFOK] = {"spoofok", SIZE_LINK + SIZE_ADDR, 0, false},
	[SET_PUB] = {"pub", SIZE_ADDR + SIZE_PROTO + SIZE_PORT, SIZE_ADDR + SIZE_PORT, false},
	[SET_PUB_ANY] = {"pub_any", SIZE_PROTO + SIZE_PORT, SIZE_ADDR + SIZE_PORT, false},
	[SET_RESTRICTED] = {"restricted", SIZE_LINK, 0, false},
	[SET_ALLOW] = {"allow4", SIZE_LINK + SIZE_ADDR + SIZE_PROTO + SIZE_PORT, 0, true},
	[SET_ALLOW_PROTO] = {"allow4_proto", SIZE_LINK + SIZE_ADDR + SIZE_PROTO, 0, true},
	[SET_ALLOW_ADDR] = {"allow4_addr", SIZE_LINK + SIZE_ADDR, 0, true},
	[SET_UPLINK] = {"uplink", SIZE_LINK, 0, false},
};
_Static_assert(ARRAY_SIZE(sets) == SET_COUNT, "every set has its line");
_Static_assert(SIZE_LINK + SIZE_ADDR + SIZE_PROTO + SIZE_PORT == ELEMENT_KEY_MAX, "key size");

const char *element_set_name(enum element_set set)
{
	return sets[set].name;
}

bool element_set_is_range(enum element_set set)
{
	return sets[set].range;
}

size_t element_key_size(enum element_set set)
{
	return sets[set].key;
}

size_t element_data_size(enum element_set set)
{
	return sets[set].data;
}

void elements_free(struct elements *l)
{
	free(l->v);
	*l = (struct elements){0};
}

static struct element *append(struct elements *l, enum element_set set)
{
	l->v = xgrow(l->v, &l->cap, l->n + 1, sizeof(*l->v));
	l->v[l->n] = (struct element){.set = set};
	return &l->v[l->n++];
}

/* --- keys ------------------------------------------------------------------------------------ */

static size_t put_link(uint8_t *at, const char *link)
{
	memcpy(at, link, strnlen(link, SIZE_LINK - 1));
	return SIZE_LINK;
}

static size_t put_addr(uint8_t *at, uint32_t addr)
{
	uint32_t net = htonl(addr);

	memcpy(at, &net, sizeof(net));
	return SIZE_ADDR;
}

static size_t put_proto(uint8_t *at, bool udp)
{
	at[0] = udp ? IPPROTO_UDP : IPPROTO_TCP;
	return SIZE_PROTO;
}

static size_t put_port(uint8_t *at, uint16_t port)
{
	uint16_t net = htons(port);

	memcpy(at, &net, sizeof(net));
	return SIZE_PORT;
}

struct element *elements_link(struct elements *l, enum element_set set, const char *link)
{
	struct element *e = append(l, set);

	(void)put_link(e->key, link);
	return e;
}

void elements_vm(struct elements *l, const struct slot *s)
{
	struct element *e = NULL;

	(void)elements_link(l, SET_VMIF, s->link);
	e = elements_link(l, SET_SPOOFOK, s->link);
	(void)put_addr(e->key + SIZE_LINK, s->vm_addr);
}

void elements_port(struct elements *l, const struct slot *s, const struct net_port *port)
{
	bool any = strcmp(port->host_ip, "0.0.0.0") == 0;
	struct element *e = append(l, any ? SET_PUB_ANY : SET_PUB);
	struct in_addr in = {0};
	size_t at = 0;

	(void)inet_pton(AF_INET, port->host_ip, &in);
	if (!any)
		at = put_addr(e->key, ntohl(in.s_addr));
	at += put_proto(e->key + at, port->udp);
	(void)put_port(e->key + at, port->host_port);
	at = put_addr(e->data, s->vm_addr);
	(void)put_port(e->data + at, port->guest_port);
}

void elements_copy(struct elements *l, const struct element *e)
{
	*append(l, e->set) = *e;
}

void elements_reverse(struct elements *l)
{
	for (size_t i = 0; i < l->n; i++)
		l->v[i].take_out = true;
}

/* --- egress ---------------------------------------------------------------------------------- */

/* Ranges differ in their addresses only, and CIDRs are nested or apart. */
static bool covers(const struct element *big, const struct element *small)
{
	size_t size = sets[big->set].key, rest = SIZE_LINK + SIZE_ADDR;

	return big->set == small->set && memcmp(big->key, small->key, SIZE_LINK) == 0 &&
	       memcmp(big->key + rest, small->key + rest, size - rest) == 0 &&
	       memcmp(big->key + SIZE_LINK, small->key + SIZE_LINK, SIZE_ADDR) <= 0 &&
	       memcmp(big->key_end + SIZE_LINK, small->key_end + SIZE_LINK, SIZE_ADDR) >= 0;
}

/* Takes the last one away again when it is covered, and those that it covers. */
static void settle_last(struct elements *l)
{
	const struct element last = l->v[l->n - 1];
	size_t kept = 0;

	for (size_t i = 0; i + 1 < l->n; i++) {
		if (covers(&l->v[i], &last)) {
			l->n--;
			return;
		}
	}
	for (size_t i = 0; i + 1 < l->n; i++)
		if (!covers(&last, &l->v[i]))
			l->v[kept++] = l->v[i];
	l->v[kept++] = last;
	l->n = kept;
}

static void add_range(struct elements *l, enum element_set set, const struct slot *s,
		      const struct net_allow *a, bool udp, uint64_t timeout_ms)
{
	uint32_t hosts =
		a->prefix == 0 ? UINT32_MAX : (uint32_t)((UINT64_C(1) << (32 - a->prefix)) - 1);
	struct element *e = append(l, set);
	size_t at = put_link(e->key, s->link);

	at += put_addr(e->key + at, a->addr);
	if (set != SET_ALLOW_ADDR)
		at += put_proto(e->key + at, udp);
	if (set == SET_ALLOW)
		(void)put_port(e->key + at, a->port);
	memcpy(e->key_end, e->key, sizeof(e->key_end));
	(void)put_addr(e->key_end + SIZE_LINK, a->addr | hosts);
	e->timeout_ms = timeout_ms;
	settle_last(l);
}

void elements_allow(struct elements *l, const struct slot *s, const struct net_allow *allow,
		    uint64_t timeout_ms)
{
	enum element_set set = allow->port ? SET_ALLOW : SET_ALLOW_PROTO;

	if (!allow->port && allow->proto == NET_PROTO_ANY) {
		add_range(l, SET_ALLOW_ADDR, s, allow, false, timeout_ms);
		return;
	}
	if (allow->proto != NET_PROTO_UDP)
		add_range(l, set, s, allow, false, timeout_ms);
	if (allow->proto != NET_PROTO_TCP)
		add_range(l, set, s, allow, true, timeout_ms);
}

void element_link_name(const struct element *e, char ret[SLOT_LINK_SIZE])
{
	memcpy(ret, e->key, SLOT_LINK_SIZE - 1);
	ret[SLOT_LINK_SIZE - 1] = '\0';
}

bool element_is_of(const struct element *e, const struct slot *s)
{
	uint8_t want[SIZE_LINK] = {0};

	if (e->set == SET_PUB || e->set == SET_PUB_ANY) {
		(void)put_addr(want, s->vm_addr);
		return memcmp(e->data, want, SIZE_ADDR) == 0;
	}
	(void)put_link(want, s->link);
	return e->set != SET_UPLINK && memcmp(e->key, want, SIZE_LINK) == 0;
}
