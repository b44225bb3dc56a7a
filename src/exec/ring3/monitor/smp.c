/* SPDX-License-Identifier: MIT */
#include "exec/ring3/monitor/smp.h"

#include <linux/futex.h>

#include "core/lib/bitops.h"
#include "core/lib/lock.h"
#include "core/lib/mem.h"
#include "core/mm/frame.h"
#include "core/mm/pte.h"
#include "core/run.h"
#include "core/time/time.h"
#include "exec/ring3/monitor/user.h"

/* Kinds of requests, in the low bits of a page address. */
#define ASK_PTE	     1u /* an entry of a page table was changed; level in bits 4-6, slot from 12 */
#define ASK_GONE     4u /* that table is none any more */
#define ASK_PROTECT  2u /* this frame must not be writable */
#define ASK_CODE     3u /* this frame's content changed */
/* The list was too short, or: */
#define ASK_ALL	     1u /* empty the window, look at all translations again */
#define ASK_ALL_CODE 2u /* forget all translations */

/*
 * A vCPU in guest code on another processor is out of it within some 20 us, most of which is the
 * interrupt. One that is not running has to be given a processor first: sleep.
 */
#define SPIN_NS	 40000ull
#define SLEEP_NS 1000000ull

static struct k_peer *peer(unsigned int id)
{
	return (struct k_peer *)((uint8_t *)k.peers + id * K_PEER_SIZE);
}

static struct k_frame *frames_of(unsigned int id)
{
	return (struct k_frame *)(k.peer_frames + id * k.peer_frames_size);
}

static uint32_t state_of(unsigned int id)
{
	return __atomic_load_n(&k.c.ctl->vcpu[id].state, __ATOMIC_SEQ_CST);
}

static uint64_t others(uint64_t mask)
{
	return mask & ((1ull << k.nr_vcpus) - 1) & ~(1ull << k.id);
}

void smp_init(const struct k_params *p)
{
	uint64_t base = K_RAM_BASE + p->smp_off;

	k.nr_vcpus = p->nr_vcpus;
	k.id = p->vcpu;
	k.smp = p->nr_vcpus > 1;
	if (!k.smp)
		return;
	k.peers = (struct k_peer *)base;
	k.me = peer(k.id);
	k.peer_frames = (uint8_t *)base + p->nr_vcpus * K_PEER_SIZE;
	k.peer_frames_size = k_smp_frames(p->nr_frames);
	k.kframes = frames_of(k.id);
}

void smp_note_cpu(void)
{
	uint32_t a, d, cpu;

	__asm__ volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(cpu));
	__atomic_store_n(&k.me->cpu, cpu & 0xfff, __ATOMIC_RELAXED);
}

/* ---- being asked -------------------------------------------------------------------------- */

void smp_away(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&k.me->waiters, __ATOMIC_RELAXED) &&
	    __atomic_exchange_n(&k.me->waiters, 0, __ATOMIC_SEQ_CST))
		sys3(SYS_futex, &k.me->done, FUTEX_WAKE, CORE_MAX_VCPUS);
}

static void carry_out(uint32_t flags, const uint64_t *list, uint32_t nr)
{
	if (flags & ASK_ALL)
		tlb_forget_all();
	for (uint32_t i = 0; i < nr; i++) {
		uint64_t at = list[i] & ~0xfffull;

		switch (list[i] & 0xf) {
		case ASK_PTE:
			tlb_told(list[i] >> 24, list[i] >> 4 & 7, list[i] >> 12 & 511);
			break;
		case ASK_GONE:
			tlb_told_gone(list[i] >> 24, list[i] >> 4 & 7);
			break;
		case ASK_PROTECT:
			window_protect(at >> 12);
			xlate_user_forget_writes(k.x);
			break;
		default:
			window_code_gone(at >> 12);
			break;
		}
	}
	tlb_drain();
	if (flags & ASK_ALL_CODE)
		xlate_invalidate_all(k.x);
}

static void serve(void)
{
	static uint64_t list[K_PEER_LIST];
	struct k_peer *p = k.me;

	core_lock(&k.c, &p->lock);
	uint32_t asked = p->asked, flags = p->flags, nr = p->nr;

	memcpy(list, p->list, nr * sizeof(list[0]));
	p->flags = 0;
	p->nr = 0;
	core_unlock(&k.c, &p->lock);

	carry_out(flags, list, nr);
	__atomic_store_n(&p->done, asked, __ATOMIC_SEQ_CST);
	smp_away();
}

void smp_enter(void)
{
	for (;;) {
		__atomic_exchange_n(&k.ctlv->state, CORE_VCPU_GUEST, __ATOMIC_SEQ_CST);
		if (!smp_asked())
			return;
		smp_leave();
		serve();
	}
}

bool smp_asked_about(uint64_t mfn)
{
	struct k_peer *p = k.me;
	bool ret = false;

	if (!smp_asked())
		return false;
	core_lock(&k.c, &p->lock);
	for (uint32_t i = 0; i < p->nr && !ret; i++)
		ret = p->list[i] >> 24 == mfn && (p->list[i] & 0xf) == ASK_PTE;
	core_unlock(&k.c, &p->lock);
	return ret;
}

void smp_kicked(void)
{
	static uint8_t bytes[4096];

	sys3(SYS_read, K_FD_KICKED, bytes, sizeof(bytes));
}

/* ---- asking ------------------------------------------------------------------------------- */

static void interrupt(unsigned int id)
{
	uint8_t byte = 0;

	sys3(SYS_write, K_FD_KICK + id, &byte, 1);
}

void smp_kick(unsigned int id)
{
	struct core_ctl_vcpu *v = &k.c.ctl->vcpu[id];

	/* `kick` is set. In its monitor it will look at it; when it is down it will when it starts.
	 */
	switch (state_of(id)) {
	case CORE_VCPU_BLOCKED:
	case CORE_VCPU_PAUSED:
		sys3(SYS_futex, &v->kick, FUTEX_WAKE, 1);
		break;
	case CORE_VCPU_GUEST:
		interrupt(id);
		break;
	default:
		break;
	}
}

/* One request, or without it those of `flags`; or only to drop what is due. */
static void post(unsigned int id, uint32_t flags, uint64_t what)
{
	struct k_peer *p = peer(id);

	core_lock(&k.c, &p->lock);
	p->flags |= flags;
	if (what && p->nr < K_PEER_LIST)
		p->list[p->nr++] = what;
	else if (what)
		p->flags |= ASK_ALL | ((what & 0xf) == ASK_CODE ? ASK_ALL_CODE : 0);
	__atomic_store_n(&p->asked, p->asked + 1, __ATOMIC_SEQ_CST);
	core_unlock(&k.c, &p->lock);
}

/*
 * vCPUs with a G that may run though it is not its turn, and that has mapped what they were told to
 * drop: for these it is not enough to be out of the guest (user_quiet.c).
 */
static uint64_t restless;

static bool out_of_guest(unsigned int id, uint32_t asked)
{
	if ((int32_t)(__atomic_load_n(&peer(id)->done, __ATOMIC_ACQUIRE) - asked) >= 0)
		return true;
	if (state_of(id) == CORE_VCPU_GUEST)
		return false;
	return !(restless >> id & 1) || !__atomic_load_n(&peer(id)->awake, __ATOMIC_SEQ_CST);
}

/* True: the guest may be right that this vCPU does not use that memory, and flush the others only.
 */
static bool note_restless(unsigned int id, uint32_t slot)
{
	const struct u_order *o;

	if (slot == 0 || slot > U_SLOTS)
		return false;
	o = (const struct u_order *)(k.exec + UB_ORDER +
				     ux_block(k.nr_frames, k.nr_vcpus, slot - 1, id));
	if (!__atomic_load_n(&o->awake, __ATOMIC_SEQ_CST))
		return false;
	restless |= 1ull << id;
	return __atomic_load_n(&peer(id)->slot, __ATOMIC_SEQ_CST) != slot;
}

/* Asleep until it says that it has left, or for a millisecond. */
static void sleep_for(unsigned int id, uint32_t asked)
{
	struct k_peer *p = peer(id);
	uint32_t done = __atomic_load_n(&p->done, __ATOMIC_SEQ_CST);

	__atomic_store_n(&p->waiters, 1, __ATOMIC_SEQ_CST);
	(void)quiet_look_waiting();
	if (out_of_guest(id, asked))
		return;
	uint64_t until = core_time_now(&k.c) + SLEEP_NS;
	struct {
		uint64_t sec, ns;
	} ts = {until / 1000000000u, until % 1000000000u};

	sys6(SYS_futex, (long)&p->done, FUTEX_WAIT_BITSET, done, (long)&ts, 0,
	     FUTEX_BITSET_MATCH_ANY);
}

static void wait_for(unsigned int id, uint32_t asked)
{
	uint64_t start = core_time_now(&k.c);
	bool spin = __atomic_load_n(&peer(id)->cpu, __ATOMIC_RELAXED) != k.me->cpu;

	while (!out_of_guest(id, asked)) {
		for (unsigned int i = 0; spin && i < 16 && !out_of_guest(id, asked); i++)
			core_relax();
		if (spin && core_time_now(&k.c) - start < SPIN_NS)
			continue;
		spin = false;
		sleep_for(id, asked);
	}
}

/* Requests were posted to `mask`: when this returns none of them runs guest code without them. */
static void settle(uint64_t mask)
{
	uint32_t was = k.ctlv->state, asked[CORE_MAX_VCPUS];
	uint64_t in_guest = 0;

	if (!mask)
		return;
	smp_leave();
	for (uint64_t m = mask; m; m &= m - 1) {
		unsigned int id = core_bit_first(m);

		asked[id] = __atomic_load_n(&peer(id)->asked, __ATOMIC_SEQ_CST);
		/* Its kick flag is for the signal's handler to set: a sleeper would not see it. */
		if (state_of(id) == CORE_VCPU_GUEST)
			interrupt(id);
		else if (out_of_guest(id, asked[id]))
			continue;
		in_guest |= 1ull << id;
	}
	if (in_guest) {
		smp_away(); /* two that ask each other */
		smp_note_cpu();
	}
	for (; in_guest; in_guest &= in_guest - 1)
		wait_for(core_bit_first(in_guest), asked[core_bit_first(in_guest)]);
	restless &= ~mask;
	if (was != CORE_VCPU_GUEST)
		return;
	/* In the middle of xlate_enter(): the kick flag keeps it from entering if we were asked. */
	__atomic_exchange_n(&k.ctlv->state, CORE_VCPU_GUEST, __ATOMIC_SEQ_CST);
	if (smp_asked())
		__atomic_store_n(&k.ctlv->kick, 1, __ATOMIC_RELAXED);
}

static uint64_t started(uint64_t mask)
{
	uint64_t up = 0;

	for (mask = others(mask); mask; mask &= mask - 1)
		if (state_of(core_bit_first(mask)) != CORE_VCPU_DOWN)
			up |= mask & -mask;
	return up;
}

static uint64_t entry_code(uint64_t mfn, unsigned int level, unsigned int slot, uint32_t kind)
{
	return mfn << 24 | (uint64_t)slot << 12 | level << 4 | kind;
}

/* What it has noted of the frame: KF_MAPPED, KF_WRITABLE, KF_CODE. It notes before it uses. */
static unsigned int uses(unsigned int id, uint64_t mfn)
{
	const struct k_peer *p = peer(id);
	const struct k_frame *f = &frames_of(id)[mfn];
	uint32_t epoch[2] = {__atomic_load_n(&p->low_epoch, __ATOMIC_RELAXED),
			     __atomic_load_n(&p->epoch, __ATOMIC_RELAXED)};
	unsigned int ret = 0;

	for (int i = 0; i < 2; i++) {
		uint64_t e = __atomic_load_n(&f->va[i], __ATOMIC_RELAXED);

		if (i == 1)
			ret |= e & KF_CODE;
		if (!(e & KF_MAPPED) || (e & KF_EPOCH) != epoch[e >> 63])
			continue;
		ret |= e & (KF_MAPPED | KF_WRITABLE);
		if ((e & KF_POINTER) || (i == 0 && (e & KF_MANY)))
			ret |= KF_WRITABLE;
	}
	return ret;
}

/* Those that have mappings through the entry; nobody waits yet, that is for the flush. */
void smp_tell(uint64_t mfn, unsigned int level, unsigned int slot, uint64_t old)
{
	uint64_t now = 0;

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* behind the entry's write */
	for (uint64_t m = started(~0ull); m; m &= m - 1) {
		unsigned int id = core_bit_first(m);
		const struct tlb_table *t = &tlb_tables_of(id)[mfn];

		/* (roots are loaded with mm_lock held, as this is) */
		if (level == 4 ? k.c.d->vcpu[id].kernel_root != mfn &&
					 k.c.d->vcpu[id].user_root != mfn && !t->slot
			       : !t->window && !t->slot)
			continue;
		/* (what is used through such a one stands in the list of frames) */
		if (level == 1 && tlb_kernel_table(t) && !uses(id, pte_mfn(old)))
			continue;
		post(id, 0, entry_code(mfn, level, slot, ASK_PTE));
		if (note_restless(id, t->slot))
			now |= m & -m;
	}
	settle(now);
}

void smp_tell_gone(uint64_t mfn, unsigned int level)
{
	uint64_t now = 0;

	for (uint64_t m = started(~0ull); m; m &= m - 1) {
		struct tlb_table *t = &tlb_tables_of(core_bit_first(m))[mfn];

		if (!t->window && !t->slot && !t->va[0] && !t->va[1])
			continue;
		tlb_mark_ended(t);
		post(core_bit_first(m), 0, entry_code(mfn, level, 0, ASK_GONE));
		(void)note_restless(core_bit_first(m), t->slot);
	}
	/* The guest's process has ended: nobody flushes what was its memory. */
	if (level == 4)
		now = restless;
	settle(now);
}

void smp_sync(uint64_t vcpu_mask)
{
	uint64_t mask = 0;

	for (uint64_t m = started(vcpu_mask | restless); m; m &= m - 1) {
		const struct k_peer *p = peer(core_bit_first(m));

		if (__atomic_load_n(&p->due, __ATOMIC_SEQ_CST))
			post(core_bit_first(m), 0, 0);
		if (__atomic_load_n(&p->asked, __ATOMIC_SEQ_CST) !=
		    __atomic_load_n(&p->done, __ATOMIC_SEQ_CST))
			mask |= m & -m;
	}
	settle(mask);
	restless = 0; /* the others have done it */
}

void smp_publish_epochs(void)
{
	__atomic_store_n(&k.me->epoch, k.epoch, __ATOMIC_RELEASE);
	__atomic_store_n(&k.me->low_epoch, k.low_epoch, __ATOMIC_RELEASE);
}

void smp_protect(uint64_t mfn, uint64_t nr)
{
	uint64_t mask = started(~0ull), asked = 0;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t m = mask; m; m &= m - 1) {
		unsigned int id = core_bit_first(m);

		for (uint64_t i = 0; i < nr; i++) {
			if (!(uses(id, mfn + i) & KF_WRITABLE))
				continue;
			post(id, 0, (mfn + i) << 12 | ASK_PROTECT);
			asked |= 1ull << id;
		}
	}
	settle(asked);
}

void smp_code_changed(uint64_t mfn, uint64_t nr)
{
	uint64_t mask = started(~0ull), asked = 0;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t m = mask; m; m &= m - 1) {
		unsigned int id = core_bit_first(m);

		for (uint64_t i = 0; i < nr; i++) {
			if (!(uses(id, mfn + i) & KF_CODE))
				continue;
			post(id, 0, (mfn + i) << 12 | ASK_CODE);
			asked |= 1ull << id;
		}
	}
	settle(asked);
}

/* The frame is writable data and nobody translated from it. */
bool smp_may_write(uint64_t mfn)
{
	const struct core_frame *f = &k.c.frames[mfn];

	return frame_is(frame_word(f), FRAME_WRITABLE) &&
	       !(__atomic_load_n(&f->aux, __ATOMIC_SEQ_CST) & CORE_FRAME_CODE);
}

bool smp_start(unsigned int id)
{
	if (state_of(id) != CORE_VCPU_DOWN)
		return true; /* it was up before, and sleeps */
	__atomic_fetch_or(&k.c.ctl->start_request, 1u << id, __ATOMIC_SEQ_CST);
	core_ring_doorbell(&k.c);
	return true;
}
