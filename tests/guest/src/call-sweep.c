/* SPDX-License-Identifier: MIT */
/* Every command number of every hypercall that has commands, with a zero structure and without. */
#include "pvg.h"
#include <xen/nmi.h>

static u64 zero[512] __page;
static unsigned int own;
static const char *what;
static long last;
static unsigned int from, to;

static void flush_range(void)
{
	if (from <= to)
		printf("  %d-%d: %le\n", from, to, last);
}

static void start(const char *name)
{
	what = name;
	printf("%s:\n", name);
	from = 1;
	to = 0;
}

static void got(unsigned int n, long r)
{
	if (from <= to && r == last) {
		to = n;
		return;
	}
	flush_range();
	from = to = n;
	last = r;
}

static void end(void)
{
	flush_range();
}

#define SWEEP(name, first, last_, skip, call)                                                      \
	do {                                                                                       \
		start(name);                                                                       \
		for (unsigned int i = first; i <= last_; i++) {                                    \
			if (skip)                                                                  \
				continue;                                                          \
			memset(zero, 0, sizeof(zero));                                             \
			got(i, call);                                                              \
		}                                                                                  \
		end();                                                                             \
	} while (0)

#define HOLE 0x600000000000

/* domctl, sysctl: the command and the interface's version come first. */
static long control(unsigned int nr, unsigned int cmd, unsigned int version, unsigned int domid)
{
	zero[0] = cmd | (u64)version << 32;
	zero[1] = domid;
	return pvg_raw_syscall(nr, (u64)zero, 0, 0, 0, 0);
}

static void controls(void)
{
	static const unsigned int ids[] = {DOMID_SELF, 0, 1000, 0x8000, DOMID_IO, DOMID_INVALID};

	SWEEP("domctl 1, versions", 0, 64, false, control(36, 1, i, 0));
	SWEEP("sysctl 1, versions", 0, 64, false, control(35, 1, i, 0));
	SWEEP("domctl, own", 0, 100, false, control(36, i, 0x15, own));
	for (unsigned int k = 0; k < ARRAY_SIZE(ids); k++) {
		printf("domain %x\n", ids[k]);
		SWEEP("domctl", 0, 100, false, control(36, i, 0x15, ids[k]));
	}
	SWEEP("sysctl", 0, 40, false, control(35, i, 0x15, 0));
	SWEEP("platform_op", 0, 80, false, control(7, i, 0x03000000, 0));
	SWEEP("platform_op, version 1", 0, 80, false, control(7, i, 1, 0));
	SWEEP("hvm_op", 0, 30, false, HC2(hvm_op, i, zero));
	SWEEP("hvm_op from a hole", 0, 30, false, HC2(hvm_op, i, HOLE));
	SWEEP("xenoprof_op", 0, 30, false, HC2(xenoprof_op, i, zero));
	SWEEP("xenoprof_op from a hole", 0, 30, false, HC2(xenoprof_op, i, HOLE));
	SWEEP("kexec_op", 0, 10, false, HC2(kexec_op, i, zero));
	SWEEP("xenpmu_op", 0, 12, false, HC2(xenpmu_op, i, zero));
	SWEEP("xsm_op", 0, 3, false, pvg_raw_syscall(27, i, 0, 0, 0, 0));
	SWEEP("tmem_op", 0, 3, false, pvg_raw_syscall(38, i, 0, 0, 0, 0));
	SWEEP("argo_op", 0, 6, false, pvg_raw_syscall(39, i, (u64)zero, 0, 0, 0));
	SWEEP("hypfs_op", 0, 6, false, pvg_raw_syscall(42, i, (u64)zero, 1, (u64)zero, 8));
	SWEEP("mca", 0, 12, false,
	      (zero[0] = i | 0x0f0ull << 32, pvg_raw_syscall(48, (u64)zero, 0, 0, 0, 0)));
	SWEEP("dm_op to self, buffers", 0, 6, false, HC3(dm_op, DOMID_SELF, i, zero));
	SWEEP("dm_op to 0, buffers", 0, 6, false, HC3(dm_op, 0, i, zero));
	SWEEP("dm_op to nobody, buffers", 0, 6, false, HC3(dm_op, 1000, i, zero));
	SWEEP("dm_op from a hole, buffers", 0, 6, false, HC3(dm_op, 0, i, HOLE));
	SWEEP("console_io", 0, 5, false, HC3(console_io, i, 1, zero));
	SWEEP("arch numbers", 43, 64, i == 49, pvg_raw_syscall(i, 0, 0, 0, 0, 0));
	SWEEP("paging_domctl_cont", 0, 1, false, control(49, i, 0x15, DOMID_SELF));
	SWEEP("paging_domctl_cont, domain 0", 0, 1, false, control(49, i, 0x15, 0));
}

static void memory(void)
{
	SWEEP("memory_op", 0, 63, i == 2,
	      HC2(memory_op, i, zero) > 0 ? 1 : HC2(memory_op, i, zero));
	SWEEP("memory_op from a hole", 0, 63, i == 2, HC2(memory_op, i, HOLE));
	SWEEP("memory_op, started", 0, 63, false, HC2(memory_op, i | 1 << 6, zero));
	SWEEP("memory_op, started, from a hole", 0, 63, false, HC2(memory_op, i | 1 << 6, HOLE));
	SWEEP("memory_op 2^32 +", 0, 63, i == 2,
	      HC2(memory_op, i | 1ul << 32, zero) > 0 ? 1 : HC2(memory_op, i | 1ul << 32, zero));
	SWEEP("memory_op for SELF", 0, 63, i == 2,
	      (zero[0] = DOMID_SELF, HC2(memory_op, i, zero)) > 0 ? 1 : HC2(memory_op, i, zero));
}

static void others(void)
{
	SWEEP("physdev_op", 0, 40, i == 12, HC2(physdev_op, i, zero));
	SWEEP("physdev_op from a hole", 0, 40, false, HC2(physdev_op, i, HOLE));
	SWEEP("vcpu_op, vCPU 0", 0, 70, i == 2 || i == 10 || i == 5 || i == 13 || i == 11,
	      HC3(vcpu_op, i, 0, zero));
	SWEEP("vcpu_op, vCPU 0, from a hole", 0, 70, i == 2 || i == 11, HC3(vcpu_op, i, 0, HOLE));
	SWEEP("vcpu_op, vCPU 1", 0, 70, false, HC3(vcpu_op, i, 1, zero));
	SWEEP("vcpu_op, vCPU 8192", 0, 70, false, HC3(vcpu_op, i, 8192, zero));
	SWEEP("vcpu_op, vCPU -1", 0, 70, false, HC3(vcpu_op, i, ~0ul, zero));
	SWEEP("vcpu_op, vCPU 2^32", 0, 70, i == 2 || i == 10 || i == 5 || i == 13 || i == 11,
	      HC3(vcpu_op, i, 1ul << 32, zero));
	SWEEP("sched_op", 0, 20, (i >= 1 && i <= 3) || i == 5 || i == 6, HC2(sched_op, i, zero));
	SWEEP("sched_op from a hole", 0, 20, i == 1, HC2(sched_op, i, HOLE));
	SWEEP("vm_assist enable", 0, 70, i == 6, HC2(vm_assist, 0, i));
	SWEEP("vm_assist disable", 0, 70, false, HC2(vm_assist, 1, i));
	SWEEP("vm_assist command", 2, 6, false, HC2(vm_assist, i, 0));
	SWEEP("vm_assist type 2^32 +", 0, 8, false, HC2(vm_assist, 1, i | 1ul << 32));
	SWEEP("grant_table_op", 0, 20, false, HC3(grant_table_op, i, zero, 1));
	SWEEP("grant_table_op of none", 0, 20, false, HC3(grant_table_op, i, zero, 0));
	SWEEP("grant_table_op of two", 0, 20, false, HC3(grant_table_op, i, zero, 2));
	SWEEP("grant_table_op of -1", 0, 20, false, HC3(grant_table_op, i, zero, ~0u));
	SWEEP("grant_table_op from a hole", 0, 20, false, HC3(grant_table_op, i, HOLE, 1));
	SWEEP("grant_table_op of none from Xen", 0, 20, false,
	      HC3(grant_table_op, i, 0xffff82d040200000, 0));
	SWEEP("event_channel_op", 0, 20, false, HC2(event_channel_op, i, zero));
	SWEEP("event_channel_op from a hole", 0, 20, false, HC2(event_channel_op, i, HOLE));
	SWEEP("event_channel_op_compat", 0, 20, false,
	      (zero[0] = i, pvg_raw_syscall(16, (u64)zero, 0, 0, 0, 0)));
	SWEEP("physdev_op_compat", 0, 20, false,
	      (zero[0] = i, pvg_raw_syscall(19, (u64)zero, 0, 0, 0, 0)));
	SWEEP("sched_op_compat", 0, 8, i == 1 || i == 2, pvg_raw_syscall(6, i, 0, 0, 0, 0));
	SWEEP("xen_version", 1, 20, i == 2, HC2(xen_version, i, zero));
	SWEEP("xen_version from a hole", 1, 20, false, HC2(xen_version, i, HOLE));
	SWEEP("callback register", 0, 12, false, (zero[0] = i, HC2(callback_op, 0, zero)));
	SWEEP("callback register, flags", 0, 31, false,
	      (zero[0] = 7 | (1ul << i) << 16, HC2(callback_op, 0, zero)));
	SWEEP("callback unregister", 0, 12, false, (zero[0] = i, HC2(callback_op, 1, zero)));
	SWEEP("callback_op", 2, 8, false, HC2(callback_op, i, zero));
	SWEEP("nmi_op", 0, 6, false, HC2(nmi_op, i, zero));
	SWEEP("set_segment_base to 0", 0, 8, false, HC2(set_segment_base, i, 0));
	SWEEP("set_segment_base to 2^47", 0, 8, false, HC2(set_segment_base, i, 1ul << 47));
	SWEEP("set_segment_base of Xen", 0, 8, false, HC2(set_segment_base, i, 0xffff82d040200000));
	SWEEP("set_segment_base back", 0, 2, false, HC2(set_segment_base, i, 0));
	SWEEP("set_debugreg to 0", 0, 12, false, HC2(set_debugreg, i, 0));
	SWEEP("set_debugreg to 0, 2^32 +", 0, 8, false, HC2(set_debugreg, 1ul << 32 | i, 0));
	SWEEP("get_debugreg", 0, 12, false, HC1(get_debugreg, i) ? HC1(get_debugreg, i) : 0);
	SWEEP("dr7, one bit", 0, 63, false, HC2(set_debugreg, 7, 1ul << i));
	HC2(set_debugreg, 7, 0);
	SWEEP("dr6, one bit", 0, 63, false, HC2(set_debugreg, 6, 1ul << i));
	SWEEP("dr6, one bit, then", 0, 63, false,
	      (HC2(set_debugreg, 6, 1ul << i), HC1(get_debugreg, 6)));
	HC2(set_debugreg, 6, 0);
	SWEEP("dr0, one bit", 0, 63, false, HC2(set_debugreg, 0, 1ul << i));
	SWEEP("dr7, R/W and LEN of 0, enabled", 0, 15, false,
	      HC2(set_debugreg, 7, 1 | (u64)i << 16));
	HC2(set_debugreg, 7, 0);
	SWEEP("dr7, R/W and LEN of 3, not enabled", 0, 15, false,
	      HC2(set_debugreg, 7, (u64)i << 28));
	HC2(set_debugreg, 7, 0);
	SWEEP("mmuext_op", 0, 30, i >= 5 && i <= 12,
	      (zero[0] = i, zero[1] = 0x3fffffff, HC4(mmuext_op, zero, 1, 0, DOMID_SELF)));
	SWEEP("mmuext_op, bit 31", 0, 30, false,
	      (zero[0] = i | 1u << 31, zero[1] = 0x3fffffff,
	       HC4(mmuext_op, zero, 1, 0, DOMID_SELF)));
	SWEEP("fpu_taskswitch", 0, 2, false, HC1(fpu_taskswitch, i));
	HC1(fpu_taskswitch, 0);
}

/* What comes back when a call is told to do nothing, or far too much. */
static void counts(void)
{
	static const u64 n[] = {0,	    1,		2,	   0x7fffffff, 0x80000000,
				0x80000001, 0xffffffff, 1ul << 32, 1ul << 63};

	for (unsigned int i = 0; i < ARRAY_SIZE(n); i++) {
		printf("count %lx:", n[i]);
		memset(zero, 0, sizeof(zero));
		printf(" mmu_update %le", HC4(mmu_update, HOLE, n[i], 0, DOMID_SELF));
		printf(" mmuext_op %le", HC4(mmuext_op, HOLE, n[i], 0, DOMID_SELF));
		printf(" multicall %le", HC2(multicall, HOLE, n[i]));
		printf(" set_gdt %le", n[i] ? HC2(set_gdt, HOLE, n[i]) : 0);
		for (unsigned int cmd = 0; cmd < 13; cmd++)
			printf(" %le", HC3(grant_table_op, cmd, HOLE, n[i]));
		printf("\n");
	}
	{
		u32 done = 77;

		printf("mmu_update of 2^31 at null: %le, done %d\n",
		       HC4(mmu_update, 0, 1u << 31, &done, DOMID_SELF), done);
		done = 77;
		printf("mmuext_op of 2^31 at null: %le, done %d\n",
		       HC4(mmuext_op, 0, 1u << 31, &done, DOMID_SELF), done);
		done = 77;
		printf("mmu_update of 2^31 + 1 at a hole: %le, done %d\n",
		       HC4(mmu_update, HOLE, 0x80000001, &done, DOMID_SELF), done);
		done = 77;
		printf("mmu_update of 2^31 at a good place: %le, done %d\n",
		       HC4(mmu_update, zero, 1u << 31, &done, DOMID_SELF), done);
	}
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_store_init();
	own = (unsigned int)pvg_store_number("domid");
	controls();
	memory();
	others();
	counts();
}
