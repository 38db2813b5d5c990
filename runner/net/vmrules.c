#include "vmrules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include "buf.h"
#include "cleanup.h"
#include "net.h"
#include "netns.h"
#include "nfsock.h"
#include "slot.h"
#include "vmside.h"

#define TABLE "fcvm"
#define BATCH_MAX (256u << 10)
#define MESSAGE_MAX 4096u
#define OFFSET_SADDR 12u
#define OFFSET_DADDR 16u
#define OFFSET_DPORT 2u
#define PING_BURST 5u

/* --- the rules ------------------------------------------------------------------------------- */

struct chain {
	const char *name, *type;
	uint32_t hook;
	int32_t priority;
	uint32_t policy;
	uint8_t family;
};

enum { RAW, PRE, POST, FORWARD, INPUT, RAW6, OUTPUT6 };

static const struct chain chains[] = {
	[RAW] = {"c_raw", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW, NF_ACCEPT, NFPROTO_IPV4},
	[PRE] = {"c_pre", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST, NF_ACCEPT, NFPROTO_IPV4},
	[POST] = {"c_post", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, NF_ACCEPT,
		  NFPROTO_IPV4},
	[FORWARD] = {"c_forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, NF_DROP,
		     NFPROTO_IPV4},
	[INPUT] = {"c_input", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER, NF_DROP, NFPROTO_IPV4},
	/* There is no IPv6 inside: nothing of it comes in, goes out or goes through. */
	[RAW6] = {"c_raw", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW, NF_DROP, NFPROTO_IPV6},
	[OUTPUT6] = {"c_output", "filter", NF_INET_LOCAL_OUT, NF_IP_PRI_RAW, NF_DROP, NFPROTO_IPV6},
};

enum word {
	DONE,
	FROM_LINK, /* text */
	TO_LINK,   /* text */
	NOT_FROM,  /* text: an address */
	TO,        /* text: an address; value: its prefix */
	PROTO,     /* value */
	PORT,      /* value: destination */
	PING,      /* an echo request; value: so many a second */
	KNOWN,     /* of a connection that was let through */
	PUBLISHED, /* it came in through c_pre */
	ACCEPT,
	DROP,
	REJECT,
	DNAT, /* text: an address */
	MASQUERADE,
};

struct step {
	enum word word;
	const char *text;
	uint16_t value;
};

#define STEPS_MAX 6

/* Isolation is the host table's; what can be said here without knowing the host holds as well while
 * that table is being reloaded. */
static const struct {
	size_t chain;
	struct step steps[STEPS_MAX];
} rules[] = {
	{RAW, {{FROM_LINK, NETNS_TAP, 0}, {NOT_FROM, NET_GUEST_IP, 0}, {DROP, NULL, 0}}},
	{PRE, {{FROM_LINK, VMSIDE_UPLINK, 0}, {DNAT, NET_GUEST_IP, 0}}},
	{POST, {{TO_LINK, VMSIDE_UPLINK, 0}, {MASQUERADE, NULL, 0}}},
	{FORWARD, {{KNOWN, NULL, 0}, {ACCEPT, NULL, 0}}},
	{FORWARD, {{FROM_LINK, VMSIDE_UPLINK, 0}, {PUBLISHED, NULL, 0}, {ACCEPT, NULL, 0}}},
	{FORWARD, {{TO, "0.0.0.0", 8}, {REJECT, NULL, 0}}},
	{FORWARD, {{TO, "127.0.0.0", 8}, {REJECT, NULL, 0}}},
	{FORWARD, {{TO, "169.254.0.0", 16}, {REJECT, NULL, 0}}},
	{FORWARD, {{TO, "224.0.0.0", 3}, {REJECT, NULL, 0}}},
	{FORWARD, {{TO, SLOT_NET, SLOT_NET_PREFIX}, {REJECT, NULL, 0}}},
	{FORWARD, {{FROM_LINK, NETNS_TAP, 0}, {TO_LINK, VMSIDE_UPLINK, 0}, {ACCEPT, NULL, 0}}},
	{INPUT, {{FROM_LINK, "lo", 0}, {ACCEPT, NULL, 0}}},
	{INPUT, {{KNOWN, NULL, 0}, {ACCEPT, NULL, 0}}},
	{INPUT,
	 {{FROM_LINK, NETNS_TAP, 0},
	  {TO, NET_DNS_IP, 32},
	  {PROTO, NULL, IPPROTO_UDP},
	  {PORT, NULL, 53},
	  {ACCEPT, NULL, 0}}},
	{INPUT,
	 {{FROM_LINK, NETNS_TAP, 0},
	  {TO, NET_DNS_IP, 32},
	  {PROTO, NULL, IPPROTO_TCP},
	  {PORT, NULL, 53},
	  {ACCEPT, NULL, 0}}},
	{INPUT, {{FROM_LINK, NETNS_TAP, 0}, {PING, NULL, 20}, {ACCEPT, NULL, 0}}},
	{INPUT, {{REJECT, NULL, 0}}},
};

/* --- words as expressions -------------------------------------------------------------------- */

static struct nftnl_expr *add(struct nftnl_rule *r, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	if (!e)
		abort();
	nftnl_rule_add_expr(r, e);
	return e;
}

static void compare(struct nftnl_rule *r, enum nft_cmp_ops op, const void *data, uint32_t size)
{
	struct nftnl_expr *e = add(r, "cmp");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, (uint32_t)op);
	(void)nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, size);
}

static void load_meta(struct nftnl_rule *r, enum nft_meta_keys key)
{
	struct nftnl_expr *e = add(r, "meta");

	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, (uint32_t)key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void load_bytes(struct nftnl_rule *r, enum nft_payload_bases base, uint32_t offset,
		       uint32_t size)
{
	struct nftnl_expr *e = add(r, "payload");

	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, (uint32_t)base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, size);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

static void mask(struct nftnl_rule *r, uint32_t bits)
{
	static const uint32_t none;
	struct nftnl_expr *e = add(r, "bitwise");

	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, sizeof(bits));
	(void)nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, &bits, sizeof(bits));
	(void)nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, &none, sizeof(none));
}

static void compare_link(struct nftnl_rule *r, enum nft_meta_keys key, const char *link)
{
	char name[IFNAMSIZ] = "";

	(void)snprintf(name, sizeof(name), "%s", link);
	load_meta(r, key);
	compare(r, NFT_CMP_EQ, name, sizeof(name));
}

static void compare_proto(struct nftnl_rule *r, uint8_t proto)
{
	load_meta(r, NFT_META_L4PROTO);
	compare(r, NFT_CMP_EQ, &proto, sizeof(proto));
}

static void compare_address(struct nftnl_rule *r, const struct step *s, uint32_t offset,
			    enum nft_cmp_ops op)
{
	struct in_addr in = {0};

	(void)inet_pton(AF_INET, s->text, &in);
	load_bytes(r, NFT_PAYLOAD_NETWORK_HEADER, offset, sizeof(in));
	if (s->value > 0 && s->value < 32)
		mask(r, htonl(UINT32_MAX << (32 - s->value)));
	compare(r, op, &in, sizeof(in));
}

static void compare_conntrack(struct nftnl_rule *r, enum nft_ct_keys key, uint32_t any_of)
{
	static const uint32_t none;
	struct nftnl_expr *e = add(r, "ct");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, (uint32_t)key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	mask(r, any_of);
	compare(r, NFT_CMP_NEQ, &none, sizeof(none));
}

static void add_verdict(struct nftnl_rule *r, uint32_t verdict)
{
	struct nftnl_expr *e = add(r, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, verdict);
}

static void add_from_link(struct nftnl_rule *r, const struct step *s)
{
	compare_link(r, NFT_META_IIFNAME, s->text);
}

static void add_to_link(struct nftnl_rule *r, const struct step *s)
{
	compare_link(r, NFT_META_OIFNAME, s->text);
}

static void add_not_from(struct nftnl_rule *r, const struct step *s)
{
	compare_address(r, s, OFFSET_SADDR, NFT_CMP_NEQ);
}

static void add_to(struct nftnl_rule *r, const struct step *s)
{
	compare_address(r, s, OFFSET_DADDR, NFT_CMP_EQ);
}

static void add_proto(struct nftnl_rule *r, const struct step *s)
{
	compare_proto(r, (uint8_t)s->value);
}

static void add_port(struct nftnl_rule *r, const struct step *s)
{
	uint16_t net = htons(s->value);

	load_bytes(r, NFT_PAYLOAD_TRANSPORT_HEADER, OFFSET_DPORT, sizeof(net));
	compare(r, NFT_CMP_EQ, &net, sizeof(net));
}

static void add_ping(struct nftnl_rule *r, const struct step *s)
{
	const uint8_t type = ICMP_ECHO;
	struct nftnl_expr *e = NULL;

	compare_proto(r, IPPROTO_ICMP);
	load_bytes(r, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof(type));
	compare(r, NFT_CMP_EQ, &type, sizeof(type));
	e = add(r, "limit");
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, s->value);
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, PING_BURST);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_TYPE, NFT_LIMIT_PKTS);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_FLAGS, 0);
}

static void add_known(struct nftnl_rule *r, const struct step *s)
{
	(void)s;
	compare_conntrack(r, NFT_CT_STATE,
			  NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
}

static void add_published(struct nftnl_rule *r, const struct step *s)
{
	(void)s;
	compare_conntrack(r, NFT_CT_STATUS, IPS_DST_NAT);
}

static void add_accept(struct nftnl_rule *r, const struct step *s)
{
	(void)s;
	add_verdict(r, NF_ACCEPT);
}

static void add_drop(struct nftnl_rule *r, const struct step *s)
{
	(void)s;
	add_verdict(r, NF_DROP);
}

static void add_reject(struct nftnl_rule *r, const struct step *s)
{
	struct nftnl_expr *e = add(r, "reject");

	(void)s;
	nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
	nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, ICMP_PKT_FILTERED);
}

static void add_dnat(struct nftnl_rule *r, const struct step *s)
{
	struct nftnl_expr *e = add(r, "immediate");
	struct in_addr in = {0};

	(void)inet_pton(AF_INET, s->text, &in);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	(void)nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, &in, sizeof(in));
	e = add(r, "nat");
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, NFPROTO_IPV4);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
}

static void add_masquerade(struct nftnl_rule *r, const struct step *s)
{
	(void)s;
	(void)add(r, "masq");
}

static void (*const adders[])(struct nftnl_rule *r, const struct step *s) = {
	[FROM_LINK] = add_from_link, [TO_LINK] = add_to_link,
	[NOT_FROM] = add_not_from,   [TO] = add_to,
	[PROTO] = add_proto,         [PORT] = add_port,
	[PING] = add_ping,           [KNOWN] = add_known,
	[PUBLISHED] = add_published, [ACCEPT] = add_accept,
	[DROP] = add_drop,           [REJECT] = add_reject,
	[DNAT] = add_dnat,           [MASQUERADE] = add_masquerade,
};

/* --- messages -------------------------------------------------------------------------------- */

static struct nlmsghdr *head(char *at, enum nf_tables_msg_types type, uint8_t family)
{
	return nftnl_nlmsg_build_hdr(at, (uint16_t)type, family, NLM_F_CREATE | NLM_F_APPEND,
				     nfsock_sequence());
}

static void put_table(struct buf *b, uint8_t family)
{
	_Alignas(struct nlmsghdr) char at[MESSAGE_MAX];
	struct nftnl_table *t = nftnl_table_alloc();
	struct nlmsghdr *m = head(at, NFT_MSG_NEWTABLE, family);

	if (!t)
		abort();
	nftnl_table_set_str(t, NFTNL_TABLE_NAME, TABLE);
	nftnl_table_nlmsg_build_payload(m, t);
	nftnl_table_free(t);
	buf_add(b, m, m->nlmsg_len);
}

static void put_chain(struct buf *b, const struct chain *from)
{
	_Alignas(struct nlmsghdr) char at[MESSAGE_MAX];
	struct nftnl_chain *c = nftnl_chain_alloc();
	struct nlmsghdr *m = head(at, NFT_MSG_NEWCHAIN, from->family);

	if (!c)
		abort();
	nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, TABLE);
	nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, from->name);
	nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, from->type);
	nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, from->hook);
	nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, from->priority);
	nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, from->policy);
	nftnl_chain_nlmsg_build_payload(m, c);
	nftnl_chain_free(c);
	buf_add(b, m, m->nlmsg_len);
}

static void put_rule(struct buf *b, size_t i)
{
	_Alignas(struct nlmsghdr) char at[MESSAGE_MAX];
	const struct chain *chain = &chains[rules[i].chain];
	struct nftnl_rule *r = nftnl_rule_alloc();
	struct nlmsghdr *m = head(at, NFT_MSG_NEWRULE, chain->family);

	if (!r)
		abort();
	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, TABLE);
	nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, chain->name);
	for (size_t k = 0; k < STEPS_MAX && rules[i].steps[k].word != DONE; k++)
		adders[rules[i].steps[k].word](r, &rules[i].steps[k]);
	nftnl_rule_nlmsg_build_payload(m, r);
	nftnl_rule_free(r);
	buf_add(b, m, m->nlmsg_len);
}

static void put_mark(struct buf *b, struct nlmsghdr *(*build)(char *at, uint32_t sequence))
{
	_Alignas(struct nlmsghdr) char at[64];
	struct nlmsghdr *m = build(at, nfsock_sequence());

	buf_add(b, m, m->nlmsg_len);
}

int vmrules_load(struct err *err)
{
	auto_buf struct buf batch = BUF_INIT(BATCH_MAX);
	auto_nfsock struct mnl_socket *nl = NULL;
	int r = nfsock_open(&nl, err);

	if (r < 0)
		return r;
	put_mark(&batch, nftnl_batch_begin);
	put_table(&batch, NFPROTO_IPV4);
	put_table(&batch, NFPROTO_IPV6);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		put_chain(&batch, &chains[i]);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		put_rule(&batch, i);
	put_mark(&batch, nftnl_batch_end);
	r = nfsock_talk(nl, batch.data, batch.len, NULL, NULL);
	return r < 0 ? err_sys_code(err, r, "cannot load the rules of a VM's namespace") : 0;
}
