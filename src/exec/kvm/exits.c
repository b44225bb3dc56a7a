/* SPDX-License-Identifier: MIT */
/*
 * What a return from KVM_RUN means. The ring 0 behind it may be the monitor, or a guest that has
 * taken it over: every number here is checked as if the guest had sent it. Only decides; vcpu.c
 * acts. (So it can be fuzzed without KVM: tests/fuzz/fuzz_kvmexit.c.)
 */
#include <stdio.h>

#include "exec/kvm/kvm.h"

static enum kvm_verdict over(char *why, const char *text)
{
	snprintf(why, KVM_WHY_MAX, "%s", text);
	return KVM_OVER;
}

static enum kvm_verdict port(const struct kvm_run *run, char *why)
{
	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.size != 4 || run->io.count != 1)
		return over(why, "the monitor used an I/O port in a way it may not");
	switch (run->io.port) {
	case KVM_PORT_DISCARD:
		return KVM_DISCARD;
	case KVM_PORT_XCR0:
		return KVM_SET_XCR0;
	case KVM_PORT_DIE:
		return over(why, "the monitor gave up");
	default:
		return over(why, "the monitor used an unknown I/O port");
	}
}

enum kvm_verdict kvm_exit_meaning(const struct kvm_run *run, char why[KVM_WHY_MAX])
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return port(run, why);
	case KVM_EXIT_INTR:
		return KVM_AGAIN;
	case KVM_EXIT_SHUTDOWN:
		return over(why, "the monitor took an exception that it could not handle");
	case KVM_EXIT_MMIO:
		return over(why, "the monitor touched memory that is not there");
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(why, KVM_WHY_MAX,
			 "KVM could not enter the virtual machine (reason 0x%llx)",
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return KVM_OVER;
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(why, KVM_WHY_MAX, "KVM reported an internal error (%u)",
			 run->internal.suberror);
		return KVM_OVER;
	default:
		snprintf(why, KVM_WHY_MAX, "KVM returned for reason %u, which is not expected",
			 run->exit_reason);
		return KVM_OVER;
	}
}

/* Frames of the domain's RAM only, and no sum that wraps. */
bool kvm_discard_ok(const struct exec_memory *m, uint64_t first, uint64_t nr)
{
	return first >= m->ram_first && first < m->nr_frames && nr != 0 &&
	       nr <= m->nr_frames - first;
}
