/* bench_boot.c - a cold boot until the agent answers, beside the bare engine with the same command
 * line until its agent answers. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bare.h"
#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "storage.h"
#include "world.h"

#define ROUNDS 5
#define DISK_BYTES (UINT64_C(4) << 30)

/* From the step's beginning: the supervisor's own start, its disks and its files count. */
static double boot_ours(const struct world *w, struct bare_model *ret)
{
	WORLD_FCVM(w, "apply", w->spec);
	auto_json struct json_object *rows = world_ps(w, "baseline");
	auto_json struct json_object *status = world_status(w, "web");
	struct json_object *row = json_object_array_get_idx(rows, 0);
	struct json_object *gates = json_opt_obj(status, "gates");
	uint64_t before = json_opt_u64(row, "ready_ms", 0) - json_opt_u64(status, "ready_ms", 0);

	bare_model_free(ret);
	bare_capture((pid_t)json_opt_u64(row, "pid", 0), ret);
	double ms = (double)(before + json_opt_u64(gates, "agent", 0));
	WORLD_FCVM(w, "destroy", w->set);
	return ms;
}

static void make_memory(const struct bare_model *m, const char *dir)
{
	auto_free char *path = path_join(dir, "memory");
	auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint64_t bytes = 0;

	for (size_t i = 0; i < m->argv.n; i++) {
		const char *at = strstr(m->argv.v[i], "memory-backend-file,id=mem,size=");

		if (at)
			(void)sscanf(strstr(at, "size="), "size=%" SCNu64, &bytes);
	}
	if (fd < 0 || bytes == 0 || ftruncate(fd, (off_t)bytes) < 0)
		world_die("cannot make '%s'", path);
}

static double boot_bare(const struct world *w, const struct bare_model *m)
{
	auto_free char *dir = world_subdir(w, "bare");
	auto_free char *disk = path_join(dir, "data.img");
	struct bare_vm vm;
	struct err err = {0};

	make_memory(m, dir);
	if (storage_make_data_disk(disk, DISK_BYTES, &err) < 0)
		world_die("%s", err.msg);
	bare_start(&(struct bare_job){.model = m, .dir = dir}, 1, &vm);
	bare_end(&vm, 1);
	return vm.ms[BARE_AGENT];
}

static void measure(const struct world *w)
{
	struct bare_model model = {0};
	double ours[ROUNDS], bare[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		ours[i] = boot_ours(w, &model);
		bare[i] = boot_bare(w, &model);
	}
	bench_print(&(struct bench_row){"boot.agent.p50", bench_quantile(ours, ROUNDS, 0.5), "ms",
					"bare_engine", bench_quantile(bare, ROUNDS, 0.5), ROUNDS});
	bench_print(&(struct bench_row){"boot.agent.max", bench_quantile(ours, ROUNDS, 1), "ms",
					"bare_engine", bench_quantile(bare, ROUNDS, 1), ROUNDS});
	bare_model_free(&model);
}

int main(void)
{
	return world_run("bench-boot", "", "", measure);
}
