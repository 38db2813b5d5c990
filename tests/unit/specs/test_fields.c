#include <criterion/criterion.h>
#include <string.h>

#include "cleanup.h"
#include "explain.h"
#include "fields.h"
#include "helper.h"
#include "json.h"
#include "map.h"
#include "schema.h"
#include "shape.h"

static void row_is_complete(const char *path, const struct field *f, void *arg)
{
	struct map *seen = arg;
	auto_buf struct buf limits = BUF_INIT(300);

	cr_expect(map_add(seen, path, seen), "%s is there twice", path);
	cr_expect_not_null(f->doc, "%s", path);
	cr_expect_lt(f->type, FIELD_TYPES, "%s", path);
	if (f->type == FIELD_MISPLACED)
		return;
	cr_expect_eq(f->doc[strlen(f->doc) - 1], '.', "%s: a sentence", path);
	cr_expect_eq(f->shape == FIELD_EACH, f->entry != NULL, "%s", path);
	cr_expect_eq(f->type == FIELD_MAP && !f->group, false, "%s", path);
	if (f->type == FIELD_INT || f->type == FIELD_SIZE || f->type == FIELD_DURATION)
		cr_expect_gt(f->max, f->min, "%s", path);
	if (f->type == FIELD_CHOICE && f->dflt && f->shape == FIELD_ONE)
		cr_expect(fields_has_choice(f->choices, f->dflt, NULL), "%s", path);
	fields_limits(f, &limits);
	cr_expect(buf_ok(&limits));
}

Test(fields, each_row_is_complete_and_there_once)
{
	auto_map struct map seen = {0};

	fields_visit(row_is_complete, &seen);
	cr_expect(map_has(&seen, "baselines.B.memory"));
	cr_expect(map_has(&seen, "baselines.B.containers.C.healthcheck.start_period"));
	cr_expect_geq(seen.n, 200);
}

Test(fields, a_map_bounds_what_a_change_in_it_costs)
{
	static const struct {
		const char *path;
		enum field_class class;
	} cases[] = {
		{"baselines.B.healthcheck.tcp", CLASS_CASCADE},
		{"fleets.web.healthcheck.tcp", CLASS_IN_PLACE},
		{"fleets.F.on_clone.run", CLASS_IN_PLACE},
		{"fleets.F.ports", CLASS_DISTURBS},
		{"networks.N.egress.allow", CLASS_IN_PLACE},
		{"snapshots.S.memory.backend", CLASS_REPLACE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum field_class class = CLASS_FIXED;

		cr_assert_not_null(fields_at(cases[i].path, &class), "%s", cases[i].path);
		cr_expect_eq(class, cases[i].class, "%s", cases[i].path);
	}
	cr_expect_null(fields_at("fleets.web.cuont", NULL));
	cr_expect_null(fields_at("fleets.web.count.more", NULL));
}

Test(fields, defaults_are_found_by_the_path_of_a_spec)
{
	static const struct {
		const char *path, *dflt;
	} cases[] = {
		{"networks.app.egress.default", "allow"},
		{"volumes.src.trust", "squash"},
		{"snapshots.warm.settle", "0s"},
		{"fleets.web.count", "1"},
		{"baselines.web.environment", NULL},
		{"snapshots.warm.prepare[0]", NULL},
		{"state", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].dflt)
			cr_expect_str_eq(fields_default(cases[i].path), cases[i].dflt);
		else
			cr_expect_null(fields_default(cases[i].path), "%s", cases[i].path);
	}
}

/* A default that the tables themselves would reject must not go unnoticed. */
static void default_is_valid(const char *path, const struct field *f, void *arg)
{
	(void)arg;
	if (!f->dflt || f->shape != FIELD_ONE || strncmp(path, "policy.", 7) != 0)
		return;
	auto_buf struct buf text = BUF_INIT(1000);
	auto_strv struct strv sets = {0};

	buf_add_str(&text, SPEC_HEAD SPEC_WEB);
	strv_addf(&sets, "%s=%s", path, f->dflt);
	auto_free char *said = spec_says("t", buf_str(&text), text.len, &sets);

	cr_expect_null(strstr(said, "expected"), "%s", said);
}

Test(fields, defaults_are_valid_values)
{
	fields_visit(default_is_valid, NULL);
}

Test(explain, a_field_is_found_with_and_without_names)
{
	static const char wanted[] = "FIELD:      baselines.B.memory\n"
				     "TYPE:       size\n"
				     "DEFAULT:    512MiB\n"
				     "VALUES:     64 MiB to 1 TiB\n"
				     "CHANGE:     replace with everything below\n"
				     "\nMemory of the VM.\n";
	static const char *const spellings[] = {"baselines.memory", "baselines.B.memory",
						"baselines.web.memory", "baselines.*.memory"};

	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
		auto_buf struct buf out = BUF_INIT(10000);

		cr_expect_eq(explain_field(spellings[i], &out, NULL), 0);
		cr_expect_str_eq(buf_str(&out), wanted, "%s: %s", spellings[i], buf_str(&out));
	}
}

Test(explain, maps_list_their_fields)
{
	auto_buf struct buf out = BUF_INIT(10000);

	cr_expect_eq(explain_field("snapshots.memory", &out, NULL), 0);
	cr_expect_str_eq(
		buf_str(&out),
		"FIELD:      snapshots.S.memory\n"
		"TYPE:       map\n"
		"CHANGE:     replace\n"
		"\nHow clones get their memory.\n"
		"\nFIELDS:\n"
		"  backend            Where clones get their memory: a page server, or the file "
		"itself.\n"
		"  clones_per_server  Clones one page server serves; 0 is all of them.\n"
		"  prefetch           Send pages that earlier clones needed before they are asked "
		"for.\n",
		"%s", buf_str(&out));
}

Test(explain, the_top_is_explained_by_nothing)
{
	auto_buf struct buf out = BUF_INIT(10000);

	cr_expect_eq(explain_field("", &out, NULL), 0);
	cr_expect_not_null(strstr(buf_str(&out), "\n  baselines   VMs that are booted once"));
	cr_expect_not_null(strstr(buf_str(&out), "\n  name        Name of the fleet set: scope of "
						 "its lock, state and names. (required)\n"),
			   "%s", buf_str(&out));
}

Test(explain, what_is_not_executed_says_so)
{
	auto_buf struct buf out = BUF_INIT(10000);

	cr_expect_eq(explain_field("fleets.secrets", &out, NULL), 0);
	cr_expect_eq(explain_field("snapshots.memory.clones_per_server", &out, NULL), 0);
	cr_expect_not_null(strstr(buf_str(&out), "AVAILABLE:  not in this version\n"));
	cr_expect_not_null(strstr(buf_str(&out), "AVAILABLE:  in this version: 0\n"));
}

Test(explain, an_unknown_field_offers_the_nearest)
{
	static const struct {
		const char *field, *message, *hint;
	} cases[] = {
		{"fleets.coutn", "no field 'fleets.coutn'", "did you mean 'fleets.count'?"},
		{"baselines.B.memorx", "no field 'baselines.B.memorx'",
		 "did you mean 'baselines.B.memory'?"},
		{"flets", "no field 'flets'", "did you mean 'fleets'?"},
		{"name.x", "no field 'name.x'", "did you mean 'name'?"},
		{"zzzzzzzzzzzz", "no field 'zzzzzzzzzzzz'",
		 "fcvm explain lists the top fields, fcvm explain fleets those of fleets"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_buf struct buf out = BUF_INIT(10000);
		struct err err = {0};

		cr_expect_lt(explain_field(cases[i].field, &out, &err), 0);
		cr_expect_eq(err.class, ERR_SPEC);
		cr_expect_str_eq(err.msg, cases[i].message);
		cr_expect_str_eq(err.hint, cases[i].hint, "%s: %s", cases[i].field, err.hint);
		cr_expect_eq(out.len, 0);
	}
}

static void row_is_documented(const char *path, const struct field *f, void *arg)
{
	auto_buf struct buf cell = BUF_INIT(300);

	buf_addf(&cell, "\n| `%s` | ", path);
	if (f->type != FIELD_MISPLACED)
		cr_expect_not_null(strstr(arg, buf_str(&cell)), "%s", path);
}

Test(specdoc, each_row_is_documented)
{
	auto_buf struct buf out = BUF_INIT(1u << 20);

	explain_spec_markdown(&out);
	cr_assert(buf_ok(&out));
	fields_visit(row_is_documented, out.data);
	cr_expect_not_null(strstr(buf_str(&out), "| `fleets.F.count` | whole number | 1 | 0 to "
						 "100000 | in place | Number of clones. |\n"));
	cr_expect_not_null(strstr(buf_str(&out),
				  "| `fleets.F.ports` | list of port | [] |  | in place, "
				  "disturbs | [IP:][HOST:]GUEST[/tcp\\|udp]; HOST:GUEST binds "
				  "127.0.0.1, GUEST alone the clone's own 127.x.y.z. |\n"),
			   "%s", buf_str(&out));
}

static struct json_object *get(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	cr_assert(json_object_object_get_ex(o, key, &v), "%s", key);
	return v;
}

Test(schema, it_is_json_with_every_group_and_no_dangling_reference)
{
	auto_free char *text = schema_fleet();
	auto_json struct json_object *o = NULL;

	cr_assert_eq(json_parse(text, strlen(text), &o, NULL), 0);
	cr_expect_str_eq(json_opt_str(o, "$schema", ""),
			 "https://json-schema.org/draft/2020-12/schema");
	struct json_object *defs = get(o, "$defs");

	for (const char *p = text; (p = strstr(p, "\"#/$defs/")); p++) {
		size_t skip = strlen("\"#/$defs/");
		char name[64] = {0};

		memcpy(name, p + skip, strcspn(p + skip, "\""));
		cr_expect(json_object_object_get_ex(defs, name, NULL), "%s", name);
	}
	struct json_object *memory = get(get(get(defs, "baseline"), "properties"), "memory");

	cr_expect_str_eq(json_opt_str(memory, "description", ""), "Memory of the VM.");
	cr_expect_eq(json_opt_bool(o, "additionalProperties", true), false);
	struct json_object *count = get(get(get(defs, "fleet"), "properties"), "count");
	struct json_object *number = json_object_array_get_idx(get(count, "anyOf"), 0);

	cr_expect_eq(json_opt_u64(number, "maximum", 0), 100000);
}

static const char *pattern_of_names(struct json_object *schema, const char *section)
{
	struct json_object *names = get(get(get(schema, "properties"), section), "propertyNames");

	return json_opt_str(names, "pattern", "");
}

Test(schema, it_takes_null_names_and_quoted_numbers_where_the_language_does)
{
	auto_free char *text = schema_fleet();
	auto_json struct json_object *o = NULL;

	cr_assert_eq(json_parse(text, strlen(text), &o, NULL), 0);
	cr_expect_str_eq(pattern_of_names(o, "vars"), "^x-|^[a-z][a-z0-9_]*$");
	cr_expect_str_eq(pattern_of_names(o, "fleets"), "^x-|^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$");
	struct json_object *defs = get(o, "$defs");
	/* `ports:` is an empty list, `null` takes away what defaults say. */
	struct json_object *ports = get(get(get(defs, "fleet"), "properties"), "ports");
	struct json_object *types = get(ports, "type");
	cr_assert_eq(json_object_array_length(types), 2);
	cr_expect_str_eq(json_object_get_string(json_object_array_get_idx(types, 0)), "array");
	cr_expect_str_eq(json_object_get_string(json_object_array_get_idx(types, 1)), "null");
	/* "5" is 5. */
	struct json_object *cpus = get(get(get(defs, "baseline"), "properties"), "cpus");
	struct json_object *quoted = json_object_array_get_idx(get(cpus, "anyOf"), 1);
	cr_expect_str_eq(json_opt_str(quoted, "pattern", ""), "^[0-9]+$");
}

Test(schema, it_is_always_the_same)
{
	auto_free char *a = schema_fleet(), *b = schema_fleet();

	cr_expect_str_eq(a, b);
}

Test(shape, texts_with_a_form_of_their_own)
{
	static const struct {
		const char *text;
		enum field_type type;
		bool fine;
	} cases[] = {
		{"http://:80/", FIELD_HTTP, true},
		{"http://127.0.0.1:8080/ready?x=1", FIELD_HTTP, true},
		{"http://localhost/", FIELD_HTTP, true},
		{"http://:80", FIELD_HTTP, false},
		{"https://:443/", FIELD_HTTP, false},
		{"http://:0/", FIELD_HTTP, false},
		{"http:///", FIELD_HTTP, false},
		{"http://:80/a b", FIELD_HTTP, false},
		{"http://:80/\r\nX: y", FIELD_HTTP, false},
		{":80", FIELD_TCP, true},
		{"localhost:65535", FIELD_TCP, true},
		{"80", FIELD_TCP, false},
		{":65536", FIELD_TCP, false},
		{":", FIELD_TCP, false},
		{"1.1.1.1", FIELD_ADDRESS, true},
		{"2001:db8::1", FIELD_ADDRESS, true},
		{"1.1.1", FIELD_ADDRESS, false},
		{"api.example.com", FIELD_EGRESS, true},
		{"api.example.com:443/tcp", FIELD_EGRESS, true},
		{"10.0.0.0/8", FIELD_EGRESS, true},
		{"10.0.0.0/8:443/tcp", FIELD_EGRESS, true},
		{"300.1.1.1", FIELD_EGRESS, false},
		{"2001:db8::/32", FIELD_EGRESS, false},
		{"10.0.0.0/33", FIELD_EGRESS, false},
		{"-x", FIELD_EGRESS, false},
		{"25%", FIELD_PERCENT, true},
		{"3", FIELD_PERCENT, true},
		{"0%", FIELD_PERCENT, false},
		{"%", FIELD_PERCENT, false},
		{"https://example.com/x", FIELD_URL, true},
		{"file:///x", FIELD_URL, true},
		{"file://x", FIELD_URL, false},
		{"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", FIELD_SHA256,
		 true},
		{"0123456789abcdef", FIELD_SHA256, false},
		{"a-1", FIELD_NAME, true},
		{"-a", FIELD_NAME, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *wanted = NULL;

		cr_expect_eq(shape_matches(cases[i].type, cases[i].text, &wanted), cases[i].fine,
			     "%s", cases[i].text);
		cr_expect_not_null(wanted);
	}
}
