#include "super.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "storage.h"
#include "vmmanifest.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESTORE_MS 30000
#define ANNOUNCE_MS 10000

static int check_memory(const struct bringup_spec *l, struct err *err)
{
	auto_free char *path = path_join(l->snapshot_dir, VM_MEMORY);
	struct stat st = {0};

	if (stat(path, &st) < 0)
		return err_sys(err, "cannot stat '%s'", path);
	if ((uint64_t)st.st_size != l->config.memory_bytes)
		return err_set(
			err, ERR_HOST, -EXDEV,
			"'%s' has %lld bytes, its manifest says %llu: take the snapshot again",
			path, (long long)st.st_size, (unsigned long long)l->config.memory_bytes);
	return 0;
}

/* Read at every try: what a restart restores may have been replaced meanwhile. */
static int load_manifest(struct super *s, struct err *err)
{
	struct bringup_spec *l = &s->launch;
	auto_free char *path = path_join(l->snapshot_dir, VMMANIFEST_FILE);
	auto_json struct json_object *o = NULL;
	struct vmmanifest m = {0};
	struct hostfacts host = {0};
	int r = json_load(path, &o, err);

	if (r >= 0)
		r = hostfacts_read(&host, err);
	if (r >= 0)
		r = vmmanifest_check_host(o, s->engine->name, &s->caps, &host, err);
	if (r >= 0)
		r = vmmanifest_read(o, &m, err);
	if (r < 0)
		return r;
	vm_config_free(&l->config);
	l->config = m.config;
	m.config = (struct vm_config){0};
	l->workload_in_snapshot = m.has_workload;
	if (m.has_workload) {
		struct health_spec override = l->workload.health;

		/* What clones were told to check instead stays; the rest is the baseline's. */
		if (l->health_override)
			l->workload.health = (struct health_spec){0};
		workload_free(&l->workload);
		l->workload = m.workload;
		m.workload = (struct workload){0};
		l->has_workload = true;
		if (l->health_override) {
			healthspec_free(&l->workload.health);
			l->workload.health = override;
		}
	}
	if (!l->has_volumes) {
		volume_list_free(&l->volumes);
		l->volumes = m.volumes;
		m.volumes = (struct volume_list){0};
	}
	vmmanifest_free(&m);
	return check_memory(l, err);
}

static int clone_disks(struct super *s, struct err *err)
{
	const struct bringup_spec *l = &s->launch;
	int r = 0;

	for (size_t i = 0; i < l->config.n_disks && r >= 0; i++) {
		const struct vm_disk *disk = &l->config.disks[i];

		if (disk->read_only)
			continue;
		auto_free char *from = path_join(l->snapshot_dir, disk->path);
		auto_free char *to = vmdir_path(s, disk->path);
		struct clone_file_spec spec = {
			.from = from, .to = to, .mode = 0600, .uid = s->vm.uid, .gid = s->vm.gid};

		r = storage_clone_file(&spec, NULL, err);
	}
	return r < 0 ? err_wrap(err, "disks of the clone") : 0;
}

/* The VMM, which is nobody, connects to it: the socket is its own. */
static int listen_uffd(struct super *s, struct err *err)
{
	auto_free char *path = vmdir_path(s, SUPER_UFFD_SOCK);
	auto_close int fd = -1;
	int r = io_unix_listen(path, 1, &fd, err);

	if (r < 0)
		return r;
	if (s->host->is_root && lchown(path, s->vm.uid, s->vm.gid) < 0)
		return err_sys(err, "cannot give '%s' to uid %u", path, s->vm.uid);
	s->uffd_listen = TAKE_FD(fd);
	return 0;
}

static int open_uffd(struct super *s, struct err *err)
{
	int fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, ERR_HOST, -errno,
			       "cannot open /dev/userfaultfd: %s; use 'backend: file'",
			       strerror(errno));
	s->vm.userfaultfd = fd;
	return listen_uffd(s, err);
}

/* The VMM exists and has not run: from here on its server accepts exactly this process. */
static int announce(void *data, pid_t pid, struct err *err)
{
	struct super *s = data;
	struct memserver_announce a = {
		.vm_id = s->spec->vm_id, .uid = s->vm.uid, .listen_fd = s->uffd_listen};
	struct proc_id server = {0};
	int r = proc_id_of(pid, &a.vmm, err);

	if (r >= 0)
		r = memserver_connect(s->launch.memserver, &a, deadline_in(ANNOUNCE_MS),
				      &s->mem_conn, &server, err);
	if (r < 0)
		return err_wrap(err, "memory server");
	s->st.serve_pid = server.pid;
	return memwatch_start(s, err);
}

static void close_ours(struct super *s)
{
	cleanup_close_p(&s->vm.userfaultfd);
	cleanup_close_p(&s->uffd_listen);
	s->vm.userfaultfd = s->uffd_listen = -1;
	s->vm.console_fd = -1;
}

static int run(struct super *s, bool uffd, struct err *err)
{
	const struct bringup_spec *l = &s->launch;
	auto_free char *state = path_join(l->snapshot_dir, "vmstate");
	auto_free char *memory = path_join(l->snapshot_dir, VM_MEMORY);
	const struct vm_restore from = {
		.config = &l->config,
		.state_path = state,
		.memory_path = memory,
		.backend = uffd ? MEMORY_UFFD : MEMORY_FILE,
		.announce = announce,
		.data = s,
	};

	return s->engine->restore(&s->vm, &from, deadline_in(RESTORE_MS), err);
}

int restore_run(struct super *s, struct err *err)
{
	const struct bringup_spec *l = &s->launch;
	bool uffd = strcmp(l->backend, "uffd") == 0;
	auto_close int console = -1;
	int r = load_manifest(s, err);

	if (r < 0)
		return err_wrap(err, "snapshot '%s'", l->snapshot_dir);
	r = vmdir_make(s, s->host->is_root ? l->gid : getgid(), err);
	if (r >= 0)
		r = clone_disks(s, err);
	if (r >= 0)
		r = boot_volumes(s, err);
	if (r >= 0)
		r = vmlogs_console(s->logs, &console, err);
	if (r >= 0 && uffd)
		r = open_uffd(s, err);
	if (r >= 0) {
		s->vm.console_fd = console;
		r = run(s, uffd, err);
	}
	close_ours(s);
	if (r < 0)
		memwatch_stop(s);
	return r;
}
