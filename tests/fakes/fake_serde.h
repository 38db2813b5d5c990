/* fake_serde.h - request bodies as Firecracker takes them apart: every field by its table, the
 * first thing wrong told in serde's words with its column. Included by fake_firecracker.c only.
 * Longer than a header may be: a fake is one program of one object file. */
#ifndef FCVM_TESTS_FAKE_SERDE_H
#define FCVM_TESTS_FAKE_SERDE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"

enum kind { K_MAC, K_PATH, K_TEXT, K_BOOL, K_U8, K_U32, K_U64, K_VARIANT, K_OBJECT, K_LIST, K_ANY };

struct shape;
struct member {
	const char *name;
	enum kind kind;
	bool required;
	unsigned int since; /* minor version; 0: always */
	const char *const *variants;
	const struct shape *of; /* K_OBJECT, K_LIST */
};
struct shape {
	const struct member *members; /* ends with a NULL name */
	bool open;                    /* takes what it does not know */
};

struct serde {
	const char *text;
	size_t len, at;
	unsigned int minor;
	struct buf *err; /* the first thing wrong, "" when nothing is */
};

/* at is the number of bytes taken so far, which is the column of the last one. */
__attribute__((format(printf, 2, 3))) static bool serde_fail(struct serde *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(s->err, fmt, ap);
	va_end(ap);
	buf_addf(s->err, " at line 1 column %zu", s->at);
	return false;
}

static char serde_peek(struct serde *s)
{
	while (s->at < s->len && strchr(" \t\r\n", s->text[s->at]))
		s->at++;
	if (s->at >= s->len)
		return '\0';
	return s->text[s->at];
}

static bool serde_string(struct serde *s, char *ret, size_t size)
{
	size_t n = 0;

	for (s->at++; s->at < s->len && s->text[s->at] != '"'; s->at++) {
		if (s->text[s->at] == '\\')
			s->at++;
		if (n + 1 < size && s->at < s->len)
			ret[n++] = s->text[s->at];
	}
	ret[n] = '\0';
	if (s->at >= s->len)
		return serde_fail(s, "EOF while parsing a string");
	s->at++;
	return true;
}

static void serde_choices(struct buf *out, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%s`%s`",
			 i == 0   ? n > 2 ? "one of " : ""
			 : n == 2 ? " or "
				  : ", ",
			 names[i]);
}

static bool serde_variant(struct serde *s, const struct member *m, const char *got)
{
	auto_buf struct buf list = BUF_INIT(1024);
	size_t n = 0;

	for (; m->variants[n]; n++)
		if (strcmp(m->variants[n], got) == 0)
			return true;
	serde_choices(&list, m->variants, n);
	return serde_fail(s, "unknown variant `%s`, expected %s", got, buf_str(&list));
}

static const char *serde_wanted(enum kind kind)
{
	static const char *const wanted[] = {
		[K_MAC] = "a string",  [K_PATH] = "path string",
		[K_TEXT] = "a string", [K_BOOL] = "a boolean",
		[K_U8] = "u8",         [K_U32] = "u32",
		[K_U64] = "usize",     [K_VARIANT] = "a string",
		[K_OBJECT] = "struct", [K_LIST] = "a sequence",
		[K_ANY] = "any value",
	};

	return wanted[kind];
}

static bool serde_object(struct serde *s, const struct shape *shape);
static bool serde_value(struct serde *s, const struct member *m);

static bool serde_list(struct serde *s, const struct shape *shape)
{
	const struct member item = {.kind = shape ? K_OBJECT : K_ANY, .of = shape};

	s->at++;
	while (serde_peek(s) != ']') {
		if (!serde_value(s, &item))
			return false;
		if (serde_peek(s) == ',')
			s->at++;
		else if (serde_peek(s) != ']')
			return serde_fail(s, "EOF while parsing a list");
	}
	s->at++;
	return true;
}

static bool serde_text(struct serde *s, const struct member *m)
{
	char text[4096];

	if (!serde_string(s, text, sizeof(text)))
		return false;
	if (m->kind == K_VARIANT)
		return serde_variant(s, m, text);
	/* serde asks for the next byte before it says this. */
	if (m->kind == K_MAC && strlen(text) != strlen("00:00:00:00:00:00") && s->at++)
		return serde_fail(s, "The provided MAC address is invalid.");
	if (m->kind != K_MAC && m->kind != K_PATH && m->kind != K_TEXT && m->kind != K_ANY)
		return serde_fail(s, "invalid type: string \"%s\", expected %s", text,
				  serde_wanted(m->kind));
	return true;
}

/* Numbers and words. */
static bool serde_plain(struct serde *s, const struct member *m)
{
	size_t n = strcspn(s->text + s->at, " ,]}");
	const char *at = s->text + s->at;
	bool word = strchr("tfn", *at) != NULL;

	if (s->at + n > s->len)
		n = s->len - s->at;
	if (word && strncmp(at, "true", n) != 0 && strncmp(at, "false", n) != 0 &&
	    strncmp(at, "null", n) != 0) {
		s->at += 2;
		return serde_fail(s, "expected ident");
	}
	s->at += n;
	if (m->kind == K_PATH || m->kind == K_TEXT || m->kind == K_VARIANT || m->kind == K_OBJECT ||
	    m->kind == K_LIST)
		return serde_fail(s, "invalid type: %s `%.*s`, expected %s",
				  word ? "boolean" : "integer", (int)n, at, serde_wanted(m->kind));
	return true;
}

static bool serde_value(struct serde *s, const struct member *m)
{
	static const struct member none = {.name = NULL};
	static const struct shape anything = {.members = &none, .open = true};
	char c = serde_peek(s);

	if (c == '"')
		return serde_text(s, m);
	if (c == '{' && (m->kind == K_OBJECT || m->kind == K_ANY))
		return serde_object(s, m->of ? m->of : &anything);
	if (c == '[' && (m->kind == K_LIST || m->kind == K_ANY))
		return serde_list(s, m->of);
	if (c == '{' || c == '[')
		return serde_fail(s, "invalid type: %s, expected %s", c == '{' ? "map" : "sequence",
				  serde_wanted(m->kind));
	return serde_plain(s, m);
}

static bool serde_has(const struct serde *s, const struct member *m)
{
	return m->since == 0 || s->minor >= m->since;
}

static bool serde_unknown(struct serde *s, const struct shape *shape, const char *key)
{
	auto_buf struct buf list = BUF_INIT(1024);
	const char *names[32];
	size_t n = 0;

	for (const struct member *m = shape->members; m->name; m++)
		if (serde_has(s, m))
			names[n++] = m->name;
	serde_choices(&list, names, n);
	return serde_fail(s, "unknown field `%s`, expected %s", key, buf_str(&list));
}

static bool serde_member(struct serde *s, const struct shape *shape, uint32_t *seen)
{
	const struct member any = {.kind = K_ANY}, *m = shape->members;
	char key[256];

	if (!serde_string(s, key, sizeof(key)))
		return false;
	while (m->name && (strcmp(m->name, key) != 0 || !serde_has(s, m)))
		m++;
	if (!m->name && !shape->open)
		return serde_unknown(s, shape, key);
	if (m->name && (*seen & (1u << (m - shape->members))))
		return serde_fail(s, "duplicate field `%s`", key);
	if (m->name)
		*seen |= 1u << (m - shape->members);
	if (serde_peek(s) == ':')
		s->at++;
	return serde_value(s, m->name ? m : &any);
}

static bool serde_object(struct serde *s, const struct shape *shape)
{
	uint32_t seen = 0;

	s->at++;
	while (serde_peek(s) == '"') {
		if (!serde_member(s, shape, &seen))
			return false;
		if (serde_peek(s) == ',')
			s->at++;
	}
	if (serde_peek(s) != '}')
		return serde_fail(s, "EOF while parsing an object");
	s->at++;
	for (const struct member *m = shape->members; m->name; m++)
		if (m->required && !(seen & (1u << (m - shape->members))))
			return serde_fail(s, "missing field `%s`", m->name);
	return true;
}

/* False: err has the sentence. */
static bool serde_check(const char *text, size_t len, const struct shape *shape, unsigned int minor,
			struct buf *err)
{
	struct serde s = {.text = text, .len = len, .minor = minor, .err = err};
	const struct member whole = {.kind = K_OBJECT, .of = shape};

	return serde_value(&s, &whole);
}

#endif
