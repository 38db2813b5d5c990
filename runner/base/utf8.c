#include "utf8.h"

#include "xalloc.h"

#include <stddef.h>

/* Bytes of the character at s, 0 when there is none. Overlong forms, surrogates and what lies above
 * U+10FFFF differ from characters in their second byte only. The zero at the end of s is no
 * continuation, so nothing behind it is looked at. */
static size_t char_size(const unsigned char *s)
{
	static const struct {
		unsigned char first, last, second_min, second_max;
		size_t size;
	} forms[] = {
		{0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last)
			continue;
		if (forms[i].size > 1 && (s[1] < forms[i].second_min || s[1] > forms[i].second_max))
			return 0;
		for (size_t k = 2; k < forms[i].size; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].size;
	}
	return 0;
}

char *utf8_clean(const char *text)
{
	char *copy = xstrdup(text);

	for (size_t at = 0; copy[at];) {
		size_t size = char_size((const unsigned char *)copy + at);

		if (size == 0)
			copy[at] = '?';
		at += size ? size : 1;
	}
	return copy;
}
