/* rows.h - what a list is for programs: one array of objects, or one object a line. */
#ifndef FCVM_CMD_ROWS_H
#define FCVM_CMD_ROWS_H

#include <stdbool.h>

#include "buf.h"
#include "json.h"

/* format "json" or "jsonl"; false, and nothing is added, for any other. */
bool rows_print(struct json_object *rows, const char *format, struct buf *out);

#endif
