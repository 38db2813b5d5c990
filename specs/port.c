#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "parse.h"
#include "xalloc.h"

static int refuse(struct err *err, const char *wanted, const char *text)
{
	return err_set(err, ERR_SPEC, -EINVAL, "expected %s, got '%.100s'", wanted, text);
}

/* Cuts "/tcp" or "/udp" off. */
static int cut_protocol(char *text, bool *ret_udp, struct err *err)
{
	char *slash = strrchr(text, '/');

	*ret_udp = slash && strcmp(slash, "/udp") == 0;
	if (slash && !*ret_udp && strcmp(slash, "/tcp") != 0)
		return refuse(err, "/tcp or /udp", slash);
	if (slash)
		*slash = '\0';
	return 0;
}

/* From the left; at most three, which may be empty. */
static size_t split(char *text, char *parts[3])
{
	size_t n = 1;

	parts[0] = text;
	for (char *colon; n < 3 && (colon = strchr(parts[n - 1], ':')); n++) {
		*colon = '\0';
		parts[n] = colon + 1;
	}
	return n;
}

static int parse_number(const char *text, const char *whose, uint16_t *ret, struct err *err)
{
	auto_free char *wanted = xasprintf("a %s port of 1 to 65535", whose);
	uint64_t value;

	if (parse_u64(text, 1, UINT16_MAX, &value, NULL) < 0)
		return refuse(err, wanted, text);
	*ret = (uint16_t)value;
	return 0;
}

static int set_address(const char *text, struct port *p, struct err *err)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		return refuse(err, "an IPv4 address of this machine", text);
	(void)snprintf(p->host_ip, sizeof(p->host_ip), "%s", text);
	return 0;
}

int port_parse(const char *text, struct port *ret, struct err *err)
{
	auto_free char *copy = xstrdup(text);
	char *parts[3];
	struct port p = {0};
	int r = cut_protocol(copy, &p.udp, err);
	size_t n = split(copy, parts);
	/* 127.0.0.1:80 leaves the host's port out. */
	bool bare_ip = n == 2 && strchr(parts[0], '.');

	if (r < 0)
		return r;
	if (!parts[n - 1][0] || strchr(parts[n - 1], ':'))
		return refuse(err, "[IP:][HOST:]GUEST[/tcp|udp]", text);
	r = parse_number(parts[n - 1], "guest", &p.guest_port, err);
	p.host_port = p.guest_port;
	if (r >= 0 && n > 1 && !bare_ip)
		r = parse_number(parts[n - 2], "host", &p.host_port, err);
	if (r >= 0 && n > 1)
		r = set_address(n == 3 || bare_ip ? parts[0] : "127.0.0.1", &p, err);
	if (r < 0)
		return r;
	*ret = p;
	return 0;
}

const char *port_name(const struct port *p, char ret[PORT_TEXT_SIZE])
{
	(void)snprintf(ret, PORT_TEXT_SIZE, "%s:%u/%s", p->host_ip, p->host_port,
		       p->udp ? "udp" : "tcp");
	return ret;
}

const char *port_text(const struct port *p, char ret[PORT_TEXT_SIZE])
{
	const char *udp = p->udp ? "/udp" : "";

	if (*p->host_ip)
		(void)snprintf(ret, PORT_TEXT_SIZE, "%s:%u:%u%s", p->host_ip, p->host_port,
			       p->guest_port, udp);
	else
		(void)snprintf(ret, PORT_TEXT_SIZE, "%u%s", p->guest_port, udp);
	return ret;
}
