#include "fc_api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "cleanup.h"
#include "fc_curl.h"
#include "io.h"
#include "xalloc.h"

#define FAULT_MAX 600

struct fc_api {
	const struct fc_curl *curl;
	CURL *easy;
	struct curl_slist *headers;
	char *dir;
	uid_t uid;
	struct buf reply;
	bool whole; /* the head came to its end: libcurl takes half of one for all of it */
};

struct request {
	const char *method, *path, *body; /* body NULL: none */
	long want;                        /* status */
};

static size_t on_reply(char *bytes, size_t size, size_t n, void *data)
{
	struct fc_api *api = data;

	buf_add(&api->reply, bytes, size * n);
	return buf_ok(&api->reply) ? size * n : 0;
}

static size_t on_head(char *line, size_t size, size_t n, void *data)
{
	struct fc_api *api = data;

	api->whole = size * n == 2 && memcmp(line, "\r\n", 2) == 0;
	return size * n;
}

static bool set_options(struct fc_api *api)
{
	CURL *e = api->easy;

	return api->curl->easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_WRITEFUNCTION, on_reply) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_WRITEDATA, api) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_HEADERDATA, api) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_HTTPHEADER, api->headers) == CURLE_OK;
}

int fc_api_new(const char *dir, uid_t uid, struct fc_api **ret, struct err *err)
{
	const struct fc_curl *curl = NULL;
	struct fc_api *api = NULL;
	int r = fc_curl_load(&curl, err);

	if (r < 0)
		return r;
	api = xcalloc(1, sizeof(*api));
	api->curl = curl;
	api->dir = xstrdup(dir);
	api->uid = uid;
	api->reply = (struct buf)BUF_INIT(FC_REPLY_MAX);
	api->easy = api->curl->easy_init();
	/* It would honour 100-continue, at the price of a round trip. */
	api->headers = api->curl->slist_append(NULL, "Expect:");
	if (api->headers)
		(void)api->curl->slist_append(api->headers, "Content-Type: application/json");
	if (!api->easy || !set_options(api)) {
		fc_api_free_p(&api);
		return err_set(err, ERR_FAILED, -ENOMEM, "cannot set up libcurl");
	}
	*ret = api;
	return 0;
}

void fc_api_free_p(struct fc_api **at)
{
	struct fc_api *api = TAKE_PTR(*at);

	if (!api)
		return;
	api->curl->easy_cleanup(api->easy);
	api->curl->slist_free_all(api->headers);
	buf_free(&api->reply);
	free(api->dir);
	free(api);
}

static bool set_request(struct fc_api *api, const struct request *q, int sock, uint64_t deadline_ms)
{
	CURL *e = api->easy;
	auto_free char *url = xasprintf("http://localhost%s", q->path);
	auto_free char *at = xasprintf("/proc/self/fd/%d", sock);
	int left = deadline_left(deadline_ms);

	if (!q->body && (api->curl->easy_setopt(e, CURLOPT_HTTPGET, 1L) != CURLE_OK))
		return false;
	if (q->body &&
	    (api->curl->easy_setopt(e, CURLOPT_POSTFIELDS, q->body) != CURLE_OK ||
	     api->curl->easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)strlen(q->body)) != CURLE_OK))
		return false;
	/* 0 would be no limit at all. */
	return api->curl->easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, at) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_TIMEOUT_MS, left < 0 ? 0L : (long)left + 1) ==
		       CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_CUSTOMREQUEST, q->method) == CURLE_OK &&
	       api->curl->easy_setopt(e, CURLOPT_URL, url) == CURLE_OK;
}

static int transport_error(const struct fc_api *api, CURLcode code, struct err *err)
{
	if (code == CURLE_OPERATION_TIMEDOUT)
		return err_set(err, ERR_FAILED, -ETIMEDOUT, "firecracker did not answer in time");
	if (!buf_ok(&api->reply))
		return err_set(err, ERR_GUEST, -EMSGSIZE,
			       "firecracker's answer is longer than %u bytes", FC_REPLY_MAX);
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_GOT_NOTHING ||
	    code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE)
		return err_set(err, ERR_FAILED, -ECONNRESET, "firecracker closed its API");
	return err_set(err, ERR_GUEST, -EPROTO, "firecracker's answer makes no sense: %s",
		       api->curl->easy_strerror(code));
}

/* What it says is for people: one line, printable. Its HTTP server's own errors are no JSON. */
static int refusal(const struct fc_api *api, long status, struct err *err)
{
	auto_json struct json_object *o = NULL;
	const char *reply = buf_str(&api->reply), *fault = reply;
	char text[FAULT_MAX];

	if (json_parse(reply, api->reply.len, &o, NULL) == 0 &&
	    json_object_is_type(o, json_type_object))
		fault = json_opt_str(o, "fault_message", reply);
	(void)snprintf(text, sizeof(text), "%s", *fault ? fault : "no reason given");
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	return err_set(err, ERR_FAILED, -EREMOTEIO, "firecracker refuses (%ld): %s", status, text);
}

/* No link is followed, the socket is the VMM's own, and its path may be longer than an address. */
static int perform(struct fc_api *api, const struct request *q, uint64_t deadline_ms,
		   struct err *err)
{
	auto_close int sock = -1;
	long status = 0;
	CURLcode code;
	int r = io_unix_find_owned(api->dir, FC_API_SOCK, api->uid, &sock, err);

	if (r < 0)
		return r;
	buf_reset(&api->reply);
	api->whole = false;
	if (!set_request(api, q, sock, deadline_ms))
		return err_set(err, ERR_FAILED, -ENOMEM, "cannot set up a request");
	code = api->curl->easy_perform(api->easy);
	if (code != CURLE_OK)
		return transport_error(api, code, err);
	if (!api->whole)
		return transport_error(api, CURLE_PARTIAL_FILE, err);
	if (api->curl->easy_getinfo(api->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK ||
	    status != q->want)
		return refusal(api, status, err);
	return 0;
}

static int call(struct fc_api *api, const struct request *q, uint64_t deadline_ms, struct err *err)
{
	int r = perform(api, q, deadline_ms, err);

	return r < 0 ? err_wrap(err, "%s %s", q->method, q->path) : 0;
}

/* body is freed. */
static int send_body(struct fc_api *api, const char *method, const char *path, char *body,
		     uint64_t deadline_ms, struct err *err)
{
	auto_free char *owned = body;
	const struct request q = {method, path, owned, 204};

	return call(api, &q, deadline_ms, err);
}

int fc_api_put_machine(struct fc_api *api, const struct vm_config *c, uint64_t deadline_ms,
		       struct err *err)
{
	return send_body(api, "PUT", "/machine-config", fc_json_machine(c), deadline_ms, err);
}

int fc_api_put_boot_source(struct fc_api *api, const struct vm_config *c, uint64_t deadline_ms,
			   struct err *err)
{
	return send_body(api, "PUT", "/boot-source", fc_json_boot(c), deadline_ms, err);
}

int fc_api_put_drive(struct fc_api *api, const struct vm_config *c, size_t i, uint64_t deadline_ms,
		     struct err *err)
{
	auto_free char *path = xasprintf("/drives/d%zu", i);

	return send_body(api, "PUT", path, fc_json_drive(c, i), deadline_ms, err);
}

int fc_api_put_nic(struct fc_api *api, uint64_t deadline_ms, struct err *err)
{
	return send_body(api, "PUT", "/network-interfaces/" FC_NIC, fc_json_nic(), deadline_ms,
			 err);
}

int fc_api_put_vsock(struct fc_api *api, uint64_t deadline_ms, struct err *err)
{
	return send_body(api, "PUT", "/vsock", fc_json_vsock(), deadline_ms, err);
}

int fc_api_put_entropy(struct fc_api *api, uint64_t deadline_ms, struct err *err)
{
	return send_body(api, "PUT", "/entropy", xstrdup("{}"), deadline_ms, err);
}

int fc_api_put_mmds_config(struct fc_api *api, uint64_t deadline_ms, struct err *err)
{
	return send_body(api, "PUT", "/mmds/config", fc_json_mmds_config(), deadline_ms, err);
}

int fc_api_put_mmds(struct fc_api *api, const char *data, uint64_t deadline_ms, struct err *err)
{
	return send_body(api, "PUT", "/mmds", xstrdup(data), deadline_ms, err);
}

int fc_api_put_action(struct fc_api *api, const char *type, uint64_t deadline_ms, struct err *err)
{
	int r = send_body(api, "PUT", "/actions", fc_json_action(type), deadline_ms, err);

	return r < 0 ? err_wrap(err, "%s", type) : 0;
}

int fc_api_patch_vm(struct fc_api *api, const char *state, uint64_t deadline_ms, struct err *err)
{
	int r = send_body(api, "PATCH", "/vm", fc_json_vm_state(state), deadline_ms, err);

	return r < 0 ? err_wrap(err, "%s", state) : 0;
}

int fc_api_put_snapshot_create(struct fc_api *api, uint64_t deadline_ms, struct err *err)
{
	return send_body(api, "PUT", "/snapshot/create", fc_json_snapshot(), deadline_ms, err);
}

int fc_api_put_snapshot_load(struct fc_api *api, const struct fc_load *l, uint64_t deadline_ms,
			     struct err *err)
{
	return send_body(api, "PUT", "/snapshot/load", fc_json_load(l), deadline_ms, err);
}

int fc_api_get_state(struct fc_api *api, char *ret, size_t size, uint64_t deadline_ms,
		     struct err *err)
{
	static const struct request q = {"GET", "/", NULL, 200};
	auto_json struct json_object *o = NULL;
	const char *state = NULL;
	int r = call(api, &q, deadline_ms, err);

	if (r == 0)
		r = json_parse(buf_str(&api->reply), api->reply.len, &o, err);
	if (r == 0)
		r = json_get_str(o, "state", &state, err);
	if (r < 0)
		return r;
	(void)snprintf(ret, size, "%s", state);
	return 0;
}
