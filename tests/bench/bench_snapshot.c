/* bench_snapshot.c - how long a VM stands still for its snapshot, beside the engine alone saving
 * the same state.
 *
 *   reaped  the VM ends and its files become the snapshot's: only its state is written in the pause
 *   kept    the VM goes on: its memory and disk are cloned in the pause; the peer uses cp */
#include <stdio.h>
#include <string.h>

#include "bare.h"
#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "storage.h"
#include "world.h"
#include "xalloc.h"

#define ROUNDS_KEPT 5
#define ROUNDS_REAPED 3

static double pause_of(const char *snapshot_dir)
{
	auto_free char *path = path_join(snapshot_dir, "manifest.json");
	auto_json struct json_object *manifest = NULL;
	struct err err = {0};
	uint64_t ms = 0;

	if (json_load(path, &manifest, &err) < 0 ||
	    json_get_u64(manifest, "pause_ms", &ms, &err) < 0)
		world_die("%s", err.msg);
	return (double)ms;
}

/* The first apply took one snapshot of the baseline that goes on; here is another. */
static double pause_kept(const struct world *w, int round)
{
	auto_free char *vm = xasprintf("%s.web", w->set);
	auto_free char *tag = xasprintf("again-%d", round);

	WORLD_FCVM(w, "snapshot", "create", vm, "--tag", tag);
	auto_free char *dir = world_snapshot_dir(w, tag);
	return pause_of(dir);
}

static double pause_reaped(const struct world *w)
{
	WORLD_FCVM(w, "apply", w->spec, "--set", "baselines.web.keep_running=false");
	auto_free char *dir = world_snapshot_dir(w, "warm");
	double ms = pause_of(dir);
	WORLD_FCVM(w, "destroy", w->set);
	return ms;
}

/* The state of the first snapshot, loaded by the baseline's own command line. */
static void bare_up(const struct world *w, const struct bare_model *m, struct bare_vm *ret)
{
	static const char *const files[] = {"memory", "data.img"};
	auto_free char *dir = world_subdir(w, "bare");
	auto_free char *snapshot = world_snapshot_dir(w, "warm");
	auto_free char *state = path_join(snapshot, "vmstate");
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_free char *from = path_join(snapshot, files[i]);
		auto_free char *to = path_join(dir, files[i]);
		const struct clone_file_spec spec = {.from = from, .to = to, .mode = 0600};

		if (storage_clone_file(&spec, NULL, &err) < 0)
			world_die("%s", err.msg);
	}
	bare_start(&(struct bare_job){.model = m, .dir = dir, .state = state}, 1, ret);
}

static void print(const char *name, double *ours, size_t n, double *peer, size_t n_peer,
		  const char *peer_name)
{
	auto_free char *p50 = xasprintf("%s.p50", name);
	auto_free char *max = xasprintf("%s.max", name);

	bench_print(&(struct bench_row){p50, bench_quantile(ours, n, 0.5), "ms", peer_name,
					bench_quantile(peer, n_peer, 0.5), n});
	bench_print(&(struct bench_row){max, bench_quantile(ours, n, 1), "ms", peer_name,
					bench_quantile(peer, n_peer, 1), n});
}

static void measure(const struct world *w)
{
	double kept[ROUNDS_KEPT], reaped[ROUNDS_REAPED], bare[ROUNDS_KEPT], bare_cp[ROUNDS_KEPT];
	struct bare_model model = {0};
	struct bare_vm vm;

	WORLD_FCVM(w, "apply", w->spec);
	auto_json struct json_object *rows = world_ps(w, "baseline");
	struct json_object *row = json_object_array_get_idx(rows, 0);
	bare_capture((pid_t)json_opt_u64(row, "pid", 0), &model);
	bare_make_incoming(&model);
	bare_up(w, &model, &vm);
	for (int i = 0; i < ROUNDS_KEPT; i++) {
		kept[i] = pause_kept(w, i);
		bare_cp[i] = bare_save(&vm, true);
		bare[i] = bare_save(&vm, false);
	}
	bare_end(&vm, 1);
	WORLD_FCVM(w, "destroy", w->set);
	for (int i = 0; i < ROUNDS_REAPED; i++)
		reaped[i] = pause_reaped(w);
	print("snapshot.pause.reaped", reaped, ROUNDS_REAPED, bare, ROUNDS_KEPT, "bare_migrate");
	print("snapshot.pause.kept", kept, ROUNDS_KEPT, bare_cp, ROUNDS_KEPT, "bare_migrate_cp");
	bare_model_free(&model);
}

int main(void)
{
	return world_run("bench-snapshot", "    keep_running: true\n",
			 "snapshots:\n  warm: { from: web, memory: { backend: file } }\n"
			 "fleets:\n  web: { from: warm, count: 0 }\n",
			 measure);
}
