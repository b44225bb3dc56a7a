/* SPDX-License-Identifier: MIT */
/* Trap table, callbacks, bounce frames, iret, exceptions, software interrupts, system calls. */
#include "harness.h"

#include <xen/callback.h>
#include <xen/vcpu.h>

/* ---- set_trap_table ---------------------------------------------------------------------- */

static void trap_table_is_loaded_and_cleared(void **state)
{
	struct dom *t = dom_new();
	struct trap_info info[4] = {
		{.vector = 0, .cs = 0xe033, .address = 0x1000},
		{.vector = 14, .flags = 4, .cs = 0xe033, .address = 0xffff888000001000ull},
		{.vector = 0x80, .flags = 3, .cs = 0xe02b, .address = 0x2000},
	};

	assert_int_equal(call(t, __HYPERVISOR_set_trap_table, ARG(t, &info), 0, 0, 0), 0);
	assert_int_equal(t->c.v->traps[0].addr, 0x1000);
	assert_int_equal(t->c.v->traps[14].addr, 0xffff888000001000ull);
	assert_int_equal(t->c.v->traps[14].flags, 4);
	assert_int_equal(t->c.v->traps[0x80].cs, 0xe033); /* a hypervisor selector is replaced */
	assert_int_equal(t->c.v->traps[1].addr, 0);
	/* A second table adds to the first. */
	info[0] = (struct trap_info){.vector = 6, .address = 0x3000};
	info[1].address = 0;
	assert_int_equal(call(t, __HYPERVISOR_set_trap_table, ARG(t, &info), 0, 0, 0), 0);
	assert_int_equal(t->c.v->traps[6].addr, 0x3000);
	assert_int_equal(t->c.v->traps[0].addr, 0x1000);
	assert_int_equal(call(t, __HYPERVISOR_set_trap_table, 0, 0, 0, 0), 0);
	assert_int_equal(t->c.v->traps[6].addr, 0);
	assert_int_equal(t->c.v->traps[0].addr, 0);
	dom_free(t);
}

static void trap_table_errors(void **state)
{
	struct dom *t = dom_new();
	struct trap_info info[2] = {{.vector = 3, .address = 0x800000000000ull}};

	assert_int_equal(call(t, __HYPERVISOR_set_trap_table, UNMAPPED, 0, 0, 0), -XEN_EFAULT);
	assert_int_equal(call(t, __HYPERVISOR_set_trap_table, ARG(t, &info), 0, 0, 0), -XEN_EINVAL);
	/* Never ending: runs into the hole. */
	memset(page_ptr(t, PG_HOLE - 1), 0, 4096);
	for (unsigned int i = 0; i < 256; i++)
		poke(t, VA(PG_HOLE - 1) + i * 16 + 8, 0x1000);
	assert_int_equal(call(t, __HYPERVISOR_set_trap_table, VA(PG_HOLE - 1), 0, 0, 0),
			 -XEN_EFAULT);
	dom_free(t);
}

static void long_trap_tables_are_continued(void **state)
{
	struct dom *t = dom_new();
	uint64_t rip = t->c.v->regs.rip;

	poke(t, VA(PG_DATA) + 8, 0x1000);
	poke(t, VA(PG_DATA) + 24, 0x1000);
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(call_on(&t->c, __HYPERVISOR_set_trap_table, VA(PG_DATA), 0, 0, 0),
			 __HYPERVISOR_set_trap_table);
	assert_int_equal(t->c.v->regs.rip, rip - 2);
	assert_int_equal(REG(t, RDI), VA(PG_DATA) + sizeof(struct trap_info));
	dom_free(t);
}

/* ---- callbacks --------------------------------------------------------------------------- */

static long reg_cb(struct dom *t, uint16_t type, uint16_t flags, uint64_t address)
{
	struct callback_register r = {.type = type, .flags = flags, .address = address};

	return op_call(t, __HYPERVISOR_callback_op, CALLBACKOP_register, &r, sizeof(r));
}

static long unreg_cb(struct dom *t, uint16_t type)
{
	struct callback_unregister r = {.type = type};

	return op_call(t, __HYPERVISOR_callback_op, CALLBACKOP_unregister, &r, sizeof(r));
}

static void callbacks_are_registered(void **state)
{
	struct dom *t = dom_new();
	struct core_vcpu *v = t->c.v;

	assert_int_equal(reg_cb(t, CALLBACKTYPE_event, 0, 0x1000), 0);
	assert_int_equal(reg_cb(t, CALLBACKTYPE_failsafe, CALLBACKF_mask_events, 0x2000), 0);
	assert_int_equal(reg_cb(t, CALLBACKTYPE_syscall, CALLBACKF_mask_events, 0x3000), 0);
	assert_int_equal(reg_cb(t, CALLBACKTYPE_syscall32, 0, 0x4000), 0);
	assert_int_equal(reg_cb(t, CALLBACKTYPE_sysenter, 0, 0x5000), 0);
	assert_int_equal(reg_cb(t, CALLBACKTYPE_nmi, 0, 0x6000), 0);
	assert_int_equal(v->cb_event.addr, 0x1000);
	assert_int_equal(v->cb_failsafe.addr, 0x2000);
	assert_int_equal(v->cb_failsafe.flags, CALLBACKF_mask_events);
	assert_int_equal(v->cb_syscall.addr, 0x3000);
	assert_int_equal(v->cb_syscall32.addr, 0x4000);
	assert_int_equal(v->cb_sysenter.addr, 0x5000);
	assert_int_equal(v->traps[2].addr, 0x6000);
	assert_int_equal(v->traps[2].flags, 4);

	assert_int_equal(reg_cb(t, 6, 0, 0x1000), -XEN_ENOSYS);
	assert_int_equal(reg_cb(t, CALLBACKTYPE_event, 0, 1ull << 47), -XEN_EINVAL);
	assert_int_equal(unreg_cb(t, CALLBACKTYPE_nmi), 0);
	assert_int_equal(v->traps[2].addr, 0);
	assert_int_equal(unreg_cb(t, CALLBACKTYPE_event), -XEN_EINVAL);
	assert_int_equal(unreg_cb(t, CALLBACKTYPE_syscall32), -XEN_EINVAL);
	assert_int_equal(unreg_cb(t, 77), -XEN_ENOSYS);
	assert_int_equal(call(t, __HYPERVISOR_callback_op, 2, VA(PG_ARG), 0, 0), -XEN_ENOSYS);
	assert_int_equal(call(t, __HYPERVISOR_callback_op, 0, UNMAPPED, 0, 0), -XEN_EFAULT);
	dom_free(t);
}

/* ---- bounce frames ----------------------------------------------------------------------- */

static void kernel_frame_layout(void **state)
{
	struct dom *t = dom_new();
	struct core_regs *r = &t->c.v->regs;

	set_trap(t, 13, 0);
	REG(t, RSP) = STACK_TOP - 20; /* not aligned */
	REG(t, RCX) = 0xc0;
	REG(t, R11) = 0x11;
	REG(t, RAX) = 0xaa;
	r->rip = VA(PG_CODE) + 5;
	r->rflags =
		0x202 | CORE_FLAG_TF | CORE_FLAG_AC | CORE_FLAG_NT | CORE_FLAG_DF | CORE_FLAG_ZF;
	core_exception(&t->c, 13, 0x1230, 0);

	struct bounced b = assert_bounced(t, 13, 0x1230);

	assert_int_equal(REG(t, RSP), ((STACK_TOP - 20) & ~15ull) - 64);
	assert_int_equal(b.rcx, 0xc0);
	assert_int_equal(b.r11, 0x11);
	assert_int_equal(b.rip, VA(PG_CODE) + 5);
	/* RPL 0 says "from the kernel"; upcalls were masked (they are at the start). */
	assert_int_equal(b.cs, 0xe030 | 1ull << 32);
	assert_int_equal(b.rsp, STACK_TOP - 20);
	assert_int_equal(b.ss, 0xe02b);
	assert_int_equal(b.rflags, 0x2 | CORE_FLAG_TF | CORE_FLAG_AC | CORE_FLAG_NT | CORE_FLAG_DF |
					   CORE_FLAG_ZF);
	assert_int_equal(r->rflags, 0x202 | CORE_FLAG_DF | CORE_FLAG_ZF);
	/* As after sysret. */
	assert_int_equal(REG(t, RCX), r->rip);
	assert_int_equal(REG(t, R11), r->rflags);
	assert_int_equal(REG(t, RAX), 0xaa);
	dom_free(t);
}

static void upcall_mask_is_the_interrupt_flag(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_info *info = core_vcpu_info(&t->c, t->c.v);

	set_trap(t, 0, 0);
	set_trap(t, 6, 4); /* masks events */
	info->evtchn_upcall_mask = 0;
	core_exception(&t->c, 0, 0, 0);
	struct bounced b = assert_bounced(t, 0, 0);

	assert_true(b.rflags & CORE_FLAG_IF);
	assert_int_equal(b.cs, 0xe030);
	assert_int_equal(info->evtchn_upcall_mask, 0);

	core_exception(&t->c, 6, 0, 0);
	b = assert_bounced(t, 6, 0);
	assert_true(b.rflags & CORE_FLAG_IF);
	assert_int_equal(info->evtchn_upcall_mask, 1);
	core_exception(&t->c, 6, 0, 0);
	b = assert_bounced(t, 6, 0);
	assert_false(b.rflags & CORE_FLAG_IF);
	assert_int_equal(b.cs >> 32, 1);
	dom_free(t);
}

static void iopl_shows_with_the_assist_only(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 0, 0);
	t->c.v->iopl = 1;
	core_exception(&t->c, 0, 0, 0);
	assert_int_equal(assert_bounced(t, 0, 0).rflags & CORE_FLAG_IOPL, 0);
	call(t, __HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_architectural_iopl, 0, 0);
	core_exception(&t->c, 0, 0, 0);
	assert_int_equal(assert_bounced(t, 0, 0).rflags & CORE_FLAG_IOPL, 0x1000);
	dom_free(t);
}

static void from_user_mode_the_stack_is_switched(void **state)
{
	struct dom *t = dom_new();
	struct core_regs *r = &t->c.v->regs;

	set_trap(t, 14, 0);
	r->gs_base = 0xaaaa0000;
	r->gs_base_other = 0xbbbb0000;
	enter_user(t);
	assert_int_equal(r->gs_base, 0xbbbb0000);
	assert_int_equal(call_on(&t->c, __HYPERVISOR_stack_switch, 0xe02b, STACK_TOP - 256, 0, 0),
			 0);
	REG(t, RSP) = 0x123; /* of no interest */
	unsigned int changes = t->root_changes;

	core_exception(&t->c, 14, 6, 0xdead000);
	struct bounced b = assert_bounced(t, 14, 6);

	assert_int_equal(t->root_changes, changes + 1);
	assert_int_equal(REG(t, RSP), STACK_TOP - 256 - 64);
	assert_int_equal(b.cs & 0xffff, FLAT_USER_CS64);
	assert_int_equal(b.rip, USER_VA);
	assert_int_equal(b.rsp, 0x123);
	assert_int_equal(r->gs_base, 0xaaaa0000);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->arch.cr2, 0xdead000);
	dom_free(t);
}

static void page_fault_error_says_which_mode(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 14, 0);
	/* Everything runs at ring 3, so the processor always sets the user bit. */
	core_exception(&t->c, 14, 4 | 2, 0x5555000);
	assert_bounced(t, 14, 2);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->arch.cr2, 0x5555000);
	assert_int_equal(t->ctl.vcpu[0].page_faults, 1);
	assert_int_equal(t->ctl.vcpu[0].exits_exception, 1);
	dom_free(t);
}

static void no_handler_crashes(void **state)
{
	struct dom *t = dom_new();

	t->c.v->regs.rip = 0x123456;
	core_exception(&t->c, 14, 2, 0x7000);
	assert_crashed(t, "#PF");
	assert_non_null(strstr(t->ctl.reason, "123456"));
	assert_int_equal(t->doorbells, 1);
	dom_free(t);
}

static void unwritable_stack_crashes(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	REG(t, RSP) = VA(PG_HOLE) + 0x1000;
	core_exception(&t->c, 13, 0, 0);
	assert_crashed(t, "kernel stack");
	dom_free(t);

	t = dom_new();
	set_trap(t, 13, 0);
	REG(t, RSP) = VA(PG_READONLY) + 0x1000;
	core_exception(&t->c, 13, 8, 0);
	assert_crashed(t, "kernel stack");
	dom_free(t);

	t = dom_new();
	set_trap(t, 13, 0);
	REG(t, RSP) = 0xffff800000001000ull; /* the hypervisor's */
	core_exception(&t->c, 13, 8, 0);
	assert_crashed(t, "kernel stack");
	dom_free(t);

	t = dom_new();
	set_trap(t, 13, 0);
	REG(t, RSP) = 0; /* wraps to the top: not mapped, but not the hypervisor's */
	core_exception(&t->c, 13, 8, 0);
	assert_crashed(t, "kernel stack");
	dom_free(t);
}

static void only_the_first_crash_counts(void **state)
{
	struct dom *t = dom_new();

	core_crash(&t->c, "first %d", 1);
	core_crash(&t->c, "second");
	core_shutdown(&t->c, 0);
	assert_string_equal(t->ctl.reason, "first 1");
	assert_int_equal(t->ctl.run_state, CORE_STATE_CRASHED);
	dom_free(t);
}

static void frames_may_cross_pages(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	REG(t, RSP) = VA(PG_ARG) + 16;
	core_exception(&t->c, 13, 0x10, 0);
	struct bounced b = assert_bounced(t, 13, 0x10);

	assert_int_equal(b.ss, 0xe02b);
	dom_free(t);
}

/* ---- single exceptions ------------------------------------------------------------------- */

static void every_vector_bounces_with_its_frame(void **state)
{
	static const unsigned int plain[] = {0, 4, 5, 6, 9, 16, 19};
	static const unsigned int with_error[] = {10, 11, 12, 13, 14, 17};
	struct dom *t = dom_new();

	CODE(t, 0x90); /* nothing to emulate for #GP and #UD */
	for (unsigned int i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		set_trap(t, plain[i], 0);
		core_exception(&t->c, plain[i], 0xffff, 0);
		assert_bounced(t, plain[i], 0);
		REG(t, RSP) = STACK_TOP;
	}
	for (unsigned int i = 0; i < sizeof(with_error) / sizeof(with_error[0]); i++) {
		set_trap(t, with_error[i], 0);
		core_exception(&t->c, with_error[i], 0x18, 0);
		assert_bounced(t, with_error[i], 0x18);
		REG(t, RSP) = STACK_TOP;
	}
	dom_free(t);
}

static void nm_needs_ts(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 7, 0);
	uint64_t rip = t->c.v->regs.rip;

	core_exception(&t->c, 7, 0, 0); /* the hypervisor's own lazy switching */
	assert_int_equal(t->c.v->regs.rip, rip);
	assert_int_equal(call(t, __HYPERVISOR_fpu_taskswitch, 1, 0, 0, 0), 0);
	assert_int_equal(t->c.v->cr0 & CORE_CR0_TS, CORE_CR0_TS);
	core_exception(&t->c, 7, 0, 0);
	assert_bounced(t, 7, 0);
	assert_int_equal(t->c.v->cr0 & CORE_CR0_TS, 0);
	call(t, __HYPERVISOR_fpu_taskswitch, 1, 0, 0, 0);
	call(t, __HYPERVISOR_fpu_taskswitch, 0, 0, 0, 0);
	assert_int_equal(t->c.v->cr0 & CORE_CR0_TS, 0);
	assert_int_equal(t->cpu_changes, 4);
	dom_free(t);
}

static void db_records_the_cause(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 1, 0);
	core_exception(&t->c, 1, 0, 0);
	assert_bounced(t, 1, 0);
	assert_int_equal(t->c.v->debugreg[6], 0xffff4ff0);
	core_exception(&t->c, 1, 2, 0); /* breakpoint 1 */
	assert_int_equal(t->c.v->debugreg[6], 0xffff4ff2);
	dom_free(t);
}

/* ---- software interrupts, system calls --------------------------------------------------- */

static void soft_interrupts_obey_the_dpl(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	set_trap(t, 0x40, 0);
	set_trap(t, 0x41, 1);
	set_trap(t, 3, 0);

	t->c.v->regs.rip = 0x1002;
	core_soft_interrupt(&t->c, 0x40, 2); /* the kernel counts as ring 1 */
	assert_int_equal(assert_bounced(t, 13, 0x40 * 8 + 2).rip, 0x1000);
	t->c.v->regs.rip = 0x1002;
	core_soft_interrupt(&t->c, 0x41, 2);
	assert_int_equal(assert_bounced(t, 0x41, 0).rip, 0x1002);
	t->c.v->regs.rip = 0x1001;
	core_soft_interrupt(&t->c, 3, 1);
	assert_int_equal(assert_bounced(t, 3, 0).rip, 0x1001);
	/* int 0x80 is open to all that has a handler for it. */
	set_trap(t, 0x80, 0);
	t->c.v->regs.rip = 0x1002;
	core_soft_interrupt(&t->c, 0x80, 2);
	assert_int_equal(assert_bounced(t, 0x80, 0).rip, 0x1002);
	t->c.v->traps[0x80] = (struct core_trap){0};
	t->c.v->regs.rip = 0x1002;
	core_soft_interrupt(&t->c, 0x80, 2);
	assert_int_equal(assert_bounced(t, 13, 0x80 * 8 + 2).rip, 0x1000);

	enter_user(t);
	t->c.v->kernel_sp = STACK_TOP;
	t->c.v->regs.rip = USER_VA + 2;
	core_soft_interrupt(&t->c, 0x41, 2);
	assert_int_equal(assert_bounced(t, 13, 0x41 * 8 + 2).rip, USER_VA);
	dom_free(t);
}

static void int80_from_user(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 0x80, 3);
	enter_user(t);
	t->c.v->kernel_sp = STACK_TOP;
	t->c.v->regs.rip = USER_VA + 2;
	core_soft_interrupt(&t->c, 0x80, 2);
	assert_int_equal(assert_bounced(t, 0x80, 0).rip, USER_VA + 2);
	dom_free(t);
}

static void user_syscalls_reach_their_callback(void **state)
{
	struct dom *t = dom_new();
	struct core_regs *r = &t->c.v->regs;
	struct vcpu_info *info = core_vcpu_info(&t->c, t->c.v);

	reg_cb(t, CALLBACKTYPE_syscall, CALLBACKF_mask_events, HANDLER(200));
	enter_user(t);
	t->c.v->kernel_sp = STACK_TOP;
	r->rip = USER_VA + 2;
	REG(t, RCX) = USER_VA + 2;
	REG(t, R11) = 0x602;
	r->rflags = 0x602; /* DF set */
	core_user_syscall(&t->c);
	assert_alive(t);
	assert_int_equal(r->rip, HANDLER(200));
	struct bounced b = bounce_get(t, false);

	assert_int_equal(b.rip, USER_VA + 2);
	assert_int_equal(b.rcx, USER_VA + 2);
	assert_int_equal(b.r11, 0x602);
	assert_int_equal(b.cs, FLAT_USER_CS64);
	assert_true(b.rflags & CORE_FLAG_DF);
	assert_false(r->rflags & CORE_FLAG_DF);
	assert_int_equal(info->evtchn_upcall_mask, 1);
	dom_free(t);
}

static void syscall32_has_its_own(void **state)
{
	struct dom *t = dom_new();

	reg_cb(t, CALLBACKTYPE_syscall, 0, HANDLER(200));
	reg_cb(t, CALLBACKTYPE_syscall32, 0, HANDLER(201));
	enter_user(t);
	t->c.v->kernel_sp = STACK_TOP;
	t->c.v->regs.cs = FLAT_USER_CS32;
	core_user_syscall(&t->c);
	assert_int_equal(t->c.v->regs.rip, HANDLER(201));
	dom_free(t);
}

static void syscall_without_callback_is_ud(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 6, 0);
	enter_user(t);
	t->c.v->kernel_sp = STACK_TOP;
	t->c.v->regs.rip = USER_VA + 2;
	core_user_syscall(&t->c);
	assert_int_equal(assert_bounced(t, 6, 0).rip, USER_VA);
	dom_free(t);
}

/* ---- iret -------------------------------------------------------------------------------- */

static void do_iret(struct dom *t, const struct iret_context *frame)
{
	REG(t, RSP) = STACK_TOP - 512;
	memcpy(t->ram + REG(t, RSP), frame, sizeof(*frame));
	call_on(&t->c, __HYPERVISOR_iret, 0, 0, 0, 0);
}

static void iret_to_the_kernel(void **state)
{
	struct dom *t = dom_new();
	struct core_regs *r = &t->c.v->regs;
	struct iret_context f = {
		.rax = 1,
		.r11 = 2,
		.rcx = 3,
		.flags = 0,
		.rip = VA(PG_CODE) + 9,
		.cs = 0xe030,
		.rflags = 0x3202 | CORE_FLAG_ZF,
		.rsp = STACK_TOP - 8,
		.ss = 0xe02b,
	};

	do_iret(t, &f);
	assert_alive(t);
	assert_int_equal(REG(t, RAX), 1);
	assert_int_equal(REG(t, R11), 2);
	assert_int_equal(REG(t, RCX), 3);
	assert_int_equal(r->rip, VA(PG_CODE) + 9);
	assert_int_equal(r->cs, 0xe033);
	assert_int_equal(r->ss, 0xe02b);
	assert_int_equal(r->rflags, 0x202 | CORE_FLAG_ZF);
	assert_int_equal(REG(t, RSP), STACK_TOP - 8);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask, 0);
	assert_int_equal(t->c.v->kernel_mode, 1);

	f.rflags = 2; /* IF clear: upcalls stay masked, the real flag is always set */
	do_iret(t, &f);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask, 1);
	assert_int_equal(r->rflags, 0x202);
	dom_free(t);
}

static void bounce_and_iret_are_inverse(void **state)
{
	struct dom *t = dom_new();
	struct core_regs before;

	set_trap(t, 0, 4);
	core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask = 0;
	for (unsigned int i = 0; i < 16; i++)
		t->c.v->regs.gpr[i] = 0x1000 + i;
	REG(t, RSP) = STACK_TOP - 100;
	t->c.v->regs.rflags = 0x246;
	before = t->c.v->regs;
	core_exception(&t->c, 0, 0, 0);

	/* What a handler does: pop rcx and r11, push what the hypercall wants. */
	struct bounced b = assert_bounced(t, 0, 0);
	struct iret_context f = {
		.rax = REG(t, RAX),
		.r11 = b.r11,
		.rcx = b.rcx,
		.rip = b.rip,
		.cs = b.cs & 0xffff,
		.rflags = b.rflags,
		.rsp = b.rsp,
		.ss = b.ss,
	};

	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask, 1);
	do_iret(t, &f);
	/* call_on() put arguments into these. */
	before.gpr[R_RDI] = before.gpr[R_RSI] = before.gpr[R_RDX] = before.gpr[R_R10] = 0;
	assert_memory_equal(&before, &t->c.v->regs, sizeof(before));
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask, 0);
	dom_free(t);
}

static void iret_to_user_by_sysret(void **state)
{
	struct dom *t = dom_new();
	struct core_regs *r = &t->c.v->regs;
	struct iret_context f = {
		.rax = 1,
		.r11 = 2,
		.rcx = 3,
		.flags = VGCF_IN_SYSCALL,
		.rip = USER_VA + 4,
		.cs = FLAT_USER_CS64,
		.rflags = 0x202,
		.rsp = USER_VA + 64,
		.ss = 0x2b,
	};

	enter_user(t);
	r->gs_base = 0x5000; /* while in user mode */
	core_toggle_mode(&t->c);
	do_iret(t, &f);
	assert_alive(t);
	assert_int_equal(t->c.v->kernel_mode, 0);
	assert_int_equal(r->gs_base, 0x5000);
	/* What the instruction leaves: rip in rcx, flags in r11, flat segments. */
	assert_int_equal(REG(t, RCX), USER_VA + 4);
	assert_int_equal(REG(t, R11), r->rflags);
	assert_int_equal(r->cs, FLAT_USER_CS64);
	assert_int_equal(r->ss, FLAT_USER_SS64);
	assert_int_equal(REG(t, RAX), 1);
	/* r11 is not the flags that come of it: bits that there are none of, but no IOPL and no VM.
	 */
	core_toggle_mode(&t->c);
	f.rflags = ~(uint64_t)(CORE_FLAG_TF | CORE_FLAG_IF);
	do_iret(t, &f);
	assert_int_equal(REG(t, R11), ~(uint64_t)(CORE_FLAG_TF | CORE_FLAG_IOPL | CORE_FLAG_VM));
	dom_free(t);
}

static void iret_without_user_tables_crashes(void **state)
{
	struct dom *t = dom_new();
	struct iret_context f = {
		.rip = USER_VA, .cs = FLAT_USER_CS64, .rflags = 0x202, .ss = FLAT_USER_SS64};

	do_iret(t, &f);
	assert_crashed(t, "user page tables");
	dom_free(t);
}

static void iret_frame_must_be_readable(void **state)
{
	struct dom *t = dom_new();

	REG(t, RSP) = VA(PG_HOLE) - 16;
	call_on(&t->c, __HYPERVISOR_iret, 0, 0, 0, 0);
	assert_crashed(t, "iret");
	dom_free(t);
}

/* The processor faults in the hypervisor's iretq; the guest sees a fault at the target. */
static void bad_targets_fault_there(void **state)
{
	static const struct {
		uint64_t rip, cs, ss, vector, error;
	} cases[] = {
		{0x800000000000ull, 0xe030, 0xe02b, 13, 0}, /* not canonical */
		{VA(PG_CODE), 0xe030, 0, 13, 0},	    /* null ss */
		{VA(PG_CODE), 0, 0xe02b, 13, 0},	    /* null cs */
		{VA(PG_CODE), 0xe028, 0xe02b, 13, 0xe028},  /* data as cs */
		{VA(PG_CODE), 0xe030, 0xe033, 13, 0xe030},  /* code as ss */
		{VA(PG_CODE), 0x18, 0xe02b, 13, 0x18},	    /* beyond the guest's GDT: zeroes */
		{VA(PG_CODE), 0x4c, 0xe02b, 13, 0x4c},	    /* no LDT */
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dom *t = dom_new();
		struct iret_context f = {
			.rax = 0x99,
			.rip = cases[i].rip,
			.cs = cases[i].cs,
			.rflags = 0x202,
			.rsp = STACK_TOP,
			.ss = cases[i].ss,
		};

		set_trap(t, 13, 0);
		do_iret(t, &f);
		struct bounced b =
			assert_bounced(t, (unsigned int)cases[i].vector, (uint32_t)cases[i].error);

		assert_int_equal(b.rip, cases[i].rip);
		assert_int_equal(REG(t, RAX), 0x99);
		dom_free(t);
	}
}

static void iret_sets_iopl_with_the_assist(void **state)
{
	struct dom *t = dom_new();
	struct iret_context f = {
		.rip = VA(PG_CODE), .cs = 0xe030, .rflags = 0x3202, .rsp = STACK_TOP, .ss = 0xe02b};

	do_iret(t, &f);
	assert_int_equal(t->c.v->iopl, 0);
	call(t, __HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_architectural_iopl, 0, 0);
	do_iret(t, &f);
	assert_int_equal(t->c.v->iopl, 3);
	dom_free(t);
}

/* ---- NMI --------------------------------------------------------------------------------- */

static void nmi_once_until_iret(void **state)
{
	struct dom *t = dom_new();
	struct iret_context f = {
		.rip = VA(PG_CODE), .cs = 0xe030, .rflags = 0x2, .rsp = STACK_TOP, .ss = 0xe02b};

	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_send_nmi, 0, 0, 0), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN); /* no callback: dropped */
	assert_int_equal(t->c.v->regs.rip, VA(PG_CODE));

	reg_cb(t, CALLBACKTYPE_nmi, 0, HANDLER(2));
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_send_nmi, 0, 0, 0), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_bounced(t, 2, 0);
	call(t, __HYPERVISOR_vcpu_op, VCPUOP_send_nmi, 0, 0, 0);
	t->c.v->regs.rip = 0x1234;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, 0x1234); /* still in the first one */
	do_iret(t, &f);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_bounced(t, 2, 0);
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_send_nmi, 0, VA(PG_ARG), 0),
			 -XEN_EINVAL);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trap_table_is_loaded_and_cleared),
		cmocka_unit_test(trap_table_errors),
		cmocka_unit_test(long_trap_tables_are_continued),
		cmocka_unit_test(callbacks_are_registered),
		cmocka_unit_test(kernel_frame_layout),
		cmocka_unit_test(upcall_mask_is_the_interrupt_flag),
		cmocka_unit_test(iopl_shows_with_the_assist_only),
		cmocka_unit_test(from_user_mode_the_stack_is_switched),
		cmocka_unit_test(page_fault_error_says_which_mode),
		cmocka_unit_test(no_handler_crashes),
		cmocka_unit_test(unwritable_stack_crashes),
		cmocka_unit_test(only_the_first_crash_counts),
		cmocka_unit_test(frames_may_cross_pages),
		cmocka_unit_test(every_vector_bounces_with_its_frame),
		cmocka_unit_test(nm_needs_ts),
		cmocka_unit_test(db_records_the_cause),
		cmocka_unit_test(soft_interrupts_obey_the_dpl),
		cmocka_unit_test(int80_from_user),
		cmocka_unit_test(user_syscalls_reach_their_callback),
		cmocka_unit_test(syscall32_has_its_own),
		cmocka_unit_test(syscall_without_callback_is_ud),
		cmocka_unit_test(iret_to_the_kernel),
		cmocka_unit_test(bounce_and_iret_are_inverse),
		cmocka_unit_test(iret_to_user_by_sysret),
		cmocka_unit_test(iret_without_user_tables_crashes),
		cmocka_unit_test(iret_frame_must_be_readable),
		cmocka_unit_test(bad_targets_fault_there),
		cmocka_unit_test(iret_sets_iopl_with_the_assist),
		cmocka_unit_test(nmi_once_until_iret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
