/* wire.h - what supervisors and the page server say to each other on server.sock: frames whose
 * bodies are JSON objects. docs/page-server.md has the table. */
#ifndef FCVM_MEMORY_WIRE_H
#define FCVM_MEMORY_WIRE_H

#define WIRE_SOCKET "server.sock"
#define WIRE_BODY_MAX 4096u /* but for the reply to WIRE_METRICS */

enum wire_type {
	WIRE_HELLO = 1, /* first, both ways: {"proto","version"}; the reply adds pid, start_time,
			   boot_id */
	WIRE_ANNOUNCE,  /* {"vm_id","uid","pid","start_time","boot_id"} and the listening socket */
	WIRE_OK,        /* reply: {} */
	WIRE_ERROR,     /* reply: {"class","code","message","hint"} */
	WIRE_PING,
	WIRE_PONG,    /* only while every serving thread comes round */
	WIRE_HANDOFF, /* note: memory was taken over: {"bytes"} */
	WIRE_REPORT,  /* the VM cannot be served: as WIRE_ERROR, then the connection ends */
	WIRE_METRICS, /* request {} and reply */
	WIRE_STOP,    /* {"force"} */
};

#endif
