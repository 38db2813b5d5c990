/* volume_json.h - a VM's volumes as JSON, for ctl.sock and manifests, and back. Pure. */
#ifndef FCVM_SUPERVISE_VOLUME_JSON_H
#define FCVM_SUPERVISE_VOLUME_JSON_H

#include "json.h"
#include "volume.h"

/* The caller puts the result. NULL in, JSON null (NULL) out. */
struct json_object *volumes_to_json(const struct volume_list *l);
/* arr NULL: no volumes. At most VOLUMES_MAX, targets checked and distinct; every member is checked,
 * none is taken on trust. */
int volumes_from_json(struct json_object *arr, struct volume_list *ret, struct err *err);

#endif
