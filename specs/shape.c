#include "shape.h"

#include <arpa/inet.h>
#include <string.h>

#include "cleanup.h"
#include "parse.h"
#include "xalloc.h"

const char shape_sources[] = "oci-archive:FILE, docker-archive:FILE, oci:DIR or dir:DIR";

static bool is_number(const char *s, uint64_t min, uint64_t max)
{
	uint64_t value;

	return parse_u64(s, min, max, &value, NULL) >= 0;
}

static bool is_port(const char *s)
{
	return is_number(s, 1, 65535);
}

static bool is_ip(const char *s)
{
	struct in6_addr a;

	return inet_pton(AF_INET, s, &a) == 1 || inet_pton(AF_INET6, s, &a) == 1;
}

static bool is_ip4(const char *s)
{
	struct in_addr a;

	return inet_pton(AF_INET, s, &a) == 1;
}

static bool is_host(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");

	return n > 0 && n <= 253 && s[n] == '\0' && s[0] != '-' && s[0] != '.';
}

/* [HOST]:PORT; the port may be left out when it is not required. */
static bool is_endpoint(const char *s, size_t len, bool port_required)
{
	auto_free char *text = xstrndup(s, len);
	char *colon = strrchr(text, ':');

	if (!colon)
		return !port_required && is_host(text);
	*colon = '\0';
	return (!*text || is_host(text)) && is_port(colon + 1);
}

static bool is_http(const char *s)
{
	if (strncmp(s, "http://", 7) != 0)
		return false;
	size_t len = strcspn(s + 7, "/");

	for (const char *p = s; *p; p++) {
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return false;
	}
	return s[7 + len] == '/' && is_endpoint(s + 7, len, false);
}

static bool is_tcp(const char *s)
{
	return is_endpoint(s, strlen(s), true);
}

static bool is_url(const char *s)
{
	return (strncmp(s, "https://", 8) == 0 && s[8]) || (strncmp(s, "file:///", 8) == 0 && s[8]);
}

static bool is_sha256(const char *s)
{
	return strspn(s, "0123456789abcdef") == 64 && s[64] == '\0';
}

static bool is_percent(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || s[len - 1] != '%')
		return is_number(s, 1, 100000);
	auto_free char *number = xstrndup(s, len - 1);

	return is_number(number, 1, 100);
}

static bool is_destination(const char *s)
{
	auto_free char *text = xstrdup(s);
	char *slash = strrchr(text, '/');

	if (slash && (strcmp(slash, "/tcp") == 0 || strcmp(slash, "/udp") == 0))
		*slash = '\0';
	slash = strchr(text, '/');
	char *colon = strchr(text, ':');

	if (colon)
		*colon++ = '\0';
	if (colon && !is_port(colon))
		return false;
	if (slash)
		*slash++ = '\0';
	/* What looks like an address is one. */
	if (slash || text[strspn(text, "0123456789.")] == '\0')
		return is_ip4(text) && (!slash || is_number(slash, 0, 32));
	return is_host(text);
}

static const struct shape_row {
	bool (*is)(const char *);
	const char *wanted;
} rows[FIELD_TYPES] = {
	[FIELD_NAME] = {parse_is_name, "a name of at most 63 of a-z, 0-9 and '-'"},
	[FIELD_URL] = {is_url, "https://... or file:///..."},
	[FIELD_SHA256] = {is_sha256, "64 hexadecimal digits in lower case"},
	[FIELD_PERCENT] = {is_percent, "1% to 100%, or 1 to 100000"},
	[FIELD_HTTP] = {is_http, "http://[HOST]:PORT/PATH"},
	[FIELD_TCP] = {is_tcp, "[HOST]:PORT"},
	[FIELD_ADDRESS] = {is_ip, "an IP address"},
	[FIELD_EGRESS] = {is_destination,
			  "a name, an IPv4 address or a CIDR, then [:PORT][/tcp|udp]"},
};

bool shape_matches(enum field_type type, const char *text, const char **ret_wanted)
{
	*ret_wanted = rows[type].wanted;
	return rows[type].is(text);
}

bool shape_is_source(const char *text, bool *ret_later)
{
	static const struct {
		const char *prefix;
		bool later;
	} transports[] = {
		{"oci-archive:", false}, {"docker-archive:", false}, {"oci:", false},
		{"dir:", false},         {"docker://", true},        {"containers-storage:", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
		size_t n = strlen(transports[i].prefix);

		if (strncmp(text, transports[i].prefix, n) != 0 || !text[n])
			continue;
		*ret_later = transports[i].later;
		return true;
	}
	return false;
}
