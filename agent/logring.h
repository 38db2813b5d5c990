/* logring.h - a bounded queue of log lines; pure. Full = the oldest go, and are counted. */
#ifndef FCVM_AGENT_LOGRING_H
#define FCVM_AGENT_LOGRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOGRING_MAX (1u << 20)

struct logring_line {
	struct logring_line *next;
	uint64_t unix_ns;
	int stream; /* 1 | 2 */
	size_t len;
	char text[]; /* len bytes, no newline */
};

struct logring {
	struct logring_line *head;
	struct logring_line *tail;
	size_t bytes;     /* text and overhead */
	uint64_t dropped; /* since the last logring_take() */
};

void logring_put(struct logring *ring, int stream, uint64_t unix_ns, const char *text, size_t len);
/* The oldest line, the caller's to free(); NULL when empty. Lines lost before it are told first, as
 * a line of stream 2. */
struct logring_line *logring_take(struct logring *ring);
void logring_clear(struct logring *ring);

#endif
