/* log.h - the talk on stderr: levels, text or JSON, a replaceable sink. Code below cmd/ logs at
 * debug only; it returns errors instead. */
#ifndef FCVM_BASE_LOG_H
#define FCVM_BASE_LOG_H

#include <stdbool.h>

#include "err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_setup(enum log_level level, bool json);
/* NULL restores stderr. The line has no newline. */
void log_set_sink(void (*sink)(enum log_level level, const char *line, void *data), void *data);
__attribute__((format(printf, 2, 3))) void log_msg(enum log_level level, const char *fmt, ...);
/* "fcvm: error: MSG" and "hint: ..." */
void log_err(const struct err *err);
int log_parse_level(const char *s, enum log_level *ret, struct err *err);

#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_WARN, __VA_ARGS__)

#endif
