#include "host_table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "cleanup.h"
#include "host_rules.h"
#include "nfsock.h"
#include "nftext.h"
#include "strv.h"

/* Another loader may come between looking and loading. */
#define LOAD_TRIES 3

static const enum element_set per_vm[] = {
	SET_VMIF,       SET_SPOOFOK, SET_PUB,         SET_PUB_ANY,
	SET_RESTRICTED, SET_ALLOW,   SET_ALLOW_PROTO, SET_ALLOW_ADDR,
};

/* --- generation ------------------------------------------------------------------------------ */

static void free_chain(struct nftnl_chain **c)
{
	if (*c)
		nftnl_chain_free(*c);
}
#define auto_chain __attribute__((cleanup(free_chain)))

static int ask_chain(struct mnl_socket *nl, const struct nftnl_chain *c, uint16_t flags,
		     mnl_cb_t fn, void *data)
{
	_Alignas(struct nlmsghdr) char at[512];
	struct nlmsghdr *m =
		nftnl_nlmsg_build_hdr(at, NFT_MSG_GETCHAIN, NFPROTO_IPV4, flags, nfsock_sequence());

	if (c)
		nftnl_chain_nlmsg_build_payload(m, c);
	return nfsock_talk(nl, m, m->nlmsg_len, fn, data);
}

bool host_table_is_loaded(struct mnl_socket *nl)
{
	auto_chain struct nftnl_chain *c = nftnl_chain_alloc();
	char marker[HOST_RULES_MARKER_SIZE];

	if (!c)
		abort();
	host_rules_marker(marker);
	nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, ELEMENTS_TABLE);
	nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, marker);
	return ask_chain(nl, c, 0, NULL, NULL) == 0;
}

static int take_marker(const struct nlmsghdr *m, void *data)
{
	auto_chain struct nftnl_chain *c = nftnl_chain_alloc();
	const char *table = NULL, *name = NULL;

	if (!c || nftnl_chain_nlmsg_parse(m, c) < 0)
		return MNL_CB_OK;
	table = nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE);
	name = nftnl_chain_get_str(c, NFTNL_CHAIN_NAME);
	if (table && name && strcmp(table, ELEMENTS_TABLE) == 0 &&
	    strncmp(name, HOST_RULES_MARKER, strlen(HOST_RULES_MARKER)) == 0)
		strv_add(data, name);
	return MNL_CB_OK;
}

static int load(struct mnl_socket *nl, struct err *err)
{
	auto_strv struct strv stale = {0};
	int r = ask_chain(nl, NULL, NLM_F_DUMP, take_marker, &stale);

	if (r < 0)
		return err_sys_code(err, r, "cannot list nftables chains");
	auto_free char *text = host_rules_text(&stale);
	return nftext_run(text, err);
}

int host_table_ensure(struct mnl_socket *nl, struct err *err)
{
	int r = 0;

	for (int i = 0; i < LOAD_TRIES; i++) {
		if (host_table_is_loaded(nl))
			return 0;
		r = load(nl, err);
		if (r >= 0)
			return 0;
	}
	return r;
}

/* --- elements -------------------------------------------------------------------------------- */

int host_table_read(struct mnl_socket *nl, const struct slot *s, const enum element_set *sets,
		    size_t n_sets, struct elements *ret, struct err *err)
{
	auto_elements struct elements all = {0};

	for (size_t i = 0; i < n_sets; i++) {
		int r = elements_read(nl, sets[i], &all, err);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < all.n; i++)
		if (element_is_of(&all.v[i], s))
			elements_copy(ret, &all.v[i]);
	return 0;
}

int host_table_purge(struct mnl_socket *nl, const struct slot *s, struct err *err)
{
	auto_elements struct elements ours = {0};
	int r = host_table_read(nl, s, per_vm, ARRAY_SIZE(per_vm), &ours, err);

	if (r == -ENOENT)
		return 0;
	elements_reverse(&ours);
	return r < 0 ? r : elements_commit(nl, &ours, err);
}

/* --- the end of the table -------------------------------------------------------------------- */

/* Fails when anything about this namespace's rules has changed since that generation. */
static int delete_table(struct mnl_socket *nl, uint32_t generation)
{
	_Alignas(struct nlmsghdr) char at[1024];
	struct nlmsghdr *m = nftnl_batch_begin(at, nfsock_sequence());
	size_t len = 0;

	mnl_attr_put_u32(m, NFNL_BATCH_GENID, generation);
	len = m->nlmsg_len;
	m = nftnl_nlmsg_build_hdr(at + len, NFT_MSG_DELTABLE, NFPROTO_IPV4, 0, nfsock_sequence());
	mnl_attr_put_strz(m, NFTA_TABLE_NAME, ELEMENTS_TABLE);
	len += m->nlmsg_len;
	m = nftnl_batch_end(at + len, nfsock_sequence());
	len += m->nlmsg_len;
	return nfsock_talk(nl, at, len, NULL, NULL);
}

bool host_table_remove_unused(struct mnl_socket *nl, struct elements *uplinks)
{
	auto_elements struct elements vms = {0};
	uint32_t before = 0;

	if (elements_generation(nl, &before, NULL) < 0 ||
	    elements_read(nl, SET_VMIF, &vms, NULL) < 0 || vms.n > 0 ||
	    elements_read(nl, SET_UPLINK, uplinks, NULL) < 0)
		return false;
	return delete_table(nl, before) >= 0;
}
