/* bench.h - one JSON object a line on stdout, a readable line on stderr. */
#ifndef FCVM_TESTS_BENCH_H
#define FCVM_TESTS_BENCH_H

#include <stddef.h>
#include <stdint.h>

struct bench_row {
	const char *bench; /* "clone.ready.p50" */
	double value;
	const char *unit;
	const char *peer; /* what it stands beside, measured in the same run; NULL = none */
	double peer_value;
	uint64_t n;
};

void bench_print(const struct bench_row *row);
/* Sorts the samples; q in [0, 1]. */
double bench_quantile(double *samples, size_t n, double q);
double bench_now_ms(void);

#endif
