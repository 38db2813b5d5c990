#include "null_host.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "fp_wire.h"
#include "io.h"
#include "xalloc.h"

#define NODE_DIR 2
#define NODE_BIG 3
#define NODE_FILE 16 /* and the number in the name */
#define BIG_SIZE (256ull << 20)
#define NAMES 100
#define IN_SIZE (2u * FP_FRAME_MAX)

struct stream {
	int fd;
	uint8_t *in;
	size_t start, end;
	struct buf out;
};

static const uint8_t zeros[FP_MAX_WRITE];

static void reply(struct stream *s, uint64_t unique, int error, const void *body, size_t len)
{
	static const uint8_t padding[8];
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + len), .error = error, .unique = unique};

	fp_head_put(buf_grow(&s->out, FP_HEAD_SIZE), 0, 0, out.len, 0);
	buf_add(&s->out, &out, sizeof(out));
	if (len)
		buf_add(&s->out, body, len);
	buf_add(&s->out, padding, fp_pad(out.len) - out.len);
}

static struct fuse_attr attr_of(uint64_t node)
{
	bool dir = node == FUSE_ROOT_ID || node == NODE_DIR;

	return (struct fuse_attr){
		.ino = node,
		.mode = dir ? S_IFDIR | 0777 : S_IFREG | 0666,
		.nlink = dir ? 2 : 1,
		.size = node == NODE_BIG ? BIG_SIZE : 4096,
		.blksize = 4096,
	};
}

static void reply_init(struct stream *s, const struct fuse_in_header *h,
		       const struct fuse_init_in *in)
{
	const struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = in->minor < FUSE_KERNEL_MINOR_VERSION ? in->minor
							       : FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = in->max_readahead,
		.flags = in->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES |
				      FUSE_PARALLEL_DIROPS | FUSE_ATOMIC_O_TRUNC),
		.max_background = 64,
		.congestion_threshold = 48,
		.max_write = FP_MAX_WRITE,
		.max_pages = 256,
		.time_gran = 1,
	};

	reply(s, h->unique, 0, &out, sizeof(out));
}

static void lookup(struct stream *s, const struct fuse_in_header *h, const char *name)
{
	struct fuse_entry_out out = {.entry_valid = 1, .attr_valid = 1};

	if (name[0] == 'm' && h->opcode == FUSE_LOOKUP) {
		reply(s, h->unique, -ENOENT, NULL, 0);
		return;
	}
	out.nodeid = name[0] == 'd' ? NODE_DIR
		     : name[0] == 'b'
			     ? NODE_BIG
			     : NODE_FILE + strtoul(name + strcspn(name, "0123456789"), NULL, 10);
	out.attr = attr_of(out.nodeid);
	if (h->opcode == FUSE_CREATE) {
		const struct fuse_open_out open = {0};
		uint8_t both[sizeof(out) + sizeof(open)];

		memcpy(both, &out, sizeof(out));
		memcpy(both + sizeof(out), &open, sizeof(open));
		reply(s, h->unique, 0, both, sizeof(both));
	} else {
		reply(s, h->unique, 0, &out, sizeof(out));
	}
}

static void readdir_(struct stream *s, const struct fuse_in_header *h,
		     const struct fuse_read_in *in)
{
	auto_buf struct buf out = BUF_INIT(FP_MAX_WRITE);

	for (uint64_t i = in->offset; i < NAMES; i++) {
		uint8_t entry[64] = {0};
		struct fuse_dirent e = {.ino = NODE_FILE, .off = i + 1, .type = 8};
		size_t size;

		e.namelen = (uint32_t)snprintf((char *)entry + FUSE_NAME_OFFSET, 16, "f%ju",
					       (uintmax_t)i);
		memcpy(entry, &e, FUSE_NAME_OFFSET);
		size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + e.namelen);
		if (out.len + size > in->size)
			break;
		buf_add(&out, entry, size);
	}
	reply(s, h->unique, 0, out.data, out.len);
}

static void answer(struct stream *s, const uint8_t *msg)
{
	struct fuse_in_header h;
	const void *body = msg + sizeof(h);

	memcpy(&h, msg, sizeof(h));
	switch (h.opcode) {
	case FUSE_INIT:
		reply_init(s, &h, body);
		break;
	case FUSE_LOOKUP:
		lookup(s, &h, body);
		break;
	case FUSE_CREATE:
		lookup(s, &h, (const char *)body + sizeof(struct fuse_create_in));
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR: {
		const struct fuse_attr_out out = {.attr_valid = 1, .attr = attr_of(h.nodeid)};

		reply(s, h.unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_OPEN:
	case FUSE_OPENDIR: {
		const struct fuse_open_out out = {0};

		reply(s, h.unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_READ:
		reply(s, h.unique, 0, zeros, ((const struct fuse_read_in *)body)->size);
		break;
	case FUSE_READDIR:
		readdir_(s, &h, body);
		break;
	case FUSE_WRITE: {
		const struct fuse_write_out out = {((const struct fuse_write_in *)body)->size, 0};

		reply(s, h.unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_UNLINK:
		reply(s, h.unique, 0, NULL, 0);
		break;
	default:
		reply(s, h.unique, -ENOSYS, NULL, 0);
	}
}

static void greet(struct stream *s)
{
	uint8_t bytes[FP_HELLO_SIZE], head[FP_HEAD_SIZE];
	struct fp_hello hello;

	if (io_read_full(s->fd, bytes, sizeof(bytes), 0, NULL) < 0 ||
	    fp_hello_get(bytes, &hello, NULL) < 0)
		exit(1);
	hello.flags = 0;
	fp_hello_put(&hello, bytes);
	fp_head_put(head, FP_F_BARE | FP_F_READY, 0, 0, 0);
	if (io_write_full(s->fd, bytes, sizeof(bytes), 0, NULL) < 0 ||
	    io_write_full(s->fd, head, sizeof(head), 0, NULL) < 0)
		exit(1);
}

/* Everything that came in one piece is answered in one piece. */
static void serve(struct stream *s)
{
	struct fp_frame f;
	size_t used;

	if (IN_SIZE - s->end < FP_FRAME_MAX) {
		memmove(s->in, s->in + s->start, s->end - s->start);
		s->end -= s->start;
		s->start = 0;
	}
	ssize_t n = recv(s->fd, s->in + s->end, IN_SIZE - s->end, 0);
	if (n <= 0)
		exit(0);
	s->end += (size_t)n;
	while (fp_frame_get(s->in + s->start, s->end - s->start, &f, &used, NULL) > 0) {
		answer(s, f.msg);
		s->start += used;
	}
	if (s->start == s->end)
		s->start = s->end = 0;
	if (s->out.len && io_write_full(s->fd, s->out.data, s->out.len, 0, NULL) < 0)
		exit(0);
	buf_reset(&s->out);
}

void null_host_main(int listen_fd)
{
	static struct stream streams[FP_STREAMS_MAX];
	struct pollfd p[FP_STREAMS_MAX + 1] = {{.fd = listen_fd, .events = POLLIN}};
	nfds_t n = 0;

	while (poll(p, n + 1, -1) > 0) {
		for (nfds_t i = 0; i < n; i++)
			if (p[i + 1].revents)
				serve(&streams[i]);
		if (!p[0].revents || n == FP_STREAMS_MAX)
			continue;
		streams[n] = (struct stream){.fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC),
					     .in = xmalloc(IN_SIZE),
					     .out = BUF_INIT(64u << 20)};
		greet(&streams[n]);
		p[n + 1] = (struct pollfd){.fd = streams[n].fd, .events = POLLIN};
		n++;
	}
	exit(1);
}
