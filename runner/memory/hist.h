/* hist.h - how long things took: a histogram of fixed size, one writer, any reader. */
#ifndef FCVM_MEMORY_HIST_H
#define FCVM_MEMORY_HIST_H

#include <stdatomic.h>
#include <stdint.h>

/* Eight steps for each power of two: percentiles are within 12.5 % of the truth. */
#define HIST_BUCKETS 320

struct hist {
	_Atomic uint64_t n[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t ns);
void hist_merge(struct hist *into, const struct hist *from);
/* Upper bound in ns of the bucket that holds the given share (50 for the median); 0 when empty. */
uint64_t hist_percentile(const struct hist *h, unsigned int percent);

#endif
