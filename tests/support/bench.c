#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cleanup.h"
#include "json.h"

double bench_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_quantile(double *samples, size_t n, double q)
{
	if (n == 0)
		return 0;
	qsort(samples, n, sizeof(*samples), compare);
	return samples[(size_t)((double)(n - 1) * q + 0.5)];
}

void bench_print(const struct bench_row *row)
{
	auto_json struct json_object *o = json_object_new_object();
	double load = 0;

	(void)getloadavg(&load, 1);
	json_add_str(o, "bench", row->bench);
	json_add(o, "value", json_object_new_double(row->value));
	json_add_str(o, "unit", row->unit);
	json_add_str(o, "peer", row->peer);
	json_add(o, "peer_value", row->peer ? json_object_new_double(row->peer_value) : NULL);
	json_add(o, "ratio",
		 row->peer && row->peer_value > 0
			 ? json_object_new_double(row->value / row->peer_value)
			 : NULL);
	json_add_u64(o, "n", row->n);
	json_add(o, "load", json_object_new_double(load));
	auto_free char *line = json_line(o);
	(void)printf("%s\n", line);
	(void)fflush(stdout);
	if (row->peer)
		(void)fprintf(stderr, "%-32s %12.2f %-9s %s %.2f, ratio %.3f\n", row->bench,
			      row->value, row->unit, row->peer, row->peer_value,
			      row->peer_value > 0 ? row->value / row->peer_value : 0);
	else
		(void)fprintf(stderr, "%-32s %12.2f %s\n", row->bench, row->value, row->unit);
}
