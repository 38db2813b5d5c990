#include "fp_pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cleanup.h"
#include "xalloc.h"

struct fp_pool {
	pthread_mutex_t lock;
	pthread_cond_t filled, drained;
	const struct fp_pool_ops *ops;
	void *data;
	struct fp_job *first, **last;
	size_t n, bytes;
	unsigned int idle, blocked; /* who waits for a job, who for room */
	bool stopping;
	unsigned int n_threads;
	pthread_t threads[];
};

static struct fp_job *take(struct fp_pool *p)
{
	bool wake = false;

	(void)pthread_mutex_lock(&p->lock);
	p->idle++;
	while (!p->first && !p->stopping)
		(void)pthread_cond_wait(&p->filled, &p->lock);
	p->idle--;
	struct fp_job *job = p->first;
	if (job) {
		p->first = job->next;
		if (!p->first)
			p->last = &p->first;
		p->n--;
		p->bytes -= job->bytes;
		wake = p->blocked > 0;
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (wake)
		(void)pthread_cond_signal(&p->drained);
	return job;
}

static void *work(void *data)
{
	struct fp_pool *p = data;
	auto_free void *scratch = aligned_alloc(64, p->ops->scratch_size);
	struct fp_job *job;

	if (!scratch)
		abort();
	p->ops->begin(p->data);
	while ((job = take(p)))
		p->ops->run(p->data, job, scratch);
	return NULL;
}

int fp_pool_new(unsigned int threads, const struct fp_pool_ops *ops, void *data,
		struct fp_pool **ret, struct err *err)
{
	struct fp_pool *p = xcalloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));

	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->filled, NULL);
	(void)pthread_cond_init(&p->drained, NULL);
	p->ops = ops;
	p->data = data;
	p->last = &p->first;
	for (; p->n_threads < threads; p->n_threads++) {
		int r = pthread_create(&p->threads[p->n_threads], NULL, work, p);

		if (r != 0) {
			fp_pool_free(p);
			return err_sys_code(err, -r, "cannot start a thread");
		}
	}
	*ret = p;
	return 0;
}

void fp_pool_free(struct fp_pool *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->stopping = true;
	(void)pthread_cond_broadcast(&p->filled);
	(void)pthread_mutex_unlock(&p->lock);
	for (unsigned int i = 0; i < p->n_threads; i++)
		(void)pthread_join(p->threads[i], NULL);
	(void)pthread_cond_destroy(&p->filled);
	(void)pthread_cond_destroy(&p->drained);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

void fp_pool_add(struct fp_pool *p, struct fp_job *job)
{
	(void)pthread_mutex_lock(&p->lock);
	p->blocked++;
	while (p->n >= FP_JOBS_MAX || p->bytes >= FP_JOB_BYTES_MAX)
		(void)pthread_cond_wait(&p->drained, &p->lock);
	p->blocked--;
	job->next = NULL;
	*p->last = job;
	p->last = &job->next;
	p->n++;
	p->bytes += job->bytes;
	/* Signalled under the lock a worker would wake only to wait for it. */
	bool wake = p->idle > 0;
	(void)pthread_mutex_unlock(&p->lock);
	if (wake)
		(void)pthread_cond_signal(&p->filled);
}
