#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "net.h"
#include "resource.h"
#include "stray.h"
#include "vm_dir.h"
#include "xalloc.h"

typedef int (*sweep_fn)(const struct resource_ctx *ctx, const char *dir, struct err *err);

static int sweep_vm(const struct resource_ctx *ctx, const char *dir, struct err *err)
{
	return vm_dir_remove(ctx, dir, 0, err);
}

/* Groups and users of the ledger come back by themselves once the path is gone. */
static int sweep_tree(const struct resource_ctx *ctx, const char *dir, struct err *err)
{
	int r = stray_kill(ctx->host, dir, err);

	return r < 0 ? r : file_remove_tree(dir, err);
}

static int sweep_each(const struct resource_ctx *ctx, const char *sub, sweep_fn fn,
		      struct buf *left, struct err *err)
{
	auto_free char *dir = path_join(ctx->set_dir, sub);
	auto_closedir DIR *d = opendir(dir);

	if (!d && errno == ENOENT)
		return 0;
	if (!d)
		return err_sys(err, "cannot read '%s'", dir);
	for (struct dirent *e; (errno = 0, e = readdir(d));) {
		struct err why = {0};

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		auto_free char *path = path_join(dir, e->d_name);
		if (fn(ctx, path, &why) < 0)
			buf_addf(left, "%s: %s\n", path, why.msg);
	}
	return errno ? err_sys(err, "cannot read '%s'", dir) : 0;
}

int resource_sweep(const struct resource_ctx *ctx, struct buf *left, struct err *err)
{
	static const struct {
		const char *sub;
		sweep_fn fn;
	} dirs[] = {{"vms", sweep_vm},
		    {"memservers", sweep_tree},
		    {"snapshots", sweep_tree},
		    {"volumes", sweep_tree}};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		int r = sweep_each(ctx, dirs[i].sub, dirs[i].fn, left, err);

		if (r < 0)
			return r;
	}
	int r = stray_kill(ctx->host, ctx->set_dir, err);
	struct err why = {0};

	if (r >= 0 && resource_sweep_networks(ctx->host, &why) < 0)
		buf_addf(left, "networks: %s\n", why.msg);
	return r;
}

int resource_sweep_networks(const struct host *host, struct err *err)
{
	struct err why = {0};
	int r = net_sweep(host, &why);

	/* A kernel without netfilter never had a VM with a network. */
	if (r >= 0 || r == -EPROTONOSUPPORT)
		return 0;
	if (err)
		*err = why;
	return r;
}
