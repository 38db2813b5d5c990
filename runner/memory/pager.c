#include "pager.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

#define BATCH 64
#define DRAIN_MAX 64 /* batches: more threads than any VMM has, and an end for one that lies */
/* The kernel may say EEXIST, too, when the pool of huge pages is empty. What really exists is found
 * by no more faults in a row than a VMM has threads. */
#define IN_VAIN_MAX 256
#define HUGE_TRIES 3 /* the source may be unmapped again in between */

void pager_init(struct pager *p, const struct pager_source *source, const struct regions *regions,
		int uffd)
{
	p->uffd = uffd;
	p->source = source;
	p->regions = *regions;
	zeromap_init(&p->removed, source->size);
}

void pager_free(struct pager *p)
{
	cleanup_close_p(&p->uffd);
	zeromap_free(&p->removed);
}

static bool is_huge(const struct pager *p)
{
	return p->regions.page_size != REGIONS_PAGE;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* One writer: a load and a store are enough, and cheaper than a locked add. */
static void bump(_Atomic uint64_t *p, uint64_t by)
{
	uint64_t now = atomic_load_explicit(p, memory_order_relaxed);

	atomic_store_explicit(p, now + by, memory_order_relaxed);
}

/* O_NONBLOCK belongs to the description the VMM shares: it could clear it and eat the event we were
 * woken for. RWF_NOWAIT is ours alone. */
static ssize_t read_events(struct pager *p, struct uffd_msg *msgs)
{
	struct iovec iov = {.iov_base = msgs, .iov_len = BATCH * sizeof(*msgs)};

	if (!p->plain_read) {
		ssize_t n = preadv2(p->uffd, &iov, 1, -1, RWF_NOWAIT);

		if (n >= 0 || errno != EOPNOTSUPP)
			return n;
		p->plain_read = true;
	}
	return read(p->uffd, msgs, iov.iov_len);
}

static int wake(struct pager *p, uint64_t start, uint64_t len, struct err *err)
{
	struct uffdio_range range = {.start = start, .len = len};

	if (ioctl(p->uffd, UFFDIO_WAKE, &range) < 0 && errno != ESRCH)
		return err_sys(err, "cannot wake the VM");
	return 0;
}

static int no_huge_page(uint64_t offset, struct err *err)
{
	(void)err_set(err, ERR_HOST, -ENOMEM, "the host has no free huge page for byte %ju",
		      (uintmax_t)offset);
	return err_hint(err, "raise vm.nr_hugepages");
}

/* The page was not put there by us; why decides whether that is fine. */
static int settle(struct pager *p, uint64_t page, uint64_t offset, struct err *err)
{
	switch (errno) {
	case EEXIST: /* another vCPU's fault on this page was answered first */
		if (is_huge(p) && ++p->in_vain >= IN_VAIN_MAX)
			return no_huge_page(offset, err);
		return wake(p, page, p->regions.page_size, err);
	case EAGAIN: /* a REMOVE waits to be read, or its thread to go on */
		bump(&p->stats.retried, 1);
		p->behind = true;
		return 0;
	case ENOENT: /* unmapped meanwhile: the VMM's own doing */
		return wake(p, page, p->regions.page_size, err);
	case ESRCH: /* the VMM is exiting */
		return -ESRCH;
	case EFAULT:
		return err_set(err, ERR_FAILED, -EFAULT,
			       "cannot read snapshot memory at byte %ju of %ju: was it truncated?",
			       (uintmax_t)offset, (uintmax_t)p->source->size);
	default:
		if (errno == ENOMEM && is_huge(p))
			return no_huge_page(offset, err);
		return err_sys(err, "cannot give the VM its page at byte %ju", (uintmax_t)offset);
	}
}

/* A copy of a huge page whose source is not mapped here takes a second page of the pool while it
 * lasts, which may be the one that is not there. */
static int copy_huge(const struct pager *p, struct uffdio_copy *copy)
{
	int r = -1;

	for (int try = 0; try < HUGE_TRIES && r < 0; try++) {
		(void)madvise((void *)(uintptr_t)copy->src, copy->len, MADV_POPULATE_READ);
		r = ioctl(p->uffd, UFFDIO_COPY, copy);
		if (r < 0 && errno != ENOMEM)
			break;
	}
	return r;
}

static int copy_page(struct pager *p, uint64_t page, const unsigned char *from, uint64_t offset,
		     _Atomic uint64_t *count, struct err *err)
{
	struct uffdio_copy copy = {
		.dst = page,
		.src = (uintptr_t)from,
		.len = p->regions.page_size,
	};
	int r = is_huge(p) ? copy_huge(p, &copy) : ioctl(p->uffd, UFFDIO_COPY, &copy);

	if (r < 0)
		return settle(p, page, offset, err);
	p->in_vain = 0;
	bump(count, 1);
	return 0;
}

static int give_zero(struct pager *p, uint64_t page, uint64_t offset, struct err *err)
{
	struct uffdio_zeropage zero = {.range = {.start = page, .len = REGIONS_PAGE}};

	/* hugetlbfs has no zero page to map. */
	if (is_huge(p))
		return copy_page(p, page, p->source->zeros, offset, &p->stats.zero, err);
	if (ioctl(p->uffd, UFFDIO_ZEROPAGE, &zero) < 0)
		return settle(p, page, offset, err);
	bump(&p->stats.zero, 1);
	return 0;
}

static int give_copy(struct pager *p, uint64_t page, uint64_t offset, struct err *err)
{
	return copy_page(p, page, p->source->map + offset, offset, &p->stats.copied, err);
}

static bool is_zero(const struct pager *p, uint64_t offset)
{
	return zeromap_test_all(&p->source->zero, offset, p->regions.page_size) ||
	       zeromap_test_all(&p->removed, offset, p->regions.page_size);
}

static int serve_fault(struct pager *p, const struct uffd_msg *msg, struct err *err)
{
	uint64_t page = 0, offset = 0;

	if (msg->arg.pagefault.flags & ~(uint64_t)UFFD_PAGEFAULT_FLAG_WRITE)
		return err_set(err, ERR_GUEST, -EPROTO,
			       "the VM sent a fault of kind 0x%jx, expected a missing page",
			       (uintmax_t)msg->arg.pagefault.flags);
	if (!regions_find_page(&p->regions, msg->arg.pagefault.address, &page, &offset))
		return err_set(err, ERR_GUEST, -ERANGE,
			       "the VM sent a fault at 0x%jx, outside the memory it announced",
			       (uintmax_t)msg->arg.pagefault.address);
	bump(&p->stats.faults, 1);
	if (is_zero(p, offset))
		return give_zero(p, page, offset, err);
	return give_copy(p, page, offset, err);
}

static int note_removed(struct pager *p, const struct uffd_msg *msg, struct err *err)
{
	uint64_t start = msg->arg.remove.start, end = msg->arg.remove.end;
	uint64_t seen = 0, offset = 0, len = 0;

	for (size_t i = 0; i < p->regions.n; i++) {
		if (!regions_clip(&p->regions, i, start, end, &offset, &len))
			continue;
		bump(&p->stats.removed, zeromap_mark(&p->removed, offset, len));
		seen += len;
	}
	if (end < start || seen != end - start)
		return err_set(err, ERR_GUEST, -ERANGE,
			       "the VM removed 0x%jx to 0x%jx, outside the memory it announced",
			       (uintmax_t)start, (uintmax_t)end);
	return 0;
}

/* Everything but faults. A fork event puts a descriptor into *our* table, asked for or not. */
static int note_event(struct pager *p, const struct uffd_msg *msg, struct err *err)
{
	if (msg->event == UFFD_EVENT_PAGEFAULT)
		return 0;
	if (msg->event == UFFD_EVENT_REMOVE)
		return note_removed(p, msg, err);
	if (msg->event == UFFD_EVENT_FORK)
		(void)close((int)msg->arg.fork.ufd);
	return err_set(err, ERR_GUEST, -EPROTO,
		       "the VM sent event 0x%x, expected a page fault or a removal", msg->event);
}

/* Removals first: a fault may have been queued before the removal of its page, and is answered
 * after it. A bad event does not keep the others of the batch from being seen. */
static int note_events(struct pager *p, const struct uffd_msg *msgs, size_t n, struct err *err)
{
	int result = 0;

	for (size_t i = 0; i < n; i++) {
		int r = note_event(p, &msgs[i], result < 0 ? NULL : err);

		if (result == 0)
			result = r;
	}
	return result;
}

static int serve_batch(struct pager *p, struct err *err)
{
	struct uffd_msg msgs[BATCH];
	ssize_t got = read_events(p, msgs);
	uint64_t start = now_ns();

	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got < 0 && errno == EINTR)
		return -EINTR;
	if (got < 0)
		return err_sys(err, "cannot read the VM's userfaultfd");
	size_t n = (size_t)got / sizeof(msgs[0]);
	int r = note_events(p, msgs, n, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		r = serve_fault(p, &msgs[i], err);
		if (r < 0)
			return r;
		hist_add(&p->stats.service, now_ns() - start);
	}
	return (int)n;
}

/* Those that were answered sleep no more: only the others fault again. */
static int ask_again(struct pager *p, struct err *err)
{
	p->behind = false;
	(void)sched_yield(); /* to the thread that removes */
	for (size_t i = 0; i < p->regions.n; i++) {
		int r = wake(p, p->regions.v[i].base, p->regions.v[i].size, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* The kernel takes no page while a removal waits, and hands out faults before removals: whoever
 * faulted stays asleep until the removal is read, or would be in front of it again. */
int pager_serve(struct pager *p, struct err *err)
{
	int n = serve_batch(p, err), all = n;

	for (int i = 1; i < DRAIN_MAX && p->behind && n == BATCH; i++) {
		n = serve_batch(p, err);
		all += n;
	}
	if (n < 0)
		return n;
	int r = p->behind ? ask_again(p, err) : 0;
	return r < 0 ? r : all;
}
