/* json.h - typed reading and building over json-c; nothing else in the tree includes json-c.
 *
 * Readers name the missing or mistyped key in err (class ERR_FAILED). Input is bounded: at most
 * JSON_TEXT_MAX bytes and depth 32. struct json_object is reference counted by json-c: auto_json
 * drops one reference; json_add() gives the value to the object. */
#ifndef FCVM_BASE_JSON_H
#define FCVM_BASE_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "strv.h"

#define JSON_TEXT_MAX (16u << 20)

void json_put_p(struct json_object **o);
#define auto_json __attribute__((cleanup(json_put_p)))

/* Whole text is one value; trailing junk, duplicate-free not required, invalid UTF-8 refused. */
int json_parse(const char *text, size_t len, struct json_object **ret, struct err *err);
/* Reads and parses a regular file of at most JSON_TEXT_MAX bytes; it must hold an object. */
int json_load(const char *path, struct json_object **ret, struct err *err);
/* file_replace()s the pretty text plus newline; mode 0600. */
int json_save(const char *path, struct json_object *o, struct err *err);

/* Required members. Strings stay owned by o. */
int json_get_str(struct json_object *o, const char *key, const char **ret, struct err *err);
int json_get_u64(struct json_object *o, const char *key, uint64_t *ret, struct err *err);
int json_get_i64(struct json_object *o, const char *key, int64_t *ret, struct err *err);
int json_get_bool(struct json_object *o, const char *key, bool *ret, struct err *err);
int json_get_obj(struct json_object *o, const char *key, struct json_object **ret, struct err *err);
int json_get_arr(struct json_object *o, const char *key, struct json_object **ret, struct err *err);
/* Optional members: the default when absent or null or of another type. */
const char *json_opt_str(struct json_object *o, const char *key, const char *dflt);
uint64_t json_opt_u64(struct json_object *o, const char *key, uint64_t dflt);
bool json_opt_bool(struct json_object *o, const char *key, bool dflt);
struct json_object *json_opt_obj(struct json_object *o, const char *key); /* borrowed or NULL */

/* Builders. json_add takes ownership of v (NULL = JSON null). */
void json_add(struct json_object *o, const char *key, struct json_object *v);
void json_add_str(struct json_object *o, const char *key, const char *s); /* NULL = null */
void json_add_u64(struct json_object *o, const char *key, uint64_t v);
void json_add_bool(struct json_object *o, const char *key, bool v);
struct json_object *json_strv(const struct strv *l);
int json_to_strv(struct json_object *arr, struct strv *ret, struct err *err);
/* Compact one-line text; caller frees. */
char *json_line(struct json_object *o);

#endif
