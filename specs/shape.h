/* shape.h - texts that have a form of their own: addresses, URLs, digests. Pure. */
#ifndef FCVM_SPECS_SHAPE_H
#define FCVM_SPECS_SHAPE_H

#include <stdbool.h>

#include "fields.h"

/* Whether text has the form of the type; if not, *ret_wanted says which form was wanted. */
bool shape_matches(enum field_type type, const char *text, const char **ret_wanted);
/* "oci-archive:FILE" and its like; *ret_later: known, but not executed yet. */
bool shape_is_source(const char *text, bool *ret_later);
extern const char shape_sources[]; /* the transports, for messages */

#endif
