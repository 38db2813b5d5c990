#include "volset.h"

#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "proto.h"
#include "volserver.h"
#include "volstate.h"
#include "volume_head.h"
#include "xalloc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_DIR "volumes"
#define SEND_MS 1000

struct volset {
	struct volserver *servers[VOLUMES_MAX];
	size_t n;
};

/* --- start ---------------------------------------------------------------------------------- */

struct starting {
	struct loop *loop;
	const struct volset_spec *spec;
	const char *state_dir;
	struct buf saved; /* VOLSTATE_FILE */
	bool restored;    /* it is there */
};

static int open_state(const struct starting *st, size_t number, int *ret_fd, struct err *err)
{
	auto_free char *path = xasprintf("%s/%zu.state", st->state_dir, number);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, "cannot make '%s'", path);
	*ret_fd = fd;
	return 0;
}

/* Of the directory itself: to another one none of it belongs. */
static int open_saved(const struct starting *st, const struct volstate_found *found, int *ret_fd,
		      struct err *err)
{
	auto_free char *name = xasprintf(VOLSTATE_SAVED, (unsigned long long)found->saved);
	auto_free char *path = path_join(st->spec->snapshot_dir, name);

	if (!found->same || !found->saved)
		return 0;
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd < 0 ? err_sys(err, "cannot open '%s'", path) : 0;
}

static int start_one(const struct starting *st, const struct volume_mount *m, struct volset *v,
		     struct err *err)
{
	struct volserver_spec spec = {.host = st->spec->host, .mount = m, .tag = st->spec->tag};
	struct volstate_source source = {0};
	auto_close int state = -1, saved = -1;
	struct volstate_found found = {0};
	int r = volstate_look(m->source, &source, err);

	if (r >= 0)
		r = open_state(st, v->n, &state, err);
	if (r >= 0 && st->restored)
		r = volstate_take(&st->saved, m->target, &source, state, &found, err);
	spec.rekey = r > 0 && !found.same;
	if (r > 0)
		r = open_saved(st, &found, &saved, err);
	if (r < 0)
		return err_wrap(err, "volume '%s'", m->name);
	spec.saved_fd = saved >= 0 ? saved : 0;
	spec.state_fd = state;
	r = volserver_start(st->loop, &spec, &v->servers[v->n], err);
	if (r < 0)
		return r;
	(void)TAKE_FD(state);
	v->n++;
	return 0;
}

static int read_saved(struct starting *st, struct err *err)
{
	auto_free char *path = NULL;
	struct err why = {0};
	int r = 0;

	if (!st->spec->snapshot_dir)
		return 0;
	path = path_join(st->spec->snapshot_dir, VOLSTATE_FILE);
	r = file_read(path, VOLSTATE_MAX, &st->saved, &why);
	st->restored = r >= 0;
	if (r < 0 && r != -ENOENT) {
		if (err)
			*err = why;
		return r;
	}
	return 0;
}

static bool has_host(const struct volume_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].type == VOLUME_HOST)
			return true;
	return false;
}

static int start_all(const struct starting *st, struct volset *v, struct err *err)
{
	const struct volume_list *list = st->spec->list;
	int r = file_remove_tree(st->state_dir, err);

	if (r >= 0 && mkdir(st->state_dir, 0700) < 0)
		r = err_sys(err, "cannot make '%s'", st->state_dir);
	for (size_t i = 0; r >= 0 && i < list->n && v->n < VOLUMES_MAX; i++)
		if (list->v[i].type == VOLUME_HOST)
			r = start_one(st, &list->v[i], v, err);
	return r;
}

int volset_start(struct loop *loop, const struct volset_spec *spec, struct volset **ret,
		 struct err *err)
{
	struct volset *v = xcalloc(1, sizeof(*v));
	auto_free char *dir = path_join(spec->dir, STATE_DIR);
	struct starting st = {
		.loop = loop, .spec = spec, .state_dir = dir, .saved = BUF_INIT(VOLSTATE_MAX + 1)};
	int r = 0;

	if (!has_host(spec->list)) {
		free(v);
		return 0;
	}
	r = read_saved(&st, err);

	if (r >= 0)
		r = start_all(&st, v, err);
	buf_free(&st.saved);
	if (r < 0) {
		volset_stop(v);
		return r;
	}
	*ret = v;
	return 0;
}

void volset_stop(struct volset *v)
{
	if (!v)
		return;
	volserver_stop_all(v->servers, v->n);
	free(v);
}

/* --- streams -------------------------------------------------------------------------------- */

static struct volserver *find(const struct volset *v, const char *target)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(volserver_mount(v->servers[i])->target, target) == 0)
			return v->servers[i];
	return NULL;
}

void volset_want(struct volset *v, struct vchan *chan, const char *target, uint64_t stream)
{
	struct volserver *server = v ? find(v, target) : NULL;
	auto_buf struct buf head = BUF_INIT(VOLUME_HEAD_MAX);
	auto_close int fd = -1;

	if (!server || stream >= VOLUME_STREAMS_MAX)
		return;
	volume_head_put(&head, target, stream);
	if (vchan_open(chan, AGENT_PORT_VOLUMES, &fd, NULL) >= 0 &&
	    io_write_full(fd, head.data, head.len, deadline_in(SEND_MS), NULL) >= 0)
		volserver_give(server, TAKE_FD(fd));
}

/* --- snapshot ------------------------------------------------------------------------------- */

static int make_file(const char *path, int *ret_fd, struct err *err)
{
	*ret_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
	return *ret_fd < 0 ? err_sys(err, "cannot make '%s'", path) : 0;
}

static int write_file(const char *dir, const struct buf *out, struct err *err)
{
	auto_free char *path = path_join(dir, VOLSTATE_FILE);
	auto_close int fd = -1;
	int r = make_file(path, &fd, err);

	if (r >= 0)
		r = file_write_fd(fd, out->data, out->len, err);
	if (r >= 0 && fsync(fd) < 0)
		r = err_sys(err, "cannot write '%s'", path);
	return r;
}

/* *ret_number is 0 where the guest has nothing that needs it. */
static int save_open(struct volserver *server, const char *dir, uint64_t number,
		     uint64_t *ret_number, struct err *err)
{
	auto_free char *name = xasprintf(VOLSTATE_SAVED, (unsigned long long)number);
	auto_free char *path = path_join(dir, name);
	auto_close int fd = -1;
	struct stat st = {0};
	int r = make_file(path, &fd, err);

	if (r >= 0)
		r = volserver_save(server, fd, err);
	if (r >= 0 && (fstat(fd, &st) < 0 || fsync(fd) < 0))
		r = err_sys(err, "cannot write '%s'", path);
	*ret_number = st.st_size ? number : 0;
	if (r >= 0 && !st.st_size && unlink(path) < 0)
		r = err_sys(err, "cannot remove '%s'", path);
	return r;
}

static int save_one(struct volserver *server, const char *dir, uint64_t number, struct buf *out,
		    struct err *err)
{
	const struct volume_mount *m = volserver_mount(server);
	struct volstate_source source = {0};
	uint64_t saved = 0;
	int r = volstate_look(m->source, &source, err);

	if (r >= 0)
		r = save_open(server, dir, number, &saved, err);
	return r < 0 ? r
		     : volstate_put(out, m->target, &source, volserver_state(server), saved, err);
}

int volset_save(struct volset *v, const char *dir, struct err *err)
{
	auto_buf struct buf out = BUF_INIT(VOLSTATE_MAX);
	int r = 0;

	if (!v || v->n == 0)
		return 0;
	for (size_t i = 0; r >= 0 && i < v->n; i++)
		r = volserver_drain(v->servers[i], err);
	for (size_t i = 0; r >= 0 && i < v->n; i++)
		r = save_one(v->servers[i], dir, i + 1, &out, err);
	return r < 0 ? r : write_file(dir, &out, err);
}
