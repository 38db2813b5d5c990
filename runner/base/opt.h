/* opt.h - option tables: parsing, usage text and "did you mean" from one description.
 *
 * Options may stand before or after positionals; "--" ends them; --opt=value and --opt value;
 * -abc for flags, -nVALUE and -n VALUE. After parsing, positionals are in *ret_args. */
#ifndef FCVM_BASE_OPT_H
#define FCVM_BASE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "strv.h"

enum opt_kind {
	OPT_FLAG,     /* bool * */
	OPT_STR,      /* const char **: points into argv */
	OPT_STRV,     /* struct strv *: repeatable, copied */
	OPT_U64,      /* uint64_t *, within [min, max] */
	OPT_SIZE,     /* uint64_t * bytes */
	OPT_DURATION, /* uint64_t * milliseconds */
	OPT_CHOICE,   /* const char **: one of `choices`, "a|b|c" */
};

/* In the order tables are written in, not the tightest. */
struct opt {             /* NOLINT(clang-analyzer-optin.performance.Padding) */
	char short_name; /* 0 for none */
	const char *name;
	enum opt_kind kind;
	void *value;
	const char *arg;     /* metavariable for usage, NULL for flags */
	const char *doc;     /* one line */
	const char *choices; /* OPT_CHOICE only */
	uint64_t min, max;   /* OPT_U64 only; max 0 = no limit */
};

/* stop_at_positional: everything from the first positional on is positional (podman run IMAGE
 * CMD...). *ret_args is the caller's; strings are copied. A "--" is dropped, except that
 * ret_dashdash (may be NULL) receives how many positionals stood before it, or -1. */
struct opt_parse {
	const struct opt *opts;
	size_t n;
	bool stop_at_positional;
	/* "target|replace|f", or NULL: options of other versions, refused by that word. */
	const char *later;
};
int opt_parse(const struct opt_parse *how, int argc, char *const *argv, struct strv *ret_args,
	      int *ret_dashdash, struct err *err);
/* Aligned option list for help. */
void opt_usage(const struct opt *opts, size_t n, struct buf *out);

#endif
