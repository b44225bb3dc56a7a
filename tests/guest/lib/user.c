/* SPDX-License-Identifier: MIT */
/* Into the guest's user mode by iret, and back by the first trap or system call there. */
#include "pvg.h"

struct pvg_user pvg_user;
struct iret_context pvg_user_frame;
u64 pvg_user_saved_rsp;
void pvg_user_enter(const struct iret_context *frame);
void pvg_user_leave(void);
void pvg_user_called(const u64 *f);

__asm__(".text\n.globl pvg_user_enter, pvg_user_leave, pvg_user_syscall\n"
	"pvg_user_enter:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rsp, pvg_user_saved_rsp(%rip)\n"
	"mov %rdi, %rsp\n"
	"mov $23, %eax\n syscall\n"
	"pvg_user_syscall:\n" /* rcx, r11, rip, cs, rflags, rsp, ss */
	"push %rdx\n push %rax\n mov %rsp, %rdi\n cld\n"
	"call pvg_user_called\n"
	"pvg_user_leave:\n"
	"mov pvg_user_saved_rsp(%rip), %rsp\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n ret\n");

void pvg_user_called(const u64 *f)
{
	pvg_user.how = PVG_USER_SYSCALL;
	pvg_user.mask = VCPU0->evtchn_upcall_mask;
	pvg_user.gprs[0] = f[0];
	pvg_user.gprs[3] = f[1];
	pvg_user.gprs[1] = f[2];
	pvg_user.gprs[2] = f[3];
	pvg_user.f.rip = f[4];
	pvg_user.f.cs = f[5];
	pvg_user.f.rflags = f[6];
	pvg_user.f.rsp = f[7];
	pvg_user.f.ss = f[8];
}

bool pvg_user_trap(struct trap_frame *f)
{
	if (pvg_user.how != PVG_USER_RUNS)
		return false;
	pvg_user.how = PVG_USER_TRAP;
	pvg_user.f = *f;
	pvg_user.mask = VCPU0->evtchn_upcall_mask;
	pvg_user.cr2 = VCPU0->arch.cr2;
	/* Leave as from pvg_user_enter(). */
	f->rip = (u64)pvg_user_leave;
	f->cs = KERNEL_CS & ~3u; /* RPL 3 would be user mode again */
	f->ss = KERNEL_DS;
	f->rflags = 0x202;
	f->rsp = pvg_user_saved_rsp;
	return true;
}

void pvg_user_defaults(u64 rip, u64 rsp)
{
	pvg_user_frame = (struct iret_context){
		.r11 = 0x1111,
		.rcx = 0xcccc,
		.rip = rip,
		.cs = 0xe033,
		.rflags = 0x202,
		.rsp = rsp,
		.ss = 0xe02b,
	};
}

void pvg_user_go(void)
{
	static struct iret_context frame __attribute__((aligned(16)));

	frame = pvg_user_frame;
	pvg_user.how = PVG_USER_RUNS;
	pvg_user_enter(&frame);
}

static u64 *space[4]; /* L1 to L4 */

u64 *pvg_user_space(u64 va)
{
	for (unsigned int i = 0; i < 4; i++)
		space[i] = pvg_page_alloc();
	space[3][L4X(va)] = pvg_mfn_of(space[2]) << 12 | PTE_KERN | PTE_US;
	space[2][L3X(va)] = pvg_mfn_of(space[1]) << 12 | PTE_KERN | PTE_US;
	space[1][L2X(va)] = pvg_mfn_of(space[0]) << 12 | PTE_KERN | PTE_US;
	return space[0];
}

long pvg_user_space_use(void)
{
	for (unsigned int i = 0; i < 4; i++)
		pvg_set_ro(space[i]);
	return pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(space[3]), 0);
}

void pvg_user_init(void)
{
	static u8 kernel_stack[8192] __attribute__((aligned(16)));
	struct callback_register cb = {.type = CALLBACKTYPE_syscall,
				       .address = (u64)pvg_user_syscall};

	HC2(stack_switch, KERNEL_DS, kernel_stack + sizeof(kernel_stack));
	HC2(callback_op, CALLBACKOP_register, &cb);
	pvg_trap_hook = pvg_user_trap;
}
