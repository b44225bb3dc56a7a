/* SPDX-License-Identifier: MIT */
/*
 * Frames that are mapped at many places at once, in both halves of the address space, and tables
 * that are used at two: a mapping that is taken away, or loses the right to write, is gone behind
 * the flush at every one of them, on whatever vCPU it was used; and a page that has become a table
 * cannot be written to at any.
 */
#include "pvg.h"

#define KERNEL_VA (0xffff000000000000ul | 320ul << 39 | 5ul << 30 | 6ul << 21)
#define LOW_VA	  0x140000000ul	   /* L4 slot 0 */
#define LOW1_VA	  0x8140000000ul   /* L4 slot 1 */
#define USER_VA	  0x123440000000ul /* (which ring3 cannot map as it is) */
#define PROGRAM	  0x7654200000ul
#define RIGHTS	  (PTE_KERN | PTE_US)
#define READ_ONLY (PTE_P | PTE_US | PTE_A)

static u64 *root_a, *root_b;
static struct place {
	u64 va, *l2, *l1;
} kernel = {.va = KERNEL_VA}, low_a = {.va = LOW_VA}, low_b = {.va = LOW_VA},
  low1 = {.va = LOW1_VA}, user = {.va = USER_VA};

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

/* ---- on one vCPU or another ---------------------------------------------------------------- */

static u64 at, arg, seen;
static bool failed;

/* (one that never meets a page table, which would make it one of the stores that are looked up) */
__attribute__((noinline)) static void store_code(u64 va, u64 v, u64 c)
{
	__asm__ volatile("mov %1, (%0)" : : "r"(va), "r"(v) : "memory");
}
static void j_load(void)
{
	failed = pvg_load(at, &seen);
}
static void j_load_string(void)
{
	failed = pvg_load_string(at, &seen);
}
static void j_store(void)
{
	failed = pvg_store(at, arg);
}
static void j_store_string(void)
{
	failed = pvg_store_string(at, arg);
}
static void j_store_code(void)
{
	failed = pvg_try3(store_code, at, arg, 0);
}
static void j_root(void)
{
	MUST("NEW_BASEPTR", pvg_mmuext(MMUEXT_NEW_BASEPTR, arg, 0));
}
static void j_entry(void)
{
	MUST("mmu_update", pvg_mmu_update(at, arg));
	MUST("flush", pvg_mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0));
}

static void j_entry_only(void)
{
	MUST("mmu_update", pvg_mmu_update(at, arg));
}

static unsigned int where; /* which vCPU */

static void there(void (*fn)(void), u64 va, u64 v)
{
	at = va;
	arg = v;
	pvg_on(where, fn);
}
static void change_there(u64 va, u64 entry)
{
	there(j_entry, m(kernel.l1) + L1X(va) * 8, entry);
}
static void go(const u64 *root)
{
	there(j_root, 0, pvg_mfn_of(root));
}
static void see(const char *name, void (*fn)(void), u64 va)
{
	there(fn, va, 0);
	if (failed)
		printf("%s: fault\n", name);
	else
		printf("%s: %lx\n", name, seen);
}
static void try(const char *name, void (*fn)(void), u64 va, u64 v)
{
	there(fn, va, v);
	printf("%s: %s\n", name, failed ? "fault" : "done");
}
static void must(void (*fn)(void), u64 va, u64 v)
{
	there(fn, va, v);
	if (failed)
		printf("fault at %lx\n", va);
}

/* ---- tables -------------------------------------------------------------------------------- */

static u64 *table(void)
{
	u64 *l1 = pvg_page_alloc();

	MUST("read-only", pvg_set_ro(l1));
	return l1;
}
static void make_place(struct place *w, u64 *root1, u64 *root2)
{
	u64 *l3 = pvg_page_alloc();

	w->l1 = table();
	w->l2 = pvg_page_alloc();
	w->l2[L2X(w->va)] = m(w->l1) | RIGHTS;
	l3[L3X(w->va)] = m(w->l2) | RIGHTS;
	MUST("read-only", pvg_set_ro(w->l2));
	MUST("read-only", pvg_set_ro(l3));
	root1[L4X(w->va)] = m(l3) | RIGHTS;
	if (root2)
		root2[L4X(w->va)] = m(l3) | RIGHTS;
}
static void make_roots(void)
{
	const u64 *from = (const u64 *)start_info->pt_base;

	root_a = pvg_page_alloc();
	root_b = pvg_page_alloc();
	for (unsigned int i = 0; i < 512; i++)
		root_a[i] = root_b[i] = i >= 256 && i < 272 ? 0 : from[i];
	make_place(&kernel, root_a, root_b);
	make_place(&low_a, root_a, NULL);
	make_place(&low_b, root_b, NULL);
	make_place(&low1, root_a, root_b);
	make_place(&user, root_a, root_b);
	for (unsigned int i = 0; i < 2; i++) {
		u64 *root = i ? root_b : root_a;

		MUST("read-only", pvg_set_ro(root));
		MUST("pin", pvg_mmuext(MMUEXT_PIN_L4_TABLE, pvg_mfn_of(root), 0));
	}
}

/* Slots of the tables are used once, and have no neighbour that could be mapped with them. */
static u64 page(const struct place *w, const void *p)
{
	static unsigned int slot;

	slot += 2;
	set(w->l1, slot, m(p) | RIGHTS);
	return w->va + slot * PAGE_SIZE;
}
static void change(const struct place *w, u64 va, u64 entry)
{
	set(w->l1, L1X(va), entry);
}

/* The page becomes a table; the only mappings left are read-only. */
static void becomes_table(u64 *p, u64 va)
{
	MUST("read-only", pvg_set_ro(p));
	change(&kernel, va, m(p) | READ_ONLY);
	flush();
	MUST("pin", pvg_mmuext(MMUEXT_PIN_L1_TABLE, pvg_mfn_of(p), 0));
}

/* ---- what is tested ------------------------------------------------------------------------ */

/* A page at three places, the first of them in a part that goes with its root. */
static void three_places(bool is_table)
{
	u64 *p = pvg_page_alloc(), *q = pvg_page_alloc();
	u64 low = page(&low_a, p), one = page(&kernel, p), two = page(&kernel, p);

	go(root_a);
	must(j_store, low, 0x10);
	must(j_store, one + 8, 0x20);
	must(j_store, two + 16, 0x30);
	page(&low_b, q);
	go(root_b);
	change_there(one, 0);
	change(&low_a, low, 0);
	if (is_table) {
		becomes_table(p, two);
		try("a table, stored to at the third place", j_store, two + 24, 0x40);
		printf("there is %lx %lx %lx %lx\n", p[0], p[1], p[2], p[3]);
	} else {
		see("at the third place", j_load, two + 16);
		change(&kernel, two, 0);
		flush();
		see("unmapped", j_load, two + 16);
	}
}

/* A string instruction knows the page by a pointer of its own, and there are mappings besides. */
static void pointer_among_many(void (*touch)(void))
{
	u64 *p = pvg_page_alloc();
	u64 one = page(&kernel, p), two = page(&kernel, p), three = page(&kernel, p);

	must(touch, page(&user, pvg_page_alloc()), 1);
	must(j_store, one, 1);
	must(j_store, two + 8, 2);
	must(j_store, three + 16, 3);
	change_there(two, 0);
	must(touch, three + 24, 4);
	change_there(three, m(p) | READ_ONLY);
	try("read-only", j_store, three + 32, 5);
	try("read-only", j_store_string, three + 32, 5);
	printf("there is %lx %lx %lx %lx %lx\n", p[0], p[1], p[2], p[3] ? 4ul : 0ul, p[4]);
}

/* So much is mapped that a cache of mappings is emptied, but string instructions need none. */
static void j_churn(void)
{
	u64 *p = (u64 *)arg;

	for (unsigned int i = 0; i < 17000; i++) {
		MUST("churn", pvg_map((void *)at, m(i & 1 ? p : p + 512) | RIGHTS));
		*(volatile u64 *)at;
	}
}
static void much_else(void)
{
	u64 *p = pvg_page_alloc(), *q = pvg_page_alloc(), *two = pvg_pages_alloc(2);
	u64 other = page(&user, pvg_page_alloc());
	u64 one = page(&kernel, p), read = page(&kernel, q);

	q[0] = 0x77;
	must(j_store_string, other, 1);
	must(j_load_string, other, 1);
	must(j_store_string, one, 0x10);
	see("read", j_load_string, read);
	there(j_churn, page(&kernel, two), (u64)two);
	becomes_table(p, one);
	try("a table", j_store_string, one + 8, 0x20);
	printf("there is %lx %lx\n", p[0], p[1]);
	change(&kernel, read, 0);
	flush();
	see("unmapped", j_load_string, read);
}

static void j_call(void)
{
	seen = ((u32(*)(void))at)();
}

/*
 * A page of code that is written to by an address in the low half; that mapping stays over a load
 * of a root, though others beside it do not.
 */
static void code_from_below(void)
{
	u64 *p = pvg_page_alloc(), *q = pvg_page_alloc();
	u64 code = page(&kernel, p), low = page(&low1, p);

	go(root_a);
	must(j_store_code, page(&low_a, q), 1);
	must(j_store_code, low, 0xc300000001b8); /* mov $1, %eax; ret */
	go(root_b);
	there(j_call, code, 0);
	printf("code: %lx\n", seen);
	must(j_store_code, low, 0xc300000002b8);
	there(j_call, code, 0);
	printf("rewritten: %lx\n", seen);
}

/* One table for addresses of the kernel and for others. */
static void one_table(const char *name, const struct place *low)
{
	u64 *p = pvg_page_alloc(), *q = pvg_page_alloc(), *l1 = table();
	u64 a = kernel.va + (1ul << 21), b = low->va + (1ul << 21);

	printf("%s\n", name);
	set(kernel.l2, L2X(a), m(l1) | RIGHTS);
	set(low->l2, L2X(b), m(l1) | RIGHTS);
	p[0] = 0x51;
	q[0] = 0x52;
	set(l1, 0, m(p) | RIGHTS);
	must(j_store, a + 8, 1);
	must(j_store, b + 16, 1);
	must(j_store_string, a + 24, 1);
	must(j_store_string, b + 32, 1);
	see("above", j_load, a);
	see("below", j_load, b);
	see("below, string", j_load_string, b);
	set(l1, 0, m(q) | RIGHTS);
	flush();
	see("above", j_load, a);
	see("below", j_load, b);
	see("below, string", j_load_string, b);
	set(l1, 0, m(q) | READ_ONLY);
	flush();
	try("read-only, above", j_store, a + 8, 2);
	try("read-only, below", j_store, b + 16, 2);
	try("read-only, below, string", j_store_string, b + 16, 2);
	set(l1, 0, 0);
	flush();
	see("above", j_load, a);
	see("below", j_load, b);
	see("below, string", j_load_string, b);
	set(low->l2, L2X(b), 0);
	set(kernel.l2, L2X(a), 0);
}

/* A program's table, by which the kernel looks at its memory as well. */
static void program_stores(const char *name, u64 va)
{
	pvg_user_defaults(PROGRAM, PROGRAM + 2048);
	pvg_user_frame.rcx = va;
	pvg_user_go();
	printf("%s: %s\n", name, pvg_user.how == PVG_USER_SYSCALL ? "done" : "fault");
}
static void table_of_a_program(void)
{
	u64 *l1 = pvg_user_space(PROGRAM), *code = pvg_page_alloc(), *p = pvg_page_alloc();
	u64 a = kernel.va + (2ul << 21);

	code[0] = 0x050f098948; /* mov %rcx, (%rcx); syscall */
	l1[0] = m(code) | RIGHTS;
	l1[1] = m(p) | RIGHTS;
	MUST("user space", pvg_user_space_use());
	set(kernel.l2, L2X(a), m(l1) | RIGHTS);
	must(j_store, a + PAGE_SIZE, 0x10);
	program_stores("program", PROGRAM + PAGE_SIZE + 8);
	MUST("read-only", pvg_set_ro(p));
	set(l1, 1, m(p) | READ_ONLY);
	flush();
	MUST("pin", pvg_mmuext(MMUEXT_PIN_L1_TABLE, pvg_mfn_of(p), 0));
	program_stores("its page has become a table", PROGRAM + PAGE_SIZE + 16);
	try("the kernel", j_store, a + PAGE_SIZE + 24, 0x20);
	printf("there is %lx %d %lx %lx\n", p[0], p[1] == PROGRAM + PAGE_SIZE + 8, p[2], p[3]);
	MUST("unpin", pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_mfn_of(p), 0));
	set(l1, 1, 0);
	flush();
	program_stores("unmapped", PROGRAM + PAGE_SIZE + 32);
	printf("there is %lx\n", p[4]);
	pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0);
	set(kernel.l2, L2X(a), 0);
}

/* Whose vCPU changes an entry is not who flushes. */
static void flushed_here(const struct place *w)
{
	u64 *p = pvg_page_alloc(), *q = pvg_page_alloc(), va = page(w, p);

	p[0] = 0x61;
	q[0] = 0x62;
	see("before", j_load, va);
	there(j_entry_only, m(w->l1) + L1X(va) * 8, m(q) | RIGHTS);
	flush();
	see("changed there, flushed here", j_load, va);
	there(j_entry_only, m(w->l1) + L1X(va) * 8, 0);
	flush();
	see("unmapped there, flushed here", j_load, va);
}

#ifdef CPUS_2
static volatile u32 go_on, was;
static void (*fresh)(u64, u64, u64); /* a store that has met no table */

static void j_fresh(void)
{
	failed = pvg_try3(fresh, at, arg, 0);
}
static void j_fresh_when_told(void)
{
	/* (no hypercall in between, by which it would hear of changes) */
	while (go_on == was)
		__asm__ volatile("pause");
	j_fresh();
}
/*
 * A vCPU has taken the right to write from a page of its own, which became a table. Another one
 * puts a page there that may be written to, and does not flush: whatever the store meets, it is not
 * the table.
 */
static void changed_and_not_flushed(void)
{
	unsigned int wrong = 0;

	go(root_a);
	for (unsigned int i = 0; i < 20; i++) {
		u64 *p = pvg_page_alloc(), *q = pvg_page_alloc(), *code = pvg_page_alloc();
		u64 va = page(&kernel, p);

		code[0] = 0xc3378948; /* mov %rsi, (%rdi); ret */
		fresh = (void (*)(u64, u64, u64))code;
		must(j_fresh, va, 0x10);
		MUST("read-only", pvg_set_ro(p));
		change_there(va, m(p) | READ_ONLY);
		MUST("pin", pvg_pin(1, p));
		at = va;
		arg = 0x30;
		was = go_on;
		pvg_ask(where, j_fresh_when_told);
		pvg_spin_ns(200000);
		change(&kernel, va, m(q) | RIGHTS);
		go_on++;
		if (!pvg_wait_ns(where, 5000000000ul))
			printf("no end\n");
		wrong += p[0] != 0x10 || (!failed && q[0] != 0x30);
		flush();
		MUST("unpin", pvg_unpin(p));
	}
	printf("stores that went astray: %u\n", wrong);
}
#endif

static void all(const char *name)
{
	printf("---- %s\n", name);
	three_places(false);
	three_places(true);
	pointer_among_many(j_store_string);
	pointer_among_many(j_load_string);
	much_else();
	code_from_below();
	flushed_here(&kernel);
	flushed_here(&low1);
	flushed_here(&user);
	one_table("above and below", &low1);
	one_table("above and at addresses of programs", &user);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	make_roots();
	arg = pvg_mfn_of(root_a);
	j_root();
#ifdef CPUS_2
	MUST("initialise", pvg_vcpu_init(1));
	MUST("up", pvg_worker_up(1));
	where = 1;
	changed_and_not_flushed();
	all("used by the other vCPU");
	where = 0;
#endif
	all("used by this vCPU");
	pvg_user_init();
	table_of_a_program();
}
