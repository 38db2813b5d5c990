/* diag.h - problems found in a spec: collected in any order, printed in file order.
 *
 * A diag keeps its own copy of the text for source lines and carets. Text from the file is hostile:
 * control characters and broken UTF-8 never reach the output, long lines are cut. */
#ifndef FCVM_SPECS_DIAG_H
#define FCVM_SPECS_DIAG_H

#include <stdarg.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "fleet.h"

#define DIAG_PRINT_MAX 100 /* problems printed; then "and N more" */

enum diag_level { DIAG_ERROR, DIAG_WARNING };

struct diag_problem { /* what is wrong where; hint may be NULL */
	enum diag_level level;
	enum err_class class;
	struct place at;
	const char *path; /* "fleets.web.count" */
	const char *hint;
};

/* name is what messages call the file. The caller frees with diag_free(). */
struct diag *diag_new(const char *name, const char *text, size_t len);
void diag_free(struct diag *d);
void diag_free_p(struct diag **d);
#define auto_diag __attribute__((cleanup(diag_free_p)))

__attribute__((format(printf, 3, 4))) void
diag_add(struct diag *d, const struct diag_problem *problem, const char *fmt, ...);
size_t diag_errors(const struct diag *d);
/* What was added since the last call, in file order, at most DIAG_PRINT_MAX. Its errors are then
 * counted anew. */
void diag_print(struct diag *d, struct buf *out);
/* The first of them, in file order, of those that are errors; NULL: there is none. ret_hint may be
 * set to NULL. */
const char *diag_first(struct diag *d, const char **ret_hint);
const char *diag_name(const struct diag *d);
/* What decides the exit status: ERR_SPEC when one of the errors is that, else the first one's. */
enum err_class diag_class(const struct diag *d);

/* The source from that place to the end of the text; "" for places outside it. */
const char *diag_source(const struct diag *d, struct place at);
bool diag_line_has(const struct diag *d, uint32_t line, const char *needle);
/* UTF-8 without control characters. */
bool diag_is_clean(const char *text);
/* Place of the byte at offset; for errors that only know that. */
struct place diag_place(const struct diag *d, size_t offset);

#endif
