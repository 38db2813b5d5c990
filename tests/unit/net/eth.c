#include "eth.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "net.h"

#define GUEST_MAC "02:fc:00:00:00:64"
#define HEADER 10 /* struct virtio_net_hdr: nothing of it is used */
#define SILENCE_MS 1000

/* A test child's way to give up: its reader sees the text. */
static void check(bool ok, const char *what)
{
	if (ok)
		return;
	(void)dprintf(STDOUT_FILENO, "cannot %s\n", what);
	_exit(1);
}

static void put_mac(unsigned char *at, const char *text)
{
	unsigned int b[6];

	check(sscanf(text, "%x:%x:%x:%x:%x:%x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) == 6,
	      "read a MAC");
	for (int i = 0; i < 6; i++)
		at[i] = (unsigned char)b[i];
}

static void put16(unsigned char *at, unsigned int v)
{
	at[0] = (unsigned char)(v >> 8);
	at[1] = (unsigned char)v;
}

static uint16_t sum(const unsigned char *data, size_t len, uint32_t more)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		more += (uint32_t)(data[i] << 8 | data[i + 1]);
	while (more >> 16)
		more = (more & 0xffff) + (more >> 16);
	return (uint16_t)~more;
}

static struct eth ethernet(const char *mac, uint16_t type)
{
	struct eth f = {.len = ETH_HLEN + 46};

	put_mac(f.bytes, "52:55:ac:10:00:02");
	put_mac(f.bytes + 6, mac ? mac : GUEST_MAC);
	put16(f.bytes + 12, type);
	return f;
}

/* Header and, of TCP, the pseudo header: 20 bytes; of the others 8. */
static size_t put_transport(unsigned char *at, const struct packet *p)
{
	size_t len = p->proto == IPPROTO_TCP ? 20 : 8;

	if (p->proto == IPPROTO_ICMP) {
		at[0] = (unsigned char)p->sport;
		put16(at + 2, sum(at, len, 0));
		return len;
	}
	put16(at, p->sport);
	put16(at + 2, p->dport);
	if (p->proto == IPPROTO_UDP) {
		/* No checksum: there need be none. */
		put16(at + 4, (unsigned int)(len + p->data_len));
		if (p->data_len)
			memcpy(at + len, p->data, p->data_len);
		len += p->data_len;
	}
	if (p->proto == IPPROTO_TCP) {
		at[12] = 5 << 4;
		at[13] = p->ack ? 0x12 : 0x02;
		put16(at + 14, 1000);
	}
	return len;
}

struct eth eth_ip(const struct packet *p)
{
	struct eth f = ethernet(p->mac, ETHERTYPE_IP);
	unsigned char *ip = f.bytes + ETH_HLEN;
	size_t len = 20 + put_transport(ip + 20, p);
	uint32_t pseudo = IPPROTO_TCP + 20;

	len = p->first ? 28 : len;
	if (p->to_mac)
		memcpy(f.bytes, p->to_mac, 6);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned int)len);
	put16(ip + 4, p->dport);
	put16(ip + 6, p->first ? IP_MF : 0);
	f.len = ETH_HLEN + len;
	ip[8] = 64;
	ip[9] = p->proto;
	check(inet_pton(AF_INET, p->from ? p->from : NET_GUEST_IP, ip + 12) == 1 &&
		      inet_pton(AF_INET, p->to, ip + 16) == 1,
	      "read an address");
	put16(ip + 10, sum(ip, 20, 0));
	for (int i = 12; i < 20; i += 2)
		pseudo += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	if (p->proto == IPPROTO_TCP)
		put16(ip + 20 + 16, sum(ip + 20, 20, pseudo));
	return f;
}

struct eth eth_arp(const char *mac, const char *from, const char *to, bool reply)
{
	struct eth f = ethernet(mac, ETHERTYPE_ARP);
	unsigned char *arp = f.bytes + ETH_HLEN;

	if (!reply)
		memset(f.bytes, 0xff, 6);
	put16(arp, 1);
	put16(arp + 2, ETHERTYPE_IP);
	arp[4] = 6;
	arp[5] = 4;
	put16(arp + 6, reply ? 2 : 1);
	put_mac(arp + 8, mac ? mac : GUEST_MAC);
	check(inet_pton(AF_INET, from ? from : NET_GUEST_IP, arp + 14) == 1 &&
		      inet_pton(AF_INET, to, arp + 24) == 1,
	      "read an address");
	return f;
}

struct eth eth_of_type(uint16_t type)
{
	struct eth f = ethernet(NULL, type);

	f.bytes[ETH_HLEN] = 0x60;
	return f;
}

struct eth eth_from(const char *mac, struct eth f)
{
	put_mac(f.bytes, GUEST_MAC);
	put_mac(f.bytes + 6, mac);
	return f;
}

void eth_send(int fd, bool header, const struct eth *f)
{
	unsigned char all[HEADER + FRAME_SIZE] = {0};
	size_t skip = header ? HEADER : 0;

	memcpy(all + skip, f->bytes, f->len);
	check(write(fd, all, skip + f->len) == (ssize_t)(skip + f->len), "send a frame");
}

bool eth_read(int fd, bool header, struct eth *ret)
{
	unsigned char all[65536];
	size_t skip = header ? HEADER : 0;
	ssize_t n;

	if (io_wait(fd, POLLIN, deadline_in(SILENCE_MS)) != 1)
		return false;
	n = read(fd, all, sizeof(all));
	check(n > (ssize_t)skip, "read a frame");
	ret->len = (size_t)n - skip;
	if (ret->len > FRAME_SIZE)
		ret->len = FRAME_SIZE;
	memcpy(ret->bytes, all + skip, ret->len);
	return true;
}

bool eth_equal(const struct eth *a, const struct eth *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
