#include "buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

void buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = 0;
	b->cap = 0;
	b->overflow = false;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->overflow = false;
	if (b->data)
		b->data[0] = '\0';
}

/* Room for `extra` more bytes (the caller has checked max) and the NUL. */
static void reserve(struct buf *b, size_t extra)
{
	size_t need = b->len + extra + 1;

	if (need <= b->cap)
		return;
	if (need < 64)
		need = 64;
	b->data = xgrow(b->data, &b->cap, need, 1);
}

static size_t room(const struct buf *b)
{
	/* One byte less than SIZE_MAX, for the NUL. */
	size_t max = b->max < SIZE_MAX ? b->max : SIZE_MAX - 1;

	return max > b->len ? max - b->len : 0;
}

/* Once cut, a text stays cut: later pieces would make it read as if nothing were missing. */
void buf_add(struct buf *b, const void *data, size_t len)
{
	size_t left = b->overflow ? 0 : room(b);

	if (len > left) {
		b->overflow = true;
		len = left;
	}
	reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0)
		return;
	if (!b->overflow && (size_t)len <= room(b)) {
		reserve(b, (size_t)len);
		(void)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
		b->len += (size_t)len;
		return;
	}
	char *text = xmalloc((size_t)len + 1);
	(void)vsnprintf(text, (size_t)len + 1, fmt, ap);
	buf_add(b, text, (size_t)len);
	free(text);
}

void *buf_grow(struct buf *b, size_t len)
{
	if (b->overflow || len > room(b)) {
		b->overflow = true;
		return NULL;
	}
	reserve(b, len);
	char *start = b->data + b->len;
	b->len += len;
	b->data[b->len] = '\0';
	return start;
}

void buf_consume(struct buf *b, size_t n)
{
	if (!b->len || !n)
		return;
	if (n > b->len)
		n = b->len;
	memmove(b->data, b->data + n, b->len - n + 1);
	b->len -= n;
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_detach(struct buf *b)
{
	char *text = b->data ? b->data : xstrdup("");

	b->data = NULL;
	buf_free(b);
	return text;
}
