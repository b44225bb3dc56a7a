/* SPDX-License-Identifier: MIT */
/*
 * A vCPU: its first registers, and the thread that runs it. Nearly everything the monitor wants it
 * gets inside or from the kernel; the thread comes back from KVM_RUN for the few things below.
 *
 * No signal of the program's is used. Kicks are interrupts (irqfd). The end is pthread_cancel():
 * the C library's own means, by a signal that programs cannot have, and cancellation is open only
 * around KVM_RUN.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "exec/kvm/kvm.h"
#include "util/err.h"

#define CR0	     0x80050033ull
#define CR4_BASE     0x620ull /* PAE, OSFXSR, OSXMMEXCPT */
#define CR4_FSGSBASE (1ull << 16)
#define CR4_OSXSAVE  (1ull << 18)
#define CR4_SMEP     (1ull << 20)
#define EFER	     0xd01ull /* SCE, LME, LMA, NXE */
/* Enabled, x2APIC. */
#define APIC_BASE    0xfee00c00ull

#define MSR_PLATFORM_INFO 0xceu
#define MSR_MISC_FEATURES 0x140u
#define CPUID_FAULTING	  (1ull << 31)

static int fail(struct kvm_vcpu *v, const char *what)
{
	return err_sys(errno == ENOMEM ? PVV_ENOMEM : PVV_ESYS, PVV_SUBSYS_EXEC, errno, v->e->name,
		       "domain '%s': the host's KVM does not let it %s vCPU %u", v->e->name, what,
		       v->id);
}

/* ---- the processor ---- */

/*
 * No SMAP: the monitor has no mappings of the guest's to misuse, and QEMU's TCG 7.2 takes what iret
 * and lret in ring 3 do with their stack for accesses of ring 0.
 */
static int set_sregs(struct kvm_vcpu *v)
{
	struct exec *e = v->e;
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return fail(v, "read the registers of");
	s.cs = (struct kvm_segment){.limit = ~0u,
				    .selector = KVM_CS0,
				    .type = 11,
				    .present = 1,
				    .s = 1,
				    .l = 1,
				    .g = 1};
	s.ss = (struct kvm_segment){.limit = ~0u,
				    .selector = KVM_SS0,
				    .type = 3,
				    .present = 1,
				    .s = 1,
				    .db = 1,
				    .g = 1};
	s.ds = s.es = s.fs = s.gs = (struct kvm_segment){.unusable = 1};
	s.ldt = s.ds;
	/* Until the monitor loads its own; the processor insists on one. */
	s.tr = (struct kvm_segment){
		.limit = 0x67, .selector = KVM_TSS_SEL, .type = 11, .present = 1};
	s.gs.base = kvm_block_va(v->id);
	s.gdt.limit = s.idt.limit = 0;
	s.cr0 = CR0;
	s.cr3 = e->region.l4;
	s.cr4 = CR4_BASE | CR4_FSGSBASE | (e->has_xsave ? CR4_OSXSAVE : 0) |
		(e->leaf7_ebx & 1u << 7 ? CR4_SMEP : 0);
	s.efer = EFER;
	s.apic_base = APIC_BASE | (v->id == 0 ? 0x100 : 0);
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return fail(v, "set the control registers of");

	struct kvm_regs r = {
		.rip = e->region.entry,
		.rflags = 2,
		.rsp = kvm_block_va(v->id) + (KVM_CPU_STACK + KVM_CPU_STACK_N) * 4096ull - 16,
		.rdi = e->region.params_va,
		.rsi = v->id,
	};
	if (ioctl(v->fd, KVM_SET_REGS, &r) < 0)
		return fail(v, "set the registers of");

	/* All but the first would wait for a start-up message of the first. */
	struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};
	if (ioctl(v->fd, KVM_SET_MP_STATE, &mp) < 0)
		return fail(v, "make runnable");
	return 0;
}

/*
 * cpuid in ring 3 faults, so that the core answers by its policy. The guest's TSC is the host's:
 * both sides of the control pages use the same counter.
 */
static int set_clock_and_msrs(struct kvm_vcpu *v)
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[2];
	} msrs = {
		.h.nmsrs = 2,
		.e = {{.index = MSR_PLATFORM_INFO, .data = CPUID_FAULTING},
		      {.index = MSR_MISC_FEATURES, .data = 1}},
	};
	uint64_t offset = 0;
	struct kvm_device_attr a = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	int n = ioctl(v->fd, KVM_SET_MSRS, &msrs);

	if (n >= 0 && n != 2) /* how many it accepted */
		errno = EINVAL;
	if (n != 2)
		return fail(v, "have the cpuid instruction fault in");
	if (ioctl(v->fd, KVM_SET_DEVICE_ATTR, &a) < 0)
		return fail(v, "give the host's time-stamp counter to");
	return 0;
}

static int open_kick(struct kvm_vcpu *v)
{
	v->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->kick < 0)
		return fail(v, "have an eventfd for");
	struct kvm_irqfd irq = {.fd = (uint32_t)v->kick, .gsi = v->id};

	if (ioctl(v->e->vm, KVM_IRQFD, &irq) < 0)
		return fail(v, "interrupt");
	return 0;
}

int kvm_vcpu_create(struct exec *e, unsigned int id)
{
	struct kvm_vcpu *v = &e->vcpu[id];
	int r;

	v->fd = ioctl(e->vm, KVM_CREATE_VCPU, (unsigned long)id);
	if (v->fd < 0)
		return fail(v, "make");
	fcntl(v->fd, F_SETFD, FD_CLOEXEC);
	v->run = mmap(NULL, e->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return fail(v, "map");
	}
	madvise(v->run, e->run_size, MADV_DONTFORK);
	v->stats_fd = ioctl(v->fd, KVM_GET_STATS_FD, NULL);
	if (v->stats_fd >= 0)
		fcntl(v->stats_fd, F_SETFD, FD_CLOEXEC);
	/* What cpuid does not show of KVM's own services - hypercalls, above all - is not there. */
	struct kvm_enable_cap enforce = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};

	if (ioctl(v->fd, KVM_ENABLE_CAP, &enforce) < 0)
		return fail(v, "close its own services to");
	r = kvm_cpuid_set(v) < 0 ? fail(v, "set the processor model of") : 0;
	if (r == 0)
		r = set_sregs(v);
	if (r == 0)
		r = set_clock_and_msrs(v);
	return r < 0 ? r : open_kick(v);
}

void kvm_vcpu_free(struct kvm_vcpu *v)
{
	if (v->run)
		munmap(v->run, v->e->run_size);
	if (v->kick >= 0)
		close(v->kick);
	if (v->stats_fd >= 0)
		close(v->stats_fd);
	if (v->fd >= 0)
		close(v->fd);
}

/* ---- the thread ---- */

/* The first reason counts; the I/O thread learns of it by e->end. */
static void ended(struct exec *e, const char *why)
{
	uint64_t one = 1;

	pthread_mutex_lock(&e->lock);
	if (!atomic_load(&e->ended))
		snprintf(e->why, sizeof(e->why), "%s", why);
	atomic_store(&e->ended, true);
	pthread_mutex_unlock(&e->lock);
	if (write(e->end, &one, sizeof(one)) < 0)
		return; /* full: it is known */
}

/* Frames the guest gave back. */
static void discard(struct kvm_vcpu *v, const struct kvm_regs *r)
{
	if (kvm_discard_ok(v->e->memory, r->rdi, r->rsi))
		madvise(v->e->ram + (r->rdi << 12), r->rsi << 12, MADV_REMOVE);
}

/* KVM checks the value: what it refuses, no guest of an honest monitor was offered. */
static bool set_xcr0(struct kvm_vcpu *v, const struct kvm_regs *r)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0].value = r->rdi};

	return ioctl(v->fd, KVM_SET_XCRS, &x) == 0;
}

/* False: the monitor is at its end. */
static bool serve(struct kvm_vcpu *v)
{
	char why[KVM_WHY_MAX];
	struct kvm_regs r;
	enum kvm_verdict verdict = kvm_exit_meaning(v->run, why);

	if (verdict == KVM_AGAIN)
		return true;
	if (verdict != KVM_OVER && ioctl(v->fd, KVM_GET_REGS, &r) < 0) {
		snprintf(why, sizeof(why), "KVM does not tell a vCPU's registers");
		verdict = KVM_OVER;
	}
	if (verdict == KVM_DISCARD)
		discard(v, &r);
	if (verdict == KVM_SET_XCR0 && !set_xcr0(v, &r)) {
		snprintf(why, sizeof(why), "the monitor asked for an XCR0 that KVM does not have");
		verdict = KVM_OVER;
	}
	if (verdict == KVM_OVER)
		ended(v->e, why);
	return verdict != KVM_OVER;
}

/*
 * On Linux niceness is a thread's own. A weight above the usual one is for the privileged; the
 * others get the usual one.
 */
static void weigh(uint32_t shares)
{
	id_t self = (id_t)gettid();

	if (shares)
		setpriority(PRIO_PROCESS, self,
			    getpriority(PRIO_PROCESS, self) + exec_nice(shares));
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *thread(void *opaque)
{
	struct kvm_vcpu *v = opaque;
	char name[16];
	int r, e;

	snprintf(name, sizeof(name), "pvv-vcpu%u", v->id);
	pthread_setname_np(pthread_self(), name);
	weigh(v->e->shares);
	while (!atomic_load(&v->e->stopping)) {
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		r = ioctl(v->fd, KVM_RUN, 0);
		e = errno;
		atomic_fetch_add_explicit(&v->returns, 1, memory_order_relaxed);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
		if (r < 0 && (e == EINTR || e == EAGAIN))
			continue;
		if (r < 0) {
			ended(v->e, e == EFAULT || e == ENOMEM
					    ? "the host has no memory left for the guest's RAM"
					    : "KVM does not run the virtual machine");
			break;
		}
		if (!serve(v))
			break;
	}
	/* Nobody can ask for it once the thread is gone. */
	atomic_store(&v->cpu_time, clock_ns(CLOCK_THREAD_CPUTIME_ID));
	return NULL;
}

int kvm_vcpu_start(struct kvm_vcpu *v)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	if (v->has_affinity)
		pthread_attr_setaffinity_np(&attr, sizeof(v->affinity),
					    (const cpu_set_t *)v->affinity);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&v->thread, &attr, thread, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r == EINVAL && v->has_affinity)
		return err_set(PVV_EINVAL, PVV_SUBSYS_EXEC, v->e->name,
			       "vCPU %u of domain '%s' may not use any of the host CPUs that it is "
			       "pinned to: change <vcpupin> or the cpuset of <vcpu>",
			       v->id, v->e->name);
	if (r)
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, r, v->e->name,
			       "cannot start the thread of vCPU %u of domain '%s'", v->id,
			       v->e->name);
	v->started = true;
	return 0;
}

uint64_t kvm_vcpu_time(const struct kvm_vcpu *v)
{
	uint64_t ns = atomic_load(&v->cpu_time);
	clockid_t clock;

	if (!ns && v->started && !pthread_getcpuclockid(v->thread, &clock))
		ns = clock_ns(clock);
	/* It may have come to its end meanwhile. */
	return ns ? ns : atomic_load(&v->cpu_time);
}
