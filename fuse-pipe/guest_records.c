#include "guest_records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fp_wire.h"
#include "frame.h"
#include "xalloc.h"

#define BUCKETS_MIN 256u
#define ITEM_MAX (FP_ITEM_SIZE + FP_KEY_SIZE + FP_RECORD_MAX)

struct guest_record {
	struct guest_record *chain;
	uint16_t len; /* key and value */
	uint8_t data[];
};

/* Keys are the host's table indexes: any mixing does. */
static size_t hash(const uint8_t *key)
{
	uint64_t h = load_le64(key) * 0x9e3779b97f4a7c15u ^ load_le64(key + 8);

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9u;
	return (size_t)(h ^ h >> 32);
}

static struct guest_record **slot(const struct guest_records *records, const uint8_t *key)
{
	struct guest_record **p = &records->buckets[hash(key) & (records->n_buckets - 1)];

	while (*p && memcmp((*p)->data, key, FP_KEY_SIZE) != 0)
		p = &(*p)->chain;
	return p;
}

static void grow(struct guest_records *records)
{
	struct guest_records old = *records;

	records->n_buckets = old.n_buckets ? old.n_buckets * 2 : BUCKETS_MIN;
	records->buckets = xcalloc(records->n_buckets, sizeof(struct guest_record *));
	for (size_t i = 0; i < old.n_buckets; i++) {
		struct guest_record *next;

		for (struct guest_record *rec = old.buckets[i]; rec; rec = next) {
			struct guest_record **p = slot(records, rec->data);

			next = rec->chain;
			rec->chain = NULL;
			*p = rec;
		}
	}
	free(old.buckets);
}

int guest_records_keep(struct guest_records *records, const uint8_t *data, size_t len,
		       struct err *err)
{
	if (len <= FP_KEY_SIZE || len > FP_KEY_SIZE + FP_RECORD_MAX)
		return err_set(err, ERR_FAILED, -EPROTO, "record of %zu bytes", len);
	if (records->n >= records->n_buckets)
		grow(records);
	struct guest_record **p = slot(records, data);
	/* Better stale after a restart of the host than no host now. */
	if (!*p && records->n >= FP_RECORDS_MAX)
		return 0;
	struct guest_record *rec = xmalloc(sizeof(*rec) + len);
	rec->chain = *p ? (*p)->chain : NULL;
	rec->len = (uint16_t)len;
	memcpy(rec->data, data, len);
	if (*p)
		free(*p);
	else
		records->n++;
	*p = rec;
	return 0;
}

void guest_records_drop(struct guest_records *records, const uint8_t *key)
{
	struct guest_record **p = records->n ? slot(records, key) : NULL;

	if (!p || !*p)
		return;
	struct guest_record *rec = *p;
	*p = rec->chain;
	free(rec);
	records->n--;
}

static const struct guest_record *step(const struct guest_records *records,
				       struct guest_records_pos *pos)
{
	while (!pos->next && pos->bucket < records->n_buckets)
		pos->next = records->buckets[pos->bucket++];
	return pos->next;
}

bool guest_records_frame(const struct guest_records *records, struct guest_records_pos *pos,
			 struct buf *out)
{
	const struct guest_record *rec;
	size_t head = out->len, items;
	uint16_t n = 0;

	if (!buf_grow(out, FP_HEAD_SIZE))
		return false;
	items = out->len;
	while ((rec = step(records, pos)) && n < FP_ITEMS_MAX &&
	       out->len - items <= FP_TRAILER_MAX - ITEM_MAX) {
		fp_item_put(out, FP_T_KEEP, rec->data, rec->len);
		pos->next = rec->chain;
		n++;
	}
	if (!buf_ok(out))
		return false;
	fp_head_put((uint8_t *)out->data + head, rec ? FP_F_BARE : FP_F_BARE | FP_F_END, n, 0,
		    out->len - items);
	return rec != NULL;
}

void guest_records_free(struct guest_records *records)
{
	for (size_t i = 0; i < records->n_buckets; i++) {
		struct guest_record *next;

		for (struct guest_record *rec = records->buckets[i]; rec; rec = next) {
			next = rec->chain;
			free(rec);
		}
	}
	free(records->buckets);
	*records = (struct guest_records){0};
}
