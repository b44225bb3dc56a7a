/* SPDX-License-Identifier: MIT */
/*
 * A program on one vCPU stores to a page without a pause while another vCPU takes the page from it
 * and makes a page table of it: from then on nothing in it changes, and the program has its fault.
 * The entry is changed by either vCPU, with and without a flush behind.
 */
#include "pvg.h"

#define PROGRAM 0x7654200000ul
#define ROUNDS	10u /* of each kind */
#define ENTRY	(PTE_KERN | PTE_US)
#define LOOK_NS 1000000ul

static u64 *l1, *page, *spare;
static volatile bool has_called, may_go_on;

static u64 m(const void *p)
{
	return pvg_mfn_of(p) << 12;
}
static void set(unsigned int slot, u64 entry)
{
	MUST("mmu_update", pvg_mmu_update(m(l1) + slot * 8, entry));
}
static void flush(void)
{
	MUST("flush", pvg_mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0));
}

/* ---- the vCPU of the program --------------------------------------------------------------- */

/* At 0: loop: addq $2, (%rcx); jmp loop. At 16: the same, a syscall in
 * between. The sums are no present entries. */
static void begin(void)
{
	u64 *code = pvg_page_alloc();

	pvg_user_init();
	l1 = pvg_user_space(PROGRAM);
	code[0] = 0xfaeb02018348;
	code[2] = 0xe8eb050f02018348;
	l1[0] = m(code) | PTE_P | PTE_US;
	l1[1] = m(page) | ENTRY;
	MUST("user space", pvg_user_space_use());
}
static void run_from(u64 at)
{
	pvg_user_defaults(PROGRAM + at, PROGRAM + 2048);
	pvg_user_frame.rcx = PROGRAM + PAGE_SIZE + 8;
	pvg_user_go();
}
static void j_loop(void)
{
	run_from(0);
}
/* Its kernel takes the right to write away, and leaves the flush to the other one. */
static void j_calls(void)
{
	run_from(16);
	if (pvg_user.how != PVG_USER_SYSCALL)
		printf("no system call\n");
	set(1, m(page) | PTE_P | PTE_US | PTE_A);
	has_called = true;
	while (!may_go_on)
		pvg_relax();
	run_from(0);
}

/* ---- the other one ------------------------------------------------------------------------- */

enum { READ_ONLY, GONE, ANOTHER_PAGE, BY_ITSELF, NO_FLUSH, KINDS };

static const char *const names[] = {
	"read-only, flushed",	   "gone, flushed",
	"another page, flushed",   "read-only by its own kernel, flushed here",
	"read-only, and no flush",
};

static void take(unsigned int kind)
{
	switch (kind) {
	case GONE:
		set(1, 0);
		break;
	case ANOTHER_PAGE:
		set(1, m(spare) | ENTRY);
		break;
	case BY_ITSELF:
		break;
	default:
		set(1, m(page) | PTE_P | PTE_US | PTE_A);
	}
	if (kind != NO_FLUSH)
		flush();
	may_go_on = true;
}
/* True: nothing was stored to the table. */
static bool one(unsigned int kind)
{
	u64 was = page[1], then;
	bool ret;

	has_called = may_go_on = false;
	pvg_ask(1, kind == BY_ITSELF ? j_calls : j_loop);
	while (kind == BY_ITSELF ? !has_called : *(volatile u64 *)&page[1] == was)
		pvg_relax();
	MUST("read-only", pvg_set_ro(page));
	take(kind);
	MUST("pin", pvg_pin(1, page));
	then = *(volatile u64 *)&page[1];
	pvg_spin_ns(LOOK_NS);
	ret = *(volatile u64 *)&page[1] == then;
	if (kind == ANOTHER_PAGE) {
		was = *(volatile u64 *)&spare[1];
		while (*(volatile u64 *)&spare[1] == was)
			pvg_relax(); /* there it goes on */
		set(1, 0);
		flush();
	}
	if (!pvg_wait_ns(1, 5000000000ul)) {
		printf("%s: the program goes on\n", names[kind]);
		pvg_exit(SHUTDOWN_crash);
	}
	MUST("unpin", pvg_unpin(page));
	MUST("writable", pvg_set_rw(page));
	set(1, m(page) | ENTRY);
	return ret;
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	page = pvg_page_alloc();
	spare = pvg_page_alloc();
	MUST("initialise", pvg_vcpu_init(1));
	MUST("up", pvg_worker_up(1));
	pvg_on(1, begin);
	for (unsigned int kind = 0; kind < KINDS; kind++) {
		unsigned int right = 0, faults = 0;

		for (unsigned int i = 0; i < ROUNDS; i++) {
			right += one(kind);
			faults += pvg_user.how == PVG_USER_TRAP && pvg_user.f.vector == 14;
		}
		printf("%s: %u times of %u the table stayed as it was, %u page faults\n",
		       names[kind], right, ROUNDS, faults);
	}
}
