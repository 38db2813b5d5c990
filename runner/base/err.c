/* The functions themselves, not what analyzers are told of them. */
#undef FCVM_ANALYZE
#include "err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The code of the last error, for callers that wrap although nobody wants the sentence: with a NULL
 * err there is nowhere else to find what they have to return. */
static _Thread_local int last_code;

/* Arguments may point into err itself (wrapping), so the text is made aside first. */
__attribute__((format(printf, 3, 0))) static void set_text(char *dst, size_t size, const char *fmt,
							   va_list ap)
{
	char text[sizeof(((struct err *)NULL)->msg)];

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	size_t len = strnlen(text, sizeof(text) - 1);
	if (len >= size)
		len = size - 1;
	memcpy(dst, text, len);
	dst[len] = '\0';
}

__attribute__((format(printf, 3, 0))) static void set_sys(struct err *err, int code,
							  const char *fmt, va_list ap)
{
	char text[sizeof(err->msg)];

	set_text(text, sizeof(text), fmt, ap);
	(void)err_set(err, ERR_FAILED, code, "%s: %s", text, strerror(-code));
}

int err_set(struct err *err, enum err_class class, int code, const char *fmt, ...)
{
	va_list ap;

	last_code = code;
	if (!err)
		return code;
	va_start(ap, fmt);
	set_text(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	err->class = class;
	err->code = code;
	err->hint[0] = '\0';
	return code;
}

int err_sys(struct err *err, const char *fmt, ...)
{
	int code = -errno;
	va_list ap;

	last_code = code;
	if (!err)
		return code;
	va_start(ap, fmt);
	set_sys(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_sys_code(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	last_code = code;
	if (!err)
		return code;
	va_start(ap, fmt);
	set_sys(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char old[sizeof(err->msg)];
	va_list ap;

	if (!err)
		return last_code;
	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	set_text(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	size_t len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", old);
	return err->code;
}

int err_hint(struct err *err, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return last_code;
	va_start(ap, fmt);
	set_text(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return err->code;
}

int err_exit_status(const struct err *err)
{
	static const int status[] = {
		[ERR_FAILED] = 1,        [ERR_SPEC] = 3,      [ERR_HOST] = 4,
		[ERR_INCOMPLETE] = 5,    [ERR_NOT_READY] = 6, [ERR_BUSY] = 7,
		[ERR_CLEANUP] = 10,      [ERR_TIMEOUT] = 124, [ERR_GUEST] = 1,
		[ERR_INTERRUPTED] = 130,
	};

	return status[err->class];
}
