#include "json.h"

#include "cleanup.h"
#include "file.h"
#include "xalloc.h"

#include <errno.h>
#include <string.h>

#define JSON_DEPTH_MAX 32

void json_put_p(struct json_object **o)
{
	json_object_put(*o);
	*o = NULL;
}

static void free_tokener(struct json_tokener **tok)
{
	if (*tok)
		json_tokener_free(*tok);
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r\n", text[i]))
			return false;
	return true;
}

int json_parse(const char *text, size_t len, struct json_object **ret, struct err *err)
{
	__attribute__((cleanup(free_tokener))) struct json_tokener *tok =
		json_tokener_new_ex(JSON_DEPTH_MAX);

	if (!tok)
		return err_set(err, ERR_FAILED, -ENOMEM, "cannot make a JSON parser");
	if (len > JSON_TEXT_MAX)
		return err_set(err, ERR_FAILED, -EFBIG, "JSON text of %zu bytes, limit %u", len,
			       JSON_TEXT_MAX);
	/* json-c would take a zero byte for the end and never look at what follows. */
	const char *zero = len ? memchr(text, '\0', len) : NULL;
	if (zero)
		return err_set(err, ERR_FAILED, -EINVAL, "invalid JSON at byte %zu: zero byte",
			       (size_t)(zero - text));
	json_tokener_set_flags(tok, JSON_TOKENER_VALIDATE_UTF8 | JSON_TOKENER_STRICT |
					    JSON_TOKENER_ALLOW_TRAILING_CHARS);
	auto_json struct json_object *o = json_tokener_parse_ex(tok, text, (int)len);
	size_t end = json_tokener_get_parse_end(tok);
	/* A number at the very end is only over when the text is. */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		o = json_tokener_parse_ex(tok, "", 1);
	enum json_tokener_error e = json_tokener_get_error(tok);
	if (e != json_tokener_success)
		return err_set(err, ERR_FAILED, -EINVAL, "invalid JSON at byte %zu: %s", end,
			       json_tokener_error_desc(e));
	if (!is_blank(text + end, len - end))
		return err_set(err, ERR_FAILED, -EINVAL,
			       "invalid JSON at byte %zu: more text after the value", end);
	*ret = o;
	o = NULL;
	return 0;
}

int json_load(const char *path, struct json_object **ret, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(JSON_TEXT_MAX);
	auto_json struct json_object *o = NULL;
	int r = file_read(path, JSON_TEXT_MAX, &text, err);

	if (r < 0)
		return r;
	r = json_parse(buf_str(&text), text.len, &o, err);
	if (r < 0)
		return err_wrap(err, "'%s'", path);
	if (!json_object_is_type(o, json_type_object))
		return err_set(err, ERR_FAILED, -EINVAL, "'%s': expected a JSON object", path);
	*ret = TAKE_PTR(o);
	return 0;
}

int json_save(const char *path, struct json_object *o, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(SIZE_MAX);

	buf_add_str(&text, json_object_to_json_string_ext(
				   o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					      JSON_C_TO_STRING_NOSLASHESCAPE));
	buf_add_char(&text, '\n');
	/* What we write we must be able to read again. */
	if (text.len > JSON_TEXT_MAX)
		return err_set(err, ERR_FAILED, -EFBIG, "cannot save '%s': %zu bytes, limit %u",
			       path, text.len, JSON_TEXT_MAX);
	return file_replace(path, text.data, text.len, 0600, err);
}

/* --- readers --- */

/* The member, NULL when absent or null or o is no object. */
static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (!json_object_is_type(o, json_type_object))
		return NULL;
	return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static int required(struct json_object *o, const char *key, enum json_type type, const char *noun,
		    struct json_object **ret, struct err *err)
{
	struct json_object *v = member(o, key);

	if (!v)
		return err_set(err, ERR_FAILED, -EINVAL, "key '%s' is missing, wanted %s", key,
			       noun);
	if (!json_object_is_type(v, type))
		return err_set(err, ERR_FAILED, -EINVAL, "key '%s': wanted %s, got %s", key, noun,
			       json_type_to_name(json_object_get_type(v)));
	*ret = v;
	return 0;
}

/* False for a string with a zero byte: half of it would be all we see. */
static bool is_plain_string(struct json_object *v)
{
	return (size_t)json_object_get_string_len(v) == strlen(json_object_get_string(v));
}

int json_get_str(struct json_object *o, const char *key, const char **ret, struct err *err)
{
	struct json_object *v = NULL;
	int r = required(o, key, json_type_string, "a string", &v, err);

	if (r < 0)
		return r;
	if (!is_plain_string(v))
		return err_set(err, ERR_FAILED, -EINVAL, "key '%s': zero byte in a string", key);
	*ret = json_object_get_string(v);
	return 0;
}

int json_get_u64(struct json_object *o, const char *key, uint64_t *ret, struct err *err)
{
	struct json_object *v = NULL;
	int r = required(o, key, json_type_int, "a whole number", &v, err);

	if (r < 0)
		return r;
	if (json_object_get_int64(v) < 0)
		return err_set(err, ERR_FAILED, -ERANGE, "key '%s': wanted 0 or more, got %s", key,
			       json_object_get_string(v));
	*ret = json_object_get_uint64(v);
	return 0;
}

int json_get_i64(struct json_object *o, const char *key, int64_t *ret, struct err *err)
{
	struct json_object *v = NULL;
	int r = required(o, key, json_type_int, "a whole number", &v, err);

	if (r < 0)
		return r;
	int64_t i = json_object_get_int64(v);
	if (i == INT64_MAX && json_object_get_uint64(v) > INT64_MAX)
		return err_set(err, ERR_FAILED, -ERANGE, "key '%s': %s is too large", key,
			       json_object_get_string(v));
	*ret = i;
	return 0;
}

int json_get_bool(struct json_object *o, const char *key, bool *ret, struct err *err)
{
	struct json_object *v = NULL;
	int r = required(o, key, json_type_boolean, "true or false", &v, err);

	if (r < 0)
		return r;
	*ret = json_object_get_boolean(v);
	return 0;
}

int json_get_obj(struct json_object *o, const char *key, struct json_object **ret, struct err *err)
{
	return required(o, key, json_type_object, "an object", ret, err);
}

int json_get_arr(struct json_object *o, const char *key, struct json_object **ret, struct err *err)
{
	return required(o, key, json_type_array, "an array", ret, err);
}

const char *json_opt_str(struct json_object *o, const char *key, const char *dflt)
{
	struct json_object *v = member(o, key);

	if (!json_object_is_type(v, json_type_string) || !is_plain_string(v))
		return dflt;
	return json_object_get_string(v);
}

uint64_t json_opt_u64(struct json_object *o, const char *key, uint64_t dflt)
{
	struct json_object *v = member(o, key);

	if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0)
		return dflt;
	return json_object_get_uint64(v);
}

bool json_opt_bool(struct json_object *o, const char *key, bool dflt)
{
	struct json_object *v = member(o, key);

	return json_object_is_type(v, json_type_boolean) ? json_object_get_boolean(v) : dflt;
}

struct json_object *json_opt_obj(struct json_object *o, const char *key)
{
	struct json_object *v = member(o, key);

	return json_object_is_type(v, json_type_object) ? v : NULL;
}

/* --- builders --- */

void json_add(struct json_object *o, const char *key, struct json_object *v)
{
	json_object_object_add(o, key, v);
}

void json_add_str(struct json_object *o, const char *key, const char *s)
{
	json_add(o, key, s ? json_object_new_string(s) : NULL);
}

void json_add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_add(o, key, json_object_new_uint64(v));
}

void json_add_bool(struct json_object *o, const char *key, bool v)
{
	json_add(o, key, json_object_new_boolean(v));
}

struct json_object *json_strv(const struct strv *l)
{
	struct json_object *arr = json_object_new_array();

	for (size_t i = 0; i < l->n; i++)
		json_object_array_add(arr, json_object_new_string(l->v[i]));
	return arr;
}

int json_to_strv(struct json_object *arr, struct strv *ret, struct err *err)
{
	auto_strv struct strv l = {0};

	if (!json_object_is_type(arr, json_type_array))
		return err_set(err, ERR_FAILED, -EINVAL, "wanted an array of strings, got %s",
			       json_type_to_name(json_object_get_type(arr)));
	size_t n = json_object_array_length(arr);
	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(arr, i);
		if (!json_object_is_type(v, json_type_string) || !is_plain_string(v))
			return err_set(err, ERR_FAILED, -EINVAL,
				       "item %zu: wanted a string, got %s", i,
				       json_type_to_name(json_object_get_type(v)));
		strv_add(&l, json_object_get_string(v));
	}
	strv_add_all(ret, &l);
	return 0;
}

char *json_line(struct json_object *o)
{
	return xstrdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
}
