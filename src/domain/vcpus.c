/* SPDX-License-Identifier: MIT */
/* vCPUs beyond the first: started when the guest brings them up. */
#include "domain/run.h"

#include <stdio.h>

#include "domain/memory.h"

void run_start_vcpus(struct run *r)
{
	struct core_ctl *ctl = memory_ctl(&r->mem);
	char text[sizeof(((struct pvv_error *)0)->message) + 64];
	uint32_t want;

	if (!__atomic_load_n(&ctl->start_request, __ATOMIC_RELAXED))
		return;
	/* Each at most once, whatever a monitor asks: a vCPU that is down again keeps its process.
	 */
	want = __atomic_exchange_n(&ctl->start_request, 0, __ATOMIC_SEQ_CST) & ~r->vcpus_started;
	for (unsigned int id = 1; id < r->boot.nr_vcpus && id < CORE_MAX_VCPUS; id++) {
		struct pvv_error e;

		if (!(want >> id & 1) || !r->ops->start_vcpu)
			continue;
		r->vcpus_started |= 1u << id;
		if (r->ops->start_vcpu(r->exec, id) >= 0)
			continue;
		err_save(&e);
		snprintf(text, sizeof(text), "vCPU %u could not be started: %s", id, e.message);
		run_stop(r, RUN_END_FAULT, text);
		return;
	}
}
