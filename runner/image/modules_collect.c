#include "modules.h"

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

#include <errno.h>
#include <fts.h>
#include <string.h>

#define MODULE_MAX (64u << 20)
#define BUILTIN_MAX (4u << 20)

static const struct module_want wanted[] = {
	{.name = "virtio_mmio"},
	{.name = "virtio_blk"},
	{.name = "virtio_net"},
	{.name = "virtio_console"},
	{.name = "virtio_rng"},
	{.name = "overlay"},
	{.name = "squashfs"},
	{.name = "erofs", .optional = true},
	{.name = "fuse", .optional = true},
	{.name = "vsock", .optional = true},
	{.name = "vmw_vsock_virtio_transport", .optional = true},
	/* the agent kills a clone's inherited sockets through sock_diag */
	{.name = "inet_diag"},
	{.name = "tcp_diag"},
	{.name = "udp_diag"},
};

void modules_want_digest(char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		digest_add_field(d, "module", wanted[i].name);
	digest_hex(d, ret);
}

static void close_fts(FTS **fts)
{
	if (*fts)
		(void)fts_close(*fts);
}

static int read_ko(const char *path, struct buf *ko, struct err *err)
{
	return file_read(path, MODULE_MAX, ko, err);
}

static char *module_name(const char *file_name)
{
	const char *dot = strstr(file_name, ".ko");

	return dot && dot[3] == '\0' ? xstrndup(file_name, (size_t)(dot - file_name)) : NULL;
}

/* Names and paths only: of some thousand modules a few dozen are ever opened. */
static int index_modules(const char *lib_dir, struct module_set *set, struct err *err)
{
	auto_free char *root = path_join(lib_dir, "kernel");
	char *const roots[] = {root, NULL};
	FTS *fts __attribute__((cleanup(close_fts))) =
		fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
	const FTSENT *e;

	if (!fts)
		return err_sys(err, "cannot walk '%s'", root);
	while ((e = fts_read(fts))) {
		auto_free char *name = module_name(e->fts_name);

		if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
			return err_sys_code(err, -e->fts_errno, "cannot read '%s'", e->fts_path);
		if (name)
			(void)module_set_add(set, name, e->fts_path);
	}
	return 0;
}

/* modules.builtin: one "kernel/drivers/virtio/virtio.ko" a line. */
static int index_builtin(const char *lib_dir, struct strv *builtin, struct err *err)
{
	auto_free char *path = path_join(lib_dir, "modules.builtin");
	auto_buf struct buf text = BUF_INIT(BUILTIN_MAX);
	int r = file_read(path, BUILTIN_MAX, &text, err);

	if (r < 0)
		return r;
	for (const char *line = buf_str(&text); *line;) {
		size_t n = strcspn(line, "\n");
		auto_free char *one = xstrndup(line, n);
		const char *base = strrchr(one, '/');
		auto_free char *name = module_name(base ? base + 1 : one);

		if (name)
			strv_add_take(builtin, modules_canonical(name));
		line += n + (line[n] == '\n');
	}
	return 0;
}

static void queue(struct strv *todo, const char *name)
{
	auto_free char *s = modules_canonical(name);

	if (!strv_has(todo, s))
		strv_add(todo, s);
}

/* Reads what the wanted modules and all they lead to say about themselves. */
static int read_needed(struct module_set *set, struct err *err)
{
	auto_strv struct strv todo = {0};
	auto_buf struct buf ko = BUF_INIT(MODULE_MAX);

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		queue(&todo, wanted[i].name);
	for (size_t i = 0; i < todo.n; i++) {
		struct module_info *item = module_set_find(set, todo.v[i]);
		int r;

		if (!item)
			continue;
		r = read_ko(item->path, &ko, err);
		if (r == 0)
			r = modules_parse_ko((const uint8_t *)buf_str(&ko), ko.len, item, err);
		if (r < 0)
			return err_wrap(err, "module '%s'", item->path);
		for (size_t k = 0; k < item->depends.n; k++)
			queue(&todo, item->depends.v[k]);
		for (size_t k = 0; k < item->pre.n; k++)
			queue(&todo, item->pre.v[k]);
	}
	return 0;
}

/* Signatures stay behind: the guest would spend an RSA check on each under TCG, and whoever can
 * change the initrd can change the kernel beside it. */
static int copy_module(const struct module_info *item, const char *to_dir, struct buf *list,
		       struct err *err)
{
	auto_buf struct buf ko = BUF_INIT(MODULE_MAX);
	auto_free char *to = xasprintf("%s/m/%s.ko", to_dir, item->name);
	int r = read_ko(item->path, &ko, err);

	if (r < 0)
		return r;
	buf_addf(list, "/m/%s.ko\n", item->name);
	return file_replace(to, ko.data,
			    modules_unsigned_len((const uint8_t *)buf_str(&ko), ko.len), 0644, err);
}

static int copy_modules(struct module_set *set, const struct strv *order, const char *to_dir,
			struct err *err)
{
	auto_free char *m = path_join(to_dir, "m");
	auto_free char *list_path = path_join(to_dir, "modules.list");
	auto_buf struct buf list = BUF_INIT(1u << 16);
	int r = file_mkdir_p(m, 0755, err);

	for (size_t i = 0; r == 0 && i < order->n; i++)
		r = copy_module(module_set_find(set, order->v[i]), to_dir, &list, err);
	if (r < 0)
		return r;
	return file_replace(list_path, buf_str(&list), list.len, 0644, err);
}

int modules_collect(const char *lib_dir, const char *to_dir, struct err *err)
{
	auto_module_set struct module_set set = {0};
	auto_strv struct strv order = {0};
	int r = index_modules(lib_dir, &set, err);

	if (r == 0)
		r = index_builtin(lib_dir, &set.builtin, err);
	if (r == 0)
		r = read_needed(&set, err);
	if (r == 0)
		r = modules_order(&set, wanted, ARRAY_SIZE(wanted), &order, err);
	if (r == 0)
		r = copy_modules(&set, &order, to_dir, err);
	return r;
}
