/* table.h - rows of text cells, aligned for people (two spaces between columns, no borders). */
#ifndef FCVM_BASE_TABLE_H
#define FCVM_BASE_TABLE_H

#include <stddef.h>

#include "buf.h"

struct table; /* opaque */

void table_free_p(struct table **t);
#define auto_table __attribute__((cleanup(table_free_p)))

/* Headings in capitals; a heading that starts with '>' is right-aligned. */
struct table *table_new(const char *const *headings, size_t n);
/* Appends one cell (NULL = "-"); after n cells a new row begins. */
void table_cell(struct table *t, const char *text);
__attribute__((format(printf, 2, 3))) void table_cellf(struct table *t, const char *fmt, ...);
void table_print(const struct table *t, struct buf *out);

#endif
