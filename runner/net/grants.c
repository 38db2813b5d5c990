#include "grants.h"

#include "xalloc.h"

void grants_free(struct grants *g)
{
	for (size_t i = 0; i < g->n; i++)
		free(g->v[i].to.name);
	free(g->v);
	*g = (struct grants){0};
}

static bool same_entry(const struct net_allow *a, const struct net_allow *b)
{
	return a->port == b->port && a->proto == b->proto && a->name && b->name &&
	       strcmp(a->name, b->name) == 0;
}

static void append(struct grants *g, const struct net_grant *one)
{
	g->v = xgrow(g->v, &g->cap, g->n + 1, sizeof(*g->v));
	g->v[g->n] = *one;
	g->v[g->n++].to.name = xstrdup(one->to.name);
}

/* Two names may have one address: what counts in the kernel is address, port and protocol. */
static struct net_grant *find(const struct grants *g, const struct net_grant *one)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].to.addr == one->to.addr && g->v[i].to.port == one->to.port &&
		    g->v[i].to.proto == one->to.proto)
			return &g->v[i];
	return NULL;
}

static uint64_t seconds(uint32_t ttl_s)
{
	if (ttl_s < GRANT_MIN_S)
		return GRANT_MIN_S;
	return ttl_s < GRANT_MAX_S ? ttl_s : GRANT_MAX_S;
}

bool grants_add(struct grants *g, const struct net_allow *entry, uint32_t addr, uint32_t ttl_s,
		uint64_t now_ms, struct grants *ret)
{
	uint64_t needed_ms = now_ms + 1000 * seconds(ttl_s);
	struct net_grant one = {.to = *entry};
	struct net_grant *have = NULL;

	one.to.addr = addr;
	one.to.prefix = 32;
	one.until_ms = needed_ms + 1000 * (uint64_t)GRANT_GRACE_S;
	have = find(g, &one);
	if (have && have->until_ms >= needed_ms)
		return true;
	if (!have && g->n >= GRANTS_MAX)
		grants_prune(g, NULL, now_ms);
	if (!have && g->n >= GRANTS_MAX)
		return false;
	append(ret, &one);
	if (have)
		have->until_ms = one.until_ms;
	else
		append(g, &one);
	return true;
}

static bool is_allowed(const struct net_config *c, const struct net_allow *a)
{
	for (size_t i = 0; i < c->n_allow; i++)
		if (same_entry(&c->allow[i], a))
			return true;
	return false;
}

void grants_prune(struct grants *g, const struct net_config *c, uint64_t now_ms)
{
	size_t kept = 0;

	for (size_t i = 0; i < g->n; i++) {
		if (g->v[i].until_ms <= now_ms || (c && !is_allowed(c, &g->v[i].to)))
			free(g->v[i].to.name);
		else
			g->v[kept++] = g->v[i];
	}
	g->n = kept;
}
