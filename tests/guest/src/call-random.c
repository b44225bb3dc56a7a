/* SPDX-License-Identifier: MIT */
/*
 * Random walks over all hypercall numbers: any command, structures of random words in good and bad
 * places, half at the end of a page or read-only. A letter for each answer; what was written back,
 * also by calls that failed, goes into the sum.
 */
#include "pvg.h"

#define WALKS 16
#define STEPS 1280
#define HOLE  0x600000000000ul
#define XEN   0xffff82d040200000ul
#define WORDS 40

static domid_t self;
static u8 *edge;   /* the end of a page, behind which is a hole */
static u8 *rdonly; /* a page mapped read-only */
static u64 *good;  /* a page */
static u64 extra;
/* A call that may take a number for a domain: which small numbers are one is the host's matter. */
static bool domids;

/* Small numbers, limits of all kinds and domains: no machine frames beyond the first megabyte. */
static u32 half(void)
{
	static const u32 n[] = {0,	0,	 0,	     1,		 1,   2,    3,	  4,
				5,	6,	 7,	     8,		 10,  14,   15,	  16,
				17,	20,	 23,	     24,	 31,  32,   63,	  64,
				79,	80,	 127,	     128,	 255, 1023, 1024, 0x7fff,
				0xffff, 0x10000, 0x7fffffff, 0x80000000, ~0u, 0x15, 0x15, 1000,
				0x7ff1, 0x7ff2,	 0x7ff3000,  0x7ff4};
	u32 v = PICK(n);

	if (pvg_rnd() % 4 == 0)
		v = v << 16 | (u32)(pvg_rnd() % 8);
	if (!domids)
		return v;
	if ((u16)((v >> 16) - 1) < 199)
		v += 0x400u << 16;
	return (u16)(v - 1) < 199 ? v + 0x400 : v;
}

static u64 word(void)
{
	const u64 a[] = {(u64)good,
			 (u64)good + 2048,
			 (u64)edge - 16,
			 (u64)edge - 1,
			 (u64)edge,
			 (u64)rdonly,
			 HOLE,
			 XEN,
			 1ul << 47,
			 (1ul << 47) - 1,
			 0xffff7ffffffffff,
			 1ul << 63,
			 ~0ul,
			 1ul << 32,
			 0xffff800000000000,
			 0xffff880000000000};

	switch (pvg_rnd() % 6) {
	case 0:
		return PICK(a);
	case 1:
		return half();
	case 2:
		return 0;
	default:
		return (u64)half() << 32 | half();
	}
}

/* Random words somewhere. */
static void *structure(void)
{
	unsigned int k = (unsigned int)(pvg_rnd() % 16);
	u8 *at;

	memset(good, 0, PAGE_SIZE);
	for (unsigned int i = 0; i < WORDS; i++)
		good[i] = word();
	memset(edge - 512, 0, 512);
	switch (k) {
	case 0:
		return (void *)word();
	case 1:
		return rdonly + 8 * (pvg_rnd() % 8);
	case 2:
		return (void *)HOLE;
	case 3: /* not all of it is there */
		at = edge - 4 - 4 * (pvg_rnd() % 16);
		memcpy(at, good, (u64)(edge - at));
		return at;
	case 4:
		if (domids)
			return good;
		memmove((u8 *)good + 1, good, WORDS * 8);
		return (u8 *)good + 1;
	default:
		return good;
	}
}

static u64 was[WORDS + 8], was_at_edge[64];

static void remember(void)
{
	memcpy(was, good, sizeof(was));
	memcpy(was_at_edge, edge - sizeof(was_at_edge), sizeof(was_at_edge));
}

/* What was changed since: what was not may tell about this domain's number. */
static u64 written(void)
{
	const u64 *at_edge = (u64 *)(edge - sizeof(was_at_edge));
	u64 sum = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(was); i++)
		if (good[i] != was[i])
			sum = pvg_mix(sum + i, good[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(was_at_edge); i++)
		if (at_edge[i] != was_at_edge[i])
			sum = pvg_mix(sum + i, at_edge[i]);
	return sum;
}

enum how {
	CMD_PTR = 1,	 /* a command, then a structure */
	PTR_CMD = 2,	 /* the command stands in the structure */
	VERSION = 4,	 /* and a version of the interface */
	CMD_CNT_PTR = 8, /* a command, a number, a structure */
	CMD_PTR_CNT = 16,
	PLAIN = 32,  /* numbers and addresses */
	DOMIDS = 64, /* knows domains */
};

struct call {
	u8 nr, how, commands;
	u64 without; /* commands that do something to the guest or tell about the host */
};

static const struct call calls[] = {
	{__HYPERVISOR_set_trap_table, PLAIN, 0, 0},
	{__HYPERVISOR_stack_switch, PLAIN, 0, 0},
	{__HYPERVISOR_set_callbacks, PLAIN, 0, 0},
	{__HYPERVISOR_fpu_taskswitch, PLAIN, 0, 0},
	{6, CMD_PTR, 8, 1ul << 1 | 1ul << 2},
	{__HYPERVISOR_platform_op, PTR_CMD | VERSION, 70, 0},
	{__HYPERVISOR_memory_op, CMD_PTR | DOMIDS, 40,
	 1ul << 0 | 1ul << 1 | 1ul << 2 | 1ul << 3 | 1ul << 4 | 1ul << 5 | 1ul << 6 | 1ul << 11 |
		 1ul << 14},
	{__HYPERVISOR_set_timer_op, PLAIN, 0, 0},
	{__HYPERVISOR_xen_version, CMD_PTR, 14,
	 1ul << 0 | 1ul << 1 | 1ul << 2 | 1ul << 4 | 1ul << 8},
	{__HYPERVISOR_console_io, CMD_CNT_PTR, 5, 0},
	{19, PTR_CMD | DOMIDS, 40, 0},
	{__HYPERVISOR_vm_assist, PLAIN, 0, 0},
	{__HYPERVISOR_set_segment_base, PLAIN, 0, 0},
	{27, CMD_PTR, 8, 0},
	{__HYPERVISOR_nmi_op, CMD_PTR, 5, 0},
	{__HYPERVISOR_sched_op, CMD_PTR | DOMIDS, 12,
	 1ul << 1 | 1ul << 2 | 1ul << 3 | 1ul << 5 | 1ul << 6},
	{__HYPERVISOR_callback_op, CMD_PTR, 4, 0},
	{__HYPERVISOR_xenoprof_op, CMD_PTR, 20, 1ul << 14},
	{__HYPERVISOR_physdev_op, CMD_PTR | DOMIDS, 40, 0},
	{__HYPERVISOR_hvm_op, CMD_PTR | DOMIDS, 28, 1ul << 10},
	{__HYPERVISOR_sysctl, PTR_CMD | VERSION, 40, 0},
	{__HYPERVISOR_domctl, PTR_CMD | DOMIDS | VERSION, 90, 0},
	{__HYPERVISOR_domctl, PTR_CMD | DOMIDS | VERSION, 90, 0},
	{__HYPERVISOR_domctl, PTR_CMD | DOMIDS | VERSION, 50, 0},
	{__HYPERVISOR_memory_op, CMD_PTR | DOMIDS, 30,
	 1ul << 0 | 1ul << 1 | 1ul << 2 | 1ul << 3 | 1ul << 4 | 1ul << 5 | 1ul << 6 | 1ul << 11 |
		 1ul << 14},
	{__HYPERVISOR_kexec_op, CMD_PTR, 10, 0},
	{38, PTR_CMD, 8, 0},
	{39, CMD_PTR, 8, 0},
	{40, CMD_PTR, 12, 0},
	{41, CMD_CNT_PTR | DOMIDS, 8, 0},
	{42, CMD_PTR_CNT, 6, 0},
	{48, PTR_CMD, 8, 0},
	{49, PTR_CMD | DOMIDS | VERSION, 20, 0},
	{64, PLAIN, 0, 0},
};

/* Where the kernel is entered, and with what, as before. */
static void restore(void)
{
	HC1(fpu_taskswitch, 0);
	HC2(set_segment_base, 0, 0);
	HC2(set_segment_base, 2, 0);
	pvg_traps_init();
	pvg_events_init();
}

static u64 command(const struct call *c)
{
	u64 cmd;

	do
		cmd = pvg_rnd() % c->commands;
	while (cmd < 64 && c->without >> cmd & 1);
	return cmd | (pvg_rnd() % 24 ? 0 : 1ul << 32) | (pvg_rnd() % 24 ? 0 : 1ul << 31);
}

static long one(void)
{
	const struct call *c = &PICK(calls);
	u64 a[5], nr = c->nr;
	void *at;
	long r;

	domids = c->how & DOMIDS;
	at = structure();
	for (unsigned int i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = word();
	if (nr == 64) {
		static const u64 odd[] = {11,  43,  44,	       45,	  46,	     47,
					  50,  54,  55,	       56,	  63,	     64,
					  255, 256, 1ul << 16, 1ul << 31, 1ul << 32, 1ul << 32 | 17,
					  ~0ul};

		nr = PICK(odd);
	} else if (c->how & CMD_PTR) {
		a[0] = command(c);
		a[1] = (u64)at;
	} else if (c->how & CMD_CNT_PTR) {
		a[0] = nr == 41 ? (u32)half() : command(c);
		a[1] = half();
		a[2] = (u64)at;
	} else if (c->how & CMD_PTR_CNT) {
		a[0] = command(c);
		a[1] = (u64)at;
		a[2] = half();
	} else if (c->how & PTR_CMD) {
		u32 *w = at == good || at == (u8 *)good + 1 ? at : NULL;

		a[0] = (u64)at;
		if (w) {
			w[0] = (u32)command(c);
			if (nr == __HYPERVISOR_domctl && pvg_rnd() & 1)
				*(u16 *)&w[2] = self;
			if (c->how & VERSION && pvg_rnd() % 8)
				w[1] = nr == __HYPERVISOR_platform_op
					       ? 0x03000000 + (u32)(pvg_rnd() & 1)
					       : 0x15;
		}
	}
	/* Where a structure begins with a domain, now and then with this one. */
	if (at == good && pvg_rnd() % 3 == 0 &&
	    (nr == __HYPERVISOR_sched_op || nr == __HYPERVISOR_hvm_op ||
	     (nr == __HYPERVISOR_memory_op && (a[0] & 63) != 27)))
		*(u16 *)good = self;
	if (nr == __HYPERVISOR_dm_op && pvg_rnd() % 3 == 0)
		a[0] = self;
	if (nr == __HYPERVISOR_set_trap_table)
		a[0] = pvg_rnd() & 1 ? a[0] : (u64)at;
	if (nr == __HYPERVISOR_vm_assist) {
		a[0] = pvg_rnd() % 3;
		a[1] = half();
		if ((u32)a[1] == 6 || (u32)a[1] == 5)
			a[1] = 1;
	}
	SAY("call %lx: %lx %lx %lx %lx %lx", nr, a[0], a[1], a[2], a[3], a[4]);
	if (at == good)
		SAY(" [%lx %lx %lx]", good[0], good[1], good[2]);
	remember();
	r = pvg_raw_syscall(nr, a[0], a[1], a[2], a[3], a[4]);
	if (written())
		SAY(" writes");
	extra = pvg_mix(extra, written());
	extra = pvg_mix(extra, (u64)r);
	SAY(" = %lx", r);
	restore();
	return r;
}

static u64 state(void)
{
	return extra;
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_store_init();
	self = (domid_t)pvg_store_number("domid");
	good = pvg_page_alloc();
	rdonly = pvg_page_alloc_ro();
	edge = pvg_edge_alloc();
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 8000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
	}
}
