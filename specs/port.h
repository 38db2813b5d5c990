/* port.h - one published port as a spec writes it: [IP:][HOST:]GUEST[/tcp|udp]. Pure. */
#ifndef FCVM_SPECS_PORT_H
#define FCVM_SPECS_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define PORT_TEXT_SIZE 40 /* of "255.255.255.255:65535:65535/udp" */

struct port {
	char host_ip[16]; /* "" = the VM's own loopback address */
	uint16_t host_port, guest_port;
	bool udp;
};

/* HOST:GUEST binds 127.0.0.1; GUEST alone binds the VM's own address, and a port left out between
 * IP and GUEST is the guest's. The sentence says what was expected. */
int port_parse(const char *text, struct port *ret, struct err *err);
/* "127.0.0.1:8080/tcp"; the VM's own address is left out: ":80/tcp". */
const char *port_name(const struct port *p, char ret[PORT_TEXT_SIZE]);
/* What port_parse() reads, in one way of writing it: "127.0.0.1:8080:80", "53/udp". */
const char *port_text(const struct port *p, char ret[PORT_TEXT_SIZE]);

#endif
