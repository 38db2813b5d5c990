/* buf.h - a growing byte string with a limit given at birth.
 *
 * Invariants: data is never NULL after the first append and always NUL-terminated at data[len];
 * appending beyond max sets `overflow` and drops the excess, so text built for people is cut and
 * everything else checks buf_ok() once at the end. auto_buf releases it. */
#ifndef FCVM_BASE_BUF_H
#define FCVM_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max;
	bool overflow;
};

#define BUF_INIT(limit)        \
	{                      \
		.max = (limit) \
	}
#define auto_buf __attribute__((cleanup(buf_free)))

void buf_free(struct buf *b);
void buf_reset(struct buf *b); /* len = 0, keeps memory, clears overflow */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
__attribute__((format(printf, 2, 3))) void buf_addf(struct buf *b, const char *fmt, ...);
__attribute__((format(printf, 2, 0))) void buf_vaddf(struct buf *b, const char *fmt, va_list ap);
/* Room for len more bytes, counted in len at once; NULL (and overflow) beyond max. */
void *buf_grow(struct buf *b, size_t len);
/* Drops n bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* The text, never NULL ("" when empty); still owned by b. */
const char *buf_str(const struct buf *b);
/* Takes the string out (caller frees); b is empty afterwards. Never NULL. */
char *buf_detach(struct buf *b);
static inline bool buf_ok(const struct buf *b)
{
	return !b->overflow;
}

#endif
