#include "serve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "xalloc.h"

#define THREADS_MAX 8
#define EVENTS 64
#define ALIVE_MS 3000
#define BLOCKED_MS 1000
#define TURNS 4
#define KICK_SIGNAL SIGUSR1

struct worker {
	struct serve *serve;
	pthread_t thread;
	bool started;
	int epfd, poke_fd;
	unsigned int load;        /* VMs; the controlling thread's */
	struct serve_vm *gone;    /* removed, to be freed by the worker; under serve->lock */
	_Atomic uint64_t beat_ms; /* last time it came round */
	_Atomic uint64_t busy_ms; /* since when it serves one VM; 0: it does not */
};

struct serve_vm {
	struct pager pager;
	struct worker *worker;
	void *owner;
	atomic_bool removed; /* by the controlling thread */
	bool ended;          /* the worker's: no longer in its epoll */
	struct err why;
	struct serve_vm *next_gone;
	struct serve_vm *next_ended; /* under serve->lock */
};

struct serve {
	struct pager_source source;
	bool plain_read;
	int note_fd;
	pthread_mutex_t lock;
	struct serve_vm *ended;
	atomic_bool stopping;
	struct worker workers[THREADS_MAX];
	unsigned int n;
};

static void poke(int eventfd)
{
	const uint64_t one = 1;

	(void)!write(eventfd, &one, sizeof(one));
}

static void drain(int eventfd)
{
	uint64_t n;

	(void)!read(eventfd, &n, sizeof(n));
}

/* Called where the worker holds no event that could still name one of them. */
static void free_gone(struct worker *w)
{
	(void)pthread_mutex_lock(&w->serve->lock);
	struct serve_vm *list = w->gone;
	w->gone = NULL;
	(void)pthread_mutex_unlock(&w->serve->lock);
	while (list) {
		struct serve_vm *next = list->next_gone;

		pager_free(&list->pager);
		free(list);
		list = next;
	}
}

static void end_vm(struct worker *w, struct serve_vm *vm)
{
	struct serve *s = w->serve;

	vm->ended = true;
	(void)epoll_ctl(w->epfd, EPOLL_CTL_DEL, vm->pager.uffd, NULL);
	(void)pthread_mutex_lock(&s->lock);
	if (!atomic_load(&vm->removed)) {
		vm->next_ended = s->ended;
		s->ended = vm;
	}
	(void)pthread_mutex_unlock(&s->lock);
	poke(s->note_fd);
}

static void handle_vm(struct worker *w, struct serve_vm *vm, uint32_t events)
{
	int r = 0;

	if (vm->ended || atomic_load(&vm->removed))
		return;
	if (events & EPOLLIN) {
		atomic_store(&w->busy_ms, now_ms());
		/* The next fault is often there already, and a read is cheaper than a wait. */
		for (int turn = 0; turn < TURNS && (turn == 0 || r > 0); turn++)
			r = pager_serve(&vm->pager, &vm->why);
		atomic_store(&w->busy_ms, 0);
	}
	/* Also the answer to a poll after someone cleared O_NONBLOCK. */
	if (r == -EINTR || (r >= 0 && (events & (EPOLLERR | EPOLLHUP))))
		r = err_set(&vm->why, ERR_GUEST, -EPROTO,
			    "the VM made its userfaultfd unusable: it blocks or is not set up");
	if (r == -ESRCH)
		vm->why.code = -ESRCH;
	if (r < 0)
		end_vm(w, vm);
}

static void *work(void *data)
{
	struct worker *w = data;
	struct epoll_event events[EVENTS];

	while (!atomic_load(&w->serve->stopping)) {
		free_gone(w);
		int n = epoll_wait(w->epfd, events, EVENTS, -1);

		atomic_store(&w->beat_ms, now_ms());
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				handle_vm(w, events[i].data.ptr, events[i].events);
			else
				drain(w->poke_fd);
		}
	}
	return NULL;
}

/* --- the controlling thread's side --- */

static void kick(int sig)
{
	(void)sig; /* its only work is to end a read with EINTR */
}

static int start_worker(struct serve *s, struct worker *w, struct err *err)
{
	struct epoll_event poked = {.events = EPOLLIN, .data.ptr = NULL};
	sigset_t all, old;
	int r;

	w->serve = s;
	w->epfd = epoll_create1(EPOLL_CLOEXEC);
	w->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epfd < 0 || w->poke_fd < 0 ||
	    epoll_ctl(w->epfd, EPOLL_CTL_ADD, w->poke_fd, &poked) < 0)
		return err_sys(err, "cannot start a page server thread");
	atomic_store(&w->beat_ms, now_ms());
	/* Every signal but the kick is the controlling thread's. */
	(void)sigfillset(&all);
	(void)sigdelset(&all, KICK_SIGNAL);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, NULL, work, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_sys_code(err, -r, "cannot start a page server thread");
	w->started = true;
	return 0;
}

static unsigned int choose_threads(unsigned int wanted)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (wanted == 0)
		wanted = cpus > 0 ? (unsigned int)cpus : 1;
	return wanted < THREADS_MAX ? wanted : THREADS_MAX;
}

static int map_memory(const struct serve_spec *spec, struct pager_source *source, struct err *err)
{
	int r = zeromap_scan(spec->memory_fd, spec->size, &source->zero, err);

	if (r < 0)
		return r;
	void *map = mmap(NULL, spec->size, PROT_READ, MAP_SHARED, spec->memory_fd, 0);
	if (map == MAP_FAILED)
		return err_sys(err, "cannot map snapshot memory");
	source->map = map;
	source->size = spec->size;
	/* Never written: all of it is the kernel's one page of zeroes. */
	map = mmap(NULL, REGIONS_HUGE_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return err_sys(err, "cannot map a page of zeroes");
	source->zeros = map;
	return 0;
}

static void free_serve_p(struct serve **s)
{
	serve_free(*s);
	*s = NULL;
}

int serve_start(const struct serve_spec *spec, struct serve **ret, struct err *err)
{
	const struct sigaction act = {.sa_handler = kick}; /* no SA_RESTART */
	__attribute__((cleanup(free_serve_p))) struct serve *s = xcalloc(1, sizeof(*s));
	unsigned int threads = choose_threads(spec->threads);
	int r;

	(void)pthread_mutex_init(&s->lock, NULL);
	s->plain_read = spec->plain_read;
	s->note_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->note_fd < 0)
		return err_sys(err, "cannot make an event descriptor");
	r = map_memory(spec, &s->source, err);
	if (r < 0)
		return r;
	(void)sigaction(KICK_SIGNAL, &act, NULL);
	while (s->n < threads) {
		struct worker *w = &s->workers[s->n++];

		w->epfd = w->poke_fd = -1;
		r = start_worker(s, w, err);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

void serve_free(struct serve *s)
{
	if (!s)
		return;
	atomic_store(&s->stopping, true);
	for (unsigned int i = 0; i < s->n; i++) {
		struct worker *w = &s->workers[i];

		if (w->started) {
			poke(w->poke_fd);
			(void)pthread_join(w->thread, NULL);
			free_gone(w);
		}
		cleanup_close_p(&w->epfd);
		cleanup_close_p(&w->poke_fd);
	}
	if (s->source.map)
		(void)munmap((void *)(uintptr_t)s->source.map, s->source.size);
	if (s->source.zeros)
		(void)munmap((void *)(uintptr_t)s->source.zeros, REGIONS_HUGE_PAGE);
	zeromap_free(&s->source.zero);
	cleanup_close_p(&s->note_fd);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct worker *least_loaded(struct serve *s)
{
	struct worker *best = &s->workers[0];

	for (unsigned int i = 1; i < s->n; i++)
		if (s->workers[i].load < best->load)
			best = &s->workers[i];
	return best;
}

int serve_add(struct serve *s, int uffd, const struct regions *regions, void *owner,
	      struct serve_vm **ret, struct err *err)
{
	struct worker *w = least_loaded(s);
	struct serve_vm *vm = xcalloc(1, sizeof(*vm));
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = vm};

	pager_init(&vm->pager, &s->source, regions, uffd);
	vm->pager.plain_read = s->plain_read;
	vm->worker = w;
	vm->owner = owner;
	w->load++;
	if (epoll_ctl(w->epfd, EPOLL_CTL_ADD, uffd, &ev) < 0) {
		int code = -errno;

		w->load--;
		pager_free(&vm->pager);
		free(vm);
		return err_sys_code(err, code, "cannot watch the VM's userfaultfd");
	}
	*ret = vm;
	return 0;
}

static void unlink_ended(struct serve *s, const struct serve_vm *vm)
{
	for (struct serve_vm **at = &s->ended; *at; at = &(*at)->next_ended) {
		if (*at == vm) {
			*at = vm->next_ended;
			return;
		}
	}
}

void serve_remove(struct serve_vm *vm)
{
	struct worker *w = vm->worker;

	w->load--;
	(void)epoll_ctl(w->epfd, EPOLL_CTL_DEL, vm->pager.uffd, NULL);
	(void)pthread_mutex_lock(&w->serve->lock);
	atomic_store(&vm->removed, true);
	unlink_ended(w->serve, vm);
	vm->next_gone = w->gone;
	w->gone = vm;
	(void)pthread_mutex_unlock(&w->serve->lock);
	poke(w->poke_fd);
}

const struct pager_stats *serve_stats(const struct serve_vm *vm)
{
	return &vm->pager.stats;
}

uint64_t serve_zero_pages(const struct serve *s)
{
	return zeromap_count(&s->source.zero);
}

int serve_note_fd(const struct serve *s)
{
	return s->note_fd;
}

void *serve_next_ended(struct serve *s, struct err *ret_why)
{
	drain(s->note_fd);
	(void)pthread_mutex_lock(&s->lock);
	struct serve_vm *vm = s->ended;
	if (vm)
		s->ended = vm->next_ended;
	(void)pthread_mutex_unlock(&s->lock);
	if (!vm)
		return NULL;
	*ret_why = vm->why;
	return vm->owner;
}

void serve_tick(struct serve *s)
{
	uint64_t now = now_ms();

	for (unsigned int i = 0; i < s->n; i++) {
		struct worker *w = &s->workers[i];
		uint64_t since = atomic_load(&w->busy_ms);

		poke(w->poke_fd);
		if (since != 0 && now - since >= BLOCKED_MS)
			(void)pthread_kill(w->thread, KICK_SIGNAL);
	}
}

bool serve_alive(const struct serve *s)
{
	uint64_t now = now_ms();

	for (unsigned int i = 0; i < s->n; i++) {
		uint64_t beat = atomic_load(&s->workers[i].beat_ms);

		if (now > beat && now - beat > ALIVE_MS)
			return false;
	}
	return true;
}
