#include "hist.h"

#include <stddef.h>

/* Below 8 ns each value has its bucket; above, the top three bits after the leading one choose. */
static size_t bucket_of(uint64_t ns)
{
	unsigned int top = 0;
	size_t at = 0;

	if (ns < 8)
		return (size_t)ns;
	top = 63 - (unsigned int)__builtin_clzll(ns);
	at = (size_t)(top - 2) * 8 + (ns >> (top - 3) & 7);
	return at < HIST_BUCKETS ? at : HIST_BUCKETS - 1;
}

static uint64_t bucket_end(size_t at)
{
	unsigned int top = (unsigned int)(at / 8) + 2;

	if (at < 8)
		return at;
	return ((8 + (at % 8) + 1) << (top - 3)) - 1;
}

/* One writer: a load and a store are enough, and cheaper than a locked add. */
static void bump(_Atomic uint64_t *p, uint64_t by)
{
	uint64_t now = atomic_load_explicit(p, memory_order_relaxed);

	atomic_store_explicit(p, now + by, memory_order_relaxed);
}

void hist_add(struct hist *h, uint64_t ns)
{
	bump(&h->n[bucket_of(ns)], 1);
}

void hist_merge(struct hist *into, const struct hist *from)
{
	for (size_t i = 0; i < HIST_BUCKETS; i++)
		bump(&into->n[i], atomic_load_explicit(&from->n[i], memory_order_relaxed));
}

uint64_t hist_percentile(const struct hist *h, unsigned int percent)
{
	uint64_t total = 0, seen = 0;

	for (size_t i = 0; i < HIST_BUCKETS; i++)
		total += atomic_load_explicit(&h->n[i], memory_order_relaxed);
	if (total == 0)
		return 0;
	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		seen += atomic_load_explicit(&h->n[i], memory_order_relaxed);
		if (seen * 100 >= total * percent)
			return bucket_end(i);
	}
	return bucket_end(HIST_BUCKETS - 1);
}
