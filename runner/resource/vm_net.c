#include "vm_net.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

#define ANY_ADDRESS "0.0.0.0"

/* What a node wants of the network; borrows from the spec. */
struct wish {
	const struct network_spec *network;
	char *entry; /* "fleets.web": where ports and network are said; the caller's */
	struct place network_at, ports_at;
	const struct port_spec *ports;
	size_t n_ports;
	const char *fleet, *name; /* of the clone: for templates */
	uint32_t index;
};

static struct wish wish_of_baseline(const struct baseline_spec *b)
{
	return (struct wish){
		.network = b->network,
		.entry = xasprintf("baselines.%s", b->name),
		.network_at = b->network_at,
		.ports = b->ports,
		.n_ports = b->n_ports,
		.fleet = "",
		.name = b->name,
	};
}

static struct wish wish_of(const struct node *node)
{
	const struct fleet_spec *f = node->spec;

	if (node->kind == RESOURCE_BASELINE)
		return wish_of_baseline(node->spec);
	/* What is inherited is said at the baseline. */
	bool own = f->network_ref || !f->from->from;
	return (struct wish){
		.network = f->network,
		.entry = xasprintf("fleets.%s", f->name),
		.network_at = own ? f->network_at : f->from->from->network_at,
		.ports_at = f->ports_at,
		.ports = f->ports,
		.n_ports = f->n_ports,
		.fleet = f->name,
		.name = node->name,
		.index = node->index,
	};
}

static int port_of(const struct wish *w, size_t i, struct port *ret, struct err *err)
{
	return fleet_port(&w->ports[i], w->fleet, w->index, w->name, ret, err);
}

enum net_mode vm_net_mode(const struct resource_choice *choice, const struct network_spec *n)
{
	enum net_mode mode = NET_NONE;

	if (strcmp(n->mode, "auto") == 0)
		return choice->auto_network;
	(void)net_mode_parse(n->mode, &mode, NULL); /* the spec has checked it */
	return mode;
}

static int add_ports(const struct wish *w, struct net_config *c, struct err *err)
{
	c->ports = xcalloc(w->n_ports + 1, sizeof(*c->ports));
	for (; c->n_ports < w->n_ports; c->n_ports++) {
		struct net_port *to = &c->ports[c->n_ports];
		struct port p;
		int r = port_of(w, c->n_ports, &p, err);

		if (r < 0)
			return r;
		*to = (struct net_port){
			.host_port = p.host_port, .guest_port = p.guest_port, .udp = p.udp};
		memcpy(to->host_ip, p.host_ip, sizeof(to->host_ip));
	}
	return 0;
}

static int add_allow(const struct network_spec *n, struct net_config *c, struct err *err)
{
	c->allow = xcalloc(n->egress_allow.n + 1, sizeof(*c->allow));
	for (; c->n_allow < n->egress_allow.n; c->n_allow++) {
		int r = net_allow_parse(n->egress_allow.v[c->n_allow], &c->allow[c->n_allow], err);

		if (r < 0)
			return err_wrap(err, "networks.%s.egress.allow", n->name);
	}
	return 0;
}

int vm_net_config(const struct resource_choice *choice, const struct node *node,
		  struct net_config *ret, struct err *err)
{
	struct wish w = wish_of(node);
	auto_net_config struct net_config c = {.mode = vm_net_mode(choice, w.network)};
	int r = 0;

	free(w.entry);
	if (c.mode != NET_NONE) {
		c.egress_deny = strcmp(w.network->egress_default, "deny") == 0;
		strv_add_all(&c.dns, &w.network->dns);
		r = add_ports(&w, &c, err);
		if (r >= 0)
			r = add_allow(w.network, &c, err);
	}
	if (r < 0)
		return r;
	*ret = c;
	c = (struct net_config){0};
	return 0;
}

/* A JSON array, as field_list_add_strv() writes it; the texts need no escapes. */
static void describe_ports(const struct wish *w, struct field_list *ret)
{
	auto_buf struct buf list = BUF_INIT(1u << 16);

	for (size_t i = 0; i < w->n_ports; i++) {
		char text[PORT_TEXT_SIZE];
		struct port p;

		if (port_of(w, i, &p, NULL) >= 0)
			buf_addf(&list, "%s\"%s\"", list.len ? "," : "[", port_text(&p, text));
	}
	buf_add_str(&list, list.len ? "]" : "[]");
	field_list_add_disturbing(ret, w->entry, "ports", w->ports_at, buf_str(&list),
				  "its connections drop");
}

static void describe_egress(const struct network_spec *n, struct field_list *ret)
{
	auto_free char *entry = xasprintf("networks.%s", n->name);

	if (strcmp(n->egress_default, "deny") == 0) {
		field_list_add(ret, entry, "egress.default", CHANGE_UPDATE, n->egress_default_at,
			       n->egress_default);
		field_list_add_strv(ret, entry, "egress.allow", CHANGE_UPDATE, n->egress_allow_at,
				    &n->egress_allow);
	}
	field_list_add_strv(ret, entry, "dns", CHANGE_UPDATE, n->dns_at, &n->dns);
}

void vm_net_describe(const struct resource_choice *choice, const struct node *node,
		     struct field_list *ret)
{
	struct wish w = wish_of(node);
	enum net_mode mode = vm_net_mode(choice, w.network);
	struct place at = w.network->mode_at.line ? w.network->mode_at : w.network_at;

	field_list_add_own(ret, w.entry, "network", at, net_mode_name(mode));
	if (mode != NET_NONE) {
		describe_ports(&w, ret);
		describe_egress(w.network, ret);
	}
	free(w.entry);
}

size_t vm_net_count(const struct node *node)
{
	const struct baseline_spec *b = node->spec;
	const struct fleet_spec *f = node->spec;

	return node->kind == RESOURCE_BASELINE ? b->n_ports : f->n_ports;
}

int vm_net_port(const struct node *node, size_t i, struct vm_net_port *ret, struct err *err)
{
	struct wish w = wish_of(node);
	auto_free char *entry = w.entry;
	int r = port_of(&w, i, &ret->port, err);

	if (r < 0)
		return r;
	ret->at = w.ports[i].at;
	ret->path = xasprintf("%s.ports[%zu]", entry, i);
	return 0;
}

/* The port at another address; "": the name of a port at whichever address. */
static void add_port_at(const struct port *p, const char *ip, struct strv *ret)
{
	struct port at = *p;
	char name[PORT_TEXT_SIZE];

	(void)snprintf(at.host_ip, sizeof(at.host_ip), "%s", ip);
	strv_add(ret, port_name(&at, name));
}

/* The VM's own address is nobody else's. */
static void add_hold(const struct port *p, struct strv *ret)
{
	add_port_at(p, "", ret);
	if (*p->host_ip)
		add_port_at(p, p->host_ip, ret);
}

/* The same port, at an address that overlaps. */
static void add_wish(const struct port *p, struct strv *ret)
{
	bool all = strcmp(p->host_ip, ANY_ADDRESS) == 0;

	add_port_at(p, all ? "" : ANY_ADDRESS, ret);
	if (*p->host_ip && !all)
		add_port_at(p, p->host_ip, ret);
}

/* What a record says it has. */
struct recorded {
	const char *field; /* "fleets.web.ports"; NULL: the VM has no network */
	struct port *v;
	size_t n;
};

static void recorded_free(struct recorded *r)
{
	free(r->v);
}
#define auto_recorded __attribute__((cleanup(recorded_free)))

static void parse_recorded(const char *text, struct recorded *ret)
{
	auto_json struct json_object *arr = NULL;
	auto_strv struct strv list = {0};

	if (json_parse(text, strlen(text), &arr, NULL) < 0 || json_to_strv(arr, &list, NULL) < 0)
		return;
	ret->v = xcalloc(list.n + 1, sizeof(*ret->v));
	for (size_t i = 0; i < list.n; i++)
		if (port_parse(list.v[i], &ret->v[ret->n], NULL) >= 0)
			ret->n++;
}

static struct recorded recorded_ports(struct json_object *record)
{
	static const char leaf[] = ".ports";
	struct json_object *update = json_opt_obj(json_opt_obj(record, "spec"), "update");
	struct recorded r = {0};

	if (!update)
		return r;
	json_object_object_foreach(update, path, value)
	{
		size_t len = strlen(path);

		if (len <= strlen(leaf) || strcmp(path + len - strlen(leaf), leaf) != 0 ||
		    !json_object_is_type(value, json_type_string))
			continue;
		r.field = path;
		parse_recorded(json_object_get_string(value), &r);
		break;
	}
	return r;
}

static bool has_place(const struct recorded *r, const struct net_port *port)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].udp == port->udp && r->v[i].host_port == port->host_port &&
		    strcmp(r->v[i].host_ip, port->host_ip) == 0)
			return true;
	return false;
}

void vm_net_keep_recorded(struct json_object *record, struct net_config *net)
{
	auto_recorded struct recorded had = recorded_ports(record);
	size_t n = 0;

	for (size_t i = 0; i < net->n_ports; i++)
		if (has_place(&had, &net->ports[i]))
			net->ports[n++] = net->ports[i];
	net->n_ports = n;
}

/* `said` has an address where the record leaves the VM's own out. */
static bool is_same(const struct port *p, const struct net_port *said, const char *loopback)
{
	return p->udp == said->udp && p->host_port == said->host_port &&
	       p->guest_port == said->guest_port &&
	       strcmp(*p->host_ip ? p->host_ip : loopback, said->host_ip) == 0;
}

static bool is_as_recorded(const struct recorded *r, const struct net_config *said,
			   const char *loopback)
{
	for (size_t i = 0; i < r->n && i < said->n_ports; i++)
		if (!is_same(&r->v[i], &said->ports[i], loopback))
			return false;
	return r->n == said->n_ports;
}

/* As describe_ports() writes it. */
static char *recorded_text(const struct net_config *said, const char *loopback)
{
	auto_json struct json_object *arr = json_object_new_array();

	for (size_t i = 0; i < said->n_ports; i++) {
		const struct net_port *from = &said->ports[i];
		struct port p = {.host_port = from->host_port,
				 .guest_port = from->guest_port,
				 .udp = from->udp};
		char text[PORT_TEXT_SIZE];

		if (strcmp(from->host_ip, loopback) != 0)
			memcpy(p.host_ip, from->host_ip, sizeof(p.host_ip));
		json_object_array_add(arr, json_object_new_string(port_text(&p, text)));
	}
	return json_line(arr);
}

void vm_net_observe(struct json_object *status, struct seen *seen)
{
	auto_recorded struct recorded had = recorded_ports(seen->record);
	const char *loopback = json_opt_str(status, "loopback", "");
	auto_net_config struct net_config said = {0};

	if (!had.field || net_ports_from_json(status, &said, NULL) < 0 ||
	    is_as_recorded(&had, &said, loopback))
		return;
	auto_free char *field = xstrdup(had.field);
	auto_free char *text = recorded_text(&said, loopback);
	json_add_str(json_opt_obj(json_opt_obj(seen->record, "spec"), "update"), field, text);
	seen->digest[0] = '\0';
}

void vm_net_claims(const struct resource_ctx *ctx, const struct node *node,
		   struct json_object *record, struct strv *ret_wants, struct strv *ret_holds)
{
	auto_recorded struct recorded had = recorded_ports(record);
	struct vm_net_port p = {0};

	(void)ctx;
	for (size_t i = 0; i < had.n; i++)
		add_hold(&had.v[i], ret_holds);
	for (size_t i = 0; ret_wants && node->spec && i < vm_net_count(node); i++) {
		if (vm_net_port(node, i, &p, NULL) < 0)
			continue;
		add_wish(&p.port, ret_wants);
		free(p.path);
	}
}
