/* explain.h - the field tables in words: `fcvm explain FIELD` and docs/spec.md. */
#ifndef FCVM_SPECS_EXPLAIN_H
#define FCVM_SPECS_EXPLAIN_H

#include "buf.h"
#include "err.h"

/* FIELD as in the spec, with or without the names of entries: fleets.count, fleets.web.count,
 * fleets.F.count. "" is the whole spec. An unknown one is -ENOENT with the nearest as hint. */
int explain_field(const char *field, struct buf *out, struct err *err);
/* docs/spec.md, whole. */
void explain_spec_markdown(struct buf *out);

#endif
