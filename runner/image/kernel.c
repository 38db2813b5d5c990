#include "assets.h"

#include "apt.h"
#include "cache.h"
#include "cleanup.h"
#include "file.h"
#include "initrd.h"
#include "modules.h"
#include "parse.h"
#include "pins.h"
#include "run.h"
#include "say.h"
#include "source.h"
#include "vmlinux.h"
#include "xalloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_FORMAT 1
#define KIND "kernel"

/* What a kernel_want means right now: a pinned package, or a file by its digest. */
struct kernel_source {
	struct apt_package package; /* name NULL for a file */
	const char *path;
	char digest[DIGEST_HEX_SIZE]; /* of the package or the file */
};
#define auto_kernel_source __attribute__((cleanup(kernel_source_free)))

static void kernel_source_free(struct kernel_source *s)
{
	apt_package_free(&s->package);
}

void kernel_have_free(struct kernel_have *k)
{
	free(k->vmlinux);
	free(k->initrd);
	free(k->version);
	*k = (struct kernel_have){0};
}

/* --- pins --- */

static int read_pin(struct json_object *pin, struct apt_package *ret, struct err *err)
{
	const char *name = NULL, *version = NULL, *sha256 = NULL;
	uint64_t size = 0;
	int r = json_get_str(pin, "package", &name, err);

	if (r == 0)
		r = json_get_str(pin, "version", &version, err);
	if (r == 0)
		r = json_get_str(pin, "sha256", &sha256, err);
	if (r == 0)
		r = json_get_u64(pin, "size", &size, err);
	if (r < 0)
		return err_wrap(err, "the pinned kernel in pins.json");
	*ret = (struct apt_package){.name = xstrdup(name),
				    .version = xstrdup(version),
				    .sha256 = xstrdup(sha256),
				    .size = size};
	return 0;
}

static int get_pin(const struct host *host, const char *name, struct apt_package *ret,
		   struct err *err)
{
	auto_json struct json_object *pin = NULL;
	int r = pins_get(host, KIND, name, &pin, err);

	if (r <= 0)
		return r;
	r = read_pin(pin, ret, err);
	return r < 0 ? r : 1;
}

static int set_pin(const struct host *host, const char *name, const struct apt_package *p,
		   struct err *err)
{
	struct json_object *pin = json_object_new_object();

	json_add_str(pin, "package", p->name);
	json_add_str(pin, "version", p->version);
	json_add_str(pin, "sha256", p->sha256);
	json_add_u64(pin, "size", p->size);
	return pins_set(host, KIND, name, pin, err);
}

static int resolve_and_pin(const struct host *host, const struct kernel_want *want,
			   const struct asset_progress *progress, struct apt_package *ret,
			   struct err *err)
{
	int r = apt_resolve_kernel(host, want->package, ret, err);

	if (r == 0)
		r = set_pin(host, want->package, ret, err);
	if (r == 0)
		asset_say(progress, "kernel '%s' is %s %s", want->package, ret->name, ret->version);
	return r;
}

/* 1 and *ret when known; 0 when only apt could tell and may_resolve is false. */
static int find_source(const struct host *host, const struct kernel_want *want, bool may_resolve,
		       const struct asset_progress *progress, struct kernel_source *ret,
		       struct err *err)
{
	int r = 0;

	ret->path = want->path;
	if (want->path) {
		r = source_digest("kernel", want->path, want->sha256, NULL, ret->digest, err);
		return r < 0 ? r : 1;
	}
	if (!apt_is_package_name(want->package))
		return err_set(err, ERR_SPEC, -EINVAL, "'%s' is not a Debian package name",
			       want->package);
	if (!want->update)
		r = get_pin(host, want->package, &ret->package, err);
	if (r == 0 && may_resolve)
		r = resolve_and_pin(host, want, progress, &ret->package, err);
	if (r < 0 || !ret->package.name)
		return r;
	(void)snprintf(ret->digest, sizeof(ret->digest), "%s", ret->package.sha256);
	return 1;
}

static void key_of(const struct kernel_source *source, char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();
	char modules[DIGEST_HEX_SIZE];

	modules_want_digest(modules);
	digest_add_u64(d, "format", KERNEL_FORMAT);
	digest_add_field(d, source->path ? "file" : "package", source->digest);
	digest_add_field(d, "modules", source->path ? NULL : modules);
	digest_hex(d, ret);
}

/* --- building --- */

struct job {
	const struct host *host;
	const struct kernel_source *source;
	const struct asset_progress *progress;
};

/* "6.1.0-40-cloud-amd64" from a package "linux-image-6.1.0-40-cloud-amd64". */
static const char *release_of(const struct apt_package *p)
{
	static const char prefix[] = "linux-image-";
	size_t n = sizeof(prefix) - 1;

	return strncmp(p->name, prefix, n) == 0 ? p->name + n : p->name;
}

static int take_apart(const char *unpacked, const char *release, const char *dir, struct err *err)
{
	auto_free char *vmlinuz = xasprintf("%s/boot/vmlinuz-%s", unpacked, release);
	auto_free char *modules = xasprintf("%s/lib/modules/%s", unpacked, release);
	auto_free char *vmlinux = path_join(dir, "vmlinux");
	int r = vmlinux_convert(vmlinuz, vmlinux, err);

	if (r < 0)
		return r;
	return modules_collect(modules, dir, err);
}

static int make_from_package(const struct job *job, const char *dir, struct json_object *made_of,
			     struct err *err)
{
	const struct apt_package *p = &job->source->package;
	auto_free char *work = path_join(dir, "work");
	auto_free char *unpacked = path_join(work, "unpacked");
	auto_free char *deb = NULL;
	char size[32];
	int r = file_mkdir_p(work, 0700, err);

	if (r < 0)
		return r;
	asset_say(job->progress, "fetching %s %s, %s", p->name, p->version,
		  format_size(p->size, size, sizeof(size)));
	r = apt_download(job->host, p, work, &deb, err);
	if (r < 0)
		return r;
	asset_say(job->progress, "unpacking %s", p->name);
	r = run_unpack_deb(job->host, deb, unpacked, err);
	if (r == 0)
		r = take_apart(unpacked, release_of(p), dir, err);
	if (r < 0)
		return err_wrap(err, "cannot use kernel package '%s' %s", p->name, p->version);
	json_add_str(made_of, "package", p->name);
	json_add_str(made_of, "package_version", p->version);
	json_add_str(made_of, "sha256", p->sha256);
	json_add_str(made_of, "version", release_of(p));
	return file_remove_tree(work, err);
}

/* A kernel given as a file has what it needs built in, or its owner would have to give the
 * modules, too: the list stays empty. */
static int make_from_file(const struct job *job, const char *dir, struct json_object *made_of,
			  struct err *err)
{
	auto_free char *copy = path_join(dir, "source");
	auto_free char *vmlinux = path_join(dir, "vmlinux");
	auto_free char *list = path_join(dir, "modules.list");
	int r = source_copy("kernel", job->source->path, job->source->digest, copy, err);

	if (r < 0)
		return r;
	r = vmlinux_convert(copy, vmlinux, err);
	if (r < 0)
		return err_wrap(err, "cannot use kernel '%s'", job->source->path);
	r = file_remove_tree(copy, err);
	if (r == 0)
		r = file_replace(list, "", 0, 0644, err);
	json_add_str(made_of, "file", job->source->path);
	json_add_str(made_of, "sha256", job->source->digest);
	json_add_str(made_of, "version", "file");
	return r;
}

static int make(void *data, const char *dir, struct json_object *made_of, struct err *err)
{
	const struct job *job = data;

	return job->source->path ? make_from_file(job, dir, made_of, err)
				 : make_from_package(job, dir, made_of, err);
}

/* --- result --- */

static void fill(const struct cache_entry *kernel, const struct cache_entry *initrd,
		 struct kernel_have *ret)
{
	auto_digest struct digest *d = digest_new();

	digest_add_field(d, "vmlinux", cache_entry_sha256(kernel, "vmlinux"));
	digest_add_field(d, "initrd", cache_entry_sha256(initrd, INITRD_NAME));
	digest_hex(d, ret->digest);
	ret->vmlinux = cache_entry_path(kernel, "vmlinux");
	ret->initrd = cache_entry_path(initrd, INITRD_NAME);
	ret->version = xstrdup(cache_entry_made_of(kernel, "version"));
}

int kernel_ensure(const struct host *host, const struct kernel_want *want,
		  const struct asset_progress *progress, struct kernel_have *ret, struct err *err)
{
	auto_kernel_source struct kernel_source source = {0};
	auto_cache_entry struct cache_entry kernel = {0}, initrd = {0};
	int r = find_source(host, want, true, progress, &source, err);

	if (r < 0)
		return r;
	auto_free char *what =
		xasprintf("kernel '%s'", want->path ? want->path : source.package.name);
	struct job job = {.host = host, .source = &source, .progress = progress};
	struct cache_build build = {.make = make, .data = &job, .what = what, .progress = progress};
	char key[DIGEST_HEX_SIZE];

	key_of(&source, key);
	r = cache_ensure(host, KIND, key, &build, &kernel, err);
	if (r == 0)
		r = initrd_ensure(host, &kernel, progress, &initrd, err);
	if (r == 0)
		fill(&kernel, &initrd, ret);
	return r;
}

int kernel_lookup(const struct host *host, const struct kernel_want *want, struct kernel_have *ret,
		  struct err *err)
{
	auto_kernel_source struct kernel_source source = {0};
	auto_cache_entry struct cache_entry kernel = {0}, initrd = {0};
	char key[DIGEST_HEX_SIZE];
	int r = find_source(host, want, false, NULL, &source, err);

	if (r <= 0)
		return r;
	key_of(&source, key);
	r = cache_lookup(host, KIND, key, &kernel, err);
	if (r == 1)
		r = initrd_lookup(host, &kernel, &initrd, err);
	if (r == 1)
		fill(&kernel, &initrd, ret);
	return r;
}
