/* hooks.h - calls of the C library that tests stand in, for the whole program: a thread is held
 * where only bad luck would hold it. All of them are off until a test sets them. */
#ifndef FCVM_TESTS_FUSE_PIPE_HOOKS_H
#define FCVM_TESTS_FUSE_PIPE_HOOKS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

extern atomic_bool hooks_no_threads;    /* pthread_create() says EAGAIN */
extern _Atomic(pthread_t) hooks_thread; /* the last that it began */
extern _Atomic uint64_t hooks_now_ms;   /* what CLOCK_BOOTTIME says; 0: as it is */
/* In whatever thread: it has let go of a mutex; it has received something. */
extern void (*_Atomic hooks_unlocked)(const pthread_mutex_t *mutex);
extern void (*_Atomic hooks_received)(void);

#endif
