#include "admission.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "parse.h"
#include "xalloc.h"

#define MEMINFO_MAX 16384u

static const struct baseline_spec *baseline_of(const struct node *n)
{
	const struct fleet_spec *f = n->spec;

	return n->kind == RESOURCE_CLONE ? f->from->from : n->spec;
}

static bool is_vm(const struct node *n)
{
	return n->spec && (n->kind == RESOURCE_CLONE || n->kind == RESOURCE_BASELINE);
}

/* What a VM that runs may still take. */
static uint64_t may_grow(uint64_t memory, uint64_t used)
{
	return used < memory ? memory - used : 0;
}

static bool is_huge(const struct baseline_spec *b)
{
	return b->huge_pages == HUGE_PAGES_2M;
}

/* A baseline gives its huge pages back before clones of its snapshot take theirs, unless it is
 * kept. */
struct family {
	const struct baseline_spec *baseline;
	uint64_t boot, stay; /* bytes: to be booted, and what stays beside and after it */
};

struct families {
	struct family *v;
	size_t n;
};

static struct family *family_of(struct families *all, const struct baseline_spec *b)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].baseline == b)
			return &all->v[i];
	all->v = xreallocarray(all->v, all->n + 1, sizeof(*all->v));
	all->v[all->n] = (struct family){.baseline = b};
	return &all->v[all->n++];
}

static void add_family(struct families *all, const struct node *n, uint64_t bytes)
{
	const struct baseline_spec *b = baseline_of(n);
	struct family *f = family_of(all, b);

	if (n->kind == RESOURCE_BASELINE)
		f->boot += bytes;
	if (n->kind == RESOURCE_CLONE || b->keep_running)
		f->stay += bytes;
}

static uint64_t huge_bytes(const struct families *all)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < all->n; i++)
		sum += all->v[i].boot > all->v[i].stay ? all->v[i].boot : all->v[i].stay;
	return sum;
}

/* held, held_huge: of the VM it takes the place of, which has ended before it starts. */
static void add_started(struct admission *a, struct families *huge, const struct node *n,
			uint64_t held, uint64_t held_huge)
{
	const struct baseline_spec *b = baseline_of(n);

	a->vms++;
	a->memory_bytes += may_grow(ADMISSION_OVERHEAD + (is_huge(b) ? 0 : b->memory_bytes), held);
	if (is_huge(b))
		add_family(huge, n, may_grow(b->memory_bytes, held_huge));
	/* Its memory is a file; the snapshot takes that very file over, or a copy of it. */
	if (n->kind == RESOURCE_BASELINE)
		a->disk_bytes += b->memory_bytes * (b->keep_running ? 2 : 1);
}

struct admission admission_need(const struct graph *g, const struct seen *seen,
				const struct plan *plan, uint64_t (*used)(uint64_t pid, bool huge))
{
	auto_free bool *started = xcalloc(g->n + 1, sizeof(*started));
	struct families huge = {0};
	struct admission a = {0};
	uint64_t pool = 0;

	for (size_t i = 0; i < plan->n; i++)
		if (plan->steps[i].verb == VERB_CREATE)
			started[plan->steps[i].node] = true;
	for (size_t i = 0; i < g->n; i++) {
		const struct node *n = &g->nodes[i];

		if (!is_vm(n))
			continue;
		bool in_pool = is_huge(baseline_of(n));
		bool runs = seen[i].exists && seen[i].healthy;

		if (started[i])
			add_started(&a, &huge, n, runs ? used(seen[i].pid, false) : 0,
				    runs && in_pool ? used(seen[i].pid, true) : 0);
		else if (runs)
			*(in_pool ? &pool : &a.memory_bytes) +=
				may_grow(baseline_of(n)->memory_bytes, used(seen[i].pid, in_pool));
	}
	a.huge_pages = (pool + huge_bytes(&huge)) / HUGEPAGES_SIZE;
	free(huge.v);
	return a;
}

/* "KEY   123 kB" in a file of such lines; -ENODATA when it is not there. */
static int kib_of(const char *text, const char *key, uint64_t *ret)
{
	auto_free char *mark = xasprintf("\n%s:", key);
	const char *at = strstr(text, mark);
	uint64_t kib;

	if (!at)
		return -ENODATA;
	at += strlen(mark);
	at += strspn(at, " \t");
	auto_free char *number = xstrndup(at, strcspn(at, " \n"));

	if (parse_u64(number, 0, UINT64_MAX >> 10, &kib, NULL) < 0)
		return -EINVAL;
	*ret = kib << 10;
	return 0;
}

uint64_t admission_used(uint64_t pid, bool huge)
{
	static const char *const keys[][2] = {{"RssAnon", "RssShmem"}, {"HugetlbPages"}};
	auto_free char *path = xasprintf("/proc/%llu/status", (unsigned long long)pid);
	auto_buf struct buf text = BUF_INIT(MEMINFO_MAX);
	uint64_t sum = 0, bytes;

	if (pid == 0 || file_read(path, MEMINFO_MAX, &text, NULL) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys[huge]) && keys[huge][i]; i++)
		if (kib_of(buf_str(&text), keys[huge][i], &bytes) == 0)
			sum += bytes;
	return sum;
}

static int read_available(uint64_t *ret, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(MEMINFO_MAX);
	int r = file_read("/proc/meminfo", MEMINFO_MAX, &text, err);

	if (r < 0)
		return r;
	r = kib_of(buf_str(&text), "MemAvailable", ret);
	return r < 0 ? err_set(err, ERR_FAILED, r, "/proc/meminfo has no MemAvailable") : 0;
}

/* The data directory may not exist yet: its nearest parent that does tells as much. */
static int read_free(const char *dir, uint64_t *ret, struct err *err)
{
	auto_free char *path = xstrdup(dir);
	struct statvfs st;

	while (statvfs(path, &st) < 0) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return err_sys(err, "cannot measure the free space of '%s'", dir);
		*slash = '\0';
	}
	*ret = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

int admission_measure(const char *data_dir, struct admission_host *ret, struct err *err)
{
	struct admission_host h = {0};
	int r = read_available(&h.memory_available, err);

	if (r >= 0)
		r = read_free(data_dir, &h.disk_free, err);
	if (r >= 0)
		r = hugepages_read(HUGEPAGES_DIR, &h.pool, err);
	if (r < 0)
		return r;
	*ret = h;
	return 0;
}

static int refuse_memory(const struct admission *need, const struct admission_host *have,
			 const struct policy_spec *policy, uint64_t allowed, struct err *err)
{
	char want[32], avail[32], reserve[32], lack[32];

	(void)err_set(err, ERR_HOST, -ENOMEM,
		      "not enough memory: %zu VMs to start may need %s, %s are available and "
		      "policy.memory keeps %s of it back (overcommit %.2g); short of %s",
		      need->vms, format_size(need->memory_bytes, want, sizeof(want)),
		      format_size(have->memory_available, avail, sizeof(avail)),
		      format_size(policy->memory_reserve_bytes, reserve, sizeof(reserve)),
		      policy->memory_overcommit,
		      format_size(need->memory_bytes - allowed, lack, sizeof(lack)));
	return err_hint(err, "lower count or memory, or set policy.memory.overcommit");
}

static int refuse_pool(const struct admission *need, const struct hugepages *pool, struct err *err)
{
	uint64_t lack = need->huge_pages - pool->free;

	(void)err_set(err, ERR_HOST, -ENOMEM,
		      "not enough huge pages: VMs with huge_pages: 2M may need %llu of 2 MiB, %llu "
		      "are free; short of %llu",
		      (unsigned long long)need->huge_pages, (unsigned long long)pool->free,
		      (unsigned long long)lack);
	return err_hint(err, "sysctl vm.nr_hugepages=%llu",
			(unsigned long long)(pool->total + lack));
}

int admission_check(const struct admission *need, const struct admission_host *have,
		    const struct policy_spec *policy, struct err *err)
{
	uint64_t usable = may_grow(have->memory_available, policy->memory_reserve_bytes);
	uint64_t allowed = (uint64_t)((double)usable * policy->memory_overcommit);
	char want[32], avail[32], lack[32];

	if (need->vms == 0)
		return 0;
	if (need->memory_bytes > allowed)
		return refuse_memory(need, have, policy, allowed, err);
	if (need->huge_pages > have->pool.free)
		return refuse_pool(need, &have->pool, err);
	if (need->disk_bytes <= have->disk_free)
		return 0;
	return err_set(err, ERR_HOST, -ENOSPC,
		       "not enough disk space: memory files and snapshots may need %s, %s are "
		       "free; short of %s",
		       format_size(need->disk_bytes, want, sizeof(want)),
		       format_size(have->disk_free, avail, sizeof(avail)),
		       format_size(need->disk_bytes - have->disk_free, lack, sizeof(lack)));
}
