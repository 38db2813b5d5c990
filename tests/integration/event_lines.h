/* event_lines.h - events, one JSON object a line, as the tests look at them. A line that is no
 * object fails the test. */
#ifndef FCVM_TESTS_EVENT_LINES_H
#define FCVM_TESTS_EVENT_LINES_H

#include <stddef.h>

#include "json.h"

/* Those that have all these text members: name, value, ..., NULL. */
size_t event_count(const char *lines, ...);
/* The last of them, which the caller puts; NULL: none. */
struct json_object *event_last(const char *lines, ...);

#endif
