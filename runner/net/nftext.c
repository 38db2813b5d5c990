#include "nftext.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

static void free_ctx(struct nft_ctx **ctx)
{
	if (*ctx)
		nft_ctx_free(*ctx);
}

/* The first line says what; those behind it quote the ruleset. */
static int fail(struct nft_ctx *ctx, struct err *err)
{
	const char *words = nft_ctx_get_error_buffer(ctx);

	return err_set(err, ERR_HOST, -EIO, "the kernel refuses the nftables ruleset: %.*s",
		       (int)strcspn(words ? words : "", "\n"), words ? words : "");
}

int nftext_run(const char *text, struct err *err)
{
	__attribute__((cleanup(free_ctx))) struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);

	if (!ctx || nft_ctx_buffer_error(ctx) != 0 || nft_ctx_buffer_output(ctx) != 0)
		return err_set(err, ERR_HOST, -ENOMEM, "cannot set up libnftables");
	return nft_run_cmd_from_buffer(ctx, text) == 0 ? 0 : fail(ctx, err);
}
