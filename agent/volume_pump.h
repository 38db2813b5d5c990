/* volume_pump.h - the process that mounts one host volume and carries its messages. The agent must
 * have no threads, and its loop must never touch a host volume: the bytes behind it pass through
 * that very loop.
 *
 * Between agent and pump lies a SOCK_SEQPACKET pair. The pump says VOLUME_WANTS with the number of
 * a stream, VOLUME_READY once, or VOLUME_FAILED and a sentence; the agent sends that number back
 * with the stream. When the agent's end closes, the pump unmounts and ends. */
#ifndef FCVM_AGENT_VOLUME_PUMP_H
#define FCVM_AGENT_VOLUME_PUMP_H

#include <stdbool.h>

#define VOLUME_WANTS 'W'
#define VOLUME_READY 'R'
#define VOLUME_FAILED 'E'
#define VOLUME_SENTENCE_MAX 1024u

struct volume_pump {
	const char *target; /* made when it is not there */
	bool read_only, trusted;
	bool again; /* in place of one whose pump died: what is mounted there is dead */
	int sock;   /* of the pair; every other descriptor is closed */
};

/* In a forked child; data is a struct volume_pump. Returns the exit status. */
int volume_pump_run(void *data);

#endif
