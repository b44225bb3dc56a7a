/* SPDX-License-Identifier: MIT */
/*
 * What the sandbox may ask of the host's kernel. This list is the host's isolation: the monitor and
 * the guest kernel share one privilege level, so assume the guest can make any of these calls with
 * any arguments. It can then
 *   - map and unmap pages of its own domain's memfd (never executable, never another file),
 *   - give pages of it back, sleep, wake its own sleepers, ring its own doorbell, arm its timer,
 *   - interrupt its own other vCPUs, give the processor away,
 *   - say which pages of the memfd it and the processes of its programs see and may write,
 *   - end itself.
 * Anything else ends the process.
 *
 * The filter is assembled here, without a library: it is short, it must not fail for want of
 * memory, and tests/unit/exec tries every call.
 */
#include "exec/ring3/ring3.h"
#include "exec/ring3/translate/layout.h"
#include "exec/ring3/user.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/ioctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define X32_BIT	   0x40000000u
#define MAX_CHECKS 4
#define ALL_BITS   (~0ull)

/* All 64 bits of an argument, after a mask, must have this value; FROM: its high half, at least. */
#define FROM 0ull
struct check {
	unsigned int arg;
	uint64_t mask, value;
};

struct rule {
	uint32_t nr;
	unsigned int nr_checks;
	struct check checks[MAX_CHECKS];
};

#define REMOTE_SLOTS 255ull
static_assert(U_SLOTS <= REMOTE_SLOTS && K_FD_REMOTE % (REMOTE_SLOTS + 1) == 0 &&
		      K_FD_OWN_REMOTE == K_FD_REMOTE + REMOTE_SLOTS,
	      "one mask");

/* The frequent ones first. */
static const struct rule rules[] = {
	{SYS_sched_yield, 0, {}},
	{SYS_futex, 1, {{1, ALL_BITS, FUTEX_WAIT_BITSET}}},
	{SYS_futex, 1, {{1, ALL_BITS, FUTEX_WAKE}}},
	{SYS_futex, 1, {{1, ALL_BITS, FUTEX_WAKE_BITSET}}},
	/* (counts who waits, and wakes nobody) */
	{SYS_futex, 2, {{1, ALL_BITS, FUTEX_REQUEUE}, {2, ALL_BITS, 0}}},
	{SYS_write, 2, {{0, ALL_BITS, K_FD_DOORBELL}, {2, ALL_BITS, 8}}},
	{SYS_rt_sigreturn, 0, {}},
	{SYS_timer_settime, 0, {}},
	/* The window: pages of the memfd only, at fixed addresses, not executable. */
	{SYS_mmap,
	 3,
	 {{2, ~(uint64_t)(PROT_READ | PROT_WRITE), 0},
	  {3, ALL_BITS, MAP_SHARED | MAP_FIXED},
	  {4, ALL_BITS, K_FD_MEMORY}}},
	{SYS_mprotect, 1, {{2, ALL_BITS, PROT_READ}}},
	{SYS_munmap, 0, {}},
	/* The balloon: in the RAM view, and not what lies below it (gang.h). */
	{SYS_madvise, 2, {{2, ALL_BITS, MADV_REMOVE}, {0, FROM, K_RAM_BASE}}},
	/* The translator's look-up table, and nothing else. */
	{SYS_madvise,
	 3,
	 {{0, ALL_BITS, XLATE_TABLE},
	  {1, ALL_BITS, XLATE_TABLE_FULL},
	  {2, ALL_BITS, MADV_DONTNEED}}},
	/* What the kernel makes of a futex wait that was stopped or frozen. */
	{SYS_restart_syscall, 0, {}},
	/* Other vCPUs of the domain: interrupt one (and take the byte back out), let one run. */
	{SYS_write, 2, {{0, ~(uint64_t)(CORE_MAX_VCPUS - 1), K_FD_KICK}, {2, ALL_BITS, 1}}},
	{SYS_read, 1, {{0, ALL_BITS, K_FD_KICKED}}},
	/* U processes, which see nothing but the memfd: some of their pages are not writable, or
	 * are again (monitor/user_remote.c). */
	{SYS_ioctl, 2, {{0, ~REMOTE_SLOTS, K_FD_REMOTE}, {1, ALL_BITS, UFFDIO_WRITEPROTECT}}},
	{SYS_ioctl, 2, {{0, ~REMOTE_SLOTS, K_FD_REMOTE}, {1, ALL_BITS, UFFDIO_REGISTER}}},
	{SYS_ioctl, 2, {{0, ~REMOTE_SLOTS, K_FD_REMOTE}, {1, ALL_BITS, UFFDIO_CONTINUE}}},
	{SYS_exit_group, 0, {}},
};

/*
 * M, the mapper of a U process (user.h). Its code has no memory of its own to be misled by, but
 * what it executes are lists that K writes: pages of the memfd, also executable ones (guest
 * programs run in U as they are), what it says to K, and two signals for its own G: by a descriptor
 * of that process, for a number could be anybody's. The nursery's filter, which M has as well, must
 * allow it, too.
 */
#define KICK_OR_RESET ((uint64_t)(SIGUSR1 ^ SIGALRM))
static_assert((KICK_OR_RESET & (KICK_OR_RESET - 1)) == 0 && (SIGUSR1 & KICK_OR_RESET) == 0,
	      "one mask");
/* clang-format off */
#define MAPPER_WORK \
	{SYS_pwrite64, 2, {{0, ALL_BITS, K_FD_MEMORY}, {2, ALL_BITS, 4}}}, \
	{SYS_mmap, \
	 3, \
	 {{2, ~(uint64_t)(PROT_READ | PROT_WRITE | PROT_EXEC), 0}, \
	  {3, ~(uint64_t)MAP_POPULATE, MAP_SHARED | MAP_FIXED}, \
	  {4, ALL_BITS, K_FD_MEMORY}}}, \
	{SYS_munmap, 0, {}}, \
	{SYS_mprotect, 0, {}}, \
	{SYS_pidfd_send_signal, \
	 4, \
	 {{0, ALL_BITS, U_FD_GUEST}, {1, ~KICK_OR_RESET, SIGUSR1}, {2, ALL_BITS, 0}, {3, ALL_BITS, 0}}}, \
	{SYS_madvise, 1, {{2, ALL_BITS, MADV_DONTNEED}}}, \
	{SYS_restart_syscall, 0, {}}, \
	{SYS_exit_group, 0, {}}
/* clang-format on */

static const struct rule mapper_rules[] = {
	{SYS_futex, 1, {{1, ALL_BITS, FUTEX_WAIT_BITSET}}},
	{SYS_futex, 1, {{1, ALL_BITS, FUTEX_WAKE}}},
	{SYS_futex, 1, {{1, ALL_BITS, FUTEX_WAKE_BITSET}}},
	MAPPER_WORK,
};

/*
 * N, the nursery, and what each of its children does before it has a filter of its own. The two
 * tasks of a child keep this one, so it allows all that theirs allow; and what it does not allow is
 * a signal, for that is what system calls of guest programs are (two filters: the stricter answer
 * counts). N and M do not catch it: it ends them. There is nothing in here that opens, connects,
 * reads or executes anything, no clone() but the two that are needed, and no other signal.
 */
#define CLONE_CHILD    (CLONE_FILES | (uint64_t)SIGCHLD)
#define CLONE_THREAD_G (CLONE_VM | CLONE_PARENT | CLONE_PIDFD | (uint64_t)SIGCHLD)

static const struct rule nursery_rules[] = {
	/* G's, all the time; with which arguments its own filter says. */
	{SYS_futex, 0, {}},
	{SYS_sched_yield, 0, {}},
	/* M's */
	MAPPER_WORK,
	/* N's */
	{SYS_clone, 1, {{0, ALL_BITS, CLONE_CHILD}}},
	{SYS_wait4, 0, {}},
	{SYS_pidfd_send_signal,
	 4,
	 {{0, ALL_BITS, K_FD_SELF}, {1, ALL_BITS, SIGUSR1}, {2, ALL_BITS, 0}, {3, ALL_BITS, 0}}},
	{SYS_rt_sigreturn, 0, {}},
	/* a child's on its way to be M and G */
	{SYS_clone, 1, {{0, ALL_BITS, CLONE_THREAD_G}}},
	{SYS_prctl, 1, {{0, ALL_BITS, PR_SET_PDEATHSIG}}},
	{SYS_prctl, 1, {{0, ALL_BITS, PR_SET_NAME}}},
	{SYS_getppid, 0, {}},
	{SYS_userfaultfd, 1, {{0, ALL_BITS, REMOTE_FLAGS}}},
	{SYS_ioctl, 1, {{1, ALL_BITS, UFFDIO_API}}},
	{SYS_dup2, 1, {{1, ~REMOTE_SLOTS, K_FD_REMOTE}}},
	{SYS_close, 0, {}},
	{SYS_close_range, 0, {}},
	{SYS_mremap, 0, {}},
	{SYS_rt_sigaction, 0, {}},
	{SYS_rt_sigprocmask, 0, {}},
	{SYS_sigaltstack, 0, {}},
	{SYS_seccomp, 1, {{0, ALL_BITS, SECCOMP_SET_MODE_FILTER}}},
};

static void emit(struct ring3_filter *f, uint16_t code, uint8_t yes, uint8_t no, uint32_t k)
{
	const struct sock_filter insn = {code, yes, no, k};

	static_assert(sizeof(insn) == sizeof(f->insn[0]), "one instruction in one word");
	assert(f->len < K_FILTER_MAX);
	memcpy(&f->insn[f->len++], &insn, sizeof(insn));
}

static void load(struct ring3_filter *f, size_t offset)
{
	emit(f, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void answer(struct ring3_filter *f, uint32_t action)
{
	emit(f, BPF_RET | BPF_K, 0, 0, action);
}

#define HALF_INSNS  3u /* of check_half() */
#define CHECK_INSNS (2u * HALF_INSNS)
#define FROM_INSNS  2u

/* On a mismatch skip what is left of the rule: `left` instructions behind this half. */
static void check_half(struct ring3_filter *f, size_t offset, uint32_t mask, uint32_t value,
		       unsigned int left)
{
	load(f, offset);
	emit(f, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
	emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)left, value);
}

static void add_rule(struct ring3_filter *f, const struct rule *rule)
{
	unsigned int left = 1; /* its ALLOW */

	for (unsigned int i = 0; i < rule->nr_checks; i++)
		left += rule->checks[i].mask == FROM ? FROM_INSNS : CHECK_INSNS;
	load(f, offsetof(struct seccomp_data, nr));
	emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)left, rule->nr);
	for (unsigned int i = 0; i < rule->nr_checks; i++) {
		const struct check *c = &rule->checks[i];
		size_t at = offsetof(struct seccomp_data, args) + 8 * c->arg;

		if (c->mask == FROM) {
			left -= FROM_INSNS;
			load(f, at + 4);
			emit(f, BPF_JMP | BPF_JGE | BPF_K, 0, (uint8_t)left,
			     (uint32_t)(c->value >> 32));
			continue;
		}
		left -= HALF_INSNS;
		check_half(f, at, (uint32_t)c->mask, (uint32_t)c->value, left);
		left -= HALF_INSNS;
		check_half(f, at + 4, (uint32_t)(c->mask >> 32), (uint32_t)(c->value >> 32), left);
	}
	answer(f, SECCOMP_RET_ALLOW);
}

/* These and nothing else: `no` is the answer to all others. */
static void make(struct ring3_filter *ret, const struct rule *list, size_t nr, uint32_t no)
{
	ret->len = 0;
	/* The 32-bit and x32 ways into the kernel know other numbers: none of them. */
	load(ret, offsetof(struct seccomp_data, arch));
	emit(ret, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	answer(ret, no);
	load(ret, offsetof(struct seccomp_data, nr));
	emit(ret, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
	answer(ret, no);
	for (size_t i = 0; i < nr; i++)
		add_rule(ret, &list[i]);
	answer(ret, no);
}

#define MAKE(ret, list, no) make(ret, list, sizeof(list) / sizeof((list)[0]), no)

void ring3_filter_make(struct ring3_filter *ret)
{
	MAKE(ret, rules, SECCOMP_RET_KILL_PROCESS);
}

void ring3_filter_make_nursery(struct ring3_filter *ret)
{
	MAKE(ret, nursery_rules, SECCOMP_RET_TRAP);
}

void ring3_filter_make_mapper(struct ring3_filter *ret)
{
	MAKE(ret, mapper_rules, SECCOMP_RET_KILL_PROCESS);
	assert(ret->len <= U_MAPPER_FILTER_MAX);
}

/*
 * G, the guest thread: every system call of a guest program is a signal. Those of the stub are
 * three (wait, wake, yield), and only from its page, so that a program's own go to the guest's
 * kernel.
 */
void ring3_filter_make_thread(struct ring3_filter *ret)
{
	ret->len = 0;
	load(ret, offsetof(struct seccomp_data, nr));
	emit(ret, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_sched_yield);
	emit(ret, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_futex);
	answer(ret, SECCOMP_RET_TRAP);
	load(ret, offsetof(struct seccomp_data, arch));
	emit(ret, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	answer(ret, SECCOMP_RET_TRAP);
	load(ret, offsetof(struct seccomp_data, instruction_pointer) + 4);
	emit(ret, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
	answer(ret, SECCOMP_RET_TRAP);
	load(ret, offsetof(struct seccomp_data, instruction_pointer));
	emit(ret, BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xfffff000u);
	emit(ret, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, U_BASE);
	answer(ret, SECCOMP_RET_TRAP);
	static const struct rule yield = {SYS_sched_yield, 0, {}};
	/* Who sleeps does so until it is woken: no timeout (monitor/user_quiet.c). */
	static const struct rule wait = {
		SYS_futex, 2, {{1, ALL_BITS, FUTEX_WAIT_BITSET}, {3, ALL_BITS, 0}}};
	static const struct rule wake = {SYS_futex, 1, {{1, ALL_BITS, FUTEX_WAKE_BITSET}}};

	add_rule(ret, &yield);
	add_rule(ret, &wait);
	add_rule(ret, &wake);
	answer(ret, SECCOMP_RET_TRAP);
}
