/* SPDX-License-Identifier: MIT */
/*
 * What the processor has for real: descriptor tables, segments of the guest's GDT and LDT, and the
 * registers of the vCPU that ring 3 can notice (cr0.TS, cr4, XCR0, breakpoints, TSC_AUX).
 */
#include "exec/kvm/monitor/k.h"

#include "core/cpu/cpu.h"
#include "core/lib/mem.h"
#include "core/mm/mm.h"

#define PTE_DATA (PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY | PTE_NX)

#define MSR_SYSENTER_CS 0x174u
#define MSR_STAR	0xc0000081u
#define MSR_LSTAR	0xc0000082u
#define MSR_CSTAR	0xc0000083u
#define MSR_SFMASK	0xc0000084u
#define MSR_TSC_AUX	0xc0000103u

#define SFMASK                                                                                     \
	(CORE_FLAG_TF | CORE_FLAG_IF | CORE_FLAG_DF | CORE_FLAG_IOPL | CORE_FLAG_NT |              \
	 CORE_FLAG_RF | CORE_FLAG_AC)

struct gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, zero;
};

struct table_reg {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern const uint8_t stubs[256][16], syscall_entry[], syscall32_entry[];

static uint64_t block_va(const struct kcpu *k, unsigned int page)
{
	return (uint64_t)k + page * 4096u;
}

static uint64_t window_va(const struct kcpu *k)
{
	return KVM_GDT_VA + (uint64_t)k->id * KVM_GDT_STRIDE;
}

static void invlpg(uint64_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static void window_map(struct kcpu *k, unsigned int page, uint64_t gpa)
{
	uint64_t *l1 = (uint64_t *)k_params->window_va;

	l1[k->id * (KVM_GDT_STRIDE >> 12) + page] = gpa ? gpa | PTE_DATA : 0;
	invlpg(window_va(k) + page * 4096u);
}

/* ---- coming up ---- */

static void idt_init(void)
{
	struct gate *g = (struct gate *)KVM_IDT_VA;

	for (unsigned int i = 0; i < 256; i++) {
		uint64_t to = (uint64_t)stubs[i];
		bool open = i == CORE_VEC_BP || i == CORE_VEC_OF || i == 0x80;

		g[i] = (struct gate){
			.offset0 = (uint16_t)to,
			.selector = KVM_CS0,
			.type = (uint8_t)(0x8e | (open ? 3 << 5 : 0)),
			.offset1 = (uint16_t)(to >> 16),
			.offset2 = (uint32_t)(to >> 32),
		};
	}
	g[CORE_VEC_NMI].ist = g[CORE_VEC_DF].ist = g[CORE_VEC_MC].ist = 1;
	/* May come before `syscall` has changed the stack. */
	g[CORE_VEC_DB].ist = 2;
}

static void system_desc(uint64_t *d, unsigned int type, uint64_t base, uint32_t limit)
{
	d[0] = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)(0x80 | type) << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (base >> 24 & 0xff) << 56;
	d[1] = base >> 32;
}

static uint64_t *own_gdt(struct kcpu *k)
{
	return (uint64_t *)block_va(k, KVM_CPU_GDT);
}

static void gdt_init(struct kcpu *k)
{
	uint64_t *d = own_gdt(k);

	d[(KVM_CS0 & 0xfff) >> 3] = 0x00af9b000000ffffull;
	d[(KVM_SS0 & 0xfff) >> 3] = 0x00cf93000000ffffull;
	d[(KVM_CS32 & 0xfff) >> 3] = 0x00cffb000000ffffull;
	d[(KVM_SS3 & 0xfff) >> 3] = 0x00cff3000000ffffull;
	d[(KVM_CS64 & 0xfff) >> 3] = 0x00affb000000ffffull;
	d[0x38 >> 3] = 0x00cf9b000000ffffull;
	system_desc(&d[(KVM_TSS_SEL & 0xfff) >> 3], 9, (uint64_t)&k->tss, sizeof(k->tss) - 1);
	for (unsigned int i = 0; i < FIRST_RESERVED_GDT_PAGE; i++)
		window_map(k, i, k_params->zero_gpa);
	window_map(k, FIRST_RESERVED_GDT_PAGE,
		   k_params->cpus_gpa + (uint64_t)k->id * KVM_CPU_SIZE + KVM_CPU_GDT * 4096);
}

static void load_tables(struct kcpu *k)
{
	struct table_reg gdt = {0xefff, window_va(k)}, idt = {0xfff, KVM_IDT_VA};

	__asm__ volatile("lgdt %0; lidt %1; ltr %w2; lldt %w3"
			 :
			 : "m"(gdt), "m"(idt), "r"(KVM_TSS_SEL), "r"(0)
			 : "memory");
}

void cpu_tables_init(struct kcpu *k)
{
	if (k->id == 0)
		idt_init();
	memset(&k->tss, 0, sizeof(k->tss));
	k->tss.rsp[0] = block_va(k, KVM_CPU_ENTRY + 1);
	k->tss.ist[0] = block_va(k, KVM_CPU_IST + 1);
	k->tss.ist[1] = block_va(k, KVM_CPU_IST) + 2048;
	k->tss.iomap = sizeof(k->tss);
	gdt_init(k);
	load_tables(k);

	wrmsr(MSR_STAR, (uint64_t)KVM_CS32 << 48 | (uint64_t)KVM_CS0 << 32);
	wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
	wrmsr(MSR_CSTAR, (uint64_t)syscall32_entry);
	wrmsr(MSR_SFMASK, SFMASK);
	wrmsr(MSR_SYSENTER_CS, 0);

	wrmsr(X2APIC_SVR, 0x1ff);
	wrmsr(X2APIC_TPR, 0);
	wrmsr(X2APIC_LVT, 2u << 17 | KVM_VEC_TIMER);
	if (k_params->has_pv_eoi)
		wrmsr(KVM_PV_EOI_EN, k_params->cpus_gpa + (uint64_t)k->id * KVM_CPU_SIZE +
					     offsetof(struct kcpu, pv_eoi) + 1);

	__asm__ volatile("mov %%cr0, %0" : "=r"(k->cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(k->cr4));
	k->dr7 = 0x400;
}

/* ---- before each entry ---- */

static void sync_gdt(struct kcpu *k)
{
	const struct core_vcpu *v = k->c.v;
	unsigned int nr = (v->gdt_ents + 511) / 512;

	for (unsigned int i = 0; i < FIRST_RESERVED_GDT_PAGE; i++) {
		uint64_t want = i < nr ? v->gdt_frames[i] + 1 : 0;

		if (k->gdt_frames[i] == want)
			continue;
		k->gdt_frames[i] = want;
		window_map(k, i, want ? (want - 1) << 12 : k_params->zero_gpa);
	}
}

static void sync_ldt(struct kcpu *k)
{
	const struct core_vcpu *v = k->c.v;

	for (unsigned int i = 0; k->ldt_mapped && i < 16; i++) {
		if (!k->ldt_frames[i] || k->ldt_frames[i] == v->ldt_frames[i])
			continue;
		k->ldt_frames[i] = 0;
		k->ldt_mapped--;
		window_map(k, 16 + i, 0);
	}
	if (k->ldt_ents == v->ldt_ents)
		return;
	k->ldt_ents = v->ldt_ents;
	if (!v->ldt_ents) {
		__asm__ volatile("lldt %w0" : : "r"(0));
		return;
	}
	system_desc(&own_gdt(k)[(KVM_LDT_SEL & 0xfff) >> 3], 2, window_va(k) + KVM_LDT_OFF,
		    v->ldt_ents * 8 - 1);
	__asm__ volatile("lldt %w0" : : "r"(KVM_LDT_SEL) : "memory");
}

bool cpu_ldt_fill(struct kcpu *k, uint64_t addr, uint64_t *ret_guest_va)
{
	uint64_t off = addr - window_va(k) - KVM_LDT_OFF, mfn;
	unsigned int page = (unsigned int)(off >> 12);

	*ret_guest_va = k->c.v->ldt_base + off;
	if (!core_ldt_frame(&k->c, (unsigned int)(off / 8), &mfn))
		return false;
	if (k->ldt_frames[page] != mfn + 1) {
		k->ldt_mapped += !k->ldt_frames[page];
		k->ldt_frames[page] = mfn + 1;
		window_map(k, 16 + page, mfn << 12);
	}
	return true;
}

/* Breakpoints on I/O are kept aside by the core and never armed. */
static uint64_t armed(uint64_t dr7)
{
	for (unsigned int i = 0; i < 4; i++)
		if ((dr7 >> (16 + 4 * i) & 3) == 2)
			dr7 &= ~(3ull << (2 * i));
	return dr7 & 0xff ? dr7 : 0x400;
}

static void sync_debug(struct kcpu *k)
{
	const uint64_t *dr = k->c.v->debugreg;
	uint64_t dr7 = armed(dr[7]);

	if (dr7 == 0x400 && k->dr7 == 0x400)
		return;
	__asm__ volatile("mov %0, %%dr7; mov %1, %%dr0; mov %2, %%dr1; mov %3, %%dr2; "
			 "mov %4, %%dr3; mov %5, %%dr7"
			 :
			 : "r"(0x400ull), "r"(dr[0]), "r"(dr[1]), "r"(dr[2]), "r"(dr[3]), "r"(dr7));
	k->dr7 = dr7;
}

/*
 * By the library and not by xsetbv, which is an exit as well: QEMU's TCG 7.2 lets KVM not see the
 * instruction, and KVM loads what it knows of at each entry. XSAVE then finds components that
 * XRSTOR, an exit later, takes for reserved.
 */
static void set_xcr0(uint64_t value)
{
	__asm__ volatile("outl %0, %w1" : : "a"(0), "Nd"(KVM_PORT_XCR0), "D"(value) : "memory");
}

static void sync_registers(struct kcpu *k)
{
	const struct core_vcpu *v = k->c.v;
	const uint64_t mirrored = CORE_CR4_TSD | CORE_CR4_DE;
	uint64_t cr0 = (k->cr0 & ~CORE_CR0_TS) | (v->cr0 & CORE_CR0_TS);
	uint64_t cr4 = (k->cr4 & ~mirrored) | (v->cr4 & mirrored);
	uint64_t xcr0 = v->xcr0 | 1;

	if (cr0 != k->cr0)
		__asm__ volatile("mov %0, %%cr0" : : "r"(cr0));
	if (cr4 != k->cr4)
		__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
	if (xcr0 != k->xcr0 && k_params->has_xsave)
		set_xcr0(xcr0);
	k->cr0 = cr0;
	k->cr4 = cr4;
	k->xcr0 = xcr0;
	if (v->tsc_aux != k->tsc_aux && k_params->has_rdtscp)
		wrmsr(MSR_TSC_AUX, v->tsc_aux); /* an exit on most processors */
	k->tsc_aux = v->tsc_aux;
	sync_debug(k);
}

void cpu_sync(struct kcpu *k)
{
	if (k->cpu_dirty) {
		k->cpu_dirty = 0;
		sync_gdt(k);
		sync_registers(k);
	}
	sync_ldt(k);
}
