/* SPDX-License-Identifier: MIT */
/*
 * Random walks over physdev_op, console_io and port I/O: privilege levels, bitmaps in good and bad
 * places, then in, out, ins, outs, cli, sti and popf of the kernel and of a program; interrupts
 * nobody has; the page for EOIs.
 */
#include "pvg.h"

#define WALKS	8
#define STEPS	640
#define HOLE	0x600000000000ul
#define XEN	0xffff82d040200000ul
#define PROGRAM 0x400000ul /* code, data, a read-only page, a hole */
#define AREA	0x800	   /* of the data page: what string instructions read and write */

/* What the code loads and leaves; at the start of the data page. */
struct io {
	u64 rdx, rax, rdi, rsi, rcx, flags, pad[2];
	u64 rax_after, rcx_after, rdi_after, rsi_after, flags_after;
};

static domid_t self;
static u8 *code, *data; /* data, and behind it a read-only page and a hole */
static u8 *bits;	/* the same for the bitmap: what `ins` writes must not change it midway */
static u64 extra;
static u8 kernel_stack[2 * PAGE_SIZE] __page;

static u64 address(void)
{
	static const u64 a[] = {HOLE, XEN, 1ul << 47,	       (1ul << 47) - 4096,	 1ul << 63,
				~0ul, 0,   0xffff800000000000, 0xffff880000000000 - 8192};
	const u64 b[] = {
		(u64)data + AREA,      (u64)data + AREA + 1,	      (u64)data + PAGE_SIZE - 1,
		(u64)data + PAGE_SIZE, (u64)data + 2 * PAGE_SIZE - 8, (u64)data + 2 * PAGE_SIZE};

	return pvg_rnd() % 3 ? PICK(b) : PICK(a);
}

static u64 bitmap(void)
{
	u64 at = address();

	return at - (u64)data < 3 * PAGE_SIZE ? at - (u64)data + (u64)bits : at;
}

static u64 port(void)
{
	static const u32 p[] = {0,     0x20,  0x3f8, 0x6f,  0x70,   0x70,   0x71,    0x72,
				0x42,  0x43,  0x61,  0x80,  0xcf7,  0xcf8,  0xcf8,   0xcf9,
				0xcfc, 0xcfe, 0xcff, 0xfff, 0x7ffe, 0x7fff, 0x10070, 0xffff};

	return PICK(p);
}

static long console(void)
{
	u64 cmd = pvg_rnd() % 4 | (pvg_rnd() % 8 ? 0 : 1ul << 32),
	    n = pvg_rnd() & 1 ? pvg_rnd() % 64 : ~0ul >> pvg_rnd() % 64;
	u64 at = address();

	SAY("console_io %lx %lx %lx", cmd, n, at);
	return HC3(console_io, cmd, n, at);
}

/* What was asked for, read-only or half there: as structures are handed over. */
static void *place(const void *op, unsigned int size)
{
	unsigned int k = (unsigned int)(pvg_rnd() % 12);
	u8 *at = data + AREA;

	if (k == 0)
		return (void *)address();
	if (k == 1) /* writable, then not */
		at = data + PAGE_SIZE - size / 2;
	memcpy(at, op, k == 1 ? size / 2 : size);
	return at;
}

static long call(unsigned int cmd, const void *op, unsigned int size)
{
	void *at = place(op, size);
	long r;

	if (pvg_rnd() % 8) {
		SAY("physdev_op %d at %lx", cmd, (u64)at);
		r = HC2(physdev_op, cmd, at);
	} else {
		struct {
			u32 cmd, pad;
			u8 u[64];
		} old = {.cmd = cmd};

		SAY("physdev_op_compat %d", cmd);
		memcpy(old.u, op, size);
		r = pvg_raw_syscall(19, (u64)&old, 0, 0, 0, 0);
		at = old.u;
	}
	/* The number of a frame is the host's matter. */
	if (cmd == PHYSDEVOP_pirq_eoi_gmfn_v1 || cmd == PHYSDEVOP_pirq_eoi_gmfn_v2) {
		memset(data + AREA, 0, 64);
		memset(data + PAGE_SIZE - 32, 0, 32);
		return r;
	}
	SAY(" [%x %x]", ((u32 *)(data + AREA))[0], ((u32 *)(data + AREA))[1]);
	/* What has not changed may tell about this domain's number. */
	if ((u64)at >= (u64)data && (u64)at < (u64)data + PAGE_SIZE - size)
		for (unsigned int i = 0; i < size / 4; i++)
			if (((u32 *)at)[i] != ((const u32 *)op)[i])
				extra = pvg_mix(extra + i, ((u32 *)at)[i]);
	memset(data + AREA, 0, 64);
	memset(data + PAGE_SIZE - 32, 0, 32);
	return r;
}

static long privilege(void)
{
	struct physdev_set_iopl iopl = {
		.iopl = (u32)(pvg_rnd() % 8 ? pvg_rnd() % 4 : pvg_rnd() % 3 + 4)};
	struct physdev_set_iobitmap map = {0};
	static const u32 n[] = {0,	1,	2,	0x71,  0x72,  0x3f9, 0xcf8, 0xcfc, 0xd00,
				0x7fff, 0x8000, 0xffff, 65536, 65536, 65536, 65537, ~0u};

	if (pvg_rnd() & 1) {
		SAY("iopl %d; ", iopl.iopl);
		return call(PHYSDEVOP_set_iopl, &iopl, sizeof(iopl));
	}
	map.nr_ports = PICK(n);
	set_xen_guest_handle(map.bitmap, (u8 *)bitmap());
	SAY("%d ports at %lx; ", map.nr_ports, (u64)map.bitmap.p);
	return call(PHYSDEVOP_set_iobitmap, &map, sizeof(map));
}

static domid_t domid(void)
{
	const domid_t d[] = {DOMID_SELF, DOMID_SELF, self, 0, 1000, DOMID_IO, DOMID_INVALID};

	return PICK(d);
}

static u32 irq(void)
{
	static const u32 i[] = {0,  1,	8,  15, 16, 17, 18, 19,	 23,	   24,
				47, 48, 76, 77, 78, 79, 80, 255, 1u << 31, ~0u};

	return PICK(i);
}

static long interrupts(void)
{
	union {
		struct physdev_eoi eoi;
		struct physdev_irq_status_query status;
		struct physdev_get_free_pirq free;
		struct physdev_map_pirq map;
		struct physdev_unmap_pirq unmap;
		struct physdev_setup_gsi gsi;
		struct physdev_irq vector;
		struct physdev_apic apic;
		struct physdev_pirq_eoi_gmfn page;
		struct physdev_pci_device_add pci;
		struct evtchn_bind_pirq bind;
		u64 words[8];
	} u;
	const char *name;

	memset(&u, 0, sizeof(u));
	switch (pvg_rnd() % 12) {
	case 0:
	case 1:
		u.eoi.irq = irq();
		SAY("irq %d; ", u.eoi.irq);
		return call(PHYSDEVOP_eoi, &u, sizeof(u.eoi));
	case 2:
		u.status.irq = irq();
		u.status.flags = (u32)pvg_rnd();
		SAY("irq %d; ", u.status.irq);
		return call(PHYSDEVOP_irq_status_query, &u, sizeof(u.status));
	case 3:
	case 4:
		u.free.type = (int)(pvg_rnd() % 6);
		u.free.pirq = 77;
		SAY("type %d; ", u.free.type);
		return call(PHYSDEVOP_get_free_pirq, &u, sizeof(u.free));
	case 5:
		u.map.domid = domid();
		u.map.type = (int)(pvg_rnd() % 5);
		u.map.index = (int)irq();
		u.map.pirq = (int)irq();
		return call(PHYSDEVOP_map_pirq, &u, sizeof(u.map));
	case 6:
		u.unmap.domid = domid();
		u.unmap.pirq = (int)irq();
		return call(PHYSDEVOP_unmap_pirq, &u, sizeof(u.unmap));
	case 7:
		u.bind.pirq = irq();
		u.bind.flags = (u32)(pvg_rnd() % 3);
		SAY("bind_pirq %d", u.bind.pirq);
		return HC2(event_channel_op, EVTCHNOP_bind_pirq, &u);
	case 8:
	case 9:
		u.page.gmfn = pvg_pool_frame(&name);
		SAY("%s; ", name);
		return call(pvg_rnd() & 1 ? PHYSDEVOP_pirq_eoi_gmfn_v1 : PHYSDEVOP_pirq_eoi_gmfn_v2,
			    &u, sizeof(u.page));
	case 10: {
		u64 f = pvg_pool_frame(&name);

		SAY("pin or unpin %s", name);
		if (f == pvg_window_mfn || f == pvg_root_mfn())
			return 0;
		return pvg_mmuext(pvg_rnd() & 1 ? MMUEXT_PIN_L1_TABLE : MMUEXT_UNPIN_TABLE, f, 0);
	}
	default:
		for (unsigned int i = 0; i < 8; i++)
			u.words[i] = pvg_rnd() % 4;
		u.words[0] |= 1u << 31;
		return call((unsigned int)(pvg_rnd() % 40) | 1u << 5 * (pvg_rnd() % 8), &u,
			    sizeof(u.words));
	}
}

static unsigned int emit(u8 *at, const char *bytes, unsigned int n)
{
	memcpy(at, bytes, n);
	return n;
}
#define EMIT(bytes) p += emit(p, bytes, sizeof(bytes) - 1)

static const char *const insns[] = {
	"\xec",
	"\xed",
	"\x66\xed",
	"\xee",
	"\xef",
	"\x66\xef",
	"\x6c",
	"\x6d",
	"\x66\x6d",
	"\x6e",
	"\x6f",
	"\x66\x6f",
	"\xf3\x6c",
	"\xf3\x6d",
	"\xf3\x66\x6d",
	"\xf3\x6e",
	"\xf3\x6f",
	"\xf3\x66\x6f",
	"\xf2\x6c",
	"\x67\x6c",
	"\x67\xf3\x6e",
	"\x48\xed",
	"\x66\x48\xef",
	"\x48\x6d",
	"\xe4\x70",
	"\xe5\x70",
	"\x66\xe5\x20",
	"\xe6\x70",
	"\xe7\x70",
	"\x66\xe7\x72",
	"\xfa",
	"\xfb",
	"\xf4",
	"\x0f\x06",
	"\x0f\x09",
	"\x0f\x33",
	"\x41\xff\x70\x28\x9d",			    /* push flags; popf */
	"\x41\xff\x70\x28\x66\x9d\x48\x83\xc4\x06", /* the same, 16 bits of it */
	"\xf0\xec",
	"\xf3\xec",
	"\x64\x6e",
	"\x36\xf3\x6f",
};

/* The instruction with registers as in `struct io`, and back. */
static void assemble(const char *insn, bool user)
{
	u8 *p = code;

	if (user)
		EMIT("\x49\x89\xc8"); /* mov %rcx, %r8 */
	else
		EMIT("\x49\x89\xf8"); /* mov %rdi, %r8 */
	EMIT("\x49\x8b\x10\x49\x8b\x40\x08\x49\x8b\x78\x10\x49\x8b\x70\x18\x49\x8b\x48\x20");
	p += emit(p, insn, (unsigned int)strlen(insn));
	EMIT("\x49\x89\x40\x40\x49\x89\x48\x48\x49\x89\x78\x50\x49\x89\x70\x58\x9c\x41\x8f\x40"
	     "\x60\xfc");
	if (user)
		EMIT("\x0f\x05");
	else
		EMIT("\xc3");
}

static long execute(void)
{
	static const u16 counts[] = {0, 0, 1, 1, 2, 3, 8, 100, 600, 1024, 1025, 2000};
	static const u64 flags[] = {2, 0x202, 0x1202, 0x2202, 0x3202, 0x3002, 0x602, 0x202};
	struct io *io = (struct io *)data;
	const char *insn = PICK(insns);
	bool user = pvg_rnd() & 1, trapped;
	u64 base = user ? PROGRAM + PAGE_SIZE : (u64)data,
	    top = pvg_rnd() % 8 ? 0 : pvg_rnd() << 32;
	const struct trap_frame *f;

	assemble(insn, user);
	io->rdx = port() | top;
	io->rax = 0x1122334455667788;
	io->rdi = address();
	io->rsi = address();
	/* A program's data are elsewhere. */
	if (io->rdi - (u64)data < 3 * PAGE_SIZE)
		io->rdi += base - (u64)data;
	if (io->rsi - (u64)data < 3 * PAGE_SIZE)
		io->rsi += base - (u64)data;
	io->rcx = PICK(counts) | top;
	if (top && insn[0] == '\xf3')
		io->rcx = PICK(counts);
	io->flags = PICK(flags);
	memset(&io->rax_after, 0, 40);
	SAY("%s %x %x %x, dx %lx di %lx si %lx cx %lx flags %lx", user ? "user" : "kernel",
	    (u8)insn[0], (u8)insn[1], insn[1] ? (u8)insn[2] : 0, io->rdx, io->rdi, io->rsi, io->rcx,
	    io->flags);
	if (user) {
		pvg_user_defaults(PROGRAM, PROGRAM + PAGE_SIZE + AREA);
		pvg_user_frame.rcx = base;
		pvg_user_go();
		trapped = pvg_user.how == PVG_USER_TRAP;
		f = &pvg_user.f;
	} else {
		trapped = pvg_try3((void (*)(u64, u64, u64))(void *)code, base, 0, 0);
		f = &pvg_caught.f;
	}
	extra = pvg_mix(extra, VCPU0->evtchn_upcall_mask);
	pvg_cli();
	if (trapped) {
		extra = pvg_mix(extra, f->vector << 32 ^ f->error);
		extra = pvg_mix(extra, f->rip & 4095);
		extra = pvg_mix(extra, f->rcx);
		extra = pvg_mix(extra, f->rdi);
		extra = pvg_mix(extra, f->rsi);
		if (f->vector == 14)
			extra = pvg_mix(extra, user ? pvg_user.cr2 : pvg_caught.cr2);
		SAY(" rcx %lx rdi %lx rsi %lx", f->rcx, f->rdi, f->rsi);
		SAY(" %s %lx cr2 %lx", pvg_vector_name((unsigned int)f->vector), f->error,
		    f->vector == 14 ? user ? pvg_user.cr2 : pvg_caught.cr2 : 0);
		return f->vector == 14 ? -14 : f->vector == 13 ? -3 : -62;
	}
	SAY(" rax %lx rcx %lx rdi %lx rsi %lx flags %lx", io->rax_after, io->rcx_after,
	    io->rdi_after, io->rsi_after, io->flags_after);
	for (unsigned int i = 0; i < 5; i++)
		extra = pvg_mix(extra, (&io->rax_after)[i]);
	return 0;
}

static long one(void)
{
	switch (pvg_rnd() % 16) {
	case 0:
		return console();
	case 1 ... 3:
		return privilege();
	case 4 ... 7:
		return interrupts();
	case 8: /* the bitmap */
		for (unsigned int i = 0; i < 4; i++)
			bits[AREA + port() / 8 % AREA] = (u8)(pvg_rnd() & pvg_rnd());
		return 0;
	case 9: {
		unsigned int how = (unsigned int)(pvg_rnd() & 1);

		SAY("vm_assist %d architectural_iopl", how);
		return HC2(vm_assist, how, VMASST_TYPE_architectural_iopl);
	}
	default:
		return execute();
	}
}

static u64 state(void)
{
	u64 sum = extra;

	for (unsigned int i = AREA / 8; i < 512; i++)
		sum = pvg_mix(sum, ((u64 *)data)[i]);
	return sum;
}

void guest_main(void)
{
	struct callback_register cb = {.type = CALLBACKTYPE_syscall,
				       .flags = CALLBACKF_mask_events,
				       .address = (u64)pvg_user_syscall};
	u64 *l1;

	pvg_events_init();
	pvg_traps_init();
	pvg_store_init();
	self = (domid_t)pvg_store_number("domid");
	pvg_pool_init();
	code = pvg_page_alloc();
	data = pvg_pages_alloc(3);
	pvg_set_ro(data + PAGE_SIZE);
	pvg_map(data + 2 * PAGE_SIZE, 0);
	bits = pvg_pages_alloc(3);
	pvg_set_ro(bits + PAGE_SIZE);
	pvg_map(bits + 2 * PAGE_SIZE, 0);
	l1 = pvg_user_space(PROGRAM);
	l1[L1X(PROGRAM)] = pvg_mfn_of(code) << 12 | PTE_P | PTE_US;
	l1[L1X(PROGRAM) + 1] = pvg_mfn_of(data) << 12 | PTE_KERN | PTE_US;
	l1[L1X(PROGRAM) + 2] = pvg_mfn_of(data + PAGE_SIZE) << 12 | PTE_P | PTE_US;
	printf("user space: %le\n", pvg_user_space_use());
	HC2(callback_op, CALLBACKOP_register, &cb);
	HC2(stack_switch, KERNEL_DS, kernel_stack + sizeof(kernel_stack));
	pvg_trap_hook = pvg_user_trap;
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 9000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
	}
}
