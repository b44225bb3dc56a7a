/* SPDX-License-Identifier: MIT */
/* More vCPUs: each starts in pvg_smp_main() on a stack of its own, which also says who it is. */
#include "pvg.h"

#define STACK_SIZE 16384u

static u8 stacks[PVG_MAX_VCPUS][STACK_SIZE] __page;
static void (*volatile entry_fn[PVG_MAX_VCPUS])(unsigned int cpu);
static volatile u32 started[PVG_MAX_VCPUS];
u8 pvg_port_cpu[4096];

unsigned int pvg_cpu(void)
{
	u64 at;

	__asm__ volatile("mov %%rsp, %0" : "=r"(at));
	at -= (u64)stacks;
	return at < sizeof(stacks) ? (unsigned int)(at / STACK_SIZE) : 0;
}

/* Its stack is empty but for a return address that nobody uses. */
static void pvg_smp_main(void)
{
	unsigned int cpu = pvg_cpu();

	started[cpu] = 1;
	entry_fn[cpu](cpu);
	for (;;)
		HC3(vcpu_op, VCPUOP_down, cpu, 0);
}

void pvg_vcpu_context(struct vcpu_guest_context *x, unsigned int cpu)
{
	memset(x, 0, sizeof(*x));
	x->flags = VGCF_IN_KERNEL;
	x->user_regs.rip = (u64)pvg_smp_main;
	x->user_regs.rsp = (u64)stacks[cpu] + STACK_SIZE - 8;
	x->user_regs.rflags = 0x200;
	x->user_regs.cs = KERNEL_CS;
	x->user_regs.ss = KERNEL_DS;
	x->kernel_ss = KERNEL_DS;
	x->kernel_sp = x->user_regs.rsp;
	x->ctrlreg[3] = pvg_root_mfn() << 12;
	x->event_callback_eip = (u64)pvg_event_entry;
	x->failsafe_callback_eip = (u64)pvg_failsafe_entry;
	for (unsigned int i = 0; i < 256; i++) {
		x->trap_ctxt[i].vector = (u8)i;
		x->trap_ctxt[i].cs = KERNEL_CS;
		x->trap_ctxt[i].address = pvg_trap_stubs[i];
	}
}

long pvg_vcpu_init(unsigned int cpu)
{
	static struct vcpu_guest_context x;

	pvg_vcpu_context(&x, cpu);
	return HC3(vcpu_op, VCPUOP_initialise, cpu, &x);
}

long pvg_vcpu_up(unsigned int cpu, void (*fn)(unsigned int cpu))
{
	long rc;

	entry_fn[cpu] = fn;
	rc = HC3(vcpu_op, VCPUOP_up, cpu, 0);
	while (rc == 0 && !started[cpu])
		pvg_relax();
	return rc;
}

void pvg_relax(void)
{
	static u32 turn[PVG_MAX_VCPUS];

	__asm__ volatile("pause");
	/* Xen may have fewer processors than we have vCPUs. */
	if (++turn[pvg_cpu()] % 64 == 0)
		HC2(sched_op, SCHEDOP_yield, 0);
}

/* ---- one that does what it is told --------------------------------------------------------- */

static struct {
	void (*volatile job)(void);
	volatile u32 asked, done;
} worker[PVG_MAX_VCPUS];

static void work(unsigned int cpu)
{
	for (;;) {
		while (worker[cpu].done == worker[cpu].asked)
			pvg_relax();
		mb();
		worker[cpu].job();
		mb();
		worker[cpu].done = worker[cpu].asked;
	}
}

long pvg_worker_up(unsigned int cpu)
{
	return pvg_vcpu_up(cpu, work);
}

void pvg_ask(unsigned int cpu, void (*fn)(void))
{
	worker[cpu].job = fn;
	mb();
	worker[cpu].asked++;
}

bool pvg_wait_ns(unsigned int cpu, u64 ns)
{
	u64 end = pvg_now() + ns;

	while (worker[cpu].done != worker[cpu].asked) {
		if (pvg_now() > end)
			return false;
		pvg_relax();
	}
	return true;
}

void pvg_on(unsigned int cpu, void (*fn)(void))
{
	if (cpu == pvg_cpu()) {
		fn();
		return;
	}
	pvg_ask(cpu, fn);
	while (worker[cpu].done != worker[cpu].asked)
		pvg_relax();
}
