#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "field_list.h"

static const struct place here = {3, 7};

static void fill(struct field_list *f, const char *memory, const char *restart, const char *note)
{
	field_list_add(f, "baselines.web", "memory", CHANGE_REPLACE, here, memory);
	field_list_add(f, "fleets.web", "restart", CHANGE_UPDATE, here, restart);
	field_list_add(f, "baselines.web", "ready_timeout", CHANGE_NONE, here, note);
}

struct pair {
	const char *memory, *restart, *note;
	enum change change;
	const char *path, *old, *new; /* of the first reason; NULL: none */
};

static const struct pair pairs[] = {
	{"256MiB", "no", "5", CHANGE_NONE, NULL, NULL, NULL},
	{"512MiB", "no", "5", CHANGE_REPLACE, "baselines.web.memory", "256MiB", "512MiB"},
	{"256MiB", "always", "5", CHANGE_UPDATE, "fleets.web.restart", "no", "always"},
	{"256MiB", "no", "6", CHANGE_NONE, "baselines.web.ready_timeout", "5", "6"},
	{"", "no", "5", CHANGE_REPLACE, "baselines.web.memory", "256MiB", "512MiB"},
	{"256MiB", NULL, "5", CHANGE_UPDATE, "fleets.web.restart", "no", NULL},
	{"512MiB", "always", "5", CHANGE_REPLACE, "baselines.web.memory", "256MiB", "512MiB"},
};

Test(field_list, the_costliest_difference_decides_and_each_is_told)
{
	auto_field_list struct field_list was = {0};

	fill(&was, "256MiB", "no", "5");
	auto_json struct json_object *recorded = field_list_to_json(&was);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		const struct pair *p = &pairs[i];
		auto_field_list struct field_list now = {0};
		auto_reasons struct reasons why = {0};

		fill(&now, p->memory, p->restart, p->note);
		cr_expect_eq(field_list_diff(&now, recorded, &why), p->change, "case %zu", i);
		cr_assert_eq(why.n > 0, p->path != NULL, "case %zu", i);
		if (!p->path)
			continue;
		cr_expect_str_eq(why.v[0].path, p->path);
		cr_expect_str_eq(why.v[0].old, p->old);
		if (p->new)
			cr_expect_str_eq(why.v[0].new, p->new);
		else
			cr_expect_null(why.v[0].new);
	}
}

Test(field_list, a_record_without_or_with_a_foreign_spec_differs_in_everything)
{
	static const char *const texts[] = {"{}", "{\"replace\":7}", "{\"replace\":[1]}",
					    "{\"update\":{\"baselines.web.memory\":{}}}"};
	auto_field_list struct field_list now = {0};

	fill(&now, "256MiB", "no", "5");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		auto_reasons struct reasons why = {0};
		auto_json struct json_object *o = NULL;

		cr_assert_eq(json_parse(texts[i], strlen(texts[i]), &o, NULL), 0);
		cr_expect_eq(field_list_diff(&now, o, &why), CHANGE_REPLACE, "%s", texts[i]);
		cr_expect_geq(why.n, 3);
	}
	auto_reasons struct reasons why = {0};
	cr_expect_eq(field_list_diff(&now, NULL, &why), CHANGE_REPLACE);
}

static void digest(const char *memory, const char *restart, const char *note, enum change least,
		   char ret[DIGEST_HEX_SIZE])
{
	auto_field_list struct field_list f = {0};
	auto_digest struct digest *d = digest_new();

	fill(&f, memory, restart, note);
	field_list_digest(&f, least, d);
	digest_hex(d, ret);
}

Test(field_list, a_digest_sees_only_fields_of_its_class)
{
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];

	digest("256MiB", "no", "5", CHANGE_REPLACE, a);
	digest("256MiB", "always", "6", CHANGE_REPLACE, b);
	cr_expect_str_eq(a, b);
	digest("512MiB", "no", "5", CHANGE_REPLACE, b);
	cr_expect_str_neq(a, b);
	digest("256MiB", "no", "5", CHANGE_UPDATE, a);
	digest("256MiB", "no", "6", CHANGE_UPDATE, b);
	cr_expect_str_eq(a, b);
	digest("256MiB", "always", "5", CHANGE_UPDATE, b);
	cr_expect_str_neq(a, b);
}

Test(field_list, a_default_is_told_as_if_it_were_written)
{
	static const char path[] = "networks.app.egress";
	auto_field_list struct field_list was = {0}, now = {0};
	auto_reasons struct reasons why = {0};

	field_list_add(&was, path, "default", CHANGE_UPDATE, here, "deny");
	field_list_add(&now, path, "allow", CHANGE_UPDATE, here, "[\"10.0.0.1\"]");
	auto_json struct json_object *recorded = field_list_to_json(&was);
	cr_expect_eq(field_list_diff(&now, recorded, &why), CHANGE_UPDATE);
	cr_assert_eq(why.n, 2);
	cr_expect_str_eq(why.v[0].old, "[]");
	cr_expect_str_eq(why.v[0].new, "[\"10.0.0.1\"]");
	cr_expect_str_eq(why.v[1].old, "deny");
	cr_expect_str_eq(why.v[1].new, "allow");
}

Test(field_list, times_are_exact_and_have_a_unit)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {{0, "0s"}, {250, "250ms"}, {1500, "1500ms"}, {90000, "90s"}, {7200000, "2h"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_field_list struct field_list f = {0};

		field_list_add_ms(&f, "b", "timeout", CHANGE_UPDATE, here, cases[i].ms);
		cr_expect_str_eq(f.v[0].value, cases[i].text);
	}
}

Test(field_list, sizes_are_exact)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {{256u << 20, "256MiB"},
		     {1000000000, "1000000000"},
		     {(256u << 20) + 1, "268435457"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_field_list struct field_list f = {0};

		field_list_add_size(&f, "b", "memory", CHANGE_REPLACE, here, cases[i].bytes);
		cr_expect_str_eq(f.v[0].value, cases[i].text);
	}
}

static void fill_network(struct field_list *f, const char *mode, const char *ports)
{
	field_list_add_own(f, "fleets.web", "network", here, mode);
	field_list_add_disturbing(f, "fleets.web", "ports", here, ports, "its connections drop");
}

static void hex_of(const struct field_list *f, enum change least, char ret[DIGEST_HEX_SIZE])
{
	auto_digest struct digest *d = digest_new();

	field_list_digest(f, least, d);
	digest_hex(d, ret);
}

Test(field_list, what_is_ones_own_replaces_and_leaves_the_key)
{
	auto_field_list struct field_list was = {0}, now = {0}, gone = {0};
	auto_reasons struct reasons why = {0};
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];

	fill_network(&was, "bridged", "[]");
	fill_network(&now, "rootless", "[]");
	auto_json struct json_object *recorded = field_list_to_json(&was);
	cr_expect_eq(field_list_diff(&was, recorded, &why), CHANGE_NONE);
	cr_expect_eq(field_list_diff(&now, recorded, &why), CHANGE_REPLACE);
	cr_expect_eq(field_list_diff(&gone, recorded, &why), CHANGE_REPLACE);
	hex_of(&was, CHANGE_REPLACE, a);
	hex_of(&now, CHANGE_REPLACE, b);
	cr_expect_str_eq(a, b);
	hex_of(&was, CHANGE_UPDATE, a);
	hex_of(&now, CHANGE_UPDATE, b);
	cr_expect_str_neq(a, b);
}

Test(field_list, a_change_that_disturbs_says_so_unless_there_was_nothing)
{
	static const struct {
		const char *old, *new;
		bool disturbs;
	} cases[] = {
		{"[\"80\"]", "[\"81\"]", true},
		{"[\"80\"]", "[]", true},
		{"[]", "[\"80\"]", false},
		{NULL, "[\"80\"]", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_field_list struct field_list was = {0}, now = {0};
		auto_reasons struct reasons why = {0};

		fill_network(&was, "bridged", cases[i].old);
		fill_network(&now, "bridged", cases[i].new);
		auto_json struct json_object *recorded = field_list_to_json(&was);
		cr_expect_eq(field_list_diff(&now, recorded, &why), CHANGE_UPDATE);
		cr_assert_eq(why.n, 1);
		cr_expect_eq(why.v[0].disturbs != NULL, cases[i].disturbs, "case %zu", i);
	}
}
