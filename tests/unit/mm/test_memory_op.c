/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "mm_test.h"

#include <xen/memory.h>

#define LIST_AT 4096u /* offset of an extent list in the argument pages */

static uint64_t *list(struct mm_guest *g)
{
	return frame_at(g, ARGS + 1);
}

static struct xen_memory_reservation reservation(uint64_t nr, unsigned int order)
{
	struct xen_memory_reservation r = {
		.nr_extents = nr, .extent_order = order, .domid = DOMID_SELF};

	r.extent_start.p = (void *)(VA(ARGS) + LIST_AT);
	return r;
}

static long op(struct mm_guest *g, unsigned int cmd, uint64_t nr, unsigned int order)
{
	struct xen_memory_reservation r = reservation(nr, order);

	return memory_op(g, cmd, &r, sizeof(r));
}

static void unmap(struct mm_guest *g, uint64_t mfn)
{
	assert_int_equal(va_mapping(g, VA(mfn), 0, 0), 0);
}

static void balloon(void **state)
{
	struct mm_guest *g = *state;
	const uint64_t *m2p = frame_at(g, M2P_FIRST);

	assert_int_equal(op(g, XENMEM_increase_reservation, MAX_PAGES - NR_PAGES, 0), 48);
	for (unsigned int i = 0; i < 10; i++) {
		unmap(g, 300 + i);
		list(g)[i] = 300 + i;
		frame_at(g, 300 + i)[7] = 0x5ec4e7;
	}
	assert_int_equal(op(g, XENMEM_decrease_reservation, 10, 0), 10);
	check(g);
	assert_int_equal(g->discarded, 10);
	assert_int_equal(g->c.d->tot_pages, MAX_PAGES - 10);
	assert_true(m2p[305] == ~0ull);
	/* Gone: not to be mapped, pinned, referred to by a back end. */
	assert_int_equal(va_mapping(g, VA(5), pte(305, P), 0), -XEN_EBUSY);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 305, 0), -XEN_EINVAL);
	assert_false(frame_get(g->c.frames, NR_FRAMES, 305));
	assert_false(frame_get_writable(g->c.frames, NR_FRAMES, 305));
	assert_int_equal(op(g, XENMEM_decrease_reservation, 10, 0), 0);

	for (unsigned int i = 0; i < 10; i++)
		list(g)[i] = 0x1000 + i; /* pfns */
	assert_int_equal(op(g, XENMEM_populate_physmap, 10, 0), 10);
	check(g);
	for (unsigned int i = 0; i < 10; i++) {
		uint64_t mfn = list(g)[i];

		assert_in_range(mfn, 300, 309);
		assert_int_equal(m2p[mfn], 0x1000 + i);
		assert_int_equal(frame_at(g, mfn)[7], 0);
		assert_int_equal(va_mapping(g, VA(300 + i), pte(mfn, P | RW), 0), 0);
	}
	assert_int_equal(g->c.d->tot_pages, MAX_PAGES);
	/* While there are others, a guest does not get what it gave just before. */
	list(g)[0] = 555;
	list(g)[1] = 556;
	assert_int_equal(op(g, XENMEM_decrease_reservation, 2, 0), 2);
	list(g)[0] = 0x1000;
	assert_int_equal(op(g, XENMEM_populate_physmap, 1, 0), 1);
	assert_int_equal(list(g)[0], 555);
	check(g);
}

static void grow_to_the_limit(void **state)
{
	struct mm_guest *g = *state;
	struct xen_memory_reservation r = reservation(100, 0);

	assert_int_equal(op(g, XENMEM_increase_reservation, 100, 0), MAX_PAGES - NR_PAGES);
	check(g);
	assert_int_equal(list(g)[0], NR_PAGES);
	assert_true(((uint64_t *)frame_at(g, M2P_FIRST))[NR_PAGES] == ~0ull);
	assert_int_equal(op(g, XENMEM_populate_physmap, 1, 0), 0);
	assert_int_equal(op(g, XENMEM_decrease_reservation, 8, 0), 8);
	/* increase without a list: the guest does not want to know. */
	r.extent_start.p = NULL;
	r.nr_extents = 3;
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 3);
	check(g);
	/* A list that cannot be written: the extent does not count, but is the guest's. */
	r.extent_start.p = (void *)VA(BOOT_L1);
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 0);
	assert_int_equal(g->c.d->tot_pages, MAX_PAGES - 8 + 4);
	check(g);
	/* Frames of so many address bits, or of a node of the host. */
	r.extent_start.p = NULL;
	r.nr_extents = 1;
	r.mem_flags = XENMEMF_address_bits(13);
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 0);
	r.mem_flags = XENMEMF_address_bits(40);
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 1);
	r.mem_flags = XENMEMF_exact_node(0);
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 0);
	r.mem_flags = XENMEMF_exact_node(0) | XENMEMF_vnode;
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 1);
	check(g);
}

static void extents(void **state)
{
	struct mm_guest *g = *state;

	/* 8 aligned frames in the middle, and a hole of one. */
	for (unsigned int mfn = 320; mfn < 328; mfn++)
		unmap(g, mfn);
	unmap(g, 331);
	list(g)[0] = 320;
	assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 3), 1);
	assert_int_equal(g->discarded, 8);
	list(g)[0] = 331;
	assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 0), 1);
	check(g);
	list(g)[0] = 0x2000;
	assert_int_equal(op(g, XENMEM_populate_physmap, 1, 3), 1);
	assert_int_equal(list(g)[0] % 8, 0);
	check(g);
	for (unsigned int k = 0; k < 8; k++)
		assert_int_equal(((uint64_t *)frame_at(g, M2P_FIRST))[list(g)[0] + k], 0x2000 + k);
	/* 48 frames were free from the start: one piece of 32, one of 16 is not left aligned. */
	assert_int_equal(op(g, XENMEM_increase_reservation, 1, 6), 0);
	assert_int_equal(op(g, XENMEM_increase_reservation, 1, 5), 1);
	check(g);
	/* The limit of a domain without devices is 2^9. */
	assert_int_equal(op(g, XENMEM_increase_reservation, 1, 10), 0);
	assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 10), 0);
	assert_int_equal(op(g, XENMEM_populate_physmap, 1, ~0u), 0);
	/* A run that ends outside of the guest's memory goes as far as it can. */
	list(g)[0] = NR_PAGES - 2;
	unmap(g, NR_PAGES - 2);
	unmap(g, NR_PAGES - 1);
	assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 9), 0);
	check(g);
}

/* A frame that is still in use leaves the reservation, but not the memory. */
static void still_mapped(void **state)
{
	struct mm_guest *g = *state;

	list(g)[0] = 340;
	frame_at(g, 340)[0] = 123;
	assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 0), 1);
	check(g);
	assert_int_equal(g->discarded, 0);
	assert_int_equal(frame_at(g, 340)[0], 123);
	assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 0), 1); /* again, as with Xen */
	check(g);
	assert_int_equal(frame_refs(word_of(g, 340)), 1);
	unmap(g, 340);
	assert_int_equal(g->discarded, 1);
	assert_int_equal(g->protect, 1);
	assert_true(mm_frame_is_free(&g->c, 340));
	check(g);
}

/* A back end holds the last reference: the core picks the frame up when it wants it. */
static void held_by_back_end(void **state)
{
	struct mm_guest *g = *state;
	struct xen_memory_domain dom = {.domid = DOMID_SELF};

	assert_true(frame_get_writable(g->c.frames, NR_FRAMES, 340));
	assert_true(frame_get(g->c.frames, NR_FRAMES, 341));
	g->writers[340]++, g->readers[341]++;
	check(g);
	for (unsigned int i = 0; i < 2; i++) {
		unmap(g, 340 + i);
		list(g)[i] = 340 + i;
	}
	assert_int_equal(op(g, XENMEM_decrease_reservation, 2, 0), 2);
	assert_int_equal(g->discarded, 0);
	check(g);
	frame_put_writable(g->c.frames, NR_FRAMES, 340);
	frame_put(g->c.frames, NR_FRAMES, 341);
	g->writers[340]--, g->readers[341]--;
	assert_int_equal(g->c.d->mm_leaving, 2);
	assert_int_equal(memory_op(g, XENMEM_current_reservation, &dom, sizeof(dom)), NR_PAGES - 2);
	assert_int_equal(g->c.d->mm_leaving, 0);
	assert_int_equal(g->discarded, 2);
	check(g);
}

static void give_back_refused(void **state)
{
	struct mm_guest *g = *state;
	static const uint64_t bad[] = {NR_PAGES, M2P_FIRST, GAP, NR_FRAMES, ~0ull};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		list(g)[0] = bad[i];
		assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 0), 0);
		check(g);
	}
	/* The hypervisor's own count as done, but stay. */
	list(g)[0] = SHARED_INFO;
	list(g)[1] = GRANT_FIRST;
	assert_int_equal(op(g, XENMEM_decrease_reservation, 2, 0), 2);
	assert_int_equal(g->c.d->tot_pages, NR_PAGES);
	check(g);
	/* A page table in use is given back when it is none any more. */
	make_ro(g, 200);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), 0);
	unmap(g, 200);
	list(g)[0] = 200;
	assert_int_equal(op(g, XENMEM_decrease_reservation, 1, 0), 1);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), 0);
	assert_true(mm_frame_is_free(&g->c, 200));
	check(g);
}

static void reservation_arguments(void **state)
{
	struct mm_guest *g = *state;
	struct xen_memory_reservation r = reservation(4, 0);
	uint64_t va = VA(ARGS);

	list(g)[0] = 350;
	/* start extent beyond the end, bad pointers, other domains: "so many were done". */
	assert_int_equal(memory_op(g, XENMEM_decrease_reservation | 4 << 6, &r, sizeof(r)), 4);
	assert_int_equal(memory_op(g, XENMEM_decrease_reservation | 9 << 6, &r, sizeof(r)), 9);
	assert_int_equal(mm_guest_hypercall(g, core_hc_memory_op, XENMEM_decrease_reservation | 64,
					    VA(NR_PAGES), 0, 0),
			 1);
	r.domid = 0;
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 0);
	r.domid = 5;
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 0);
	r.domid = DOMID; /* its own number is itself */
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 4);
	r.nr_extents = (~0u >> 6) + 1ul;
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 0);
	r.nr_extents = 1;
	r.mem_flags = XENMEMF_address_bits(12);
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 0);
	r.mem_flags = XENMEMF_address_bits(32);
	assert_int_equal(memory_op(g, XENMEM_increase_reservation, &r, sizeof(r)), 1);
	r.mem_flags = XENMEMF_populate_on_demand;
	assert_int_equal(memory_op(g, XENMEM_populate_physmap, &r, sizeof(r)), 0);
	r.mem_flags = 0;
	r.extent_start.p = (void *)MACH2PHYS_VIRT_START;
	assert_int_equal(memory_op(g, XENMEM_decrease_reservation, &r, sizeof(r)), 0);
	(void)va;
	check(g);
}

static void preempted(void **state)
{
	struct mm_guest *g = *state;

	for (unsigned int i = 0; i < 40; i++) {
		unmap(g, 300 + i);
		list(g)[i] = 300 + i;
	}
	mm_guest_preempt(g, true);
	assert_int_equal(op(g, XENMEM_decrease_reservation, 40, 0), 40);
	assert_int_equal(g->turns, 40);
	check(g);
	assert_int_equal(op(g, XENMEM_populate_physmap, 40, 0), 40);
	assert_int_equal(g->turns, 40);
	check(g);
}

/* ---- exchange ------------------------------------------------------------------------------ */

static long exchange(struct mm_guest *g, uint64_t nr_in, unsigned int order_in, uint64_t nr_out,
		     unsigned int order_out, struct xen_memory_exchange *ret)
{
	struct xen_memory_exchange x = {.in = reservation(nr_in, order_in),
					.out = reservation(nr_out, order_out)};
	long rc;

	x.out.extent_start.p = (void *)(VA(ARGS) + LIST_AT + 2048);
	rc = memory_op(g, XENMEM_exchange, &x, sizeof(x));
	memcpy(ret, frame_at(g, ARGS), sizeof(*ret));
	check(g);
	return rc;
}

static void exchange_to_contiguous(void **state)
{
	struct mm_guest *g = *state;
	struct xen_memory_exchange x;
	uint64_t *out = list(g) + 256;

	/* Fill the domain but for single frames: only its own can make the run. */
	assert_int_equal(op(g, XENMEM_increase_reservation, 48, 0), 48);
	for (unsigned int i = 0; i < 10; i++) {
		unmap(g, 400 + 2 * i);
		list(g)[i] = 400 + 2 * i;
	}
	assert_int_equal(op(g, XENMEM_decrease_reservation, 10, 0), 10);
	assert_int_equal(g->protect, 10);
	for (unsigned int i = 0; i < 8; i++) {
		unmap(g, 320 + i);
		list(g)[i] = 327 - i;
		frame_at(g, 320 + i)[0] = 7;
	}
	out[0] = 0x3000;
	assert_int_equal(exchange(g, 8, 0, 1, 3, &x), 0);
	assert_int_equal(x.nr_exchanged, 8);
	assert_int_equal(out[0], 320);
	assert_int_equal(frame_at(g, 323)[0], 0);
	assert_int_equal(g->protect, 18);
	assert_int_equal(((uint64_t *)frame_at(g, M2P_FIRST))[323], 0x3003);
	/* And back into single ones, two chunks of them, preempted in between. */
	for (unsigned int i = 0; i < 8; i++)
		unmap(g, 328 + i);
	list(g)[0] = 320;
	list(g)[1] = 328;
	mm_guest_preempt(g, true);
	assert_int_equal(exchange(g, 2, 3, 16, 0, &x), 0);
	assert_int_equal(g->turns, 2);
	assert_int_equal(x.nr_exchanged, 2);
	for (unsigned int i = 0; i < 16; i++)
		assert_true((out[i] >= 320 && out[i] < 336) || (out[i] >= 400 && out[i] < 420));
}

/* A chunk that fails changes nothing, not even the content. */
static void exchange_undone(void **state)
{
	struct mm_guest *g = *state;
	struct xen_memory_exchange x;

	assert_int_equal(op(g, XENMEM_increase_reservation, 48, 0), 48);
	for (unsigned int i = 0; i < 4; i++) {
		unmap(g, 321 + i); /* not aligned: no run of 4 comes of it */
		list(g)[i] = 321 + i;
		frame_at(g, 321 + i)[0] = 70 + i;
	}
	list(g)[256] = 0x77;
	assert_int_equal(exchange(g, 4, 0, 1, 2, &x), -XEN_ENOMEM);
	assert_int_equal(x.nr_exchanged, 0);
	assert_int_equal(list(g)[256], 0x77);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(frame_at(g, 321 + i)[0], 70 + i);
		assert_int_equal(((uint64_t *)frame_at(g, M2P_FIRST))[321 + i], 321 + i);
	}
	/* The third is mapped; the second chunk is the one that fails. */
	list(g)[2] = 100;
	assert_int_equal(exchange(g, 4, 0, 4, 0, &x), -XEN_EINVAL);
	assert_int_equal(x.nr_exchanged, 2);
	/* Held by a back end, for reading is enough. */
	list(g)[0] = 323;
	assert_true(frame_get(g->c.frames, NR_FRAMES, 323));
	g->readers[323]++;
	assert_int_equal(exchange(g, 1, 0, 1, 0, &x), -XEN_EINVAL);
	frame_put(g->c.frames, NR_FRAMES, 323);
	g->readers[323]--;
	list(g)[0] = 322;
	list(g)[1] = 322; /* the same twice */
	assert_int_equal(exchange(g, 2, 0, 1, 1, &x), -XEN_EINVAL);
	assert_int_equal(x.nr_exchanged, 0);
	static const uint64_t bad[] = {BOOT_L1, SHARED_INFO, M2P_FIRST, NR_FRAMES, ~0ull};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		list(g)[0] = bad[i];
		assert_int_equal(exchange(g, 1, 0, 1, 0, &x), -XEN_EINVAL);
	}
}

static void exchange_arguments(void **state)
{
	struct mm_guest *g = *state;
	struct xen_memory_exchange x = {.in = reservation(1, 0), .out = reservation(1, 0)}, r;

	assert_int_equal(
		mm_guest_hypercall(g, core_hc_memory_op, XENMEM_exchange, VA(NR_PAGES), 0, 0),
		-XEN_EFAULT);
	assert_int_equal(memory_op(g, XENMEM_exchange | 64, &x, sizeof(x)), -XEN_EINVAL);
	assert_int_equal(exchange(g, 1, 10, 1, 10, &r), -XEN_EPERM);
	assert_int_equal(exchange(g, 1, 0, 1, 10, &r), -XEN_EPERM);
	assert_int_equal(exchange(g, 2, 0, 1, 0, &r), -XEN_EINVAL);
	assert_int_equal(exchange(g, ~0ull, 1, 1, 0, &r), -XEN_EINVAL);
	assert_int_equal(exchange(g, 0, 0, 0, 0, &r), 0);
	x.nr_exchanged = 2;
	assert_int_equal(memory_op(g, XENMEM_exchange, &x, sizeof(x)), -XEN_EINVAL);
	x.nr_exchanged = 1;
	assert_int_equal(memory_op(g, XENMEM_exchange, &x, sizeof(x)), 0);
	x.nr_exchanged = 0;
	x.out.domid = 0;
	assert_int_equal(memory_op(g, XENMEM_exchange, &x, sizeof(x)), -XEN_EINVAL);
	x.in.domid = 0;
	assert_int_equal(memory_op(g, XENMEM_exchange, &x, sizeof(x)), -XEN_EPERM);
	x.in.domid = x.out.domid = 9;
	assert_int_equal(memory_op(g, XENMEM_exchange, &x, sizeof(x)), -XEN_ESRCH);
	x.in.domid = x.out.domid = DOMID_SELF;
	x.in.extent_start.p = (void *)MACH2PHYS_VIRT_START;
	assert_int_equal(memory_op(g, XENMEM_exchange, &x, sizeof(x)), -XEN_EFAULT);
	x.in.extent_start.p = (void *)VA(NR_PAGES);
	assert_int_equal(memory_op(g, XENMEM_exchange, &x, sizeof(x)), -XEN_EFAULT);
	check(g);
}

/* ---- information ---------------------------------------------------------------------------- */

static void sizes(void **state)
{
	struct mm_guest *g = *state;
	struct xen_memory_domain dom = {.domid = DOMID_SELF};
	struct shared_info *s = (struct shared_info *)frame_at(g, SHARED_INFO);

	assert_int_equal(memory_op(g, XENMEM_current_reservation, &dom, sizeof(dom)), NR_PAGES);
	assert_int_equal(memory_op(g, XENMEM_maximum_reservation, &dom, sizeof(dom)), MAX_PAGES);
	assert_int_equal(memory_op(g, XENMEM_maximum_gpfn, &dom, sizeof(dom)), 0);
	s->arch.max_pfn = 512;
	assert_int_equal(memory_op(g, XENMEM_maximum_gpfn, &dom, sizeof(dom)), 511);
	assert_int_equal(memory_op(g, XENMEM_maximum_ram_page, NULL, 0), NR_FRAMES);
	assert_int_equal(memory_op(g, XENMEM_maximum_ram_page | 64, NULL, 0), -XEN_EINVAL);
	assert_int_equal(memory_op(g, XENMEM_current_reservation | 64, &dom, sizeof(dom)),
			 -XEN_EINVAL);
	dom.domid = 0;
	assert_int_equal(memory_op(g, XENMEM_maximum_reservation, &dom, sizeof(dom)), -XEN_EPERM);
	dom.domid = 3;
	assert_int_equal(memory_op(g, XENMEM_maximum_gpfn, &dom, sizeof(dom)), -XEN_ESRCH);
	assert_int_equal(memory_op(g, XENMEM_current_reservation, NULL, 0), -XEN_EFAULT);
}

struct e820 {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));

static void memory_map(void **state)
{
	struct mm_guest *g = *state;
	struct xen_foreign_memory_map fm = {.domid = DOMID_SELF};
	struct xen_memory_map map = {.nr_entries = 10};
	struct e820 *e = (struct e820 *)list(g);

	map.buffer.p = (void *)(VA(ARGS) + LIST_AT);
	assert_int_equal(memory_op(g, XENMEM_memory_map, &map, sizeof(map)), 0);
	assert_int_equal(*(uint32_t *)frame_at(g, ARGS), 1);
	assert_int_equal(e[0].addr, 0);
	assert_int_equal(e[0].size, (uint64_t)MAX_PAGES << 12);
	assert_int_equal(e[0].type, 1);
	map.nr_entries = 0; /* how many would there be? None fit. */
	assert_int_equal(memory_op(g, XENMEM_memory_map, &map, sizeof(map)), 0);
	assert_int_equal(*(uint32_t *)frame_at(g, ARGS), 0);
	map.nr_entries = 1;
	map.buffer.p = (void *)VA(BOOT_L1);
	assert_int_equal(memory_op(g, XENMEM_memory_map, &map, sizeof(map)), -XEN_EFAULT);

	e[0] = (struct e820){0, 0x9f000, 1};
	e[1] = (struct e820){0x100000, 0x100000, 2};
	fm.map.buffer.p = (void *)(VA(ARGS) + LIST_AT);
	fm.map.nr_entries = 129;
	assert_int_equal(memory_op(g, XENMEM_set_memory_map, &fm, sizeof(fm)), -XEN_EINVAL);
	fm.map.nr_entries = 2;
	fm.domid = 0;
	assert_int_equal(memory_op(g, XENMEM_set_memory_map, &fm, sizeof(fm)), -XEN_EPERM);
	fm.domid = DOMID_SELF;
	assert_int_equal(memory_op(g, XENMEM_set_memory_map, &fm, sizeof(fm)), 0);
	memset(e, 0, 64);
	map.nr_entries = 10;
	map.buffer.p = (void *)(VA(ARGS) + LIST_AT);
	assert_int_equal(memory_op(g, XENMEM_memory_map, &map, sizeof(map)), 0);
	assert_int_equal(*(uint32_t *)frame_at(g, ARGS), 2);
	assert_int_equal(e[1].type, 2);
	fm.map.nr_entries = 0;
	assert_int_equal(memory_op(g, XENMEM_set_memory_map, &fm, sizeof(fm)), 0);
	assert_int_equal(memory_op(g, XENMEM_memory_map, &map, sizeof(map)), -XEN_ENOSYS);
	assert_int_equal(memory_op(g, XENMEM_machine_memory_map, &map, sizeof(map)), -XEN_EPERM);
}

static void machphys(void **state)
{
	struct mm_guest *g = *state;
	struct xen_machphys_mapping m = {0};
	struct xen_machphys_mfn_list l = {.max_extents = 10};

	assert_int_equal(memory_op(g, XENMEM_machphys_mapping, &m, sizeof(m)), 0);
	memcpy(&m, frame_at(g, ARGS), sizeof(m));
	assert_true(m.v_start == 0xffff800000000000ull && m.v_end == 0xffff804000000000ull);
	assert_true(m.max_mfn == (m.v_end - m.v_start) / 8 - 1);
	assert_int_equal(memory_op(g, XENMEM_machphys_mapping, NULL, 0), -XEN_EFAULT);

	l.extent_start.p = (void *)(VA(ARGS) + LIST_AT);
	assert_int_equal(memory_op(g, XENMEM_machphys_mfn_list, &l, sizeof(l)), 0);
	memcpy(&l, frame_at(g, ARGS), sizeof(l));
	assert_int_equal(l.nr_extents, 1);
	assert_int_equal(list(g)[0], M2P_FIRST);
	l.max_extents = 0;
	assert_int_equal(memory_op(g, XENMEM_machphys_mfn_list, &l, sizeof(l)), 0);
	memcpy(&l, frame_at(g, ARGS), sizeof(l));
	assert_int_equal(l.nr_extents, 0);
	l.max_extents = 10;
	assert_int_equal(memory_op(g, XENMEM_machphys_compat_mfn_list, &l, sizeof(l)),
			 -XEN_EOPNOTSUPP);
}

/* Commands for translated guests and for tools: what a PV domU is told. */
static void not_for_us(void **state)
{
	struct mm_guest *g = *state;
	struct xen_add_to_physmap add = {.domid = DOMID_SELF};
	struct xen_add_to_physmap_batch batch = {.domid = DOMID_SELF};
	struct xen_remove_from_physmap rem = {.domid = DOMID_SELF};
	struct xen_pod_target pod = {.domid = DOMID_SELF};
	struct xen_memory_reservation claim = {.domid = DOMID};
	struct xen_vnuma_topology_info topo = {.domid = DOMID_SELF};
	uint64_t res[4] = {DOMID_SELF};

	assert_int_equal(memory_op(g, XENMEM_add_to_physmap, &add, sizeof(add)), -XEN_EACCES);
	add.space = XENMAPSPACE_grant_table;
	assert_int_equal(memory_op(g, XENMEM_add_to_physmap, &add, sizeof(add)), -XEN_EACCES);
	add.space = XENMAPSPACE_gmfn_foreign;
	assert_int_equal(memory_op(g, XENMEM_add_to_physmap, &add, sizeof(add)), -XEN_ENOSYS);
	add = (struct xen_add_to_physmap){.domid = 3};
	assert_int_equal(memory_op(g, XENMEM_add_to_physmap, &add, sizeof(add)), -XEN_ESRCH);
	assert_int_equal(memory_op(g, XENMEM_add_to_physmap_batch, &batch, sizeof(batch)),
			 -XEN_EACCES);
	batch.space = XENMAPSPACE_gmfn_range;
	assert_int_equal(memory_op(g, XENMEM_add_to_physmap_batch, &batch, sizeof(batch)),
			 -XEN_EOPNOTSUPP);
	assert_int_equal(memory_op(g, XENMEM_remove_from_physmap, &rem, sizeof(rem)), -XEN_EACCES);
	assert_int_equal(memory_op(g, XENMEM_get_pod_target, &pod, sizeof(pod)), -XEN_EINVAL);
	assert_int_equal(memory_op(g, XENMEM_set_pod_target, &pod, sizeof(pod)), -XEN_EINVAL);
	assert_int_equal(memory_op(g, 24, &claim, sizeof(claim)), -XEN_EPERM);
	claim.domid = DOMID_SELF;
	assert_int_equal(memory_op(g, 24, &claim, sizeof(claim)), -XEN_EINVAL);
	assert_int_equal(memory_op(g, XENMEM_get_vnumainfo, &topo, sizeof(topo)), -XEN_EOPNOTSUPP);
	assert_int_equal(memory_op(g, XENMEM_acquire_resource, res, sizeof(res)), -XEN_ESRCH);
	static const unsigned int none[] = {8, 20, 22, 29, 40, 63};

	for (unsigned int i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(memory_op(g, none[i], res, sizeof(res)), -XEN_ENOSYS);
	/* Commands without continuation know no start extent. */
	assert_int_equal(memory_op(g, XENMEM_machphys_mapping | 64, res, sizeof(res)), -XEN_ENOSYS);
	assert_int_equal(memory_op(g, 1ull << 40 | XENMEM_memory_map, res, sizeof(res)),
			 -XEN_ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MM_TEST(balloon),
		MM_TEST(grow_to_the_limit),
		MM_TEST(extents),
		MM_TEST(still_mapped),
		MM_TEST(held_by_back_end),
		MM_TEST(give_back_refused),
		MM_TEST(reservation_arguments),
		MM_TEST(preempted),
		MM_TEST(exchange_to_contiguous),
		MM_TEST(exchange_undone),
		MM_TEST(exchange_arguments),
		MM_TEST(sizes),
		MM_TEST(memory_map),
		MM_TEST(machphys),
		MM_TEST(not_for_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
