#include "storage.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "proc.h"

#define MKE2FS_DEADLINE_MS 120000
/* Below this mke2fs drops the journal, and the disk would not survive a killed VMM. */
#define DATA_DISK_MIN (16u << 20)
/* Every disk alike on every host: no random UUIDs, and none of the host's mke2fs.conf. Each VM
 * sees only its own; that its volumes have the same one, ext4 does not mind. */
#define DATA_UUID "6663766d-6461-7461-8000-000000000001"
#define DATA_FEATURES                                                                     \
	"none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super," \
	"large_file,huge_file,dir_nlink,extra_isize,metadata_csum"

static int make_sparse(const char *path, uint64_t size_bytes, struct err *err)
{
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, "cannot make '%s'", path);
	if (ftruncate(fd, (off_t)size_bytes) < 0) {
		int r = err_sys(err, "cannot size '%s' to %llu bytes", path,
				(unsigned long long)size_bytes);

		(void)unlink(path);
		return r;
	}
	return 0;
}

int storage_make_data_disk(const char *path, uint64_t size_bytes, struct err *err)
{
	static const char options[] = "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,"
				      "hash_seed=" DATA_UUID;
	static const char features[] = DATA_FEATURES;
	const char *const argv[] = {"mke2fs",  "-q", "-F",     "-t", "ext4",  "-L", "data",  "-m",
				    "0",       "-b", "4096",   "-I", "256",   "-i", "16384", "-U",
				    DATA_UUID, "-O", features, "-E", options, path, NULL};
	const struct tool_spec tool = {
		.argv = argv,
		.in = -1,
		.out = -1,
		.deadline_ms = deadline_in(MKE2FS_DEADLINE_MS),
		.no_namespace = geteuid() != 0,
	};
	int r;

	if (size_bytes < DATA_DISK_MIN || size_bytes > INT64_MAX)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "expected a data disk of at least %u bytes, got %llu", DATA_DISK_MIN,
			       (unsigned long long)size_bytes);
	r = make_sparse(path, size_bytes, err);
	if (r < 0)
		return r;
	r = tool_run(&tool, err);
	if (r < 0) {
		(void)unlink(path);
		(void)err_wrap(err, "cannot format '%s'", path);
		return r;
	}
	return 0;
}

uint64_t storage_tree_blocks(const char *dir)
{
	/* fts takes char *const[] and does not write to it. */
	char *const roots[] = {(char *)(uintptr_t)dir, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	uint64_t bytes = 0;
	FTSENT *e;

	if (!fts)
		return 0;
	while ((e = fts_read(fts))) {
		if (e->fts_info != FTS_DP && e->fts_info != FTS_NS && e->fts_info != FTS_ERR)
			bytes += (uint64_t)e->fts_statp->st_blocks * 512;
	}
	(void)fts_close(fts);
	return bytes;
}

int storage_free_bytes(const char *dir, uint64_t *ret, struct err *err)
{
	struct statvfs st;

	if (statvfs(dir, &st) < 0)
		return err_sys(err, "cannot tell the free space of '%s'", dir);
	*ret = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}
