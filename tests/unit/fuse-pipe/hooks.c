#include "hooks.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

atomic_bool hooks_no_threads;
_Atomic(pthread_t) hooks_thread;
_Atomic uint64_t hooks_now_ms;
void (*_Atomic hooks_unlocked)(const pthread_mutex_t *mutex);
void (*_Atomic hooks_received)(void);

int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *data)
{
	static __typeof__(&pthread_create) real;

	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "pthread_create");
	int r = atomic_load(&hooks_no_threads) ? EAGAIN : real(ret, attr, run, data);
	if (r == 0)
		atomic_store(&hooks_thread, *ret);
	return r;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	static __typeof__(&pthread_mutex_unlock) real;

	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "pthread_mutex_unlock");
	int r = real(mutex);
	void (*then)(const pthread_mutex_t *) = atomic_load(&hooks_unlocked);
	if (then)
		then(mutex);
	return r;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
	static __typeof__(&recv) real;

	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "recv");
	ssize_t n = real(fd, data, size, flags);
	void (*then)(void) = atomic_load(&hooks_received);
	if (n > 0 && then)
		then();
	return n;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	static __typeof__(&clock_gettime) real;
	const uint64_t ms = atomic_load(&hooks_now_ms);

	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "clock_gettime");
	if (clock != CLOCK_BOOTTIME || ms == 0)
		return real(clock, ret);
	*ret = (struct timespec){.tv_sec = (time_t)(ms / 1000),
				 .tv_nsec = (long)(ms % 1000) * 1000000};
	return 0;
}
