#include "run.h"

#include "cleanup.h"
#include "io.h"
#include "proc.h"

#include <errno.h>

#define PACK_TIMEOUT_MS (20u * 60 * 1000)
#define UNPACK_TIMEOUT_MS (5u * 60 * 1000)

/* 2023-01-01: any constant will do; later file times are cut down to it. */
static const char *const environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"LANG=C.UTF-8",
	"SOURCE_DATE_EPOCH=1672531200",
	NULL,
};

int run_tool(const struct host *host, const struct run_tool *tool, struct err *err)
{
	const struct tool_spec spec = {
		.argv = tool->argv,
		.env = environment,
		.cwd = tool->cwd,
		.in = -1,
		.out = -1,
		.stdout_to = tool->stdout_to,
		.line = tool->line,
		.data = tool->data,
		.deadline_ms = deadline_in(tool->timeout_ms),
		.no_namespace = !host->is_root && !tool->wants_root,
		.user_namespace = !host->is_root && tool->wants_root,
	};
	int r = tool_run(&spec, err);

	if (r == -ENOENT) {
		(void)err_set(err, ERR_HOST, r, "'%s' is not installed", tool->argv[0]);
		return err_hint(err, "apt install %s", tool->package);
	}
	return r;
}

int run_mksquashfs(const struct host *host, const char *dir, const char *file, struct err *err)
{
	const char *const argv[] = {"mksquashfs",
				    dir,
				    file,
				    "-comp",
				    "zstd",
				    "-Xcompression-level",
				    "3",
				    "-noappend",
				    "-one-file-system",
				    "-exit-on-error",
				    "-no-recovery",
				    "-no-progress",
				    "-quiet",
				    NULL};
	const struct run_tool tool = {
		.argv = argv,
		.package = "squashfs-tools",
		.timeout_ms = PACK_TIMEOUT_MS,
		.wants_root = true,
	};

	return run_tool(host, &tool, err);
}

int run_unpack_deb(const struct host *host, const char *deb, const char *dir, struct err *err)
{
	const char *const argv[] = {"dpkg-deb", "-x", deb, dir, NULL};
	const struct run_tool tool = {
		.argv = argv, .package = "dpkg", .timeout_ms = UNPACK_TIMEOUT_MS};

	return run_tool(host, &tool, err);
}
