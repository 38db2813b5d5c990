#include "hostnet.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

int hostnet_ruleset(struct buf *ret, struct err *err)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	int r = 0;

	if (!nft)
		return err_set(err, ERR_FAILED, -ENOMEM, "libnftables does not start");
	nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_STATELESS);
	if (nft_ctx_buffer_output(nft) != 0 || nft_ctx_buffer_error(nft) != 0 ||
	    nft_run_cmd_from_buffer(nft, "list ruleset") != 0) {
		const char *why = nft_ctx_get_error_buffer(nft);

		r = err_set(err, ERR_HOST, -EOPNOTSUPP, "the kernel tells no rules: %.*s",
			    why ? (int)strcspn(why, "\n") : 1, why ? why : "?");
	} else {
		buf_add_str(ret, nft_ctx_get_output_buffer(nft));
	}
	nft_ctx_free(nft);
	return r;
}

/* --- the ruleset, line by line: "table F NAME {", "chain NAME {", "type ... hook ..." --- */

struct reading {
	char table[128], chain[128]; /* where we are */
	char suspect[300];           /* drops, in the table we are in */
	bool has_rule;               /* the table knows our links */
};

static void finish_table(struct reading *r, struct buf *ret)
{
	if (r->suspect[0] && !r->has_rule && ret->len == 0)
		buf_add_str(ret, r->suspect);
	r->suspect[0] = '\0';
	r->has_rule = false;
}

static void read_line(struct reading *r, const char *line, struct buf *ret)
{
	line += strspn(line, "\t ");
	if (sscanf(line, "table %127[^{]", r->table) == 1) {
		finish_table(r, ret);
		r->table[strcspn(r->table, "{")] = '\0';
	} else if (sscanf(line, "chain %127s", r->chain) == 1) {
		return;
	} else if (strstr(line, "hook forward ") && strstr(line, "policy drop;")) {
		(void)snprintf(r->suspect, sizeof(r->suspect), "%s%s", r->table, r->chain);
	} else if (strstr(line, "iifname \"fv*\"") && strstr(line, "accept")) {
		r->has_rule = true;
	}
}

bool hostnet_drops_forward(const char *ruleset, struct buf *ret)
{
	struct reading r = {0};

	while (*ruleset) {
		size_t len = strcspn(ruleset, "\n");
		auto_free char *line = xstrndup(ruleset, len);

		read_line(&r, line, ret);
		ruleset += len + (ruleset[len] == '\n');
	}
	finish_table(&r, ret);
	return ret->len > 0;
}

bool hostnet_uplink(const char *routes, char ret[IF_NAMESIZE])
{
	while (*routes) {
		char link[IF_NAMESIZE] = "", to[16] = "", mask[16] = "";

		/* Iface Destination Gateway Flags RefCnt Use Metric Mask ... */
		if (sscanf(routes, "%15s %15s %*s %*s %*s %*s %*s %15s", link, to, mask) == 3 &&
		    strcmp(to, "00000000") == 0 && strcmp(mask, "00000000") == 0) {
			(void)snprintf(ret, IF_NAMESIZE, "%s", link);
			return true;
		}
		routes += strcspn(routes, "\n");
		routes += *routes == '\n';
	}
	return false;
}

bool hostnet_forwards(const char *link)
{
	auto_free char *path = xasprintf("/proc/sys/net/ipv4/conf/%s/forwarding", link);
	auto_buf struct buf text = BUF_INIT(16);

	return file_read(path, 16, &text, NULL) >= 0 && buf_str(&text)[0] == '1';
}
