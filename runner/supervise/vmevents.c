/* vmevents.c - what happens to a VM while nobody waits for it (docs/events.md). Who asked for a
 * launch tells of that himself. The file is opened for each event: there are few, apply turns it
 * over meanwhile, and a set that was destroyed is not to come back. */
#include "super.h"

#include "cleanup.h"
#include "eventlog.h"

#include <string.h>

/* The tag is "SET/KIND/NAME"; an address has no set. */
static void tell_state(struct super *s)
{
	auto_json struct json_object *o = eventlog_new(s->host, "state", s->told.seq++);
	const char *slash = strchr(s->spec->tag, '/');
	auto_close int fd = -1;

	json_add_str(o, "resource", slash ? slash + 1 : s->spec->tag);
	vmstate_add_event(&s->st, o);
	if (eventlog_open(s->spec->events, &fd, NULL) == 0)
		eventlog_write(fd, o);
}

void vmevents_tell(struct super *s)
{
	const bool alone = s->spec->events && !s->launch_req;

	if (alone && (s->told.run != s->st.run || s->told.health != s->st.health))
		tell_state(s);
	s->told.run = s->st.run;
	s->told.health = s->st.health;
}
