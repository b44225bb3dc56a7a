/* SPDX-License-Identifier: MIT */
/*
 * Several vCPUs at once, each a thread: locks, events, block and poll, pausing, and page tables
 * that all of them change. The executor below does what ring3 does, with the threads' own means.
 */
#include "harness.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>

#include "core/lib/lock.h"
#include "core/mm/internal.h"

#define NR     4u
#define ROUNDS 3000u

/* ---- the executor ------------------------------------------------------------------------- */

static void nothing_mask(struct core_ctx *c, uint64_t mask)
{
}
static void nothing_va(struct core_ctx *c, uint64_t mask, uint64_t va)
{
}
static void nothing_frame(struct core_ctx *c, uint64_t mfn)
{
}
static void nothing(struct core_ctx *c)
{
}
static void discard(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
	memset(c->ram + (mfn << 12), 0, nr << 12);
}
static void futex(uint32_t *word, int op, uint32_t value)
{
	const struct timespec soon = {0, 10000000};

	syscall(SYS_futex, word, op, value, op == FUTEX_WAIT ? &soon : NULL, NULL, 0);
}
static void kick(struct core_ctx *c, unsigned int id)
{
	futex(&c->ctl->vcpu[id].kick, FUTEX_WAKE, 1);
}
static void op_wait(struct core_ctx *c, uint32_t *word, uint32_t value)
{
	futex(word, FUTEX_WAIT, value);
}
static void op_wake(struct core_ctx *c, uint32_t *word)
{
	futex(word, FUTEX_WAKE, 1);
}
static void op_yield(struct core_ctx *c)
{
	sched_yield();
}
static bool start(struct core_ctx *c, unsigned int id)
{
	return true;
}
static uint64_t tsc(struct core_ctx *c)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static const struct core_exec_ops ops = {
	.flush_all = nothing_mask,
	.flush_va = nothing_va,
	.frame_protect = nothing_frame,
	.frame_dirtied = nothing_frame,
	.root_changed = nothing,
	.frames_discard = discard,
	.doorbell = nothing,
	.kick_vcpu = kick,
	.start_vcpu = start,
	.wait = op_wait,
	.wake = op_wake,
	.yield = op_yield,
	.rdtsc = tsc,
	.cpu_changed = nothing,
};

struct vcpu {
	pthread_t thread;
	struct core_ctx c;
	struct dom *t;
	void (*run)(struct vcpu *v);
	unsigned int id;
	uint64_t arg; /* its own half page for arguments: virtual address */
	uint64_t count;
};

static struct vcpu vcpus[NR];

static void *body(void *opaque)
{
	struct vcpu *v = opaque;

	v->run(v);
	return NULL;
}

/* As if it had not been interrupted: its own stack, and nothing on it. */
static void start_frame(struct vcpu *v)
{
	if (v->id != 0)
		v->c.v->regs = v->t->c.v->regs;
	v->c.v->regs.rip = VA(PG_CODE);
	v->c.v->regs.gpr[R_RSP] = VA(PG_FREE + 16 + v->id) + 4096;
	v->c.v->kernel_sp = v->c.v->regs.gpr[R_RSP];
}

static struct dom *smp_dom(void)
{
	struct dom *t = dom_new_vcpus(NR);

	t->c.ops = &ops;
	t->ctl.tsc_base = 0;
	t->ctl.tsc_shift = 1;
	for (unsigned int i = 0; i < NR; i++) {
		struct vcpu *v = &vcpus[i];

		memset(v, 0, sizeof(*v));
		v->t = t;
		v->id = i;
		v->c = t->c;
		core_attach(&v->c, i);
		v->arg = VA(PG_FREE + i);
		if (i == 0)
			continue;
		/* As VCPUOP_initialise and _up would. */
		assert_int_equal(core_mm_set_roots(&t->c, v->c.v, PG_L4, CORE_INVALID_MFN), 0);
		v->c.v->is_initialised = 1;
		v->c.v->is_up = 1;
	}
	for (unsigned int i = 0; i < NR; i++) {
		core_vcpu_info(&t->c, vcpus[i].c.v)->evtchn_upcall_mask = 1;
		start_frame(&vcpus[i]);
	}
	return t;
}

static void run_all(void (*run)(struct vcpu *v))
{
	for (unsigned int i = 0; i < NR; i++) {
		vcpus[i].run = run;
		assert_int_equal(pthread_create(&vcpus[i].thread, NULL, body, &vcpus[i]), 0);
	}
	for (unsigned int i = 0; i < NR; i++)
		pthread_join(vcpus[i].thread, NULL);
}

/* A hypercall with one structure. */
static long hc(struct vcpu *v, unsigned int nr, uint64_t cmd, const void *obj, size_t size)
{
	memcpy(v->t->ram + v->arg, obj, size);
	return call_on(&v->c, nr, cmd, v->arg, 0, 0);
}

/* What an executor's loop does while the guest sleeps: false = the domain stopped. */
static bool next(struct vcpu *v)
{
	struct core_ctl_vcpu *cv = &v->t->ctl.vcpu[v->id];

	for (;;) {
		enum core_action a = core_next(&v->c);

		if (a == CORE_RUN)
			return true;
		if (a == CORE_STOP)
			return false;
		__atomic_store_n(&cv->state, CORE_VCPU_BLOCKED, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&cv->kick, __ATOMIC_SEQ_CST))
			futex(&cv->kick, FUTEX_WAIT, 0);
		__atomic_store_n(&cv->state, CORE_VCPU_GUEST, __ATOMIC_SEQ_CST);
	}
}

/* ---- locks -------------------------------------------------------------------------------- */

static uint32_t the_lock;
static uint64_t guarded;

static void lock_often(struct vcpu *v)
{
	for (unsigned int i = 0; i < 20 * ROUNDS; i++) {
		core_lock(&v->c, &the_lock);
		guarded++;
		if (i % 512 == 0)
			sched_yield(); /* a holder that loses its processor */
		core_unlock(&v->c, &the_lock);
	}
}

static void locks_exclude(void **state)
{
	struct dom *t = smp_dom();

	guarded = 0;
	run_all(lock_often);
	assert_int_equal(guarded, 20ull * NR * ROUNDS);
	assert_int_equal(the_lock, CORE_LOCK_FREE);
	dom_free(t);
}

/* ---- events ------------------------------------------------------------------------------- */

static uint32_t port_of[NR];

static bool take(struct vcpu *v)
{
	struct shared_info *s = core_shared_info(&v->c);
	struct vcpu_info *info = core_vcpu_info(&v->c, v->c.v);
	uint32_t port = port_of[v->id];

	__atomic_store_n(&info->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_exchange_n(&info->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
	return __atomic_fetch_and(&s->evtchn_pending[port / 64], ~(1ull << port % 64),
				  __ATOMIC_SEQ_CST) >>
		       port % 64 &
	       1;
}

/*
 * A token goes round, one hop an event; each waits for it asleep. A lost wake-up would make the
 * round stand still (and the test time out) but for the ten milliseconds of the futex above, so
 * the number of sleeps that ended by themselves is looked at, too.
 */
static void pass_on(struct vcpu *v)
{
	struct evtchn_send op = {.port = port_of[(v->id + 1) % NR]};

	for (unsigned int i = 0; i < ROUNDS; i++) {
		while (!take(v)) {
			if (v->id % 2) {
				struct sched_poll p = {.nr_ports = 1};

				memcpy(v->t->ram + v->arg + 64, &port_of[v->id], 4);
				set_xen_guest_handle(p.ports,
						     (evtchn_port_t *)(uintptr_t)(v->arg + 64));
				hc(v, __HYPERVISOR_sched_op, SCHEDOP_poll, &p, sizeof(p));
			} else {
				call_on(&v->c, __HYPERVISOR_sched_op, SCHEDOP_block, 0, 0, 0);
			}
			if (!next(v))
				return;
			core_vcpu_info(&v->c, v->c.v)->evtchn_upcall_mask = 1;
			v->c.v->regs.rip = VA(PG_CODE);
			v->c.v->regs.gpr[R_RSP] = v->c.v->kernel_sp;
		}
		v->count++;
		hc(v, __HYPERVISOR_event_channel_op, EVTCHNOP_send, &op, sizeof(op));
	}
}

static void a_token_goes_round(void **state)
{
	struct dom *t = smp_dom();
	uint64_t start_ns;

	for (unsigned int i = 0; i < NR; i++) {
		struct evtchn_bind_ipi op = {.vcpu = i};

		assert_int_equal(EVTCHN(t, EVTCHNOP_bind_ipi, &op), 0);
		port_of[i] = op.port;
		vcpus[i].c.v->cb_event = (struct core_callback){.addr = EVENT_HANDLER, .set = 1};
		if (i % 2) /* pollers mask their port, or they would get the event by an upcall */
			core_shared_info(&t->c)->evtchn_mask[op.port / 64] |= 1ull << op.port % 64;
	}
	start_ns = tsc(&t->c);
	t->c = vcpus[0].c;
	struct evtchn_send first = {.port = port_of[0]};

	hc(&vcpus[0], __HYPERVISOR_event_channel_op, EVTCHNOP_send, &first, sizeof(first));
	run_all(pass_on);
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(vcpus[i].count, ROUNDS);
	/* Ten milliseconds for each of 12,000 hops would be two minutes. */
	assert_true(tsc(&t->c) - start_ns < 60000000000ull);
	dom_free(t);
}

/* ---- ports -------------------------------------------------------------------------------- */

static void bind_and_close(struct vcpu *v)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct evtchn_bind_ipi op = {.vcpu = (v->id + i) % NR};
		struct evtchn_close close;
		struct evtchn_send send;

		assert_int_equal(
			hc(v, __HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &op, sizeof(op)),
			0);
		memcpy(&op, v->t->ram + v->arg, sizeof(op));
		send.port = op.port;
		assert_int_equal(
			hc(v, __HYPERVISOR_event_channel_op, EVTCHNOP_send, &send, sizeof(send)),
			0);
		close.port = op.port;
		assert_int_equal(
			hc(v, __HYPERVISOR_event_channel_op, EVTCHNOP_close, &close, sizeof(close)),
			0);
	}
}

static void ports_are_given_to_one(void **state)
{
	struct dom *t = smp_dom();

	run_all(bind_and_close);
	for (unsigned int port = 3; port < CORE_MAX_PORTS; port++)
		assert_int_equal(t->d->evtchn[port].state, ECS_FREE);
	dom_free(t);
}

/* ---- page tables -------------------------------------------------------------------------- */

/* Each pins and unpins a table of its own and one of all, and moves mappings about. */
static void change_tables(struct vcpu *v)
{
	const unsigned int own = PG_FREE + 32 + v->id, common = PG_FREE + 48;
	const uint64_t rw = PTE_PRESENT | PTE_RW, ro = PTE_PRESENT;

	for (unsigned int i = 0; i < ROUNDS / 4; i++) {
		struct mmuext_op op[2] = {
			{.cmd = MMUEXT_PIN_L1_TABLE, .arg1.mfn = i & 1 ? own : common},
			{.cmd = MMUEXT_UNPIN_TABLE, .arg1.mfn = i & 1 ? own : common},
		};

		call_on(&v->c, __HYPERVISOR_update_va_mapping, VA(own), VA(own) | ro, 0, 0);
		memcpy(v->t->ram + v->arg, op, sizeof(op));
		call_on(&v->c, __HYPERVISOR_mmuext_op, v->arg, 2, 0, DOMID_SELF);
		call_on(&v->c, __HYPERVISOR_update_va_mapping, VA(own), VA(own) | rw, 0, 0);
		(void)next(v);
	}
}

static void tables_stay_counted(void **state)
{
	struct dom *t = smp_dom();
	const unsigned int common = PG_FREE + 48;
	uint64_t before[NR_FRAMES], word;

	/* The common one is read-only and empty. */
	assert_int_equal(
		call(t, __HYPERVISOR_update_va_mapping, VA(common), VA(common) | PTE_PRESENT, 0, 0),
		0);
	for (unsigned int i = 0; i < NR_FRAMES; i++)
		before[i] = t->frames[i].type;
	run_all(change_tables);
	/* One may have been left pinned by two that pinned it at once; unpin it. */
	for (unsigned int i = 0; i < 2; i++) {
		struct mmuext_op op = {.cmd = MMUEXT_UNPIN_TABLE, .arg1.mfn = common};

		call(t, __HYPERVISOR_mmuext_op, ARG(t, &op), 1, 0, DOMID_SELF);
	}
	for (unsigned int i = 0; i < NR_FRAMES; i++) {
		word = t->frames[i].type;
		assert_int_equal(frame_refs(word), frame_refs(before[i]));
		if (i != common)
			assert_int_equal(frame_trefs(word), frame_trefs(before[i]));
	}
	assert_int_equal(t->d->mm_lock, 0);
	dom_free(t);
}

/* ---- reservation -------------------------------------------------------------------------- */

static void balloon(struct vcpu *v)
{
	uint64_t pfn = PG_FREE + 100 + v->id;

	for (unsigned int i = 0; i < ROUNDS / 4; i++) {
		struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
		uint64_t list = v->arg + 256, mfn;

		memcpy(v->t->ram + list, &pfn, 8);
		set_xen_guest_handle(r.extent_start, (xen_pfn_t *)(uintptr_t)list);
		/* The mapping goes first, then the frame. */
		call_on(&v->c, __HYPERVISOR_update_va_mapping, VA(PG_FREE + 100 + v->id), 0, 0, 0);
		v->count += hc(v, __HYPERVISOR_memory_op, XENMEM_decrease_reservation, &r,
			       sizeof(r)) == 1;
		memcpy(v->t->ram + list, &pfn, 8);
		v->count +=
			hc(v, __HYPERVISOR_memory_op, XENMEM_populate_physmap, &r, sizeof(r)) == 1;
		memcpy(&mfn, v->t->ram + list, 8);
		pfn = mfn;
		call_on(&v->c, __HYPERVISOR_update_va_mapping, VA(PG_FREE + 100 + v->id),
			mfn << 12 | PTE_PRESENT | PTE_RW, 0, 0);
	}
}

static void frames_are_given_to_one(void **state)
{
	struct dom *t = smp_dom();

	run_all(balloon);
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(vcpus[i].count, 2 * (ROUNDS / 4));
	assert_int_equal(t->d->tot_pages, NR_PAGES);
	dom_free(t);
}

/* ---- pause, stop -------------------------------------------------------------------------- */

static uint32_t stand_still; /* vCPUs that were seen in guest code while they must not be */
static uint32_t paused_now;

static void work(struct vcpu *v)
{
	while (next(v)) {
		if (__atomic_load_n(&paused_now, __ATOMIC_SEQ_CST))
			__atomic_fetch_add(&stand_still, 1, __ATOMIC_SEQ_CST);
		v->count++;
		call_on(&v->c, __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
		if (v->count % 64 == 0) {
			struct vcpu_set_singleshot_timer op = {
				.timeout_abs_ns = core_time_now(&v->c) + 100000};

			hc(v, __HYPERVISOR_vcpu_op, VCPUOP_stop_singleshot_timer, &op, 0);
			call_on(&v->c, __HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0, 0);
		}
	}
}

static void kick_all(struct dom *t)
{
	for (unsigned int i = 0; i < NR; i++) {
		__atomic_store_n(&t->ctl.vcpu[i].kick, 1, __ATOMIC_SEQ_CST);
		futex(&t->ctl.vcpu[i].kick, FUTEX_WAKE, 1);
	}
}

static void all_pause_and_go_on(void **state)
{
	struct dom *t = smp_dom();

	stand_still = paused_now = 0;
	for (unsigned int i = 0; i < NR; i++) {
		vcpus[i].run = work;
		assert_int_equal(pthread_create(&vcpus[i].thread, NULL, body, &vcpus[i]), 0);
	}
	for (uint32_t seq = 1; seq <= 200; seq++) {
		__atomic_store_n(&t->ctl.pause_seq, seq, __ATOMIC_SEQ_CST);
		__atomic_store_n(&t->ctl.request, CORE_REQ_PAUSE, __ATOMIC_SEQ_CST);
		kick_all(t);
		while (__atomic_load_n(&t->ctl.pause_ack, __ATOMIC_SEQ_CST) != seq)
			sched_yield();
		assert_int_equal(__atomic_load_n(&t->ctl.run_state, __ATOMIC_SEQ_CST),
				 CORE_STATE_PAUSED);
		__atomic_store_n(&paused_now, 1, __ATOMIC_SEQ_CST);
		usleep(seq % 8 ? 0 : 300);
		__atomic_store_n(&paused_now, 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&t->ctl.request, 0, __ATOMIC_SEQ_CST);
		kick_all(t);
		if (seq % 2)
			while (__atomic_load_n(&t->ctl.run_state, __ATOMIC_SEQ_CST) !=
			       CORE_STATE_RUNNING)
				sched_yield();
	}
	__atomic_store_n(&t->ctl.request, CORE_REQ_DESTROY, __ATOMIC_SEQ_CST);
	kick_all(t);
	for (unsigned int i = 0; i < NR; i++)
		pthread_join(vcpus[i].thread, NULL);
	assert_int_equal(stand_still, 0);
	dom_free(t);
}

static void crash_or_work(struct vcpu *v)
{
	for (unsigned int i = 0; next(v); i++)
		if (i == 500)
			core_crash(&v->c, "vCPU %u", v->id);
}

static void one_end_ends_all(void **state)
{
	struct dom *t = smp_dom();

	run_all(crash_or_work);
	assert_int_equal(t->ctl.run_state, CORE_STATE_CRASHED);
	assert_int_equal(strncmp(t->ctl.reason, "vCPU ", 5), 0);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locks_exclude),	   cmocka_unit_test(a_token_goes_round),
		cmocka_unit_test(ports_are_given_to_one),  cmocka_unit_test(tables_stay_counted),
		cmocka_unit_test(frames_are_given_to_one), cmocka_unit_test(all_pause_and_go_on),
		cmocka_unit_test(one_end_ends_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
