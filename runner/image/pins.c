#include "pins.h"

#include "cleanup.h"
#include "file.h"
#include "shared.h"

#include <errno.h>
#include <sys/stat.h>

static int load(const char *path, struct json_object **ret, struct err *err)
{
	int r;

	if (!file_exists(path)) {
		*ret = json_object_new_object();
		return 0;
	}
	r = json_load(path, ret, err);
	if (r < 0) {
		(void)err_wrap(err, "cannot read the pinned versions in '%s'", path);
		return err_hint(err, "remove the file to pin the newest versions again");
	}
	return 0;
}

static int get_from(const char *path, const char *name, struct json_object **ret, struct err *err)
{
	auto_json struct json_object *pins = NULL;
	struct json_object *pin;
	int r = load(path, &pins, err);

	if (r < 0)
		return r;
	pin = json_opt_obj(pins, name);
	if (!pin)
		return 0;
	*ret = json_object_get(pin);
	return 1;
}

int pins_get(const struct host *host, const char *kind, const char *name, struct json_object **ret,
	     struct err *err)
{
	auto_free char *dir = host_cache_dir(host, kind);
	auto_free char *own = path_join(dir, "pins.json");
	int r = get_from(own, name, ret, err);

	if (r != 0)
		return r;
	auto_free char *shared = shared_path(host, kind, "pins.json");

	return shared ? get_from(shared, name, ret, err) : 0;
}

int pins_set(const struct host *host, const char *kind, const char *name, struct json_object *pin,
	     struct err *err)
{
	auto_json struct json_object *value = pin;
	auto_json struct json_object *pins = NULL;
	auto_free char *dir = host_cache_dir(host, kind);
	auto_free char *path = path_join(dir, "pins.json");
	auto_free char *lock_path = path_join(dir, ".pins.lock");
	auto_close int lock = -1;
	int r = file_mkdir_p(dir, 0755, err);

	if (r < 0)
		return r;
	r = file_lock(lock_path, true, 0, NULL, &lock, err);
	if (r < 0)
		return r;
	r = load(path, &pins, err);
	if (r < 0)
		return r;
	json_add(pins, name, TAKE_PTR(value));
	r = json_save(path, pins, err);
	if (r < 0)
		return r;
	/* plan run by a plain user reads it, too */
	return chmod(path, 0644) < 0 ? err_sys(err, "cannot make '%s' readable", path) : 0;
}
