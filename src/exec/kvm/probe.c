/* SPDX-License-Identifier: MIT */
/*
 * Can this host's KVM do the job? Some hosts have a /dev/kvm that is made in software and does not
 * execute ordinary guests faithfully, though all its capabilities look normal. So the answer comes
 * from a virtual machine: ring 3 in the high half, system calls from there and back, exceptions
 * with their vectors, error codes and addresses, and how long a system call takes.
 */
#include "exec/kvm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "exec/kvm/kvm.h"

#define BOUNCE_MAX_NS 50000u
#define ROUNDS	      8
/* Waiting goes by steps, see waited(); the last is for machines that are busy beyond reason. */
#define STEP_NS	      100000000ull
#define LIMIT_NS      1500000000ull
#define STEPS_MAX     100

struct probe {
	int kvm, vm, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	atomic_int tid;
	uint64_t best_ns; /* a round of bounces, the fastest */
	bool fsgsbase;
	char reason[256];
};

#define SAY(p, ...) snprintf((p)->reason, sizeof((p)->reason), __VA_ARGS__)

static const struct {
	long cap;
	const char *what;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "user memory"},
	{KVM_CAP_SPLIT_IRQCHIP, "local interrupt controllers without the rest"},
	{KVM_CAP_IRQFD, "interrupts by eventfd"},
	{KVM_CAP_IOEVENTFD, "eventfds for I/O ports"},
	{KVM_CAP_TSC_DEADLINE_TIMER, "TSC deadline timers"},
	{KVM_CAP_X86_MSR_FILTER, "MSR filters (Linux 5.10)"},
	{KVM_CAP_ENFORCE_PV_FEATURE_CPUID, "limits to its own services (Linux 5.10)"},
	{KVM_CAP_BINARY_STATS_FD, "statistics by descriptor (Linux 5.14)"},
	{KVM_CAP_VCPU_ATTRIBUTES, "vCPU attributes (Linux 5.16)"},
};

static bool file_has(const char *path, const char *word)
{
	char line[8192];
	FILE *f = NULL;
	bool found = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && !(f = fdopen(fd, "r")))
		close(fd);
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, word) != NULL;
	if (f)
		fclose(f);
	return found;
}

/* Then the kernel sends the program a SIGBUS for what its guest does, and it is dead. */
static bool split_locks_kill(void)
{
	return file_has("/proc/cmdline", "split_lock_detect=fatal") &&
	       file_has("/proc/cpuinfo", " split_lock_detect");
}

static bool open_kvm(struct probe *p)
{
	p->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p->kvm < 0) {
		if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
			SAY(p,
			    "the host has no /dev/kvm (no hardware virtualization, or it is off)");
		else
			SAY(p, "/dev/kvm cannot be opened: %s%s", strerror(errno),
			    errno == EACCES ? " (is the user in the group kvm?)" : "");
		return false;
	}
	int version = ioctl(p->kvm, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION) {
		SAY(p, "/dev/kvm speaks version %d, not %d", version, KVM_API_VERSION);
		return false;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(p->kvm, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		SAY(p, "the host's KVM is too old or incomplete: it lacks %s", needed[i].what);
		return false;
	}
	if (split_locks_kill()) {
		SAY(p, "with split_lock_detect=fatal, as this host was booted, a guest could end "
		       "the program");
		return false;
	}
	return true;
}

/* ---- the virtual machine ---- */

static uint64_t *page(struct probe *p, unsigned int n)
{
	return (uint64_t *)(p->mem + n * 4096u);
}

static uint64_t va(unsigned int n)
{
	return PROBE_VA + n * 4096ull;
}

static void fill_tables(struct probe *p)
{
	const uint64_t flags = 0x67; /* present, writable, user, accessed, dirty */

	for (unsigned int level = 4; level > 1; level--) {
		unsigned int t = PROBE_TABLE + 4 - level;

		page(p, t)[PROBE_VA >> (12 + 9 * (level - 1)) & 511] =
			PROBE_GPA + (t + 1) * 4096ull + flags;
	}
	for (unsigned int i = 0; i < PROBE_PAGES; i++)
		page(p, PROBE_TABLE + 3)[(PROBE_VA >> 12 & 511) + i] =
			PROBE_GPA + i * 4096ull + flags;
}

static void fill_descriptors(struct probe *p)
{
	uint64_t *gdt = page(p, PROBE_DESC), *idt = page(p, PROBE_IDT);
	uint64_t tss = va(PROBE_DESC) + 1024, rsp0 = va(PROBE_STACK + 1) - 1024;

	gdt[1] = 0x00af9b000000ffffull; /* 0x08 ring 0 code, 0x10 data, 0x20 and 0x28 of ring 3 */
	gdt[2] = 0x00cf93000000ffffull;
	gdt[4] = 0x00cff3000000ffffull;
	gdt[5] = 0x00affb000000ffffull;
	gdt[6] = 0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56;
	gdt[7] = tss >> 32;
	memcpy((uint8_t *)gdt + 1024 + 4, &rsp0, sizeof(rsp0));
	for (unsigned int i = 0; i < 256; i++) {
		uint64_t to = PROBE_VA + (uint64_t)(probe_stubs - probe_start) + i * 16;

		idt[2 * i] = (to & 0xffff) | 8ull << 16 | 0x8eull << 40 | (to >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = to >> 32;
	}
}

static bool set_registers(struct probe *p)
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[3];
	} msrs = {
		.h.nmsrs = 3,
		/* sysret: cs 0x18 + 16, ss 0x18 + 8 */
		.e = {{.index = 0xc0000081, .data = 0x18ull << 48 | 8ull << 32},
		      {.index = 0xc0000082,
		       .data = PROBE_VA + (uint64_t)(probe_syscall - probe_start)},
		      {.index = 0xc0000084, .data = 0}},
	};
	struct kvm_regs r = {
		.rip = PROBE_VA + (uint64_t)(probe_entry - probe_start),
		.rsp = va(PROBE_STACK + 1) - 64,
		.rflags = 2,
	};
	struct kvm_sregs s;

	if (ioctl(p->vcpu, KVM_GET_SREGS, &s) < 0)
		return false;
	s.cs = (struct kvm_segment){
		.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
	s.ss = (struct kvm_segment){
		.limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
	s.ds = s.es = s.fs = s.gs = (struct kvm_segment){.unusable = 1};
	s.ldt = s.ds;
	s.tr = (struct kvm_segment){.base = va(PROBE_DESC) + 1024,
				    .limit = 0x67,
				    .selector = 0x30,
				    .type = 11,
				    .present = 1};
	s.gdt = (struct kvm_dtable){.base = va(PROBE_DESC), .limit = 63};
	s.idt = (struct kvm_dtable){.base = va(PROBE_IDT), .limit = 4095};
	s.cr0 = 0x80050033;
	s.cr3 = PROBE_GPA + PROBE_TABLE * 4096;
	s.cr4 = 0x620;
	s.efer = 0xd01;
	return ioctl(p->vcpu, KVM_SET_SREGS, &s) == 0 && ioctl(p->vcpu, KVM_SET_REGS, &r) == 0 &&
	       ioctl(p->vcpu, KVM_SET_MSRS, &msrs) == 3;
}

static bool set_cpuid(struct probe *p)
{
	struct {
		struct kvm_cpuid2 h;
		struct kvm_cpuid_entry2 e[256];
	} c = {.h.nent = 256};
	if (ioctl(p->kvm, KVM_GET_SUPPORTED_CPUID, &c) < 0 ||
	    ioctl(p->vcpu, KVM_SET_CPUID2, &c) < 0) {
		SAY(p, "the host's KVM does not say what processor it offers: %s", strerror(errno));
		return false;
	}
	for (uint32_t i = 0; i < c.h.nent; i++)
		p->fsgsbase |= c.e[i].function == 7 && c.e[i].index == 0 && (c.e[i].ebx & 1);
	return true;
}

static bool make(struct probe *p)
{
	struct kvm_userspace_memory_region m = {
		.guest_phys_addr = PROBE_GPA,
		.memory_size = PROBE_PAGES * 4096,
	};

	p->mem = mmap(NULL, m.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (p->mem == MAP_FAILED) {
		p->mem = NULL;
		SAY(p, "no memory to try the host's KVM");
		return false;
	}
	m.userspace_addr = (uintptr_t)p->mem;
	memcpy(p->mem, probe_start, (size_t)(probe_end - probe_start));
	fill_tables(p);
	fill_descriptors(p);

	do /* signals are the program's, and may come at any time */
		p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
	while (p->vm < 0 && errno == EINTR);
	if (p->vm >= 0) {
		fcntl(p->vm, F_SETFD, FD_CLOEXEC);
		/* Needed by some Intel processors only. */
		ioctl(p->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
		if (ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &m) == 0)
			p->vcpu = ioctl(p->vm, KVM_CREATE_VCPU, 0ul);
	}
	if (p->vcpu < 0) {
		SAY(p, "the host's KVM cannot make a virtual machine: %s", strerror(errno));
		return false;
	}
	fcntl(p->vcpu, F_SETFD, FD_CLOEXEC);
	p->run_size = (size_t)ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
	if (p->run == MAP_FAILED)
		p->run = NULL;
	if (!p->run) {
		SAY(p, "the host's KVM cannot run a virtual processor: %s", strerror(errno));
		return false;
	}
	if (!set_cpuid(p))
		return false;
	if (!set_registers(p)) {
		SAY(p, "the host's KVM refuses the registers of a 64-bit kernel: %s",
		    strerror(errno));
		return false;
	}
	return true;
}

/* ---- what it did ---- */

static const struct probe_result *result(struct probe *p)
{
	return (const struct probe_result *)page(p, PROBE_DATA);
}

static bool is(const struct probe_record *r, uint64_t vector, uint64_t error, uint64_t alternative)
{
	return r->vector == vector && (r->error == error || r->error == alternative) &&
	       r->cs == 0x2b;
}

#define UNFAITHFUL "the host's KVM does not run guests faithfully: "

static bool right(struct probe *p)
{
	const struct probe_result *r = result(p);
	const uint64_t lstar = PROBE_VA + (uint64_t)(probe_syscall - probe_start);
	const struct probe_record *last = &r->record[r->nr ? (r->nr - 1) % PROBE_RECORDS : 0];

	if (r->nr && last->rip == lstar && (last->cs & 3)) {
		SAY(p, UNFAITHFUL "a system call arrives at its entry still in ring 3");
		return false;
	}
	if (r->nr < 1 || !is(&r->record[0], 6, 0, 0)) {
		SAY(p, UNFAITHFUL "an invalid instruction in ring 3 gives exception %d",
		    r->nr ? (int)r->record[0].vector : -1);
		return false;
	}
	if (r->nr < 2 || !is(&r->record[1], 14, 4, 4) || r->record[1].cr2 != PROBE_HOLE) {
		SAY(p, UNFAITHFUL "a page fault in ring 3 is reported wrong");
		return false;
	}
	/* QEMU's TCG counts gates of 8 bytes. */
	if (r->nr < 3 || !is(&r->record[2], 13, 0x40 * 8 + 2, 0x40 * 16 + 2)) {
		SAY(p, UNFAITHFUL "a forbidden software interrupt gives exception %d",
		    r->nr > 2 ? (int)r->record[2].vector : -1);
		return false;
	}
	if (r->nr != 3 || r->bounces != (uint64_t)ROUNDS * PROBE_BOUNCES) {
		SAY(p, UNFAITHFUL "of %d system calls %d arrived", ROUNDS * PROBE_BOUNCES,
		    (int)r->bounces);
		return false;
	}
	if (p->best_ns / PROBE_BOUNCES > BOUNCE_MAX_NS) {
		SAY(p, "the host's KVM is no hardware virtualization: a system call takes %d us",
		    (int)(p->best_ns / PROBE_BOUNCES / 1000));
		return false;
	}
	if (!p->fsgsbase) {
		SAY(p, "the host's processor, or its KVM, lacks FSGSBASE");
		return false;
	}
	return true;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *runner(void *opaque)
{
	struct probe *p = opaque;

	atomic_store(&p->tid, gettid());
	p->best_ns = ~0ull;
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = now_ns(), took;
		int r;

		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
		do
			r = ioctl(p->vcpu, KVM_RUN, 0);
		while (r < 0 && errno == EINTR);
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
		took = now_ns() - start;
		if (r < 0 || p->run->exit_reason != KVM_EXIT_IO) {
			if (!result(p)->nr)
				SAY(p, UNFAITHFUL "it ended with reason %d",
				    r < 0 ? -errno : (int)p->run->exit_reason);
			break;
		}
		if (took < p->best_ns)
			p->best_ns = took;
	}
	return NULL;
}

/* The thread waits for something; it does not only wait for a processor. */
static bool asleep(struct probe *p)
{
	char path[64], stat[256], *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(&p->tid));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return true; /* then the clock on the wall must do */
	stat[n] = '\0';
	state = strrchr(stat, ')');
	return state && strlen(state) > 2 && state[2] != 'R';
}

/*
 * What a step counts for: the processor time that the thread had in it, all of it if the thread
 * slept, and never more than all of it. So a machine that has no time for us, or stands still
 * itself for a while, is not taken for a KVM that hangs.
 */
static uint64_t waited(struct probe *p, uint64_t *cpu)
{
	struct timespec ts;
	clockid_t clock;
	uint64_t ns, had;

	if (!atomic_load(&p->tid))
		return 0;
	if (asleep(p) || pthread_getcpuclockid(p->thread, &clock) || clock_gettime(clock, &ts) < 0)
		return STEP_NS;
	ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	had = ns - *cpu;
	*cpu = ns;
	return had < STEP_NS ? had : STEP_NS;
}

/* In a thread of its own, so that a virtual machine that never comes back can be ended. */
static bool run(struct probe *p)
{
	uint64_t spent = 0, cpu = 0;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&p->thread, NULL, runner, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		SAY(p, "cannot start a thread: %s", strerror(r));
		return false;
	}
	for (int step = 0; step < STEPS_MAX && spent < LIMIT_NS; step++) {
		uint64_t at = now_ns() + STEP_NS;
		struct timespec until = {.tv_sec = (time_t)(at / 1000000000u),
					 .tv_nsec = (long)(at % 1000000000u)};

		if (pthread_clockjoin_np(p->thread, NULL, CLOCK_MONOTONIC, &until) == 0)
			return true;
		spent += waited(p, &cpu);
	}
	pthread_cancel(p->thread);
	pthread_join(p->thread, NULL);
	if (spent >= LIMIT_NS)
		SAY(p, UNFAITHFUL "a few system calls take longer than %d ms",
		    (int)(LIMIT_NS / 1000000));
	else
		SAY(p,
		    "the machine is too busy to try its KVM: once more when there is less to do");
	return false;
}

void kvm_probe(struct exec_probe *ret)
{
	struct probe p = {.kvm = -1, .vm = -1, .vcpu = -1};

	memset(ret, 0, sizeof(*ret));
	ret->available = open_kvm(&p) && make(&p) && run(&p) && !p.reason[0] && right(&p);
	snprintf(ret->reason, sizeof(ret->reason), "%s", p.reason);
	if (p.run)
		munmap(p.run, p.run_size);
	if (p.vcpu >= 0)
		close(p.vcpu);
	if (p.vm >= 0)
		close(p.vm);
	if (p.mem)
		munmap(p.mem, PROBE_PAGES * 4096);
	if (p.kvm >= 0)
		close(p.kvm);
}
