/* health_target.c - the texts of a probe: where to, and what the answer says; pure. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "health_probe.h"
#include "parse.h"
#include "xalloc.h"

static int set_address(const char *host, struct probe_target *ret, struct err *err)
{
	struct in6_addr any;
	const char *address = host;

	if (!*host || strcmp(host, "localhost") == 0)
		address = "127.0.0.1";
	if (inet_pton(AF_INET, address, &any) != 1 && inet_pton(AF_INET6, address, &any) != 1)
		return err_set(err, ERR_GUEST, -EINVAL,
			       "health check host '%s' is not empty, localhost or an address",
			       host);
	(void)snprintf(ret->address, sizeof(ret->address), "%s", address);
	(void)snprintf(ret->host, sizeof(ret->host), "%s", *host ? host : "localhost");
	return 0;
}

/* "HOST", "HOST:PORT", ":PORT", "[V6]:PORT" */
static int parse_authority(const char *text, uint16_t dflt, struct probe_target *ret,
			   struct err *err)
{
	auto_free char *host = xstrdup(*text == '[' ? text + 1 : text);
	char *end = *text == '[' ? strchr(host, ']') : strchr(host, ':');
	uint64_t port = dflt;

	if (*text == '[' && (!end || (end[1] && end[1] != ':')))
		return err_set(err, ERR_GUEST, -EINVAL, "health check address '%s' is malformed",
			       text);
	const char *colon = end && *text == '[' ? end + 1 : end;
	if (colon && *colon == ':' && parse_u64(colon + 1, 1, 65535, &port, err) < 0)
		return err_wrap(err, "health check port in '%s'", text);
	if (port == 0)
		return err_set(err, ERR_GUEST, -EINVAL, "health check '%s' names no port", text);
	if (end)
		*end = '\0';
	ret->port = (uint16_t)port;
	return set_address(host, ret, err);
}

int probe_parse_http(const char *url, struct probe_target *ret, struct err *err)
{
	static const char scheme[] = "http://";
	struct probe_target t = {.path = "/"};

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return err_set(err, ERR_GUEST, -EINVAL,
			       "health check URL '%s' does not begin with http://", url);
	const char *rest = url + sizeof(scheme) - 1;
	size_t n = strcspn(rest, "/?");
	auto_free char *authority = xstrndup(rest, n);
	const char *path = rest + n;
	if (strlen(path) + 2 > sizeof(t.path) || strpbrk(url, " \r\n\t"))
		return err_set(err, ERR_GUEST, -EINVAL, "health check URL '%.64s' is malformed",
			       url);
	if (*path)
		(void)snprintf(t.path, sizeof(t.path), "%s%s", *path == '/' ? "" : "/", path);
	int r = parse_authority(authority, 80, &t, err);
	if (r == 0)
		*ret = t;
	return r;
}

int probe_parse_tcp(const char *text, struct probe_target *ret, struct err *err)
{
	struct probe_target t = {0};
	int r = parse_authority(text, 0, &t, err);

	if (r == 0)
		*ret = t;
	return r;
}

int probe_http_status(const char *text, size_t len)
{
	static const char head[] = "HTTP/1.";
	size_t n = len < sizeof(head) - 1 ? len : sizeof(head) - 1;

	if (memcmp(text, head, n) != 0)
		return -EBADMSG;
	if (len < 13)
		return 0;
	if (text[8] != ' ')
		return -EBADMSG;
	int status = 0;
	for (int i = 9; i < 12; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EBADMSG;
		status = status * 10 + (text[i] - '0');
	}
	return status < 100 || (text[12] != ' ' && text[12] != '\r') ? -EBADMSG : status;
}
