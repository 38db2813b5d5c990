#include "rootfs_build.h"

#include "apt.h"
#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "parse.h"
#include "run.h"
#include "say.h"
#include "xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUILD_TIMEOUT_MS (60u * 60 * 1000)
#define STATUS_MAX (16u << 20)

/* What dpkg leaves out: nobody reads documentation in a microVM. */
static const char *const options[] = {
	"--mode=root",
	"--variant=essential",
	"--format=directory",
	"--aptopt=Apt::Install-Recommends \"false\"",
	"--dpkgopt=force-unsafe-io",
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
};

static char *join_packages(const struct strv *packages)
{
	auto_buf struct buf list = BUF_INIT(64u << 10);

	buf_add_str(&list, "--include=");
	for (size_t i = 0; i < packages->n; i++)
		buf_addf(&list, "%s%s", i ? "," : "", packages->v[i]);
	return buf_detach(&list);
}

static void progress_line(void *data, const char *text)
{
	if (strncmp(text, "I: ", 3) == 0)
		asset_say(data, "root file system: %s", text + 3);
}

static int run_mmdebstrap(const struct rootfs_build *b, const struct strv *sources,
			  const char *root, struct err *err)
{
	auto_strv struct strv argv = {0};
	auto_free char *include = join_packages(b->packages);
	struct asset_progress progress = b->progress ? *b->progress : (struct asset_progress){0};

	strv_add(&argv, "mmdebstrap");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		strv_add(&argv, options[i]);
	strv_add(&argv, include);
	strv_add(&argv, b->suite);
	strv_add(&argv, root);
	strv_add_all(&argv, sources);

	const struct run_tool tool = {.argv = (const char *const *)argv.v,
				      .package = "mmdebstrap",
				      .line = progress_line,
				      .data = &progress,
				      .timeout_ms = BUILD_TIMEOUT_MS};

	return run_tool(b->host, &tool, err);
}

/* mmdebstrap leaves the host's own name and resolver behind, and podman brings a CNI network that
 * makes it warn on every command. */
static int tidy(const char *root, struct err *err)
{
	static const struct {
		const char *name, *text;
	} files[] = {
		{"etc/hostname", "localhost\n"},
		{"etc/resolv.conf", ""},
		{"etc/machine-id", ""},
		{"etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
	};
	static const char *const mount_points[] = {"images", "run/fcvm"};
	auto_free char *cni = path_join(root, "etc/cni/net.d/87-podman-bridge.conflist");
	int r = 0;

	if (unlink(cni) < 0 && errno != ENOENT)
		return err_sys(err, "cannot remove '%s'", cni);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
		auto_free char *path = path_join(root, files[i].name);

		r = file_replace(path, files[i].text, strlen(files[i].text), 0644, err);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(mount_points); i++) {
		auto_free char *path = path_join(root, mount_points[i]);

		r = file_mkdir_p(path, 0755, err);
	}
	return r;
}

static bool starts(const char *line, const char *prefix, const char **ret_rest)
{
	size_t n = strlen(prefix);

	if (strncmp(line, prefix, n) != 0)
		return false;
	*ret_rest = line + n;
	return true;
}

void rootfs_parse_status(const char *text, struct json_object *ret)
{
	auto_free char *package = NULL;

	while (*text) {
		size_t len = strcspn(text, "\n");
		auto_free char *line = xstrndup(text, len);
		const char *rest;

		if (starts(line, "Package: ", &rest)) {
			cleanup_free_p(&package);
			package = xstrdup(rest);
		} else if (starts(line, "Version: ", &rest) && package) {
			json_add_str(ret, package, rest);
			cleanup_free_p(&package);
		}
		text += len + (text[len] == '\n');
	}
}

static int record(const struct rootfs_build *b, const char *root, const struct strv *sources,
		  struct json_object *made_of, struct err *err)
{
	auto_free char *path = path_join(root, "var/lib/dpkg/status");
	auto_buf struct buf text = BUF_INIT(STATUS_MAX);
	struct json_object *versions;
	int r = file_read(path, STATUS_MAX, &text, err);

	if (r < 0)
		return r;
	versions = json_object_new_object();
	rootfs_parse_status(buf_str(&text), versions);
	json_add_str(made_of, "suite", b->suite);
	json_add(made_of, "sources", json_strv(sources));
	json_add(made_of, "asked", json_strv(b->packages));
	json_add(made_of, "packages", versions);
	return 0;
}

/* Its files belong to many users, and only root may give files away. */
static int needs_root(const struct rootfs_build *b, struct err *err)
{
	(void)err_set(err, ERR_HOST, -EPERM,
		      "the root file system '%s' is in no cache here, and only root can build it",
		      b->suite);
	return err_hint(err, "sudo fcvm setup builds it once for every user of this machine");
}

int rootfs_build(const struct rootfs_build *b, const char *dir, struct json_object *made_of,
		 struct err *err)
{
	auto_free char *root = path_join(dir, "root");
	auto_free char *image = path_join(dir, "root.img");
	auto_strv struct strv sources = {0};
	char size[32];
	struct stat st;
	int r = b->host->is_root ? apt_sources(b->host, b->suite, &sources, err)
				 : needs_root(b, err);

	if (r < 0)
		return r;
	asset_say(b->progress, "installing Debian %s with %zu packages and what they need",
		  b->suite, b->packages->n);
	r = run_mmdebstrap(b, &sources, root, err);
	if (r == 0)
		r = tidy(root, err);
	if (r == 0)
		r = record(b, root, &sources, made_of, err);
	if (r < 0)
		return err_wrap(err, "cannot build rootfs '%s'", b->suite);
	asset_say(b->progress, "packing the root file system");
	r = run_mksquashfs(b->host, root, image, err);
	if (r == 0)
		r = file_remove_tree(root, err);
	if (r < 0)
		return r;
	if (stat(image, &st) == 0)
		asset_say(b->progress, "packed the root file system, %s",
			  format_size((uint64_t)st.st_size, size, sizeof(size)));
	return 0;
}
