#include "shared.h"

#include "cleanup.h"
#include "file.h"

bool shared_is_roots(const struct stat *st)
{
	return st->st_uid == 0 && !S_ISLNK(st->st_mode) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

char *shared_path(const struct host *host, const char *kind, const char *name)
{
	if (!host->shared_cache)
		return NULL;
	auto_free char *kind_dir = path_join(host->shared_cache, kind);
	auto_free char *path = path_join(kind_dir, name);
	const char *const way[] = {host->shared_cache, kind_dir, path};

	for (size_t i = 0; i < ARRAY_SIZE(way); i++) {
		struct stat st;

		if (lstat(way[i], &st) < 0 || !shared_is_roots(&st))
			return NULL;
	}
	return TAKE_PTR(path);
}
