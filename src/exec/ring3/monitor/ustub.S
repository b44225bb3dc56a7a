/* SPDX-License-Identifier: MIT */
/*
 * The code of U processes beside the guest's own: at U_BASE in each of them, position independent,
 * one page. Nothing here has a secret or a right that guest user code must not have: it can jump to
 * any of these instructions with any registers.
 *
 * u_birth	what is left of a fork of N becomes M and G
 * u_mapper	M's loop
 * u_handler	G: every signal arrives here
 * u_site	G: a system call without a signal
 */
#include <sys/syscall.h>
#include "exec/ring3/user.h"

#define FUTEX_WAKE	  1
#define FUTEX_WAKE_BITSET 10
#define FUTEX_WAIT_BITSET 9
#define SIGUSR1		  10
#define SIGALRM		  14
#define SIGKILL		  9
#define PR_SET_PDEATHSIG  1
#define CLONE_G		  0x9111 /* CLONE_VM, PIDFD, PARENT; exit signal that of M: SIGCHLD */
#define FILTER_SPEC_ALLOW 4

/* Of the process that it runs in. Never by the stack pointer, which a program that jumps here brings. */
#define STATE (U_BLOCK + UB_STATE)

	.section .ustub, "ax"
	.balign	4096
	.globl	u_stub, u_birth, u_handler, u_site, u_site_saved, u_site_end, u_stub_end
u_stub:

/*
 * A fresh process, everything set up but: the rest of N is still mapped.
 *	rbx	U address of the block
 *	rbp	pid of N
 *	r12	end of the stub's area
 */
u_birth:
	/* all that is above, all that is below */
	mov	%r12, %rdi
	movabs	$U_VA_END, %rsi
	sub	%rdi, %rsi
	mov	$SYS_munmap, %eax
	syscall
	test	%rax, %rax
	jnz	u_fail
	/* M has but the memfd, so the descriptor of G's process is U_FD_GUEST, the first that is free. */
	mov	$CLONE_G, %edi
	xor	%esi, %esi
	lea	UB_STATE + US_GPR(%rbx), %rdx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	mov	$SYS_clone, %eax
	syscall
	test	%rax, %rax
	js	u_refused
	jz	u_guest_birth
	mov	$SYS_seccomp, %eax
	mov	$1, %edi
	mov	$FILTER_SPEC_ALLOW, %esi
	mov	$(U_FILTERS + UFI_MAPPER), %edx
	syscall
	test	%rax, %rax
	jnz	u_fail
	/*
	 * Until here nothing has read what K can write, and it must be so until G is bound, too:
	 * K's list could replace the code that G is about to run.
	 */
1:	cmpl	$0, U_FILTERS + UFI_BOUND
	jne	2f
	mov	$(U_FILTERS + UFI_BOUND), %edi
	mov	$FUTEX_WAIT_BITSET, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	mov	$-1, %r9d
	mov	$SYS_futex, %eax
	syscall
	jmp	1b
2:	mov	$U_FILTERS, %edi
	mov	$4096, %esi
	mov	$1, %edx		/* PROT_READ */
	mov	$SYS_mprotect, %eax
	syscall
	test	%rax, %rax
	jnz	u_fail
	xor	%r15d, %r15d

/*
 * rbx = order page, r15d = the last order seen. No memory is read but the order page, and
 * none is written but `turn`.
 */
u_mapper:
	mov	UO_SEQ(%rbx), %ecx
	cmp	%r15d, %ecx
	je	4f
	mov	%ecx, %r15d
	lea	UO_ENTRIES(%rbx), %r12
	mov	UO_NR(%rbx), %r13d
	xor	%r14d, %r14d
1:	sub	$1, %r13d
	jc	3f
	mov	(%r12), %rax
	mov	8(%r12), %rdi
	mov	16(%r12), %rsi
	mov	24(%r12), %rdx
	mov	32(%r12), %r10
	mov	40(%r12), %r8
	mov	48(%r12), %r9
	cmp	$UO_RESET, %eax
	jb	2f
	mov	$SIGUSR1, %esi
	ja	7f
	mov	$SIGALRM, %esi
7:	mov	$SYS_pidfd_send_signal, %eax
	mov	$U_FD_GUEST, %edi
	xor	%edx, %edx
	xor	%r10d, %r10d
2:	syscall
	add	$64, %r12
	cmp	$-4096, %rax
	jbe	1b
	cmpl	$UO_RESET, -64(%r12)
	je	1b
	mov	$UO_FAILED - UO_DONE, %r14d
	jmp	1b
	/* Say so where G cannot: by writing to the file. First `failed`, then `done`. */
3:	test	%r14d, %r14d
	jz	5f
	mov	$3, %edi
	mov	%rbx, %rsi
	mov	$4, %edx
	mov	UO_OFF(%rbx), %r10
	add	$UO_FAILED, %r10
	mov	$SYS_pwrite64, %eax
	syscall
	/* (what is asked for is looked at before: with `done` K may write the next list) */
5:	mov	UO_GO(%rbx), %r13d
	mov	$3, %edi
	mov	%rbx, %rsi
	mov	$4, %edx
	mov	UO_OFF(%rbx), %r10
	add	$UO_DONE, %r10
	mov	$SYS_pwrite64, %eax
	syscall
	test	%r13d, %r13d
	jnz	6f
	mfence			/* (K says that it sleeps, and then looks at `done`) */
	cmpl	$0, UO_SLEEPS(%rbx)
	je	u_mapper
	lea	UO_DONE(%rbx), %rdi
	mov	$FUTEX_WAKE, %esi
	mov	$1, %edx
	mov	$SYS_futex, %eax
	syscall
	jmp	u_mapper
4:	lea	UO_SEQ(%rbx), %rdi
	mov	$FUTEX_WAIT_BITSET, %esi
	mov	%r15d, %edx
	xor	%r10d, %r10d
	mov	$-1, %r9d
	mov	$SYS_futex, %eax
	syscall
	jmp	u_mapper

	/* The turn to G; what else `turn` says stays. First the turn, then the look at who sleeps. */
6:	lock andl $~(UT_KERNEL | UT_MAPPING), UB_STATE + US_TURN(%rbx)
	lock btrl $UT_G_SLEEPS_BIT, UB_STATE + US_TURN(%rbx)
	jnc	u_mapper
	lea	UB_STATE + US_TURN(%rbx), %rdi
	mov	$FUTEX_WAKE_BITSET, %esi
	mov	$1, %edx
	mov	$UF_WAIT_G, %r9d
	mov	$SYS_futex, %eax
	syscall
	jmp	u_mapper

/* G: gives up what it has, then it is as if it had just come in with a signal. */
u_guest_birth:
	mov	$SYS_prctl, %eax
	mov	$PR_SET_PDEATHSIG, %edi
	mov	$SIGKILL, %esi
	syscall
	mov	$SYS_getppid, %eax
	syscall
	cmp	%ebp, %eax
	jne	u_fail
	mov	$SYS_close_range, %eax
	xor	%edi, %edi
	mov	$-1, %esi
	xor	%edx, %edx
	syscall
	test	%rax, %rax
	jnz	u_fail
	lea	UO_STACK(%rbx), %rdi
	xor	%esi, %esi
	mov	$SYS_sigaltstack, %eax
	syscall
	test	%rax, %rax
	jnz	u_fail
	mov	$SYS_seccomp, %eax
	mov	$1, %edi
	mov	$FILTER_SPEC_ALLOW, %esi
	mov	$(U_FILTERS + UFI_THREAD), %edx
	syscall
	test	%rax, %rax
	jnz	u_fail
	movl	$1, U_FILTERS + UFI_BOUND
	mov	$(U_FILTERS + UFI_BOUND), %edi
	mov	$FUTEX_WAKE_BITSET, %esi
	mov	$1, %edx
	mov	$-1, %r9d
	mov	$SYS_futex, %eax
	syscall
	lea	U_BLOCK_SIZE - 16(%rbx), %rsp
	lea	UB_STATE(%rbx), %rax
	movq	$0, US_FRAME(%rax)
	jmp	u_report
/* No process for G: this domain goes on with those it has. */
u_refused:
	mov	$SYS_exit_group, %eax
	mov	$U_REFUSED, %edi
	syscall
	hlt

u_fail:
	mov	$SYS_exit_group, %eax
	mov	$119, %edi
	syscall
	hlt

/*
 * rsp = the frame, edi = signal, rdx = ucontext. The frame stays where it is; what is told to K is
 * its address. A kick that meets the stub itself starts over: before K was told, with the outer
 * frame; while waiting, by waiting; on the way out, by telling K that nothing happened since.
 */
u_handler:
	mov	$STATE, %eax
	cmp	$SIGALRM, %edi
	je	u_reset
	mov	UC_RIP(%rsp), %rcx
	lea	u_stub(%rip), %r8
	sub	%r8, %rcx
	cmp	$4096, %rcx
	jb	u_in_stub
u_tell:
	mov	%rsp, US_FRAME(%rax)
	rdfsbase %rcx
	mov	%rcx, US_FSBASE(%rax)
	rdgsbase %rcx
	mov	%rcx, US_GSBASE(%rax)
	jmp	u_report

/*
 * ecx = the site. No flag and no other register may change before they are saved, and behind
 * u_site_saved only rax, rdx and the arithmetic flags do (site_rewind() takes those back). A kick
 * in here, or on the way to here, is told as if it had come in front of the site: nothing that
 * counts has happened yet.
 */
u_site:
	mov	%rsp, STATE + US_GPR + 32
	mov	$(U_BLOCK + U_BLOCK_SIZE - 16), %esp
	pushfq
	popq	STATE + US_IRET + 16
	mov	%rax, STATE + US_GPR + 0
	mov	%rcx, STATE + US_GPR + 8
	mov	%rdx, STATE + US_GPR + 16
	mov	%rbx, STATE + US_GPR + 24
	mov	%rbp, STATE + US_GPR + 40
	mov	%rsi, STATE + US_GPR + 48
	mov	%rdi, STATE + US_GPR + 56
	mov	%r8, STATE + US_GPR + 64
	mov	%r9, STATE + US_GPR + 72
	mov	%r10, STATE + US_GPR + 80
	mov	%r12, STATE + US_GPR + 96
	mov	%r13, STATE + US_GPR + 104
	mov	%r14, STATE + US_GPR + 112
	mov	%r15, STATE + US_GPR + 120
u_site_saved:
	rdfsbase %rdx
	mov	%rdx, STATE + US_FSBASE
	rdgsbase %rdx
	mov	%rdx, STATE + US_GSBASE
	mov	STATE + US_FPMASK, %eax
	mov	STATE + US_FPMASK + 4, %edx
	testl	$UF_XSAVEOPT, STATE + US_FLAGS
	jz	1f
	xsaveopt64 STATE + US_FPU
	jmp	2f
1:	xsave64	STATE + US_FPU
2:	movq	$US_SITE, STATE + US_FRAME
	mov	$STATE, %eax
	jmp	u_report
u_site_end:

	/* (a kick that meets this comes here again, with the inner frame) */
u_report_again:
	mov	UC_RSP(%rsp), %rsp
u_report:
	mov	%rax, %rbx
	rdtsc
	mov	%eax, US_TOLD(%rbx)
	mov	%rbx, %rax
	mov	$UT_KERNEL, %ecx
	xchg	%ecx, US_TURN(%rax)
u_told:
	test	$UT_K_SLEEPS, %ecx
	jz	u_wait
	lea	US_TURN(%rax), %rdi
	mov	$FUTEX_WAKE_BITSET, %esi
	mov	$1, %edx
	mov	$UF_WAIT_K, %r9d
	mov	$SYS_futex, %eax
	syscall
	jmp	u_wait
	/* A kick between telling and resuming: K was not woken yet, or has given the turn already. */
u_wait_again:
	mov	UC_RSP(%rsp), %rsp
	mov	$UT_K_SLEEPS, %ecx
	testl	$UT_KERNEL, US_TURN(%rax)
	jnz	u_told
	movq	$0, US_FRAME(%rax)
	jmp	u_report
u_wait:
	mov	$STATE, %ebx
	testl	$UF_YIELD, US_FLAGS(%rbx)
	jz	1f
	/* Another program's turn is next, if it is as it was: then K does not meet us in the queue. */
	cmpq	$US_SITE, US_FRAME(%rbx)
	jne	2f
	mov	US_GPR(%rbx), %rax
	mov	US_LEAVES(%rbx), %rcx
	bt	%rax, %rcx
	jc	1f
2:	mov	$UF_YIELDS, %ebp
0:	mov	$SYS_sched_yield, %eax
	syscall
	testl	$UT_KERNEL, US_TURN(%rbx)
	jz	u_resume
	rdtsc
	sub	US_TOLD(%rbx), %eax
	cmp	$UF_LATE, %eax
	ja	1f
	sub	$1, %ebp
	jnz	0b
1:	mov	US_TURN(%rbx), %eax
	test	$UT_KERNEL, %eax
	jz	u_resume
	mov	%eax, %edx
	or	$UT_G_SLEEPS, %edx
	lock cmpxchg %edx, US_TURN(%rbx)
	jne	1b
	lea	US_TURN(%rbx), %rdi
	mov	$FUTEX_WAIT_BITSET, %esi
	xor	%r10d, %r10d
	mov	$UF_WAIT_G, %r9d
	mov	$SYS_futex, %eax
	syscall
	jmp	1b

	/*
	 * The process is another program's. Wherever the last one had G, here or in its own code
	 * that is gone, with whatever registers: it waits for its turn. If it was given that already
	 * K is told that nothing happened, by the 0 that K has written to `frame`.
	 */
u_reset:
	mov	$(U_BLOCK + U_BLOCK_SIZE - 16), %esp
	lock orl $UT_KERNEL, US_TURN(%rax)
	mov	US_TURN(%rax), %ecx
	jmp	u_told

u_resume:
	rdtsc
	mov	%eax, US_STARTED(%rbx)
	mov	US_FPSTATE(%rbx), %rcx
	test	%rcx, %rcx
	jz	1f
	mov	US_FPMASK(%rbx), %eax
	mov	US_FPMASK + 4(%rbx), %edx
	xrstor64 (%rcx)
1:	testl	$UF_SEGMENTS, US_FLAGS(%rbx)
	jz	2f
	mov	US_SEL(%rbx), %ds
	mov	US_SEL + 2(%rbx), %es
	mov	US_SEL + 4(%rbx), %fs
	mov	US_SEL + 6(%rbx), %gs
2:	testl	$UF_BASES, US_FLAGS(%rbx)
	jz	3f
	mov	US_FSBASE(%rbx), %rax
	wrfsbase %rax
	mov	US_GSBASE(%rbx), %rax
	wrgsbase %rax
3:	mov	US_GPR + 0(%rbx), %rax
	mov	US_GPR + 8(%rbx), %rcx
	mov	US_GPR + 16(%rbx), %rdx
	mov	US_GPR + 40(%rbx), %rbp
	mov	US_GPR + 48(%rbx), %rsi
	mov	US_GPR + 56(%rbx), %rdi
	mov	US_GPR + 64(%rbx), %r8
	mov	US_GPR + 72(%rbx), %r9
	mov	US_GPR + 80(%rbx), %r10
	mov	US_GPR + 88(%rbx), %r11
	mov	US_GPR + 96(%rbx), %r12
	mov	US_GPR + 104(%rbx), %r13
	mov	US_GPR + 112(%rbx), %r14
	mov	US_GPR + 120(%rbx), %r15
u_switched:
	testl	$UF_IRETQ, US_FLAGS(%rbx)
	jnz	2f
	lea	US_IRET + 16(%rbx), %rsp
	mov	US_GPR + 24(%rbx), %rbx
	popfq
	pop	%rsp
	jmp	*STATE + US_IRET
2:	lea	US_IRET(%rbx), %rsp
	testl	$UF_FLAGS, US_FLAGS(%rbx)
	jnz	4f
3:	mov	US_GPR + 24(%rbx), %rbx
	iretq
4:	pushq	$2
	popfq
	jmp	3b

u_in_stub:
	cmp	$SIGUSR1, %edi
	jne	u_tell			/* a fault of the way out: K knows what it was about */
	cmp	$(u_in_stub - u_stub), %ecx
	jae	3f
	lea	-(u_site - u_stub)(%rcx), %edx
	cmp	$(u_site_end - u_site), %edx
	jb	u_tell			/* K finds out which site that was */
	cmp	$(u_resume - u_stub), %ecx
	jae	1f
	cmp	$(u_report_again - u_stub), %ecx
	jb	3f
	/* What G may go on with the signal has reset. */
	mov	%rax, %rbx
	mov	US_FPMASK(%rbx), %eax
	mov	US_FPMASK + 4(%rbx), %edx
	mov	UC_FPSTATE(%rsp), %rsi
	xrstor64 (%rsi)
	mov	%rbx, %rax
	cmp	$(u_told - u_stub), %ecx
	jae	u_wait_again
	/* From u_report on it is settled which frame is told. */
	jmp	u_report_again
	/*
	 * A program that came here by itself has no outer frame. What it gives as one has to be above this
	 * one, or a kick could go round for ever, and K waits for it.
	 */
3:	mov	UC_RSP(%rsp), %rcx
	cmp	%rsp, %rcx
	jbe	u_tell
	cmp	$(U_BLOCK + U_BLOCK_SIZE), %rcx
	jae	u_tell
	mov	%rcx, %rsp
	cmpl	$SIGALRM, UC_SIGINFO(%rsp)
	jne	u_handler
	jmp	u_reset
1:	cmp	$(u_switched - u_stub), %ecx
	jb	2f
	/* The registers are loaded, so this frame has the FPU's state, perhaps in the old's place. */
	mov	UC_FPSTATE(%rsp), %rcx
	mov	%rcx, US_FPSTATE(%rax)
2:	movq	$0, US_FRAME(%rax)
	jmp	u_report
	.balign	4096, 0xcc
u_stub_end:

	.section .note.GNU-stack, "", @progbits
