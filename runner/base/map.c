#include "map.h"

#include "xalloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

/* FNV-1a, started from this process's random bytes: nobody can prepare keys that all collide. */
static uint64_t hash(const char *key)
{
	uint64_t h = 14695981039346656037u;
	uint64_t seed = 0;
	/* Given as a number by the kernel; the bytes are copied, whatever their alignment. */
	const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM);

	if (random)
		memcpy(&seed, random, sizeof(seed));
	h ^= seed;
	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 1099511628211u;
	return h ^ h >> 32;
}

/* The key's slot, or the free one where it belongs. cap > n, so there is always one. */
static struct map_slot *find(const struct map *m, const char *key)
{
	size_t i = hash(key) & (m->cap - 1);

	while (m->slots[i].key && strcmp(m->slots[i].key, key) != 0)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

static void grow(struct map *m)
{
	struct map bigger = {.cap = m->cap ? m->cap * 2 : 16};

	if (m->n < m->cap / 4 * 3)
		return;
	bigger.slots = xcalloc(bigger.cap, sizeof(*bigger.slots));
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key)
			*find(&bigger, m->slots[i].key) = m->slots[i];
	free(m->slots);
	m->slots = bigger.slots;
	m->cap = bigger.cap;
}

void map_free(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++) {
		if (!m->slots[i].key)
			continue;
		free(m->slots[i].key);
		if (m->free_value)
			m->free_value(m->slots[i].value);
	}
	free(m->slots);
	m->slots = NULL;
	m->n = 0;
	m->cap = 0;
}

bool map_add(struct map *m, const char *key, void *value)
{
	if (map_has(m, key))
		return false;
	grow(m);
	*find(m, key) = (struct map_slot){xstrdup(key), value};
	m->n++;
	return true;
}

void map_set(struct map *m, const char *key, void *value)
{
	if (map_add(m, key, value))
		return;
	struct map_slot *slot = find(m, key);
	if (m->free_value && slot->value != value)
		m->free_value(slot->value);
	slot->value = value;
}

void *map_get(const struct map *m, const char *key)
{
	return m->cap ? find(m, key)->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
	return m->cap && find(m, key)->key;
}

bool map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value)
{
	for (; *pos < m->cap; (*pos)++) {
		const struct map_slot *slot = &m->slots[*pos];

		if (!slot->key)
			continue;
		*ret_key = slot->key;
		if (ret_value)
			*ret_value = slot->value;
		(*pos)++;
		return true;
	}
	return false;
}
