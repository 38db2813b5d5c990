#include "commands.h"

#include "cleanup.h"

/* In the order help shows them. */
const struct command commands[] = {
	{"validate", NULL, "check a spec and print every problem", "[FILE]", "validate fleet.yaml",
	 cmd_validate, 0},
	{"plan", NULL, "show what apply would do, and the field that causes each step", "[FILE]",
	 "plan fleet.yaml --set fleets.web.count=5", cmd_plan, 0},
	{"apply", NULL, "make the machine match the spec", "[FILE]", "apply fleet.yaml", cmd_apply,
	 0},
	{"destroy", NULL, "remove everything of a set", "FILE|SET", "destroy fleet.yaml",
	 cmd_destroy, 0},
	{"ps", "ls", "list virtual machines, clones and page servers", "[SET...]",
	 "ps hello --json", cmd_ps, 0},
	{"exec", NULL, "run a command in a container, or in the guest with --vm", "VM -- CMD...",
	 "exec hello.web-0 -- hostname", cmd_exec, 0},
	{"events", NULL, "print what apply did and what became of its VMs, as JSON lines",
	 "[SET...]", "events -f hello", cmd_events, 0},
	{"logs", NULL, "print what a container wrote", "VM", "logs -f hello.web-0", cmd_logs, 0},
	{"stop", NULL, "stop virtual machines and keep their records", "VM...", "stop hello.web-0",
	 cmd_stop, 0},
	{"rm", NULL, "remove virtual machines", "VM...", "rm default.box", cmd_rm, 0},
	{"podman run", NULL, "run one container in a virtual machine of its own", "IMAGE [CMD...]",
	 "podman run --rm oci-archive:hello.tar", cmd_podman_run, 0},
	{"snapshot create", NULL, "snapshot a running virtual machine", "VM",
	 "snapshot create default.box --tag warm", cmd_snapshot_create, 0},
	{"snapshot serve", NULL, "serve a snapshot's memory to clones, in the foreground", "NAME",
	 "snapshot serve warm", cmd_snapshot_serve, 0},
	{"snapshot run", NULL, "start a clone of a snapshot", "",
	 "snapshot run --snapshot warm --exec hostname", cmd_snapshot_run, 0},
	{"snapshot ls", NULL, "list snapshots", "", "snapshot ls", cmd_snapshot_ls, 0},
	{"snapshot rm", NULL, "remove a snapshot", "NAME", "snapshot rm warm", cmd_snapshot_rm, 0},
	{"setup", NULL, "fetch or build the kernel and root file system", "", "setup --update",
	 cmd_setup, 0},
	{"doctor", NULL, "is this host able to run virtual machines", "", "doctor --json",
	 cmd_doctor, 0},
	{"explain", NULL, "what a spec field means", "[FIELD]", "explain fleets.F.count",
	 cmd_explain, 0},
	{"schema", NULL, "the spec's JSON schema", "[fleet]", "schema fleet", cmd_schema, 0},
	{"help", NULL, "this list, or the options of a command", "[COMMAND]", "help apply",
	 cmd_help, 0},
	{"internal", NULL, "processes fcvm starts by itself", "NAME", "internal supervise",
	 cmd_internal, COMMAND_INTERNAL},
};
const size_t commands_n = ARRAY_SIZE(commands);

const char *const commands_later[] = {"completion", "console", "cp",  "gc",     "graph",
				      "merge",      "mv",      "run", "render", NULL};
