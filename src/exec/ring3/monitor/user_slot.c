/* SPDX-License-Identifier: MIT */
/*
 * U processes and the roots they stand for. A process is made once and used again: when a root goes
 * (the guest's process ended) everything is unmapped and the next root moves in, which costs a
 * twentieth of a new process. With more live roots than slots the one not used for longest gives
 * its process up and fills a new one by faults when it runs again.
 */
#include "exec/ring3/monitor/user.h"

#include <linux/futex.h>
#include <sys/mman.h>

#include "core/lib/mem.h"
#include "core/time/time.h"
#include "exec/ring3/monitor/smp.h"

/* A task that was told something and does nothing is dead or stopped. */
#define PATIENCE_NS 10000000000ull
#define WOKEN_NS    2000000000ull /* it will wake us: only to look whether anybody died */
#define UNWOKEN_NS  100000ull

static struct u_slot slots[U_SLOTS];
static uint32_t nr_slots; /* asked for so far */
static uint32_t asked;	  /* with those that were asked for again */
static bool refused;	  /* and there will be no more */
static uint32_t let_go;	  /* mappers that were told to end */
static uint64_t user_clock, lives;
static uint64_t pending[(U_SLOTS + 63) / 64]; /* slots with something to drop */

static void wait_for(uint32_t *word, uint32_t old, uint64_t ns, unsigned int *patience)
{
	uint64_t until = core_time_now(&k.c) + ns;
	struct {
		uint64_t sec, ns;
	} ts = {until / 1000000000u, until % 1000000000u};

	if (sys6(SYS_futex, (long)word, FUTEX_WAIT_BITSET, old, (long)&ts, 0,
		 FUTEX_BITSET_MATCH_ANY) == -110 /* ETIMEDOUT */
	    && ++*patience > PATIENCE_NS / ns)
		k_die("the process of the guest's user mode does not answer");
	if (__atomic_load_n(&k.nursery->dead, __ATOMIC_RELAXED))
		k_die("a process of the guest's user mode was killed (is the host out of memory?)");
}

/* ---- orders ------------------------------------------------------------------------------- */

/*
 * The list that G was started with is K's again. That G has the turn back does not say so, for it
 * could have taken it: only `done` does.
 */
static void settle(struct u_slot *s)
{
	struct u_order *o = s->order;
	unsigned int patience = 0;
	uint32_t done;

	if (!s->unchecked)
		return;
	while ((done = __atomic_load_n(&o->done, __ATOMIC_SEQ_CST)) != s->unchecked)
		wait_for(&o->done, done, UNWOKEN_NS, &patience);
	o->nr = 0;
	if (__atomic_load_n(&o->failed, __ATOMIC_SEQ_CST) == s->unchecked)
		s->order_failed = true;
	s->unchecked = 0;
}

void order_add(struct u_slot *s, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
	       uint64_t a4, uint64_t a5)
{
	struct u_order *o = s->order;

	settle(s);
	if (o->nr == sizeof(o->call) / sizeof(o->call[0]) && !order_run(s))
		s->order_failed = true;
	o->call[o->nr++] = (struct u_call){nr, {a0, a1, a2, a3, a4, a5}, 0};
}

/*
 * M is done in a moment, and most often it runs at once when it is woken, so K gives it the
 * processor before it sleeps: then M need not wake K.
 */
#define YIELDS 2

static bool done_at_once(const struct u_order *o, uint32_t seq)
{
	for (int i = 0; turn_alone() && i < YIELDS; i++) {
		if (__atomic_load_n(&o->done, __ATOMIC_SEQ_CST) == seq)
			return true;
		sys0(SYS_sched_yield);
	}
	return __atomic_load_n(&o->done, __ATOMIC_SEQ_CST) == seq;
}

bool order_run(struct u_slot *s)
{
	struct u_order *o = s->order;
	uint32_t seq = o->seq + 1, done;
	unsigned int patience = 0;

	if (!o->nr)
		return true;
	o->go = 0;
	o->sleeps = 0;
	__atomic_store_n(&o->seq, seq, __ATOMIC_SEQ_CST);
	sys3(SYS_futex, &o->seq, FUTEX_WAKE, 1);
	if (!done_at_once(o, seq))
		__atomic_store_n(&o->sleeps, 1, __ATOMIC_SEQ_CST);
	while ((done = __atomic_load_n(&o->done, __ATOMIC_SEQ_CST)) != seq)
		wait_for(&o->done, done, WOKEN_NS, &patience);
	o->nr = 0;
	return __atomic_load_n(&o->failed, __ATOMIC_SEQ_CST) != seq;
}

void order_catch_up(struct u_slot *s)
{
	if (__builtin_expect(s->order->nr != 0, 0) && !order_run(s))
		s->order_failed = true;
}

void order_run_then_go(struct u_slot *s)
{
	struct u_order *o = s->order;
	uint32_t seq = o->seq + 1;

	o->go = 1;
	s->unchecked = seq;
	__atomic_store_n(&o->seq, seq, __ATOMIC_SEQ_CST);
	sys3(SYS_futex, &o->seq, FUTEX_WAKE, 1);
}

#define FAILURES_MAX 3

void order_check(struct u_slot *s)
{
	if (!s->unchecked && !s->order_failed)
		return;
	settle(s);
	if (!s->order_failed) {
		s->failures = 0;
		return;
	}
	/* Out of mappings, or of memory for page tables. */
	if (++s->failures > FAILURES_MAX)
		k_die("the host has no memory for the guest's processes");
	s->order_failed = false;
	s->gone.all = true;
	user_drain_slot(s);
}

/* ---- what is to be dropped ---------------------------------------------------------------- */

void user_forget(unsigned int slot, uint64_t va, uint64_t len)
{
	if (slot >= U_SLOTS || !slots[slot].maps)
		return;
	tlb_add(&slots[slot].gone, va, len);
	pending[slot / 64] |= 1ull << (slot % 64);
}

void user_forget_page(const struct u_slot *s, uint64_t va)
{
	user_forget((unsigned int)(s - slots), va, 4096);
}

static void unmap(struct u_slot *s, uint64_t va, uint64_t len)
{
	uint64_t first = U_FIRST, end = va + len;

	if (va < first)
		va = first;
	if (end > U_VA_END)
		end = U_VA_END;
	if (va >= end)
		return;
	ahead_unmapped(s, va, end - va);
	if (keep_unmap(s, va, end - va))
		return;
	order_add(s, SYS_munmap, va, end - va, 0, 0, 0, 0);
}

static void user_emptied(struct u_slot *s)
{
	memset(s->keep, 0, sizeof(s->keep));
	s->ahead.end = 0;
	s->maps = 0;
	s->life = ++lives;
	site_emptied(s);
}

static void unmap_all(struct u_slot *s)
{
	memset(s->keep, 0, sizeof(s->keep)); /* (or one of them is emptied, and stays) */
	unmap(s, 0, U_VA_END);
	user_emptied(s);
}

void user_drain_slot(struct u_slot *s)
{
	unsigned int i = (unsigned int)(s - slots);

	remote_settle();
	pending[i / 64] &= ~(1ull << (i % 64));
	if (!tlb_pending(&s->gone))
		return;
	if (s->gone.all)
		unmap_all(s);
	else
		for (i = 0; i < s->gone.nr; i++)
			unmap(s, s->gone.range[i].va, s->gone.range[i].len);
	s->gone.nr = 0;
	s->gone.all = false;
	if (order_run(s) && !s->order_failed)
		return;
	/* To cut a mapping in two takes another one; all of them takes none. */
	unmap_all(s);
	if (!order_run(s))
		k_die("the host cannot unmap memory");
	s->order_failed = false;
}

void user_forget_all(void)
{
	for (unsigned int i = 0; i < nr_slots; i++) {
		if (!slots[i].maps)
			continue;
		slots[i].gone.all = true;
		pending[i / 64] |= 1ull << (i % 64);
	}
}

void user_drain(void)
{
	remote_settle();
	for (unsigned int w = 0; w < sizeof(pending) / sizeof(pending[0]); w++)
		while (__builtin_expect(pending[w] != 0, 0))
			user_drain_slot(&slots[w * 64 + (unsigned int)__builtin_ctzll(pending[w])]);
}

/* ---- slots -------------------------------------------------------------------------------- */

void user_root_gone(unsigned int slot, uint64_t root)
{
	struct u_slot *s = &slots[slot];

	/* The note of the slot may be older than the table: tlb.c. */
	if (slot >= U_SLOTS || s->root != root)
		return;
	s->root = CORE_INVALID_MFN;
	if (s->maps)
		s->gone.all = true;
	/* G may only have said that it stopped, and would come back as the next program. */
	if (s->loose)
		order_add(s, UO_RESET, 0, 0, 0, 0, 0, 0);
	s->loose = false;
	s->bases = false; /* (it may have lied about them, too) */
	user_drain_slot(s);
	order_catch_up(s);
}

void user_roots_ended(void)
{
	for (unsigned int i = 0; i < nr_slots; i++) {
		uint64_t root = slots[i].root;

		if (root != CORE_INVALID_MFN && k.tables[root].ended)
			tlb_told_gone(root, 4);
	}
}

struct u_slot *user_slot_number(unsigned int i)
{
	return &slots[i];
}

unsigned int user_number_of(const struct u_slot *s)
{
	return (unsigned int)(s - slots);
}

/* (one at a time: `failed` speaks of the last one) */
static void ask(unsigned int slot)
{
	struct u_slot *s = &slots[slot];

	s->life = ++lives;
	s->state->turn = UT_K_SLEEPS; /* in wait_for_birth(), at the latest */
	__atomic_store_n(&k.nursery->failed, 0, __ATOMIC_RELAXED);
	k.nursery->slot[asked++ % U_NURSERY_RING] = slot;
	__atomic_store_n(&k.nursery->want, asked, __ATOMIC_SEQ_CST);
	sys3(SYS_futex, &k.nursery->want, FUTEX_WAKE, 1);
}

static void ask_for(unsigned int slot)
{
	struct u_slot *s = &slots[slot];
	uint64_t off = ux_block(k.nr_frames, k.nr_vcpus, slot, k.id);

	s->block = k.exec + off;
	s->order = (struct u_order *)(s->block + UB_ORDER);
	s->state = (struct u_state *)(s->block + UB_STATE);
	s->root = CORE_INVALID_MFN;
	s->order->off = k.exec_off + off + UB_ORDER;
	s->order->stack.sp = U_BLOCK + UB_STACK;
	s->order->stack.size = U_BLOCK_SIZE - UB_STACK;
	nr_slots++;
	ask(slot);
}

static bool wait_for_birth(struct u_slot *s)
{
	unsigned int patience = 0;
	uint32_t turn;

	while (!((turn = __atomic_load_n(&s->state->turn, __ATOMIC_SEQ_CST)) & UT_KERNEL)) {
		if (__atomic_load_n(&k.nursery->failed, __ATOMIC_RELAXED))
			return false;
		wait_for(&s->state->turn, turn, WOKEN_NS, &patience);
	}
	s->born = true;
	return true;
}

/*
 * The host refused it, for a limit on processes or want of memory. The roots share those that there
 * are, as they do when all slots are used, and no more are asked for.
 */
_Noreturn static void no_process(void)
{
	k_die("the host refuses a process for the guest's user mode (a limit on processes, or "
	      "memory)");
}

static void do_without(struct u_slot *s)
{
	refused = true;
	nr_slots = (unsigned int)(s - slots); /* only the last one can be unborn */
	if (nr_slots == 0)
		no_process();
}

static void end_mapper(struct u_slot *s)
{
	struct u_order *o = s->order;
	unsigned int patience = 0;
	uint32_t left;

	settle(s);
	o->nr = 0;
	order_add(s, SYS_exit_group, 0, 0, 0, 0, 0, 0);
	o->go = 0;
	__atomic_store_n(&o->seq, o->seq + 1, __ATOMIC_SEQ_CST);
	sys3(SYS_futex, &o->seq, FUTEX_WAKE, 1);
	let_go++;
	/* (how many Gs have ended says nothing: others may have that have not had their turn since)
	 */
	while ((left = __atomic_load_n(&k.nursery->left, __ATOMIC_SEQ_CST)) != let_go)
		wait_for(&k.nursery->left, left, WOKEN_NS, &patience);
	/* (the next one has seen no list yet, and would take this for a new one) */
	o->nr = o->seq = o->done = o->failed = 0;
	s->order_failed = false;
	s->failures = 0;
}

/*
 * G is no more. A program can do that to it: with its stack pointer in the signal stack, where no
 * signal's frame fits behind it, the host ends G at the next signal. Its kernel is told of a fault,
 * and the slot gets another process. But the next program may have got the process before that
 * signal came, with G in the stub and the stack pointer still there: it has done nothing yet, and
 * just starts again.
 */
bool user_again(struct u_slot *s)
{
	unsigned int i = user_number_of(s);
	struct u_slot *last = &slots[nr_slots - 1];
	bool own = s->own;

	end_mapper(s);
	user_emptied(s);
	s->gone.nr = 0;
	s->gone.all = false;
	pending[i / 64] &= ~(1ull << (i % 64));
	s->loose = s->fpu_live = s->bases = s->nt = s->born = false;
	if (!last->born && last != s && !wait_for_birth(last))
		do_without(last);
	ask(i);
	s->own = true;
	if (!wait_for_birth(s)) {
		/* The others are enough, if there are any. */
		s->lost = true;
		s->root = CORE_INVALID_MFN;
	}
	return own;
}

/* One that is free, a new one, or the one that was not used for longest. */
static struct u_slot *find_slot(void)
{
	struct u_slot *victim = NULL;

	for (unsigned int i = 0; i < nr_slots; i++) {
		struct u_slot *s = &slots[i];

		if (s->lost)
			continue;
		if (s->root == CORE_INVALID_MFN)
			return s;
		if (!victim || s->used < victim->used)
			victim = s;
	}
	if (nr_slots < U_SLOTS && !refused) {
		ask_for(nr_slots);
		return &slots[nr_slots - 1];
	}
	if (!victim)
		no_process();
	/* (unless the frame is by now a table of another process, which was too much to be told) */
	if (k.tables[victim->root].slot == victim - slots + 1)
		k.tables[victim->root].slot = 0;
	user_root_gone((unsigned int)(victim - slots), victim->root);
	return victim;
}

/*
 * Of this process the guest knows that its program runs here, and of no other: changes of another
 * one's tables need not be followed by a flush of this vCPU (smp.c).
 */
static void run_by(uint16_t slot)
{
	if (!k.smp || k.me->slot == slot)
		return;
	__atomic_store_n(&k.me->slot, slot, __ATOMIC_SEQ_CST);
	(void)quiet_look(false);
}

struct u_slot *user_slot(void)
{
	uint64_t root = k.c.v->user_root;
	struct tlb_table *t = &k.tables[root];
	struct u_slot *s;

	if (t->slot && t->slot <= nr_slots && slots[t->slot - 1].root == root) {
		s = &slots[t->slot - 1];
	} else {
		s = find_slot();
		if (!s->born && !wait_for_birth(s)) {
			do_without(s);
			s = find_slot();
		}
		s->root = root;
		s->plain = false;
		s->fresh = true;
		s->own = false;
		s->begun_at = 0;
		t->slot = (uint16_t)(s - slots + 1);
		/* The next one is made while this one runs. */
		if (nr_slots < U_SLOTS && !refused && s == &slots[nr_slots - 1])
			ask_for(nr_slots);
	}
	s->used = ++user_clock;
	run_by(t->slot);
	return s;
}

void user_slot_brief(void)
{
	uint64_t root = k.c.v->user_root;
	uint16_t slot = k.tables[root].slot;

	/* (the note may be of another root, or of none) */
	run_by(slot && slot <= nr_slots && slots[slot - 1].root == root ? slot : 0);
}

void user_init(const struct k_params *p)
{
	struct u_common *common = (struct u_common *)(k.exec + ux_common(k.nr_frames, k.nr_vcpus));

	k.nursery = (struct u_nursery *)(k.exec + ux_nursery(k.nr_frames, k.nr_vcpus, k.id));
	site_init(common);
	fpu_setup();
	brief_setup(p->no_brief_turns);
}
