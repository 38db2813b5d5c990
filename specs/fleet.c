#include "fleet.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "decode.h"
#include "file.h"
#include "json.h"
#include "parse.h"
#include "xalloc.h"

#undef fleet_refuse /* an analyzer's, see fleet.h */

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* From the tree to the struct; problems are in d->diag afterwards. */
static void decode_all(struct decode *d, const struct strv *sets)
{
	set_apply(d, sets);
	(void)decode_early(d, "name");
	(void)decode_early(d, "vars");
	(void)decode_early(d, "defaults");
	defaults_merge(d);
	d->at = d->root->at;
	(void)decode_group(d, &fields_top, d->root, d->fleet);
	check_spec(d);
	check_clones(d);
	set_check_used(d);
	if (diag_errors(d->diag))
		return;
	link_spec(d);
	check_memory(d);
	check_volumes(d);
	check_ports(d);
}

static void decode_text_of_file(struct decode *d, const char *text, size_t len,
				const struct fleet_options *options)
{
	if (ytree_parse(d->tree, text, len, d->diag) < 0)
		return;
	d->root = d->tree->root;
	if (d->root && d->root->kind == YNODE_MAP)
		decode_all(d, options ? options->sets : NULL);
	else if (!d->root || d->root->kind != YNODE_BAD) {
		(void)path_push(&d->path, "spec");
		(void)decode_fail_at(d, d->root ? d->root->at : (struct place){1, 1},
				     "expected a map that begins with apiVersion: fcvm/v1");
	}
}

/* "baselines.vm-1a2b3c.memory: expected ..." in the command's word for that field. */
static int say_by_hand(const struct fleet *fleet, struct err *err)
{
	const char *hint = NULL, *text = diag_first(fleet->diag, &hint);
	const char *dot = strchr(text, '.'), *field = dot ? strchr(dot + 1, '.') : NULL;
	enum err_class class = diag_class(fleet->diag);

	for (const struct fleet_word *w = fleet->words; field && w->field; w++) {
		size_t n = strlen(w->field);
		const char *rest = field + 1 + n;

		if (strncmp(field + 1, w->field, n) != 0 || !strchr(":.[", *rest))
			continue;
		(void)err_set(err, class, -EINVAL, "%s%s", w->word, strchr(rest, ':'));
		return hint ? err_hint(err, "%s", hint) : -EINVAL;
	}
	(void)err_set(err, class, -EINVAL, "%s", text);
	return hint ? err_hint(err, "%s", hint) : -EINVAL;
}

static int count_problems(const struct fleet *fleet, struct err *err)
{
	size_t n = diag_errors(fleet->diag);

	if (n == 0)
		return 0;
	if (fleet->words)
		return say_by_hand(fleet, err);
	return err_set(err, diag_class(fleet->diag), -EINVAL, "%zu problem%s in '%.400s'", n,
		       n == 1 ? "" : "s", diag_name(fleet->diag));
}

void fleet_print_problems(const struct fleet *fleet, struct buf *out)
{
	auto_buf struct buf unseen = BUF_INIT(0);

	diag_print(fleet->diag, fleet->words ? &unseen : out);
}

/* name is what messages call the file, fleet->path and dir are what it is. */
static int parse(struct fleet *fleet, const char *name, const char *text, size_t len,
		 const struct fleet_options *options, struct buf *ret_problems, struct err *err)
{
	struct ytree tree = {0};
	struct decode d = {.tree = &tree, .fleet = fleet};

	fleet->words = options ? options->words : NULL;
	d.by_hand = fleet->words != NULL;
	fleet->diag = d.diag = diag_new(name, text, len);
	decode_text_of_file(&d, text, len, options);
	vars_free(&d.vars);
	ytree_free(&tree);
	int r = count_problems(fleet, err);
	fleet_print_problems(fleet, ret_problems);
	return r;
}

int fleet_parse(const char *path, const char *text, size_t len, const struct fleet_options *options,
		struct fleet **ret, struct buf *ret_problems, struct err *err)
{
	auto_fleet struct fleet *fleet = xcalloc(1, sizeof(*fleet));

	fleet->path = xstrdup(path);
	fleet->dir = directory_of(path);
	int r = parse(fleet, path, text, len, options, ret_problems, err);

	if (r < 0)
		return r;
	*ret = TAKE_PTR(fleet);
	return 0;
}

int fleet_load(const char *path, const struct fleet_options *options, struct fleet **ret,
	       struct buf *ret_problems, struct err *err)
{
	auto_fleet struct fleet *fleet = xcalloc(1, sizeof(*fleet));
	/* One byte more than is allowed, so that the tree finds out and says it like the rest. */
	auto_buf struct buf text = BUF_INIT(YAML_BYTES_MAX + 1);
	int r = file_read(path, YAML_BYTES_MAX + 1, &text, err);

	if (r < 0) {
		if (err)
			err->class = ERR_SPEC;
		return r;
	}
	fleet->path = realpath(path, NULL);
	if (!fleet->path)
		return err_sys(err, "cannot resolve '%s'", path);
	fleet->dir = directory_of(fleet->path);
	r = parse(fleet, path, buf_str(&text), text.len, options, ret_problems, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(fleet);
	return 0;
}

int fleet_refuse(const struct fleet *fleet, struct place at, const char *path, struct err *err)
{
	struct err why = err ? *err : (struct err){0};
	struct diag_problem problem = {
		.class = why.class, .at = at, .path = path, .hint = *why.hint ? why.hint : NULL};

	if (!at.line || !err || !fleet->diag)
		return err_wrap(err, "%s", path);
	diag_add(fleet->diag, &problem, "%s", why.msg);
	(void)count_problems(fleet, err);
	return err->code = why.code;
}

size_t fleet_problems(const struct fleet *fleet)
{
	return fleet->diag ? diag_errors(fleet->diag) : 0;
}

int fleet_refuse_unavailable(const struct fleet *fleet, struct buf *ret_problems, struct err *err)
{
	size_t n = fleet->n_refusals;

	if (n == 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		struct diag_problem problem = {.class = ERR_SPEC,
					       .at = fleet->refusals[i].at,
					       .path = fleet->refusals[i].path};

		diag_add(fleet->diag, &problem, "not available in this version");
	}
	int r = count_problems(fleet, err);
	fleet_print_problems(fleet, ret_problems);
	if (fleet->words)
		return r;
	return err_set(err, ERR_SPEC, -EOPNOTSUPP,
		       "%zu field%s of '%.400s' %s not available in this version", n,
		       n == 1 ? "" : "s", diag_name(fleet->diag), n == 1 ? "is" : "are");
}

int fleet_clone_name(const struct fleet_spec *f, uint32_t index, char **ret, struct err *err)
{
	struct template_values values = {.index = index, .fleet = f->name};
	auto_free char *name = NULL;
	int r = template_expand(f->name_compiled, &values, &name, err);

	if (r < 0)
		return err_wrap(err, "clone %u", index);
	if (!parse_is_name(name))
		return err_set(err, ERR_SPEC, -EINVAL,
			       "clone %u would be called '%.100s'; expected a name of at most 63 "
			       "of a-z, 0-9 and '-'",
			       index, name);
	*ret = TAKE_PTR(name);
	return 0;
}

int fleet_clone_metadata(const struct fleet *fleet, const struct fleet_spec *f, uint32_t index,
			 const char *clone_name, char **ret, struct err *err)
{
	struct template_values values = {.index = index, .fleet = f->name, .clone = clone_name};
	auto_json struct json_object *o = json_object_new_object();

	(void)fleet; /* variables are written out already */
	for (size_t i = 0; i < f->metadata_keys.n; i++) {
		auto_free char *text = NULL;
		int r = template_expand(f->metadata_compiled[i], &values, &text, err);

		if (r < 0)
			return err_wrap(err, "key '%.100s' of clone %u", f->metadata_keys.v[i],
					index);
		json_add_str(o, f->metadata_keys.v[i], text);
	}
	*ret = json_line(o);
	return 0;
}

int fleet_port(const struct port_spec *p, const char *fleet_name, uint32_t index,
	       const char *clone_name, struct port *ret, struct err *err)
{
	struct template_values values = {.index = index, .fleet = fleet_name, .clone = clone_name};
	auto_free char *text = NULL;
	int r = template_expand(p->compiled, &values, &text, err);

	if (r >= 0)
		r = port_parse(text, ret, err);
	return r < 0 ? err_wrap(err, "clone %u", index) : 0;
}

int fleet_ports_parse(const struct strv *texts, struct port_spec **ret, size_t *ret_n,
		      struct err *err)
{
	struct port_spec *ports = xcalloc(texts->n + 1, sizeof(*ports));
	const struct template_scope no_names = {.set_name = ""};
	int r = 0;

	for (size_t i = 0; i < texts->n && r >= 0; i++) {
		struct port port;
		size_t offset;

		ports[i].text = xstrdup(texts->v[i]);
		r = port_parse(texts->v[i], &port, err);
		if (r >= 0)
			r = template_compile(texts->v[i], &no_names, &ports[i].compiled, &offset,
					     err);
	}
	if (r < 0) {
		fleet_free_ports(ports, texts->n);
		return r;
	}
	*ret = ports;
	*ret_n = texts->n;
	return 0;
}
