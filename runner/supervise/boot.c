#include "super.h"

#include "cleanup.h"
#include "io.h"
#include "storage.h"

#include <errno.h>
#include <unistd.h>

#define DATA_DISK_BYTES (UINT64_C(4) << 30)
#define START_MS 30000
#define BOOT_TRIES 3u

static int make_disk(struct super *s, const struct vm_disk *disk, struct err *err)
{
	auto_free char *path = vmdir_path(s, disk->path);
	uint64_t size = disk->bytes ? disk->bytes : s->launch.config.data_bytes;
	int r = storage_make_data_disk(path, size ? size : DATA_DISK_BYTES, err);

	if (r < 0)
		return err_wrap(err, "disk '%s'", disk->serial);
	if (s->host->is_root && lchown(path, s->vm.uid, s->vm.gid) < 0)
		return err_sys(err, "cannot give '%s' to uid %u", path, s->vm.uid);
	return 0;
}

static int make_disks(struct super *s, struct err *err)
{
	const struct vm_config *config = &s->launch.config;
	int r = 0;

	for (size_t i = 0; i < config->n_disks && r >= 0; i++)
		if (!config->disks[i].read_only)
			r = make_disk(s, &config->disks[i], err);
	return r;
}

int boot_run(struct super *s, struct err *err)
{
	auto_close int console = -1;
	int r = vmdir_make(s, s->host->is_root ? s->vm.uid : getgid(), err);

	if (r >= 0)
		r = make_disks(s, err);
	if (r >= 0)
		r = boot_volumes(s, err);
	if (r >= 0)
		r = vmlogs_console(s->logs, &console, err);
	if (r < 0)
		return r;
	s->vm.console_fd = console;
	r = s->engine->start(&s->vm, &s->launch.config, deadline_in(START_MS), err);
	s->vm.console_fd = -1;
	return r;
}

int boot_volumes(struct super *s, struct err *err)
{
	const struct volset_spec spec = {.host = s->host,
					 .dir = s->spec->dir,
					 .tag = s->spec->tag,
					 .list = &s->launch.volumes,
					 .snapshot_dir = s->launch.snapshot_dir};

	return volset_start(s->loop, &spec, &s->volumes, err);
}

/* A hang is seen by everybody: in status.json, and by whoever waits for the boot. */
int boot_retry(struct super *s)
{
	auto_free char *tail = vmlogs_console_tail(s->logs);
	char text[768];

	if (s->launch.restore || s->boot_tries + 1 >= BOOT_TRIES)
		return 0;
	s->boot_tries++;
	(void)snprintf(text, sizeof(text),
		       "boot %u of %u did not reach the agent in time and is tried again; the "
		       "console ends with: %s",
		       s->boot_tries, BOOT_TRIES, tail[0] ? tail : "(nothing)");
	strv_add(&s->st.boot_retries, text);
	super_progress(s, text);
	return 1;
}
