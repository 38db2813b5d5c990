/* proto.h - what host and agent say to each other: ports, message types, fields. One table for
 * both sides; prose in docs/agent-protocol.md. Frames are runner/base/frame.h, bodies are
 * runner/base/tlv.h; data frames (EXEC_STDIN/STDOUT/STDERR) carry raw bytes.
 *
 * Every request carries TAG_ID and is answered by exactly one MSG_REPLY with the same TAG_ID,
 * TAG_CODE (0 or a positive errno) and, on failure, TAG_TEXT. */
#ifndef FCVM_AGENT_PROTO_H
#define FCVM_AGENT_PROTO_H

#include <stdint.h>

#define AGENT_PROTO_VERSION 2
#define AGENT_CONTROL_MAX (256u << 10) /* body limit of TLV frames */
#define AGENT_DATA_MAX (64u << 10)     /* body limit of data frames */

enum agent_port {
	AGENT_PORT_VOLUMES = 4994, /* one connection per stream of a host volume */
	AGENT_PORT_CONTROL = 4995, /* one connection, the supervisor's */
	AGENT_PORT_LOGS = 4996,    /* one connection, the supervisor's */
	AGENT_PORT_EXEC = 4998,    /* one connection per command */
	AGENT_PORT_STATUS = 4999,  /* text lines: "ready", "exit:N" */
};

enum agent_msg {
	/* control, host -> agent */
	MSG_HELLO = 1,   /* TAG_VERSION; reply adds TAG_VERSION, TAG_BOOT_ID, TAG_AGENT; the
			    container's and its health's present state follow as events */
	MSG_WORKLOAD,    /* one TAG_CONTAINER; starts it; the reply means accepted */
	MSG_PREPARE,     /* TAG_HOOK..., TAG_SETTLE_MS: hooks, sync, freeze; reply when frozen */
	MSG_THAW,        /* source VM goes on after a snapshot */
	MSG_RESUME,      /* clone identity, see below; EVENT_GATE for each gate; reply when ready */
	MSG_METADATA,    /* TAG_METADATA: rewrite /run/fcvm/metadata.json */
	MSG_HEALTHCHECK, /* TAG_HEALTH...: replace the probe in place */
	MSG_SHUTDOWN,    /* TAG_GRACE_MS: stop containers, sync, reply, power off */
	MSG_PING,
	/* control, agent -> host */
	MSG_REPLY = 64,
	MSG_EVENT_CONTAINER, /* TAG_NAME, TAG_STATE, TAG_EXIT_CODE when exited, TAG_TEXT why */
	MSG_EVENT_HEALTH, /* TAG_NAME, TAG_STATE healthy|unhealthy|starting, TAG_TEXT last output */
	MSG_EVENT_GATE,   /* TAG_NAME gate, TAG_MS */
	MSG_EVENT_VOLUME, /* TAG_NAME target, TAG_STREAM: the volume wants this stream */
	/* logs, agent -> host */
	MSG_LOG = 96, /* TAG_NAME container, TAG_STREAM 1|2, TAG_UNIX_NS when it was read,
			 TAG_DATA one line without its newline, cut at 16 KiB */
	/* exec, host -> agent */
	MSG_EXEC_START =
		128,    /* TAG_ARG..., TAG_ENV..., TAG_CWD, TAG_USER, TAG_TTY, TAG_ROWS,
			   TAG_COLS, TAG_TERM, TAG_NAME container ("" = guest OS), TAG_TIMEOUT_MS */
	MSG_EXEC_STDIN, /* raw */
	MSG_EXEC_STDIN_EOF,
	MSG_EXEC_RESIZE, /* TAG_ROWS, TAG_COLS */
	MSG_EXEC_SIGNAL, /* TAG_SIGNAL */
	/* exec, agent -> host */
	MSG_EXEC_STDOUT = 160, /* raw */
	MSG_EXEC_STDERR,       /* raw */
	MSG_EXEC_EXIT, /* TAG_EXIT_CODE (0..255; 128+signal), TAG_TEXT; 125 126 127 are ours;
			  124 = timeout. Always the last frame. */
	/* volumes, host -> agent: the first frame of a stream; fuse-pipe's own from then on */
	MSG_VOLUME_STREAM = 192, /* TAG_NAME target, TAG_STREAM */
};

enum agent_tag {
	TAG_ID = 1,
	TAG_CODE,
	TAG_TEXT,
	TAG_VERSION,
	TAG_BOOT_ID,
	TAG_AGENT, /* build identification text */
	TAG_NAME,
	TAG_STATE, /* container: created|started|exited ; health: healthy|unhealthy|starting */
	TAG_EXIT_CODE,
	TAG_MS,
	TAG_STREAM,
	TAG_UNIX_NS,
	TAG_DATA,
	TAG_SETTLE_MS,
	TAG_GRACE_MS,
	TAG_METADATA, /* opaque blob */
	/* containers: TAG_CONTAINER holds a nested TLV list of the ones below */
	TAG_CONTAINER,
	TAG_IMAGE,      /* reference in the store, as the host named it */
	TAG_STORE,      /* serial of the disk that holds its store */
	TAG_ENTRYPOINT, /* repeated words; none = image's */
	TAG_ARG,        /* repeated: command, or exec argv */
	TAG_ENV,        /* repeated K=V */
	TAG_USER,
	TAG_CWD,
	/* health: TAG_HEALTH holds a nested list; no kind tag = no check */
	TAG_HEALTH,
	TAG_HTTP, /* URL, host part may be empty: http://:80/ */
	TAG_TCP,  /* :PORT */
	TAG_EXEC, /* repeated words */
	TAG_INTERVAL_MS,
	TAG_START_INTERVAL_MS,
	TAG_TIMEOUT_MS,
	TAG_RETRIES,
	TAG_START_PERIOD_MS,
	/* hooks: nested list: TAG_ARG..., optional TAG_NAME container, TAG_TIMEOUT_MS */
	TAG_HOOK,
	/* resume */
	TAG_EPOCH,       /* UUID text */
	TAG_UNIX_NOW_NS, /* wall clock as of sending */
	TAG_ENTROPY,     /* 64..256 bytes */
	TAG_HOSTNAME,
	TAG_MACHINE_ID,  /* 32 hex digits */
	TAG_NEW_BOOT_ID, /* UUID text */
	TAG_MTU,
	/* exec */
	TAG_TTY,
	TAG_ROWS,
	TAG_COLS,
	TAG_TERM,
	TAG_SIGNAL,
	/* resume: TAG_VOLUME holds a nested list of TAG_NAME and the ones below */
	TAG_VOLUME,
	TAG_KIND,      /* "disk", "host" */
	TAG_TARGET,    /* where it is mounted */
	TAG_SOURCE,    /* disk: serial of its drive */
	TAG_READ_ONLY, /* 0 or 1 */
	TAG_TRUSTED,   /* host: 1 when device nodes and set-id bits work */
};

/* Names for messages and logs; "?" for an unknown number. */
const char *agent_msg_name(uint16_t msg);

#endif
