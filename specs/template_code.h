/* template_code.h - what template_compile() makes and template_expand() runs: a postfix program. */
#ifndef FCVM_SPECS_TEMPLATE_CODE_H
#define FCVM_SPECS_TEMPLATE_CODE_H

#include "strv.h"
#include "template.h"

#define TEMPLATE_OPS_MAX 512
#define TEMPLATE_DEPTH_MAX 16
#define TEMPLATE_STACK_MAX 64 /* a level holds two left operands and one argument at most */

enum template_op_kind {
	OP_LITERAL, /* text outside {{ }}: to the output */
	OP_EMIT,    /* the value on the stack: to the output */
	OP_INT,
	OP_TEXT,
	OP_INDEX, /* names, in the order of the table in template.c */
	OP_CLONE,
	OP_FLEET,
	OP_JOB,
	OP_ITEM,
	OP_SLICE_INDEX,
	OP_ADD,
	OP_SUB,
	OP_MUL,
	OP_DIV,
	OP_MOD,
	OP_NEG,
	OP_PAD,
	OP_HASH8,
	OP_LOWER,
	OP_KINDS,
};

struct template_op {
	enum template_op_kind kind;
	int64_t value; /* OP_INT */
	size_t text;   /* OP_LITERAL, OP_TEXT: index in texts */
};

struct template
{
	struct template_op *ops;
	size_t n, cap;
	struct strv texts;
	char *canonical;
	bool fragile;
};

#endif
