/* launch_crun.h - `crun exec` for launch.c: its files, arguments, and what its end means. */
#ifndef FCVM_AGENT_LAUNCH_CRUN_H
#define FCVM_AGENT_LAUNCH_CRUN_H

#include "container.h"
#include "launch.h"

struct crun_exec;

/* Writes the process file from the container's config.json. */
int crun_exec_new(struct agent *agent, const struct container_view *view,
		  const struct launch_spec *spec, struct crun_exec **ret, struct err *err);
void crun_exec_free(struct crun_exec *c); /* removes its files; NULL is fine */
const char *const *crun_exec_argv(const struct crun_exec *c);
const char *crun_exec_console(const struct crun_exec *c);
/* To the groups of crun's children; false while there are none. crun is our unreaped child. */
bool crun_exec_signal(pid_t crun, int sig);
/* Exit code for the caller; text gets the sentence when crun itself failed and only we saw it. */
int crun_exec_code(const struct crun_exec *c, int status, struct buf *text);

/* Pure: the process object for crun. user NULL: the configured one. */
int crun_process_json(const char *config, size_t len, const struct launch_spec *spec,
		      const struct child_user *user, const char *home, struct buf *out,
		      struct err *err);
/* Pure: what crun's own complaint means. */
int crun_error_code(const char *message);

#endif
