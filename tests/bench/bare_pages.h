/* bare_pages.h - the plainest page handler: one process that takes one hand-off, polls, reads and
 * copies. It dies with the process that started it. */
#ifndef FCVM_TESTS_BENCH_BARE_PAGES_H
#define FCVM_TESTS_BENCH_BARE_PAGES_H

/* Listens on dir/uffd.sock; returns once it does. -1 and errno. */
int bare_pages_start(const char *dir, const char *memory);

#endif
