#include "qemu_sight.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

/* Where users keep things, and other programs their sockets. */
static const char *const usual[] = {"/home", "/run", "/tmp", "/var/tmp", "/dev/shm"};

static void add_dir(struct qemu_sight *s, const char *dir)
{
	if (dir && dir[0] == '/' && dir[1] && s->hide.n_dirs < HIDE_DIRS_MAX)
		s->hide.dirs[s->hide.n_dirs++] = dir;
}

static void add_keep(struct qemu_sight *s, const char *path, bool writable)
{
	if (s->hide.n_keep < HIDE_KEEP_MAX)
		s->hide.keep[s->hide.n_keep++] =
			(struct hide_keep){.path = path, .writable = writable};
}

/* Takes path. */
static const char *own(struct qemu_sight *s, char *path)
{
	s->owned[s->n_owned++] = path;
	return path;
}

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash != path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* A QEMU of the user's own: PREFIX/bin has PREFIX/share beside it. */
static void keep_binary(struct qemu_sight *s, const char *binary)
{
	for (size_t i = 0; i < s->hide.n_dirs; i++) {
		if (!is_below(binary, s->hide.dirs[i]))
			continue;
		auto_free char *bin = directory_of(binary);
		auto_free char *prefix = directory_of(bin);

		add_keep(s, own(s, path_join(prefix, "share/qemu")), false);
		add_keep(s, own(s, TAKE_PTR(bin)), false);
		return;
	}
}

void qemu_sight_of(const struct vm *vm, const char *binary, const char *memory,
		   struct qemu_sight *ret)
{
	struct qemu_sight s = {.hide.cwd = vm->vm_dir};

	add_dir(&s, vm->host->getenv("HOME"));
	add_dir(&s, vm->host->data_dir);
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		add_dir(&s, usual[i]);
	keep_binary(&s, binary);
	add_keep(&s, own(&s, path_join(vm->host->data_dir, "cache")), false);
	if (vm->host->shared_cache)
		add_keep(&s, vm->host->shared_cache, false);
	if (memory)
		add_keep(&s, own(&s, directory_of(memory)), false);
	add_keep(&s, vm->vm_dir, true);
	*ret = s;
}

void qemu_sight_free(struct qemu_sight *s)
{
	for (size_t i = 0; i < s->n_owned; i++)
		free(s->owned[i]);
	*s = (struct qemu_sight){0};
}
