#include "fp_pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "xalloc.h"

struct counts {
	atomic_int begun, run;
	pthread_mutex_t gate;
};

static void begin(void *data)
{
	struct counts *c = data;

	atomic_fetch_add(&c->begun, 1);
}

static void run(void *data, struct fp_job *job, void *scratch)
{
	struct counts *c = data;

	((char *)scratch)[4095] = 1;
	(void)pthread_mutex_lock(&c->gate);
	(void)pthread_mutex_unlock(&c->gate);
	atomic_fetch_add(&c->run, 1);
	free(job);
}

static const struct fp_pool_ops ops = {begin, run, 4096};

static void add(struct fp_pool *p, size_t bytes)
{
	struct fp_job *job = xcalloc(1, sizeof(*job));

	job->bytes = bytes;
	fp_pool_add(p, job);
}

Test(fp_pool, everything_that_was_queued_is_run)
{
	struct counts c = {.gate = PTHREAD_MUTEX_INITIALIZER};
	struct fp_pool *p = NULL;

	cr_assert_eq(fp_pool_new(3, &ops, &c, &p, NULL), 0);
	for (int i = 0; i < 1000; i++)
		add(p, 100);
	fp_pool_free(p);
	cr_expect(atomic_load(&c.begun) == 3 && atomic_load(&c.run) == 1000);
}

struct filler {
	struct fp_pool *p;
	size_t bytes;
	atomic_int added;
};

static void *fill(void *data)
{
	struct filler *f = data;

	for (int i = 0; i < 2 * FP_JOBS_MAX; i++) {
		add(f->p, f->bytes);
		atomic_fetch_add(&f->added, 1);
	}
	return NULL;
}

static int added_while_shut(size_t bytes)
{
	struct counts c = {.gate = PTHREAD_MUTEX_INITIALIZER};
	struct filler f = {.bytes = bytes};
	pthread_t thread;
	int n, last = -1;

	(void)pthread_mutex_lock(&c.gate);
	cr_assert_eq(fp_pool_new(2, &ops, &c, &f.p, NULL), 0);
	cr_assert_eq(pthread_create(&thread, NULL, fill, &f), 0);
	/* Until it stands still; that it never goes on by itself is the assertion. */
	for (int same = 0; same < 50; same = n == last ? same + 1 : 0) {
		last = atomic_load(&f.added);
		(void)sched_yield();
		n = atomic_load(&f.added);
	}
	(void)pthread_mutex_unlock(&c.gate);
	(void)pthread_join(thread, NULL);
	fp_pool_free(f.p);
	cr_expect_eq(atomic_load(&c.run), 2 * FP_JOBS_MAX, "and goes on");
	return n;
}

Test(fp_pool, the_queue_is_bounded_by_number)
{
	cr_expect_leq(added_while_shut(1), FP_JOBS_MAX + 2);
}

Test(fp_pool, the_queue_is_bounded_by_bytes)
{
	cr_expect_leq(added_while_shut(FP_JOB_BYTES_MAX / 4), 4 + 2);
}
