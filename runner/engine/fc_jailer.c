#include "fc_jailer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "fc_find.h"
#include "file.h"
#include "jail.h"
#include "proc.h"
#include "vmgroup.h"
#include "xalloc.h"

#define NAME "jailer"
/* Beside the guest's memory: the VMM, and two tables of 8 bytes for each of its pages of 4 KiB, the
 * VMM's and KVM's. */
#define MEMORY_BESIDE (UINT64_C(64) << 20)
#define TABLES_SHARE 256
#define THREADS_BESIDE 32u
#define ID "fcvm" /* unique in its base directory, which is the VM's own */

int fc_jailer_find(const struct host *host, const char *firecracker, char **ret, struct err *err)
{
	const char *wish = host->getenv("FCVM_JAILER"), *path = host->getenv("PATH");
	size_t dir = (size_t)(strrchr(firecracker, '/') - firecracker);
	auto_free char *found =
		wish && *wish ? xstrdup(wish) : xasprintf("%.*s/" NAME, (int)dir, firecracker);

	if (!(wish && *wish) && access(found, X_OK) < 0) {
		free(found);
		found = proc_find(NAME, path ? path : "/usr/bin");
	}
	auto_free char *real = found ? realpath(found, NULL) : NULL;

	if (real && access(real, X_OK) == 0) {
		*ret = TAKE_PTR(real);
		return 0;
	}
	if (wish && *wish)
		return err_set(err, ERR_HOST, -ENOENT,
			       "FCVM_JAILER names '%s', which cannot be run", wish);
	err_set(err, ERR_HOST, -ENOENT, NAME " is not installed");
	return err_hint(err, "put it beside firecracker, whose release has it, or name it in "
			     "FCVM_JAILER");
}

/* The jailer copies a program there and makes devices. Of a directory that is not there yet, what
 * is above it tells. */
static int check_mount(const char *data_dir, struct err *err)
{
	auto_free char *path = xstrdup(data_dir);
	struct statvfs st;

	while (statvfs(path, &st) < 0) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return err_sys(err, "cannot look at '%s'", data_dir);
		*slash = '\0';
	}
	if (st.f_flag & (ST_NODEV | ST_NOEXEC))
		return err_set(err, ERR_HOST, -EPERM,
			       "'%s' is mounted %s: choose another --data-dir", path,
			       st.f_flag & ST_NODEV ? "nodev" : "noexec");
	return 0;
}

int fc_jailer_check(const struct host *host, const char *jailer, const char *version,
		    struct err *err)
{
	struct probe_binary b = {.version = ""};
	int r = probe_binary(host, jailer, fc_ask_jailer, &b, err);

	if (r < 0)
		return r;
	/* It passes arguments of its own on, which only its own release is known to take. */
	if (strcmp(b.version, version) != 0)
		return err_set(
			err, ERR_HOST, -EXDEV,
			"the jailer is version %s, firecracker is %s: take both from one release",
			b.version, version);
	return check_mount(host->data_dir, err);
}

static int forget(const struct fc_jailer *j, const char *name, struct err *err)
{
	auto_free char *path = path_join(j->vm_dir, name);

	return file_remove_tree(path, err);
}

static int forget_all(const struct fc_jailer *j, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < j->made.n && r >= 0; i++)
		r = forget(j, j->made.v[i], err);
	return r;
}

static void bind_in(struct fc_jailer *j, const char *path)
{
	size_t len = strcspn(path + 1, "/");

	strv_add(&j->sources, path);
	strv_addf(&j->dots, "%s%s", j->root, path);
	strv_addf(&j->made, "%.*s", (int)len, path + 1);
}

static void bind_files(struct fc_jailer *j, const struct vm_config *c,
		       const struct vm_restore *from)
{
	if (!from)
		bind_in(j, c->kernel);
	if (!from && *c->initrd)
		bind_in(j, c->initrd);
	if (from)
		bind_in(j, from->state_path);
	if (from && from->backend == MEMORY_FILE)
		bind_in(j, from->memory_path);
	for (size_t i = 0; i < c->n_disks; i++)
		if (c->disks[i].read_only)
			bind_in(j, c->disks[i].path);
}

/* Whatever our umask: the VMM walks through them. */
static int make_dirs(const char *path, struct err *err)
{
	auto_free char *dir = xstrdup(path);

	for (char *at = strchr(dir + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(dir, 0755) == 0) {
			if (chmod(dir, 0755) < 0)
				return err_sys(err, "cannot open up '%s'", dir);
		} else if (errno != EEXIST) {
			return err_sys(err, "cannot make '%s'", dir);
		}
		*at = '/';
	}
	return 0;
}

/* What something is bound on must be there, in vm_dir, which stands for the root. */
static int make_dot(const struct fc_jailer *j, const char *source, struct err *err)
{
	auto_free char *path = xasprintf("%s%s", j->vm_dir, source);
	auto_close int fd = -1;
	int r = make_dirs(path, err);

	if (r < 0)
		return r;
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0400);
	return fd < 0 ? err_sys(err, "cannot make '%s'", path) : 0;
}

static int make_all(const struct fc_jailer *j, struct err *err)
{
	auto_free char *below = path_join(j->root, "x");
	int r = forget_all(j, err);

	if (r >= 0)
		r = make_dirs(below, err);
	for (size_t i = 0; i < j->sources.n && r >= 0; i++)
		r = make_dot(j, j->sources.v[i], err);
	return r < 0 ? err_wrap(err, "jail") : 0;
}

/* The VM's memory, unless it is the pool's, and what a VMM needs beside it. */
static int make_cgroup(struct fc_jailer *j, const struct vm_config *config, struct err *err)
{
	auto_free char *mount = vmgroup_mount();
	const struct vmgroup_limits limits = {
		.memory_bytes = MEMORY_BESIDE + config->memory_bytes / TABLES_SHARE +
				(config->huge_pages ? 0 : config->memory_bytes),
		.pids = THREADS_BESIDE + config->cpus,
		.huge_bytes = config->huge_pages ? config->memory_bytes : 0,
	};

	if (!mount)
		return 0;
	j->cgroup = vmgroup_path(mount, j->vm_dir);
	return vmgroup_make(j->cgroup, &limits, &j->procs, err);
}

static void free_jailer(struct fc_jailer *j)
{
	if (j->cgroup)
		(void)vmgroup_remove(j->cgroup, NULL);
	cleanup_close_p(&j->procs);
	free(j->cgroup);
	free(j->binary);
	free(j->vm_dir);
	free(j->base);
	free(j->root);
	strv_free(&j->sources);
	strv_free(&j->dots);
	strv_free(&j->made);
	*j = (struct fc_jailer){.procs = -1};
}

int fc_jailer_make(const struct vm *vm, const struct vm_config *config,
		   const struct vm_restore *from, const char *firecracker, struct fc_jailer *ret,
		   struct err *err)
{
	const char *name = strrchr(firecracker, '/') + 1;
	const char *const made[] = {"jail", "dev", "run", FC_JAILER_LOG, FC_JAILER_METRICS, name};
	struct fc_jailer j = {.vm_dir = realpath(vm->vm_dir, NULL), .procs = -1};
	int r;

	if (!j.vm_dir)
		return err_sys(err, "cannot find '%s'", vm->vm_dir);
	j.base = path_join(j.vm_dir, "jail");
	j.root = xasprintf("%s/%s/" ID "/root", j.base, name);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		strv_add(&j.made, made[i]);
	strv_addf(&j.made, "%s.pid", name);
	bind_files(&j, config, from);
	r = fc_jailer_find(vm->host, firecracker, &j.binary, err);
	if (r >= 0)
		r = make_all(&j, err);
	if (r >= 0)
		r = make_cgroup(&j, config, err);
	if (r < 0) {
		(void)forget_all(&j, NULL);
		free_jailer(&j);
		return r;
	}
	*ret = j;
	return 0;
}

void fc_jailer_add_args(const struct fc_jailer *j, const struct vm *vm, const char *firecracker,
			struct strv *argv)
{
	strv_add(argv, j->binary);
	strv_add(argv, "--id");
	strv_add(argv, ID);
	strv_add(argv, "--exec-file");
	strv_add(argv, firecracker);
	strv_add(argv, "--uid");
	strv_addf(argv, "%u", vm->uid);
	strv_add(argv, "--gid");
	strv_addf(argv, "%u", vm->gid);
	strv_add(argv, "--chroot-base-dir");
	strv_add(argv, j->base);
	/* Told 2 it leaves our cgroup for one that is called like its binary, where there is such a
	 * one, and ends where there is no cgroup v2 (jailer/src/env.rs). Told 1 it touches none. */
	strv_add(argv, "--cgroup-version");
	strv_add(argv, "1");
	strv_add(argv, "--resource-limit");
	strv_addf(argv, "no-file=%u", j->files);
	strv_add(argv, "--");
}

static int bind_one(const char *from, const char *to, unsigned long flags)
{
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		return -errno;
	if (flags && mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0)
		return -errno;
	return 0;
}

int fc_jailer_enter(void *data)
{
	const struct fc_jailer *j = data;
	int r = jail_limit(j->files);

	if (r < 0)
		return r;
	if (j->procs >= 0 && write(j->procs, "0", 1) < 0)
		return -errno;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	/* It holds the devices that the jailer makes. */
	r = bind_one(j->vm_dir, j->root, 0);
	for (size_t i = 0; i < j->sources.n && r >= 0; i++)
		r = bind_one(j->sources.v[i], j->dots.v[i],
			     MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
	return r < 0 ? r : jail_no_new_privs();
}

void fc_jailer_remove(struct fc_jailer *j)
{
	if (!j->vm_dir)
		return;
	(void)forget_all(j, NULL);
	free_jailer(j);
}
