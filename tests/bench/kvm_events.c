/* SPDX-License-Identifier: MIT */
/*
 * How an event reaches a vCPU, compared on the host's KVM without the library: what is under it.
 *
 *	split     an irqfd, the kernel's local APIC (what the kvm executor uses)
 *	full      the same with all of the kernel's interrupt controllers
 *	inject    no interrupt controller in the kernel: KVM_INTERRUPT, after the vCPU's thread was
 *		  woken (a sleeping vCPU) or brought back by a signal (a running one)
 *
 * For each, to a vCPU that sleeps in hlt and to one that computes: ticks of the time-stamp counter,
 * exits, and returns to the thread, from the sender's write until the guest's interrupt handler has
 * answered by a doorbell. Under `qemu -icount shift=0` the ticks are instructions, those of the
 * host's kernel and of both threads included (kvm_events.py).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EVENTS	   200
#define VECTOR	   0x40
#define CODE	   0x1000 /* guest-physical; the words below 0x900 are shared with it */
#define HAS_APIC   0x800
#define COMPUTES   0x804
#define EOI_BIT	   0x808
#define BELL	   0x10
#define MSR_EOI_EN 0x4b564d04u

/* Real mode, all segments 0. */
__asm__(".section .rodata\n.globl guest_code, guest_handler, guest_end\n"
	"guest_code: .code16\n"
	"	cmpl	$0, 0x800\n"
	"	je	1f\n"
	"	mov	$0x80f, %ecx\n" /* x2APIC: on */
	"	mov	$0x1ff, %eax\n"
	"	xor	%edx, %edx\n"
	"	wrmsr\n"
	"	mov	$0x4b564d04, %ecx\n" /* KVM's end of interrupt by memory */
	"	mov	$0x809, %eax\n"
	"	wrmsr\n"
	"1:	sti\n"
	"	cmpl	$0, 0x804\n"
	"	jne	1b\n"
	"	hlt\n"
	"	jmp	1b\n"
	"guest_handler:\n"
	"	push	%eax\n	push %ecx\n	push %edx\n"
	"	cmpl	$0, 0x800\n"
	"	je	2f\n"
	"	lock btrl $0, 0x808\n"
	"	jc	2f\n"
	"	mov	$0x80b, %ecx\n"
	"	xor	%eax, %eax\n"
	"	xor	%edx, %edx\n"
	"	wrmsr\n"
	"2:	out	%eax, $0x10\n"
	"	pop	%edx\n	pop %ecx\n	pop %eax\n"
	"	iret\n"
	"guest_end: .code64\n.text\n");
extern const uint8_t guest_code[], guest_handler[], guest_end[];

enum way { SPLIT, FULL, INJECT };
static const char *const way_name[] = {"split", "full", "inject"};

struct vm {
	enum way way;
	int vm, vcpu, stats;
	int event, bell, asleep; /* asleep: wakes the thread of a vCPU that sleeps (INJECT) */
	uint8_t *mem;
	struct kvm_run *run;
	pthread_t thread;
	atomic_uint pending, sleeps, stop, returns;
};

static void die(const char *what)
{
	fprintf(stderr, "kvm_events: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int must(int r, const char *what)
{
	if (r < 0)
		die(what);
	return r;
}

static uint32_t *word(struct vm *m, unsigned int at)
{
	return (uint32_t *)(m->mem + at);
}

/* ---- the machine ---- */

static void controllers(struct vm *m)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP};

	if (m->way == SPLIT)
		must(ioctl(m->vm, KVM_ENABLE_CAP, &cap), "KVM_CAP_SPLIT_IRQCHIP");
	else if (m->way == FULL)
		must(ioctl(m->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
}

/* Number 0 for the split one; with the full one the first 24 are the I/O APIC's. */
static void route(struct vm *m)
{
	uint32_t gsi = m->way == FULL ? 24 : 0;
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + sizeof(r->entries[0]));
	struct kvm_irqfd irq = {.fd = (uint32_t)m->event, .gsi = gsi};

	if (!r)
		die("memory");
	r->nr = 1;
	r->entries[0] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = 0xfee00000, .data = VECTOR},
	};
	must(ioctl(m->vm, KVM_SET_GSI_ROUTING, r), "KVM_SET_GSI_ROUTING");
	must(ioctl(m->vm, KVM_IRQFD, &irq), "KVM_IRQFD");
	free(r);
}

static void registers(struct vm *m)
{
	struct kvm_sregs s;
	struct kvm_regs r = {.rip = CODE, .rflags = 2, .rsp = 0x8000};

	must(ioctl(m->vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs.base = s.cs.selector = s.ss.base = s.ss.selector = s.ds.base = s.ds.selector = 0;
	if (m->way != INJECT)
		s.apic_base = 0xfee00d00; /* x2APIC, the first processor */
	must(ioctl(m->vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(m->vcpu, KVM_SET_REGS, &r), "KVM_SET_REGS");
}

static void all_of_cpuid(struct vm *m, int kvm)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	if (!c)
		die("memory");
	c->nent = 256;
	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(m->vcpu, KVM_SET_CPUID2, c), "KVM_SET_CPUID2");
	free(c);
}

static void make(struct vm *m, enum way way)
{
	int kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	struct kvm_userspace_memory_region mem = {.memory_size = 0x10000};
	struct kvm_ioeventfd bell = {.addr = BELL, .len = 4, .flags = KVM_IOEVENTFD_FLAG_PIO};
	int size;

	memset(m, 0, sizeof(*m));
	m->way = way;
	m->vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	ioctl(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	m->mem = mmap(NULL, mem.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	mem.userspace_addr = (uintptr_t)m->mem;
	must(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &mem), "KVM_SET_USER_MEMORY_REGION");
	memcpy(m->mem + CODE, guest_code, (size_t)(guest_end - guest_code));
	*word(m, VECTOR * 4) = CODE + (uint32_t)(guest_handler - guest_code);
	*word(m, HAS_APIC) = way != INJECT;
	m->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->bell = eventfd(0, EFD_CLOEXEC);
	m->asleep = eventfd(0, EFD_CLOEXEC);
	bell.fd = m->bell;
	must(ioctl(m->vm, KVM_IOEVENTFD, &bell), "KVM_IOEVENTFD");
	controllers(m);
	m->vcpu = must(ioctl(m->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	m->stats = must(ioctl(m->vcpu, KVM_GET_STATS_FD, NULL), "KVM_GET_STATS_FD");
	size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	m->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	if (m->run == MAP_FAILED || m->mem == MAP_FAILED)
		die("mmap");
	all_of_cpuid(m, kvm);
	registers(m);
	if (way != INJECT)
		route(m);
	close(kvm);
}

/* One of KVM's own counters. */
static uint64_t stat(const struct vm *m, const char *name)
{
	struct kvm_stats_header h;
	uint64_t value = 0;

	must((int)pread(m->stats, &h, sizeof(h), 0), "statistics");
	for (uint32_t i = 0; i < h.num_desc; i++) {
		struct {
			struct kvm_stats_desc d;
			char name[256];
		} one;
		size_t size = sizeof(one.d) + h.name_size;

		must((int)pread(m->stats, &one, size, (off_t)(h.desc_offset + i * size)),
		     "statistics");
		if (strcmp(one.name, name) == 0)
			must((int)pread(m->stats, &value, sizeof(value),
					(off_t)h.data_offset + one.d.offset),
			     "statistics");
	}
	return value;
}

/* ---- the vCPU's thread ---- */

static void on_signal(int sig)
{
}

/* Without a controller in the kernel: what has come is injected as soon as the guest takes it. */
static void inject(struct vm *m)
{
	struct kvm_interrupt irq = {.irq = VECTOR};

	if (!atomic_load(&m->pending))
		return;
	if (!m->run->ready_for_interrupt_injection) {
		m->run->request_interrupt_window = 1;
		return;
	}
	m->run->request_interrupt_window = 0;
	atomic_store(&m->pending, 0);
	must(ioctl(m->vcpu, KVM_INTERRUPT, &irq), "KVM_INTERRUPT");
}

static void *vcpu(void *opaque)
{
	struct vm *m = opaque;
	uint64_t n;

	while (!atomic_load(&m->stop)) {
		if (m->way == INJECT)
			inject(m);
		int r = ioctl(m->vcpu, KVM_RUN, 0);

		atomic_fetch_add(&m->returns, 1);
		if (r < 0 && errno != EINTR && errno != EAGAIN)
			die("KVM_RUN");
		if (r < 0) {
			m->run->immediate_exit = 0;
			continue;
		}
		if (m->run->exit_reason == KVM_EXIT_HLT) {
			atomic_store(&m->sleeps, 1);
			if (!atomic_load(&m->pending) && read(m->asleep, &n, sizeof(n)) < 0 &&
			    errno != EINTR)
				die("read");
			atomic_store(&m->sleeps, 0);
		} else if (m->run->exit_reason != KVM_EXIT_IRQ_WINDOW_OPEN) {
			fprintf(stderr, "kvm_events: exit %u\n", m->run->exit_reason);
			exit(1);
		}
	}
	return NULL;
}

/* ---- the sender ---- */

static void kick(struct vm *m)
{
	m->run->immediate_exit = 1;
	pthread_kill(m->thread, SIGUSR1);
}

static void send_event(struct vm *m)
{
	uint64_t one = 1;

	if (m->way != INJECT) {
		must((int)write(m->event, &one, sizeof(one)), "write");
		return;
	}
	atomic_store(&m->pending, 1);
	if (atomic_load(&m->sleeps))
		must((int)write(m->asleep, &one, sizeof(one)), "write");
	else
		kick(m);
}

static void let_it_run(void)
{
	struct timespec t = {.tv_nsec = 3000000};

	nanosleep(&t, NULL);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(enum way way, bool computes)
{
	static uint64_t took[EVENTS];
	struct vm m;
	uint64_t n, exits = 0, injected = 0;
	uint32_t returns = 0;

	make(&m, way);
	*word(&m, COMPUTES) = computes;
	if (pthread_create(&m.thread, NULL, vcpu, &m))
		die("pthread_create");
	/* The first few touch memory for the first time. */
	for (int i = -5; i < EVENTS; i++) {
		let_it_run();
		if (i == 0) {
			exits = stat(&m, "exits") - stat(&m, "irq_exits");
			injected = stat(&m, "irq_injections");
			returns = atomic_load(&m.returns);
		}
		uint64_t start = __builtin_ia32_rdtsc();

		send_event(&m);
		must((int)read(m.bell, &n, sizeof(n)), "read");
		if (i >= 0)
			took[i] = __builtin_ia32_rdtsc() - start;
	}
	let_it_run();
	exits = stat(&m, "exits") - stat(&m, "irq_exits") - exits;
	injected = stat(&m, "irq_injections") - injected;
	returns = atomic_load(&m.returns) - returns;
	qsort(took, EVENTS, sizeof(took[0]), compare);
	printf("%s %s: %llu ticks (least %llu), %.2f exits, %.2f returns, %.2f injected\n",
	       way_name[way], computes ? "running" : "halted", (unsigned long long)took[EVENTS / 2],
	       (unsigned long long)took[0], (double)exits / EVENTS, (double)returns / EVENTS,
	       (double)injected / EVENTS);
	fflush(stdout);
	atomic_store(&m.stop, 1);
	n = 1;
	must((int)write(m.asleep, &n, sizeof(n)), "write");
	/* The kernel's own sleep in hlt ends by a signal, too. */
	kick(&m);
	pthread_join(m.thread, NULL);
	munmap(m.run, 4096);
	close(m.stats);
	close(m.vcpu);
	close(m.vm);
	close(m.event);
	close(m.bell);
	close(m.asleep);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &sa, NULL);
	for (enum way way = SPLIT; way <= INJECT; way++) {
		measure(way, false);
		measure(way, true);
	}
	return 0;
}
