/* template_expand.c - runs a compiled template for one clone. */
#include "template_code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "cleanup.h"
#include "digest.h"
#include "xalloc.h"

struct value {
	bool is_int;
	int64_t number;
	const char *text;
	char *owned; /* text made on the way */
};

struct machine {
	const struct template *t;
	const struct template_values *values;
	struct value stack[TEMPLATE_STACK_MAX];
	size_t n;
	struct buf out;
	struct err *err;
};

static void push_number(struct machine *m, int64_t number)
{
	m->stack[m->n++] = (struct value){.is_int = true, .number = number};
}

static void push_text(struct machine *m, const char *text)
{
	m->stack[m->n++] = (struct value){.text = text ? text : ""};
}

static void push_owned(struct machine *m, char *text)
{
	m->stack[m->n++] = (struct value){.text = text, .owned = text};
}

static struct value *pop(struct machine *m)
{
	return &m->stack[--m->n];
}

static int op_literal(struct machine *m, const struct template_op *op)
{
	buf_add_str(&m->out, m->t->texts.v[op->text]);
	return 0;
}

static void value_add(const struct value *v, struct buf *out)
{
	if (v->is_int)
		buf_addf(out, "%lld", (long long)v->number);
	else
		buf_add_str(out, v->text);
}

static int op_emit(struct machine *m, const struct template_op *op)
{
	struct value *v = pop(m);

	(void)op;
	value_add(v, &m->out);
	free(v->owned);
	return 0;
}

static int op_int(struct machine *m, const struct template_op *op)
{
	push_number(m, op->value);
	return 0;
}

static int op_text(struct machine *m, const struct template_op *op)
{
	push_text(m, m->t->texts.v[op->text]);
	return 0;
}

static int op_name(struct machine *m, const struct template_op *op)
{
	const struct template_values *v = m->values;
	const char *texts[OP_KINDS] = {[OP_CLONE] = v->clone,
				       [OP_FLEET] = v->fleet,
				       [OP_JOB] = v->job,
				       [OP_ITEM] = v->item};

	if (op->kind == OP_INDEX || op->kind == OP_SLICE_INDEX)
		push_number(m, op->kind == OP_INDEX ? v->index : v->slice_index);
	else
		push_text(m, texts[op->kind]);
	return 0;
}

static bool calculate(enum template_op_kind kind, int64_t a, int64_t b, int64_t *ret)
{
	if (kind == OP_ADD)
		return !__builtin_add_overflow(a, b, ret);
	if (kind == OP_SUB)
		return !__builtin_sub_overflow(a, b, ret);
	if (kind == OP_MUL)
		return !__builtin_mul_overflow(a, b, ret);
	if (b == 0 || (a == INT64_MIN && b == -1))
		return false;
	*ret = kind == OP_DIV ? a / b : a % b;
	return true;
}

static int op_calculate(struct machine *m, const struct template_op *op)
{
	int64_t b = pop(m)->number, a = pop(m)->number, result;

	if ((op->kind == OP_DIV || op->kind == OP_MOD) && b == 0)
		return err_set(m->err, ERR_SPEC, -EDOM, "the template divides by zero");
	if (!calculate(op->kind, a, b, &result))
		return err_set(m->err, ERR_SPEC, -ERANGE, "a number in the template is too large");
	push_number(m, result);
	return 0;
}

static int op_negate(struct machine *m, const struct template_op *op)
{
	int64_t result;

	(void)op;
	if (!calculate(OP_SUB, 0, pop(m)->number, &result))
		return err_set(m->err, ERR_SPEC, -ERANGE, "a number in the template is too large");
	push_number(m, result);
	return 0;
}

static int op_pad(struct machine *m, const struct template_op *op)
{
	int64_t width = pop(m)->number, number = pop(m)->number;

	(void)op;
	if (width < 1 || width > 20)
		return err_set(m->err, ERR_SPEC, -ERANGE,
			       "pad(n, width): expected a width of 1 to 20, got %lld",
			       (long long)width);
	push_owned(m, xasprintf("%0*lld", (int)width, (long long)number));
	return 0;
}

/* The text of the top value, taken off the stack; the caller frees. */
static char *pop_text(struct machine *m)
{
	struct value *v = pop(m);
	struct buf text = BUF_INIT(TEMPLATE_TEXT_MAX);

	value_add(v, &text);
	free(v->owned);
	return buf_detach(&text);
}

static int op_hash8(struct machine *m, const struct template_op *op)
{
	auto_free char *text = pop_text(m);
	char hex[DIGEST_HEX_SIZE];

	(void)op;
	digest_of(text, strlen(text), hex);
	push_owned(m, xstrndup(hex, 8));
	return 0;
}

static int op_lower(struct machine *m, const struct template_op *op)
{
	char *text = pop_text(m);

	(void)op;
	for (char *p = text; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
	push_owned(m, text);
	return 0;
}

static int (*const runners[OP_KINDS])(struct machine *, const struct template_op *) = {
	[OP_LITERAL] = op_literal,  [OP_EMIT] = op_emit,     [OP_INT] = op_int,
	[OP_TEXT] = op_text,        [OP_INDEX] = op_name,    [OP_CLONE] = op_name,
	[OP_FLEET] = op_name,       [OP_JOB] = op_name,      [OP_ITEM] = op_name,
	[OP_SLICE_INDEX] = op_name, [OP_ADD] = op_calculate, [OP_SUB] = op_calculate,
	[OP_MUL] = op_calculate,    [OP_DIV] = op_calculate, [OP_MOD] = op_calculate,
	[OP_NEG] = op_negate,       [OP_PAD] = op_pad,       [OP_HASH8] = op_hash8,
	[OP_LOWER] = op_lower,
};

int template_expand(const struct template *t, const struct template_values *values, char **ret,
		    struct err *err)
{
	struct machine m = {.t = t, .values = values, .err = err};
	int r = 0;

	m.out.max = TEMPLATE_TEXT_MAX;
	for (size_t i = 0; i < t->n && r >= 0; i++)
		r = runners[t->ops[i].kind](&m, &t->ops[i]);
	while (m.n > 0)
		free(pop(&m)->owned);
	if (r >= 0 && !buf_ok(&m.out))
		r = err_set(err, ERR_SPEC, -EMSGSIZE, "more than %d bytes after expansion",
			    TEMPLATE_TEXT_MAX);
	if (r < 0) {
		buf_free(&m.out);
		return r;
	}
	*ret = buf_detach(&m.out);
	return 0;
}
