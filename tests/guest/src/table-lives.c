/* SPDX-License-Identifier: MIT */
/*
 * Page tables that move, end and begin again, while what they mapped is in use: by a program; and,
 * with two vCPUs, by one that hears of it late. What is mapped behind a flush is what the tables
 * say, at every place and in every life of a table.
 */
#include "pvg.h"

#define PROGRAM	  0x7654200000ul
#define FIRST	  (PROGRAM + (1ul << 21))
#define SECOND	  (PROGRAM + (2ul << 21))
#define STORES	  0u /* in the program's page: one store, and one load */
#define LOADS	  32u
#define ENTRY	  (PTE_KERN | PTE_US)
#define READ_ONLY (PTE_P | PTE_US | PTE_A)

static u64 m(const void *p)
{
	return pvg_mfn_of(p) << 12;
}
static void set(const u64 *table, unsigned int slot, u64 entry)
{
	MUST("mmu_update", pvg_mmu_update(m(table) + slot * 8, entry));
}
static void flush(void)
{
	MUST("flush", pvg_mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0));
}
static u64 *table(u64 first_entry)
{
	u64 *t = pvg_page_alloc();

	t[0] = first_entry;
	MUST("read-only", pvg_set_ro(t));
	return t;
}
static u64 *page(u64 value)
{
	u64 *p = pvg_page_alloc();

	p[0] = value;
	return p;
}

/* ---- a program ----------------------------------------------------------------------------- */

static u64 *make_program(void)
{
	u64 *root = pvg_page_alloc(), *l3 = pvg_page_alloc(), *l2 = pvg_page_alloc();
	u64 *l1 = pvg_page_alloc(), *code = pvg_page_alloc();

	/* (vector instructions: nobody carries these out by other means than the processor) */
	code[STORES / 8] = 0x0f098948c0ef0f66; /* pxor %xmm0, %xmm0; mov %rcx, (%rcx); syscall */
	code[STORES / 8 + 1] = 0x05;
	code[LOADS / 8] = 0x0f018b48c0ef0f66; /* likewise mov (%rcx), %rax */
	code[LOADS / 8 + 1] = 0x05;
	l1[0] = m(code) | PTE_P | PTE_US;
	l2[L2X(PROGRAM)] = m(l1) | ENTRY;
	l3[L3X(PROGRAM)] = m(l2) | ENTRY;
	root[L4X(PROGRAM)] = m(l3) | ENTRY;
	MUST("read-only", pvg_set_ro(l1));
	MUST("read-only", pvg_set_ro(l2));
	MUST("read-only", pvg_set_ro(l3));
	MUST("read-only", pvg_set_ro(root));
	pvg_user_init();
	MUST("user root", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(root), 0));
	return l2;
}
static void program(const char *name, u64 what, u64 va)
{
	pvg_user_defaults(PROGRAM + what, PROGRAM + 2048);
	pvg_user_frame.rcx = va;
	pvg_user_go();
	printf("%s: ", name);
	if (pvg_user.how != PVG_USER_SYSCALL)
		printf("error %lx\n", pvg_user.f.error);
	else if (what == LOADS)
		printf("%lx\n", pvg_user.gprs[0]);
	else
		printf("done\n");
}

/*
 * A table goes from its place to another one, and a second one comes there. What happens to the
 * entries of the one is nothing to what the other maps.
 */
static void moved(void)
{
	u64 *l2 = make_program(), *p = page(0x10), *q = page(0x20);
	u64 *one = table(m(p) | ENTRY), *two = table(m(q) | ENTRY);

	MUST("pin", pvg_pin(1, one));
	MUST("pin", pvg_pin(1, two));
	set(l2, L2X(FIRST), m(one) | ENTRY);
	program("one at the first place", STORES, FIRST + 8);
	set(l2, L2X(FIRST), 0);
	program("at none", STORES, FIRST + 8);
	set(l2, L2X(SECOND), m(one) | ENTRY);
	program("at the second", STORES, SECOND + 16);
	set(l2, L2X(FIRST), m(two) | ENTRY);
	program("two at the first place", LOADS, FIRST);
	program("stored to", STORES, FIRST + 8);
	/* as at a fork, which leaves the other page alone */
	set(two, 0, m(q) | READ_ONLY);
	flush();
	program("read-only", STORES, FIRST + 16);
	set(one, 0, m(p) | READ_ONLY);
	flush();
	program("one read-only", STORES, SECOND + 24);
	set(one, 0, m(p) | ENTRY);
	program("two behind it", STORES, FIRST + 24);
	program("one writable", STORES, SECOND + 32);
	MUST("read-only", pvg_set_ro(q));
	MUST("pin", pvg_pin(1, q));
	program("which is a table now", STORES, FIRST + 32);
	printf("there is %lx %d %lx %lx %lx\n", q[0], q[1] == FIRST + 8, q[2], q[3], q[4]);
	MUST("unpin", pvg_unpin(q));
	MUST("user root", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0));
}

#ifdef CPUS_2
/* ---- another vCPU -------------------------------------------------------------------------- */

#define USER_VA	  0x123456600000ul /* (which ring3 cannot map as it is) */
#define LOW_VA	  0x8140000000ul
#define KERNEL_VA (0xffff000000000000ul | 320ul << 39 | 5ul << 30 | 6ul << 21)
#define ROUNDS	  20u
#define LIVES	  4000u

static u64 *root, *l2, va;
static volatile u32 step;
static u64 seen[3];
static bool failed[3];

/* (no hypercall, by which it would hear of changes) */
static void wait_for(u32 n)
{
	while (step != n)
		__asm__ volatile("pause");
}
static void reach(u32 n)
{
	while (step != n)
		pvg_relax();
}
static void look(unsigned int i)
{
	failed[i] = pvg_load(va, &seen[i]);
}
static void ask(void (*fn)(void))
{
	step = 0;
	pvg_ask(1, fn);
}
static void end(void)
{
	if (!pvg_wait_ns(1, 5000000000ul)) {
		printf("no end\n");
		pvg_exit(SHUTDOWN_crash);
	}
}

static void j_root(void)
{
	MUST("NEW_BASEPTR", pvg_mmuext(MMUEXT_NEW_BASEPTR, pvg_mfn_of(root), 0));
}
static void make_root(void)
{
	const u64 *from = (const u64 *)start_info->pt_base;

	root = pvg_page_alloc();
	for (unsigned int i = 0; i < 512; i++)
		root[i] = i >= 256 && i < 272 ? 0 : from[i];
}
static u64 *add(u64 at)
{
	u64 *l3 = pvg_page_alloc(), *ret = pvg_page_alloc();

	l3[L3X(at)] = m(ret) | ENTRY;
	root[L4X(at)] = m(l3) | ENTRY;
	MUST("read-only", pvg_set_ro(ret));
	MUST("read-only", pvg_set_ro(l3));
	return ret;
}

/* It gives a table up whose last entry another vCPU has taken, which it has not heard of. */
static void j_gives_up(void)
{
	look(0);
	step = 1;
	wait_for(2);
	set(l2, L2X(va), 0);
	look(1);
}
static void given_up(void)
{
	unsigned int wrong = 0, there = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		u64 *t = table(m(page(0x30)) | ENTRY);

		set(l2, L2X(va), m(t) | ENTRY);
		ask(j_gives_up);
		reach(1);
		set(t, 0, 0);
		step = 2;
		end();
		there += !failed[0] && seen[0] == 0x30;
		wrong += !failed[1];
	}
	printf("given up: %u times there, %u times after the end\n", there, wrong);
}

/* It has not heard that a table was none for a moment. */
static void j_another_life(void)
{
	look(0);
	step = 1;
	wait_for(2);
	look(1);
	step = 3;
	wait_for(4);
	look(2);
}
static void another_life(void)
{
	unsigned int wrong = 0, there = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		u64 *t = table(m(page(0x41)) | ENTRY);

		MUST("pin", pvg_pin(1, t));
		set(l2, L2X(va), m(t) | ENTRY);
		ask(j_another_life);
		reach(1);
		set(l2, L2X(va), 0);
		pvg_spin_ns(200000); /* it goes on */
		MUST("unpin", pvg_unpin(t));
		set(l2, L2X(va), m(t) | ENTRY);
		step = 2;
		reach(3);
		set(t, 0, m(page(0x42)) | ENTRY);
		flush();
		step = 4;
		end();
		there += !failed[0] && seen[0] == 0x41 && !failed[1] && seen[1] == 0x41;
		wrong += failed[2] || seen[2] != 0x42;
		set(l2, L2X(va), 0);
	}
	printf("another life: %u times there, %u times wrong\n", there, wrong);
}

/* A table comes while it looks, and is changed as soon as it is there. */
static volatile u64 last;
static volatile u32 looks;

static void j_looks(void)
{
	u64 v;

	while (step == 0) {
		last = pvg_load(va, &v) ? 0 : v;
		if (++looks % 1024 == 0) /* (Xen may have one processor for both) */
			HC2(sched_op, SCHEDOP_yield, 0);
	}
}
static void many_lives(void)
{
	u64 *p = page(0x51), *q = page(0x52), *t = table(m(p) | ENTRY);
	unsigned int wrong = 0, there = 0;
	u32 was;

	ask(j_looks);
	for (unsigned int i = 0; i < LIVES; i++) {
		set(l2, L2X(va), m(t) | ENTRY);
		set(t, 0, m(q) | ENTRY);
		flush();
		was = looks;
		while (looks - was < 2)
			pvg_relax();
		there += last == 0x52;
		wrong += last == 0x51;
		set(t, 0, m(p) | ENTRY);
		flush();
		set(l2, L2X(va), 0);
	}
	step = 1;
	end();
	printf("many lives: %u of %u seen, %u times wrong\n", there, LIVES, wrong);
}

static void other_vcpu(void)
{
	static const struct {
		const char *name;
		u64 va;
	} places[] = {
		{"addresses of programs", USER_VA},
		{"low addresses", LOW_VA},
		{"of the kernel", KERNEL_VA},
	};
	u64 *upper[ARRAY_SIZE(places)];

	make_root();
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
		upper[i] = add(places[i].va);
	MUST("read-only", pvg_set_ro(root));
	MUST("pin", pvg_pin(4, root));
	MUST("initialise", pvg_vcpu_init(1));
	MUST("up", pvg_worker_up(1));
	pvg_on(1, j_root);
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		va = places[i].va;
		l2 = upper[i];
		printf("---- %s\n", places[i].name);
		given_up();
		another_life();
		many_lives();
	}
}
#endif

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	moved();
#ifdef CPUS_2
	other_vcpu();
#endif
}
