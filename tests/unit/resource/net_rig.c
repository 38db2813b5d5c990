#include "net_rig.h"

#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "xalloc.h"

void net_rig_make(struct net_rig *r, const char *networks, const char *more)
{
	auto_buf struct buf problems = BUF_INIT(65536);
	auto_free char *text =
		xasprintf("apiVersion: fcvm/v1\nname: t\n%sbaselines:\n  web:\n    image: "
			  "\"oci:web\"\n    network: none\n    healthcheck: { tcp: \":80\" }\n"
			  "fleets:\n  web:\n    from: web\n    count: 3\n%s",
			  networks, more);

	*r = (struct net_rig){.name = "web-1", .choice = {.auto_network = NET_BRIDGED}};
	cr_assert_eq(
		fleet_parse("/dir/t.yaml", text, strlen(text), NULL, &r->fleet, &problems, NULL), 0,
		"%s", buf_str(&problems));
	r->baseline = (struct node){.kind = RESOURCE_BASELINE,
				    .name = r->fleet->baselines[0].name,
				    .spec = &r->fleet->baselines[0]};
	r->clone = (struct node){
		.kind = RESOURCE_CLONE, .name = r->name, .spec = &r->fleet->fleets[0], .index = 1};
}

void net_rig_free(struct net_rig *r)
{
	fleet_free(r->fleet);
}

char *net_rig_problems(struct net_rig *r)
{
	struct buf out = BUF_INIT(1u << 20);

	fleet_print_problems(r->fleet, &out);
	return buf_detach(&out);
}
