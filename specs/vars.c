#include "vars.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "parse.h"
#include "xalloc.h"

void vars_free(struct vars *vars)
{
	for (size_t i = 0; i < vars->n; i++) {
		free(vars->v[i].name);
		free(vars->v[i].text);
	}
	free(vars->v);
	*vars = (struct vars){0};
}

/* Only numbers that print as they are written: 007 and +1 stay text. */
static bool is_number(const char *text, int64_t *ret)
{
	const char *digits = text[0] == '-' ? text + 1 : text;

	if (digits[0] < '0' || digits[0] > '9' || (digits[0] == '0' && text[1] != '\0'))
		return false;
	return parse_i64(text, INT64_MIN, INT64_MAX, ret, NULL) >= 0;
}

struct var *vars_add(struct vars *vars, const char *name, const char *text, bool plain)
{
	vars->v = xgrow(vars->v, &vars->cap, vars->n + 1, sizeof(*vars->v));
	struct var *var = &vars->v[vars->n++];

	*var = (struct var){.name = xstrdup(name), .text = xstrdup(text)};
	var->is_int = plain && is_number(text, &var->value);
	return var;
}

struct var *vars_find(const struct vars *vars, const char *name)
{
	for (size_t i = 0; i < vars->n; i++) {
		if (strcmp(vars->v[i].name, name) == 0)
			return &vars->v[i];
	}
	return NULL;
}

bool vars_is_name(const char *name)
{
	if (name[0] < 'a' || name[0] > 'z')
		return false;
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n <= 63 && name[n] == '\0';
}

char *vars_list(const struct vars *vars)
{
	struct buf out = BUF_INIT(400);

	buf_add_str(&out, vars->n ? "there are: " : "there are none");
	for (size_t i = 0; i < vars->n; i++)
		buf_addf(&out, "%s%s", i ? ", " : "", vars->v[i].name);
	return buf_detach(&out);
}
