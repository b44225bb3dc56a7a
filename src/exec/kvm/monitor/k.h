/* SPDX-License-Identifier: MIT */
/*
 * The monitor in the VM: ring 0, one loop for each vCPU. Reading order: main.c (how it comes up and
 * its loop), entry.S (the border), trap.c (what the guest came back with), cpu.c (descriptor
 * tables, segments, registers the processor has for real), ops.c (what the core asks for).
 */
#ifndef PVV_KVM_K_H
#define PVV_KVM_K_H

#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"
#include "exec/kvm/layout.h"

struct ktss {
	uint32_t pad0;
	uint64_t rsp[3];
	uint64_t pad1;
	uint64_t ist[7];
	uint64_t pad2;
	uint16_t pad3, iomap;
} __attribute__((packed));

/* One vCPU's own, at the start of its block. */
struct kcpu {
	struct core_regs *regs; /* the first five: see layout.h */
	uint64_t rsp, scratch, error;
	uint64_t segs; /* ds, es, fs, gs as the processor has them */
	struct core_ctx c;
	struct core_ctl_vcpu *ctlv;
	uint32_t id;
	uint32_t in_guest;  /* others: interrupt it and wait, see ops.c */
	uint32_t flush;	    /* the TLB is stale: before the guest runs again */
	uint32_t cpu_dirty; /* registers of the guest that the processor has for real */
	uint64_t cr3;	    /* as loaded */
	uint64_t timer_ns;  /* system time the timer is set for, ~0 = not */
	uint32_t gdt_ents, ldt_ents;
	uint64_t gdt_frames[16]; /* as mapped in the window */
	uint64_t ldt_frames[16];
	uint32_t ldt_mapped; /* pages of it */
	uint32_t poll_streak;
	uint32_t pv_eoi; /* bit 0, set by KVM: the interrupt needs no EOI (an exit) */
	uint64_t poll_nap;
	uint64_t cr0, cr4, xcr0, dr7, tsc_aux;
	struct ktss tss __attribute__((aligned(128)));
};

extern const struct kvm_params *k_params;
extern const struct core_exec_ops k_ops;

static inline struct kcpu *kcpu_of(unsigned int id)
{
	return (struct kcpu *)(KVM_CPU_VA + (uint64_t)id * KVM_CPU_SIZE);
}

static inline struct kcpu *this_cpu(void)
{
	uint64_t rsp;

	__asm__("mov %%rsp, %0" : "=r"(rsp));
	return (struct kcpu *)(rsp & ~(uint64_t)(KVM_CPU_SIZE - 1));
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void write_cr3(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

#define X2APIC_TPR    0x808u
#define X2APIC_EOI    0x80bu
#define X2APIC_SVR    0x80fu
#define X2APIC_ICR    0x830u
#define X2APIC_LVT    0x832u
#define KVM_PV_EOI_EN 0x4b564d04u
#define TSC_DEADLINE  0x6e0u

/* entry.S */
_Noreturn void guest_loop(unsigned int how);
void cpu_halt(void);
/* main.c, for entry.S: the guest came back, `how`; on return it is entered with these registers. */
struct core_regs *guest_turn(unsigned int how);

/* The end of the VM because of the host or a bug, not the guest: never returns. */
_Noreturn void k_die(const char *why);
/* Of a fault in the monitor itself. */
_Noreturn void k_panic(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2);

/* ---- cpu.c ---- */
void cpu_tables_init(struct kcpu *k);
/* Bring the processor in line with the vCPU's state: before an entry, if anything changed. */
void cpu_sync(struct kcpu *k);
static inline bool cpu_changes(const struct kcpu *k)
{
	return (k->cpu_dirty | k->ldt_mapped) != 0;
}
/* The page of the LDT window that `addr` is in. True: mapped now, or was all the time. */
bool cpu_ldt_fill(struct kcpu *k, uint64_t addr, uint64_t *ret_guest_va);
static inline bool cpu_in_ldt(const struct kcpu *k, uint64_t addr)
{
	return addr - (KVM_GDT_VA + (uint64_t)k->id * KVM_GDT_STRIDE + KVM_LDT_OFF) < KVM_LDT_OFF;
}

/* ---- trap.c ---- */
enum came { CAME_OTHER, CAME_CPUID, CAME_INTERRUPT };
/* Serve what the guest came back with but for `syscall`. */
enum came guest_trapped(struct kcpu *k, unsigned int how);

/* ---- ops.c ---- */
void tlb_flush(struct kcpu *k);
/* The other half of remote_flush(). */
static inline void tlb_before_entry(struct kcpu *k)
{
	__atomic_store_n(&k->in_guest, 1, __ATOMIC_SEQ_CST);
	if (__builtin_expect(__atomic_load_n(&k->flush, __ATOMIC_SEQ_CST), 0))
		tlb_flush(k);
}
void load_root(struct kcpu *k);
void timer_arm(struct kcpu *k, uint64_t ns);

#endif
