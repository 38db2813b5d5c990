#include "logring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static struct logring_line *line_new(int stream, uint64_t unix_ns, const char *text, size_t len)
{
	struct logring_line *line = xmalloc(sizeof(*line) + len);

	line->next = NULL;
	line->unix_ns = unix_ns;
	line->stream = stream;
	line->len = len;
	if (len)
		memcpy(line->text, text, len);
	return line;
}

static size_t cost(const struct logring_line *line)
{
	return sizeof(*line) + line->len;
}

static struct logring_line *pop(struct logring *ring)
{
	struct logring_line *line = ring->head;

	if (!line)
		return NULL;
	ring->head = line->next;
	if (!ring->head)
		ring->tail = NULL;
	ring->bytes -= cost(line);
	line->next = NULL;
	return line;
}

void logring_put(struct logring *ring, int stream, uint64_t unix_ns, const char *text, size_t len)
{
	struct logring_line *line = line_new(stream, unix_ns, text, len);

	while (ring->head && ring->bytes + cost(line) > LOGRING_MAX) {
		free(pop(ring));
		ring->dropped++;
	}
	if (ring->tail)
		ring->tail->next = line;
	else
		ring->head = line;
	ring->tail = line;
	ring->bytes += cost(line);
}

struct logring_line *logring_take(struct logring *ring)
{
	char text[64];

	if (!ring->dropped)
		return pop(ring);
	int n = snprintf(text, sizeof(text), "fcvm: %" PRIu64 " lines lost here", ring->dropped);
	ring->dropped = 0;
	return line_new(2, ring->head ? ring->head->unix_ns : 0, text, (size_t)n);
}

void logring_clear(struct logring *ring)
{
	struct logring_line *line;

	while ((line = pop(ring)))
		free(line);
	ring->dropped = 0;
}
