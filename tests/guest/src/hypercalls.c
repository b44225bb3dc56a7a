/* SPDX-License-Identifier: MIT */
/* Every hypercall number with nothing to say, xen_version, multicall, sched_op, physdev_op. */
#include "pvg.h"

static void numbers(void)
{
	static const u8 skip[] = {3, 23, 26,
				  12}; /* stack_switch(0, 0) and iret are real things to do */

	for (unsigned int i = 0; i < 64; i++) {
		bool s = false;

		for (unsigned int k = 0; k < ARRAY_SIZE(skip); k++)
			s |= skip[k] == i;
		if (!s)
			printf("hypercall %d, all zero: %le\n", i,
			       pvg_raw_syscall(i, 0, 0, 0, 0, 0));
	}
	R("hypercall 100", pvg_raw_syscall(100, 0, 0, 0, 0, 0));
	R("hypercall 2^31", pvg_raw_syscall(1ul << 31, 0, 0, 0, 0, 0));
	R("hypercall 17 + 2^32", pvg_raw_syscall(17 + (1ul << 32), 0, 0, 0, 0, 0));
	R("hypercall -1", pvg_raw_syscall(~0ul, 0, 0, 0, 0, 0));
}

static void versions(void)
{
	static char buf[1100];
	struct xen_feature_info f;
	struct xen_platform_parameters pp;
	long v = HC2(xen_version, XENVER_version, 0);

	printf("version %ld.%ld\n", v >> 16, v & 0xffff);
	R("extraversion", HC2(xen_version, XENVER_extraversion, buf) >= 0);
	R("compile_info", HC2(xen_version, XENVER_compile_info, buf) >= 0);
	R("capabilities", HC2(xen_version, XENVER_capabilities, buf));
	buf[15] = 0;
	printf("  starts with %s\n", buf);
	R("changeset", HC2(xen_version, XENVER_changeset, buf) >= 0);
	R("platform_parameters", HC2(xen_version, XENVER_platform_parameters, &pp));
	printf("  virt_start %lx\n", pp.virt_start);
	for (unsigned int i = 0; i < 4; i++) {
		long r;

		f.submap_idx = i;
		f.submap = 0x55;
		r = HC2(xen_version, XENVER_get_features, &f);
		printf("features %d: %le, %x\n", i, r, f.submap);
	}
	R("pagesize", HC2(xen_version, XENVER_pagesize, 0));
	R("guest_handle", HC2(xen_version, XENVER_guest_handle, buf));
	memset(buf, 'x', sizeof(buf));
	R("commandline", HC2(xen_version, XENVER_commandline, buf));
	buf[20] = 0;
	printf("  \"%s\"\n", buf);
	R("build_id", HC2(xen_version, XENVER_build_id, 0));
	R("command 20", HC2(xen_version, 20, buf));
	R("capabilities to a bad pointer", HC2(xen_version, XENVER_capabilities, 0x600000000000));
	R("get_features in Xen", HC2(xen_version, XENVER_get_features, 0xffff82d040200000));
}

static void multicalls(void)
{
	static multicall_entry_t m[8];

	memset(m, 0, sizeof(m));
	m[0].op = __HYPERVISOR_xen_version;
	m[0].args[0] = XENVER_pagesize;
	m[1].op = 63;
	m[2].op = __HYPERVISOR_multicall;
	m[2].args[0] = (u64)&m[0];
	m[2].args[1] = 1;
	m[3].op = __HYPERVISOR_xen_version;
	m[3].args[0] = XENVER_capabilities;
	m[3].args[1] = 0x600000000000;
	m[4].op = __HYPERVISOR_sched_op;
	m[4].args[0] = SCHEDOP_yield;
	m[5].op = __HYPERVISOR_xen_version;
	m[5].args[0] = XENVER_pagesize;
	m[6].op = 1ul << 40;
	m[7].op = __HYPERVISOR_set_timer_op;
	R("multicall of 8", HC2(multicall, m, 8));
	for (int i = 0; i < 8; i++)
		printf("  result %d: %le\n", i, (long)m[i].result);
	R("multicall of none", HC2(multicall, m, 0));
	R("multicall at a bad pointer", HC2(multicall, 0x600000000000, 1));
	R("multicall in Xen", HC2(multicall, 0xffff82d040200000, 1));
	R("multicall of none at a bad pointer", HC2(multicall, 0x600000000000, 0));
	R("multicall of 2^32-1 at a bad pointer", HC2(multicall, 0x600000000000, 0xffffffff));
	R("multicall of 2^63 at a bad pointer", HC2(multicall, 0x600000000000, 1ul << 63));
	/* the list ends in a page that is not there */
	{
		u8 *p = pvg_pages_alloc(2);
		multicall_entry_t *e = (multicall_entry_t *)(p + PAGE_SIZE) - 1;

		pvg_map(p + PAGE_SIZE, 0);
		e->op = __HYPERVISOR_xen_version;
		e->args[0] = XENVER_pagesize;
		R("multicall of 2, the second missing", HC2(multicall, e, 2));
		printf("  result 0: %le\n", (long)e->result);
		e->op = __HYPERVISOR_xen_version;
		e->result = 5;
		pvg_set_ro(p);
		R("multicall in a read-only page", HC2(multicall, e, 1));
		printf("  result 0: %le\n", (long)e->result);
	}
}

static void scheds(void)
{
	struct sched_remote_shutdown rs = {.domain_id = 0, .reason = SHUTDOWN_poweroff};
	struct sched_watchdog wd = {.id = 0, .timeout = 30};
	struct sched_pin_override pin = {.pcpu = 0};
	long id;

	R("sched yield", HC2(sched_op, SCHEDOP_yield, 0));
	R("remote_shutdown of domain 0", HC2(sched_op, SCHEDOP_remote_shutdown, &rs));
	rs.domain_id = 1000;
	R("remote_shutdown of nobody", HC2(sched_op, SCHEDOP_remote_shutdown, &rs));
	rs.domain_id = DOMID_SELF;
	R("remote_shutdown of self", HC2(sched_op, SCHEDOP_remote_shutdown, &rs));
	id = HC2(sched_op, SCHEDOP_watchdog, &wd);
	R("watchdog, new", id > 0);
	wd.id = (u32)id;
	wd.timeout = 0;
	R("watchdog, off", HC2(sched_op, SCHEDOP_watchdog, &wd));
	wd.id = 77;
	R("watchdog 77", HC2(sched_op, SCHEDOP_watchdog, &wd));
	R("pin_override", HC2(sched_op, SCHEDOP_pin_override, &pin));
	R("sched_op 99", HC2(sched_op, 99, 0));
	R("shutdown from a bad pointer", HC2(sched_op, SCHEDOP_shutdown, 0x600000000000));
	R("poll from a bad pointer", HC2(sched_op, SCHEDOP_poll, 0x600000000000));
}

static void physdevs(void)
{
	struct physdev_set_iobitmap io = {.nr_ports = 65536};
	struct physdev_set_iopl iopl = {.iopl = 3};
	struct physdev_irq_status_query q = {.irq = 1};
	struct physdev_eoi eoi = {.irq = 1};
	static u8 bitmap[8192];

	R("set_iopl 3", HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl));
	R("set_iobitmap", HC2(physdev_op, PHYSDEVOP_set_iobitmap, &io));
	set_xen_guest_handle(io.bitmap, bitmap);
	R("set_iobitmap with one", HC2(physdev_op, PHYSDEVOP_set_iobitmap, &io));
	io.nr_ports = 65537;
	R("set_iobitmap of 65537", HC2(physdev_op, PHYSDEVOP_set_iobitmap, &io));
	R("irq_status_query", HC2(physdev_op, PHYSDEVOP_irq_status_query, &q));
	q.irq = 100000;
	R("irq_status_query 100000", HC2(physdev_op, PHYSDEVOP_irq_status_query, &q));
	R("eoi 1", HC2(physdev_op, PHYSDEVOP_eoi, &eoi));
	R("apic_read", HC2(physdev_op, PHYSDEVOP_apic_read, bitmap));
	R("alloc_irq_vector", HC2(physdev_op, PHYSDEVOP_alloc_irq_vector, bitmap));
	R("pci_device_add", HC2(physdev_op, PHYSDEVOP_pci_device_add, bitmap));
	R("physdev_op 99", HC2(physdev_op, 99, bitmap));
	R("set_iopl from a bad pointer", HC2(physdev_op, PHYSDEVOP_set_iopl, 0x600000000000));
	R("console_io write", HC3(console_io, CONSOLEIO_write, 3, "abc"));
	R("console_io read", HC3(console_io, CONSOLEIO_read, 0, bitmap));
	R("console_io 5", HC3(console_io, 5, 0, bitmap));
	R("nmi_op", HC2(nmi_op, 0, bitmap));
}

/* Which registers a hypercall by bare syscall changes. */
static void registers(void)
{
	u64 r[16];

	__asm__ volatile("movq $1, %%rdi\n movq $2, %%rsi\n movq $3, %%rdx\n movq $4, %%r10\n"
			 "movq $5, %%r8\n movq $6, %%r9\n movq $7, %%r12\n movq $8, %%r13\n"
			 "movq $9, %%r14\n movq $10, %%r15\n movl $63, %%eax\n std\n syscall\n"
			 "pushfq\n popq 88(%%rbx)\n cld\n"
			 "movq %%rdi, (%%rbx)\n movq %%rsi, 8(%%rbx)\n movq %%rdx, 16(%%rbx)\n"
			 "movq %%r10, 24(%%rbx)\n movq %%r8, 32(%%rbx)\n movq %%r9, 40(%%rbx)\n"
			 "movq %%r12, 48(%%rbx)\n movq %%r13, 56(%%rbx)\n movq %%r14, 64(%%rbx)\n"
			 "movq %%r15, 72(%%rbx)\n movq %%rax, 80(%%rbx)\n movq %%r11, 96(%%rbx)\n"
			 "leaq 1f(%%rip), %%rax\n subq %%rax, %%rcx\n 1: movq %%rcx, 104(%%rbx)\n"
			 :
			 : "b"(r)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			   "r13", "r14", "r15", "memory", "cc");
	printf("registers after a failed hypercall: rdi %d rsi %d rdx %d r10 %d r8 %d r9 %d r12 %d"
	       " r13 %d r14 %d r15 %d\n",
	       (int)r[0], (int)r[1], (int)r[2], (int)r[3], (int)r[4], (int)r[5], (int)r[6],
	       (int)r[7], (int)r[8], (int)r[9]);
	printf("  rax %le, DF kept %d, r11 is rflags: %d\n", (long)r[10], (int)(r[11] >> 10 & 1),
	       (r[12] & ~0x8d5ul) == (r[11] & ~0x8d5ul));
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	registers();
	numbers();
	pvg_traps_init();
	pvg_events_init();
	pvg_sti();
	versions();
	multicalls();
	scheds();
	physdevs();
}
