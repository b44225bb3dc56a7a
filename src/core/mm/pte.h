/* SPDX-License-Identifier: MIT */
/* Page-table entries of x86-64, and what Xen makes of a PV guest's. */
#ifndef PVV_CORE_MM_PTE_H
#define PVV_CORE_MM_PTE_H

#include <stdbool.h>
#include <stdint.h>

#include <xen/xen.h>

#define PTE_PRESENT	 0x001ull
#define PTE_RW		 0x002ull
#define PTE_USER	 0x004ull
#define PTE_PWT		 0x008ull
#define PTE_PCD		 0x010ull
#define PTE_ACCESSED	 0x020ull
#define PTE_DIRTY	 0x040ull
#define PTE_PSE		 0x080ull /* PAT in an L1 entry */
#define PTE_GLOBAL	 0x100ull
#define PTE_AVAIL	 0xe00ull
#define PTE_AVAIL_HIGH	 (0x7ffull << 52)
#define PTE_GUEST_KERNEL (1ull << 52) /* Xen's mark of a mapping that lacked USER */
#define PTE_NX		 (1ull << 63)
#define PTE_MFN_SHIFT	 12
#define PTE_MFN_MASK	 ((1ull << 40) - 1)
#define PTE_ENTRIES	 512u

/*
 * Bits a domain without devices may not set: cache attributes anywhere (PAT is PSE's bit), large
 * pages, and "global" in the upper levels. 52-62 are the guest's.
 */
#define PTE_L1_REFUSED	  (PTE_PWT | PTE_PCD | PTE_PSE)
#define PTE_UPPER_REFUSED (PTE_PWT | PTE_PCD | PTE_PSE | PTE_GLOBAL)

/* A change of only these needs no new references. */
#define PTE_HARMLESS                                                                               \
	(PTE_NX | PTE_AVAIL_HIGH | PTE_AVAIL | PTE_GLOBAL | PTE_DIRTY | PTE_ACCESSED | PTE_USER)

/* L4 slots that are the hypervisor's: 0xffff800000000000 to 0xffff87ffffffffff. */
#define L4_XEN_FIRST 256u
#define L4_XEN_LAST  271u

#define PF_PRESENT  1u
#define PF_WRITE    2u
#define PF_USER	    4u
#define PF_RESERVED 8u
#define PF_FETCH    16u

static inline uint64_t pte_mfn(uint64_t pte)
{
	return (pte >> PTE_MFN_SHIFT) & PTE_MFN_MASK;
}

static inline unsigned int pte_slot(uint64_t va, unsigned int level)
{
	return (unsigned int)(va >> (12 + 9 * (level - 1))) & (PTE_ENTRIES - 1);
}

static inline bool pte_xen_slot(unsigned int level, unsigned int slot)
{
	return level == 4 && slot >= L4_XEN_FIRST && slot <= L4_XEN_LAST;
}

static inline uint64_t pte_read(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* Tables are nearly empty, most often. */
static inline bool pte_none_of_8(const uint64_t *p)
{
	uint64_t a = pte_read(p) | pte_read(p + 1), b = pte_read(p + 2) | pte_read(p + 3);

	a |= pte_read(p + 4) | pte_read(p + 5);
	b |= pte_read(p + 6) | pte_read(p + 7);
	return !((a | b) & PTE_PRESENT);
}

/* The first present entry of the table from number i on, PTE_ENTRIES if there is none. */
static inline unsigned int pte_next_present(const uint64_t *table, unsigned int i)
{
	while (i < PTE_ENTRIES) {
		if (i % 8 == 0 && pte_none_of_8(table + i))
			i += 8;
		else if (pte_read(table + i) & PTE_PRESENT)
			break;
		else
			i++;
	}
	return i;
}

/* Of the first n entries of the table those up to the last present one, 0 if there is none. */
static inline unsigned int pte_last_present(const uint64_t *table, unsigned int n)
{
	while (n > 0) {
		if (n % 8 == 0 && pte_none_of_8(table + n - 8))
			n -= 8;
		else if (pte_read(table + n - 1) & PTE_PRESENT)
			break;
		else
			n--;
	}
	return n;
}

static inline void pte_write(uint64_t *p, uint64_t pte)
{
	__atomic_store_n(p, pte, __ATOMIC_RELAXED);
}

/*
 * What the guest reads back. Its kernel runs in ring 3, so all its mappings get USER; Xen marks
 * those that lacked it, and makes the others global, for they are the same in both roots. L4
 * entries look as if the processor had used them: Xen may run on a copy of the L4.
 */
static inline uint64_t pte_adjust(uint64_t pte, unsigned int level)
{
	if (!(pte & PTE_PRESENT))
		return pte;
	if (level > 1)
		return pte | PTE_USER | (level == 4 ? PTE_ACCESSED : 0);
	if (!(pte & PTE_USER))
		pte |= PTE_GUEST_KERNEL | PTE_USER;
	if (!(pte & PTE_GUEST_KERNEL))
		pte |= PTE_GLOBAL;
	return pte;
}

/*
 * Set accessed and dirty as a processor does: only in an entry that is still present, leads to
 * `mfn`, and (dirty) is writable. Another vCPU may have changed it since it was walked; then the
 * table may even be something else by now. False: it did.
 */
static inline bool pte_mark(uint64_t *p, uint64_t mfn, uint64_t bits)
{
	uint64_t need = PTE_PRESENT | (bits & PTE_DIRTY ? PTE_RW : 0), pte = pte_read(p);

	do {
		if ((pte & need) != need || pte_mfn(pte) != mfn)
			return false;
		if ((pte & bits) == bits)
			return true;
	} while (!__atomic_compare_exchange_n(p, &pte, pte | bits, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

/* Addresses that are not the hypervisor's and canonical: what a guest handle may start at. */
static inline bool core_addr_ok(uint64_t va)
{
	return va < (1ull << 47) || va >= __HYPERVISOR_VIRT_END;
}

#endif
