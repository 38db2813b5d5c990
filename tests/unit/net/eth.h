/* eth.h - Ethernet frames made by hand: what a guest, or a hostile one, puts on tap0. */
#ifndef FCVM_TESTS_NET_ETH_H
#define FCVM_TESTS_NET_ETH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_SIZE 128

struct eth {
	unsigned char bytes[FRAME_SIZE];
	size_t len;
};

/* IPv4 from MAC and address to an address; proto as in the header; ports (or ICMP type in sport)
 * where the protocol has them. NULL: the guest's own MAC and address. */
struct packet {
	const char *mac, *from, *to;
	uint8_t proto;
	uint16_t sport, dport;
	const unsigned char *to_mac; /* NULL: the gateway's */
	const void *data;            /* of UDP */
	size_t data_len;
	bool ack;   /* TCP: SYN and ACK, the second packet of a connection */
	bool first; /* of several fragments: 8 bytes of it, and more to come */
};
struct eth eth_ip(const struct packet *p);
/* ARP request of `from` (and mac) for `to`; reply: the answer instead. */
struct eth eth_arp(const char *mac, const char *from, const char *to, bool reply);
/* Some other protocol's. */
struct eth eth_of_type(uint16_t type);
/* Any valid frame, from the other side of the bridge. */
struct eth eth_from(const char *mac, struct eth f);

/* fd is a tap with (10 bytes of) virtio header or without. */
void eth_send(int fd, bool header, const struct eth *f);
/* The next frame, or false after a second of silence. */
bool eth_read(int fd, bool header, struct eth *ret);
bool eth_equal(const struct eth *a, const struct eth *b);

#endif
