/* workload_json.h - what runs in a VM as JSON, for ctl.sock and manifests, and back. */
#ifndef FCVM_SUPERVISE_WORKLOAD_JSON_H
#define FCVM_SUPERVISE_WORKLOAD_JSON_H

#include "client.h"

#define HOOKS_MAX 64u

/* The caller puts the results. NULL in, JSON null (NULL) out. */
struct json_object *workload_to_json(const struct workload *w);
struct json_object *healthspec_to_json(const struct health_spec *h);
struct json_object *hooks_to_json(const struct hook *hooks, size_t n);

/* *ret is the caller's to free; every member is checked, none is taken on trust. */
int workload_from_json(struct json_object *o, struct workload *ret, struct err *err);
int healthspec_from_json(struct json_object *o, struct health_spec *ret, struct err *err);
/* arr NULL: no hooks. */
int hooks_from_json(struct json_object *arr, struct hook **ret, size_t *ret_n, struct err *err);

void healthspec_free(struct health_spec *h);
void hooks_free(struct hook *hooks, size_t n);
bool healthspec_has_check(const struct health_spec *h);
#define auto_workload __attribute__((cleanup(workload_free)))
#define auto_health __attribute__((cleanup(healthspec_free)))

#endif
