/* err.h - the error value every fallible function fills: a class, a sentence and a way out.
 *
 * The caller owns the struct; functions only write it on failure. A function that fails returns a
 * negative errno and has set err exactly once; callers may wrap it on the way up. NULL is allowed
 * wherever a struct err pointer is taken: the sentence is then dropped. */
#ifndef FCVM_BASE_ERR_H
#define FCVM_BASE_ERR_H

#include <stdarg.h>

enum err_class {
	ERR_FAILED = 0,  /* unexpected: exit 1 */
	ERR_SPEC,        /* spec or usage invalid: exit 3 */
	ERR_HOST,        /* host or admission refused: exit 4 */
	ERR_INCOMPLETE,  /* apply incomplete: exit 5 */
	ERR_NOT_READY,   /* not ready in time: exit 6 */
	ERR_BUSY,        /* lock busy: exit 7 */
	ERR_CLEANUP,     /* cleanup left something: exit 10 */
	ERR_TIMEOUT,     /* overall timeout: exit 124 */
	ERR_GUEST,       /* the guest or its agent misbehaved: exit 1 */
	ERR_INTERRUPTED, /* SIGINT/SIGTERM: exit 130 */
};

struct err {
	enum err_class class;
	int code;       /* negative errno, 0 when nothing failed */
	char msg[1024]; /* one sentence, lower case, no full stop */
	char hint[512]; /* empty when there is no way out to offer */
};

/* Each returns `code` (negative errno) so that `return err_set(...)` reads well. */
__attribute__((format(printf, 4, 5))) int err_set(struct err *err, enum err_class class, int code,
						  const char *fmt, ...);
/* Sentence plus ": strerror(errno)"; class ERR_FAILED, code -errno. errno must be non-zero. */
__attribute__((format(printf, 2, 3))) int err_sys(struct err *err, const char *fmt, ...);
/* Same, with an explicit negative errno. */
__attribute__((format(printf, 3, 4))) int err_sys_code(struct err *err, int code, const char *fmt,
						       ...);
/* Puts "sentence: " before what is there and keeps class and code. Returns err->code; with a NULL
 * err the code of the last error this thread has set. */
__attribute__((format(printf, 2, 3))) int err_wrap(struct err *err, const char *fmt, ...);
/* Sets the hint; returns as err_wrap() does. */
__attribute__((format(printf, 2, 3))) int err_hint(struct err *err, const char *fmt, ...);
/* Process exit status for the class, by the table in docs/commands.md. */
int err_exit_status(const struct err *err);

/* Analyzers see one file at a time: they are told that what sets an error returns less than 0. */
#ifdef FCVM_ANALYZE
static inline int err_negative(int code)
{
	if (code >= 0)
		__builtin_unreachable();
	return code;
}
#define err_set(...) err_negative(err_set(__VA_ARGS__))
#define err_sys(...) err_negative(err_sys(__VA_ARGS__))
#define err_sys_code(...) err_negative(err_sys_code(__VA_ARGS__))
#define err_wrap(...) err_negative(err_wrap(__VA_ARGS__))
#define err_hint(...) err_negative(err_hint(__VA_ARGS__))
#endif

#endif
