#include "workload_json.h"

#include "cleanup.h"
#include "xalloc.h"

#include <errno.h>

#define TEXT_MAX 65536u
#define WORDS_MAX 4096u

void healthspec_free(struct health_spec *h)
{
	free(h->http);
	free(h->tcp);
	strv_free(&h->exec);
	*h = (struct health_spec){0};
}

void workload_free(struct workload *w)
{
	free(w->name);
	free(w->image);
	free(w->store_serial);
	strv_free(&w->entrypoint);
	strv_free(&w->command);
	strv_free(&w->environment);
	free(w->user);
	free(w->workdir);
	healthspec_free(&w->health);
	*w = (struct workload){0};
}

void hooks_free(struct hook *hooks, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(hooks[i].container);
		strv_free(&hooks[i].argv);
	}
	free(hooks);
}

bool healthspec_has_check(const struct health_spec *h)
{
	return h->http || h->tcp || h->exec.n > 0;
}

struct json_object *healthspec_to_json(const struct health_spec *h)
{
	struct json_object *o = NULL;

	if (!h)
		return NULL;
	o = json_object_new_object();
	json_add_str(o, "http", h->http);
	json_add_str(o, "tcp", h->tcp);
	json_add(o, "exec", json_strv(&h->exec));
	json_add_u64(o, "interval_ms", h->interval_ms);
	json_add_u64(o, "start_interval_ms", h->start_interval_ms);
	json_add_u64(o, "timeout_ms", h->timeout_ms);
	json_add_u64(o, "start_period_ms", h->start_period_ms);
	json_add_u64(o, "retries", h->retries);
	return o;
}

struct json_object *workload_to_json(const struct workload *w)
{
	struct json_object *o = NULL;

	if (!w)
		return NULL;
	o = json_object_new_object();
	json_add_str(o, "name", w->name);
	json_add_str(o, "image", w->image);
	json_add_str(o, "store_serial", w->store_serial);
	json_add(o, "entrypoint", json_strv(&w->entrypoint));
	json_add(o, "command", json_strv(&w->command));
	json_add(o, "environment", json_strv(&w->environment));
	json_add_str(o, "user", w->user);
	json_add_str(o, "workdir", w->workdir);
	json_add(o, "health", healthspec_to_json(&w->health));
	return o;
}

struct json_object *hooks_to_json(const struct hook *hooks, size_t n)
{
	struct json_object *arr = json_object_new_array();

	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_new_object();

		json_add_str(o, "container", hooks[i].container);
		json_add(o, "argv", json_strv(&hooks[i].argv));
		json_add_u64(o, "timeout_ms", hooks[i].timeout_ms);
		json_object_array_add(arr, o);
	}
	return arr;
}

/* A string member that may be null; anything else there is refused. */
static int opt_text(struct json_object *o, const char *key, char **ret, struct err *err)
{
	struct json_object *v = NULL;
	const char *s = NULL;
	int r = 0;

	if (!json_object_object_get_ex(o, key, &v) || !v)
		return 0;
	r = json_get_str(o, key, &s, err);
	if (r < 0)
		return r;
	if (strlen(s) > TEXT_MAX)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "'%s' is longer than %u bytes", key,
			       TEXT_MAX);
	*ret = xstrdup(s);
	return 0;
}

static int words(struct json_object *o, const char *key, struct strv *ret, struct err *err)
{
	struct json_object *arr = NULL;
	int r = json_get_arr(o, key, &arr, err);

	if (r < 0)
		return r;
	if (json_object_array_length(arr) > WORDS_MAX)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "'%s' has more than %u words", key,
			       WORDS_MAX);
	return json_to_strv(arr, ret, err);
}

static int health_times(struct json_object *o, struct health_spec *h, struct err *err)
{
	const struct {
		const char *key;
		uint64_t *to;
	} members[] = {
		{"interval_ms", &h->interval_ms},
		{"start_interval_ms", &h->start_interval_ms},
		{"timeout_ms", &h->timeout_ms},
		{"start_period_ms", &h->start_period_ms},
	};
	uint64_t retries = 0;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		r = json_get_u64(o, members[i].key, members[i].to, err);
		if (r < 0)
			return r;
	}
	r = json_get_u64(o, "retries", &retries, err);
	if (r < 0)
		return r;
	if (retries > UINT32_MAX)
		return err_set(err, ERR_FAILED, -ERANGE, "'retries' is out of range");
	h->retries = (uint32_t)retries;
	return 0;
}

int healthspec_from_json(struct json_object *o, struct health_spec *ret, struct err *err)
{
	auto_health struct health_spec h = {0};
	int r = opt_text(o, "http", &h.http, err);

	if (r >= 0)
		r = opt_text(o, "tcp", &h.tcp, err);
	if (r >= 0)
		r = words(o, "exec", &h.exec, err);
	if (r >= 0)
		r = health_times(o, &h, err);
	if (r < 0)
		return err_wrap(err, "health check");
	if (!!h.http + !!h.tcp + (h.exec.n > 0) > 1)
		return err_set(err, ERR_FAILED, -EINVAL,
			       "health check: at most one of http, tcp and exec");
	*ret = h;
	h = (struct health_spec){0};
	return 0;
}

static int workload_words(struct json_object *o, struct workload *w, struct err *err)
{
	int r = words(o, "entrypoint", &w->entrypoint, err);

	if (r >= 0)
		r = words(o, "command", &w->command, err);
	if (r >= 0)
		r = words(o, "environment", &w->environment, err);
	return r;
}

static int workload_texts(struct json_object *o, struct workload *w, struct err *err)
{
	const struct {
		const char *key;
		char **to;
	} members[] = {
		{"name", &w->name}, {"image", &w->image},     {"store_serial", &w->store_serial},
		{"user", &w->user}, {"workdir", &w->workdir},
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		int r = opt_text(o, members[i].key, members[i].to, err);

		if (r < 0)
			return r;
	}
	if (!w->name || !w->image)
		return err_set(err, ERR_FAILED, -EINVAL, "a name and an image are required");
	return 0;
}

int workload_from_json(struct json_object *o, struct workload *ret, struct err *err)
{
	auto_workload struct workload w = {0};
	struct json_object *health = NULL;
	int r = workload_texts(o, &w, err);

	if (r >= 0)
		r = workload_words(o, &w, err);
	if (r >= 0)
		r = json_get_obj(o, "health", &health, err);
	if (r >= 0)
		r = healthspec_from_json(health, &w.health, err);
	if (r < 0)
		return err_wrap(err, "workload");
	*ret = w;
	w = (struct workload){0};
	return 0;
}

static int hook_from_json(struct json_object *o, struct hook *hook, struct err *err)
{
	int r = opt_text(o, "container", &hook->container, err);

	if (r >= 0)
		r = words(o, "argv", &hook->argv, err);
	if (r >= 0)
		r = json_get_u64(o, "timeout_ms", &hook->timeout_ms, err);
	if (r >= 0 && hook->argv.n == 0)
		r = err_set(err, ERR_FAILED, -EINVAL, "a hook needs a command");
	return r;
}

int hooks_from_json(struct json_object *arr, struct hook **ret, size_t *ret_n, struct err *err)
{
	struct hook *hooks = NULL;
	size_t n = 0;

	if (arr && !json_object_is_type(arr, json_type_array))
		return err_set(err, ERR_FAILED, -EINVAL, "hooks are not a list");
	n = arr ? json_object_array_length(arr) : 0;
	if (n > HOOKS_MAX)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "%zu hooks, limit %u", n, HOOKS_MAX);
	hooks = n ? xcalloc(n, sizeof(*hooks)) : NULL;
	for (size_t i = 0; i < n; i++) {
		int r = hook_from_json(json_object_array_get_idx(arr, i), &hooks[i], err);

		if (r < 0) {
			hooks_free(hooks, n);
			return err_wrap(err, "hook %zu", i);
		}
	}
	*ret = hooks;
	*ret_n = n;
	return 0;
}
