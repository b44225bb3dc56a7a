/* SPDX-License-Identifier: MIT */
/*
 * Operations in numbers, for a test that counts what they cost outside of the guest: the command
 * line is "WHAT COUNT". Prints what it did and how often it worked.
 *
 * "cost" measures them by the time-stamp counter instead. Under `qemu -icount shift=0` that counts
 * instructions, of guest and hypervisor together (tests/bench/paths.py).
 */
#include "pvg.h"

#include <xen/io/blkif.h>

static unsigned long number(const char *s)
{
	unsigned long n = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (unsigned long)(*s - '0');
	return n;
}

static unsigned long hypercalls(unsigned long n)
{
	unsigned long good = 0;

	while (n--)
		good += HC2(xen_version, XENVER_version, 0) > 0;
	return good;
}

/* ---- user mode: its page tables are the kernel's, which have the user bit everywhere ---- */

extern u8 exits_user[], exits_entry[];
u64 exits_left, exits_rsp, exits_served;
void exits_go(u64 user_rip, u64 user_rsp);

__asm__(".text\n.globl exits_go, exits_user, exits_entry\n"
	"exits_go:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rsp, exits_rsp(%rip)\n"
	"pushq $0xe02b\n push %rsi\n pushq $0x202\n pushq $0xe033\n push %rdi\n"
	"pushq $0x100\n pushq $0\n pushq $0\n pushq $0\n"
	"mov $23, %eax\n syscall\n"
	"exits_user:\n" /* with no stack to speak of: system calls until the kernel has enough */
	"1: mov $39, %eax\n syscall\n jmp 1b\n"
	"exits_entry:\n" /* rcx, r11, rip, cs, rflags, rsp, ss */
	"incq exits_served(%rip)\n"
	"decq exits_left(%rip)\n jz 2f\n"
	"pop %rcx\n pop %r11\n pushq $0x100\n push %rcx\n push %r11\n push %rax\n"
	"mov $23, %eax\n syscall\n"
	"2: mov exits_rsp(%rip), %rsp\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n ret\n");

static unsigned long syscalls(unsigned long n)
{
	static u8 stack[2][4096] __page;
	struct callback_register cb = {
		.type = CALLBACKTYPE_syscall,
		.address = (unsigned long)exits_entry,
	};

	if (HC2(callback_op, CALLBACKOP_register, &cb) ||
	    pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_root_mfn(), 0) ||
	    HC2(stack_switch, KERNEL_DS, stack[1]))
		return 0;
	exits_left = n;
	if (n)
		exits_go((u64)exits_user, (u64)stack[1] - 64);
	return exits_served;
}

/* ---- exceptions ---- */

static bool skip_int3(struct trap_frame *f)
{
	return f->vector == 3;
}

static unsigned long traps(unsigned long n)
{
	unsigned long good = 0;

	pvg_trap_hook = skip_int3;
	for (; n; n--, good++)
		__asm__ volatile("int3");
	return good;
}

static unsigned long faulted;
static bool skip_load(struct trap_frame *f)
{
	if (f->vector != 14)
		return false;
	faulted++;
	f->rip += 3; /* mov (%rax), %rax */
	return true;
}

static unsigned long faults(unsigned long n)
{
	pvg_trap_hook = skip_load;
	while (n--) {
		u64 p = 0x600000000000;
		__asm__ volatile("mov (%0), %0" : "+a"(p));
	}
	return faulted;
}

/* ---- page tables ---- */

static unsigned long updates(unsigned long n)
{
	static u8 page[2][4096] __page;
	struct mmu_update u[16];
	unsigned long good = 0;
	u32 done;

	for (unsigned int i = 0; i < 16; i++)
		u[i] = (struct mmu_update){
			.ptr = pvg_entry_maddr((u64)page[0], 1),
			.val = pvg_mfn_of(page[i & 1 ? 0 : 1]) << 12 | PTE_KERN,
		};
	for (; n; n--) {
		done = 0;
		good += HC4(mmu_update, u, 16, &done, DOMID_SELF) == 0 && done == 16;
		pvg_invlpg(page[0]);
	}
	return good;
}

/* Two roots in turn, with what a context switch does besides. */
static unsigned long switches(unsigned long n)
{
	u64 *copy = pvg_page_alloc(), *root = pvg_va_of_mfn(pvg_root_mfn()), mfn[2];
	unsigned long good = 0;

	memcpy(copy, root, PAGE_SIZE);
	mfn[0] = pvg_mfn_of(copy);
	mfn[1] = pvg_root_mfn();
	if (pvg_set_ro(copy) || pvg_mmuext(MMUEXT_PIN_L4_TABLE, mfn[0], 0))
		return 0;
	for (; n; n--) {
		struct mmuext_op op[2] = {
			{.cmd = MMUEXT_NEW_BASEPTR, .arg1.mfn = mfn[n & 1]},
			{.cmd = MMUEXT_NEW_USER_BASEPTR, .arg1.mfn = mfn[n & 1]},
		};
		good += HC4(mmuext_op, op, 2, 0, DOMID_SELF) == 0 &&
			HC2(stack_switch, KERNEL_DS, &op) == 0 &&
			HC2(set_segment_base, SEGBASE_FS, n << 12) == 0;
	}
	return good;
}

/* ---- events, time, disk ---- */

static unsigned long upcalls(unsigned long n)
{
	struct evtchn_bind_ipi ipi = {.vcpu = 0};
	struct evtchn_send send;

	HC2(event_channel_op, EVTCHNOP_bind_ipi, &ipi);
	send.port = ipi.port;
	pvg_sti();
	pvg_upcalls = 0;
	while (n--)
		HC2(event_channel_op, EVTCHNOP_send, &send);
	return pvg_upcalls;
}

static unsigned long ticks(unsigned long n)
{
	struct evtchn_bind_virq virq = {.virq = VIRQ_TIMER, .vcpu = 0};
	unsigned long good = 0;

	HC2(event_channel_op, EVTCHNOP_bind_virq, &virq);
	HC3(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0);
	for (; n; n--) {
		unsigned int before = pvg_upcalls;

		pvg_cli(); /* block unmasks: the event cannot come before it */
		HC1(set_timer_op, pvg_now() + 1000000);
		HC2(sched_op, SCHEDOP_block, 0);
		good += pvg_upcalls != before;
	}
	return good;
}

static unsigned long requests(unsigned long n)
{
	static u8 page[4096] __page;
	struct pvg_blk b;
	unsigned long good = 0;

	pvg_store_init();
	pvg_grants_init();
	if (pvg_blk_open(&b, 51712))
		return 0;
	for (; n; n--)
		good += pvg_blk_rw(&b, false, n % 64, page, 0, 0) == 0;
	pvg_blk_close(&b);
	return good;
}

typedef unsigned long operation(unsigned long n);

/* The least of several rounds: some are interrupted by a timer. */
static u64 ticks_of(operation *fn, unsigned long n)
{
	u64 best = ~0ul;

	for (int i = 0; i < 7; i++) {
		u64 start = pvg_rdtsc();

		fn(n);
		u64 took = pvg_rdtsc() - start;
		if (took < best)
			best = took;
	}
	pvg_trap_hook = NULL;
	return best;
}

static void cost(const char *name, operation *fn)
{
	u64 tenths = (ticks_of(fn, 200) - ticks_of(fn, 0)) / 20;

	printf("%s: %lu.%lu\n", name, tenths / 10, tenths % 10);
}

void guest_main(void)
{
	static const struct {
		const char *name;
		operation *fn;
	} ops[] = {
		{"hypercall", hypercalls}, {"syscall", syscalls}, {"trap", traps},
		{"fault", faults},	   {"update", updates},	  {"switch", switches},
		{"upcall", upcalls},	   {"tick", ticks},	  {"request", requests},
	};
	const char *line = (const char *)start_info->cmd_line;

	pvg_traps_init();
	pvg_events_init();
	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++) {
		size_t len = strlen(ops[i].name);

		/* Not those that wait for something. */
		if (!memcmp(line, "cost", 4) && ops[i].fn != ticks && ops[i].fn != requests)
			cost(ops[i].name, ops[i].fn);
		if (memcmp(line, ops[i].name, len) || line[len] != ' ')
			continue;
		unsigned long n = number(line + len + 1);
		unsigned long good = ops[i].fn(n);

		pvg_trap_hook = NULL;
		printf("%s: %lu of %lu\n", ops[i].name, good, n);
	}
}
