#include "xalloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(void)
{
	static const char text[] = "fcvm: error: out of memory\n";

	/* Nothing is left to do about a failing write here. */
	ssize_t unused = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)unused;
	abort();
}

static void *check(void *p)
{
	if (!p)
		out_of_memory();
	return p;
}

void *xmalloc(size_t size)
{
	return check(malloc(size ? size : 1));
}

static size_t product(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		out_of_memory();
	return bytes ? bytes : 1;
}

void *xcalloc(size_t n, size_t size)
{
	return check(calloc(1, product(n, size)));
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	return check(realloc(p, product(n, size)));
}

char *xstrdup(const char *s)
{
	return check(strdup(s));
}

char *xstrndup(const char *s, size_t max)
{
	return check(strndup(s, max));
}

char *xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	int r = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (r < 0)
		out_of_memory();
	return text;
}

void *xgrow(void *p, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return p;
	size_t want = *cap > SIZE_MAX / 2 ? need : *cap * 2;
	if (want < need)
		want = need;
	p = xreallocarray(p, want, size);
	*cap = want;
	return p;
}
