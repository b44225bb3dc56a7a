/* SPDX-License-Identifier: MIT */
/* core_emulate(): privileged instructions as Xen emulates them, and what each mode may do. */
#include "harness.h"

#include <xen/physdev.h>

static void set_iopl(struct dom *t, uint32_t iopl)
{
	struct physdev_set_iopl op = {.iopl = iopl};

	assert_int_equal(op_call(t, __HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, &op, sizeof(op)),
			 0);
}

/* Every instruction of the list gives `vector` at the instruction, in kernel mode. */
static void faults(unsigned int vector, const uint8_t *bytes, size_t len)
{
	struct dom *t = dom_new();

	set_trap(t, vector, 0);
	code(t, bytes, len);
	core_emulate(&t->c);
	if (t->c.v->regs.rip != HANDLER(vector))
		fail_msg("%02x %02x %02x: no fault %u", bytes[0], bytes[1], bytes[2], vector);
	assert_int_equal(assert_bounced(t, vector, 0).rip, VA(PG_CODE));
	dom_free(t);
}
#define FAULTS(vector, ...)                                                                        \
	do {                                                                                       \
		static const uint8_t f_[] = {__VA_ARGS__};                                         \
		faults((vector), f_, sizeof(f_));                                                  \
	} while (0)

/* ---- forced emulation -------------------------------------------------------------------- */

static void forced_cpuid(void **state)
{
	struct dom *t = dom_new();

	CODE(t, 0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2);
	REG(t, RAX) = 0xffffffff00000000ull;
	REG(t, RCX) = 0;
	core_exception(&t->c, 6, 0, 0);
	assert_int_equal(t->c.v->regs.rip, VA(PG_CODE) + 7);
	assert_int_equal(REG(t, RAX), 0xd);
	assert_int_equal(REG(t, RBX), 0x756e6547);
	assert_int_equal(REG(t, RCX), 0x6c65746e);
	assert_int_equal(REG(t, RDX), 0x49656e69);
	/* The same through the translator's way in. */
	CODE(t, 0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2);
	REG(t, RAX) = 0x40000000;
	core_emulate(&t->c);
	assert_int_equal(t->c.v->regs.rip, VA(PG_CODE) + 7);
	assert_int_equal(REG(t, RBX), 0x566e6558);
	dom_free(t);
}

static void other_ud2_are_the_guests(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 6, 0);
	CODE(t, 0x0f, 0x0b);
	core_exception(&t->c, 6, 0, 0);
	assert_int_equal(assert_bounced(t, 6, 0).rip, VA(PG_CODE));
	CODE(t, 0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0x31); /* only cpuid is forced */
	core_exception(&t->c, 6, 0, 0);
	assert_bounced(t, 6, 0);
	CODE(t, 0x0f, 0x0b);
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);
	dom_free(t);
}

/* ---- control registers ------------------------------------------------------------------- */

static void control_registers_read(void **state)
{
	struct dom *t = dom_new();

	core_vcpu_info(&t->c, t->c.v)->arch.cr2 = 0xcafe000;
	EMULATE(t, 0x0f, 0x20, 0xc0); /* mov %cr0, %rax */
	assert_int_equal(REG(t, RAX), 0x80050033);
	EMULATE(t, 0x0f, 0x20, 0xd3); /* %cr2, %rbx */
	assert_int_equal(REG(t, RBX), 0xcafe000);
	EMULATE(t, 0x41, 0x0f, 0x20, 0xdf); /* %cr3, %r15 */
	assert_int_equal(REG(t, R15), VA(PG_L4));
	EMULATE(t, 0x0f, 0x20, 0x21); /* %cr4, %rcx; mod 0 counts as 3 */
	assert_int_equal(REG(t, RCX), 0x660);
	dom_free(t);
}

static void control_registers_write(void **state)
{
	struct dom *t = dom_new();

	REG(t, RAX) = 0x80050033 | CORE_CR0_TS;
	EMULATE(t, 0x0f, 0x22, 0xc0); /* mov %rax, %cr0 */
	assert_int_equal(t->c.v->cr0, 0x8005003b);
	EMULATE(t, 0x0f, 0x06); /* clts */
	assert_int_equal(t->c.v->cr0, 0x80050033);
	REG(t, RAX) = 0x1234000;
	EMULATE(t, 0x0f, 0x22, 0xd0); /* cr2 */
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->arch.cr2, 0x1234000);
	/* cr4: what the guest controls, as far as the policy has it; the rest stays. */
	REG(t, RAX) = ~0ull;
	EMULATE(t, 0x0f, 0x22, 0xe0);
	assert_int_equal(t->c.v->cr4,
			 0x660 | CORE_CR4_TSD | CORE_CR4_DE | CORE_CR4_FSGSBASE | CORE_CR4_OSXSAVE);
	REG(t, RAX) = 0;
	EMULATE(t, 0x0f, 0x22, 0xe0);
	assert_int_equal(t->c.v->cr4, 0x660);
	t->ctl.boot.nr_cpuid = 2; /* a policy without leaf 7 and 0xd */
	REG(t, RAX) = ~0ull;
	EMULATE(t, 0x0f, 0x22, 0xe0);
	assert_int_equal(t->c.v->cr4, 0x660 | CORE_CR4_TSD | CORE_CR4_DE);
	/* cr3: the same root again. */
	REG(t, RAX) = VA(PG_L4);
	EMULATE(t, 0x0f, 0x22, 0xd8);
	dom_free(t);
}

static void cr3_takes_another_root(void **state)
{
	struct dom *t = dom_new();
	unsigned int changes = t->root_changes;

	/* The code must stay mapped: give the user tables the kernel's part. */
	((uint64_t *)page_ptr(t, PG_USER_L3))[0] = VA(PG_L2) | 7;
	REG(t, RCX) = VA(PG_USER_L4);
	EMULATE(t, 0x0f, 0x22, 0xd9);
	assert_int_equal(t->c.v->kernel_root, PG_USER_L4);
	assert_int_equal(t->root_changes, changes + 1);
	dom_free(t);

	t = dom_new();
	set_trap(t, 13, 0);
	CODE(t, 0x0f, 0x22, 0xd9);
	REG(t, RCX) = VA(PG_DATA); /* a writable page is no root */
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	dom_free(t);
}

static void bad_control_registers_fault(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	CODE(t, 0x0f, 0x22, 0xc0);
	REG(t, RAX) = 0x33; /* paging off */
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	assert_int_equal(t->c.v->cr0, 0x80050033);
	dom_free(t);
	FAULTS(13, 0x0f, 0x20, 0xc8);	    /* cr1 */
	FAULTS(13, 0x0f, 0x22, 0xe8);	    /* cr5 */
	FAULTS(13, 0x44, 0x0f, 0x20, 0xc0); /* cr8: not emulated */
	FAULTS(6, 0xf0, 0x0f, 0x20, 0xc0);  /* lock */
}

/* ---- debug registers --------------------------------------------------------------------- */

static void debug_registers(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	set_trap(t, 6, 0);
	EMULATE(t, 0x0f, 0x21, 0xf8); /* mov %dr7, %rax */
	assert_int_equal(REG(t, RAX), 0x400);
	EMULATE(t, 0x0f, 0x21, 0xf0); /* dr6 */
	assert_int_equal(REG(t, RAX), 0xffff0ff0);
	REG(t, RBX) = 0x123000;
	EMULATE(t, 0x0f, 0x23, 0xdb); /* mov %rbx, %dr3 */
	assert_int_equal(t->c.v->debugreg[3], 0x123000);
	REG(t, RBX) = 0x1; /* reserved bits are made right */
	EMULATE(t, 0x0f, 0x23, 0xfb);
	assert_int_equal(t->c.v->debugreg[7], 0x401);
	REG(t, RBX) = 0xffff800000000000ull; /* a breakpoint in the hypervisor */
	CODE(t, 0x0f, 0x23, 0xc3);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	REG(t, RBX) = 0x2000; /* general detect */
	CODE(t, 0x0f, 0x23, 0xfb);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	EMULATE(t, 0x0f, 0x21, 0xe0); /* dr4 is dr6 without cr4.DE */
	assert_int_equal(REG(t, RAX), 0xffff0ff0);
	t->c.v->cr4 |= CORE_CR4_DE;
	CODE(t, 0x0f, 0x21, 0xe0);
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);
	dom_free(t);
}

static void debug_register_hypercalls(void **state)
{
	struct dom *t = dom_new();
#define SET(reg, value) call(t, __HYPERVISOR_set_debugreg, (reg), (value), 0, 0)
#define GET(reg)	call(t, __HYPERVISOR_get_debugreg, (reg), 0, 0, 0)

	assert_int_equal(SET(0, 0x7fffffffffff), 0);
	assert_int_equal(GET(0), 0x7fffffffffff);
	assert_int_equal(SET(1, 0xffff880000000000ull), 0);
	assert_int_equal(SET(2, 0x800000000000ull), -XEN_EPERM);
	assert_int_equal(SET(6, 0), 0);
	assert_int_equal(GET(6), 0xffff0ff0);
	assert_int_equal(SET(7, 0x20001), -XEN_EPERM); /* an I/O breakpoint needs cr4.DE */
	assert_int_equal(SET(7, 0x20000), 0);	       /* not armed */
	t->c.v->cr4 |= CORE_CR4_DE;
	assert_int_equal(SET(7, 0x20001), 0);
	assert_int_equal(GET(7), 0x20401);
	assert_int_equal(SET(4, 0), -XEN_ENODEV);
	assert_int_equal(SET(5, 0), -XEN_ENODEV);
	assert_int_equal(GET(4), -XEN_ENODEV);
	assert_int_equal(SET(8, 0), -XEN_ENODEV);
	assert_int_equal(GET(8), -XEN_ENODEV);
	dom_free(t);
}

/* ---- time stamp, cpuid, xcr0 ------------------------------------------------------------- */

static void rdtsc_and_rdtscp(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 6, 0);
	set_trap(t, 13, 0);
	t->tsc = 0x123456789abcdefull;
	REG(t, RAX) = REG(t, RDX) = ~0ull;
	EMULATE(t, 0x0f, 0x31);
	assert_int_equal(REG(t, RAX), 0x89abcdef);
	assert_int_equal(REG(t, RDX), 0x1234567);
	t->c.v->tsc_aux = 7;
	EMULATE(t, 0x0f, 0x01, 0xf9);
	assert_int_equal(REG(t, RCX), 7);

	t->ctl.boot.nr_cpuid = 1; /* a policy without it */
	CODE(t, 0x0f, 0x01, 0xf9);
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);
	dom_free(t);
}

static void tsd_is_for_user_mode(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	t->c.v->cr4 |= CORE_CR4_TSD;
	EMULATE(t, 0x0f, 0x31);
	enter_user(t);
	t->c.v->kernel_sp = STACK_TOP;
	CODE(t, 0x0f, 0x31);
	core_exception(&t->c, 13, 0, 0);
	assert_int_equal(assert_bounced(t, 13, 0).rip, USER_VA);
	dom_free(t);
}

static void xcr0(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	set_trap(t, 6, 0);
	REG(t, RAX) = 7;
	REG(t, RCX) = REG(t, RDX) = 0;
	CODE(t, 0x0f, 0x01, 0xd1); /* without OSXSAVE */
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);
	CODE(t, 0x0f, 0x01, 0xd0);
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);

	t->c.v->cr4 |= CORE_CR4_OSXSAVE;
	REG(t, RCX) = 0; /* it is in the frame; the handler finds its own address there */
	EMULATE(t, 0x0f, 0x01, 0xd1);
	assert_int_equal(t->c.v->xcr0, 7);
	REG(t, RAX) = 0;
	EMULATE(t, 0x0f, 0x01, 0xd0);
	assert_int_equal(REG(t, RAX), 7);

	static const uint32_t bad[] = {0, 2, 5 /* AVX without SSE */, 8, 0xe7};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		REG(t, RAX) = bad[i];
		REG(t, RCX) = 0;
		REG(t, RSP) = STACK_TOP;
		CODE(t, 0x0f, 0x01, 0xd1);
		core_emulate(&t->c);
		assert_bounced(t, 13, 0);
	}
	REG(t, RAX) = 3;
	REG(t, RCX) = 1; /* no such register */
	CODE(t, 0x0f, 0x01, 0xd1);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	assert_int_equal(t->c.v->xcr0, 7);
	dom_free(t);
}

/* ---- I/O --------------------------------------------------------------------------------- */

static void ports_need_iopl(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	CODE(t, 0xe4, 0x60); /* in $0x60, %al */
	core_emulate(&t->c);
	assert_int_equal(assert_bounced(t, 13, 0).rip, VA(PG_CODE));
	CODE(t, 0xfa); /* cli */
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	set_iopl(t, 1); /* the kernel counts as ring 1 */
	REG(t, RAX) = 0x1122334455667788;
	EMULATE(t, 0xe4, 0x60);
	assert_int_equal(REG(t, RAX), 0x11223344556677ff);
	EMULATE(t, 0x66, 0xed); /* in %dx, %ax */
	assert_int_equal(REG(t, RAX), 0x112233445566ffff);
	EMULATE(t, 0xed);
	assert_int_equal(REG(t, RAX), 0xffffffff);
	EMULATE(t, 0xe6, 0x80);
	EMULATE(t, 0xe7, 0x80);
	EMULATE(t, 0xee);
	EMULATE(t, 0x66, 0xef);
	EMULATE(t, 0xef);
	EMULATE(t, 0xec);
	/* cli and sti do nothing: the event mask is what counts. */
	uint8_t mask = core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask;

	EMULATE(t, 0xfb);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask, mask);
	EMULATE(t, 0xfa);
	assert_int_equal(t->c.v->regs.rflags, 0x202);
	dom_free(t);
}

static void architectural_iopl_is_ring_0(void **state)
{
	struct dom *t = dom_new();

	call(t, __HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_architectural_iopl, 0, 0);
	EMULATE(t, 0xec); /* IOPL 0 is enough for the kernel */
	EMULATE(t, 0xfa);
	dom_free(t);
}

static void user_io_needs_iopl_3_or_the_bitmap(void **state)
{
	struct dom *t = dom_new();
	struct physdev_set_iobitmap op = {.nr_ports = 0x70};
	uint8_t *bitmap = page_ptr(t, PG_DATA);

	set_trap(t, 13, 0);
	set_trap(t, 14, 0);
	set_iopl(t, 1);
	memset(bitmap, 0xff, 4096);
	bitmap[0x60 / 8] = 0xfe; /* 0x60 alone */
	set_xen_guest_handle(op.bitmap, (uint8_t *)VA(PG_DATA));
	assert_int_equal(
		op_call(t, __HYPERVISOR_physdev_op, PHYSDEVOP_set_iobitmap, &op, sizeof(op)), 0);
	enter_user(t);
#define USER(...)                                                                                  \
	do {                                                                                       \
		if (t->c.v->kernel_mode)                                                           \
			core_toggle_mode(&t->c);                                                   \
		t->c.v->kernel_sp = STACK_TOP;                                                     \
		CODE(t, __VA_ARGS__);                                                              \
		core_exception(&t->c, 13, 0, 0);                                                   \
	} while (0)

	USER(0xe4, 0x60);
	assert_int_equal(t->c.v->regs.rip, USER_VA + 2);
	assert_int_equal(REG(t, RAX) & 0xff, 0xff);
	USER(0x66, 0xe5, 0x60); /* 0x60 and 0x61 */
	assert_bounced(t, 13, 0);
	USER(0xe4, 0x70); /* beyond the bitmap */
	assert_bounced(t, 13, 0);
	USER(0xfa); /* cli at ring 3 */
	assert_bounced(t, 13, 0);
	t->c.v->iobitmap = VA(PG_HOLE);
	USER(0xe4, 0x60);
	assert_bounced(t, 13, 0); /* what is not there forbids */
	t->c.v->iopl = 3;
	USER(0xe4, 0x99);
	assert_int_equal(t->c.v->regs.rip, USER_VA + 2);
	dom_free(t);
}

static void latches(void **state)
{
	struct dom *t = dom_new();

	set_iopl(t, 1);
	REG(t, RAX) = 0x80001234;
	REG(t, RDX) = 0xcf8;
	EMULATE(t, 0xef);
	REG(t, RAX) = 0;
	EMULATE(t, 0xed);
	assert_int_equal(REG(t, RAX), 0x80001234);
	REG(t, RDX) = 0xcfc;
	EMULATE(t, 0xed);
	assert_int_equal(REG(t, RAX), 0xffffffff);
	REG(t, RAX) = 0x8f;
	EMULATE(t, 0xe6, 0x70);
	REG(t, RAX) = 0;
	EMULATE(t, 0xe4, 0x70);
	assert_int_equal(REG(t, RAX), 0x8f);
	EMULATE(t, 0xe4, 0x71);
	assert_int_equal(REG(t, RAX), 0xff);
	dom_free(t);
}

static void string_io(void **state)
{
	struct dom *t = dom_new();
	uint8_t *data = page_ptr(t, PG_DATA);

	set_trap(t, 14, 0);
	set_iopl(t, 1);
	memset(data, 0, 64);
	REG(t, RCX) = 5;
	REG(t, RDI) = VA(PG_DATA) + 8;
	EMULATE(t, 0xf3, 0x66, 0x6d); /* rep insw */
	assert_int_equal(REG(t, RCX), 0);
	assert_int_equal(REG(t, RDI), VA(PG_DATA) + 18);
	assert_int_equal(data[7], 0);
	assert_int_equal(data[8], 0xff);
	assert_int_equal(data[17], 0xff);
	assert_int_equal(data[18], 0);

	REG(t, RCX) = 3;
	REG(t, RSI) = VA(PG_DATA) + 32;
	t->c.v->regs.rflags |= CORE_FLAG_DF;
	EMULATE(t, 0xf3, 0x6e); /* rep outsb, downwards */
	assert_int_equal(REG(t, RSI), VA(PG_DATA) + 29);
	t->c.v->regs.rflags &= ~CORE_FLAG_DF;

	EMULATE(t, 0xf3, 0x6c); /* rcx is 0: nothing happens */
	assert_int_equal(REG(t, RDI), VA(PG_DATA) + 18);
	EMULATE(t, 0x6c); /* a single insb */
	assert_int_equal(REG(t, RDI), VA(PG_DATA) + 19);

	/* Into the hole: as far as it goes, then a page fault that can be restarted. */
	REG(t, RCX) = 10;
	REG(t, RDI) = VA(PG_HOLE) - 4;
	CODE(t, 0xf3, 0x6c);
	core_emulate(&t->c);

	struct bounced b = assert_bounced(t, 14, 2);

	assert_int_equal(b.rip, VA(PG_CODE));
	assert_int_equal(b.rcx, 6);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->arch.cr2, VA(PG_HOLE));
	assert_int_equal(REG(t, RDI), VA(PG_HOLE));
	dom_free(t);
}

static void endless_string_io_is_interruptible(void **state)
{
	struct dom *t = dom_new();
	unsigned int rounds = 0;

	set_iopl(t, 1);
	REG(t, RCX) = 2000;
	REG(t, RDI) = VA(PG_FREE);
	CODE(t, 0xf3, 0x6c);
	do {
		assert_int_equal(t->c.v->regs.rip, VA(PG_CODE));
		core_emulate(&t->c);
		rounds++;
	} while (t->c.v->regs.rip == VA(PG_CODE));
	assert_int_equal(rounds, 4);
	assert_int_equal(REG(t, RCX), 0);
	assert_int_equal(t->c.v->regs.rip, VA(PG_CODE) + 2);
	dom_free(t);
}

static void physdev_answers(void **state)
{
	struct dom *t = dom_new();
	struct physdev_set_iopl iopl = {.iopl = 4};
	struct physdev_set_iobitmap bitmap = {.nr_ports = 65537};
	struct physdev_irq_status_query query = {.irq = 3};
	struct physdev_eoi eoi = {.irq = 3};
#define PHYSDEV(cmd, obj) op_call(t, __HYPERVISOR_physdev_op, (cmd), (obj), sizeof(*(obj)))

	assert_int_equal(PHYSDEV(PHYSDEVOP_set_iopl, &iopl), -XEN_EINVAL);
	assert_int_equal(PHYSDEV(PHYSDEVOP_set_iobitmap, &bitmap), -XEN_EINVAL);
	bitmap.nr_ports = 1;
	set_xen_guest_handle(bitmap.bitmap, (uint8_t *)0xffff800000000000ull);
	assert_int_equal(PHYSDEV(PHYSDEVOP_set_iobitmap, &bitmap), -XEN_EINVAL);
	assert_int_equal(PHYSDEV(PHYSDEVOP_eoi, &eoi), -XEN_EINVAL);
	assert_int_equal(PHYSDEV(PHYSDEVOP_irq_status_query, &query), 0);
	assert_int_equal(query.flags, XENIRQSTAT_needs_eoi);
	query.irq = 1u << 30;
	assert_int_equal(PHYSDEV(PHYSDEVOP_irq_status_query, &query), -XEN_EINVAL);
	struct physdev_map_pirq map = {.domid = DOMID_SELF};

	assert_int_equal(PHYSDEV(PHYSDEVOP_map_pirq, &map), -XEN_EPERM);
	map.domid = 1000;
	assert_int_equal(PHYSDEV(PHYSDEVOP_map_pirq, &map), -XEN_ESRCH);
	assert_int_equal(PHYSDEV(PHYSDEVOP_apic_read, &eoi), -XEN_EPERM);
	assert_int_equal(PHYSDEV(PHYSDEVOP_pci_device_add, &eoi), -XEN_EPERM);
	assert_int_equal(PHYSDEV(999, &eoi), -XEN_ENOSYS);
	assert_int_equal(call(t, __HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, UNMAPPED, 0, 0),
			 -XEN_EFAULT);
	assert_int_equal(call(t, __HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, UNMAPPED, 0, 0),
			 -XEN_EFAULT);
	dom_free(t);
}

/* ---- what is refused --------------------------------------------------------------------- */

static void refused_instructions(void **state)
{
	FAULTS(13, 0xf4);		   /* hlt */
	FAULTS(13, 0x0f, 0x08);		   /* invd */
	FAULTS(13, 0x0f, 0x07);		   /* sysret */
	FAULTS(13, 0x48, 0x0f, 0x07);	   /* sysretq */
	FAULTS(13, 0x0f, 0x35);		   /* sysexit */
	FAULTS(13, 0x0f, 0x34);		   /* sysenter without a callback */
	FAULTS(13, 0x0f, 0x33);		   /* rdpmc */
	FAULTS(13, 0x0f, 0x01, 0x38);	   /* invlpg (%rax) */
	FAULTS(13, 0x0f, 0x01, 0xf8);	   /* swapgs */
	FAULTS(13, 0x0f, 0x01, 0xf0);	   /* lmsw %ax */
	FAULTS(13, 0x0f, 0x01, 0x10);	   /* lgdt (%rax) */
	FAULTS(13, 0x0f, 0x01, 0x18);	   /* lidt (%rax) */
	FAULTS(13, 0x0f, 0x00, 0xd0);	   /* lldt %ax */
	FAULTS(13, 0x0f, 0x00, 0xd8);	   /* ltr %ax */
	FAULTS(6, 0x0f, 0x01, 0xc8);	   /* monitor */
	FAULTS(6, 0x0f, 0x01, 0xc9);	   /* mwait */
	FAULTS(6, 0x0f, 0x01, 0xc1);	   /* vmcall */
	FAULTS(6, 0x0f, 0x01, 0xca);	   /* clac */
	FAULTS(6, 0x0f, 0x01, 0xcb);	   /* stac */
	FAULTS(6, 0x0f, 0xaa);		   /* rsm */
	FAULTS(6, 0x0f, 0x0b);		   /* ud2 */
	FAULTS(6, 0x0f, 0x38, 0x82, 0x00); /* invpcid */
	FAULTS(6, 0x06);		   /* push %es: gone in 64-bit mode */
	FAULTS(6, 0xf0, 0x0f, 0x31);	   /* lock rdtsc */
	FAULTS(13, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	       0x66, 0x66, 0x0f, 0x31); /* longer than 15 bytes */
}

/* The processor's #GP for all of these in user mode goes to the guest, not to the emulator. */
static void privileged_from_user_is_gp(void **state)
{
	static const uint8_t insns[][4] = {
		{0x0f, 0x20, 0xc0}, {0x0f, 0x22, 0xc0}, {0x0f, 0x21, 0xc0},
		{0x0f, 0x23, 0xc0}, {0x0f, 0x06},	{0x0f, 0x09},
		{0x0f, 0x30},	    {0x0f, 0x32},	{0xf4},
	};
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	enter_user(t);
	for (unsigned int i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		if (t->c.v->kernel_mode)
			core_toggle_mode(&t->c);
		t->c.v->kernel_sp = STACK_TOP;
		code(t, insns[i], 4);
		core_exception(&t->c, 13, 0, 0);
		assert_int_equal(assert_bounced(t, 13, 0).rip, USER_VA);
	}
	dom_free(t);
}

static void gp_with_an_error_code_is_the_guests(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 13, 0);
	CODE(t, 0x0f, 0x06); /* would be emulated */
	core_exception(&t->c, 13, 0x20, 0);
	assert_bounced(t, 13, 0x20);
	CODE(t, 0x0f, 0x06);
	core_exception(&t->c, 13, 0, 0);
	assert_int_equal(t->c.v->regs.rip, VA(PG_CODE) + 2);
	CODE(t, 0x8b, 0x00); /* a mov: #GP for its address */
	core_exception(&t->c, 13, 0, 0);
	assert_bounced(t, 13, 0);
	dom_free(t);
}

static void unreadable_code_faults(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 14, 0);
	t->c.v->regs.rip = VA(PG_HOLE) - 1;
	*((uint8_t *)t->ram + VA(PG_HOLE) - 1) = 0x0f;
	core_emulate(&t->c);
	assert_int_equal(assert_bounced(t, 14, 0).rip, VA(PG_HOLE) - 1);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->arch.cr2, VA(PG_HOLE));
	dom_free(t);
}

static void single_step_traps_behind_it(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 1, 0);
	t->c.v->regs.rflags |= CORE_FLAG_TF;
	CODE(t, 0x0f, 0x06);
	core_emulate(&t->c);
	struct bounced b = assert_bounced(t, 1, 0);

	assert_int_equal(b.rip, VA(PG_CODE) + 2);
	assert_true(b.rflags & CORE_FLAG_TF);
	assert_int_equal(t->c.v->debugreg[6] & 0x4000, 0x4000);
	dom_free(t);
}

static void traps_by_instruction(void **state)
{
	struct dom *t = dom_new();

	set_trap(t, 3, 0);
	set_trap(t, 1, 0);
	set_trap(t, 0x50, 1);
	CODE(t, 0xcc);
	core_emulate(&t->c);
	assert_int_equal(assert_bounced(t, 3, 0).rip, VA(PG_CODE) + 1);
	CODE(t, 0xcd, 0x50);
	core_emulate(&t->c);
	assert_int_equal(assert_bounced(t, 0x50, 0).rip, VA(PG_CODE) + 2);
	CODE(t, 0xf1);
	core_emulate(&t->c);
	assert_int_equal(assert_bounced(t, 1, 0).rip, VA(PG_CODE) + 1);
	CODE(t, 0x0f, 0x05); /* syscall: a hypercall */
	REG(t, RAX) = __HYPERVISOR_xen_version;
	REG(t, RDI) = 0;
	core_emulate(&t->c);
	assert_int_equal(t->c.v->regs.rip, VA(PG_CODE) + 2);
	assert_int_equal(REG(t, RAX), 4 << 16 | 17);
	assert_int_equal(REG(t, RCX), VA(PG_CODE) + 2);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forced_cpuid),
		cmocka_unit_test(other_ud2_are_the_guests),
		cmocka_unit_test(control_registers_read),
		cmocka_unit_test(control_registers_write),
		cmocka_unit_test(cr3_takes_another_root),
		cmocka_unit_test(bad_control_registers_fault),
		cmocka_unit_test(debug_registers),
		cmocka_unit_test(debug_register_hypercalls),
		cmocka_unit_test(rdtsc_and_rdtscp),
		cmocka_unit_test(tsd_is_for_user_mode),
		cmocka_unit_test(xcr0),
		cmocka_unit_test(ports_need_iopl),
		cmocka_unit_test(architectural_iopl_is_ring_0),
		cmocka_unit_test(user_io_needs_iopl_3_or_the_bitmap),
		cmocka_unit_test(latches),
		cmocka_unit_test(string_io),
		cmocka_unit_test(endless_string_io_is_interruptible),
		cmocka_unit_test(physdev_answers),
		cmocka_unit_test(refused_instructions),
		cmocka_unit_test(privileged_from_user_is_gp),
		cmocka_unit_test(gp_with_an_error_code_is_the_guests),
		cmocka_unit_test(unreadable_code_faults),
		cmocka_unit_test(single_step_traps_behind_it),
		cmocka_unit_test(traps_by_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
