#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "resource.h"

Test(resource, every_kind_has_all_its_verbs)
{
	for (int k = 0; k < RESOURCE_KINDS; k++) {
		const struct resource_ops *o = resource_ops_of((enum resource_kind)k);

		cr_assert(o->kind && o->on_demand && o->path && o->describe && o->observe &&
			  o->diff && o->deadline_ms && o->create && o->update && o->release &&
			  o->prune && o->destroy);
		cr_expect_eq(resource_kind_by_name(o->kind), k);
	}
	cr_expect_lt(resource_kind_by_name("yacht"), 0);
}

Test(resource, an_address_is_kind_and_name)
{
	auto_free char *a = resource_address(RESOURCE_MEMSERVER, "web@healthy/0");

	cr_expect_str_eq(a, "memserver/web@healthy/0");
}

Test(resource, auto_is_uffd_where_permitted_and_a_wish_is_a_wish)
{
	const struct resource_choice yes = {.uffd = true}, no = {.uffd = false};
	char any[] = "auto", file[] = "file", uffd[] = "uffd";
	const struct snapshot_spec a = {.backend = any}, f = {.backend = file},
				   u = {.backend = uffd};

	cr_expect_str_eq(resource_backend(&yes, &a), "uffd");
	cr_expect_str_eq(resource_backend(&no, &a), "file");
	cr_expect_str_eq(resource_backend(&yes, &f), "file");
	cr_expect_str_eq(resource_backend(&no, &u), "uffd");
}

static void digest(struct node *node, const char *memory, const char *restart,
		   const struct node *need)
{
	static const struct seen nothing;
	struct field_list want = {0};
	struct need_list needs = {.n = need ? 1 : 0, .v = {{need, &nothing}}};

	field_list_add(&want, "b", "memory", CHANGE_REPLACE, (struct place){0}, memory);
	field_list_add(&want, "b", "restart", CHANGE_UPDATE, (struct place){0}, restart);
	resource_digest(node, &want, &nothing, &needs);
	field_list_free(&want);
}

Test(resource, a_change_in_place_changes_the_digest_but_not_the_key_of_what_stands_on_it)
{
	struct node a = {.kind = RESOURCE_BASELINE}, b = a, c = a;

	digest(&a, "1", "no", NULL);
	digest(&b, "1", "always", NULL);
	digest(&c, "2", "no", NULL);
	cr_expect_str_eq(a.key, b.key);
	cr_expect_str_neq(a.digest, b.digest);
	cr_expect_str_neq(a.key, c.key);
}

Test(resource, nothing_has_a_key_before_what_it_needs_has_one)
{
	char name[] = "k";
	struct node kernel = {.kind = RESOURCE_KERNEL, .name = name},
		    b = {.kind = RESOURCE_BASELINE};
	struct node before;

	digest(&b, "1", "no", &kernel);
	cr_expect_str_eq(b.key, "");
	cr_expect_str_eq(b.digest, "");
	snprintf(kernel.key, sizeof(kernel.key), "one");
	digest(&b, "1", "no", &kernel);
	cr_expect_eq(strlen(b.key), 64);
	before = b;
	snprintf(kernel.key, sizeof(kernel.key), "two");
	digest(&b, "1", "no", &kernel);
	cr_expect_str_neq(b.key, before.key);
}

Test(resource, an_asset_has_no_key_before_its_bytes_are_known)
{
	struct node image = {.kind = RESOURCE_IMAGE};

	digest(&image, "1", "no", NULL);
	cr_expect_str_eq(image.key, "");
}
