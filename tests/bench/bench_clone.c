/* bench_clone.c - a clone until it is ready, alone and ten at once, by both backends, beside the
 * bare engine doing the same; and what a clone costs in memory. */
#include <stdio.h>
#include <string.h>

#include "bare.h"
#include "bench.h"
#include "cleanup.h"
#include "file.h"
#include "storage.h"
#include "world.h"
#include "xalloc.h"

#define MANY 10
#define ROUNDS_ONE 5
#define ROUNDS_MANY 3
#define SAMPLES_MAX (MANY * ROUNDS_MANY)
#define PSS_CLONES 5

enum stage { BEFORE, RESTORED, AGENT, READY, STAGES };
static const char *const stage_names[] = {"before_vmm", "restored", "agent", "ready"};

/* One figure of each VM, and of each round how long all of them together took. */
struct samples {
	double stage[STAGES][SAMPLES_MAX];
	double all[ROUNDS_ONE];
	size_t n, rounds;
};

struct bench {
	const struct world *w;
	const char *backend;
	struct bare_model model;
	char *snapshot;
};

static void scale(const struct bench *b, int count)
{
	auto_free char *clones = xasprintf("fleets.web.count=%d", count);
	auto_free char *backend = xasprintf("snapshots.warm.memory.backend=%s", b->backend);

	WORLD_FCVM(b->w, "apply", b->w->spec, "--set", clones, "--set", backend);
}

/* Milliseconds within the day of an event's "t". */
static double time_of(struct json_object *event)
{
	unsigned int h = 0, m = 0, s = 0, ms = 0;
	const char *t = strchr(json_opt_str(event, "t", "T"), 'T');

	(void)sscanf(t, "T%2u:%2u:%2u.%3u", &h, &m, &s, &ms);
	return ((h * 60.0 + m) * 60.0 + s) * 1000.0 + ms;
}

/* From the first clone's beginning to the last one's end, of the last apply. */
static double all_of(const struct bench *b)
{
	auto_free char *path = xasprintf("%s/sets/%s/events.jsonl", b->w->dir, b->w->set);
	auto_buf struct buf text = BUF_INIT(16u << 20);
	double first = 0, last = 0;
	char *save = NULL;

	if (file_read(path, 16u << 20, &text, NULL) < 0)
		world_die("no %s", path);
	for (char *line = strtok_r(text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		auto_json struct json_object *e = NULL;

		if (json_parse(line, strlen(line), &e, NULL) < 0)
			continue;
		const char *type = json_opt_str(e, "type", "");
		if (strcmp(type, "version") == 0)
			first = last = 0;
		if (strncmp(json_opt_str(e, "resource", ""), "clone/", 6) != 0)
			continue;
		if (first == 0 && strcmp(type, "resource_start") == 0)
			first = time_of(e);
		if (strcmp(type, "ready") == 0)
			last = time_of(e);
	}
	return last - first;
}

static void add_ours(const struct bench *b, struct json_object *row, struct samples *s)
{
	const char *name = strrchr(json_opt_str(row, "name", "."), '.') + 1;
	auto_json struct json_object *status = world_status(b->w, name);
	struct json_object *gates = json_opt_obj(status, "gates");
	double ready = (double)json_opt_u64(row, "ready_ms", 0);
	double before = ready - (double)json_opt_u64(status, "ready_ms", 0);

	if (strcmp(json_opt_str(row, "state", ""), "ready") != 0 || s->n == SAMPLES_MAX)
		world_die("'%s' is not ready", name);
	s->stage[BEFORE][s->n] = before;
	s->stage[RESTORED][s->n] = before + (double)json_opt_u64(gates, "restored", 0);
	s->stage[AGENT][s->n] = before + (double)json_opt_u64(gates, "agent", 0);
	s->stage[READY][s->n++] = ready;
}

static void clone_ours(const struct bench *b, int count, struct samples *s)
{
	scale(b, count);
	auto_json struct json_object *rows = world_ps(b->w, "clone");
	for (size_t i = 0; i < json_object_array_length(rows); i++)
		add_ours(b, json_object_array_get_idx(rows, i), s);
	s->all[s->rounds++] = all_of(b);
	scale(b, 0);
}

struct bare_set {
	char *dirs[MANY], *state, *memory;
	struct bare_vm vms[MANY];
	size_t n;
};

static void bare_up(const struct bench *b, size_t count, struct bare_set *ret)
{
	auto_free char *disk = path_join(b->snapshot, "data.img");
	struct bare_job jobs[MANY];
	struct err err = {0};

	*ret = (struct bare_set){.n = count,
				 .state = path_join(b->snapshot, "vmstate"),
				 .memory = path_join(b->snapshot, "memory")};
	for (size_t i = 0; i < count; i++) {
		auto_free char *name = xasprintf("bare-%zu", i);
		ret->dirs[i] = world_subdir(b->w, name);
		auto_free char *copy = path_join(ret->dirs[i], "data.img");
		const struct clone_file_spec spec = {.from = disk, .to = copy, .mode = 0600};

		if (storage_clone_file(&spec, NULL, &err) < 0)
			world_die("%s", err.msg);
		jobs[i] = (struct bare_job){.model = &b->model,
					    .dir = ret->dirs[i],
					    .state = ret->state,
					    .memory = ret->memory};
	}
	bare_start(jobs, count, ret->vms);
}

static void bare_down(struct bare_set *set)
{
	bare_end(set->vms, set->n);
	for (size_t i = 0; i < set->n; i++)
		free(set->dirs[i]);
	free(set->state);
	free(set->memory);
}

static void clone_bare(const struct bench *b, int count, struct samples *s)
{
	static const enum bare_stage stages[] = {
		[RESTORED] = BARE_RESTORED, [AGENT] = BARE_AGENT, [READY] = BARE_READY};
	struct bare_set set;
	double last = 0;

	bare_up(b, (size_t)count, &set);
	for (size_t i = 0; i < set.n; i++, s->n++) {
		s->stage[BEFORE][s->n] = 0;
		for (size_t k = RESTORED; k < STAGES; k++)
			s->stage[k][s->n] = set.vms[i].ms[stages[k]];
		if (s->stage[READY][s->n] > last)
			last = s->stage[READY][s->n];
	}
	s->all[s->rounds++] = last;
	bare_down(&set);
}

__attribute__((format(printf, 4, 5))) static void row(double value, double peer, size_t n,
						      const char *fmt, ...)
{
	auto_buf struct buf name = BUF_INIT(128);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&name, fmt, ap);
	va_end(ap);
	bench_print(&(struct bench_row){buf_str(&name), value, "ms", "bare_engine", peer, n});
}

static void measure_count(const struct bench *b, int count, int rounds)
{
	struct samples ours = {.n = 0}, bare = {.n = 0};
	const char *backend = b->backend;

	for (int i = 0; i < rounds; i++) {
		clone_ours(b, count, &ours);
		clone_bare(b, count, &bare);
	}
	for (size_t k = BEFORE; k < READY; k++)
		row(bench_quantile(ours.stage[k], ours.n, 0.5),
		    bench_quantile(bare.stage[k], bare.n, 0.5), ours.n, "clone.%s.%s.%d.p50",
		    stage_names[k], backend, count);
	row(bench_quantile(ours.stage[READY], ours.n, 0.5),
	    bench_quantile(bare.stage[READY], bare.n, 0.5), ours.n, "clone.ready.%s.%d.p50",
	    backend, count);
	row(bench_quantile(ours.stage[READY], ours.n, 1),
	    bench_quantile(bare.stage[READY], bare.n, 1), ours.n, "clone.ready.%s.%d.max", backend,
	    count);
	if (count > 1)
		row(bench_quantile(ours.all, ours.rounds, 0.5),
		    bench_quantile(bare.all, bare.rounds, 0.5), ours.rounds, "clone.all.%s.%d.p50",
		    backend, count);
}

/* --- memory --------------------------------------------------------------------------------- */

static double bare_memory(const struct bench *b, const char *key)
{
	double bytes[PSS_CLONES];
	struct bare_set set;

	bare_up(b, PSS_CLONES, &set);
	for (size_t i = 0; i < set.n; i++)
		bytes[i] = (double)world_memory_of(set.vms[i].vmm, key);
	bare_down(&set);
	return bench_quantile(bytes, PSS_CLONES, 0.5) / 1048576;
}

static double our_memory(const struct bench *b)
{
	double bytes[PSS_CLONES];

	scale(b, PSS_CLONES);
	auto_json struct json_object *rows = world_ps(b->w, "clone");
	for (size_t i = 0; i < PSS_CLONES; i++) {
		struct json_object *o = json_object_array_get_idx(rows, i);

		bytes[i] = (double)json_opt_u64(o, "pss_bytes", 0);
	}
	scale(b, 0);
	return bench_quantile(bytes, PSS_CLONES, 0.5) / 1048576;
}

/* Beside the resident set of the bare engine on a private mapping of the same file. */
static void measure_memory(const struct bench *b, double bare_rss, double bare_pss)
{
	auto_free char *name = xasprintf("clone.pss.%s", b->backend);
	auto_free char *same = xasprintf("clone.pss.%s.shared", b->backend);
	double pss = our_memory(b);

	bench_print(&(struct bench_row){name, pss, "MiB", "bare_rss", bare_rss, PSS_CLONES});
	bench_print(&(struct bench_row){same, pss, "MiB", "bare_pss", bare_pss, PSS_CLONES});
}

/* The VMM that runs with this backend, as the bare engine's model. */
static void learn(struct bench *b)
{
	scale(b, 1);
	auto_json struct json_object *rows = world_ps(b->w, "clone");
	struct json_object *o = json_object_array_get_idx(rows, 0);

	bare_capture((pid_t)json_opt_u64(o, "pid", 0), &b->model);
	b->snapshot = world_snapshot_dir(b->w, "warm");
	scale(b, 0);
}

static void measure(const struct world *w)
{
	static const char *const backends[] = {"file", "uffd"};
	double rss = 0, pss = 0;

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		struct bench b = {.w = w, .backend = backends[i]};

		learn(&b);
		if (i == 0) {
			rss = bare_memory(&b, "Rss");
			pss = bare_memory(&b, "Pss");
		}
		measure_count(&b, 1, ROUNDS_ONE);
		measure_count(&b, MANY, ROUNDS_MANY);
		measure_memory(&b, rss, pss);
		bare_model_free(&b.model);
		free(b.snapshot);
	}
}

int main(void)
{
	return world_run("bench-clone", "",
			 "snapshots:\n  warm: { from: web, memory: { backend: file } }\n"
			 "fleets:\n  web: { from: warm, count: 0 }\n",
			 measure);
}
