#include "template_code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "parse.h"
#include "vars.h"
#include "xalloc.h"

#define CANONICAL_MAX ((size_t)4 * TEMPLATE_TEXT_MAX)

enum value_type { TYPE_INT, TYPE_TEXT };

struct compiler {
	const char *text, *p;
	const struct template_scope *scope;
	struct template *t;
	struct buf canonical;
	int depth;       /* of brackets, calls and signs */
	size_t offset;   /* of the error */
	bool uses_names; /* in this expression */
	struct err *err;
};

static const struct name_row {
	const char *name;
	unsigned int bit;
	enum template_op_kind op;
	enum value_type type;
} name_rows[] = {
	{"index", TEMPLATE_INDEX, OP_INDEX, TYPE_INT},
	{"clone", TEMPLATE_CLONE, OP_CLONE, TYPE_TEXT},
	{"fleet", TEMPLATE_FLEET, OP_FLEET, TYPE_TEXT},
	{"job", TEMPLATE_JOB, OP_JOB, TYPE_TEXT},
	{"item", TEMPLATE_JOB, OP_ITEM, TYPE_TEXT},
	{"slice.index", TEMPLATE_JOB, OP_SLICE_INDEX, TYPE_INT},
};

static const struct function_row {
	const char *name;
	enum template_op_kind op;
	int n_args;
	enum value_type result;
} function_rows[] = {
	{"pad", OP_PAD, 2, TYPE_TEXT},
	{"hash8", OP_HASH8, 1, TYPE_TEXT},
	{"lower", OP_LOWER, 1, TYPE_TEXT},
};

__attribute__((format(printf, 3, 4))) static int fail(struct compiler *c, const char *where,
						      const char *fmt, ...)
{
	auto_buf struct buf text = BUF_INIT(900);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	c->offset = (size_t)(where - c->text);
	return err_set(c->err, ERR_SPEC, -EINVAL, "%s", buf_str(&text));
}

static int add_op(struct compiler *c, struct template_op op)
{
	struct template *t = c->t;

	if (t->n >= TEMPLATE_OPS_MAX)
		return fail(c, c->p, "the template is too long");
	t->ops = xgrow(t->ops, &t->cap, t->n + 1, sizeof(*t->ops));
	t->ops[t->n++] = op;
	return 0;
}

static int add_text_op(struct compiler *c, enum template_op_kind kind, const char *s, size_t len)
{
	strv_add_take(&c->t->texts, xstrndup(s, len));
	return add_op(c, (struct template_op){.kind = kind, .text = c->t->texts.n - 1});
}

/* A text as the template language writes it. */
static void add_quoted(struct buf *out, const char *s, size_t len)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, s[i]);
	}
	buf_add_char(out, '"');
}

static void skip_blanks(struct compiler *c)
{
	while (*c->p == ' ' || *c->p == '\t' || *c->p == '\n')
		c->p++;
}

/* Takes the character when it is next, blanks before it skipped. */
static bool accept(struct compiler *c, char ch)
{
	skip_blanks(c);
	if (*c->p != ch || (ch == '}' && c->p[1] != '}'))
		return false;
	buf_add_char(&c->canonical, ch);
	c->p++;
	return true;
}

static int parse_sum(struct compiler *c, enum value_type *ret_type);
static int parse_nested(struct compiler *c, enum value_type *ret_type);

static const char *const known_names[] = {"index", "name", "clone",       "fleet",
					  "job",   "item", "slice.index", "vars."};

static int fail_unknown_name(struct compiler *c, const char *where, const char *name)
{
	const char *near = strv_nearest(name, known_names, ARRAY_SIZE(known_names));

	return fail(c, where, "unknown name '%s' in the template%s%s%s", name,
		    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int parse_var(struct compiler *c, const char *where, const char *name,
		     enum value_type *ret_type)
{
	static const struct vars none;
	const struct vars *vars = c->scope->vars ? c->scope->vars : &none;
	struct var *var = vars_find(vars, name);

	if (!var) {
		auto_free char *list = vars_list(vars);

		return fail(c, where, "no variable '%s' in vars; %s", name, list);
	}
	var->used = true;
	*ret_type = var->is_int ? TYPE_INT : TYPE_TEXT;
	if (!var->is_int) {
		add_quoted(&c->canonical, var->text, strlen(var->text));
		return add_text_op(c, OP_TEXT, var->text, strlen(var->text));
	}
	buf_addf(&c->canonical, var->value < 0 ? "(%lld)" : "%lld", (long long)var->value);
	return add_op(c, (struct template_op){.kind = OP_INT, .value = var->value});
}

static int parse_name(struct compiler *c, const char *where, const char *name,
		      enum value_type *ret_type)
{
	if (strncmp(name, "vars.", 5) == 0)
		return parse_var(c, where, name + 5, ret_type);
	if (strcmp(name, "name") == 0 && c->scope->set_name) {
		*ret_type = TYPE_TEXT;
		add_quoted(&c->canonical, c->scope->set_name, strlen(c->scope->set_name));
		return add_text_op(c, OP_TEXT, c->scope->set_name, strlen(c->scope->set_name));
	}
	for (size_t i = 0; i < ARRAY_SIZE(name_rows); i++) {
		const struct name_row *row = &name_rows[i];

		if (strcmp(row->name, name) != 0)
			continue;
		if (!(c->scope->names & row->bit))
			return fail(c, where, "'%s' has no value here", name);
		*ret_type = row->type;
		buf_add_str(&c->canonical, name);
		c->uses_names = true;
		return add_op(c, (struct template_op){.kind = row->op});
	}
	return fail_unknown_name(c, where, name);
}

/* Whether the last op is a number that is not zero: then dividing by it cannot fail. */
static bool ends_in_constant(const struct template *t)
{
	return t->n > 0 && t->ops[t->n - 1].kind == OP_INT && t->ops[t->n - 1].value != 0;
}

static int parse_call(struct compiler *c, const char *where, const struct function_row *row,
		      enum value_type *ret_type)
{
	buf_addf(&c->canonical, "%s(", row->name);
	for (int i = 0; i < row->n_args; i++) {
		enum value_type type = TYPE_INT;

		if (i > 0 && !accept(c, ','))
			return fail(c, c->p, "%s() takes %d values", row->name, row->n_args);
		int r = parse_sum(c, &type);

		if (r < 0)
			return r;
		if (row->op == OP_PAD && type != TYPE_INT)
			return fail(c, where, "pad(n, width) takes two numbers");
	}
	if (!accept(c, ')'))
		return fail(c, c->p, "expected ')' after the %d value%s of %s()", row->n_args,
			    row->n_args == 1 ? "" : "s", row->name);
	if (row->op == OP_PAD && !ends_in_constant(c->t))
		c->t->fragile = true;
	*ret_type = row->result;
	return add_op(c, (struct template_op){.kind = row->op});
}

static int parse_word(struct compiler *c, enum value_type *ret_type)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.0123456789";
	const char *where = c->p;
	auto_free char *word = xstrndup(c->p, strspn(c->p, letters));

	c->p += strlen(word);
	skip_blanks(c);
	if (*c->p != '(')
		return parse_name(c, where, word, ret_type);
	c->p++;
	for (size_t i = 0; i < ARRAY_SIZE(function_rows); i++) {
		if (strcmp(function_rows[i].name, word) == 0)
			return parse_call(c, where, &function_rows[i], ret_type);
	}
	return fail(c, where, "unknown function '%s'; there are pad, hash8 and lower", word);
}

static int parse_number(struct compiler *c, enum value_type *ret_type)
{
	auto_free char *digits = xstrndup(c->p, strspn(c->p, "0123456789"));
	int64_t value;

	if (parse_i64(digits, 0, INT64_MAX, &value, NULL) < 0)
		return fail(c, c->p, "the number is too large");
	c->p += strlen(digits);
	buf_addf(&c->canonical, "%lld", (long long)value);
	*ret_type = TYPE_INT;
	return add_op(c, (struct template_op){.kind = OP_INT, .value = value});
}

static int parse_text(struct compiler *c, enum value_type *ret_type)
{
	auto_buf struct buf text = BUF_INIT(TEMPLATE_TEXT_MAX);
	const char *where = c->p;
	char quote = *c->p++;

	while (*c->p && *c->p != quote) {
		if (*c->p == '\\' && c->p[1])
			c->p++;
		buf_add_char(&text, *c->p++);
	}
	if (!*c->p)
		return fail(c, where, "the text has no closing %c", quote);
	c->p++;
	*ret_type = TYPE_TEXT;
	add_quoted(&c->canonical, buf_str(&text), text.len);
	return add_text_op(c, OP_TEXT, buf_str(&text), text.len);
}

static int parse_value(struct compiler *c, enum value_type *ret_type)
{
	skip_blanks(c);
	const char *where = c->p;
	char ch = *c->p;

	if (ch == '(') {
		(void)accept(c, '(');
		int r = parse_sum(c, ret_type);

		return r < 0 || accept(c, ')') ? r : fail(c, c->p, "expected ')'");
	}
	if (ch == '-') {
		(void)accept(c, '-');
		int r = parse_nested(c, ret_type);

		if (r >= 0 && *ret_type != TYPE_INT)
			return fail(c, where, "'-' wants a number, not text");
		return r < 0 ? r : add_op(c, (struct template_op){.kind = OP_NEG});
	}
	if (ch >= '0' && ch <= '9')
		return parse_number(c, ret_type);
	if (ch == '"' || ch == '\'')
		return parse_text(c, ret_type);
	if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_')
		return parse_word(c, ret_type);
	if (ch == '\0' || ch == '}')
		return fail(c, where, "the expression ends too early");
	return fail(c, where, "expected a name, a number, a text or '(', got '%c'", ch);
}

static int parse_nested(struct compiler *c, enum value_type *ret_type)
{
	if (c->depth >= TEMPLATE_DEPTH_MAX)
		return fail(c, c->p, "the expression is nested too deeply");
	c->depth++;
	int r = parse_value(c, ret_type);

	c->depth--;
	return r;
}

struct operator_row {
	char sign;
	enum template_op_kind op;
};

static int parse_chain(struct compiler *c, const struct operator_row *rows, size_t n,
		       int (*operand)(struct compiler *, enum value_type *),
		       enum value_type *ret_type)
{
	int r = operand(c, ret_type);

	while (r >= 0) {
		const struct operator_row *row = NULL;
		enum value_type right;

		skip_blanks(c);
		const char *where = c->p;

		for (size_t i = 0; i < n && !row; i++)
			row = *c->p == rows[i].sign ? &rows[i] : NULL;
		if (!row)
			break;
		(void)accept(c, row->sign);
		r = operand(c, &right);
		if (r < 0)
			break;
		if (*ret_type != TYPE_INT || right != TYPE_INT)
			return fail(c, where, "'%c' wants two numbers, not text", row->sign);
		if ((row->op == OP_DIV || row->op == OP_MOD) && !ends_in_constant(c->t))
			c->t->fragile = true;
		r = add_op(c, (struct template_op){.kind = row->op});
	}
	return r;
}

static int parse_product(struct compiler *c, enum value_type *ret_type)
{
	static const struct operator_row rows[] = {{'*', OP_MUL}, {'/', OP_DIV}, {'%', OP_MOD}};

	return parse_chain(c, rows, ARRAY_SIZE(rows), parse_nested, ret_type);
}

static int parse_sum(struct compiler *c, enum value_type *ret_type)
{
	static const struct operator_row rows[] = {{'+', OP_ADD}, {'-', OP_SUB}};

	return parse_chain(c, rows, ARRAY_SIZE(rows), parse_product, ret_type);
}

/* Text that holds "{{", alone or with its neighbours, must not look like a template. */
static void add_canonical_literal(struct buf *out, const char *s, size_t len)
{
	if (len == 0 || (!memmem(s, len, "{{", 2) && s[0] != '{' && s[len - 1] != '{')) {
		buf_add(out, s, len);
		return;
	}
	buf_add_str(out, "{{");
	add_quoted(out, s, len);
	buf_add_str(out, "}}");
}

/* Without names it is the same for every clone: calculated once, here. */
static int fold_constant(struct compiler *c, size_t first_op, size_t canonical_len,
			 const char *where)
{
	struct template_values none = {0};
	struct template part = {
		.ops = c->t->ops + first_op, .n = c->t->n - first_op, .texts = c->t->texts};
	auto_free char *text = NULL;
	struct err err = {0};

	if (template_expand(&part, &none, &text, &err) < 0)
		return fail(c, where, "%s", err.msg);
	c->t->n = first_op;
	c->canonical.len = canonical_len;
	c->canonical.data[canonical_len] = '\0';
	add_canonical_literal(&c->canonical, text, strlen(text));
	return add_text_op(c, OP_LITERAL, text, strlen(text));
}

static int parse_expression(struct compiler *c)
{
	const char *where = c->p;
	size_t first_op = c->t->n, canonical_len = c->canonical.len;
	enum value_type type = TYPE_INT;

	c->p += 2;
	c->uses_names = false;
	buf_add_str(&c->canonical, "{{");
	int r = parse_sum(c, &type);

	if (r < 0)
		return r;
	if (!accept(c, '}')) {
		if (*c->p == '\0')
			return fail(c, where, "'{{' has no '}}'");
		return fail(c, c->p, "expected '}}' or an operator, got '%c'", *c->p);
	}
	c->p++;
	buf_add_char(&c->canonical, '}');
	r = add_op(c, (struct template_op){.kind = OP_EMIT});
	return r < 0 || c->uses_names ? r : fold_constant(c, first_op, canonical_len, where);
}

static int compile_all(struct compiler *c)
{
	int r = 0;

	while (r >= 0 && *c->p) {
		const char *open = strstr(c->p, "{{");
		size_t len = open ? (size_t)(open - c->p) : strlen(c->p);

		if (len) {
			add_canonical_literal(&c->canonical, c->p, len);
			r = add_text_op(c, OP_LITERAL, c->p, len);
			c->p += len;
		}
		if (r >= 0 && open)
			r = parse_expression(c);
	}
	return r;
}

int template_compile(const char *text, const struct template_scope *scope, struct template **ret,
		     size_t *ret_offset, struct err *err)
{
	auto_template struct template *t = xcalloc(1, sizeof(*t));
	struct compiler c = {.text = text, .p = text, .scope = scope, .t = t, .err = err};

	c.canonical.max = CANONICAL_MAX;
	int r = compile_all(&c);

	if (r >= 0 && !buf_ok(&c.canonical))
		r = fail(&c, text, "the template is longer than %zu bytes", CANONICAL_MAX);
	t->canonical = buf_detach(&c.canonical);
	if (r < 0) {
		*ret_offset = c.offset;
		return r;
	}
	*ret = TAKE_PTR(t);
	return 0;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	free(t->ops);
	strv_free(&t->texts);
	free(t->canonical);
	free(t);
}

void template_free_p(struct template **t)
{
	template_free(*t);
	*t = NULL;
}

const char *template_text(const struct template *t)
{
	return t->canonical;
}

bool template_is_fragile(const struct template *t)
{
	return t->fragile;
}

size_t template_cost(const struct template *t)
{
	return t->n;
}
