/* passwd.h - "USER[:GROUP]" to numbers by the text of passwd and group files; pure. */
#ifndef FCVM_AGENT_PASSWD_H
#define FCVM_AGENT_PASSWD_H

#include "child.h"
#include "err.h"

struct passwd_user {
	struct child_user ids;
	char home[256]; /* "/" when passwd does not know the user */
};

/* Numbers need no entry; names do. Without GROUP: the user's own group and those that list it. */
int passwd_lookup(const char *passwd, const char *group, const char *want, struct passwd_user *ret,
		  struct err *err);

#endif
