/* elements_nl.c - elements over netlink: one transaction in, dumps out. */
#include "elements.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include "buf.h"
#include "cleanup.h"
#include "nfsock.h"
#include "xalloc.h"

#define MESSAGE_MAX 512u
#define BATCH_MAX (4u << 20)
/* Other VMs come and go meanwhile. */
#define READ_TRIES 64

static void free_set(struct nftnl_set **s)
{
	if (*s)
		nftnl_set_free(*s);
}
#define auto_set __attribute__((cleanup(free_set)))

static struct nftnl_set *set_named(enum element_set set)
{
	struct nftnl_set *s = nftnl_set_alloc();

	if (!s)
		abort();
	nftnl_set_set_str(s, NFTNL_SET_TABLE, ELEMENTS_TABLE);
	nftnl_set_set_str(s, NFTNL_SET_NAME, element_set_name(set));
	return s;
}

static struct nftnl_set_elem *make_elem(const struct element *e)
{
	struct nftnl_set_elem *el = nftnl_set_elem_alloc();
	uint32_t size = (uint32_t)element_key_size(e->set);

	if (!el)
		abort();
	(void)nftnl_set_elem_set(el, NFTNL_SET_ELEM_KEY, e->key, size);
	if (element_set_is_range(e->set))
		(void)nftnl_set_elem_set(el, NFTNL_SET_ELEM_KEY_END, e->key_end, size);
	if (element_data_size(e->set) && !e->take_out)
		(void)nftnl_set_elem_set(el, NFTNL_SET_ELEM_DATA, e->data,
					 (uint32_t)element_data_size(e->set));
	if (e->timeout_ms && !e->take_out)
		nftnl_set_elem_set_u64(el, NFTNL_SET_ELEM_TIMEOUT, e->timeout_ms);
	return el;
}

static struct nlmsghdr *put_head(char *at, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(at);
	struct nfgenmsg *g = NULL;

	m->nlmsg_type = (uint16_t)((NFNL_SUBSYS_NFTABLES << 8) | type);
	m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	m->nlmsg_seq = nfsock_sequence();
	g = mnl_nlmsg_put_extra_header(m, sizeof(*g));
	g->nfgen_family = NFPROTO_IPV4;
	g->version = NFNETLINK_V0;
	g->res_id = 0;
	return m;
}

/* Begin and end of a transaction. */
static void add_mark(struct buf *b, uint16_t type)
{
	_Alignas(struct nlmsghdr) char at[64];
	struct nlmsghdr *m = put_head(at, 0, 0);
	struct nfgenmsg *g = mnl_nlmsg_get_payload(m);

	m->nlmsg_type = type;
	g->nfgen_family = AF_UNSPEC;
	g->res_id = htons(NFNL_SUBSYS_NFTABLES);
	buf_add(b, m, m->nlmsg_len);
}

static void add_element(struct buf *b, const struct element *e)
{
	_Alignas(struct nlmsghdr) char at[MESSAGE_MAX];
	auto_set struct nftnl_set *s = set_named(e->set);
	struct nlmsghdr *m = put_head(at, e->take_out ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM,
				      e->take_out ? 0 : NLM_F_CREATE);

	nftnl_set_elem_add(s, make_elem(e));
	nftnl_set_elems_nlmsg_build_payload(m, s);
	buf_add(b, m, m->nlmsg_len);
}

int elements_commit(struct mnl_socket *nl, const struct elements *l, struct err *err)
{
	auto_buf struct buf batch = BUF_INIT(BATCH_MAX);
	int r = 0;

	if (l->n == 0)
		return 0;
	add_mark(&batch, NFNL_MSG_BATCH_BEGIN);
	for (size_t i = 0; i < l->n; i++)
		add_element(&batch, &l->v[i]);
	add_mark(&batch, NFNL_MSG_BATCH_END);
	if (!buf_ok(&batch))
		return err_set(err, ERR_HOST, -EMSGSIZE, "%zu nftables elements are too many",
			       l->n);
	r = nfsock_talk(nl, batch.data, batch.len, NULL, NULL);
	if (r < 0)
		return err_sys_code(err, r, "cannot change table '%s' of nftables", ELEMENTS_TABLE);
	return 0;
}

/* --- generation ------------------------------------------------------------------------------ */

static int read_attr(const struct nlattr *attr, void *data)
{
	uint32_t *generation = data;

	/* Stays as it is, big endian. */
	if (mnl_attr_get_type(attr) == NFTA_GEN_ID && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
		*generation = mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

static int take_generation(const struct nlmsghdr *m, void *data)
{
	(void)mnl_attr_parse(m, sizeof(struct nfgenmsg), read_attr, data);
	return MNL_CB_OK;
}

int elements_generation(struct mnl_socket *nl, uint32_t *ret, struct err *err)
{
	_Alignas(struct nlmsghdr) char at[64];
	struct nlmsghdr *m = put_head(at, NFT_MSG_GETGEN, 0);
	uint32_t generation = 0;
	int r = nfsock_talk(nl, m, m->nlmsg_len, take_generation, &generation);

	if (r >= 0 && generation == 0)
		r = -EPROTO;
	if (r < 0)
		return err_sys_code(err, r, "cannot read the generation of nftables");
	*ret = generation;
	return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

struct reading {
	enum element_set set;
	struct elements *to;
};

static void copy_out(struct nftnl_set_elem *el, uint16_t attr, uint8_t *to, size_t size)
{
	uint32_t len = 0;
	const void *from =
		nftnl_set_elem_is_set(el, attr) ? nftnl_set_elem_get(el, attr, &len) : NULL;

	if (from)
		memcpy(to, from, len < size ? len : size);
}

static int take_elem(struct nftnl_set_elem *el, void *data)
{
	const struct reading *rd = data;
	struct elements *l = rd->to;
	struct element *e = NULL;

	l->v = xgrow(l->v, &l->cap, l->n + 1, sizeof(*l->v));
	e = &l->v[l->n++];
	*e = (struct element){.set = rd->set};
	copy_out(el, NFTNL_SET_ELEM_KEY, e->key, sizeof(e->key));
	copy_out(el, NFTNL_SET_ELEM_KEY_END, e->key_end, sizeof(e->key_end));
	copy_out(el, NFTNL_SET_ELEM_DATA, e->data, sizeof(e->data));
	return 0;
}

static int take_message(const struct nlmsghdr *m, void *data)
{
	auto_set struct nftnl_set *s = nftnl_set_alloc();

	if (s && (m->nlmsg_type & 0xff) == NFT_MSG_NEWSETELEM &&
	    nftnl_set_elems_nlmsg_parse(m, s) >= 0)
		(void)nftnl_set_elem_foreach(s, take_elem, data);
	return MNL_CB_OK;
}

static int ask(struct mnl_socket *nl, struct nftnl_set *s, uint16_t flags, struct reading *rd)
{
	_Alignas(struct nlmsghdr) char at[MESSAGE_MAX];
	struct nlmsghdr *m = put_head(at, NFT_MSG_GETSETELEM, flags);

	nftnl_set_elems_nlmsg_build_payload(m, s);
	return nfsock_talk(nl, m, m->nlmsg_len, take_message, rd);
}

static int dump(struct mnl_socket *nl, enum element_set set, struct elements *l, struct err *err)
{
	auto_set struct nftnl_set *s = set_named(set);
	struct reading rd = {.set = set, .to = l};
	int r = ask(nl, s, NLM_F_DUMP, &rd);

	if (r < 0)
		return err_sys_code(err, r, "cannot read set '%s' of nftables table '%s'",
				    element_set_name(set), ELEMENTS_TABLE);
	return 0;
}

/* The kernel goes on by counting: what is taken out between two parts of a dump hides as many
 * elements of others. It holds only when there was no transaction from its beginning to its end. */
int elements_read(struct mnl_socket *nl, enum element_set set, struct elements *l, struct err *err)
{
	const size_t n = l->n;
	uint32_t before = 0, after = 0;
	int r = elements_generation(nl, &before, err);

	for (int i = 0; i < READ_TRIES && r >= 0; i++) {
		r = dump(nl, set, l, err);
		if (r >= 0)
			r = elements_generation(nl, &after, err);
		if (r >= 0 && before == after)
			return 0;
		before = after;
		l->n = n;
	}
	return r < 0 ? r
		     : err_sys_code(err, -EAGAIN, "cannot read set '%s' of nftables table '%s'",
				    element_set_name(set), ELEMENTS_TABLE);
}

int elements_has_link(struct mnl_socket *nl, enum element_set set, const char *link,
		      struct err *err)
{
	auto_set struct nftnl_set *s = set_named(set);
	auto_elements struct elements want = {0}, found = {0};
	struct reading rd = {.set = set, .to = &found};
	int r = 0;

	nftnl_set_elem_add(s, make_elem(elements_link(&want, set, link)));
	r = ask(nl, s, 0, &rd);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys_code(err, r, "cannot read set '%s' of nftables table '%s'",
				    element_set_name(set), ELEMENTS_TABLE);
	return found.n > 0;
}
