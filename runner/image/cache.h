/* cache.h - one directory per key under <data>/cache/KIND: built beside, published by rename.
 *
 * An entry is immutable: its files, and meta.json with the size and SHA-256 of each and what they
 * were made of. A flock per key (KIND/.locks/KEY) lets one process build while the others wait;
 * a builder that is killed leaves a .tmp-KEY.* directory, which the next builder of this kind
 * removes. An entry whose meta.json or files do not fit each other counts as absent. An ordinary
 * user finds what the system's cache has, too (shared.h); they build in their own. */
#ifndef FCVM_IMAGE_CACHE_H
#define FCVM_IMAGE_CACHE_H

#include "assets.h"
#include "json.h"

struct cache_entry {
	char *dir;
	struct json_object *meta; /* format, key, made_of, files */
};
#define auto_cache_entry __attribute__((cleanup(cache_entry_free)))
void cache_entry_free(struct cache_entry *e);
/* Absolute path of a file of the entry; caller frees. */
char *cache_entry_path(const struct cache_entry *e, const char *name);
/* A member of made_of, "" when absent; borrowed from the entry. */
const char *cache_entry_made_of(const struct cache_entry *e, const char *key);
/* SHA-256 of a file of the entry as recorded when it was made; "" when there is no such file. */
const char *cache_entry_sha256(const struct cache_entry *e, const char *name);

struct cache_build {
	/* Fills dir (absolute, empty, ours alone) and made_of; whatever it leaves is published. */
	int (*make)(void *data, const char *dir, struct json_object *made_of, struct err *err);
	void *data;
	const char *what; /* for sentences: "kernel 'linux-image-cloud-amd64'" */
	bool executable;  /* files get 0755 instead of 0644 */
	const struct asset_progress *progress;
};

/* 1 and *ret when the entry is there, 0 when not. Reads meta.json only, starts nothing. */
int cache_lookup(const struct host *host, const char *kind, const char *key,
		 struct cache_entry *ret, struct err *err);
/* The entry, built first if it is absent; waits for another builder of the same key. */
int cache_ensure(const struct host *host, const char *kind, const char *key,
		 const struct cache_build *build, struct cache_entry *ret, struct err *err);

#endif
