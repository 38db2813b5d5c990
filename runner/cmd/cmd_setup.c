#include "commands.h"

#include "assets.h"
#include "cleanup.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_KERNEL "linux-image-cloud-amd64"
#define DEFAULT_SUITE "bookworm"

struct setup {
	const char *kernel, *rootfs; /* as given: a name, or a path when it has a slash */
	struct strv images;          /* sources, relative to the current directory */
	bool update;
};

static void say(void *data, const char *text)
{
	(void)data;
	log_info("%s", text);
}

static const struct asset_progress progress = {.say = say};

/* *ret_path stays NULL for a name. */
static int path_given(const char *what, const char *given, char **ret_path, struct err *err)
{
	if (!given || !strchr(given, '/'))
		return 0;
	*ret_path = realpath(given, NULL);
	if (*ret_path)
		return 0;
	return err_set(err, ERR_SPEC, -errno, "option '--%s': cannot find '%s': %s", what, given,
		       strerror(errno));
}

static int setup_kernel(const struct host *host, const struct setup *s, struct buf *out,
			struct err *err)
{
	__attribute__((cleanup(kernel_have_free))) struct kernel_have have = {0};
	auto_free char *path = NULL;
	int r = path_given("kernel", s->kernel, &path, err);

	if (r < 0)
		return r;
	const struct kernel_want want = {
		.package = path        ? NULL
			   : s->kernel ? s->kernel
				       : DEFAULT_KERNEL,
		.path = path,
		.update = s->update,
	};
	r = kernel_ensure(host, &want, &progress, &have, err);
	if (r < 0)
		return r;
	buf_addf(out, "kernel %s %.12s\n", have.version, have.digest);
	return 0;
}

static int setup_rootfs(const struct host *host, const struct setup *s, struct buf *out,
			struct err *err)
{
	__attribute__((cleanup(rootfs_have_free))) struct rootfs_have have = {0};
	auto_free char *path = NULL;
	int r = path_given("rootfs", s->rootfs, &path, err);

	if (r < 0)
		return r;
	const struct rootfs_want want = {
		.suite = path        ? NULL
			 : s->rootfs ? s->rootfs
				     : DEFAULT_SUITE,
		.path = path,
		.update = s->update,
	};
	r = rootfs_ensure(host, &want, &progress, &have, err);
	if (r < 0)
		return r;
	buf_addf(out, "rootfs %s %.12s\n", have.fstype, have.digest);
	return 0;
}

static int setup_images(const struct host *host, const struct setup *s, struct buf *out,
			struct err *err)
{
	auto_free char *cwd = getcwd(NULL, 0);
	int r = cwd ? 0 : err_sys(err, "cannot tell the current directory");

	for (size_t i = 0; r == 0 && i < s->images.n; i++) {
		struct image_have have = {0};

		r = image_ensure(host, s->images.v[i], cwd, &progress, &have, err);
		if (r == 0)
			buf_addf(out, "image %s %.12s\n", have.reference, have.digest);
		image_have_free(&have);
	}
	return r;
}

/* Before minutes go into a kernel and a root. */
static int check_images(const struct setup *s, struct err *err)
{
	auto_free char *cwd = getcwd(NULL, 0);
	int r = cwd ? 0 : err_sys(err, "cannot tell the current directory");

	for (size_t i = 0; r == 0 && i < s->images.n; i++) {
		char digest[DIGEST_HEX_SIZE];

		r = image_resolve(s->images.v[i], cwd, digest, err);
	}
	return r;
}

static int run(const struct host *host, const struct setup *s, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(64u << 10);
	int r = check_images(s, err);

	if (r >= 0)
		r = host_make_dirs(host, err);
	if (r >= 0)
		r = setup_kernel(host, s, &out, err);
	if (r >= 0)
		r = setup_rootfs(host, s, &out, err);
	if (r >= 0)
		r = setup_images(host, s, &out, err);
	return r < 0 ? r : command_print(&out, err);
}

int cmd_setup(struct command_ctx *ctx, int argc, char **argv, int *ret_exit, struct err *err)
{
	struct setup s = {0};
	const struct opt opts[] = {
		{.name = "kernel",
		 .kind = OPT_STR,
		 .value = &s.kernel,
		 .arg = "PACKAGE|PATH",
		 .doc = "Debian package, or a file (with a slash); default " DEFAULT_KERNEL},
		{.name = "rootfs",
		 .kind = OPT_STR,
		 .value = &s.rootfs,
		 .arg = "SUITE|PATH",
		 .doc = "Debian suite, or an image or directory (with a slash); default " DEFAULT_SUITE},
		{.name = "image",
		 .kind = OPT_STRV,
		 .value = &s.images,
		 .arg = "SOURCE",
		 .doc = "also unpack a container image, e.g. oci-archive:web.tar, for users who are "
			"not root; repeatable"},
		{.name = "update",
		 .kind = OPT_FLAG,
		 .value = &s.update,
		 .doc = "look for newer packages than those pinned at the first build"},
	};
	const struct command_args how = {opts, ARRAY_SIZE(opts), .max_args = 0};
	auto_strv struct strv args = {0};
	bool help = false;
	int r = command_parse(ctx, &how, argc, argv, &args, NULL, &help, err);

	(void)ret_exit;
	if (r >= 0 && !help)
		r = run(ctx->host, &s, err);
	strv_free(&s.images);
	return r;
}
