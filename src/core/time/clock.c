/* SPDX-License-Identifier: MIT */
/*
 * The clocks of the guest: pvclock pages and the wall clock. Both follow a version protocol: odd
 * while the values change, so that a reader on another vCPU tries again.
 */
#include "core/time/time.h"

#include "core/event/event.h"
#include "core/hypercall/hypercall.h"
#include "core/lib/lock.h"
#include "core/run.h"

static uint64_t scale(uint64_t delta, uint32_t mul, int32_t shift)
{
	if (shift < 0)
		delta >>= -shift;
	else
		delta <<= shift;
	return (uint64_t)(((unsigned __int128)delta * mul) >> 32);
}

uint64_t core_time_now(const struct core_ctx *c)
{
	const struct core_ctl *ctl = c->ctl;
	uint64_t tsc = c->ops->rdtsc((struct core_ctx *)c);
	uint64_t base = ctl->tsc_base;

	/* Another core's counter may be a little behind the one that took the base. */
	uint64_t delta = tsc > base ? tsc - base : 0;

	return scale(delta, ctl->tsc_mul, ctl->tsc_shift) + ctl->ns_base;
}

static void fill(const struct core_ctx *c, struct vcpu_time_info *t)
{
	t->tsc_timestamp = c->ctl->tsc_base;
	t->system_time = c->ctl->ns_base;
	t->tsc_to_system_mul = c->ctl->tsc_mul;
	t->tsc_shift = (int8_t)c->ctl->tsc_shift;
	/*
	 * All vCPUs share one set of parameters, so time never goes back between them - if the
	 * processors' counters agree. Otherwise the guest has to see to it.
	 */
	t->flags = c->ctl->boot.flags & CORE_BOOT_TSC_UNSTABLE ? 0 : XEN_PVCLOCK_TSC_STABLE_BIT;
}

/* Registered areas are the kernel's: they are written through its page tables in any mode. */
static bool put(struct core_ctx *c, uint64_t va, const void *src, size_t len)
{
	return core_addr_ok(va) && core_write_as_kernel(c, va, src, len) == 0;
}

static void publish_time(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	struct vcpu_time_info *t = &core_vcpu_info(c, v)->time;

	v->time_version = (v->time_version | 1) + 1; /* even, never 0 */
	__atomic_store_n(&t->version, v->time_version - 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	fill(c, t);
	__atomic_store_n(&t->version, v->time_version, __ATOMIC_RELEASE);

	if (v->time_va == 0)
		return;
	/* The copy lies in guest memory: three writes, as Xen does it; a bad address is ignored. */
	struct vcpu_time_info copy = *t;

	copy.version = v->time_version - 1;
	if (!put(c, v->time_va, &copy, 4))
		return;
	if (!put(c, v->time_va + 4, (uint8_t *)&copy + 4, sizeof(copy) - 4))
		return;
	copy.version = v->time_version;
	(void)put(c, v->time_va, &copy, 4);
}

static void publish_wallclock(struct core_ctx *c, uint32_t version)
{
	struct shared_info *s = core_shared_info(c);

	core_lock(c, &c->d->sched_lock);
	if (version != c->d->wall_version || s->wc_version == 0) {
		int64_t offset = c->ctl->boot.wallclock_offset_ns;
		uint64_t sec = c->ctl->wall_sec;
		int64_t nsec = (int64_t)c->ctl->wall_nsec + offset % 1000000000;

		sec += (uint64_t)(offset / 1000000000);
		if (nsec < 0) {
			nsec += 1000000000;
			sec--;
		} else if (nsec >= 1000000000) {
			nsec -= 1000000000;
			sec++;
		}
		uint32_t odd = s->wc_version | 1;

		__atomic_store_n(&s->wc_version, odd, __ATOMIC_RELEASE);
		__atomic_thread_fence(__ATOMIC_RELEASE);
		s->wc_sec = (uint32_t)sec;
		s->wc_sec_hi = (uint32_t)(sec >> 32);
		s->wc_nsec = (uint32_t)nsec;
		__atomic_store_n(&s->wc_version, odd + 1, __ATOMIC_RELEASE);
		c->d->wall_version = version;
	}
	core_unlock(c, &c->d->sched_lock);
}

void core_time_update(struct core_ctx *c, bool force)
{
	struct core_vcpu *v = c->v;
	const struct core_ctl *ctl = c->ctl;
	uint64_t scaling = (uint64_t)ctl->tsc_mul << 32 | (uint8_t)ctl->tsc_shift;

	if (force || v->time_params[0] != ctl->tsc_base || v->time_params[1] != ctl->ns_base ||
	    v->time_params[2] != scaling) {
		v->time_params[0] = ctl->tsc_base;
		v->time_params[1] = ctl->ns_base;
		v->time_params[2] = scaling;
		publish_time(c);
	}

	uint32_t version = __atomic_load_n(&ctl->wall_version, __ATOMIC_ACQUIRE);

	if (version != c->d->wall_version || core_shared_info(c)->wc_version == 0)
		publish_wallclock(c, version);
}
