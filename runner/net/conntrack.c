#include "conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "nfsock.h"

/* The tuple that names a flow to the kernel: addresses, protocol, ports, nested. */
#define TUPLE_MAX 128u
#define CUTS_MAX (64u << 20)

struct cut {
	uint16_t len;
	uint8_t tuple[TUPLE_MAX]; /* the attribute CTA_TUPLE_ORIG, whole */
};

struct cutting {
	bool (*pick)(void *data, const struct flow *flow);
	void *data;
	struct buf cuts;
};

struct tuple {
	uint32_t src, dst;
	uint16_t dst_port;
	uint8_t proto;
};

static uint32_t addr_of(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_U32) < 0 ? 0 : ntohl(mnl_attr_get_u32(attr));
}

static int read_ip(const struct nlattr *attr, void *data)
{
	struct tuple *t = data;

	if (mnl_attr_get_type(attr) == CTA_IP_V4_SRC)
		t->src = addr_of(attr);
	else if (mnl_attr_get_type(attr) == CTA_IP_V4_DST)
		t->dst = addr_of(attr);
	return MNL_CB_OK;
}

static int read_proto(const struct nlattr *attr, void *data)
{
	struct tuple *t = data;

	if (mnl_attr_get_type(attr) == CTA_PROTO_NUM && mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
		t->proto = mnl_attr_get_u8(attr);
	else if (mnl_attr_get_type(attr) == CTA_PROTO_DST_PORT &&
		 mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
		t->dst_port = ntohs(mnl_attr_get_u16(attr));
	return MNL_CB_OK;
}

static int read_tuple(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == CTA_TUPLE_IP)
		return mnl_attr_parse_nested(attr, read_ip, data);
	if (mnl_attr_get_type(attr) == CTA_TUPLE_PROTO)
		return mnl_attr_parse_nested(attr, read_proto, data);
	return MNL_CB_OK;
}

struct entry {
	struct tuple ours, answer;
	const struct nlattr *orig;
};

static int read_entry(const struct nlattr *attr, void *data)
{
	struct entry *e = data;

	if (mnl_attr_get_type(attr) == CTA_TUPLE_ORIG) {
		e->orig = attr;
		return mnl_attr_parse_nested(attr, read_tuple, &e->ours);
	}
	if (mnl_attr_get_type(attr) == CTA_TUPLE_REPLY)
		return mnl_attr_parse_nested(attr, read_tuple, &e->answer);
	return MNL_CB_OK;
}

static int take_flow(const struct nlmsghdr *m, void *data)
{
	struct cutting *c = data;
	struct entry e = {.orig = NULL};
	struct flow flow = {0};
	struct cut cut = {0};

	(void)mnl_attr_parse(m, sizeof(struct nfgenmsg), read_entry, &e);
	flow = (struct flow){.src = e.ours.src,
			     .dst = e.ours.dst,
			     .dst_port = e.ours.dst_port,
			     .proto = e.ours.proto,
			     .answers_from = e.answer.src};
	if (!e.orig || mnl_attr_get_len(e.orig) > TUPLE_MAX || !c->pick(c->data, &flow))
		return MNL_CB_OK;
	cut.len = mnl_attr_get_len(e.orig);
	memcpy(cut.tuple, e.orig, cut.len);
	buf_add(&c->cuts, &cut, sizeof(cut));
	return MNL_CB_OK;
}

static struct nlmsghdr *put_head(char *at, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(at);
	struct nfgenmsg *g = NULL;

	m->nlmsg_type = (uint16_t)((NFNL_SUBSYS_CTNETLINK << 8) | type);
	m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	m->nlmsg_seq = nfsock_sequence();
	g = mnl_nlmsg_put_extra_header(m, sizeof(*g));
	g->nfgen_family = AF_INET;
	g->version = NFNETLINK_V0;
	return m;
}

static void cut_one(struct mnl_socket *nl, const struct cut *cut)
{
	_Alignas(struct nlmsghdr) char at[512];
	struct nlmsghdr *m = put_head(at, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);

	memcpy((char *)m + m->nlmsg_len, cut->tuple, cut->len);
	m->nlmsg_len += (uint32_t)MNL_ALIGN(cut->len);
	/* It may have ended meanwhile. */
	(void)nfsock_talk(nl, m, m->nlmsg_len, NULL, NULL);
}

bool conntrack_any(void)
{
	auto_close int fd =
		open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
	char first = '0';

	return fd < 0 || read(fd, &first, 1) != 1 || first != '0';
}

int conntrack_cut(struct mnl_socket *nl, bool (*pick)(void *data, const struct flow *flow),
		  void *data, struct err *err)
{
	_Alignas(struct nlmsghdr) char at[64];
	struct cutting c = {.pick = pick, .data = data, .cuts = BUF_INIT(CUTS_MAX)};
	struct nlmsghdr *m = put_head(at, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	int r = nfsock_talk(nl, m, m->nlmsg_len, take_flow, &c);

	for (size_t i = 0; i + sizeof(struct cut) <= c.cuts.len; i += sizeof(struct cut)) {
		struct cut cut;

		memcpy(&cut, c.cuts.data + i, sizeof(cut));
		cut_one(nl, &cut);
	}
	buf_free(&c.cuts);
	return r < 0 ? err_sys_code(err, r, "cannot list connections") : 0;
}
