#include "vm_yield.h"

#include "cleanup.h"
#include "kinds.h"
#include "record.h"
#include "vm_dir.h"
#include "vm_net.h"

static int stop(const struct resource_ctx *ctx, const struct node *node, const struct seen *seen,
		struct err *err)
{
	auto_free char *dir = vm_dir_path(ctx->set_dir, node->name);
	int r = record_mark_removing(ctx->set_dir, seen->record, err);

	return r < 0 ? r : vm_dir_remove(ctx, dir, VM_STOP_GRACE_MS, err);
}

int vm_yield(const struct resource_ctx *ctx, const struct node *node, const struct seen *seen,
	     bool stays, struct err *err)
{
	struct supervisor_call call = resource_call(ctx, json_opt_str(seen->record, "dir", ""));
	auto_net_config struct net_config net = {0};
	struct update_request req = {.net = &net};

	if (!vm_dir_is_supervised(ctx, seen->record))
		return 0;
	if (!stays)
		return stop(ctx, node, seen, err);
	int r = vm_net_config(ctx->choice, node, &net, err);
	if (r < 0)
		return r;
	vm_net_keep_recorded(seen->record, &net);
	r = supervisor_update(&call, &req, err);
	return r < 0 && vm_dir_has_left(ctx, seen->record, r) ? 0 : r;
}
