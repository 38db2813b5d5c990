/* null_host.h - a fuse-pipe host that does nothing: every name is a file of 4 KiB (or, with a 'd'
 * in front, a directory of 100 names; with an 'm', missing; with a 'b', a large file), every write
 * is taken and forgotten. What remains is what a pump, two hops and the kernel cost at least. */
#ifndef FCVM_TESTS_BENCH_NULL_HOST_H
#define FCVM_TESTS_BENCH_NULL_HOST_H

/* Serves streams of one mount on a listening socket until killed. */
__attribute__((noreturn)) void null_host_main(int listen_fd);

#endif
