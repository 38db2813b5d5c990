#include "opt.h"

#include "cleanup.h"
#include "parse.h"
#include "xalloc.h"

#include <errno.h>
#include <string.h>

struct parsing {
	const struct opt_parse *how;
	char *const *argv;
	int argc;
	int i; /* the argument looked at */
};

static const struct opt *find_long(const struct opt_parse *how, const char *name, size_t len)
{
	for (size_t i = 0; i < how->n; i++)
		if (strlen(how->opts[i].name) == len && !memcmp(how->opts[i].name, name, len))
			return &how->opts[i];
	return NULL;
}

static const struct opt *find_short(const struct opt_parse *how, char name)
{
	for (size_t i = 0; i < how->n; i++)
		if (how->opts[i].short_name == name)
			return &how->opts[i];
	return NULL;
}

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);

	for (const char *at = choices;; at++) {
		size_t n = strcspn(at, "|");
		if (n == len && !memcmp(at, text, len))
			return true;
		at += n;
		if (!*at)
			return false;
	}
}

static int not_yet(const char *shown, struct err *err)
{
	return err_set(err, ERR_SPEC, -ENOTSUP, "option '%s' is not available in this version",
		       shown);
}

static int unknown_long(const struct opt_parse *how, const char *name, size_t len, struct err *err)
{
	auto_free char *word = xstrndup(name, len);
	auto_free const char **names = xcalloc(how->n, sizeof(*names));

	if (how->later && is_choice(how->later, word)) {
		auto_free char *shown = xasprintf("--%s", word);
		return not_yet(shown, err);
	}
	for (size_t i = 0; i < how->n; i++)
		names[i] = how->opts[i].name;
	const char *nearest = strv_nearest(word, names, how->n);
	(void)err_set(err, ERR_SPEC, -EINVAL, "unknown option '--%s'", word);
	if (nearest)
		(void)err_hint(err, "did you mean '--%s'?", nearest);
	return -EINVAL;
}

/* "a, b or c" */
static void list_choices(const char *choices, struct buf *out)
{
	for (const char *at = choices; *at;) {
		size_t len = strcspn(at, "|");
		const char *next = at + len + (at[len] == '|');

		if (at != choices)
			buf_add_str(out, *next ? ", " : " or ");
		buf_add(out, at, len);
		at = next;
	}
}

static int set_flag(const struct opt *o, const char *text, struct err *err)
{
	(void)text;
	(void)err;
	*(bool *)o->value = true;
	return 0;
}

static int set_str(const struct opt *o, const char *text, struct err *err)
{
	(void)err;
	*(const char **)o->value = text;
	return 0;
}

static int set_strv(const struct opt *o, const char *text, struct err *err)
{
	(void)err;
	strv_add(o->value, text);
	return 0;
}

static int set_u64(const struct opt *o, const char *text, struct err *err)
{
	return parse_u64(text, o->min, o->max ? o->max : UINT64_MAX, o->value, err);
}

static int set_size(const struct opt *o, const char *text, struct err *err)
{
	return parse_size(text, o->value, NULL, err);
}

static int set_duration(const struct opt *o, const char *text, struct err *err)
{
	return parse_duration_ms(text, o->value, err);
}

static int set_choice(const struct opt *o, const char *text, struct err *err)
{
	auto_buf struct buf list = BUF_INIT(512);

	if (is_choice(o->choices, text))
		return set_str(o, text, err);
	list_choices(o->choices, &list);
	return err_set(err, ERR_SPEC, -EINVAL, "expected %s, got '%s'", buf_str(&list), text);
}

static int (*const setters[])(const struct opt *o, const char *text, struct err *err) = {
	[OPT_FLAG] = set_flag,     [OPT_STR] = set_str,   [OPT_STRV] = set_strv,
	[OPT_U64] = set_u64,       [OPT_SIZE] = set_size, [OPT_DURATION] = set_duration,
	[OPT_CHOICE] = set_choice,
};

/* shown: the option as it was written. text NULL: the value is the next argument. */
static int set_value(struct parsing *p, const struct opt *o, const char *shown, const char *text,
		     struct err *err)
{
	if (o->kind != OPT_FLAG && !text) {
		if (p->i + 1 >= p->argc)
			return err_set(err, ERR_SPEC, -EINVAL, "option '%s' needs a value (%s)",
				       shown, o->arg ? o->arg : "VALUE");
		text = p->argv[++p->i];
	}
	int r = setters[o->kind](o, text, err);
	return r < 0 ? err_wrap(err, "option '%s'", shown) : 0;
}

static int parse_long(struct parsing *p, const char *arg, struct err *err)
{
	const char *name = arg + 2;
	size_t len = strcspn(name, "=");
	const struct opt *o = find_long(p->how, name, len);

	if (!o)
		return unknown_long(p->how, name, len, err);
	const char *text = name[len] == '=' ? name + len + 1 : NULL;
	auto_free char *shown = xasprintf("--%s", o->name);
	if (o->kind == OPT_FLAG && text)
		return err_set(err, ERR_SPEC, -EINVAL, "option '%s' takes no value, got '%s'",
			       shown, text);
	return set_value(p, o, shown, text, err);
}

static int parse_short(struct parsing *p, const char *arg, struct err *err)
{
	for (const char *at = arg + 1; *at; at++) {
		const struct opt *o = find_short(p->how, *at);
		char shown[] = {'-', *at, '\0'};

		if (!o && p->how->later && is_choice(p->how->later, shown + 1))
			return not_yet(shown, err);
		if (!o)
			return err_set(err, ERR_SPEC, -EINVAL, "unknown option '%s'%s%s%s", shown,
				       arg[2] ? " in '" : "", arg[2] ? arg : "", arg[2] ? "'" : "");
		if (o->kind != OPT_FLAG)
			return set_value(p, o, shown, at[1] ? at + 1 : NULL, err);
		int r = set_value(p, o, shown, NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* "-" alone is a positional: it stands for stdin. */
static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1];
}

static void add_rest(const struct parsing *p, int from, struct strv *args)
{
	for (int i = from; i < p->argc; i++)
		strv_add(args, p->argv[i]);
}

int opt_parse(const struct opt_parse *how, int argc, char *const *argv, struct strv *ret_args,
	      int *ret_dashdash, struct err *err)
{
	struct parsing p = {.how = how, .argv = argv, .argc = argc, .i = 1};
	auto_strv struct strv args = {0};
	int dashdash = -1;

	for (; p.i < argc; p.i++) {
		const char *arg = argv[p.i];
		int r = 0;

		if (!strcmp(arg, "--")) {
			dashdash = (int)args.n;
			add_rest(&p, p.i + 1, &args);
			break;
		}
		if (!is_option(arg) && how->stop_at_positional) {
			add_rest(&p, p.i, &args);
			break;
		}
		if (!is_option(arg))
			strv_add(&args, arg);
		else
			r = arg[1] == '-' ? parse_long(&p, arg, err) : parse_short(&p, arg, err);
		if (r < 0)
			return r;
	}
	strv_free(ret_args);
	*ret_args = args;
	args = (struct strv){0};
	if (ret_dashdash)
		*ret_dashdash = dashdash;
	return 0;
}

static void left_column(const struct opt *o, struct buf *out)
{
	if (o->short_name)
		buf_addf(out, "  -%c, --%s", o->short_name, o->name);
	else
		buf_addf(out, "      --%s", o->name);
	if (o->kind != OPT_FLAG)
		buf_addf(out, " %s", o->arg ? o->arg : o->choices ? o->choices : "VALUE");
}

void opt_usage(const struct opt *opts, size_t n, struct buf *out)
{
	auto_buf struct buf left = BUF_INIT(4096);
	size_t width = 0;

	for (size_t i = 0; i < n; i++) {
		buf_reset(&left);
		left_column(&opts[i], &left);
		if (left.len > width)
			width = left.len;
	}
	for (size_t i = 0; i < n; i++) {
		buf_reset(&left);
		left_column(&opts[i], &left);
		buf_addf(out, "%-*s  %s\n", (int)width, buf_str(&left), opts[i].doc);
	}
}
