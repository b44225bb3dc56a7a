/* SPDX-License-Identifier: MIT */
/*
 * What stands in ring 0 of the virtual machine after a guest has taken it over: an image in place
 * of the monitor's, with everything that the monitor has - control pages, frame table, all of the
 * guest's memory, the page tables, the I/O ports, the local APIC - and no good intentions. The
 * guest's command line names the attack; test_hostile.c says what the host program must make of it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/xen.h>

#include "core/ctl.h"
#include "exec/kvm/layout.h"

#define PAGE	 4096ull
#define NOWHERE	 0x7000000000ull /* a guest-physical address without memory */
#define APIC_ICR 0x830u

struct vm {
	const struct kvm_params *p;
	struct core_ctl *ctl;
	uint8_t *ram;
	uint64_t seed;
	unsigned int id;
};

void hostile_main(const struct kvm_params *p, unsigned int id);

__asm__(".section .header, \"a\"\n"
	".quad 0x323076766b6d6b, k_entry, k_text_end, k_data_end, k_bss_end\n"
	".text\n"
	"k_entry: call hostile_main\n ud2\n"
	/* Any exception: back to where the attack said. */
	".balign 16\n"
	"on_exception: mov recover_rsp(%rip), %rsp\n jmp *recover_rip(%rip)\n");
extern const uint8_t on_exception[];
uint64_t recover_rip, recover_rsp;

/* Executes `insn` with eax, ecx, edx as given; an exception ends it and is no harm. */
#define TRY(insn, a, c, d)                                                                         \
	do {                                                                                       \
		uint64_t a_ = (a), c_ = (c), d_ = (d);                                             \
		__asm__ volatile("lea 1f(%%rip), %%r11; mov %%r11, recover_rip(%%rip);"            \
				 "push %%rbx; push %%rbp; mov %%rsp, recover_rsp(%%rip);" insn     \
				 "; 1: mov recover_rsp(%%rip), %%rsp; pop %%rbp; pop %%rbx"        \
				 : "+a"(a_), "+c"(c_), "+d"(d_)                                    \
				 :                                                                 \
				 : "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",    \
				   "r15", "memory", "cc");                                         \
	} while (0)

/* The compiler may call it. */
void *memset(void *p, int c, size_t n);
void *memset(void *p, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)p)[i] = (uint8_t)c;
	return p;
}

static uint64_t next(struct vm *v)
{
	v->seed ^= v->seed << 13;
	v->seed ^= v->seed >> 7;
	v->seed ^= v->seed << 17;
	return v->seed;
}

/* Mostly nonsense, often the small and the extreme numbers that checks are about. */
static uint64_t value(struct vm *v)
{
	static const uint64_t nasty[] = {
		0,	    1,		2,	    3,	   4,	       5,	   0x7f, 0xff,
		0x7fffffff, 0x80000000, 0xffffffff, ~0ull, 1ull << 32, 1ull << 63, 4095, 4096};
	uint64_t r = next(v);

	return r & 1 ? nasty[(r >> 8) % 16] : next(v);
}

static void out32(uint16_t port, uint32_t x, uint64_t rdi, uint64_t rsi)
{
	__asm__ volatile("outl %0, %w1" : : "a"(x), "d"(port), "D"(rdi), "S"(rsi) : "memory");
}

static void ring(void)
{
	out32(KVM_PORT_DOORBELL, 0, 0, 0);
}

static void set_state(struct vm *v, uint32_t state)
{
	__atomic_store_n(&v->ctl->run_state, state, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&v->ctl->state_seq, 1, __ATOMIC_SEQ_CST);
	ring();
}

static _Noreturn void die(void)
{
	for (;;)
		out32(KVM_PORT_DIE, 0, 0, 0);
}

/* ---- tables of our own: exceptions are survived ---- */

static uint64_t gdt[2] = {0, 0x00af9b000000ffffull};
static uint64_t idt[64];

static void own_tables(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) g = {sizeof(gdt) - 1, (uint64_t)gdt},
				  i = {sizeof(idt) - 1, (uint64_t)idt};
	uint64_t to = (uint64_t)on_exception;

	for (unsigned int n = 0; n < 32; n++) {
		idt[2 * n] = (to & 0xffff) | 8u << 16 | 0x8e00ull << 32 | (to >> 16 & 0xffff) << 48;
		idt[2 * n + 1] = to >> 32;
	}
	__asm__ volatile("lgdt %0; lidt %1" : : "m"(g), "m"(i));
}

/*
 * Maps the guest-physical 512 GiB at `gpa`, by tables made of the guest's first two frames: the
 * hypervisor's slots, and slot 300.
 */
static volatile uint64_t *map_nowhere(struct vm *v, uint64_t gpa)
{
	const uint64_t gib = 0x40000000ull, first = v->ctl->boot.ram_first;
	uint64_t *l4 = (uint64_t *)(v->ram + (first << 12)), *l3 = l4 + 512;

	memset(l4, 0, 2 * PAGE);
	for (unsigned int i = 0; i < KVM_SLOTS; i++)
		l4[KVM_SLOT_FIRST + i] = v->p->slots[i];
	l4[300] = (first + 1) << 12 | 3;
	for (uint64_t i = 0; i < 512; i++)
		l3[i] = ((gpa & ~(gib - 1)) + i * gib) | 0x83;
	__asm__ volatile("mov %0, %%cr3" : : "r"(first << 12) : "memory");
	return (volatile uint64_t *)(0xffff000000000000ull + (300ull << 39) + (gpa & (gib - 1)));
}

/* ---- garbage in all that is shared ---- */

static void scribble(struct vm *v, uint64_t off, uint64_t len)
{
	uint64_t at = off + (next(v) % len & ~7ull), n = 1 + next(v) % 16;

	for (uint64_t i = 0; i < n && at + 8 <= off + len; i++, at += 8)
		__atomic_store_n((uint64_t *)(v->ram + at), value(v), __ATOMIC_RELAXED);
}

static void step(struct vm *v, bool ends)
{
	const struct kvm_params *p = v->p;

	switch (next(v) % 8) {
	case 0:
	case 1:
		scribble(v, p->ctl_off, sizeof(struct core_ctl));
		if (!ends)
			__atomic_store_n(&v->ctl->run_state, CORE_STATE_RUNNING, __ATOMIC_RELAXED);
		break;
	case 2:
		memset(v->ctl->outbound, 0xff, sizeof(v->ctl->outbound));
		v->ctl->outbound_any = ~0ull;
		break;
	case 3:
		v->ctl->start_request = ~0u;
		break;
	case 4: /* core state and frame table: whatever is behind the control pages */
		scribble(v, p->state_off, p->mem_size - p->state_off);
		break;
	default:
		scribble(v, v->ctl->boot.ram_first << 12,
			 (p->nr_frames << 12) - (v->ctl->boot.ram_first << 12));
		break;
	}
	if (next(v) % 4 == 0)
		ring();
}

static void garbage(struct vm *v)
{
	uint64_t first = v->ctl->boot.ram_first; /* it will be overwritten, and is needed */

	for (;;) {
		v->ctl->boot.ram_first = first;
		step(v, false);
	}
}

static void garbage_ends(struct vm *v)
{
	uint64_t first = v->ctl->boot.ram_first;

	for (;;) {
		v->ctl->boot.ram_first = first;
		step(v, true);
	}
}

static void states(struct vm *v)
{
	for (;;) {
		v->ctl->shutdown_code = (uint32_t)value(v);
		v->ctl->pause_ack = v->ctl->pause_seq;
		set_state(v, (uint32_t)(next(v) % 7));
	}
}

/* A reason without an end, of bytes that a terminal would obey. */
static void reason(struct vm *v)
{
	for (unsigned int i = 0; i < CORE_REASON_MAX; i++)
		v->ctl->reason[i] = "\x1b]0;\a\x9b\xff"[i % 7];
	v->ctl->run_state = CORE_STATE_CRASHED;
	die();
}

/* ---- exits ---- */

static void port_unknown(struct vm *v)
{
	out32(0x21, 0, 0, 0);
}

static void port_in(struct vm *v)
{
	__asm__ volatile("inl %w0, %%eax" : : "d"(KVM_PORT_DISCARD) : "eax");
}

static void port_byte(struct vm *v)
{
	__asm__ volatile("outb %%al, %w0" : : "d"(KVM_PORT_DOORBELL));
}

static void port_string(struct vm *v)
{
	__asm__ volatile("rep outsl"
			 :
			 : "d"(KVM_PORT_DISCARD), "S"(v->ram + (v->ctl->boot.ram_first << 12)),
			   "c"(1000)
			 : "memory");
	die();
}

/* Numbers that are refused, and numbers that are not: all of the guest's memory, again and again.
 */
static void discards(struct vm *v)
{
	uint64_t first = v->ctl->boot.ram_first, all = v->p->nr_frames - first;

	for (unsigned int i = 0; i < 400; i++)
		out32(KVM_PORT_DISCARD, 0, value(v), value(v));
	out32(KVM_PORT_DISCARD, 0, first, all + 1);
	out32(KVM_PORT_DISCARD, 0, first - 1, 2);
	out32(KVM_PORT_DISCARD, 0, first, ~0ull);
	out32(KVM_PORT_DISCARD, 0, ~0ull, first + 2);
	for (unsigned int i = 0; i < 20; i++)
		out32(KVM_PORT_DISCARD, 0, first, all);
	die();
}

static void endless_exits(struct vm *v)
{
	for (;;)
		out32(KVM_PORT_DISCARD, 0, 0, 0);
}

static void endless_doorbells(struct vm *v)
{
	for (;;) {
		v->ctl->outbound_any = ~0ull;
		ring();
	}
}

static void xcr0(struct vm *v)
{
	out32(KVM_PORT_XCR0, 0, 3, 0);
	out32(KVM_PORT_XCR0, 0, 1ull << 62, 0);
}

static void mmio_write(struct vm *v)
{
	*map_nowhere(v, NOWHERE) = 1;
}

static void mmio_read(struct vm *v)
{
	(void)*map_nowhere(v, NOWHERE + 8);
}

static void mmio_execute(struct vm *v)
{
	((void (*)(void))map_nowhere(v, NOWHERE))();
}

static void mmio_apic_page(struct vm *v)
{
	volatile uint64_t *apic = map_nowhere(v, 0xfee00000ull);

	for (unsigned int i = 0; i < 512; i++)
		apic[i] = value(v);
	die();
}

/* ---- the processor ---- */

static void triple_fault(struct vm *v)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = {0, 0};

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

static void wild_root(struct vm *v)
{
	__asm__ volatile("mov %0, %%cr3; movq $0, 0x1000" : : "r"(NOWHERE) : "memory");
}

/* Random page tables, its own among them: whatever they reach. */
static void wild_tables(struct vm *v)
{
	uint64_t *mine = (uint64_t *)(v->ram + (v->ctl->boot.ram_first << 12));

	own_tables();
	for (unsigned int i = 0; i < 4096; i++)
		mine[i] = next(v) & 0x8000ffffffff0fffull;
	for (unsigned int i = 0; i < KVM_SLOTS; i++)
		mine[KVM_SLOT_FIRST + i] = v->p->slots[i];
	for (unsigned int i = 0; i < 256; i += 2) /* tables of garbage, three levels of it */
		mine[i] = ((v->ctl->boot.ram_first + 1 + i % 7) << 12) | 7;
	__asm__ volatile("mov %0, %%cr3" : : "r"(v->ctl->boot.ram_first << 12) : "memory");
	for (unsigned int i = 0; i < 2000; i++)
		TRY("incq (%%rax)", next(v) & 0x7fffffffffffull, 0, 0);
	die();
}

static void halted(struct vm *v)
{
	__asm__ volatile("cli; 1: hlt; jmp 1b");
}

static void spinning(struct vm *v)
{
	__asm__ volatile("cli; 1: jmp 1b");
}

/* Every model-specific register there may be, read and written. */
static void msrs(struct vm *v)
{
	static const uint32_t first[] = {0,	     0x170,	 0x1d0,	     0x400,	 0x6e0,
					 0x800,	     0xda0,	 0xc80,	     0x40000000, 0x40000020,
					 0x400000f0, 0x4b564d00, 0xc0000080, 0xc00000e0, 0xc0010010,
					 0xc0010110, 0xc0011020};

	own_tables();
	for (unsigned int i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		for (uint32_t msr = first[i]; msr < first[i] + 32; msr++) {
			TRY("rdmsr", 0, msr, 0);
			/* Not our own mode, and not to be reset before the end. */
			if (msr == 0xc0000080 || msr == APIC_ICR)
				continue;
			TRY("wrmsr", value(v) & 0xffffffff, msr, value(v) & 0xffffffff);
		}
	TRY("wrmsr", ~0u, 0xc0000080, ~0u);
	TRY("wrmsr", 0, 0xc0000080, 0);
	die();
}

/* Interrupts of all kinds to all vCPUs: INIT, start-up, SMI, NMI, reserved ones. */
static void interrupts(struct vm *v)
{
	own_tables();
	v->ctl->start_request = ~0u;
	ring();
	for (unsigned int i = 0; i < 300; i++)
		TRY("wrmsr", next(v) & 0xcffff, APIC_ICR, next(v) % 3);
	die();
}

/*
 * Instructions that KVM has to do something about. Not xsetbv: QEMU's TCG 7.2 lets it pass by KVM,
 * and where these tests run the host kernel itself would go on with that XCR0, and die.
 */
static void instructions(struct vm *v)
{
	own_tables();
	for (unsigned int i = 0; i < 70; i++) {
		TRY("vmmcall", i, 0, 0);
		TRY("vmcall", value(v), value(v), value(v));
		TRY("cpuid", value(v), value(v), 0);
	}
	TRY("wbinvd; invd", 0, 0, 0);
	TRY("vmrun", 0, 0, 0);
	TRY("vmload", 0, 0, 0);
	TRY("stgi", 0, 0, 0);
	TRY("clgi", 0, 0, 0);
	TRY("skinit", 0, 0, 0);
	TRY("vmxoff", 0, 0, 0);
	TRY("rsm", 0, 0, 0);
	TRY("monitor; mwait", (uint64_t)v->ram, 0, 0);
	TRY("rdpmc", 0, 0, 0);
	TRY("invpcid (%%rax), %%rcx", (uint64_t)v->ram, 0, 0);
	for (unsigned int i = 0; i < 64; i++) {
		TRY("mov %%rax, %%cr4", 1ull << i, 0, 0);
		TRY("mov %%rax, %%cr8", 1ull << i, 0, 0);
		TRY("mov %%cr4, %%rcx; xor %%rcx, %%rax; mov %%rax, %%cr4", 1ull << i, 0, 0);
	}
	TRY("int $2", 0, 0, 0);
	TRY("mov %%rax, %%cr0", 0x11, 0, 0); /* no paging: here it ends, one way or another */
	die();
}

/*
 * Breakpoints and watchpoints of all kinds, anywhere. Alone, for it ends QEMU's TCG 7.2 (SIGSEGV in
 * cpu_breakpoint_remove_by_ref(), from cpu_x86_update_dr7()): a breakpoint and a watchpoint share a
 * slot there, the type is taken from dr7, and SVM's entries and exits change that behind its back.
 */
static void debug_registers(struct vm *v)
{
	own_tables();
	for (unsigned int i = 0; i < 200; i++) {
		TRY("mov %%rax, %%dr0; mov %%rcx, %%dr3", value(v), value(v), 0);
		TRY("mov %%rax, %%dr7", value(v) & 0xffffffff, 0, 0);
		TRY("mov %%rax, %%dr6", value(v) & 0xffffffff, 0, 0);
	}
	die();
}

/* The same without watchpoints, which QEMU's TCG survives. */
static void code_breakpoints(struct vm *v)
{
	own_tables();
	for (unsigned int i = 0; i < 200; i++) {
		TRY("mov %%rax, %%dr0; mov %%rcx, %%dr3", value(v), value(v), 0);
		TRY("mov %%rax, %%dr1", (uint64_t)code_breakpoints + value(v) % 256, 0, 0);
		TRY("mov %%rax, %%dr7", value(v) & 0xffff, 0, 0);
		TRY("mov %%rax, %%dr6", value(v) & 0xffffffff, 0, 0);
	}
	die();
}

static uint64_t hypercall(bool amd, uint64_t nr, uint64_t a, uint64_t b)
{
	uint64_t ret = nr;

	if (amd)
		__asm__ volatile("vmmcall" : "+a"(ret) : "b"(a), "c"(b), "d"(0), "S"(0) : "memory");
	else
		__asm__ volatile("vmcall" : "+a"(ret) : "b"(a), "c"(b), "d"(0), "S"(0) : "memory");
	return ret;
}

/*
 * KVM's own services: none of them may be there. (-1000 is its ENOSYS. 9, KVM_HC_CLOCK_PAIRING, is
 * one that it gives to everybody.)
 */
static void hypercalls(struct vm *v)
{
	uint32_t eax = 0, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	for (uint64_t nr = 2; nr < 64; nr++)
		if (nr != 9 && hypercall(ebx == 0x68747541, nr, 0, 1) != (uint64_t)-1000)
			port_unknown(v);
	die();
}

/* Out of long mode, with all the caches off, into whatever lies there. */
static void real_mode(struct vm *v)
{
	__asm__ volatile("mov %0, %%cr0" : : "r"(0x60000010ull) : "memory");
}

/* All memory that the VM has, written. */
static void memory(struct vm *v)
{
	uint64_t first = v->ctl->boot.ram_first << 12;

	for (uint64_t at = first; at < (v->p->nr_frames << 12); at += PAGE)
		*(volatile uint64_t *)(v->ram + at) = at;
	die();
}

static const struct {
	const char *name;
	void (*go)(struct vm *v);
} attacks[] = {
	{"garbage", garbage},
	{"garbage-ends", garbage_ends},
	{"states", states},
	{"reason", reason},
	{"port-unknown", port_unknown},
	{"port-in", port_in},
	{"port-byte", port_byte},
	{"port-string", port_string},
	{"discards", discards},
	{"endless-exits", endless_exits},
	{"endless-doorbells", endless_doorbells},
	{"xcr0", xcr0},
	{"mmio-write", mmio_write},
	{"mmio-read", mmio_read},
	{"mmio-execute", mmio_execute},
	{"mmio-apic-page", mmio_apic_page},
	{"triple-fault", triple_fault},
	{"wild-root", wild_root},
	{"wild-tables", wild_tables},
	{"halted", halted},
	{"spinning", spinning},
	{"msrs", msrs},
	{"interrupts", interrupts},
	{"instructions", instructions},
	{"debug-registers", debug_registers},
	{"code-breakpoints", code_breakpoints},
	{"hypercalls", hypercalls},
	{"real-mode", real_mode},
	{"memory", memory},
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

void hostile_main(const struct kvm_params *p, unsigned int id)
{
	struct vm v = {
		.p = p,
		.ram = (uint8_t *)KVM_RAM_VA,
		.ctl = (struct core_ctl *)(KVM_RAM_VA + p->ctl_off),
		.seed = (0x9e3779b97f4a7c15ull * (id + 1)) ^ __builtin_ia32_rdtsc(),
		.id = id,
	};
	const struct core_boot *b = &v.ctl->boot;
	const struct start_info *si = (const struct start_info *)(v.ram + (b->ram_first << 12) +
								  (b->entry_rsi - b->virt_base));

	if (id > 0) /* started by an attack of vCPU 0 */
		garbage_ends(&v);
	set_state(&v, CORE_STATE_RUNNING);
	for (unsigned int i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		if (same((const char *)si->cmd_line, attacks[i].name))
			attacks[i].go(&v);
	/* No such attack. */
	set_state(&v, CORE_STATE_SHUTDOWN);
	for (;;)
		__asm__ volatile("hlt");
}
