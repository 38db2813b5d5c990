/* json_scan.h - just enough JSON to reuse a container's own configuration: walk members, read
 * strings and numbers, write strings. Not a validator: it never reads past the text and never
 * recurses deeper than JSON_SCAN_DEPTH, but accepts some malformed text. */
#ifndef FCVM_AGENT_JSON_SCAN_H
#define FCVM_AGENT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define JSON_SCAN_DEPTH 64

/* A piece of JSON text: one value. */
struct json_span {
	const char *at;
	size_t len;
};

/* The members of an object or items of an array, in turn: *pos = 0 at first. key is without
 * quotes, still escaped; empty for array items. False at the end or at malformed text. */
bool json_scan_next(struct json_span value, size_t *pos, struct json_span *ret_key,
		    struct json_span *ret_item);
/* The value at a dotted path of plain keys ("process.user.uid"). */
bool json_scan_find(struct json_span value, const char *path, struct json_span *ret);
/* A string value, unescaped, appended to out. False when it is not one. */
bool json_scan_str(struct json_span value, struct buf *out);
bool json_scan_u64(struct json_span value, uint64_t *ret);
bool json_span_is(struct json_span span, const char *text);
/* "text" with quotes and escapes. */
void json_put_str(struct buf *out, const char *text);

#endif
