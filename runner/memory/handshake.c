#include "handshake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"
#include "json.h"

#define FDS_MAX 4 /* the first is ours; a VMM may send what later protocols add */

void handshake_init(struct handshake *h)
{
	h->len = 0;
	h->uffd = -1;
}

void handshake_free(struct handshake *h)
{
	cleanup_close_p(&h->uffd);
}

int handshake_check_peer(int sock, uid_t uid, const struct proc_id *vmm, const char *boot_id,
			 struct err *err)
{
	auto_close int pidfd = -1;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int r;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return err_sys(err, "cannot see who connected");
	if (peer.uid != uid || peer.pid != vmm->pid)
		return err_set(err, ERR_GUEST, -EPERM,
			       "process %d of user %u connected, expected process %d of user %u",
			       peer.pid, peer.uid, vmm->pid, uid);
	r = proc_id_open(vmm, boot_id, &pidfd);
	if (r < 0)
		return err_set(err, ERR_GUEST, r,
			       "process %d is not the one that was announced: it started at "
			       "another time",
			       peer.pid);
	return 0;
}

static void keep_first(struct handshake *h, const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (h->uffd < 0)
			h->uffd = fds[i];
		else
			(void)close(fds[i]);
	}
}

/* The array is flat, so a bracket closes it only at its end. */
static bool text_is_whole(const struct handshake *h)
{
	size_t len = h->len;

	while (len > 0 && strchr(" \t\r\n", h->text[len - 1]) && h->text[len - 1] != '\0')
		len--;
	return len > 0 && h->text[len - 1] == ']';
}

int handshake_read(struct handshake *h, int sock, struct err *err)
{
	for (;;) {
		int fds[FDS_MAX];
		size_t n_fds = 0;
		struct err why = {0};

		if (h->len == sizeof(h->text))
			return err_set(err, ERR_GUEST, -EMSGSIZE,
				       "memory layout longer than %u bytes", HANDSHAKE_TEXT_MAX);
		ssize_t n = io_recv_fds(sock, h->text + h->len, sizeof(h->text) - h->len, fds,
					FDS_MAX, &n_fds, MSG_DONTWAIT, &why);
		if (n == -EAGAIN)
			return 0;
		if (n < 0) {
			if (err)
				*err = why;
			return (int)n;
		}
		keep_first(h, fds, n_fds);
		if (n == 0)
			return err_set(err, ERR_GUEST, -EPIPE,
				       "the VM hung up in the middle of its hand-off");
		h->len += (size_t)n;
		if (h->uffd >= 0 && text_is_whole(h))
			return 1;
	}
}

/* Before 1.12 Firecracker sent only page_size_kib, and that in bytes. */
static int take_page_size(struct json_object *o, struct regions *regions, struct err *err)
{
	uint64_t size = json_opt_u64(o, "page_size", json_opt_u64(o, "page_size_kib", 0));

	if (size != REGIONS_PAGE && size != REGIONS_HUGE_PAGE)
		return err_set(err, ERR_GUEST, -EINVAL,
			       "memory in pages of %ju bytes, expected %u or %u", (uintmax_t)size,
			       REGIONS_PAGE, REGIONS_HUGE_PAGE);
	if (regions->n > 0 && size != regions->page_size)
		return err_set(err, ERR_GUEST, -EINVAL,
			       "memory in pages of %ju and of %ju bytes, expected one size",
			       (uintmax_t)regions->page_size, (uintmax_t)size);
	regions->page_size = size;
	return 0;
}

static int parse_region(struct json_object *o, struct region *ret, struct err *err)
{
	int r = json_get_u64(o, "base_host_virt_addr", &ret->base, err);

	if (r == 0)
		r = json_get_u64(o, "size", &ret->size, err);
	if (r == 0)
		r = json_get_u64(o, "offset", &ret->offset, err);
	return r;
}

int handshake_parse(const char *text, size_t len, uint64_t file_size, struct regions *ret,
		    struct err *err)
{
	auto_json struct json_object *layout = NULL;
	struct regions regions = {.n = 0};
	int r = json_parse(text, len, &layout, err);

	if (r < 0)
		return err_wrap(err, "memory layout");
	if (!json_object_is_type(layout, json_type_array))
		return err_set(err, ERR_GUEST, -EINVAL,
			       "memory layout: expected a list of regions");
	size_t n = json_object_array_length(layout);
	if (n == 0 || n > REGIONS_MAX)
		return err_set(err, ERR_GUEST, -EINVAL,
			       "memory layout: expected 1 to %d regions, got %zu", REGIONS_MAX, n);
	for (size_t i = 0; i < n && r == 0; i++) {
		struct json_object *o = json_object_array_get_idx(layout, i);
		struct region region;

		if (!json_object_is_type(o, json_type_object))
			return err_set(err, ERR_GUEST, -EINVAL,
				       "memory layout: region %zu is not an object", i);
		r = parse_region(o, &region, err);
		if (r == 0)
			r = take_page_size(o, &regions, err);
		if (r == 0)
			r = regions_add(&regions, &region, file_size, err);
		if (r < 0)
			return err_wrap(err, "memory layout");
	}
	*ret = regions;
	return 0;
}

static int check_uffd(int fd, struct err *err)
{
	char path[64], target[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(err, "cannot see what descriptor the VM sent");
	target[n] = '\0';
	if (strcmp(target, "anon_inode:[userfaultfd]") != 0)
		return err_set(err, ERR_GUEST, -EINVAL,
			       "the VM sent another kind of descriptor, expected a userfaultfd");
	n = io_set_nonblock(fd, true);
	return n < 0 ? err_sys_code(err, (int)n, "cannot make the VM's userfaultfd non-blocking")
		     : 0;
}

int handshake_finish(struct handshake *h, uint64_t file_size, struct regions *ret_regions,
		     int *ret_uffd, struct err *err)
{
	struct regions regions;
	int r = check_uffd(h->uffd, err);

	if (r == 0)
		r = handshake_parse(h->text, h->len, file_size, &regions, err);
	if (r < 0)
		return r;
	*ret_regions = regions;
	*ret_uffd = TAKE_FD(h->uffd);
	return 0;
}
