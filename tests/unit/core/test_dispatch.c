/* SPDX-License-Identifier: MIT */
/* Hypercall dispatch, xen_version, console_io, multicall and continuations. */
#include "harness.h"

#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/version.h>

#define XV(t, cmd, va) call((t), __HYPERVISOR_xen_version, (cmd), (va), 0, 0)

static void unknown_numbers_are_enosys(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(call(t, 11, 0, 0, 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, 43, 0, 0, 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, 63, 0, 0, 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, 64, 0, 0, 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, 0xffffffff, 0, 0, 0, 0), -XEN_ENOSYS);
	/* What table.def leaves out. */
	assert_int_equal(call(t, __HYPERVISOR_xsm_op, 0, 0, 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, __HYPERVISOR_argo_op, 0, 0, 0, 0), -XEN_ENOSYS);
	assert_alive(t);
	dom_free(t);
}

static void control_calls_are_refused(void **state)
{
	static const struct {
		uint8_t nr;
		uint32_t version;
	} by_pointer[] = {{__HYPERVISOR_domctl, 0x15},
			  {__HYPERVISOR_sysctl, 0x15},
			  {__HYPERVISOR_platform_op, 0x03000001}};
	static const uint8_t at_once[] = {__HYPERVISOR_kexec_op, __HYPERVISOR_hypfs_op, 48};
	struct dom *t = dom_new();

	for (unsigned int i = 0; i < sizeof(by_pointer) / sizeof(by_pointer[0]); i++) {
		uint32_t op[40] = {0, by_pointer[i].version};
		unsigned int nr = by_pointer[i].nr;

		assert_int_equal(call(t, nr, ARG(t, &op), 0, 0, 0), -XEN_EPERM);
		op[1]++;
		assert_int_equal(call(t, nr, ARG(t, &op), 0, 0, 0), -XEN_EACCES);
		assert_int_equal(call(t, nr, VA(PG_HOLE), 0, 0, 0), -XEN_EFAULT);
	}
	assert_int_equal(call(t, 49, VA(PG_ARG), 0, 0, 0), -XEN_EOPNOTSUPP);
	assert_int_equal(call(t, 49, VA(PG_HOLE), 0, 0, 0), -XEN_EFAULT);
	for (unsigned int i = 0; i < sizeof(at_once); i++)
		assert_int_equal(call(t, at_once[i], VA(PG_ARG), 0, 0, 0), -XEN_EPERM);
	assert_int_equal(call(t, __HYPERVISOR_hvm_op, 0, VA(PG_ARG), 0, 0), -XEN_EINVAL);
	assert_int_equal(call(t, __HYPERVISOR_hvm_op, 0, VA(PG_HOLE), 0, 0), -XEN_EFAULT);
	assert_int_equal(call(t, __HYPERVISOR_hvm_op, 99, VA(PG_ARG), 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, __HYPERVISOR_xenpmu_op, 0, 0, 0, 0), -XEN_EOPNOTSUPP);
	assert_int_equal(call(t, __HYPERVISOR_dm_op, 0, 0, 0, 0), -XEN_ENODATA);
	assert_int_equal(call(t, __HYPERVISOR_dm_op, 7, 1, VA(PG_ARG), 0), -XEN_ESRCH);
	assert_int_equal(call(t, __HYPERVISOR_dm_op, 7, 1, VA(PG_HOLE), 0), -XEN_EFAULT);
	dom_free(t);
}

/* The command in front of the arguments. */
static void old_calls_reach_the_new_ones(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_op ev = {.cmd = EVTCHNOP_bind_ipi};
	struct physdev_op pd = {.cmd = PHYSDEVOP_set_iopl, .u.set_iopl.iopl = 1};

	ev.u.bind_ipi.vcpu = 0;
	uint64_t va = ARG(t, &ev);

	assert_int_equal(call(t, 16, va, 0, 0, 0), 0);
	memcpy(&ev, t->ram + va, sizeof(ev));
	assert_int_equal(t->d->evtchn[ev.u.bind_ipi.port].state, ECS_IPI);
	ev.cmd = EVTCHNOP_reset;
	assert_int_equal(call(t, 16, ARG(t, &ev), 0, 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, 16, VA(PG_HOLE), 0, 0, 0), -XEN_EFAULT);
	assert_int_equal(call(t, 19, ARG(t, &pd), 0, 0, 0), 0);
	assert_int_equal(t->c.v->iopl, 1);
	assert_int_equal(call(t, 19, VA(PG_HOLE), 0, 0, 0), -XEN_EFAULT);
	assert_int_equal(call(t, 6, SCHEDOP_yield, 0, 0, 0), 0);
	assert_int_equal(call(t, 6, SCHEDOP_poll, 0, 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, 6, SCHEDOP_block, 0, 0, 0), 0);
	assert_int_equal(t->c.v->blocked, 1);
	dom_free(t);
}

static void the_whole_of_rax_counts(void **state)
{
	struct dom *t = dom_new();

	t->c.v->regs.gpr[R_RAX] = 1ull << 32 | __HYPERVISOR_xen_version;
	core_hypercall(&t->c);
	assert_int_equal((long)REG(t, RAX), -XEN_ENOSYS);
	dom_free(t);
}

static void calls_are_counted(void **state)
{
	struct dom *t = dom_new();

	for (unsigned int i = 0; i < 5; i++)
		XV(t, XENVER_version, 0);
	call(t, __HYPERVISOR_domctl, 0, 0, 0, 0);
	assert_int_equal(t->ctl.hypercalls[0][__HYPERVISOR_xen_version], 5);
	assert_int_equal(t->ctl.hypercalls[0][__HYPERVISOR_domctl], 1);
	assert_int_equal(t->ctl.vcpu[0].exits_hypercall, 6);
	dom_free(t);
}

static void calls_of_many_vcpus_are_counted(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	struct core_ctx other;

	dom_vcpu(t, &other, 1);
	XV(t, XENVER_version, 0);
	call_on(&other, __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
	call_on(&other, __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
	assert_int_equal(t->ctl.hypercalls[0][__HYPERVISOR_xen_version], 1);
	assert_int_equal(t->ctl.hypercalls[1][__HYPERVISOR_xen_version], 2);
	dom_free(t);
}

static void version_answers(void **state)
{
	struct dom *t = dom_new();
	char *text = page_ptr(t, PG_DATA);

	assert_int_equal(XV(t, XENVER_version, 0), 4 << 16 | 17);
	assert_int_equal(XV(t, XENVER_pagesize, 0), 4096);
	assert_int_equal(XV(t, XENVER_pagesize, VA(PG_DATA)), -XEN_EINVAL);

	memset(text, 0x55, 2048);
	assert_int_equal(XV(t, XENVER_extraversion, VA(PG_DATA)), 0);
	assert_true(memchr(text, 0, 16) != NULL);
	assert_int_equal(text[16], 0x55); /* not a byte more than the type has */

	assert_int_equal(XV(t, XENVER_capabilities, VA(PG_DATA)), 0);
	assert_string_equal(text, "xen-3.0-x86_64 ");
	assert_int_equal(text[1024], 0x55);

	assert_int_equal(XV(t, XENVER_changeset, VA(PG_DATA)), 0);
	assert_string_equal(text, "unavailable");
	assert_int_equal(XV(t, XENVER_compile_info, VA(PG_DATA)), 0);
	assert_string_equal(((struct xen_compile_info *)text)->compile_by, "libpvvirt");

	assert_int_equal(XV(t, XENVER_platform_parameters, VA(PG_DATA)), 0);
	assert_int_equal(peek(t, VA(PG_DATA)), 0xffff800000000000ull);

	assert_int_equal(XV(t, XENVER_guest_handle, VA(PG_DATA)), 0);
	assert_memory_equal(text, t->ctl.boot.uuid, 16);

	assert_int_equal(XV(t, XENVER_commandline, VA(PG_DATA)), 0);
	assert_string_equal(text, "<denied>");
	assert_int_equal(XV(t, XENVER_build_id, 0), -XEN_EPERM);
	assert_int_equal(XV(t, 11, 0), -XEN_ENOSYS);
	dom_free(t);
}

static void version_faults_on_bad_pointers(void **state)
{
	struct dom *t = dom_new();
	static const unsigned int cmds[] = {
		XENVER_extraversion, XENVER_compile_info, XENVER_capabilities,
		XENVER_changeset,    XENVER_get_features, XENVER_platform_parameters,
		XENVER_guest_handle, XENVER_commandline,
	};

	for (unsigned int i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		assert_int_equal(XV(t, cmds[i], UNMAPPED), -XEN_EFAULT);
		assert_int_equal(XV(t, cmds[i], VA(PG_HOLE) - 4), -XEN_EFAULT);
		assert_int_equal(XV(t, cmds[i], VA(PG_READONLY)), -XEN_EFAULT);
		assert_int_equal(XV(t, cmds[i], 0xffff800000000000ull), -XEN_EFAULT);
		assert_int_equal(XV(t, cmds[i], 0x800000000000ull), -XEN_EFAULT);
		assert_int_equal(XV(t, cmds[i], ~0ull), -XEN_EFAULT);
	}
	dom_free(t);
}

static uint32_t features(struct dom *t)
{
	struct xen_feature_info info = {.submap_idx = 0};

	assert_int_equal(XV(t, XENVER_get_features, ARG(t, &info)), 0);
	arg_get(t, &info, sizeof(info));
	return info.submap;
}

static void features_are_those_of_a_pv_guest(void **state)
{
	struct dom *t = dom_new();
	uint32_t submap = features(t);
	struct xen_feature_info info = {.submap_idx = XENFEAT_NR_SUBMAPS};

	/* Linux panics without these two. */
	assert_true(submap & 1u << XENFEAT_mmu_pt_update_preserve_ad);
	assert_true(submap & 1u << XENFEAT_gnttab_map_avail_bits);
	assert_true(submap & 1u << XENFEAT_highmem_assist);
	assert_true(submap & 1u << XENFEAT_memory_op_vnode_supported);
	assert_false(submap & 1u << XENFEAT_writable_page_tables);
	assert_false(submap & 1u << XENFEAT_auto_translated_physmap);
	assert_false(submap & 1u << XENFEAT_supervisor_mode_kernel);
	assert_false(submap & 1u << XENFEAT_dom0);
	assert_false(submap & 1u << XENFEAT_hvm_callback_vector);
	assert_false(submap & 1u << XENFEAT_pae_pgdir_above_4gb);

	assert_int_equal(call(t, __HYPERVISOR_vm_assist, VMASST_CMD_enable,
			      VMASST_TYPE_pae_extended_cr3, 0, 0),
			 0);
	assert_true(features(t) & 1u << XENFEAT_pae_pgdir_above_4gb);
	assert_int_equal(XV(t, XENVER_get_features, ARG(t, &info)), -XEN_EINVAL);
	dom_free(t);
}

static void console_text_reaches_the_ring(void **state)
{
	struct dom *t = dom_new();
#define WRITE(count, va) call(t, __HYPERVISOR_console_io, CONSOLEIO_write, (count), (va), 0)

	/* The answer is Xen's to an ordinary domain; the library sees the text all the same. */
	memcpy(page_ptr(t, PG_DATA), "hello, console\n", 15);
	assert_int_equal(WRITE(15, VA(PG_DATA)), -XEN_EPERM);
	assert_int_equal(t->ctl.debug_prod, 15);
	assert_memory_equal(t->ctl.debug_ring, "hello, console\n", 15);

	/* Never more than the ring holds in one call; the index keeps counting. */
	memset(page_ptr(t, PG_DATA), 'a', 4096);
	memset(page_ptr(t, PG_USER), 'b', 4096);
	assert_int_equal(WRITE(4096 + 100, VA(PG_DATA)), -XEN_EPERM);
	assert_int_equal(t->ctl.debug_prod, 15 + 4096);
	assert_int_equal(t->ctl.debug_ring[14], 'a');
	assert_int_equal(WRITE(0xffffffff, VA(PG_DATA)), -XEN_EPERM);
	assert_int_equal(t->ctl.debug_prod, 15 + 8192);

	assert_int_equal(WRITE(4, UNMAPPED), -XEN_EPERM);
	assert_int_equal(t->ctl.debug_prod, 15 + 8192);
	assert_int_equal(call(t, __HYPERVISOR_console_io, CONSOLEIO_read, 10, VA(PG_DATA), 0),
			 -XEN_EPERM);
	assert_int_equal(call(t, __HYPERVISOR_console_io, 2, 1, VA(PG_DATA), 0), -XEN_EPERM);
	dom_free(t);
}

/* A table of `nr` handlers at the data page. */
static void put_traps(struct dom *t, unsigned int nr)
{
	struct trap_info *info = page_ptr(t, PG_DATA);

	memset(info, 0, 4096);
	for (unsigned int i = 0; i < nr; i++)
		info[i] = (struct trap_info){.vector = (uint8_t)i, .address = 0x1000 + i};
}

static void long_calls_are_continued(void **state)
{
	struct dom *t = dom_new();
	uint64_t rip = t->c.v->regs.rip;

	put_traps(t, 7);
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(call_on(&t->c, __HYPERVISOR_set_trap_table, VA(PG_DATA), 0x11, 0x22, 0x33),
			 __HYPERVISOR_set_trap_table);
	assert_int_equal(t->c.v->regs.rip, rip - 2);
	assert_int_equal(REG(t, RDI), VA(PG_DATA) + 16);
	assert_int_equal(REG(t, RSI), 0x11); /* unused arguments come back */
	assert_int_equal(REG(t, RDX), 0x22);
	assert_int_equal(REG(t, R10), 0x33);

	/* The guest executes the same instruction again and again. */
	unsigned int rounds = 1;

	while (t->c.v->regs.rip == rip - 2) {
		t->c.v->regs.rip = rip;
		core_hypercall(&t->c);
		rounds++;
		assert_true(rounds < 20);
	}
	assert_int_equal(rounds, 8);
	assert_int_equal(REG(t, RAX), 0);
	assert_int_equal(t->c.v->traps[6].addr, 0x1006);
	dom_free(t);
}

/* ---- multicall --------------------------------------------------------------------------- */

static long multicall(struct dom *t, struct multicall_entry *m, unsigned int nr)
{
	long rc = call(t, __HYPERVISOR_multicall, arg_put(t, m, nr * sizeof(*m)), nr, 0, 0);

	arg_get(t, m, nr * sizeof(*m));
	return rc;
}

static void multicall_gives_each_its_result(void **state)
{
	struct dom *t = dom_new();
	struct multicall_entry m[4] = {
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_version}},
		{.op = 1000},
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}},
		{.op = __HYPERVISOR_multicall, .args = {VA(PG_ARG), 1}},
	};

	assert_int_equal(multicall(t, m, 4), 0);
	assert_int_equal(m[0].result, 4 << 16 | 17);
	assert_int_equal((long)m[1].result, -XEN_ENOSYS);
	assert_int_equal(m[2].result, 4096);
	assert_int_equal((long)m[3].result, -XEN_EINVAL); /* nested */
	/* Not stuck in it. */
	assert_int_equal(multicall(t, m, 1), 0);
	assert_int_equal(multicall(t, m, 0), 0);
	dom_free(t);
}

static void multicall_faults_at_a_bad_entry(void **state)
{
	struct dom *t = dom_new();
	struct multicall_entry *m = page_ptr(t, PG_HOLE - 1);
	uint64_t va = VA(PG_HOLE) - sizeof(*m);

	m = (struct multicall_entry *)(t->ram + va);
	*m = (struct multicall_entry){.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}};
	/* Page 9 has no other use. */
	assert_int_equal(call(t, __HYPERVISOR_multicall, va, 2, 0, 0), -XEN_EFAULT);
	assert_int_equal(m->result, 4096);
	assert_int_equal(call(t, __HYPERVISOR_multicall, VA(PG_READONLY), 1, 0, 0), -XEN_EFAULT);
	dom_free(t);
}

static void multicall_is_preempted_between_calls(void **state)
{
	struct dom *t = dom_new();
	uint64_t rip = t->c.v->regs.rip;
	struct multicall_entry m[3] = {
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}},
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}},
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}},
	};

	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(call_on(&t->c, __HYPERVISOR_multicall, ARG(t, &m), 3, 0, 0),
			 __HYPERVISOR_multicall);
	assert_int_equal(t->c.v->regs.rip, rip - 2);
	assert_int_equal(REG(t, RDI), VA(PG_ARG) + sizeof(m[0]));
	assert_int_equal(REG(t, RSI), 2);
	t->ctl.vcpu[0].kick = 0;
	t->c.v->regs.rip = rip;
	core_hypercall(&t->c);
	assert_int_equal(REG(t, RAX), 0);
	arg_get(t, &m, sizeof(m));
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(m[i].result, 4096);
	dom_free(t);
}

static void a_call_inside_is_continued_in_place(void **state)
{
	struct dom *t = dom_new();
	uint64_t rip = t->c.v->regs.rip;
	struct multicall_entry m = {.op = __HYPERVISOR_set_trap_table, .args = {VA(PG_DATA), 7}};

	put_traps(t, 3);
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(call_on(&t->c, __HYPERVISOR_multicall, ARG(t, &m), 1, 0, 0),
			 __HYPERVISOR_multicall);
	assert_int_equal(t->c.v->regs.rip, rip - 2);
	assert_int_equal(REG(t, RDI), VA(PG_ARG));
	assert_int_equal(REG(t, RSI), 1);
	arg_get(t, &m, sizeof(m));
	assert_int_equal(m.op, __HYPERVISOR_set_trap_table);
	assert_int_equal(m.args[0], VA(PG_DATA) + 16);
	assert_int_equal(m.args[1], 7);

	t->ctl.vcpu[0].kick = 0;
	t->c.v->regs.rip = rip;
	core_hypercall(&t->c);
	assert_int_equal(REG(t, RAX), 0);
	arg_get(t, &m, sizeof(m));
	assert_int_equal(m.result, 0);
	assert_int_equal(t->c.v->traps[2].addr, 0x1002);
	dom_free(t);
}

static void multicall_stops_with_the_domain(void **state)
{
	struct dom *t = dom_new();
	struct multicall_entry m[2] = {
		{.op = __HYPERVISOR_iret},
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}, .result = 99},
	};

	REG(t, RSP) = UNMAPPED; /* iret crashes */
	call_on(&t->c, __HYPERVISOR_multicall, ARG(t, &m), 2, 0, 0);
	assert_crashed(t, "iret");
	arg_get(t, &m, sizeof(m));
	assert_int_equal(m[1].result, 99);
	dom_free(t);
}

static void iret_ends_a_multicall(void **state)
{
	struct dom *t = dom_new();
	struct iret_context frame = {
		.rax = 0x1111,
		.rip = VA(PG_CODE) + 8,
		.cs = 0xe030,
		.rflags = 0x202,
		.rsp = STACK_TOP,
		.ss = 0xe02b,
	};
	struct multicall_entry m[2] = {
		{.op = __HYPERVISOR_iret},
		{.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}, .result = 99},
	};

	REG(t, RSP) = STACK_TOP - sizeof(frame);
	memcpy(t->ram + REG(t, RSP), &frame, sizeof(frame));
	call_on(&t->c, __HYPERVISOR_multicall, ARG(t, &m), 2, 0, 0);
	assert_alive(t);
	assert_int_equal(t->c.v->regs.rip, VA(PG_CODE) + 8);
	assert_int_equal(REG(t, RAX), 0x1111);
	arg_get(t, &m, sizeof(m));
	assert_int_equal(m[1].result, 99);
	dom_free(t);
}

static void vm_assist_knows_its_types(void **state)
{
	struct dom *t = dom_new();
#define ASSIST(cmd, type) call(t, __HYPERVISOR_vm_assist, (cmd), (type), 0, 0)

	assert_int_equal(ASSIST(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables), 0);
	assert_true(t->d->vm_assist & 1u << VMASST_TYPE_writable_pagetables);
	assert_int_equal(ASSIST(VMASST_CMD_disable, VMASST_TYPE_writable_pagetables), 0);
	assert_int_equal(t->d->vm_assist, 0);
	assert_int_equal(ASSIST(VMASST_CMD_enable, VMASST_TYPE_m2p_strict), 0);
	assert_int_equal(ASSIST(VMASST_CMD_enable, 6), -XEN_EINVAL);
	assert_int_equal(ASSIST(VMASST_CMD_enable, 64), -XEN_EINVAL);
	assert_int_equal(ASSIST(2, VMASST_TYPE_m2p_strict), -XEN_ENOSYS);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_numbers_are_enosys),
		cmocka_unit_test(control_calls_are_refused),
		cmocka_unit_test(old_calls_reach_the_new_ones),
		cmocka_unit_test(the_whole_of_rax_counts),
		cmocka_unit_test(calls_are_counted),
		cmocka_unit_test(calls_of_many_vcpus_are_counted),
		cmocka_unit_test(version_answers),
		cmocka_unit_test(version_faults_on_bad_pointers),
		cmocka_unit_test(features_are_those_of_a_pv_guest),
		cmocka_unit_test(console_text_reaches_the_ring),
		cmocka_unit_test(long_calls_are_continued),
		cmocka_unit_test(multicall_gives_each_its_result),
		cmocka_unit_test(multicall_faults_at_a_bad_entry),
		cmocka_unit_test(multicall_is_preempted_between_calls),
		cmocka_unit_test(a_call_inside_is_continued_in_place),
		cmocka_unit_test(multicall_stops_with_the_domain),
		cmocka_unit_test(iret_ends_a_multicall),
		cmocka_unit_test(vm_assist_knows_its_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
