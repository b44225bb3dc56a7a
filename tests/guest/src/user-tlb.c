/* SPDX-License-Identifier: MIT */
/*
 * What the kernel sees at addresses of programs, and at its own, when page tables change while
 * another root is loaded, while theirs is, by this vCPU or by another one: after the load of a root
 * or a flush it is always what the tables say. By a load, by a string instruction, by stores.
 */
#include "pvg.h"

#define USER_VA	  0x123456789000ul
#define KERNEL_VA (0xffff000000000000ul | 320ul << 39 | 5ul << 30 | 6ul << 21 | 7ul << 12)
#define ENTRY	  (PTE_KERN | PTE_US)

static u64 *root_a, *root_b;
static u64 va;

static u64 m(const void *p)
{
	return pvg_mfn_of(p) << 12;
}

/* ---- what is done on the vCPU whose view is asked for -----------------------------------------
 */

static u64 job_arg, loaded, seen_mov, seen_string;
static bool no_mov, no_string;

static void j_root(void)
{
	MUST("NEW_BASEPTR", pvg_mmuext(MMUEXT_NEW_BASEPTR, loaded, 0));
}
static void j_string(void)
{
	no_string = pvg_load_string(va, &seen_string);
}
static void j_look(void)
{
	no_mov = pvg_load(va, &seen_mov);
	j_string();
}
static void j_store(void)
{
	no_mov = pvg_store(va + 8, job_arg);
	no_string = pvg_store_string(va + 16, job_arg);
}

static unsigned int where; /* which vCPU; the others do nothing */

static void there(void (*fn)(void))
{
	pvg_on(where, fn);
}

static void go(const u64 *root)
{
	loaded = pvg_mfn_of(root);
	there(j_root);
}
static void flush(void)
{
	MUST("flush", pvg_mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0));
}
static void show(const char *name)
{
	if (no_mov)
		printf("%s: mov -", name);
	else
		printf("%s: mov %lx", name, seen_mov);
	if (no_string)
		printf(", string -\n");
	else
		printf(", string %lx\n", seen_string);
}
static void see(const char *name)
{
	there(j_look);
	show(name);
}
static void see_stores(const char *name, u64 v)
{
	job_arg = v;
	there(j_store);
	printf("%s: mov %s, string %s\n", name, no_mov ? "faults" : "done",
	       no_string ? "faults" : "done");
}

/* ---- tables -------------------------------------------------------------------------------------
 */

struct tree {
	u64 *l3, *l2, *l1, *page;
};

static struct tree make(u64 value)
{
	struct tree t = {pvg_page_alloc(), pvg_page_alloc(), pvg_page_alloc(), pvg_page_alloc()};

	t.page[0] = value;
	t.l1[L1X(va)] = m(t.page) | ENTRY;
	t.l2[L2X(va)] = m(t.l1) | ENTRY;
	t.l3[L3X(va)] = m(t.l2) | ENTRY;
	MUST("read-only", pvg_set_ro(t.l1));
	MUST("read-only", pvg_set_ro(t.l2));
	MUST("read-only", pvg_set_ro(t.l3));
	return t;
}
static void set(const u64 *table, unsigned int slot, u64 entry)
{
	MUST("mmu_update", pvg_mmu_update(m(table) + slot * 8, entry));
}
static void fill_root(u64 *root)
{
	const u64 *from = (const u64 *)start_info->pt_base;

	for (unsigned int i = 0; i < 512; i++)
		root[i] = i >= 256 && i < 272 ? 0 : from[i];
	MUST("read-only", pvg_set_ro(root));
	MUST("pin", pvg_pin(4, root));
}

/* Changes to what root A maps; `away`: while B is loaded. */
static void changes(struct tree *a, bool away)
{
	struct tree t[6];

	for (unsigned int i = 0; i < 6; i++)
		t[i] = make(away ? 0x100 + i * 16 : 0x200 + i * 16);
#define CHANGE(name, what)                                                                         \
	do {                                                                                       \
		if (away)                                                                          \
			go(root_b);                                                                \
		what;                                                                              \
		if (away)                                                                          \
			go(root_a);                                                                \
		else                                                                               \
			flush();                                                                   \
		see(name);                                                                         \
	} while (0)
	CHANGE("L1 entry", set(a->l1, L1X(va), m(t[0].page) | ENTRY));
	CHANGE("L1 entry gone", set(a->l1, L1X(va), 0));
	CHANGE("L1 entry back", set(a->l1, L1X(va), m(a->page) | ENTRY));
	CHANGE("L2 entry", set(a->l2, L2X(va), m(t[1].l1) | ENTRY));
	CHANGE("L3 entry", set(a->l3, L3X(va), m(t[2].l2) | ENTRY));
	CHANGE("L4 entry", set(root_a, L4X(va), m(t[3].l3) | ENTRY));
	CHANGE("L4 entry gone", set(root_a, L4X(va), 0));
	CHANGE("L4 entry back", set(root_a, L4X(va), m(t[3].l3) | ENTRY));
	/* the same L4 entry, but its table was none in the meantime */
	CHANGE("L3 table made anew", {
		set(root_a, L4X(va), 0);
		MUST("writable", pvg_set_rw(t[3].l3));
		t[3].l3[L3X(va)] = m(t[4].l2) | ENTRY;
		MUST("read-only", pvg_set_ro(t[3].l3));
		set(root_a, L4X(va), m(t[3].l3) | ENTRY);
	});
	/* the same one, of which a part is */
	CHANGE("L1 table made anew", {
		set(t[4].l2, L2X(va), 0);
		MUST("writable", pvg_set_rw(t[4].l1));
		t[4].l1[L1X(va)] = m(t[5].page) | ENTRY;
		MUST("read-only", pvg_set_ro(t[4].l1));
		set(t[4].l2, L2X(va), m(t[4].l1) | ENTRY);
	});
	/* two tables at once, the upper one first */
	CHANGE("L3 and L2 entry gone", {
		set(t[3].l3, L3X(va), 0);
		set(t[4].l2, L2X(va), 0);
	});
	CHANGE("back", {
		set(t[4].l2, L2X(va), m(t[4].l1) | ENTRY);
		set(t[3].l3, L3X(va), m(t[4].l2) | ENTRY);
	});
	CHANGE("as it was", {
		set(root_a, L4X(va), m(a->l3) | ENTRY);
		set(a->l3, L3X(va), m(a->l2) | ENTRY);
		set(a->l2, L2X(va), m(a->l1) | ENTRY);
	});
}

/* A page that was written to becomes a page table, and one that may be written again. */
static void rights(struct tree *a, bool away)
{
	CHANGE("before", (void)0);
	see_stores("stores", 0x10);
	CHANGE("read-only", set(a->l1, L1X(va), m(a->page) | PTE_P | PTE_US | PTE_A));
	see_stores("stores to it", 0x20);
	CHANGE("writable", set(a->l1, L1X(va), m(a->page) | ENTRY));
	see_stores("stores to it", 0x30);
	printf("there is: %lx %lx\n", a->page[1], a->page[2]);
	CHANGE("a page table", {
		MUST("read-only", pvg_set_ro(a->page));
		set(a->l1, L1X(va), m(a->page) | PTE_P | PTE_US | PTE_A);
		MUST("pin", pvg_pin(1, a->page));
	});
	see_stores("stores to it", 0x40);
	printf("there is: %lx %lx\n", a->page[1], a->page[2]);
	CHANGE("none any more", {
		MUST("unpin", pvg_unpin(a->page));
		MUST("writable", pvg_set_rw(a->page));
		set(a->l1, L1X(va), m(a->page) | ENTRY);
	});
	see_stores("stores to it", 0x50);
	printf("there is: %lx %lx\n", a->page[1], a->page[2]);
	/* the L2 entry takes the right away */
	CHANGE("L2 entry read-only", set(a->l2, L2X(va), m(a->l1) | PTE_P | PTE_US | PTE_A));
	see_stores("stores to it", 0x60);
	CHANGE("L2 entry writable", set(a->l2, L2X(va), m(a->l1) | ENTRY));
	see_stores("stores to it", 0x70);
}

/* Looked at by string instructions alone, as a kernel copies from its own memory to a program. */
static void strings_only(struct tree *a)
{
	u64 *p = pvg_page_alloc(), *q = pvg_page_alloc();

	p[0] = 0x301;
	q[0] = 0x302;
	va += PAGE_SIZE;
	set(a->l1, L1X(va), m(p) | ENTRY);
	there(j_string);
	printf("strings: %lx", seen_string);
	set(a->l1, L1X(va), m(q) | ENTRY);
	flush();
	there(j_string);
	printf(" %lx", seen_string);
	set(a->l1, L1X(va), 0);
	flush();
	there(j_string);
	printf(" fault %d\n", no_string);
	va -= PAGE_SIZE;
}

/* More L4 entries than anybody can be expected to remember, each with tables of its own. */
static void many_entries(struct tree *b)
{
	const u64 was = va;

	for (unsigned int i = 1; i <= 12; i++) {
		struct tree t = make(0x400 + i);

		set(root_a, L4X(va) + i, m(t.l3) | ENTRY);
	}
	for (unsigned int i = 1; i <= 12; i++) {
		va = was + ((u64)i << 39);
		there(j_look);
		if (no_mov || no_string || seen_mov != 0x400 + i || seen_string != 0x400 + i)
			show("one of many");
	}
	/* (the last one first: the other change may cost all that was remembered) */
	for (unsigned int i = 12, k = 0; k < 2; i = 1, k++) {
		va = was + ((u64)i << 39);
		go(root_b);
		set(root_a, L4X(va), m(b->l3) | ENTRY);
		go(root_a);
		see("one of many changed");
	}
	for (unsigned int i = 1; i <= 12; i++)
		set(root_a, L4X(was) + i, 0);
	va = was;
}

/* A's frame becomes another root. */
static void other_root(struct tree *b)
{
	go(root_b);
	MUST("unpin", pvg_unpin(root_a));
	MUST("writable", pvg_set_rw(root_a));
	fill_root(root_a);
	go(root_a);
	see("a new root in that frame");
	go(root_b);
	set(root_a, L4X(va), m(b->l3) | ENTRY);
	go(root_a);
	see("with B's entry");
}

static void all(const char *name)
{
	struct tree a = make(0xa), b = make(0xb);

	printf("---- %s\n", name);
	set(root_a, L4X(va), m(a.l3) | ENTRY);
	set(root_b, L4X(va), m(b.l3) | ENTRY);
	go(root_a);
	see("root A");
	go(root_b);
	see("root B");
	go(root_a);
	see("root A");
	go(root_b);
	see("root B");
	go(root_a);
	printf("-- while the other root is loaded\n");
	changes(&a, true);
	rights(&a, true);
	printf("-- while it is loaded itself\n");
	changes(&a, false);
	rights(&a, false);
	strings_only(&a);
	many_entries(&b);
	other_root(&b);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	root_a = pvg_page_alloc();
	root_b = pvg_page_alloc();
	fill_root(root_a);
	fill_root(root_b);
#ifdef CPUS_2
	MUST("initialise", pvg_vcpu_init(1));
	MUST("up", pvg_worker_up(1));
	where = 1;
#endif
	va = USER_VA;
	all("addresses of programs");
	va = KERNEL_VA;
	all("of the kernel");
#ifdef CPUS_2
	go((const u64 *)start_info->pt_base);
	where = 0;
	va = USER_VA;
	all("addresses of programs, here");
	va = KERNEL_VA;
	all("of the kernel, here");
#endif
}
