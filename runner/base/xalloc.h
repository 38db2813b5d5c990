/* xalloc.h - allocation that aborts when there is no memory. Bound sizes from outside first. */
#ifndef FCVM_BASE_XALLOC_H
#define FCVM_BASE_XALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size); /* zeroed; aborts on overflow of n * size */
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t max);
__attribute__((format(printf, 1, 2))) char *xasprintf(const char *fmt, ...);
/* Doubles *cap (at least to need) and resizes; items keep their values. */
void *xgrow(void *p, size_t *cap, size_t need, size_t size);

#endif
