/* parse.h - text to values, whole string or error; pure. Messages name the expectation and the
 * text ("expected 0 to 100000, got 'many'"), class ERR_SPEC, code -EINVAL or -ERANGE. */
#ifndef FCVM_BASE_PARSE_H
#define FCVM_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "strv.h"

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret, struct err *err);
int parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret, struct err *err);
/* "1.5": decimal without exponent, for overcommit and cpu limits. */
int parse_decimal(const char *s, double min, double max, double *ret, struct err *err);
/* 512MiB 4GiB 1GB 500MB 64KiB; a bare number is MiB and sets *ret_bare. Result in bytes. */
int parse_size(const char *s, uint64_t *ret_bytes, bool *ret_bare, struct err *err);
/* 500ms 2s 3m 1h; result in milliseconds. A bare number other than 0 is an error. */
int parse_duration_ms(const char *s, uint64_t *ret_ms, struct err *err);
/* fcvm names: [a-z0-9]([-a-z0-9]{0,61}[a-z0-9])? */
bool parse_is_name(const char *s);
/* Splits like a shell word list: blanks, '..', "..", backslash; no expansion of any kind. */
int parse_words(const char *s, struct strv *ret, struct err *err);
/* Text for people: "512 MiB", "1.5 GiB"; "3m12s", "850ms". Return ret. */
char *format_size(uint64_t bytes, char *ret, size_t size);
char *format_duration_ms(uint64_t ms, char *ret, size_t size);

#endif
