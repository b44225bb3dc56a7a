/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "mm_test.h"

#define SLOT 300u /* of BOOT_L1; maps the frame of the same number */

static uint64_t entry(struct mm_guest *g)
{
	return frame_at(g, BOOT_L1)[SLOT];
}

static long set(struct mm_guest *g, uint64_t val)
{
	return update(g, BOOT_L1, SLOT, val);
}

static void l1_legal(void **state)
{
	struct mm_guest *g = *state;

	assert_int_equal(set(g, 0), 0);
	assert_int_equal(entry(g), 0);
	check(g);
	assert_int_equal(frame_refs(word_of(g, SLOT)), 1);

	assert_int_equal(set(g, pte(SLOT, P | RW)), 0);
	assert_int_equal(entry(g), pte(SLOT, P | RW | U | GK));
	check(g);
	/* A user mapping is made global, one that says it is the kernel's keeps its mark. */
	assert_int_equal(set(g, pte(40, P | U)), 0);
	assert_int_equal(entry(g), pte(40, P | U | G));
	check(g);
	assert_int_equal(set(g, pte(40, P | U | GK | PTE_NX | PTE_AVAIL)), 0);
	assert_int_equal(entry(g), pte(40, P | U | GK | PTE_NX | PTE_AVAIL));
	check(g);
	/* Bits 52 to 62 and global are the guest's. */
	assert_int_equal(set(g, pte(SLOT, P | RW | G | PTE_AVAIL_HIGH)), 0);
	assert_int_equal(entry(g), pte(SLOT, P | RW | U | G | PTE_AVAIL_HIGH));
	check(g);
	/* Not present: any content, untouched. */
	assert_int_equal(set(g, 0xfffffffffffffffeull), 0);
	assert_int_equal(entry(g), 0xfffffffffffffffeull);
	check(g);
	/* A page table may be mapped read-only. */
	assert_int_equal(set(g, pte(BOOT_L4, P)), 0);
	check(g);
}

static void l1_refused(void **state)
{
	struct mm_guest *g = *state;
	static const struct {
		uint64_t val;
		long rc;
	} bad[] = {
		{pte(SLOT, P | RW | PTE_PWT), -XEN_EINVAL},
		{pte(SLOT, P | RW | PTE_PCD), -XEN_EINVAL},
		{pte(SLOT, P | RW | PTE_PSE), -XEN_EINVAL},
		{pte(BOOT_L1, P | RW), -XEN_EBUSY},
		{pte(BOOT_L2, P | RW), -XEN_EBUSY},
		{pte(BOOT_L3, P | RW), -XEN_EBUSY},
		{pte(BOOT_L4, P | RW), -XEN_EBUSY},
		{pte(NR_PAGES, P), -XEN_EBUSY}, /* not populated */
		{pte(MAX_PAGES - 1, P | RW), -XEN_EBUSY},
		{pte(M2P_FIRST, P), -XEN_EBUSY}, /* the hypervisor's */
		{pte(NR_FRAMES, P), -XEN_EPERM}, /* no RAM */
		{pte(1ull << 39, P | RW), -XEN_EPERM},
		{pte(PTE_MFN_MASK, P), -XEN_EINVAL}, /* the invalid frame */
		{pte(PTE_MFN_MASK, P | PTE_PCD), -XEN_EINVAL},
	};
	uint64_t before = entry(g);

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(set(g, bad[i].val), bad[i].rc);
		assert_int_equal(entry(g), before);
		check(g);
	}
}

/* A change of harmless bits keeps the references, also for what could not be mapped anew. */
static void l1_same_target(void **state)
{
	struct mm_guest *g = *state;
	uint64_t word = word_of(g, SLOT);

	assert_int_equal(set(g, pte(SLOT, P | RW | U | A | D | PTE_NX | PTE_AVAIL)), 0);
	assert_int_equal(entry(g), pte(SLOT, P | RW | U | G | A | D | PTE_NX | PTE_AVAIL));
	assert_int_equal(word_of(g, SLOT), word);
	/* RW is not harmless. */
	assert_int_equal(set(g, pte(SLOT, P)), 0);
	assert_int_equal(frame_trefs(word_of(g, SLOT)), 0);
	check(g);
	/* No new reference is needed, so none can be refused: full counts, and DOMID_IO. */
	word = word_of(g, SLOT);
	g->c.frames[SLOT].type |= FRAME_REF_MASK;
	assert_int_equal(set(g, pte(SLOT, P | A)), 0);
	assert_int_equal(set(g, pte(SLOT, P | RW)), -XEN_EBUSY);
	g->c.frames[SLOT].type = word;
	struct mmu_update req = {(uint64_t)BOOT_L1 << 12 | SLOT * 8, pte(SLOT, P | D)};

	assert_int_equal(mmu_update(g, &req, 1, DOMID_IO, NULL), 0);
	check(g);
}

static void preserve_ad(void **state)
{
	struct mm_guest *g = *state;
	struct mmu_update req = {(uint64_t)BOOT_L1 << 12 | SLOT * 8 | MMU_PT_UPDATE_PRESERVE_AD,
				 pte(SLOT, P)};

	frame_at(g, BOOT_L1)[SLOT] |= A | D;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), 0);
	assert_int_equal(entry(g), pte(SLOT, P | U | GK | A | D));
	req.ptr = (uint64_t)BOOT_L1 << 12 | SLOT * 8 | MMU_NORMAL_PT_UPDATE;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), 0);
	assert_int_equal(entry(g), pte(SLOT, P | U | GK));
	req.ptr = (uint64_t)BOOT_L1 << 12 | SLOT * 8 | MMU_PT_UPDATE_NO_TRANSLATE;
	req.val = 0;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), 0);
	assert_int_equal(entry(g), 0);
}

static void upper_legal(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);

	frame_at(g, t.l1)[5] = pte(200, P | RW | U);
	assert_int_equal(update(g, BOOT_L4, 0, pte(t.l3, P | RW)), 0);
	assert_int_equal(frame_at(g, BOOT_L4)[0], pte(t.l3, P | RW | U | A));
	assert_true(frame_is(word_of(g, t.l3), FRAME_L3));
	assert_true(frame_is(word_of(g, t.l2), FRAME_L2));
	assert_true(frame_is(word_of(g, t.l1), FRAME_L1));
	assert_false(frame_is(word_of(g, t.l4), FRAME_L4));
	assert_int_equal(frame_at(g, t.l1)[5], pte(200, P | RW | U | G));
	check(g);

	/* Harmless bits at each level. */
	assert_int_equal(update(g, BOOT_L4, 0, pte(t.l3, P | RW | A | PTE_NX)), 0);
	assert_int_equal(update(g, t.l3, 0, pte(t.l2, P | RW | PTE_AVAIL | PTE_AVAIL_HIGH)), 0);
	assert_int_equal(frame_at(g, t.l3)[0], pte(t.l2, P | RW | U | PTE_AVAIL | PTE_AVAIL_HIGH));
	check(g);
	/* The same table twice. */
	assert_int_equal(update(g, t.l2, 7, pte(t.l1, P)), 0);
	assert_int_equal(frame_trefs(word_of(g, t.l1)), 2);
	check(g);

	assert_int_equal(update(g, BOOT_L4, 0, 0), 0);
	check(g);
	for (uint64_t mfn = t.l3; mfn <= t.l1; mfn++) {
		assert_int_equal(frame_type(word_of(g, mfn)), FRAME_NONE);
		make_rw(g, mfn);
	}
}

static void upper_refused(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);
	static const uint64_t flags[] = {PTE_PWT, PTE_PCD, PTE_PSE, PTE_GLOBAL};

	assert_int_equal(update(g, BOOT_L4, 0, pte(t.l3, P | RW)), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(update(g, BOOT_L4, 1, pte(t.l3, P | flags[i])), -XEN_EINVAL);
		assert_int_equal(update(g, t.l3, 1, pte(t.l2, P | flags[i])), -XEN_EINVAL);
		assert_int_equal(update(g, t.l2, 1, pte(t.l1, P | flags[i])), -XEN_EINVAL);
		check(g);
	}
	/* Wrong level, writable, free, foreign, none. */
	assert_int_equal(update(g, BOOT_L4, 1, pte(t.l1, P)), -XEN_EINVAL);
	assert_int_equal(update(g, BOOT_L4, 1, pte(t.l2, P)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l2, 1, pte(t.l3, P)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l2, 1, pte(200, P)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l2, 1, pte(NR_PAGES, P)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l2, 1, pte(M2P_FIRST, P)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l2, 1, pte(NR_FRAMES, P)), -XEN_EINVAL);
	check(g);
	/* The hypervisor's slots, whatever is written. */
	assert_int_equal(update(g, BOOT_L4, 256, 0), -XEN_EINVAL);
	assert_int_equal(update(g, BOOT_L4, 271, pte(t.l3, P)), -XEN_EINVAL);
	assert_int_equal(update(g, BOOT_L4, 255, pte(t.l3, P)), 0);
	assert_int_equal(update(g, BOOT_L4, 272, pte(t.l3, P)), 0);
	check(g);
}

/* The errors of a whole subtree that does not validate; everything is undone. */
static void subtree_fails(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);
	static const struct {
		uint64_t val;
		long rc;
	} bad[] = {
		{pte(BOOT_L1, P | RW), -XEN_EBUSY},
		{pte(FREE + 1, P | RW), -XEN_EBUSY}, /* the L3 being validated itself */
		{pte(NR_FRAMES, P), -XEN_EPERM},
		{pte(7, P | PTE_PSE), -XEN_EINVAL},
	};

	for (unsigned int i = 0; i < 100; i++)
		frame_at(g, t.l1)[i] = pte(100 + i, P | RW);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		frame_at(g, t.l1)[511] = bad[i].val;
		assert_int_equal(update(g, BOOT_L4, 0, pte(t.l3, P | RW)), bad[i].rc);
		assert_int_equal(frame_at(g, BOOT_L4)[0], 0);
		check(g);
		for (uint64_t mfn = t.l3; mfn <= t.l1; mfn++)
			assert_int_equal(frame_type(word_of(g, mfn)), FRAME_NONE);
		/* What was looked at has been adjusted, as Xen leaves it. */
		assert_int_equal(frame_at(g, t.l1)[99], pte(199, P | RW | U | GK));
	}
	frame_at(g, t.l1)[511] = 0;
	assert_int_equal(update(g, BOOT_L4, 0, pte(t.l3, P | RW)), 0);
}

static void machphys(void **state)
{
	struct mm_guest *g = *state;
	uint64_t *m2p = frame_at(g, M2P_FIRST);
	struct mmu_update req = {100ull << 12 | MMU_MACHPHYS_UPDATE, 0x1234};

	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), 0);
	assert_int_equal(m2p[100], 0x1234);
	req.ptr = (100ull << 12) + 0xff8 + MMU_MACHPHYS_UPDATE; /* the offset does not matter */
	req.val = 100;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), 0);
	assert_int_equal(m2p[100], 100);
	req.ptr = (uint64_t)NR_PAGES << 12 | MMU_MACHPHYS_UPDATE;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), -XEN_EINVAL);
	req.ptr = (uint64_t)NR_FRAMES << 12 | MMU_MACHPHYS_UPDATE;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), -XEN_EINVAL);
	req.ptr = ~7ull | MMU_MACHPHYS_UPDATE;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, NULL), -XEN_EINVAL);
}

static void plain_frames(void **state)
{
	struct mm_guest *g = *state;

	/* A page that is no page table: a store, if the guest could do it. */
	assert_int_equal(update(g, 200, 3, 0xabcdef), 0);
	assert_int_equal(frame_at(g, 200)[3], 0xabcdef);
	assert_int_equal(update(g, FREE, 3, ~0ull), 0);
	check(g);
	assert_int_equal(update(g, NR_PAGES, 0, 0), -XEN_EINVAL);
	assert_int_equal(update(g, M2P_FIRST, 0, 0), -XEN_EINVAL);
	assert_int_equal(update(g, NR_FRAMES, 0, 0), -XEN_EINVAL);
	assert_int_equal(update(g, PTE_MFN_MASK, 0, 0), -XEN_EINVAL);
	/* A descriptor page is neither. */
	make_ro(g, 201);
	assert_true(core_frame_get_type(&g->c, 201, FRAME_SEG_DESC));
	g->refs[201]++, g->trefs[201]++;
	assert_int_equal(update(g, 201, 0, 0), -XEN_EINVAL);
	check(g);
	core_frame_put_type(&g->c, 201);
	g->refs[201]--, g->trefs[201]--;
}

static void foreign(void **state)
{
	struct mm_guest *g = *state;
	struct mmu_update req = {(uint64_t)BOOT_L1 << 12 | SLOT * 8, pte(SLOT, P)};
	struct mmu_update m2p = {5ull << 12 | MMU_MACHPHYS_UPDATE, 5};
	uint32_t done;

	assert_int_equal(mmu_update(g, &req, 1, DOMID, &done), -XEN_ESRCH);
	assert_int_equal(done, 0);
	assert_int_equal(mmu_update(g, &req, 1, 0, &done), -XEN_EPERM);
	assert_int_equal(done, 0);
	assert_int_equal(mmu_update(g, &req, 1, DOMID_XEN, &done), -XEN_EPERM);
	assert_int_equal(mmu_update(g, &req, 1, 3, &done), -XEN_ESRCH);
	assert_int_equal(mmu_update(g, &req, 1, DOMID_COW, &done), -XEN_ESRCH);
	/* Nothing asked, nothing refused. */
	assert_int_equal(mmu_update(g, &req, 0, 0, &done), 0);
	assert_int_equal(done, 0);
	/* The upper half: whose page tables. Its own number is fine there. */
	assert_int_equal(mmu_update(g, &req, 1, (DOMID + 1) << 16 | DOMID_SELF, &done), 0);
	assert_int_equal(mmu_update(g, &req, 1, (0u + 1) << 16 | DOMID_SELF, &done), -XEN_EPERM);
	assert_int_equal(mmu_update(g, &m2p, 1, (0u + 1) << 16 | DOMID_SELF, &done), -XEN_EPERM);
	assert_int_equal(mmu_update(g, &req, 1, (9u + 1) << 16 | DOMID_SELF, &done), -XEN_ESRCH);
	/* DOMID_IO: only I/O memory, of which there is none. */
	req.val = pte(SLOT, P | RW);
	assert_int_equal(mmu_update(g, &req, 1, DOMID_IO, &done), -XEN_EBUSY);
	req.val = pte(NR_FRAMES, P);
	assert_int_equal(mmu_update(g, &req, 1, DOMID_IO, &done), -XEN_EPERM);
	req.val = 0;
	assert_int_equal(mmu_update(g, &req, 1, DOMID_IO, &done), 0);
	assert_int_equal(mmu_update(g, &m2p, 1, DOMID_IO, &done), -XEN_EINVAL);
	req = (struct mmu_update){(uint64_t)BOOT_L2 << 12 | 8, 0};
	assert_int_equal(mmu_update(g, &req, 1, DOMID_IO, &done), -XEN_EINVAL);
	check(g);
}

static void commands(void **state)
{
	struct mm_guest *g = *state;
	struct mmu_update req = {(uint64_t)BOOT_L1 << 12 | SLOT * 8, pte(SLOT, P)};
	uint32_t done;

	for (unsigned int cmd = 4; cmd < 8; cmd++) {
		req.ptr = ((uint64_t)BOOT_L1 << 12 | SLOT * 8) + cmd;
		assert_int_equal(mmu_update(g, &req, 1, DOMID_SELF, &done), -XEN_ENOSYS);
		assert_int_equal(done, 0);
	}
}

/* The count of requests done, and where a list stops. */
static void success_count(void **state)
{
	struct mm_guest *g = *state;
	struct mmu_update reqs[100];
	uint32_t done;

	for (unsigned int i = 0; i < 100; i++)
		reqs[i] = (struct mmu_update){(uint64_t)BOOT_L1 << 12 | (200 + i) * 8,
					      pte(200 + i, P)};
	assert_int_equal(mmu_update(g, reqs, 100, DOMID_SELF, &done), 0);
	assert_int_equal(done, 100);
	check(g);
	for (unsigned int i = 0; i < 100; i++)
		reqs[i].val |= RW;
	reqs[70].val = pte(BOOT_L1, P | RW);
	assert_int_equal(mmu_update(g, reqs, 100, DOMID_SELF, &done), -XEN_EBUSY);
	assert_int_equal(done, 70);
	assert_true(frame_at(g, BOOT_L1)[269] & RW);
	assert_false(frame_at(g, BOOT_L1)[270] & RW);
	check(g);
}

static void bad_pointers(void **state)
{
	struct mm_guest *g = *state;
	struct mmu_update reqs[2] = {{(uint64_t)BOOT_L1 << 12 | SLOT * 8, pte(SLOT, P)},
				     {(uint64_t)BOOT_L1 << 12 | SLOT * 8, pte(SLOT, P | RW)}};
	uint64_t end = VA(NR_PAGES), arg = VA(ARGS);
	uint32_t done = 77;

	assert_int_equal(mm_guest_hypercall(g, core_hc_mmu_update, end, 1, 0, DOMID_SELF),
			 -XEN_EFAULT);
	assert_int_equal(
		mm_guest_hypercall(g, core_hc_mmu_update, MACH2PHYS_VIRT_START, 1, 0, DOMID_SELF),
		-XEN_EFAULT);
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmu_update, 1ull << 47, 1, 0, DOMID_SELF),
			 -XEN_EFAULT);
	/* The second request lies behind the end of the memory: the first one counts. */
	memcpy((uint8_t *)frame_at(g, NR_PAGES - 1) + 4080, reqs, sizeof(reqs[0]));
	put_args(g, 0, &done, sizeof(done));
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmu_update, end - 16, 2, arg, DOMID_SELF),
			 -XEN_EFAULT);
	assert_int_equal(*(uint32_t *)frame_at(g, ARGS), 1);
	assert_int_equal(entry(g), pte(SLOT, P | U | GK));
	/* A count that cannot be written is not an error. */
	put_args(g, 0, reqs, sizeof(reqs));
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmu_update, arg, 2, end, DOMID_SELF), 0);
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmu_update, arg, 2, VA(BOOT_L1), DOMID_SELF),
			 0);
	check(g);
}

static void preempted(void **state)
{
	struct mm_guest *g = *state;
	struct mmu_update reqs[40];
	uint32_t done;

	for (unsigned int i = 0; i < 40; i++)
		reqs[i] = (struct mmu_update){(uint64_t)BOOT_L1 << 12 | (200 + i) * 8, 0};
	mm_guest_preempt(g, true);
	assert_int_equal(mmu_update(g, reqs, 40, DOMID_SELF, &done), 0);
	assert_int_equal(g->turns, 40);
	assert_int_equal(done, 40);
	reqs[17].val = pte(NR_FRAMES, P);
	assert_int_equal(mmu_update(g, reqs, 40, DOMID_SELF, &done), -XEN_EPERM);
	assert_int_equal(done, 17);
	mm_guest_preempt(g, false);
	/* A finished list whose result only is to be delivered. */
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmu_update, 0, MMU_UPDATE_PREEMPTED, 0,
					    (uint32_t)-XEN_EBUSY),
			 -XEN_EBUSY);
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmu_update, 0, MMU_UPDATE_PREEMPTED, 0, 0),
			 0);
}

static void va_mapping_op(void **state)
{
	struct mm_guest *g = *state;
	uint64_t mask = 1, mask_va;

	assert_int_equal(va_mapping(g, VA(SLOT) + 0x123, pte(SLOT, P), UVMF_NONE), 0);
	assert_int_equal(entry(g), pte(SLOT, P | U | GK));
	assert_int_equal(g->flush_all + g->flush_va, 0);
	assert_int_equal(va_mapping(g, VA(SLOT), 0, UVMF_INVLPG), 0);
	assert_int_equal(g->flush_va, 1);
	assert_true(g->last_va == VA(SLOT));
	assert_int_equal(va_mapping(g, VA(SLOT), pte(SLOT, P | RW), UVMF_TLB_FLUSH | UVMF_ALL), 0);
	assert_int_equal(g->flush_all, 1);
	mask_va = put_args(g, 0, &mask, sizeof(mask));
	assert_int_equal(va_mapping(g, VA(SLOT), pte(SLOT, P), UVMF_INVLPG | mask_va), 0);
	assert_int_equal(g->flush_va, 2);
	assert_int_equal(g->last_mask, 1);
	/* The update is done, the mask cannot be read. */
	assert_int_equal(va_mapping(g, VA(SLOT), 0, UVMF_INVLPG | VA(NR_PAGES)), -XEN_EFAULT);
	assert_int_equal(entry(g), 0);
	assert_int_equal(va_mapping(g, VA(SLOT), 0, UVMF_TLB_FLUSH | MACH2PHYS_VIRT_START),
			 -XEN_EFAULT);
	/* No flush without a type, nor after an error. */
	assert_int_equal(va_mapping(g, VA(SLOT), 0, 3 | UVMF_ALL), 0);
	assert_int_equal(va_mapping(g, VA(SLOT), pte(BOOT_L1, P | RW), UVMF_INVLPG), -XEN_EBUSY);
	assert_int_equal(g->flush_va + g->flush_all, 3);
	check(g);
	/* Addresses without an L1 table. */
	assert_int_equal(va_mapping(g, 0, 0, 0), -XEN_EINVAL);
	assert_int_equal(va_mapping(g, 1ull << 47, 0, 0), -XEN_EINVAL);
	assert_int_equal(va_mapping(g, MACH2PHYS_VIRT_START, 0, 0), -XEN_EINVAL);
	assert_int_equal(va_mapping(g, VA(512), 0, 0), -XEN_EINVAL);
	/* Through a linear mapping: the L2's entry is not an L1 entry. */
	assert_int_equal(update(g, BOOT_L2, 4, pte(BOOT_L2, P)), 0);
	assert_int_equal(va_mapping(g, GUEST_VA + (4ull << 21), 0, 0), -XEN_EINVAL);
	check(g);
}

/* Random updates, legal and not: the counts must be right after each. */
static void random_l1(void **state)
{
	struct mm_guest *g = *state;
	static const uint64_t bits[] = {P, RW, U, A, D, G, PTE_NX, GK, PTE_PWT, PTE_AVAIL};

	srand(1);
	for (unsigned int i = 0; i < 3000; i++) {
		uint64_t val = pte((uint64_t)rand() % (NR_FRAMES + 5), rand() % 8 ? P : 0);

		for (unsigned int k = 0; k < sizeof(bits) / sizeof(bits[0]); k++)
			val |= rand() % 3 == 0 ? bits[k] : 0;
		(void)update(g, BOOT_L1, 64 + (unsigned int)rand() % 448, val);
		check(g);
	}
}

/* ---- another processor uses the page while its entry is changed ---- */

static struct {
	uint64_t *entry;
	uint64_t marked; /* times that it set the accessed bit */
	uint64_t told;	 /* times that the executor was told of the loss of one */
	bool stop;
} user;

static void count_told(struct core_ctx *c, uint64_t mfn, unsigned int level, unsigned int slot,
		       uint64_t old, uint64_t new)
{
	user.told += (old & A) && !(new &A);
}

static void *use_page(void *arg)
{
	while (!__atomic_load_n(&user.stop, __ATOMIC_RELAXED)) {
		uint64_t now = __atomic_load_n(user.entry, __ATOMIC_RELAXED);

		if ((now & (P | A)) == P &&
		    __atomic_compare_exchange_n(user.entry, &now, now | A, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED))
			__atomic_add_fetch(&user.marked, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* No mark may be lost: the executor has mapped the page, and nobody would tell it. */
static void used_meanwhile(void **state)
{
	struct mm_guest *g = *state;
	const struct core_exec_ops *own = g->c.ops;
	struct core_exec_ops ops = *own;
	struct mmu_update ro = {(uint64_t)BOOT_L1 << 12 | SLOT * 8 | MMU_PT_UPDATE_PRESERVE_AD,
				pte(SLOT, P)};
	pthread_t thread;

	ops.pte_changed = count_told;
	g->c.ops = &ops;
	assert_int_equal(set(g, 0), 0);
	user.entry = &frame_at(g, BOOT_L1)[SLOT];
	assert_int_equal(pthread_create(&thread, NULL, use_page, NULL), 0);
	for (unsigned int i = 0; i < 2000000; i++) {
		if (__atomic_load_n(&user.marked, __ATOMIC_RELAXED) > 20000)
			break;
		(void)set(g, pte(SLOT, P | RW));
		/* (which keeps the mark) */
		if (i % 2)
			(void)mmu_update(g, &ro, 1, DOMID_SELF, NULL);
		(void)set(g, 0);
	}
	__atomic_store_n(&user.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	g->c.ops = own;
	assert_int_equal(user.told, user.marked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MM_TEST(l1_legal),	MM_TEST(l1_refused),	 MM_TEST(l1_same_target),
		MM_TEST(preserve_ad),	MM_TEST(upper_legal),	 MM_TEST(upper_refused),
		MM_TEST(subtree_fails), MM_TEST(machphys),	 MM_TEST(plain_frames),
		MM_TEST(foreign),	MM_TEST(commands),	 MM_TEST(success_count),
		MM_TEST(bad_pointers),	MM_TEST(preempted),	 MM_TEST(va_mapping_op),
		MM_TEST(random_l1),	MM_TEST(used_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
