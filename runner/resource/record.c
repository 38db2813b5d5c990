#include "record.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "file.h"
#include "io.h"
#include "xalloc.h"

#define FILE_NAME_MAX 180

char *record_file_name(const char *name)
{
	auto_buf struct buf b = BUF_INIT(FILE_NAME_MAX);

	for (const char *p = name; *p; p++) {
		if (isalnum((unsigned char)*p) || (strchr("._@-", *p) && p != name))
			buf_add_char(&b, *p);
		else
			buf_addf(&b, "%%%02x", (unsigned char)*p);
	}
	if (buf_ok(&b))
		return buf_detach(&b);

	char hex[DIGEST_HEX_SIZE];
	digest_of(name, strlen(name), hex);
	return xasprintf("%.100s~%.32s", buf_str(&b), hex);
}

static char *kind_dir(const char *set_dir, enum resource_kind kind)
{
	return xasprintf("%s/records/%s", set_dir, resource_ops_of(kind)->kind);
}

static char *record_file(const char *set_dir, enum resource_kind kind, const char *name)
{
	auto_free char *file = record_file_name(name);

	return xasprintf("%s/records/%s/%s.json", set_dir, resource_ops_of(kind)->kind, file);
}

int record_parse(const char *text, size_t len, struct json_object **ret,
		 enum resource_kind *ret_kind, const char **ret_name, struct err *err)
{
	auto_json struct json_object *o = NULL;
	const char *kind, *name;
	uint64_t version;
	int r = json_parse(text, len, &o, err);

	if (r < 0)
		return r;
	if (!json_object_is_type(o, json_type_object))
		return err_set(err, ERR_FAILED, -EBADMSG, "a record is a JSON object");
	if ((r = json_get_u64(o, "v", &version, err)) < 0 ||
	    (r = json_get_str(o, "kind", &kind, err)) < 0 ||
	    (r = json_get_str(o, "name", &name, err)) < 0)
		return r;
	if (version != RECORD_VERSION)
		return err_set(err, ERR_FAILED, -EPROTO,
			       "record version %llu, this fcvm knows version %d",
			       (unsigned long long)version, RECORD_VERSION);
	int k = resource_kind_by_name(kind);
	if (k < 0)
		return err_set(err, ERR_FAILED, -EBADMSG, "unknown record kind '%.40s'", kind);
	if (!*name || strlen(name) > 4096)
		return err_set(err, ERR_FAILED, -EBADMSG, "record has no usable name");
	*ret_kind = (enum resource_kind)k;
	*ret_name = name;
	*ret = TAKE_PTR(o);
	return 0;
}

/* The record's own kind and name must lead back to the file it was found in. */
static int load_file(const char *path, const char *file, enum resource_kind kind,
		     struct json_object **ret, const char **ret_name, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(RECORD_MAX);
	auto_json struct json_object *o = NULL;
	enum resource_kind k = RESOURCE_KINDS;
	const char *name = NULL;
	int r = file_read(path, RECORD_MAX, &text, err);

	if (r == -ENOENT)
		return r;
	if (r >= 0)
		r = record_parse(text.data, text.len, &o, &k, &name, err);
	if (r < 0)
		return err_wrap(err, "record '%s'", path);
	auto_free char *own = record_file_name(name);
	if (k != kind || strncmp(own, file, strlen(own)) != 0 ||
	    strcmp(file + strlen(own), ".json") != 0)
		return err_set(err, ERR_FAILED, -EBADMSG, "record '%s' says it is %s/%.80s", path,
			       resource_ops_of(k)->kind, name);
	*ret = TAKE_PTR(o);
	*ret_name = name;
	return 0;
}

static bool is_record_file(const char *file)
{
	size_t len = strlen(file);

	return file[0] != '.' && len > 5 && strcmp(file + len - 5, ".json") == 0;
}

static int visit(const char *dir, const char *file, enum resource_kind kind, record_fn fn,
		 void *data, struct buf *skipped, struct err *err)
{
	auto_free char *path = path_join(dir, file);
	struct json_object *o = NULL;
	const char *name = NULL;
	struct err why = {0};
	int r = load_file(path, file, kind, &o, &name, &why);

	if (r == -ENOENT)
		return 0;
	if (r < 0 && skipped) {
		buf_addf(skipped, "%s\n", why.msg);
		return 0;
	}
	if (r < 0) {
		*err = why;
		return err_hint(err, "fcvm destroy removes the set whatever its records say");
	}
	return fn(data, kind, name, o, err);
}

int record_each(const char *set_dir, enum resource_kind kind, record_fn fn, void *data,
		struct buf *skipped, struct err *err)
{
	auto_free char *dir = kind_dir(set_dir, kind);
	auto_closedir DIR *d = opendir(dir);

	if (!d && errno == ENOENT)
		return 0;
	if (!d)
		return err_sys(err, "cannot read records in '%s'", dir);
	for (struct dirent *e; (errno = 0, e = readdir(d));) {
		if (!is_record_file(e->d_name))
			continue;
		int r = visit(dir, e->d_name, kind, fn, data, skipped, err);
		if (r != 0)
			return r;
	}
	return errno ? err_sys(err, "cannot read records in '%s'", dir) : 0;
}

int record_load(const char *set_dir, enum resource_kind kind, const char *name,
		struct json_object **ret, struct err *err)
{
	auto_free char *path = record_file(set_dir, kind, name);
	const char *own = NULL;

	return load_file(path, strrchr(path, '/') + 1, kind, ret, &own, err);
}

int record_save(const char *set_dir, struct json_object *record, struct err *err)
{
	const char *kind, *name;
	int r;

	if ((r = json_get_str(record, "kind", &kind, err)) < 0 ||
	    (r = json_get_str(record, "name", &name, err)) < 0)
		return r;
	auto_free char *dir = kind_dir(set_dir, (enum resource_kind)resource_kind_by_name(kind));
	auto_free char *file = record_file_name(name);
	auto_free char *path = xasprintf("%s/%s.json", dir, file);

	r = file_mkdir_p(dir, 0700, err);
	return r < 0 ? r : json_save(path, record, err);
}

int record_remove(const char *set_dir, enum resource_kind kind, const char *name, struct err *err)
{
	auto_free char *path = record_file(set_dir, kind, name);

	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(err, "cannot remove record '%s'", path);
	return 0;
}

void record_refresh(struct json_object *record, const struct node *node,
		    const struct field_list *want, const struct need_list *needs)
{
	struct json_object *keys = json_object_new_object();

	for (size_t i = 0; i < needs->n; i++) {
		const struct node *n = needs->v[i].node;
		auto_free char *address = resource_address(n->kind, n->name);

		json_add_str(keys, address, n->key);
	}
	json_add_str(record, "digest", node->digest);
	json_add_str(record, "key", node->key);
	json_add(record, "spec", field_list_to_json(want));
	json_add(record, "needs", keys);
}

struct json_object *record_new(const struct resource_ctx *ctx, const struct node *node,
			       const struct field_list *want, const struct need_list *needs)
{
	struct json_object *o = json_object_new_object();
	auto_free char *address = resource_address(node->kind, node->name);
	auto_free char *path = resource_spec_path(node, NULL);
	auto_free char *tag =
		xasprintf("%s/%s/%s", ctx->set, resource_ops_of(node->kind)->kind, node->name);
	char now[IO_TIME_SIZE];

	io_time_rfc3339(ctx->host->unix_ms(), now);
	json_add_u64(o, "v", RECORD_VERSION);
	json_add_str(o, "kind", resource_ops_of(node->kind)->kind);
	json_add_str(o, "name", node->name);
	json_add_str(o, "address", address);
	json_add_str(o, "tag", tag);
	json_add_str(o, "run", ctx->run);
	json_add_str(o, "state", "creating");
	json_add_str(o, "created_at", now);
	json_add_str(o, "path", path);
	json_add_u64(o, "index", node->index);
	record_refresh(o, node, want, needs);
	return o;
}

void record_set_state(struct json_object *record, const char *state)
{
	json_add_str(record, "state", state);
}

const char *record_state(struct json_object *record)
{
	return record ? json_opt_str(record, "state", "") : "";
}

int record_mark_removing(const char *set_dir, struct json_object *record, struct err *err)
{
	if (!record)
		return 0;
	record_set_state(record, "removing");
	return record_save(set_dir, record, err);
}

struct json_object *record_proc(const struct proc_id *id)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "pid", (uint64_t)id->pid);
	json_add_u64(o, "start_time", id->start_time);
	json_add_str(o, "boot_id", id->boot_id);
	return o;
}

bool record_get_proc(struct json_object *record, const char *key, struct proc_id *ret)
{
	struct json_object *o = json_opt_obj(record, key);
	uint64_t pid = o ? json_opt_u64(o, "pid", 0) : 0;

	if (pid == 0 || pid > INT32_MAX)
		return false;
	*ret = (struct proc_id){
		.pid = (pid_t)pid,
		.start_time = json_opt_u64(o, "start_time", 0),
	};
	snprintf(ret->boot_id, sizeof(ret->boot_id), "%s", json_opt_str(o, "boot_id", ""));
	return true;
}

const char *record_path(struct json_object *record, const char *key, const char *set_dir)
{
	const char *path = record ? json_opt_str(record, key, NULL) : NULL;
	size_t len = strlen(set_dir);

	if (!path || strncmp(path, set_dir, len) != 0 || path[len] != '/' || !path[len + 1] ||
	    strstr(path, "/../") || strcmp(path + strlen(path) - 1, "/") == 0)
		return NULL;
	size_t n = strlen(path);
	return n >= 3 && strcmp(path + n - 3, "/..") == 0 ? NULL : path;
}

size_t record_old_count(struct json_object *record)
{
	struct json_object *old = NULL;

	if (!record || !json_object_object_get_ex(record, "old", &old) ||
	    !json_object_is_type(old, json_type_array))
		return 0;
	return json_object_array_length(old);
}

struct json_object *record_old_at(struct json_object *record, size_t i)
{
	struct json_object *old = NULL;

	(void)json_object_object_get_ex(record, "old", &old);
	return json_object_array_get_idx(old, i);
}

void record_keep_old(struct json_object *record, struct json_object *before,
		     const char *const *keys, size_t n_keys)
{
	struct json_object *list = json_object_new_array();
	struct json_object *own = json_object_new_object();

	if (!before) {
		json_put_p(&list);
		json_put_p(&own);
		return;
	}
	for (size_t i = 0; i < record_old_count(before); i++)
		json_object_array_add(list, json_object_get(record_old_at(before, i)));
	for (size_t i = 0; i < n_keys; i++) {
		struct json_object *v = NULL;

		if (json_object_object_get_ex(before, keys[i], &v))
			json_add(own, keys[i], json_object_get(v));
	}
	json_object_array_add(list, own);
	json_add(record, "old", list);
}
