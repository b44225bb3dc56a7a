/* SPDX-License-Identifier: MIT */
/* grant_table_op, version 1: the table, mapping and copying what the guest granted itself. */
#include "harness.h"

#include <xen/grant_table.h>

#include "core/mm/mm.h"

static struct grant_entry_v1 *entry(struct dom *t, uint32_t ref)
{
	return (struct grant_entry_v1 *)page_ptr(t, GRANT_FIRST) + ref;
}

static void grant(struct dom *t, uint32_t ref, domid_t to, uint32_t frame, uint16_t flags)
{
	*entry(t, ref) = (struct grant_entry_v1){
		.flags = GTF_permit_access | flags, .domid = to, .frame = frame};
}

#define GNT(t, cmd, obj)                                                                           \
	call((t), __HYPERVISOR_grant_table_op, (cmd), arg_put((t), (obj), sizeof(*(obj))), 1, 0)

/* One operation; returns its status. */
#define ONE(t, cmd, obj)                                                                           \
	({                                                                                         \
		assert_int_equal(GNT((t), (cmd), (obj)), 0);                                       \
		arg_get((t), (obj), sizeof(*(obj)));                                               \
		(obj)->status;                                                                     \
	})

/* ---- the table --------------------------------------------------------------------------- */

static void setup_gives_the_frames(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_setup_table op = {.dom = DOMID_SELF, .nr_frames = 3};
	struct gnttab_query_size size = {.dom = DOMID_SELF};

	assert_int_equal(ONE(t, GNTTABOP_query_size, &size), GNTST_okay);
	assert_int_equal(size.nr_frames, 1);
	assert_int_equal(size.max_nr_frames, GRANT_MAX);
	set_xen_guest_handle(op.frame_list, (xen_pfn_t *)VA(PG_DATA));
	assert_int_equal(ONE(t, GNTTABOP_setup_table, &op), GNTST_okay);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(peek(t, VA(PG_DATA) + i * 8), GRANT_FIRST + i);
	assert_int_equal(ONE(t, GNTTABOP_query_size, &size), GNTST_okay);
	assert_int_equal(size.nr_frames, 3);
	op.nr_frames = 1; /* it never shrinks */
	assert_int_equal(ONE(t, GNTTABOP_setup_table, &op), GNTST_okay);
	assert_int_equal(t->d->grant_frames, 3);

	op.nr_frames = GRANT_MAX + 1;
	assert_int_equal(ONE(t, GNTTABOP_setup_table, &op), GNTST_general_error);
	op.nr_frames = 1;
	op.dom = 0;
	assert_int_equal(ONE(t, GNTTABOP_setup_table, &op), GNTST_permission_denied);
	op.dom = 99;
	assert_int_equal(ONE(t, GNTTABOP_setup_table, &op), GNTST_bad_domain);
	op.dom = DOMID;
	set_xen_guest_handle(op.frame_list, (xen_pfn_t *)UNMAPPED);
	assert_int_equal(ONE(t, GNTTABOP_setup_table, &op), GNTST_bad_virt_addr);
	dom_free(t);
}

static void counts_are_checked(void **state)
{
	struct dom *t = dom_new();
	static const unsigned int single[] = {GNTTABOP_setup_table, GNTTABOP_query_size,
					      GNTTABOP_get_status_frames};
#define COUNT(cmd, n) call(t, __HYPERVISOR_grant_table_op, (cmd), VA(PG_ARG), (n), 0)

	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(COUNT(single[i], 0), -XEN_EINVAL);
		assert_int_equal(COUNT(single[i], 2), -XEN_EINVAL);
	}
	assert_int_equal(COUNT(GNTTABOP_map_grant_ref, 0x80000000u), -XEN_EINVAL);
	assert_int_equal(COUNT(GNTTABOP_map_grant_ref, 0), 0);
	assert_int_equal(COUNT(GNTTABOP_dump_table, 1), -XEN_ENOSYS);
	assert_int_equal(COUNT(13, 1), -XEN_ENOSYS);
	assert_int_equal(call(t, __HYPERVISOR_grant_table_op, GNTTABOP_copy, UNMAPPED, 1, 0),
			 -XEN_EFAULT);
	dom_free(t);
}

static void versions(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_set_version set = {.version = 1};
	struct gnttab_get_version get = {.dom = DOMID_SELF};
	struct gnttab_get_status_frames frames = {.dom = DOMID_SELF, .nr_frames = 1};

	assert_int_equal(GNT(t, GNTTABOP_set_version, &set), 0);
	set.version = 2;
	assert_int_equal(GNT(t, GNTTABOP_set_version, &set), -XEN_ENOSYS);
	arg_get(t, &set, sizeof(set));
	assert_int_equal(set.version, 1);
	set.version = 3;
	assert_int_equal(GNT(t, GNTTABOP_set_version, &set), -XEN_EINVAL);
	assert_int_equal(GNT(t, GNTTABOP_get_version, &get), 0);
	arg_get(t, &get, sizeof(get));
	assert_int_equal(get.version, 1);
	get.dom = 0;
	assert_int_equal(GNT(t, GNTTABOP_get_version, &get), -XEN_EPERM);
	get.dom = 44;
	assert_int_equal(GNT(t, GNTTABOP_get_version, &get), -XEN_ESRCH);
	assert_int_equal(ONE(t, GNTTABOP_get_status_frames, &frames), GNTST_general_error);
	frames.nr_frames = 0;
	assert_int_equal(ONE(t, GNTTABOP_get_status_frames, &frames), GNTST_okay);
	dom_free(t);
}

static void swapping(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_swap_grant_ref op = {.ref_a = 9, .ref_b = 10};

	grant(t, 9, 0, 111, GTF_readonly);
	grant(t, 10, 7, 222, 0);
	assert_int_equal(ONE(t, GNTTABOP_swap_grant_ref, &op), GNTST_okay);
	assert_int_equal(entry(t, 9)->frame, 222);
	assert_int_equal(entry(t, 10)->frame, 111);
	assert_int_equal(entry(t, 10)->flags, GTF_permit_access | GTF_readonly);
	entry(t, 9)->flags |= GTF_reading; /* the library has it */
	assert_int_equal(ONE(t, GNTTABOP_swap_grant_ref, &op), GNTST_eagain);
	op.ref_b = 9;
	assert_int_equal(ONE(t, GNTTABOP_swap_grant_ref, &op), GNTST_okay);
	op.ref_b = 512;
	assert_int_equal(ONE(t, GNTTABOP_swap_grant_ref, &op), GNTST_bad_gntref);
	dom_free(t);
}

static void cache_flushes_look_at_arguments(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_cache_flush op = {
		.a.dev_bus_addr = VA(PG_DATA), .length = 64, .op = GNTTAB_CACHE_CLEAN};

	assert_int_equal(GNT(t, GNTTABOP_cache_flush, &op), 0);
	op.offset = 4090;
	assert_int_equal(GNT(t, GNTTABOP_cache_flush, &op), -XEN_EINVAL);
	op.offset = 0;
	op.op = 8;
	assert_int_equal(GNT(t, GNTTABOP_cache_flush, &op), -XEN_EINVAL);
	op.op = GNTTAB_CACHE_INVAL | GNTTAB_CACHE_SOURCE_GREF;
	assert_int_equal(GNT(t, GNTTABOP_cache_flush, &op), -XEN_EOPNOTSUPP);
	op.op = GNTTAB_CACHE_INVAL;
	op.a.dev_bus_addr = VA(NR_FRAMES);
	assert_int_equal(GNT(t, GNTTABOP_cache_flush, &op), -XEN_EPERM);
	op.length = 0;
	assert_int_equal(GNT(t, GNTTABOP_cache_flush, &op), 0);
	dom_free(t);
}

/* ---- mapping ----------------------------------------------------------------------------- */

#define MAP_VA VA(PG_HOLE) /* its PTE is empty */

static struct gnttab_map_grant_ref map_op(uint32_t ref, uint32_t flags)
{
	return (struct gnttab_map_grant_ref){
		.host_addr = MAP_VA, .flags = flags, .ref = ref, .dom = DOMID};
}

static uint64_t pte(struct dom *t)
{
	return ((uint64_t *)page_ptr(t, PG_L1))[PG_HOLE];
}

static void map_and_unmap(void **state)
{
	struct dom *t = dom_new();
	uint64_t refs = t->frames[PG_FREE].type;
	struct gnttab_map_grant_ref m = map_op(8, GNTMAP_host_map);

	grant(t, 8, DOMID, PG_FREE, 0);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_okay);
	assert_int_equal(pte(t) >> 12 & 0xffffffffff, PG_FREE);
	assert_true(pte(t) & PTE_RW);
	assert_int_equal(m.dev_bus_addr, VA(PG_FREE));
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access | GTF_reading | GTF_writing);
	poke(t, VA(PG_FREE), 0x4711);
	uint64_t seen;

	assert_int_equal(core_guest_read(&t->c, &seen, MAP_VA, 8), 0);
	assert_int_equal(seen, 0x4711);

	unsigned int flushes = t->flushes;
	struct gnttab_unmap_grant_ref u = {.host_addr = MAP_VA, .handle = m.handle};

	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_okay);
	assert_true(t->flushes > flushes);
	assert_int_equal(pte(t) & PTE_PRESENT, 0);
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access);
	assert_int_equal(frame_refs(t->frames[PG_FREE].type), frame_refs(refs));
	assert_int_equal(frame_trefs(t->frames[PG_FREE].type), frame_trefs(refs));
	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_bad_handle);
	dom_free(t);
}

static void readonly_maps_need_less(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_map_grant_ref m = map_op(8, GNTMAP_host_map | GNTMAP_readonly);

	grant(t, 8, DOMID, PG_L1, GTF_readonly); /* even a page table */
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_okay);
	assert_int_equal(pte(t) & PTE_RW, 0);
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access | GTF_readonly | GTF_reading);
	dom_free(t);
}

static void flags_stay_until_the_last_unmap(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_map_grant_ref a = map_op(8, GNTMAP_device_map);
	struct gnttab_map_grant_ref b = map_op(8, GNTMAP_device_map | GNTMAP_readonly);

	grant(t, 8, DOMID, PG_FREE, 0);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &a), GNTST_okay);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &b), GNTST_okay);
	assert_int_not_equal(a.handle, b.handle);
	struct gnttab_unmap_grant_ref u = {.dev_bus_addr = VA(PG_FREE), .handle = a.handle};

	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_okay);
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access | GTF_reading);
	u.handle = b.handle;
	u.dev_bus_addr = VA(PG_FREE + 1);
	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_bad_dev_addr);
	u.dev_bus_addr = VA(PG_FREE);
	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_okay);
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access);
	dom_free(t);
}

static void map_errors(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_map_grant_ref m;

	grant(t, 8, DOMID, PG_FREE, 0);
	grant(t, 9, DOMID, PG_FREE, GTF_readonly);
	grant(t, 10, 0, PG_FREE, 0); /* for the library */
	grant(t, 11, DOMID, NR_FRAMES, 0);
	grant(t, 12, DOMID, PG_L1, 0);
	m = map_op(8, 0);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_bad_gntref);
	m = map_op(512, GNTMAP_host_map);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_bad_gntref);
	m = map_op(9, GNTMAP_host_map);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_general_error);
	m = map_op(10, GNTMAP_host_map);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_general_error);
	m = map_op(13, GNTMAP_host_map); /* not granted */
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_general_error);
	m = map_op(11, GNTMAP_host_map);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_bad_page);
	assert_int_equal(entry(t, 11)->flags, GTF_permit_access);
	m = map_op(12, GNTMAP_host_map); /* a page table, writable */
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_general_error);
	m = map_op(8, GNTMAP_host_map);
	m.dom = DOMID_SELF; /* needs the number */
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_bad_domain);
	m.dom = 0;
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_general_error);
	m.ref = 1u << 20; /* no table is that large */
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_bad_gntref);
	m.dom = 3;
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_bad_domain);
	m = map_op(8, GNTMAP_host_map);
	m.host_addr = UNMAPPED; /* no page table there */
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_general_error);
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access); /* undone */
	assert_int_equal(pte(t), 0);
	dom_free(t);
}

static void handles_run_out(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_map_grant_ref m;

	grant(t, 8, DOMID, PG_FREE, 0);
	for (unsigned int i = 0; i < 8; i++) {
		m = map_op(8, GNTMAP_device_map);
		assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_okay);
		assert_int_equal(m.handle, i);
	}
	m = map_op(8, GNTMAP_device_map);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_no_space);
	struct gnttab_unmap_grant_ref u = {.handle = 5, .dev_bus_addr = VA(PG_FREE)};

	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_okay);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_okay);
	assert_int_equal(m.handle, 5);
	u.handle = 1000000;
	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_bad_handle);
	dom_free(t);
}

static void a_changed_pte_is_noticed(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_map_grant_ref m = map_op(8, GNTMAP_host_map);
	struct gnttab_unmap_grant_ref u = {.host_addr = VA(PG_DATA)};

	grant(t, 8, DOMID, PG_FREE, 0);
	assert_int_equal(ONE(t, GNTTABOP_map_grant_ref, &m), GNTST_okay);
	u.handle = m.handle; /* the wrong address: something else is mapped there */
	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_general_error);
	assert_int_equal(entry(t, 8)->flags & GTF_reading, GTF_reading);
	u.host_addr = MAP_VA;
	assert_int_equal(ONE(t, GNTTABOP_unmap_grant_ref, &u), GNTST_okay);
	dom_free(t);
}

/* ---- copying ----------------------------------------------------------------------------- */

static struct gnttab_copy copy_op(void)
{
	return (struct gnttab_copy){
		.source = {.u.gmfn = PG_DATA, .domid = DOMID_SELF, .offset = 100},
		.dest = {.u.gmfn = PG_FREE, .domid = DOMID_SELF, .offset = 200},
		.len = 50,
	};
}

static void copy_between_own_frames(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_copy op = copy_op();
	uint8_t *from = page_ptr(t, PG_DATA), *to = page_ptr(t, PG_FREE);

	for (unsigned int i = 0; i < 4096; i++)
		from[i] = (uint8_t)i;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_okay);
	assert_memory_equal(to + 200, from + 100, 50);
	assert_int_equal(to[199], 0);
	assert_int_equal(to[250], 0);
	/* Whole pages, and none at all. */
	op = copy_op();
	op.source.offset = op.dest.offset = 0;
	op.len = 4096;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_okay);
	assert_memory_equal(to, from, 4096);
	op.len = 0;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_okay);
	dom_free(t);
}

static void copy_by_grant(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_copy op = copy_op();

	grant(t, 8, DOMID, PG_DATA, GTF_readonly);
	grant(t, 9, DOMID, PG_FREE, 0);
	memcpy((uint8_t *)page_ptr(t, PG_DATA) + 100, "granted", 8);
	op.flags = GNTCOPY_source_gref | GNTCOPY_dest_gref;
	op.source.u.ref = 8;
	op.source.domid = DOMID;
	op.dest.u.ref = 9;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_okay);
	assert_string_equal((char *)page_ptr(t, PG_FREE) + 200, "granted");
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access | GTF_readonly);
	assert_int_equal(entry(t, 9)->flags, GTF_permit_access);
	op.dest.u.ref = 8; /* read-only */
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_general_error);
	op.dest.u.ref = 5000;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_bad_gntref);
	assert_int_equal(entry(t, 8)->flags, GTF_permit_access | GTF_readonly);
	dom_free(t);
}

static void copy_errors(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_copy op = copy_op();

	op.source.offset = 4090;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_bad_copy_arg);
	op = copy_op();
	op.dest.offset = 4047;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_bad_copy_arg);
	op = copy_op();
	op.dest.offset = 0xffff;
	op.len = 0xffff;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_bad_copy_arg);
	op = copy_op();
	op.source.domid = DOMID; /* by frame: only as DOMID_SELF */
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_permission_denied);
	op = copy_op();
	op.flags = GNTCOPY_dest_gref;
	op.dest.domid = 77;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_bad_domain);
	op.dest.domid = 0;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_general_error);
	op = copy_op();
	op.source.u.gmfn = NR_FRAMES;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_bad_page);
	op = copy_op();
	op.source.u.gmfn = ~0ull >> 12;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_bad_page);
	op = copy_op();
	op.dest.u.gmfn = PG_L1; /* never into a page table */
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_general_error);
	op.source.u.gmfn = PG_L1; /* but out of one */
	op.dest.u.gmfn = PG_FREE;
	assert_int_equal(ONE(t, GNTTABOP_copy, &op), GNTST_okay);
	dom_free(t);
}

static void arrays_are_continued(void **state)
{
	struct dom *t = dom_new();
	uint64_t rip = t->c.v->regs.rip;
	struct gnttab_copy ops[3] = {copy_op(), copy_op(), copy_op()};
	unsigned int rounds = 0;

	for (unsigned int i = 0; i < 3; i++)
		ops[i].status = 55;
	t->ctl.vcpu[0].kick = 1;
	call_on(&t->c, __HYPERVISOR_grant_table_op, GNTTABOP_copy, ARG(t, &ops), 3, 0);
	while (t->c.v->regs.rip != rip) {
		assert_int_equal(REG(t, RAX), __HYPERVISOR_grant_table_op);
		t->c.v->regs.rip = rip;
		core_hypercall(&t->c);
		assert_true(++rounds < 5);
	}
	assert_int_equal(rounds, 2);
	assert_int_equal(REG(t, RAX), 0);
	arg_get(t, &ops, sizeof(ops));
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(ops[i].status, GNTST_okay);
	dom_free(t);
}

static void transfers_are_refused_without_loss(void **state)
{
	struct dom *t = dom_new();
	struct gnttab_transfer op = {.mfn = PG_FREE, .domid = 0, .ref = 1};
	uint64_t refs = t->frames[PG_FREE].type;

	assert_int_equal(ONE(t, GNTTABOP_transfer, &op), GNTST_bad_page);
	assert_int_equal(t->frames[PG_FREE].type, refs);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setup_gives_the_frames),
		cmocka_unit_test(counts_are_checked),
		cmocka_unit_test(versions),
		cmocka_unit_test(swapping),
		cmocka_unit_test(cache_flushes_look_at_arguments),
		cmocka_unit_test(map_and_unmap),
		cmocka_unit_test(readonly_maps_need_less),
		cmocka_unit_test(flags_stay_until_the_last_unmap),
		cmocka_unit_test(map_errors),
		cmocka_unit_test(handles_run_out),
		cmocka_unit_test(a_changed_pte_is_noticed),
		cmocka_unit_test(copy_between_own_frames),
		cmocka_unit_test(copy_by_grant),
		cmocka_unit_test(copy_errors),
		cmocka_unit_test(arrays_are_continued),
		cmocka_unit_test(transfers_are_refused_without_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
