/* SPDX-License-Identifier: MIT */
/* XENMEM_memory_map and _set_memory_map: the domain's pseudo-physical memory map. */
#include "core/hypercall/hypercall.h"
#include "core/lib/mem.h"
#include "core/mm/reservation.h"

#define E820_MAX 128u
#define E820_RAM 1u

struct entry {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

/* What Xen has room for; a map that is longer than ours is refused later. */
#define XEN_E820_MAX 1024u

_Static_assert(sizeof(((struct core_domain *)0)->e820) == E820_MAX * sizeof(struct entry),
	       "the map's room in the state");

/* Until the guest sets its own: what the tools give a PV domain, all of its RAM from 0. */
long mm_memory_map(struct core_ctx *c, uint64_t va)
{
	struct core_domain *d = c->d;
	struct entry start = {.size = d->max_pages << 12, .type = E820_RAM};
	struct xen_memory_map map;
	bool ok = true;

	if (!mm_get(c, &map, va, sizeof(map)))
		return -XEN_EFAULT;
	mm_lock(c);
	uint32_t nr = d->e820_nr != 0 ? d->e820_nr - 1 : 1;
	const void *entries = d->e820_nr != 0 ? (const void *)d->e820 : &start;

	if (map.nr_entries > nr)
		map.nr_entries = nr;
	if (map.nr_entries != 0)
		ok = mm_put(c, (uint64_t)(uintptr_t)map.buffer.p, entries,
			    map.nr_entries * sizeof(struct entry));
	mm_unlock(c);
	if (nr == 0)
		return -XEN_ENOSYS;
	return ok && mm_put(c, va, &map, sizeof(map)) ? 0 : -XEN_EFAULT;
}

long mm_set_memory_map(struct core_ctx *c, uint64_t va)
{
	struct core_domain *d = c->d;
	struct xen_foreign_memory_map fm;
	uint8_t entries[E820_MAX * sizeof(struct entry)];

	if (!mm_get(c, &fm, va, sizeof(fm)))
		return -XEN_EFAULT;
	if (fm.map.nr_entries > XEN_E820_MAX)
		return -XEN_EINVAL;
	long rc = mm_only_self(c, fm.domid);
	if (rc)
		return rc;
	uint32_t nr = fm.map.nr_entries < E820_MAX ? fm.map.nr_entries : E820_MAX;

	if (nr != 0 &&
	    !mm_get(c, entries, (uint64_t)(uintptr_t)fm.map.buffer.p, nr * sizeof(struct entry)))
		return -XEN_EFAULT;
	if (nr != fm.map.nr_entries)
		return -XEN_EINVAL;
	mm_lock(c);
	memcpy(d->e820, entries, fm.map.nr_entries * sizeof(struct entry));
	d->e820_nr = fm.map.nr_entries + 1;
	mm_unlock(c);
	return 0;
}
