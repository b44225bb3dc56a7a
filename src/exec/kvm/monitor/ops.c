/* SPDX-License-Identifier: MIT */
/*
 * What the core asks for. The processor walks the guest's own page tables, so there is no cache of
 * mappings but its TLB: flushing is loading cr3, at the latest before the guest runs again; the
 * monitor itself never uses a mapping of the guest's.
 */
#include "exec/kvm/monitor/k.h"

#include "core/run.h"

static struct kcpu *self(struct core_ctx *c)
{
	return c->priv;
}

/* ---- TLBs ---- */

void load_root(struct kcpu *k)
{
	const struct core_vcpu *v = k->c.v;
	uint64_t root = v->kernel_mode ? v->kernel_root : v->user_root;
	uint64_t cr3 = root == CORE_INVALID_MFN ? k_params->root : root << 12;

	if (k->cr3 == cr3)
		return;
	k->cr3 = cr3;
	write_cr3(cr3);
}

void tlb_flush(struct kcpu *k)
{
	__atomic_store_n(&k->flush, 0, __ATOMIC_SEQ_CST);
	write_cr3(k->cr3);
}

static void interrupt_vcpu(unsigned int id)
{
	wrmsr(X2APIC_ICR, (uint64_t)id << 32 | KVM_VEC_KICK);
}

/*
 * First the mark, then the look at who is in the guest: whoever enters later sees the mark. Waiting
 * is only for vCPUs that run guest code; the interrupt brings them out, and no lock can hold them.
 */
static void remote_flush(struct core_ctx *c, uint64_t mask)
{
	uint64_t waiting = 0;

	mask &= ~(1ull << c->v->id);
	for (unsigned int id = 0; id < k_params->nr_vcpus; id++) {
		if (!(mask >> id & 1))
			continue;
		__atomic_store_n(&kcpu_of(id)->flush, 1, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&kcpu_of(id)->in_guest, __ATOMIC_SEQ_CST))
			continue;
		interrupt_vcpu(id);
		waiting |= 1ull << id;
	}
	for (unsigned int id = 0; waiting >> id; id++) {
		if (!(waiting >> id & 1))
			continue;
		while (__atomic_load_n(&kcpu_of(id)->in_guest, __ATOMIC_ACQUIRE) &&
		       __atomic_load_n(&kcpu_of(id)->flush, __ATOMIC_ACQUIRE))
			__builtin_ia32_pause();
	}
}

static void flush_all(struct core_ctx *c, uint64_t vcpu_mask)
{
	self(c)->flush = 1;
	remote_flush(c, vcpu_mask);
}

static void flush_va(struct core_ctx *c, uint64_t vcpu_mask, uint64_t va)
{
	if (vcpu_mask >> c->v->id & 1)
		__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
	remote_flush(c, vcpu_mask);
}

static void frame_protect(struct core_ctx *c, uint64_t mfn)
{
	flush_all(c, ~0ull);
}

static void table_gone(struct core_ctx *c, uint64_t mfn, unsigned int level)
{
	flush_all(c, ~0ull);
}

/* At once: the old root may be anything in a moment, and the monitor's mappings are in it. */
static void root_changed(struct core_ctx *c)
{
	load_root(self(c));
}

static uint64_t root_slot(struct core_ctx *c, unsigned int slot)
{
	return k_params->slots[slot - KVM_SLOT_FIRST];
}

/* Code is not cached. */
static void frame_dirtied(struct core_ctx *c, uint64_t mfn)
{
}

static void frames_discard(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
	flush_all(c, ~0ull);
	__asm__ volatile("outl %0, %w1"
			 :
			 : "a"(0), "Nd"(KVM_PORT_DISCARD), "D"(mfn), "S"(nr)
			 : "memory");
}

/* ---- the rest of the world ---- */

static void doorbell(struct core_ctx *c)
{
	outl(KVM_PORT_DOORBELL, 0);
}

static void kick_vcpu(struct core_ctx *c, unsigned int id)
{
	interrupt_vcpu(id);
}

static bool start_vcpu(struct core_ctx *c, unsigned int id)
{
	__atomic_fetch_or(&c->ctl->start_request, 1u << id, __ATOMIC_SEQ_CST);
	core_ring_doorbell(c);
	return true;
}

static uint64_t k_rdtsc(struct core_ctx *c)
{
	return __builtin_ia32_rdtsc();
}

static void cpu_changed(struct core_ctx *c)
{
	self(c)->cpu_dirty = 1;
}

const struct core_exec_ops k_ops = {
	.flush_all = flush_all,
	.flush_va = flush_va,
	.frame_protect = frame_protect,
	.frame_dirtied = frame_dirtied,
	.table_gone = table_gone,
	.root_changed = root_changed,
	.root_slot = root_slot,
	.frames_discard = frames_discard,
	.doorbell = doorbell,
	.kick_vcpu = kick_vcpu,
	.start_vcpu = start_vcpu,
	.rdtsc = k_rdtsc,
	.cpu_changed = cpu_changed,
};

/* ---- the timer ---- */

/* The counter's value at system time `ns`, the inverse of core_time_now(). */
static uint64_t tsc_at(const struct core_ctl *ctl, uint64_t ns)
{
	uint64_t delta = ns > ctl->ns_base ? ns - ctl->ns_base : 0, high, low, ticks;

	/* 96 bits by 32. */
	high = delta >> 32;
	low = delta << 32;
	if (high >= ctl->tsc_mul)
		return ~0ull;
	__asm__("divq %4"
		: "=a"(ticks), "=d"(high)
		: "0"(low), "1"(high), "r"((uint64_t)ctl->tsc_mul)
		: "cc");
	if (ctl->tsc_shift > 0)
		ticks >>= ctl->tsc_shift;
	else
		ticks <<= -ctl->tsc_shift;
	return ctl->tsc_base + ticks + 1;
}

void timer_arm(struct kcpu *k, uint64_t ns)
{
	/* An earlier interrupt than needed is harmless, and programming costs: leave it be. */
	if (ns >= k->timer_ns)
		return;
	k->timer_ns = ns;
	wrmsr(TSC_DEADLINE, tsc_at(k->c.ctl, ns));
}
