#include "initrd.h"

#include "cleanup.h"
#include "digest.h"
#include "embedded.h"
#include "file.h"
#include "say.h"
#include "xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define INITRD_FORMAT 1
#define INITRD_MAX (128u << 20)
#define LIST_MAX (64u << 10)

static void pad4(struct buf *out)
{
	static const char zeros[4];

	buf_add(out, zeros, (4 - out->len % 4) % 4);
}

/* Inode numbers matter for hard links only, and nothing here has one: all are 0, so that the
 * bytes depend on nothing but the content. */
void cpio_add(struct buf *out, const struct cpio_entry *e)
{
	size_t name_size = strlen(e->name) + 1;

	buf_addf(out, "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zX%08X", 0u,
		 (unsigned int)e->mode, 0u, 0u, 1u, 0u, e->len, 0u, 0u, major(e->rdev),
		 minor(e->rdev), name_size, 0u);
	buf_add(out, e->name, name_size);
	pad4(out);
	buf_add(out, e->data, e->len);
	pad4(out);
}

void cpio_end(struct buf *out)
{
	cpio_add(out, &(struct cpio_entry){.name = "TRAILER!!!"});
}

static void add_skeleton(struct buf *out)
{
	static const char *const dirs[] = {"dev", "proc", "sys", "m"};
	size_t agent_len;
	const void *agent = embedded_agent_data(&agent_len);

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		cpio_add(out, &(struct cpio_entry){.name = dirs[i], .mode = S_IFDIR | 0755});
	/* the kernel opens it for /init before devtmpfs is mounted */
	cpio_add(out, &(struct cpio_entry){.name = "dev/console",
					   .mode = S_IFCHR | 0600,
					   .rdev = makedev(5, 1)});
	cpio_add(out,
		 &(struct cpio_entry){
			 .name = "init", .mode = S_IFREG | 0755, .data = agent, .len = agent_len});
}

static int add_file(struct buf *out, const char *kernel_dir, const char *name, struct buf *data,
		    struct err *err)
{
	auto_free char *path = path_join(kernel_dir, name);
	int r = file_read(path, data->max, data, err);

	if (r < 0)
		return r;
	cpio_add(out, &(struct cpio_entry){.name = name,
					   .mode = S_IFREG | 0644,
					   .data = buf_str(data),
					   .len = data->len});
	return 0;
}

static int add_modules(struct buf *out, const char *kernel_dir, struct err *err)
{
	auto_buf struct buf list = BUF_INIT(LIST_MAX);
	auto_buf struct buf ko = BUF_INIT(INITRD_MAX);
	int r = add_file(out, kernel_dir, "modules.list", &list, err);

	for (const char *line = buf_str(&list); r == 0 && *line;) {
		size_t n = strcspn(line, "\n");
		auto_free char *name = xstrndup(line, n);

		r = add_file(out, kernel_dir, *name == '/' ? name + 1 : name, &ko, err);
		line += n + (line[n] == '\n');
	}
	return r;
}

struct job {
	const struct cache_entry *kernel;
	const struct asset_progress *progress;
};

static int make(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	const struct job *job = data;
	auto_buf struct buf out = BUF_INIT(INITRD_MAX);
	auto_free char *path = path_join(dir, INITRD_NAME);
	char agent[DIGEST_HEX_SIZE];
	int r;

	add_skeleton(&out);
	r = add_modules(&out, job->kernel->dir, err);
	if (r < 0)
		return r;
	cpio_end(&out);
	if (!buf_ok(&out))
		return err_set(err, ERR_FAILED, -EFBIG, "the initrd is larger than %u bytes",
			       INITRD_MAX);
	embedded_agent_digest(agent);
	json_add_str(made_of, "agent", agent);
	json_add_str(made_of, "kernel", json_opt_str(job->kernel->meta, "key", ""));
	asset_say(job->progress, "packed the initrd, %zu KiB", out.len >> 10);
	return file_replace(path, out.data, out.len, 0644, err);
}

static void key_of(const struct cache_entry *kernel, char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();
	char agent[DIGEST_HEX_SIZE];

	embedded_agent_digest(agent);
	digest_add_u64(d, "format", INITRD_FORMAT);
	digest_add_field(d, "agent", agent);
	digest_add_field(d, "kernel", json_opt_str(kernel->meta, "key", ""));
	digest_hex(d, ret);
}

int initrd_ensure(const struct host *host, const struct cache_entry *kernel,
		  const struct asset_progress *progress, struct cache_entry *ret, struct err *err)
{
	struct job job = {.kernel = kernel, .progress = progress};
	struct cache_build build = {
		.make = make, .data = &job, .what = "the initrd", .progress = progress};
	char key[DIGEST_HEX_SIZE];

	key_of(kernel, key);
	return cache_ensure(host, "initrd", key, &build, ret, err);
}

int initrd_lookup(const struct host *host, const struct cache_entry *kernel,
		  struct cache_entry *ret, struct err *err)
{
	char key[DIGEST_HEX_SIZE];

	key_of(kernel, key);
	return cache_lookup(host, "initrd", key, ret, err);
}
