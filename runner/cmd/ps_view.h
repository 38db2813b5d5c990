/* ps_view.h - an inventory item as `fcvm ps` shows it: records checked against reality. */
#ifndef FCVM_CMD_PS_VIEW_H
#define FCVM_CMD_PS_VIEW_H

#include "buf.h"
#include "host.h"
#include "inventory.h"
#include "json.h"

#define PS_TEXT_MAX (512u << 20)

/* The members docs/commands.md lists, unknown ones null; the caller puts it. */
struct json_object *ps_view(const struct host *host, const struct inventory_item *it);
/* Whether ps shows it without --all: a reaped baseline lives on in its snapshot. */
bool ps_is_shown(const struct inventory_item *it);
/* rows: an array of ps_view() objects. */
void ps_table(struct json_object *rows, int64_t unix_ms, struct buf *out);

#endif
