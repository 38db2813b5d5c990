#include "net_config.h"

#include <arpa/inet.h>
#include <errno.h>

#include "buf.h"
#include "cleanup.h"
#include "parse.h"
#include "xalloc.h"

#define TEXT_MAX 300u /* a name of 253, a port, a protocol */
#define LABEL_MAX 63u
#define NAME_MAX_LEN 253u

static const char *const mode_names[] = {
	[NET_NONE] = "none",
	[NET_BRIDGED] = "bridged",
	[NET_ROOTLESS] = "rootless",
};

static const char *const proto_names[] = {
	[NET_PROTO_ANY] = NULL,
	[NET_PROTO_TCP] = "tcp",
	[NET_PROTO_UDP] = "udp",
};

void net_config_free(struct net_config *c)
{
	for (size_t i = 0; i < c->n_allow; i++)
		free(c->allow[i].name);
	free(c->allow);
	free(c->ports);
	strv_free(&c->dns);
	*c = (struct net_config){0};
}

void net_config_copy(const struct net_config *from, struct net_config *ret)
{
	*ret = (struct net_config){
		.mode = from->mode,
		.n_ports = from->n_ports,
		.egress_deny = from->egress_deny,
		.n_allow = from->n_allow,
	};
	ret->ports = xcalloc(from->n_ports + 1, sizeof(*ret->ports));
	ret->allow = xcalloc(from->n_allow + 1, sizeof(*ret->allow));
	for (size_t i = 0; i < from->n_ports; i++)
		ret->ports[i] = from->ports[i];
	for (size_t i = 0; i < from->n_allow; i++) {
		ret->allow[i] = from->allow[i];
		if (from->allow[i].name)
			ret->allow[i].name = xstrdup(from->allow[i].name);
	}
	strv_add_all(&ret->dns, &from->dns);
}

bool net_config_same_egress(const struct net_config *a, const struct net_config *b)
{
	bool same = a->egress_deny == b->egress_deny && a->n_allow == b->n_allow;

	for (size_t i = 0; same && i < a->n_allow; i++) {
		auto_free char *one = net_allow_text(&a->allow[i]);
		auto_free char *other = net_allow_text(&b->allow[i]);

		same = strcmp(one, other) == 0;
	}
	return same;
}

const char *net_mode_name(enum net_mode mode)
{
	return mode_names[mode];
}

int net_mode_parse(const char *text, enum net_mode *ret, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			*ret = (enum net_mode)i;
			return 0;
		}
	}
	return err_set(err, ERR_SPEC, -EINVAL,
		       "network mode: expected none, bridged or rootless, got '%s'", text);
}

/* --- pieces ---------------------------------------------------------------------------------- */

static int parse_port(const char *text, const char *whole, uint16_t *ret, struct err *err)
{
	uint64_t port = 0;

	if (parse_u64(text, 1, UINT16_MAX, &port, NULL) < 0)
		return err_set(err, ERR_SPEC, -EINVAL,
			       "expected a port from 1 to 65535, got '%s' in '%s'", text, whole);
	*ret = (uint16_t)port;
	return 0;
}

/* Cuts a trailing "/tcp" or "/udp" off. */
static enum net_proto cut_proto(char *text)
{
	char *slash = strrchr(text, '/');

	for (size_t i = NET_PROTO_TCP; slash && i < ARRAY_SIZE(proto_names); i++) {
		if (strcmp(slash + 1, proto_names[i]) == 0) {
			*slash = '\0';
			return (enum net_proto)i;
		}
	}
	return NET_PROTO_ANY;
}

static int parse_ip4(const char *text, uint32_t *ret)
{
	struct in_addr addr = {0};

	if (inet_pton(AF_INET, text, &addr) != 1)
		return -EINVAL;
	*ret = ntohl(addr.s_addr);
	return 0;
}

static void format_ip4(uint32_t addr, char ret[NET_IP4_SIZE])
{
	struct in_addr in = {.s_addr = htonl(addr)};

	(void)inet_ntop(AF_INET, &in, ret, NET_IP4_SIZE);
}

static int check_length(const char *text, struct err *err)
{
	if (strlen(text) <= TEXT_MAX)
		return 0;
	return err_set(err, ERR_SPEC, -EINVAL, "'%.40s...' is longer than %u bytes", text,
		       TEXT_MAX);
}

/* --- ports ----------------------------------------------------------------------------------- */

static int set_host_ip(const char *text, struct net_port *p, struct err *err)
{
	uint32_t addr = 0;

	if (parse_ip4(text, &addr) < 0)
		return err_set(err, ERR_SPEC, -EINVAL, "expected an IPv4 address, got '%s'", text);
	format_ip4(addr, p->host_ip);
	return 0;
}

static bool is_any(const char *ip)
{
	return strcmp(ip, "0.0.0.0") == 0;
}

bool net_port_clashes(const struct net_port *a, const struct net_port *b)
{
	if (a->udp != b->udp || a->host_port != b->host_port)
		return false;
	return is_any(a->host_ip) || is_any(b->host_ip) || strcmp(a->host_ip, b->host_ip) == 0;
}

/* --- egress ---------------------------------------------------------------------------------- */

static bool label_is_fine(const char *s, size_t len)
{
	if (len == 0 || len > LABEL_MAX || s[0] == '-' || s[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!(s[i] >= 'a' && s[i] <= 'z') && !(s[i] >= '0' && s[i] <= '9') && s[i] != '-' &&
		    s[i] != '_')
			return false;
	return true;
}

/* Lower case, no trailing dot; the last label is no number, so that no address passes for a name.
 */
static bool make_name(char *s)
{
	size_t len = strlen(s);
	const char *last = s;

	if (len > 0 && s[len - 1] == '.')
		s[--len] = '\0';
	if (len == 0 || len > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] >= 'A' && s[i] <= 'Z')
			s[i] = (char)(s[i] - 'A' + 'a');
	for (;;) {
		size_t n = strcspn(last, ".");

		if (!label_is_fine(last, n))
			return false;
		if (last[n] == '\0')
			break;
		last += n + 1;
	}
	return strspn(last, "0123456789") != strlen(last);
}

static int parse_cidr(char *text, struct net_allow *a)
{
	char *slash = strchr(text, '/');
	uint64_t prefix = 32;

	if (slash) {
		*slash = '\0';
		if (parse_u64(slash + 1, 0, 32, &prefix, NULL) < 0)
			return -EINVAL;
	}
	if (parse_ip4(text, &a->addr) < 0)
		return -EINVAL;
	a->prefix = (uint8_t)prefix;
	a->addr &= prefix ? UINT32_MAX << (32 - prefix) : 0;
	return 0;
}

static int parse_place(char *text, const char *whole, struct net_allow *a, struct err *err)
{
	bool is_cidr = strchr(text, '/') != NULL;

	if (parse_cidr(text, a) == 0)
		return 0;
	if (is_cidr || !make_name(text))
		return err_set(
			err, ERR_SPEC, -EINVAL,
			"expected an IPv4 address, a CIDR or a name, then [:PORT][/tcp|/udp], "
			"got '%s'",
			whole);
	a->name = xstrdup(text);
	return 0;
}

int net_allow_parse(const char *text, struct net_allow *ret, struct err *err)
{
	auto_free char *rest = NULL;
	struct net_allow a = {0};
	char *colon = NULL;
	int r = check_length(text, err);

	if (r < 0)
		return r;
	rest = xstrdup(text);
	a.proto = cut_proto(rest);
	colon = strrchr(rest, ':');
	if (colon) {
		*colon = '\0';
		r = parse_port(colon + 1, text, &a.port, err);
	}
	if (r >= 0)
		r = parse_place(rest, text, &a, err);
	if (r >= 0)
		*ret = a;
	return r;
}

char *net_allow_text(const struct net_allow *a)
{
	auto_buf struct buf text = BUF_INIT(2 * TEXT_MAX);
	char ip[NET_IP4_SIZE];

	format_ip4(a->addr, ip);
	if (a->name)
		buf_add_str(&text, a->name);
	else if (a->prefix == 32)
		buf_add_str(&text, ip);
	else
		buf_addf(&text, "%s/%u", ip, a->prefix);
	if (a->port)
		buf_addf(&text, ":%u", a->port);
	if (a->proto != NET_PROTO_ANY)
		buf_addf(&text, "/%s", proto_names[a->proto]);
	return buf_detach(&text);
}

int net_dns_check(const char *text, struct err *err)
{
	struct in6_addr v6;
	uint32_t v4 = 0;

	if (strlen(text) < INET6_ADDRSTRLEN &&
	    (parse_ip4(text, &v4) == 0 || inet_pton(AF_INET6, text, &v6) == 1))
		return 0;
	return err_set(err, ERR_SPEC, -EINVAL, "expected a resolver's address, got '%.60s'", text);
}

/* --- JSON ------------------------------------------------------------------------------------ */

struct json_object *net_port_to_json(const struct net_port *p)
{
	struct json_object *o = json_object_new_object();

	json_add_str(o, "host_ip", p->host_ip[0] ? p->host_ip : NULL);
	json_add_u64(o, "host_port", p->host_port);
	json_add_u64(o, "guest_port", p->guest_port);
	json_add_str(o, "proto", p->udp ? "udp" : "tcp");
	return o;
}

struct json_object *net_config_to_json(const struct net_config *c)
{
	struct json_object *o = NULL, *ports = NULL;
	auto_strv struct strv allow = {0};

	if (!c)
		return NULL;
	o = json_object_new_object();
	ports = json_object_new_array();
	for (size_t i = 0; i < c->n_ports; i++)
		json_object_array_add(ports, net_port_to_json(&c->ports[i]));
	for (size_t i = 0; i < c->n_allow; i++)
		strv_add_take(&allow, net_allow_text(&c->allow[i]));
	json_add_str(o, "mode", net_mode_name(c->mode));
	json_add(o, "ports", ports);
	json_add_str(o, "egress", c->egress_deny ? "deny" : "allow");
	json_add(o, "allow", json_strv(&allow));
	json_add(o, "dns", json_strv(&c->dns));
	return o;
}

static int port_number(struct json_object *o, const char *key, uint16_t *ret, struct err *err)
{
	uint64_t port = 0;
	int r = json_get_u64(o, key, &port, err);

	if (r < 0)
		return r;
	if (port == 0 || port > UINT16_MAX)
		return err_set(err, ERR_FAILED, -ERANGE, "'%s' is no port", key);
	*ret = (uint16_t)port;
	return 0;
}

static int port_from_json(struct json_object *o, struct net_port *p, struct err *err)
{
	const char *ip = json_opt_str(o, "host_ip", NULL), *proto = NULL;
	int r = port_number(o, "host_port", &p->host_port, err);

	if (r >= 0)
		r = port_number(o, "guest_port", &p->guest_port, err);
	if (r >= 0)
		r = json_get_str(o, "proto", &proto, err);
	if (r >= 0 && ip)
		r = set_host_ip(ip, p, err);
	if (r < 0)
		return r;
	p->udp = strcmp(proto, "udp") == 0;
	if (!p->udp && strcmp(proto, "tcp") != 0)
		return err_set(err, ERR_FAILED, -EINVAL, "'proto' is neither tcp nor udp");
	return 0;
}

static int array_of(struct json_object *o, const char *key, size_t max, struct json_object **ret,
		    size_t *ret_n, struct err *err)
{
	int r = json_get_arr(o, key, ret, err);

	if (r < 0)
		return r;
	*ret_n = json_object_array_length(*ret);
	if (*ret_n > max)
		return err_set(err, ERR_FAILED, -EMSGSIZE, "'%s' has more than %zu entries", key,
			       max);
	return 0;
}

int net_ports_from_json(struct json_object *o, struct net_config *c, struct err *err)
{
	struct json_object *arr = NULL;
	size_t n = 0;
	int r = array_of(o, "ports", NET_PORTS_MAX, &arr, &n, err);

	if (r < 0)
		return r;
	c->ports = xcalloc(n + 1, sizeof(*c->ports));
	for (size_t i = 0; i < n && r >= 0; i++) {
		r = port_from_json(json_object_array_get_idx(arr, i), &c->ports[i], err);
		c->n_ports = i + 1;
	}
	return r;
}

static int texts_of(struct json_object *o, const char *key, size_t max, struct strv *ret,
		    struct err *err)
{
	struct json_object *arr = NULL;
	size_t n = 0;
	int r = array_of(o, key, max, &arr, &n, err);

	return r < 0 ? r : json_to_strv(arr, ret, err);
}

static int egress_from_json(struct json_object *o, struct net_config *c, struct err *err)
{
	auto_strv struct strv allow = {0};
	const char *egress = NULL;
	int r = json_get_str(o, "egress", &egress, err);

	if (r >= 0)
		r = texts_of(o, "allow", NET_ALLOW_MAX, &allow, err);
	if (r < 0)
		return r;
	c->egress_deny = strcmp(egress, "deny") == 0;
	if (!c->egress_deny && strcmp(egress, "allow") != 0)
		return err_set(err, ERR_FAILED, -EINVAL, "'egress' is neither allow nor deny");
	c->allow = xcalloc(allow.n + 1, sizeof(*c->allow));
	for (size_t i = 0; i < allow.n && r >= 0; i++) {
		r = net_allow_parse(allow.v[i], &c->allow[i], err);
		c->n_allow += r >= 0;
	}
	return r;
}

static int dns_from_json(struct json_object *o, struct net_config *c, struct err *err)
{
	int r = texts_of(o, "dns", NET_DNS_MAX, &c->dns, err);

	for (size_t i = 0; i < c->dns.n && r >= 0; i++)
		r = net_dns_check(c->dns.v[i], err);
	return r;
}

int net_config_from_json(struct json_object *o, struct net_config *ret, struct err *err)
{
	auto_net_config struct net_config c = {0};
	const char *mode = NULL;
	int r = json_get_str(o, "mode", &mode, err);

	if (r >= 0)
		r = net_mode_parse(mode, &c.mode, err);
	if (r >= 0)
		r = net_ports_from_json(o, &c, err);
	if (r >= 0)
		r = egress_from_json(o, &c, err);
	if (r >= 0)
		r = dns_from_json(o, &c, err);
	if (r < 0)
		return err_wrap(err, "network");
	*ret = c;
	c = (struct net_config){0};
	return 0;
}
