/* SPDX-License-Identifier: MIT */
/* Model-specific registers and CPUID leaves as the guest's kernel sees them. */
#include "harness.h"

#include "core/cpu/cpuid.h"
#include "core/cpu/msr.h"
#include "core/mm/mm.h"

static bool rd(struct dom *t, uint32_t msr, uint64_t *ret)
{
	*ret = 0x5555;
	return core_msr_read(&t->c, msr, ret);
}

static uint64_t get(struct dom *t, uint32_t msr)
{
	uint64_t value;

	if (!rd(t, msr, &value))
		fail_msg("MSR %x cannot be read", msr);
	return value;
}

static struct dom *with_gp(void)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	return t;
}

static void by_instruction(void **state)
{
	struct dom *t = with_gp();

	t->c.v->regs.gs_base = 0x1234567812345678ull >> 4;
	REG(t, RCX) = 0xffffffffc0000101ull; /* only ecx counts */
	REG(t, RAX) = REG(t, RDX) = ~0ull;
	EMULATE(t, 0x0f, 0x32);
	assert_int_equal(REG(t, RAX), 0x81234567);
	assert_int_equal(REG(t, RDX), 0x01234567);
	REG(t, RCX) = 0xc0000100;
	REG(t, RAX) = 0xffffffff80001000ull; /* upper halves do not count */
	REG(t, RDX) = 0xffffffffffffffffull;
	EMULATE(t, 0x0f, 0x30);
	assert_int_equal(t->c.v->regs.fs_base, 0xffffffff80001000ull);
	REG(t, RDX) = 0x10000;
	CODE(t, 0x0f, 0x30); /* not canonical */
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	REG(t, RCX) = 0xc0000082; /* LSTAR is not the guest's */
	CODE(t, 0x0f, 0x30);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	CODE(t, 0x0f, 0x32);
	core_emulate(&t->c);
	assert_int_equal(assert_bounced(t, 13, 0).rip, VA(PG_CODE));
	dom_free(t);
}

static void segment_bases(void **state)
{
	struct dom *t = with_gp();

	assert_true(core_msr_write(&t->c, 0xc0000100, 0x1000));
	assert_true(core_msr_write(&t->c, 0xc0000101, 0xffff888000000000ull));
	assert_true(core_msr_write(&t->c, 0xc0000102, 0x3000));
	assert_int_equal(t->c.v->regs.gs_base, 0xffff888000000000ull);
	assert_int_equal(t->c.v->regs.gs_base_other, 0x3000);
	assert_int_equal(get(t, 0xc0000100), 0x1000);
	assert_int_equal(get(t, 0xc0000101), 0xffff888000000000ull);
	assert_int_equal(get(t, 0xc0000102), 0x3000);
	assert_false(core_msr_write(&t->c, 0xc0000101, 1ull << 47));
	dom_free(t);
}

static void what_a_pv_guest_reads(void **state)
{
	struct dom *t = with_gp();

	assert_int_equal(get(t, 0xc0000080), 0xd01);
	assert_int_equal(get(t, 0x277), 0x050100070406ull);
	assert_int_equal(get(t, 0x1b), 0xfee00900);
	assert_int_equal(get(t, 0x10), t->tsc);
	assert_int_equal(get(t, 0x1a0), 0x801801);
	assert_int_equal(get(t, 0x345), 0);
	assert_int_equal(get(t, 0x3a), 1);
	assert_int_equal(get(t, 0x179), 0x1000802);
	assert_int_equal(get(t, 0x17a), 0);
	assert_int_equal(get(t, 0x401), 0);
	assert_int_equal(get(t, 0x400), ~0ull);
	assert_int_equal(get(t, 0x47f), 0);
	assert_int_equal(get(t, 0x280), 0);
	assert_true(core_msr_write(&t->c, 0x29f, ~0ull));
	assert_true(core_msr_write(&t->c, 0x404, ~0ull));
	assert_true(core_msr_write(&t->c, 0x405, 0));
	assert_false(core_msr_write(&t->c, 0x405, 1));
	assert_int_equal(get(t, 0xc0000103), 0);
	/* Nothing behind them, but they exist: power, thermal and counter registers. */
	static const uint32_t zero[] = {0x17, 0xc1, 0xce, 0x10a, 0x140, 0x186, 0x198, 0x199, 0x19c};

	for (unsigned int i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
		assert_int_equal(get(t, zero[i]), 0);
	t->c.ctl->boot.arch_caps = 1ull << 62 | 1;
	assert_int_equal(get(t, 0x10a), 1ull << 62 | 1);
	assert_false(core_msr_write(&t->c, 0x10a, 0));
	assert_int_not_equal(get(t, 0x8b), 0);
	dom_free(t);
}

static void what_it_may_write(void **state)
{
	struct dom *t = with_gp();

	assert_true(core_msr_write(&t->c, 0xc0000080, 0xd01)); /* back what it read */
	assert_false(core_msr_write(&t->c, 0xc0000080, 0xd00));
	assert_true(core_msr_write(&t->c, 0xc0000103, 3));
	assert_int_equal(get(t, 0xc0000103), 3);
	assert_false(core_msr_write(&t->c, 0xc0000103, 1ull << 32));
	assert_true(core_msr_write(&t->c, 0x1a0, 0)); /* dropped */
	assert_int_equal(get(t, 0x1a0), 0x801801);
	assert_true(core_msr_write(&t->c, 0x140, 0));
	assert_false(core_msr_write(&t->c, 0x140, 1));
	assert_true(core_msr_write(&t->c, 0x199, 0));
	assert_false(core_msr_write(&t->c, 0xce, 0));
	assert_false(core_msr_write(&t->c, 0x277, 0));
	assert_false(core_msr_write(&t->c, 0x10, 0));
	assert_false(core_msr_write(&t->c, 0x1b, 0));
	dom_free(t);
}

static void unknown_registers_fault(void **state)
{
	static const uint32_t msrs[] = {
		0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176,   0x48,
		0x49,	    0x79,	0x2ff,	    0xfe,	0x800, 0x1d9, 0x12345, 0xffffffff,
	};
	struct dom *t = with_gp();
	uint64_t value;

	for (unsigned int i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		assert_false(rd(t, msrs[i], &value));
		assert_false(core_msr_write(&t->c, msrs[i], 0));
	}
	dom_free(t);
}

/* A guest that cannot take a #GP yet reads zeroes instead of dying of a probe. */
static void early_reads_give_zero(void **state)
{
	struct dom *t = dom_new();
	uint64_t value;

	assert_true(rd(t, 0x174, &value));
	assert_int_equal(value, 0);
	assert_false(core_msr_write(&t->c, 0x174, 0));
	assert_false(rd(t, 0x40000200, &value));
	dom_free(t);
}

static void vendors_differ(void **state)
{
	struct dom *t = with_gp();
	uint64_t value;

	assert_false(rd(t, 0xc0010015, &value));
	t->ctl.boot.cpuid[0].ebx = 0x68747541; /* AuthenticAMD */
	assert_int_equal(core_cpuid_vendor(&t->c), CORE_VENDOR_AMD);
	assert_int_equal(get(t, 0xc0010015), 1 << 24);
	assert_int_equal(get(t, 0xc0011029), 2);
	assert_int_equal(get(t, 0xc0010064), 0);
	assert_int_equal(get(t, 0x179), 2);
	assert_false(rd(t, 0x280, &value));
	assert_false(rd(t, 0x1a0, &value));
	assert_true(core_msr_write(&t->c, 0xc0010015, 0));
	assert_false(core_msr_write(&t->c, 0x1a0, 0));
	t->ctl.boot.cpuid[0].ebx = 0;
	assert_int_equal(core_cpuid_vendor(&t->c), CORE_VENDOR_OTHER);
	assert_false(rd(t, 0x1a0, &value));
	assert_false(rd(t, 0xc0010015, &value));
	dom_free(t);
}

static void hypercall_page_by_msr(void **state)
{
	struct dom *t = with_gp();

	assert_true(core_msr_write(&t->c, 0x40000000, VA(PG_DATA)));
	assert_memory_equal(page_ptr(t, PG_DATA), page_ptr(t, PG_HCALL), 4096);
	assert_false(core_msr_write(&t->c, 0x40000000, VA(PG_DATA) + 1));
	assert_false(core_msr_write(&t->c, 0x40000000, VA(PG_L1)));
	assert_false(core_msr_write(&t->c, 0x40000000, VA(NR_FRAMES)));
	assert_int_equal(get(t, 0x40000000), 0);
	dom_free(t);
}

/* ---- CPUID ------------------------------------------------------------------------------- */

static struct core_cpuid_regs leaf(struct dom *t, uint32_t l, uint32_t sub)
{
	struct core_cpuid_regs r;

	core_cpuid(&t->c, l, sub, &r);
	return r;
}

static void policy_leaves(void **state)
{
	struct dom *t = dom_new();
	struct core_cpuid_regs r = leaf(t, 0, 0);

	assert_int_equal(r.eax, 0xd);
	r = leaf(t, 1, 0);
	assert_int_equal(r.ebx, 0x00000800); /* APIC id 0 */
	assert_int_equal(r.ecx, 3u << 26);   /* a kernel sees the hypervisor's OSXSAVE */
	t->c.v->kernel_mode = 0;
	assert_int_equal(leaf(t, 1, 0).ecx, 1u << 26);
	t->c.v->cr4 |= CORE_CR4_OSXSAVE;
	assert_int_equal(leaf(t, 1, 0).ecx, 3u << 26);
	r = leaf(t, 2, 0); /* not in the policy */
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	r = leaf(t, 0x80000008, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	dom_free(t);
}

static void apic_id_is_0_on_each_vcpu(void **state)
{
	struct dom *t = dom_new_vcpus(4);
	struct core_ctx other;
	struct core_cpuid_regs r;

	dom_vcpu(t, &other, 3);
	core_cpuid(&other, 1, 0, &r);
	assert_int_equal(r.ebx >> 24, 0);
	dom_free(t);
}

static void xsave_size_follows_xcr0(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(leaf(t, 0xd, 0).ebx, 576);
	assert_int_equal(leaf(t, 0xd, 0).ecx, 832);
	t->c.v->xcr0 = 7;
	assert_int_equal(leaf(t, 0xd, 0).ebx, 832);
	assert_int_equal(leaf(t, 0xd, 2).ebx, 576);
	assert_int_equal(leaf(t, 0xd, 3).eax, 0);
	assert_int_equal(core_cpuid_xcr0_max(&t->c), 7);
	dom_free(t);
}

static void xen_leaves(void **state)
{
	struct dom *t = dom_new();
	struct core_cpuid_regs r = leaf(t, 0x40000000, 0);

	assert_int_equal(r.eax, 0x40000005);
	assert_memory_equal(&r.ebx, "XenVMMXenVMM", 12);
	assert_int_equal(leaf(t, 0x40000001, 0).eax, 4 << 16 | 17);
	r = leaf(t, 0x40000002, 0);
	assert_int_equal(r.eax, 1);
	assert_int_equal(r.ebx, 0x40000000);
	assert_int_equal(r.ecx, 1);			       /* preserve_ad */
	assert_int_equal(leaf(t, 0x40000003, 0).ecx, 1000000); /* kHz: one tick a ns */
	assert_int_equal(leaf(t, 0x40000003, 0).edx, 1);
	assert_int_equal(leaf(t, 0x40000003, 2).eax, 1000000);
	assert_int_equal(leaf(t, 0x40000005, 0).ebx, 48);
	r = leaf(t, 0x40000006, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	r = leaf(t, 0x40000100, 0);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	dom_free(t);
}

static void a_hostile_policy_count_is_bounded(void **state)
{
	struct dom *t = dom_new();

	t->ctl.boot.nr_cpuid = 0xffffffff;
	assert_int_equal(leaf(t, 0x77777777, 0).eax, 0);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_instruction),
		cmocka_unit_test(segment_bases),
		cmocka_unit_test(what_a_pv_guest_reads),
		cmocka_unit_test(what_it_may_write),
		cmocka_unit_test(unknown_registers_fault),
		cmocka_unit_test(early_reads_give_zero),
		cmocka_unit_test(vendors_differ),
		cmocka_unit_test(hypercall_page_by_msr),
		cmocka_unit_test(policy_leaves),
		cmocka_unit_test(apic_id_is_0_on_each_vcpu),
		cmocka_unit_test(xsave_size_follows_xcr0),
		cmocka_unit_test(xen_leaves),
		cmocka_unit_test(a_hostile_policy_count_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
