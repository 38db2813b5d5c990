#include "relay.h"

#include <errno.h>
#include <sys/random.h>

#include "io.h"
#include "relay_priv.h"
#include "xalloc.h"

#define TICK_MS 500u

uint16_t relay_draw_id(void)
{
	uint16_t id = 0;

	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		abort();
	return id;
}

static bool is_named(const struct net_config *c, const char *name)
{
	for (size_t i = 0; i < c->n_allow; i++)
		if (c->allow[i].name && strcmp(c->allow[i].name, name) == 0)
			return true;
	return false;
}

enum relay_verdict relay_judge(struct relay *r, const uint8_t *msg, size_t len,
			       struct dns_question *q, uint8_t *reply, size_t *ret_len)
{
	enum dns_code code = DNS_OK;

	if (!dns_read_query(msg, len, q))
		return RELAY_DROP;
	if (r->config.egress_deny && !is_named(&r->config, q->name))
		code = DNS_REFUSED;
	else if (q->type != DNS_TYPE_AAAA) /* there is no IPv6 to go to */
		return RELAY_ASK;
	*ret_len = dns_make_reply(msg, q, code, reply);
	return RELAY_REPLY;
}

static bool open_addresses(struct relay *r, const char *name, const struct dns_addresses *a)
{
	auto_grants struct grants fresh = {0};
	uint64_t now = now_ms();
	bool fine = true;

	for (size_t i = 0; i < r->config.n_allow; i++) {
		const struct net_allow *entry = &r->config.allow[i];

		if (!entry->name || strcmp(entry->name, name) != 0)
			continue;
		for (size_t j = 0; j < a->n && fine; j++)
			fine = grants_add(&r->grants, entry, a->v[j], a->ttl_s, now, &fresh);
	}
	if (fine && fresh.n > 0)
		fine = r->spec.grant(r->spec.data, &fresh) >= 0;
	/* What the kernel did not take must not count as open. */
	if (!fine)
		grants_free(&r->grants);
	return fine;
}

bool relay_admit(struct relay *r, const struct dns_question *q, const uint8_t *msg, size_t len)
{
	struct dns_addresses a = {.n = 0};

	if (!r->config.egress_deny)
		return true;
	return is_named(&r->config, q->name) && dns_read_addresses(msg, len, &a) &&
	       open_addresses(r, q->name, &a);
}

static void on_tick(struct loop *loop, struct loop_source *src, uint32_t events)
{
	struct relay *r = src->data;
	uint64_t now = now_ms();

	(void)loop;
	(void)events;
	relay_udp_tick(r, now);
	relay_tcp_tick(r, now);
}

void relay_configure(struct relay *r, const struct net_config *config)
{
	net_config_free(&r->config);
	net_config_copy(config, &r->config);
	resolvers_set(&r->resolvers, &config->dns);
}

const struct grants *relay_grants(struct relay *r, const struct net_config *config)
{
	grants_prune(&r->grants, config, now_ms());
	return &r->grants;
}

int relay_new(const struct relay_spec *spec, const char *ip, const struct net_config *config,
	      struct relay **ret, struct err *err)
{
	struct relay *r = xcalloc(1, sizeof(*r));
	int e = 0;

	r->spec = *spec;
	r->udp.fd = r->tcp.fd = -1;
	resolvers_init(&r->resolvers, spec->resolv_conf, spec->resolved_conf);
	relay_configure(r, config);
	e = relay_udp_listen(r, ip, err);
	if (e >= 0)
		e = relay_tcp_listen(r, ip, err);
	if (e >= 0)
		e = loop_timer(spec->loop, &r->tick, TICK_MS, TICK_MS, on_tick, r, err);
	if (e < 0) {
		relay_free(r);
		return err_wrap(err, "DNS relay");
	}
	*ret = r;
	return 0;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	loop_remove(r->spec.loop, &r->tick);
	relay_udp_free(r);
	relay_tcp_free(r);
	grants_free(&r->grants);
	net_config_free(&r->config);
	free(r);
}
