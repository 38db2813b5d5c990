/* map.h - string-keyed hash map; keys are copied, values borrowed unless free_value is set. */
#ifndef FCVM_BASE_MAP_H
#define FCVM_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map_slot {
	char *key;
	void *value;
};

struct map {
	struct map_slot *slots;
	size_t n;   /* entries */
	size_t cap; /* power of two, 0 when empty */
	void (*free_value)(void *value);
};

#define auto_map __attribute__((cleanup(map_free)))

void map_free(struct map *m);
/* False (nothing changed) when the key is there already. */
bool map_add(struct map *m, const char *key, void *value);
void map_set(struct map *m, const char *key, void *value);
void *map_get(const struct map *m, const char *key); /* NULL when absent */
bool map_has(const struct map *m, const char *key);
/* Iterates in unspecified order: start with *pos = 0; false at the end. */
bool map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value);

#endif
