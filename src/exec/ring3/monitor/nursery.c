/* SPDX-License-Identifier: MIT */
/*
 * N, the nursery: a process that does nothing but make U processes (user.h). K cannot make them
 * itself: its filter has no clone, and its address space is large. N is a copy of K from before K
 * mapped anything, holds the memfd, and runs no code that has to do with the guest; K asks it
 * through a page for the process of a slot.
 *
 * Whoever dies takes the others along: N dies with K, M and G with N (PR_SET_PDEATHSIG).
 */
#include "exec/ring3/monitor/k.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/ioctl.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/prctl.h>

#include "exec/ring3/monitor/user.h"

#define N_PAGE 0x70000000ul /* where N maps its page */

#define SIGCHLD_ 17
#define SIGKILL_ 9
#define SIGUSR1_ 10
#define SIGSEGV_ 11
#define WNOHANG_ 1
#define WALL_	 0x40000000
#define SA_FLAGS (0x4ul | 0x08000000ul | 0x04000000ul) /* SIGINFO, ONSTACK, RESTORER */
#define SA_AGAIN 0x40000000ul			       /* NODEFER */

void k_restorer(void);

struct action {
	uintptr_t handler;
	uint64_t flags;
	uintptr_t restorer;
	uint64_t mask;
};

/* What N knows; a copy of its own of K's parameters, which K unmaps. */
static struct nursery {
	struct u_nursery *page;
	uint64_t exec_off, nr_frames;
	uint32_t nr_vcpus, vcpu;
	uint32_t tasks; /* of U processes, at most: each makes a second one */
	long pid;
} n;

static struct u_filters filters __attribute__((aligned(4096)));

static const uint8_t user_signals[] = {4 /* ILL */,   5 /* TRAP */,  7 /* BUS */,   8 /* FPE */,
				       10 /* USR1 */, 11 /* SEGV */, 14 /* ALRM */, 31 /* SYS */};

static void must(long r)
{
	if (r < 0 && r > -4096)
		sys_exit(118);
}

static long take_along(const void *page, long to)
{
	return sys6(SYS_mremap, (long)page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, to, 0);
}

static uint64_t in_stub(const uint8_t *label)
{
	return U_BASE + (uint64_t)(label - u_stub);
}

/*
 * The child's descriptors are K's: it puts one there that is for K alone (user_remote.c). A host
 * that refuses does without.
 */
static void offer_remote(uint32_t slot)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = REMOTE_FEATURES,
	};
	long fd = sys1(SYS_userfaultfd, REMOTE_FLAGS);

	if (fd < 0)
		return;
	if (!sys3(SYS_ioctl, fd, UFFDIO_API, &api))
		sys2(SYS_dup2, fd, K_FD_REMOTE + slot);
	sys1(SYS_close, fd);
}

/* The child: becomes M and G of a slot. */
_Noreturn static void become_user(uint32_t slot)
{
	uint64_t block = U_BLOCK, blocked = ~0ull;
	uint64_t off = n.exec_off + ux_block(n.nr_frames, n.nr_vcpus, slot, n.vcpu);
	struct action sa = {in_stub(u_handler), SA_FLAGS | SA_AGAIN, U_BASE, 0};

	sys2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL_);
	if (sys0(SYS_getppid) != n.pid)
		sys_exit(121);
	sys2(SYS_prctl, PR_SET_NAME, "pvv-user");
	offer_remote(slot);
	must(sys3(SYS_close_range, K_FD_MEMORY + 1, ~0u, CLOSE_RANGE_UNSHARE));
	must(sys_mmap(U_SITES, U_PAGES(sizeof(struct u_common)), PROT_READ | PROT_EXEC,
		      MAP_SHARED | MAP_FIXED, K_FD_MEMORY,
		      n.exec_off + ux_common(n.nr_frames, n.nr_vcpus)));
	must(sys_mmap(block, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, K_FD_MEMORY, off));
	must(sys_mmap(block + UB_STATE, U_BLOCK_SIZE - UB_STATE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED, K_FD_MEMORY, off + UB_STATE));
	must(take_along(&filters, U_FILTERS));
	must(take_along(u_stub, U_BASE));
	for (unsigned int i = 0; i < sizeof(user_signals); i++) {
		must(sys4(SYS_rt_sigaction, user_signals[i], &sa, 0, 8));
		blocked &= ~(1ull << (user_signals[i] - 1));
	}
	must(sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &blocked, 0, 8));
	__asm__ volatile("mov %0, %%rbx; mov %1, %%r12; mov %2, %%rbp; jmp *%3"
			 :
			 : "r"(block), "r"((uint64_t)U_FIRST), "r"(n.pid), "r"(in_stub(u_birth))
			 : "rbx", "r12", "memory");
	__builtin_unreachable();
}

/* Not clone3(): containers' seccomp profiles refuse that one, and it would say no more. */
static long clone_with(unsigned long flags)
{
	return sys6(SYS_clone, (long)flags, 0, 0, 0, 0, 0);
}

/*
 * K's process by a descriptor, for behind the door the number of a process could be anybody's. It
 * is in the table that N and K share; K has no call that takes it. A host that refuses: then K sees
 * it when it looks the next time (user_slot.c).
 */
static void know_parent(long parent)
{
	long fd = sys2(SYS_pidfd_open, parent, 0);

	if (fd < 0 || fd == K_FD_SELF)
		return;
	sys2(SYS_dup2, fd, K_FD_SELF);
	sys1(SYS_close, fd);
}

static void interrupt_parent(void)
{
	sys4(SYS_pidfd_send_signal, K_FD_SELF, SIGUSR1_, 0, 0);
}

static void make(uint32_t slot)
{
	long pid = clone_with(CLONE_FILES | SIGCHLD_);

	if (pid == 0)
		become_user(slot);
	if (pid > 0)
		return;
	__atomic_sub_fetch(&n.tasks, 2, __ATOMIC_SEQ_CST);
	__atomic_store_n(&n.page->failed, 1, __ATOMIC_SEQ_CST);
	interrupt_parent();
}

/*
 * CPUID of guest programs can fault, so that they see the guest's processor and not the host's: all
 * tasks of the domain ask for that, for each switch between one that does and one that does not
 * writes an MSR. Under some hypervisors that costs as much as ten system calls. There it is left
 * alone (programs see the host's CPUID, as they do under Xen on such processors).
 */
#define ARCH_SET_CPUID 0x1012
#define CHEAP	       3000 /* cycles for twice the system call and the MSR */

static bool cpuid_faults_cheaply(void)
{
	uint64_t best = ~0ull;

	for (int i = 0; i < 4; i++) {
		uint64_t t = __builtin_ia32_rdtsc();

		if (sys2(SYS_arch_prctl, ARCH_SET_CPUID, 0))
			return false;
		sys2(SYS_arch_prctl, ARCH_SET_CPUID, 1);
		t = __builtin_ia32_rdtsc() - t;
		if (t < best)
			best = t;
	}
	return best < CHEAP;
}

void nursery_hide_cpuid(void)
{
	if (cpuid_faults_cheaply())
		sys2(SYS_arch_prctl, ARCH_SET_CPUID, 0);
}

/*
 * None ever leaves by itself but one that could not be made whole. G dies of a signal that the host
 * finds no place for (user_slot.c, user_again()), and then M is told to leave. Otherwise the host
 * ran out of memory, or somebody killed it.
 */
static void on_child(int sig, void *info, void *context)
{
	int status = 0;

	while (sys4(SYS_wait4, -1, (long)&status, WNOHANG_ | WALL_, 0) > 0) {
		__atomic_sub_fetch(&n.tasks, 1, __ATOMIC_SEQ_CST);
		if (status == 0)
			__atomic_add_fetch(&n.page->left, 1, __ATOMIC_SEQ_CST);
		else if ((status & 0x7f) == SIGSEGV_)
			__atomic_add_fetch(&n.page->gone, 1, __ATOMIC_SEQ_CST);
		else if (status == U_REFUSED << 8)
			__atomic_store_n(&n.page->failed, 1, __ATOMIC_SEQ_CST);
		else
			__atomic_store_n(&n.page->dead, 1, __ATOMIC_SEQ_CST);
		interrupt_parent();
	}
}

static void keep_filters(const struct k_params *p)
{
	uint64_t *insn = filters.insn;

	for (uint32_t i = 0; i < p->mapper_len; i++)
		*insn++ = p->mapper[i];
	for (uint32_t i = 0; i < p->thread_len; i++)
		*insn++ = p->thread[i];
	filters.mapper.len = (uint16_t)p->mapper_len;
	filters.mapper.filter = U_FILTERS + __builtin_offsetof(struct u_filters, insn);
	filters.thread.len = (uint16_t)p->thread_len;
	filters.thread.filter = filters.mapper.filter + p->mapper_len * 8;
}

/*
 * Flat data segments in the host's local table, which children inherit: see U_TLS_FIRST. A host
 * that refuses does without: its 32-bit programs have threads only if they do not look at gs.
 */
static void offer_tls(void)
{
	struct {
		uint32_t entry, base, limit, flags;
	} desc = {0, 0, 0xfffff, 0x51 /* 32-bit, limit in pages, useable */};
	bool ok = true;

	for (unsigned int i = 0; i < U_TLS_NR; i++) {
		desc.entry = U_TLS_FIRST + i;
		ok &= sys3(SYS_modify_ldt, 0x11, &desc, sizeof(desc)) == 0;
	}
	__atomic_store_n(&n.page->has_tls, ok, __ATOMIC_SEQ_CST);
}

/* Behind all that only the beginning needs; each child has the filter, too (seccomp.c). */
static void close_the_door(const struct k_params *p)
{
	struct {
		unsigned short len;
		const uint64_t *filter;
	} prog = {(unsigned short)p->nursery_len, p->nursery};

	must(sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog));
}

_Noreturn static void nursery_main(const struct k_params *p, long parent)
{
	struct action sa = {(uintptr_t)on_child, 0x04000000ul, (uintptr_t)k_restorer, ~0ull};
	uint64_t blocked = ~(1ull << (SIGCHLD_ - 1));
	uint32_t made = 0, want;

	sys2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL_);
	if (sys0(SYS_getppid) != parent)
		sys_exit(121);
	n.pid = sys0(SYS_getpid);
	know_parent(parent);
	keep_filters(p);
	nursery_hide_cpuid(); /* inherited */
	must(sys_mmap(N_PAGE, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, K_FD_MEMORY,
		      n.exec_off + ux_nursery(n.nr_frames, n.nr_vcpus, n.vcpu)));
	n.page = (struct u_nursery *)N_PAGE;
	must(sys4(SYS_rt_sigaction, SIGCHLD_, &sa, 0, 8));
	must(sys4(SYS_rt_sigprocmask, 2, &blocked, 0, 8));
	offer_tls();
	close_the_door(p);
	for (;;) {
		want = __atomic_load_n(&n.page->want, __ATOMIC_SEQ_CST);
		/* K asks for one of a slot again only when the last one has ended. */
		while (made != want &&
		       __atomic_load_n(&n.tasks, __ATOMIC_SEQ_CST) <= 2 * (U_SLOTS - 1)) {
			__atomic_add_fetch(&n.tasks, 2, __ATOMIC_SEQ_CST);
			make(n.page->slot[made++ % U_NURSERY_RING] % U_SLOTS);
		}
		sys6(SYS_futex, (long)&n.page->want, FUTEX_WAIT_BITSET, want, 0, 0,
		     FUTEX_BITSET_MATCH_ANY);
	}
}

void nursery_start(const struct k_params *p)
{
	long self = sys0(SYS_getpid), pid;

	n.exec_off = p->exec_off;
	n.nr_frames = p->nr_frames;
	n.nr_vcpus = p->nr_vcpus;
	n.vcpu = p->vcpu;
	pid = clone_with(CLONE_FILES | SIGUSR1_);
	if (pid == 0)
		nursery_main(p, self);
	if (pid < 0)
		sys_exit(117);
}
