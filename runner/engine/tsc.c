#include "tsc.h"

#include <x86intrin.h>

#define WINDOW_NS 20000000L
#define SAMPLES 200

struct sample {
	uint64_t tsc;
	int64_t ns;
};

/* Of many readings, the one whose two TSC reads lie closest together: whatever interrupted the
 * others did not interrupt this one. */
static struct sample take_sample(void)
{
	struct sample best = {0, 0};
	uint64_t narrowest = UINT64_MAX;

	for (int i = 0; i < SAMPLES; i++) {
		struct timespec t;
		uint64_t before = __rdtsc();

		(void)clock_gettime(CLOCK_MONOTONIC_RAW, &t);
		uint64_t width = __rdtsc() - before;
		if (width < narrowest) {
			narrowest = width;
			best.tsc = before + width / 2;
			best.ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
		}
	}
	return best;
}

uint64_t tsc_measure_khz(void)
{
	const struct timespec window = {.tv_nsec = WINDOW_NS};
	struct sample a = take_sample();

	(void)nanosleep(&window, NULL);
	struct sample b = take_sample();
	double ns = (double)(b.ns - a.ns);
	return (uint64_t)((double)(b.tsc - a.tsc) / ns * 1e6 + 0.5);
}
