/* ctl.h - ctl.sock: the supervisor's end of client.h. Frames (base/frame.h) of JSON:
 *   HELLO    both ways, first: {"proto":1,"fcvm":"0.1.0"}
 *   REQUEST  client, once: {"verb":"...","args":{...}}
 *   PROGRESS server, any number: {"text":"..."}
 *   REPLY    server, last: {"ok":true,"result":...} or {"ok":false,"class","code","msg","hint"}
 * Only root and the supervisor's own uid are served. All input is bounded and checked; what is
 * malformed ends its connection and nothing else. */
#ifndef FCVM_SUPERVISE_CTL_H
#define FCVM_SUPERVISE_CTL_H

#include "err.h"
#include "json.h"
#include "loop.h"

#define CTL_SOCK "ctl.sock"
#define CTL_CONNS_MAX 256u

enum ctl_frame { CTL_HELLO = 1, CTL_REQUEST, CTL_PROGRESS, CTL_REPLY };

struct ctl;
struct ctl_request; /* valid until answered, also when its client has gone */

/* Must answer req now or later, exactly once. args may be NULL, and is borrowed for the call. */
typedef void (*ctl_handler)(void *data, struct ctl_request *req, const char *verb,
			    struct json_object *args);

int ctl_new(struct loop *loop, const char *path, ctl_handler fn, void *data, struct ctl **ret,
	    struct err *err);
/* Sends what is queued for at most a second, closes everything and removes the socket. */
void ctl_free(struct ctl *ctl);

/* What is waited for; dropped when the client reads too slowly. */
void ctl_progress(struct ctl_request *req, const char *text);
void ctl_reply(struct ctl_request *req, struct json_object *result); /* takes result; may be NULL */
void ctl_fail(struct ctl_request *req, const struct err *why);
/* fn runs once when the client goes before the answer; the request still wants its answer. */
void ctl_on_gone(struct ctl_request *req, void (*fn)(void *data, struct ctl_request *req),
		 void *data);

#endif
