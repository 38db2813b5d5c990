/* check_ports.c - networks, and published ports: no two VMs of the set want the same one. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "map.h"
#include "xalloc.h"

#define PUBLISHED_MAX 100000 /* in one set */
#define ANY_ADDRESS "0.0.0.0"
#define DNS_MAX 8
#define ALLOW_MAX 1024

static bool is_allow(const struct ynode *dflt)
{
	return ynode_is_null(dflt) ||
	       (dflt->kind == YNODE_SCALAR && strcmp(dflt->text, "allow") == 0);
}

/* As many as a VM's network takes. */
static void check_length(struct decode *d, const struct ynode *map, const char *key, size_t max)
{
	const struct ypair *pair = ynode_pair(map, key);
	size_t before = path_push(&d->path, key);

	if (pair && pair->value->kind == YNODE_LIST && pair->value->n > max)
		(void)decode_fail_at(d, pair->key_at, "expected at most %zu entries, got %zu", max,
				     pair->value->n);
	path_pop(&d->path, before);
}

/* Runs before linking, from check_spec(). */
void check_network(struct decode *d, const struct ypair *pair)
{
	const struct ynode *egress = ynode_get(pair->value, "egress");
	const struct ypair *allow = ynode_pair(egress, "allow");

	if (fields_has_choice("auto|bridged|rootless|none", pair->key, NULL))
		(void)decode_fail_at(d, pair->key_at, "'%s' is built in: choose another name",
				     pair->key);
	check_length(d, pair->value, "dns", DNS_MAX);
	size_t before = path_push(&d->path, "egress");

	check_length(d, egress, "allow", ALLOW_MAX);
	(void)path_push(&d->path, "allow");
	if (allow && !ynode_is_empty(allow->value) && is_allow(ynode_get(egress, "default")))
		decode_warn(d, allow->key_at,
			    "without 'default: deny' everything is allowed anyway");
	path_pop(&d->path, before);
}

/* Who publishes a port: the first that was found. */
struct publisher {
	const struct fleet_spec *fleet;
	uint32_t index;
};

struct published {
	struct map exact;    /* "127.0.0.1:8080/tcp" -> publisher */
	struct map anywhere; /* ":8080/tcp", at whichever address -> publisher */
	size_t n;
};

static void remember(struct map *map, const char *key, struct publisher *who)
{
	struct publisher *copy = xmalloc(sizeof(*copy));

	*copy = *who;
	if (!map_add(map, key, copy))
		free(copy);
}

/* Somebody who wants the same port, NULL when nobody does. 0.0.0.0 is every address. */
static const struct publisher *rival(const struct published *all, const char *key,
				     const struct port *p)
{
	char name[PORT_TEXT_SIZE];
	struct port other = *p;

	if (map_has(&all->exact, key))
		return map_get(&all->exact, key);
	(void)snprintf(other.host_ip, sizeof(other.host_ip), "%s",
		       strcmp(p->host_ip, ANY_ADDRESS) == 0 ? "" : ANY_ADDRESS);
	(void)port_name(&other, name);
	return map_get(*other.host_ip ? &all->exact : &all->anywhere, name);
}

static bool refuse(struct decode *d, struct place at, const struct port *p, struct publisher me,
		   const struct publisher *other)
{
	char name[PORT_TEXT_SIZE];
	bool same_clone = other->fleet == me.fleet && other->index == me.index;
	bool template = other->fleet == me.fleet && !same_clone;

	(void)port_name(p, name);
	if (same_clone)
		(void)decode_fail_at(d, at, "clone %" PRIu32 " would publish %s twice", me.index,
				     *p->host_ip ? name : name + 1);
	else
		(void)decode_fail_at(
			d, at,
			"clone %" PRIu32 " would publish %s like clone %" PRIu32 " of '%s'%s",
			me.index, *p->host_ip ? name : name + 1, other->index, other->fleet->name,
			template ? ": put {{index}} into the host port" : "");
	return false;
}

/* False ends the port's check: one problem says enough. */
static bool check_port(struct decode *d, const struct port_spec *spec, struct publisher me,
		       const char *clone_name, struct published *all)
{
	char name[PORT_TEXT_SIZE];
	auto_free char *key = NULL;
	struct port p;
	struct err err = {0};

	if (fleet_port(spec, me.fleet->name, me.index, clone_name, &p, &err) < 0) {
		(void)decode_fail_at(d, spec->at, "%s", err.msg);
		return false;
	}
	(void)port_name(&p, name);
	/* A VM's own address is nobody else's. */
	key = *p.host_ip ? xstrdup(name) : xasprintf("%s/%s", clone_name, name);
	const struct publisher *other = rival(all, key, &p);

	if (other)
		return refuse(d, spec->at, &p, me, other);
	remember(&all->exact, key, &me);
	p.host_ip[0] = '\0';
	remember(&all->anywhere, port_name(&p, name), &me);
	all->n++;
	return true;
}

static void check_clones_port(struct decode *d, const struct fleet_spec *f, size_t i,
			      struct published *all)
{
	size_t before = path_push_index(&d->path, i);

	for (uint32_t index = 0; index < f->count; index++) {
		struct publisher me = {f, index};
		auto_free char *name = NULL;

		if (all->n == PUBLISHED_MAX) {
			(void)decode_fail_at(d, f->ports[i].at,
					     "expected at most %d published ports in the set",
					     PUBLISHED_MAX);
			all->n++;
		}
		if (all->n > PUBLISHED_MAX || fleet_clone_name(f, index, &name, NULL) < 0 ||
		    !check_port(d, &f->ports[i], me, name, all))
			break;
	}
	path_pop(&d->path, before);
}

static void check_fleet_ports(struct decode *d, const struct fleet_spec *f, struct published *all)
{
	size_t before = path_push(&d->path, "ports");

	if (f->n_ports && strcmp(f->network->mode, "none") == 0)
		(void)decode_fail_at(d, f->ports[0].at,
				     "network '%s' publishes nothing: choose another network",
				     f->network->name);
	for (size_t i = 0; i < f->n_ports; i++)
		check_clones_port(d, f, i, all);
	path_pop(&d->path, before);
}

void check_ports(struct decode *d)
{
	struct published all = {.exact.free_value = free, .anywhere.free_value = free};

	for (size_t i = 0; i < d->fleet->n_fleets; i++) {
		const struct fleet_spec *f = &d->fleet->fleets[i];
		size_t before = path_push(&d->path, "fleets");

		(void)path_push(&d->path, f->name);
		check_fleet_ports(d, f, &all);
		path_pop(&d->path, before);
	}
	map_free(&all.exact);
	map_free(&all.anywhere);
}
