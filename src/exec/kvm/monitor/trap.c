/* SPDX-License-Identifier: MIT */
/* What the guest came back with: hypercalls, exceptions, interrupts; and the monitor's own faults.
 */
#include "exec/kvm/monitor/k.h"

#include "core/cpu/bounce.h"
#include "core/cpu/cpu.h"
#include "core/lib/bitops.h"
#include "core/time/time.h"

#define ERR_EXT	 1u
#define ERR_IDT	 2u
#define PF_RSVD	 8u
#define DR6_INIT 0xffff0ff0ull

struct trap_frame { /* as entry.S and the processor leave it */
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

extern const uint64_t fixups[][2], fixups_end[][2];
extern const uint8_t iret_out[], halt_insn[];
unsigned int ring0_trap(struct trap_frame *f);

/* Bytes at the guest's rip; what cannot be read is 0x90. */
static void peek(struct kcpu *k, uint8_t *insn, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (core_guest_read(&k->c, &insn[i], k->regs->rip + i, 1) != 0)
			insn[i] = 0x90;
}

/*
 * `int n` through a gate that ring 3 may not use: the processor names the gate in the error code.
 * QEMU's TCG 7.2 names another one (of 8-byte gates), so look at the instruction if it is one.
 */
static bool soft_interrupt(struct kcpu *k, uint32_t error)
{
	uint8_t insn[2];

	if ((error & (ERR_IDT | ERR_EXT)) != ERR_IDT)
		return false;
	peek(k, insn, 2);
	uint32_t vector = insn[0] == 0xcd ? insn[1] : error >> 3;

	k->regs->rip += 2;
	core_soft_interrupt(&k->c, vector & 255, 2);
	return true;
}

/* sysenter is not set up: it faults, and the core knows what the guest wants of it. */
static bool sysenter(struct kcpu *k)
{
	uint8_t insn[2];

	if (k->c.v->kernel_mode && !k->c.v->cb_sysenter.addr)
		return false;
	peek(k, insn, 2);
	if (insn[0] != 0x0f || insn[1] != 0x34)
		return false;
	core_emulate(&k->c);
	return true;
}

static enum came general_protection(struct kcpu *k, uint32_t error)
{
	uint8_t insn[2];

	if (soft_interrupt(k, error) || sysenter(k))
		return CAME_OTHER;
	peek(k, insn, 2);
	core_exception(&k->c, CORE_VEC_GP, error, 0);
	return insn[0] == 0x0f && insn[1] == 0xa2 ? CAME_CPUID : CAME_OTHER;
}

static void page_fault(struct kcpu *k, uint32_t error, uint64_t cr2)
{
	/* A selector of the LDT was loaded: the processor looked into the window. */
	if (cpu_in_ldt(k, cr2)) {
		uint64_t va = 0;

		if (cpu_ldt_fill(k, cr2, &va))
			return;
		cr2 = va;
		error = 0;
	}
	core_exception(&k->c, CORE_VEC_PF, error & ~PF_RSVD, cr2);
}

static uint64_t read_cr2(void)
{
	uint64_t cr2;

	__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
	return cr2;
}

static void debug(struct kcpu *k)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	__asm__ volatile("mov %0, %%dr6" : : "r"(DR6_INIT));
	core_exception(&k->c, CORE_VEC_DB, (uint32_t)dr6 & 0xe00f, 0);
}

static enum came exception(struct kcpu *k, unsigned int vector)
{
	uint32_t error = (uint32_t)k->error;

	switch (vector) {
	case CORE_VEC_PF:
		page_fault(k, error, read_cr2());
		break;
	case CORE_VEC_GP:
		return general_protection(k, error);
	case CORE_VEC_UD:
		if (!sysenter(k))
			core_exception(&k->c, vector, 0, 0);
		break;
	case CORE_VEC_DB:
		debug(k);
		break;
	case CORE_VEC_BP:
		core_soft_interrupt(&k->c, vector, 1);
		break;
	case CORE_VEC_NMI:
		break;
	case CORE_VEC_DF:
	case CORE_VEC_MC:
		k_die("the processor reported a double fault or a machine check");
	default:
		core_exception(&k->c, vector, error, 0);
		break;
	}
	return CAME_OTHER;
}

static void end_of_interrupt(struct kcpu *k)
{
	if (!(__atomic_fetch_and(&k->pv_eoi, ~1u, __ATOMIC_SEQ_CST) & 1))
		wrmsr(X2APIC_EOI, 0);
}

static void interrupt(struct kcpu *k, unsigned int vector)
{
	end_of_interrupt(k);
	if (vector == KVM_VEC_TIMER)
		k->timer_ns = CORE_NEVER;
}

enum came guest_trapped(struct kcpu *k, unsigned int how)
{
	struct core_ctx *c = &k->c;

	if (how & KVM_EXIT_IRET) {
		/* The core checks what it loads; this is what it cannot see. */
		core_inject(c, how & 255, (uint32_t)k->error);
		return CAME_OTHER;
	}
	if (how == KVM_VEC_KICK || how == KVM_VEC_TIMER) {
		k->ctlv->exits_kick++;
		interrupt(k, how);
		if (how == KVM_VEC_TIMER)
			c->v->wake_ns = 0; /* core_next() shall look at the timers */
		return CAME_INTERRUPT;
	}
	if (how < 32)
		return exception(k, how);
	/* `int n` by a gate of DPL 3, or a vector that nobody sends. */
	if (how == 0x80)
		core_soft_interrupt(c, how, 2);
	else
		end_of_interrupt(k);
	return CAME_OTHER;
}

/* Ring 0 trapped. 0: go on (at a changed rip, perhaps); 1: the guest cannot be entered so.
 */
unsigned int ring0_trap(struct trap_frame *f)
{
	struct kcpu *k = this_cpu();
	uint64_t va;

	if (f->vector >= 32) {
		interrupt(k, (unsigned int)f->vector);
		if (f->rip == (uint64_t)halt_insn)
			f->rip++;
		return 0;
	}
	switch (f->vector) {
	case CORE_VEC_NMI:
		return 0;
	case CORE_VEC_DB: /* a trap that was due when the guest entered */
		__asm__ volatile("mov %0, %%dr6" : : "r"(DR6_INIT));
		return 0;
	case CORE_VEC_PF:
		if (cpu_in_ldt(k, read_cr2()) && cpu_ldt_fill(k, read_cr2(), &va))
			return 0;
		break;
	default:
		break;
	}
	if (f->rip == (uint64_t)iret_out)
		return 1;
	for (const uint64_t(*x)[2] = fixups; x < fixups_end; x++) {
		if (f->rip == (*x)[0]) {
			f->rip = (*x)[1];
			return 0;
		}
	}
	k_panic(f->vector, f->error, f->rip, read_cr2());
}
