#include "kvm_speed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "io.h"

#define RUN_US 5000
/* A KVM that does not answer at all is cut off here. */
#define CUT_OFF_MS 1000
#define GUEST_BYTES (2u << 20)
#define CODE_AT 0x10000
#define PML4_AT 0x1000
#define PDPT_AT 0x2000
#define PD_AT 0x3000
#define INSNS_PER_ROUND 2

struct report {
	int code; /* 0 or negative errno */
	char what[32];
	double minsn_s;
};

/* The signal handler's: KVM_RUN must also return when the signal came just before it. */
static struct kvm_run *volatile running;

static void on_alarm(int sig)
{
	(void)sig;
	running->immediate_exit = 1;
}

static int fail(struct report *rep, const char *what)
{
	rep->code = errno > 0 ? -errno : -EIO;
	(void)snprintf(rep->what, sizeof(rep->what), "%s", what);
	return rep->code;
}

/* 64-bit mode, one 2 MiB page; `inc %rcx; jmp .-3` for ever. */
static void lay_out_guest(uint8_t *mem)
{
	static const uint8_t loop[] = {0x48, 0xff, 0xc1, 0xeb, 0xfb};
	const uint64_t pml4 = PDPT_AT | 3, pdpt = PD_AT | 3, pd = 0x83;

	memcpy(mem + PML4_AT, &pml4, sizeof(pml4));
	memcpy(mem + PDPT_AT, &pdpt, sizeof(pdpt));
	memcpy(mem + PD_AT, &pd, sizeof(pd));
	memcpy(mem + CODE_AT, loop, sizeof(loop));
}

static int enter_long_mode(int vcpu, struct report *rep)
{
	const struct kvm_segment data = {
		.limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	struct kvm_regs regs = {.rflags = 2, .rip = CODE_AT, .rsp = 0x8000};
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
		return fail(rep, "KVM_GET_SREGS");
	s.cs = (struct kvm_segment){
		.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	s.ds = s.es = s.ss = data;
	s.cr3 = PML4_AT;
	s.cr4 |= 1u << 5;             /* PAE */
	s.cr0 |= 1u << 31 | 1;        /* PG, PE */
	s.efer |= 1u << 8 | 1u << 10; /* LME, LMA */
	if (ioctl(vcpu, KVM_SET_SREGS, &s) < 0)
		return fail(rep, "KVM_SET_SREGS");
	if (ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return fail(rep, "KVM_SET_REGS");
	return 0;
}

static int make_vcpu(struct report *rep, int *ret_vcpu, struct kvm_run **ret_run)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm, vcpu, size;
	void *mem, *run;

	if (kvm < 0)
		return fail(rep, "opening /dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return fail(rep, "KVM_CREATE_VM");
	mem = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return fail(rep, "mmap");
	lay_out_guest(mem);
	struct kvm_userspace_memory_region region = {.memory_size = GUEST_BYTES,
						     .userspace_addr = (uintptr_t)mem};
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail(rep, "KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return fail(rep, "KVM_CREATE_VCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return fail(rep, "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return fail(rep, "mmap of a vCPU");
	*ret_vcpu = vcpu;
	*ret_run = run;
	return enter_long_mode(vcpu, rep);
}

static double seconds_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Runs in the throw-away process, which takes its descriptors and mappings with it. */
static void measure(struct report *rep)
{
	const struct sigaction act = {.sa_handler = on_alarm};
	const struct itimerval timer = {.it_value = {.tv_usec = RUN_US},
					.it_interval = {.tv_usec = RUN_US}};
	struct kvm_run *run = NULL;
	struct kvm_regs regs;
	int vcpu = -1;

	if (make_vcpu(rep, &vcpu, &run) < 0 || !run)
		return;
	running = run;
	if (sigaction(SIGALRM, &act, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0) {
		(void)fail(rep, "setting a timer");
		return;
	}
	double start = seconds_now();
	if (ioctl(vcpu, KVM_RUN, 0) == 0) {
		/* The loop has no way out of its own. */
		rep->code = -EIO;
		(void)snprintf(rep->what, sizeof(rep->what), "the guest (exit %u)",
			       run->exit_reason);
		return;
	}
	if (errno != EINTR) {
		(void)fail(rep, "KVM_RUN");
		return;
	}
	double spent = seconds_now() - start;
	if (ioctl(vcpu, KVM_GET_REGS, &regs) < 0) {
		(void)fail(rep, "KVM_GET_REGS");
		return;
	}
	rep->minsn_s = INSNS_PER_ROUND * (double)regs.rcx / spent / 1e6;
}

__attribute__((noreturn)) static void run_child(int fd)
{
	struct report rep = {.code = 0};
	sigset_t alarm_set;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&alarm_set);
	sigaddset(&alarm_set, SIGALRM);
	(void)sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
	measure(&rep);
	(void)!write(fd, &rep, sizeof(rep));
	_exit(0);
}

int kvm_speed_measure(double *ret_minsn_s, struct err *err)
{
	struct report rep;
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "cannot make a pipe");
	auto_close int from = fds[0];
	auto_close int to = fds[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, "cannot fork");
	if (pid == 0)
		run_child(to);
	cleanup_close_p(&to);
	r = io_read_full(from, &rep, sizeof(rep), deadline_in(CUT_OFF_MS), NULL);
	/* Not reaped yet, so the pid is still the child's. */
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	if (r < 0)
		return err_set(err, ERR_HOST, -EIO, "/dev/kvm gave no answer within %d ms",
			       CUT_OFF_MS);
	rep.what[sizeof(rep.what) - 1] = '\0';
	if (rep.code < 0)
		return err_set(err, ERR_HOST, rep.code, "/dev/kvm does not work here: %s: %s",
			       rep.what, strerror(-rep.code));
	*ret_minsn_s = rep.minsn_s;
	return 0;
}
