/* strv.h - a growing list of owned strings, NULL-terminated so it serves as argv. */
#ifndef FCVM_BASE_STRV_H
#define FCVM_BASE_STRV_H

#include <stdbool.h>
#include <stddef.h>

struct strv {
	char **v; /* NULL until the first item, then v[n] == NULL */
	size_t n;
	size_t cap;
};

#define auto_strv __attribute__((cleanup(strv_free)))

void strv_free(struct strv *l);
void strv_add(struct strv *l, const char *s);
void strv_add_take(struct strv *l, char *s); /* takes ownership of s */
__attribute__((format(printf, 2, 3))) void strv_addf(struct strv *l, const char *fmt, ...);
void strv_add_all(struct strv *l, const struct strv *from);
bool strv_has(const struct strv *l, const char *s);
/* qsort by strcmp. */
void strv_sort(struct strv *l);
/* Nearest of the candidates to word by edit distance, NULL when nothing is close (distance more
 * than a third of the length, at least 1). For "did you mean". */
const char *strv_nearest(const char *word, const char *const *candidates, size_t n);

#endif
