#include "passwd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "parse.h"
#include "xalloc.h"

#define FIELDS_MAX 7

/* One line cut at its colons; fields are empty when missing. */
struct entry {
	char *text;
	const char *field[FIELDS_MAX];
};

static void entry_free(struct entry *e)
{
	cleanup_free_p(&e->text);
}
#define auto_entry __attribute__((cleanup(entry_free)))

static const char *entry_split(const char *line, struct entry *ret)
{
	size_t n = strcspn(line, "\n");
	char *at = xstrndup(line, n);

	entry_free(ret);
	ret->text = at;
	for (int i = 0; i < FIELDS_MAX; i++) {
		ret->field[i] = at ? strsep(&at, ":") : "";
	}
	return line + n + (line[n] == '\n');
}

/* The entry whose name, or whose number (field 2), is `want`. */
static bool entry_find(const char *text, const char *want, struct entry *ret)
{
	while (*text) {
		text = entry_split(text, ret);
		if (*want && (strcmp(ret->field[0], want) == 0 || strcmp(ret->field[2], want) == 0))
			return true;
	}
	return false;
}

static bool parse_id(const char *s, uint32_t *ret)
{
	uint64_t v;

	if (parse_u64(s, 0, UINT32_MAX - 1, &v, NULL) < 0)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static bool lists_member(const char *members, const char *name)
{
	size_t len = strlen(name);

	while (*members) {
		size_t n = strcspn(members, ",");

		if (n == len && len > 0 && memcmp(members, name, n) == 0)
			return true;
		members += n + (members[n] == ',');
	}
	return false;
}

static void add_groups(const char *group, const char *name, struct child_user *ids)
{
	auto_entry struct entry e = {0};

	while (*group && ids->n_groups < CHILD_GROUPS_MAX) {
		uint32_t gid;

		group = entry_split(group, &e);
		if (lists_member(e.field[3], name) && parse_id(e.field[2], &gid))
			ids->groups[ids->n_groups++] = gid;
	}
}

static int find_user(const char *passwd, const char *group, const char *name,
		     struct passwd_user *ret, struct err *err)
{
	auto_entry struct entry e = {0};

	if (entry_find(passwd, name, &e) && parse_id(e.field[2], &ret->ids.uid) &&
	    parse_id(e.field[3], &ret->ids.gid)) {
		(void)snprintf(ret->home, sizeof(ret->home), "%s", *e.field[5] ? e.field[5] : "/");
		add_groups(group, e.field[0], &ret->ids);
		return 0;
	}
	if (!parse_id(name, &ret->ids.uid))
		return err_set(err, ERR_GUEST, -ENOENT, "no user '%s' in /etc/passwd", name);
	ret->ids.gid = 0;
	(void)snprintf(ret->home, sizeof(ret->home), "/");
	return 0;
}

static int find_group(const char *group, const char *name, struct passwd_user *ret, struct err *err)
{
	auto_entry struct entry e = {0};
	const char *number = entry_find(group, name, &e) ? e.field[2] : name;

	ret->ids.n_groups = 0;
	if (!parse_id(number, &ret->ids.gid))
		return err_set(err, ERR_GUEST, -ENOENT, "no group '%s' in /etc/group", name);
	return 0;
}

int passwd_lookup(const char *passwd, const char *group, const char *want, struct passwd_user *ret,
		  struct err *err)
{
	size_t n = strcspn(want, ":");
	auto_free char *user = xstrndup(want, n);
	struct passwd_user u = {0};
	int r = find_user(passwd, group, user, &u, err);

	if (r == 0 && want[n] == ':')
		r = find_group(group, want + n + 1, &u, err);
	if (r == 0)
		*ret = u;
	return r;
}
