/* SPDX-License-Identifier: MIT */
/*
 * The sandbox's system call filter, from the point of view of what sits inside: each class of call
 * with the arguments the monitor uses and with others. A call that is not on the list must end the
 * process by SIGSYS before it has any effect.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/ring3/ring3.h"
#include "exec/ring3/sys.h"
#include "exec/ring3/translate/layout.h"
#include "exec/ring3/user.h"

#define PAGE 4096l
#define RW   (PROT_READ | PROT_WRITE)

static struct ring3_filter filter;

struct call {
	const char *what;
	long nr, arg[6];
};

/* In the child: descriptors as K has them, the filter, the call, and out with `1 + (ret < 0)`. */
static void sandbox(const struct call *c, int use_int80, uint32_t extra_bits)
{
	struct {
		unsigned short len;
		const uint64_t *filter;
	} prog = {(unsigned short)filter.len, filter.insn};
	int mem = memfd_create("m", 0), bell = eventfd(0, EFD_NONBLOCK);
	long ret;

	if (mem < 0 || bell < 0 || ftruncate(mem, 16 * PAGE))
		_exit(100);
	mem = fcntl(mem, F_DUPFD, 20);
	bell = fcntl(bell, F_DUPFD, 20);
	dup2(mem, K_FD_MEMORY);
	dup2(bell, K_FD_DOORBELL);
	dup2(mem, 5); /* "another file" */
	dup2(mem, K_FD_KICK);
	dup2(mem, K_FD_KICK + 31);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		_exit(101);
	if (use_int80)
		__asm__ volatile("int $0x80" : "=a"(ret) : "a"(c->nr), "b"(0) : "memory");
	else
		ret = sys6(c->nr | extra_bits, c->arg[0], c->arg[1], c->arg[2], c->arg[3],
			   c->arg[4], c->arg[5]);
	sys_exit(ret < 0 && ret > -4096 ? 2 : 1);
}

/* Exit status of the child, or minus the signal that ended it. */
static int try(const struct call *c, int use_int80, uint32_t extra_bits)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		sandbox(c, use_int80, extra_bits);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static char page[2 * 4096] __attribute__((aligned(4096)));
static uint64_t one = 1;
static uint32_t word;

#define ADDR 0x10000000000l
#define FIX  (MAP_SHARED | MAP_FIXED)

static void test_allowed(void **state)
{
	const struct call calls[] = {
		{"mmap rw", SYS_mmap, {ADDR, PAGE, RW, FIX, K_FD_MEMORY, 0}},
		{"mmap r", SYS_mmap, {ADDR, PAGE, PROT_READ, FIX, K_FD_MEMORY, PAGE}},
		{"mmap none", SYS_mmap, {ADDR, PAGE, PROT_NONE, FIX, K_FD_MEMORY, 0}},
		{"mprotect r", SYS_mprotect, {ADDR, 0, PROT_READ}}, /* of nothing */
		{"munmap", SYS_munmap, {ADDR, PAGE}},
		{"futex wake", SYS_futex, {(long)&word, FUTEX_WAKE, 1, 0, 0, 0}},
		{"futex count", SYS_futex, {(long)&word, FUTEX_REQUEUE, 0, 1, (long)&word, 0}},
		{"write doorbell", SYS_write, {K_FD_DOORBELL, (long)&one, 8}},
		{"kick the first", SYS_write, {K_FD_KICK, (long)page, 1}},
		{"kick the last", SYS_write, {K_FD_KICK + 31, (long)page, 1}},
		{"yield", SYS_sched_yield, {0}},
		{"exit_group", SYS_exit_group, {1}},
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int r = try(&calls[i], 0, 0);

		if (r != 1)
			print_error("%s: %d\n", calls[i].what, r);
		assert_int_equal(r, 1);
	}
	/* Allowed, and refused by the kernel for what this test passes: it was looked at. */
	const struct call refused[] = {
		{"futex wait", SYS_futex, {(long)&word, FUTEX_WAIT_BITSET, 1, 0, 0, -1}},
		{"timer_settime", SYS_timer_settime, {77, 0, 0, 0}},
		{"madvise remove", SYS_madvise, {K_RAM_BASE, PAGE, MADV_REMOVE}},
		{"madvise table",
		 SYS_madvise,
		 {XLATE_TABLE, XLATE_TABLE_FULL, MADV_DONTNEED}},	       /* not there */
		{"take the kicks", SYS_read, {K_FD_KICKED, (long)page, PAGE}}, /* not open */
		{"protect", SYS_ioctl, {K_FD_REMOTE, (long)UFFDIO_WRITEPROTECT, (long)page}},
		{"protect in the last",
		 SYS_ioctl,
		 {K_FD_REMOTE + U_SLOTS - 1, (long)UFFDIO_WRITEPROTECT, (long)page}},
		{"register", SYS_ioctl, {K_FD_REMOTE, (long)UFFDIO_REGISTER, (long)page}},
		{"put there", SYS_ioctl, {K_FD_REMOTE, (long)UFFDIO_CONTINUE, (long)page}},
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		int r = try(&refused[i], 0, 0);

		if (r != 2)
			print_error("%s: %d\n", refused[i].what, r);
		assert_int_equal(r, 2);
	}
}

static void test_forbidden_arguments(void **state)
{
	const long high = 1l << 32;
	const struct call calls[] = {
		{"protect elsewhere", SYS_ioctl, {5, (long)UFFDIO_WRITEPROTECT, (long)page}},
		{"copy", SYS_ioctl, {K_FD_REMOTE, (long)UFFDIO_COPY, (long)page}},
		{"protect behind the last",
		 SYS_ioctl,
		 {K_FD_REMOTE + 256, (long)UFFDIO_REGISTER, (long)page}},
		{"protect with high bits",
		 SYS_ioctl,
		 {K_FD_REMOTE, (long)UFFDIO_REGISTER | high, (long)page}},
		{"any descriptor's", SYS_ioctl, {K_FD_REMOTE, FIOCLEX, 0}},
		{"userfaultfd", SYS_userfaultfd, {O_CLOEXEC | O_NONBLOCK | 1}},
		{"mmap exec", SYS_mmap, {ADDR, PAGE, RW | PROT_EXEC, FIX, K_FD_MEMORY, 0}},
		{"mmap exec only", SYS_mmap, {ADDR, PAGE, PROT_EXEC, FIX, K_FD_MEMORY, 0}},
		{"mmap odd protection", SYS_mmap, {ADDR, PAGE, RW | high, FIX, K_FD_MEMORY, 0}},
		{"mmap anonymous",
		 SYS_mmap,
		 {ADDR, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0}},
		{"mmap anonymous of 3",
		 SYS_mmap,
		 {ADDR, PAGE, RW, FIX | MAP_ANONYMOUS, K_FD_MEMORY, 0}},
		{"mmap private",
		 SYS_mmap,
		 {ADDR, PAGE, RW, MAP_PRIVATE | MAP_FIXED, K_FD_MEMORY, 0}},
		{"mmap anywhere", SYS_mmap, {0, PAGE, RW, MAP_SHARED, K_FD_MEMORY, 0}},
		{"mmap locked", SYS_mmap, {ADDR, PAGE, RW, FIX | MAP_LOCKED, K_FD_MEMORY, 0}},
		{"mmap populate", SYS_mmap, {ADDR, PAGE, RW, FIX | MAP_POPULATE, K_FD_MEMORY, 0}},
		{"mmap doorbell", SYS_mmap, {ADDR, PAGE, RW, FIX, K_FD_DOORBELL, 0}},
		{"mmap other file", SYS_mmap, {ADDR, PAGE, RW, FIX, 5, 0}},
		{"mmap fd with high bits", SYS_mmap, {ADDR, PAGE, RW, FIX, K_FD_MEMORY | high, 0}},
		{"mprotect rw", SYS_mprotect, {ADDR, PAGE, RW}},
		{"mprotect exec", SYS_mprotect, {ADDR, PAGE, PROT_READ | PROT_EXEC}},
		{"mprotect none", SYS_mprotect, {ADDR, PAGE, PROT_NONE}},
		{"mprotect high bits", SYS_mprotect, {ADDR, PAGE, PROT_READ | high}},
		{"madvise remove below the RAM", SYS_madvise, {K_GANG, PAGE, MADV_REMOVE}},
		{"madvise remove just below", SYS_madvise, {K_RAM_BASE - PAGE, PAGE, MADV_REMOVE}},
		{"madvise dontneed", SYS_madvise, {(long)page, PAGE, MADV_DONTNEED}},
		{"madvise part", SYS_madvise, {XLATE_TABLE, PAGE, MADV_DONTNEED}},
		{"madvise beside", SYS_madvise, {XLATE_META, XLATE_TABLE_FULL, MADV_DONTNEED}},
		{"madvise hugepage", SYS_madvise, {(long)page, PAGE, MADV_HUGEPAGE}},
		{"madvise hwpoison", SYS_madvise, {(long)page, PAGE, 100}},
		{"futex requeue", SYS_futex, {(long)&word, FUTEX_REQUEUE, 1, 1, (long)&word, 0}},
		{"futex lock_pi", SYS_futex, {(long)&word, FUTEX_LOCK_PI, 0, 0, 0, 0}},
		{"futex wait", SYS_futex, {(long)&word, FUTEX_WAIT, 1, 0, 0, 0}},
		{"futex high bits", SYS_futex, {(long)&word, FUTEX_WAKE | high, 1, 0, 0, 0}},
		{"write stdout", SYS_write, {1, (long)&one, 8}},
		{"write memory", SYS_write, {K_FD_MEMORY, (long)&one, 8}},
		{"write longer", SYS_write, {K_FD_DOORBELL, (long)page, 16}},
		{"kick with more than a byte", SYS_write, {K_FD_KICK, (long)page, 2}},
		{"kick with nothing", SYS_write, {K_FD_KICK, (long)page, 0}},
		{"write below the kicks", SYS_write, {K_FD_KICK - 1, (long)page, 1}},
		{"write above the kicks", SYS_write, {K_FD_KICK + 32, (long)page, 1}},
		{"kick with high bits", SYS_write, {K_FD_KICK | high, (long)page, 1}},
		{"read a kick of another", SYS_read, {K_FD_KICK, (long)page, 1}},
		{"read memory", SYS_read, {K_FD_MEMORY, (long)page, 1}},
		{"read the doorbell", SYS_read, {K_FD_DOORBELL, (long)page, 8}},
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int r = try(&calls[i], 0, 0);

		if (r != -SIGSYS)
			print_error("%s: %d\n", calls[i].what, r);
		assert_int_equal(r, -SIGSYS);
	}
}

/* Every other number there is, and some that there are not yet. */
static void test_forbidden_calls(void **state)
{
	static const long allowed[] = {
		SYS_mmap,	SYS_mprotect,	     SYS_munmap,	SYS_madvise,
		SYS_futex,	SYS_write,	     SYS_timer_settime, SYS_rt_sigreturn,
		SYS_exit_group, SYS_restart_syscall, SYS_sched_yield};

	for (long nr = 0; nr < 480; nr++) {
		const struct call c = {"", nr, {0}};
		int known = 0;

		for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
			known |= allowed[i] == nr;
		if (known)
			continue;
		int r = try(&c, 0, 0);
		/*
		 * uretprobe and uprobe: newer kernels let them pass all filters, and refuse them
		 * to whoever does not come from their own trampoline.
		 */
		if ((nr == 335 || nr == 336) && (r == 2 || r == -SIGILL))
			continue;
		if (r != -SIGSYS)
			print_error("system call %ld: %d\n", nr, r);
		assert_int_equal(r, -SIGSYS);
	}
	const struct call negative = {"", -1, {0}};
	assert_int_equal(try(&negative, 0, 0), -SIGSYS);
}

/* The other ways into the kernel know other numbers: none of them may be used. */
static void test_other_entries(void **state)
{
	const struct call exit32 = {"", 1 /* exit of i386 */, {0}};
	const struct call write64 = {"", SYS_write, {K_FD_DOORBELL, (long)&one, 8}};

	int r = try(&exit32, 1, 0);
	/* A kernel without IA32 emulation has no such entry: a #GP then. */
	assert_true(r == -SIGSYS || r == -SIGSEGV);
	assert_int_equal(try(&write64, 0, 0x40000000u), -SIGSYS); /* x32 */
	assert_int_equal(try(&write64, 0, 0), 1);
}

/* ---- N's, which its children have, too ------------------------------------------------------- */

static int made_for_monitor(void **state)
{
	ring3_filter_make(&filter);
	return 0;
}

static int made_for_nursery(void **state)
{
	ring3_filter_make_nursery(&filter);
	return 0;
}

static int made_for_mapper(void **state)
{
	ring3_filter_make_mapper(&filter);
	return 0;
}

static void expect(const struct call *calls, size_t nr, int result)
{
	for (size_t i = 0; i < nr; i++) {
		int r = try(&calls[i], 0, 0);

		if (r != result)
			print_error("%s: %d\n", calls[i].what, r);
		assert_int_equal(r, result);
	}
}

#define EXPECT(calls, result) expect(calls, sizeof(calls) / sizeof((calls)[0]), result)
#define ALL_PROT	      (RW | PROT_EXEC)

/* What N and M do alike for the mappings of programs. */
static const struct call mapping[] = {
	{"mmap rwx", SYS_mmap, {ADDR, PAGE, ALL_PROT, FIX | MAP_POPULATE, K_FD_MEMORY, 0}},
	{"munmap", SYS_munmap, {ADDR, PAGE}},
	{"mprotect", SYS_mprotect, {ADDR, 0, PROT_READ | PROT_EXEC}},
	{"take pages out", SYS_madvise, {ADDR, 0, MADV_DONTNEED}},
	{"pwrite", SYS_pwrite64, {K_FD_MEMORY, (long)page, 4, 0}},
	{"futex wake", SYS_futex, {(long)&word, FUTEX_WAKE, 1, 0, 0, 0}},
};

static void test_nursery(void **state)
{
	const long high = 1l << 32;
	const struct call allowed[] = {
		{"yield", SYS_sched_yield, {0}},
		{"a child", SYS_clone, {CLONE_FILES | SIGCHLD, 0, 0, 0, 0, 0}},
		{"die with the parent", SYS_prctl, {PR_SET_PDEATHSIG, SIGKILL}},
		{"name", SYS_prctl, {PR_SET_NAME, (long)"x"}},
		{"getppid", SYS_getppid, {0}},
		{"close", SYS_close_range, {K_FD_MEMORY + 1, ~0u, CLOSE_RANGE_UNSHARE}},
		{"for K", SYS_dup2, {K_FD_MEMORY, K_FD_REMOTE}},
		{"not for itself", SYS_close, {5}},
		{"sigprocmask", SYS_rt_sigprocmask, {0, 0, 0, 8}},
		{"sigaction", SYS_rt_sigaction, {SIGUSR1, 0, 0, 8}},
		{"sigaltstack", SYS_sigaltstack, {0, 0}},
		{"exit_group", SYS_exit_group, {1}},
	};
	const struct call refused[] = {
		{"wait4", SYS_wait4, {-1, 0, WNOHANG, 0}},
		{"ask for an interface", SYS_ioctl, {K_FD_MEMORY, (long)UFFDIO_API, (long)page}},
		{"interrupt K", SYS_pidfd_send_signal, {K_FD_SELF, SIGUSR1, 0, 0}},
		{"interrupt G", SYS_pidfd_send_signal, {U_FD_GUEST, SIGUSR1, 0, 0}},
		{"reset G", SYS_pidfd_send_signal, {U_FD_GUEST, SIGALRM, 0, 0}},
		/* (in no page: nothing is moved, whatever is there) */
		{"mremap", SYS_mremap, {ADDR + 1, PAGE, PAGE, 3, ADDR + PAGE, 0}},
		{"a further filter", SYS_seccomp, {SECCOMP_SET_MODE_FILTER, 0, 0}},
	};
	const struct call forbidden[] = {
		{"mmap anonymous", SYS_mmap, {ADDR, PAGE, RW, 0x32 /* FIXED */, -1, 0}},
		{"mmap other file", SYS_mmap, {ADDR, PAGE, RW, FIX, 5, 0}},
		{"mmap anywhere", SYS_mmap, {0, PAGE, RW, MAP_SHARED, K_FD_MEMORY, 0}},
		{"give memory back", SYS_madvise, {ADDR, PAGE, MADV_REMOVE}},
		{"pwrite elsewhere", SYS_pwrite64, {5, (long)page, 4, 0}},
		{"pwrite more", SYS_pwrite64, {K_FD_MEMORY, (long)page, 8, 0}},
		{"kill", SYS_kill, {1 << 23, SIGUSR1}},
		{"tgkill", SYS_tgkill, {1 << 23, 1 << 23, SIGUSR1}},
		{"another signal for K", SYS_pidfd_send_signal, {K_FD_SELF, SIGKILL, 0, 0}},
		{"another process", SYS_pidfd_send_signal, {5, SIGUSR1, 0, 0}},
		{"its whole group", SYS_pidfd_send_signal, {K_FD_SELF, SIGUSR1, 0, 4}},
		{"forged", SYS_pidfd_send_signal, {K_FD_SELF, SIGUSR1, (long)page, 0}},
		{"the descriptor of a process", SYS_pidfd_open, {1, 0}},
		{"child in a namespace",
		 SYS_clone,
		 {CLONE_FILES | SIGCHLD | 0x10000000, 0, 0, 0, 0, 0}},
		{"child with memory", SYS_clone, {CLONE_FILES | CLONE_VM | SIGCHLD, 0, 0, 0, 0, 0}},
		{"userfaultfd of the kernel's faults", SYS_userfaultfd, {O_CLOEXEC | O_NONBLOCK}},
		{"protect", SYS_ioctl, {K_FD_MEMORY, (long)UFFDIO_WRITEPROTECT, (long)page}},
		{"terminal", SYS_ioctl, {K_FD_MEMORY, TIOCSTI, (long)page}},
		{"child without a signal", SYS_clone, {0, 0, 0, 0, 0, 0}},
		{"clone with high bits", SYS_clone, {CLONE_FILES | SIGCHLD | high, 0, 0, 0, 0, 0}},
		{"another descriptor", SYS_dup2, {K_FD_MEMORY, K_FD_DOORBELL}},
		{"be traced by anybody", SYS_prctl, {0x59616d61, -1}},
		{"dumpable", SYS_prctl, {PR_SET_DUMPABLE, 1}},
		{"seccomp's other uses", SYS_seccomp, {SECCOMP_SET_MODE_STRICT, 0, 0}},
	};

	EXPECT(mapping, 1);
	EXPECT(allowed, 1);
	EXPECT(refused, 2);
	EXPECT(forbidden, -SIGSYS);
}

static void expect_forbidden(const long *allowed, size_t nr_allowed)
{
	for (long nr = 0; nr < 480; nr++) {
		const struct call c = {"", nr, {0}};
		int known = 0;

		for (size_t i = 0; i < nr_allowed; i++)
			known |= allowed[i] == nr;
		int r = known ? -SIGSYS : try(&c, 0, 0);
		if ((nr == 335 || nr == 336) && (r == 2 || r == -SIGILL))
			continue; /* see above */
		if (r != -SIGSYS)
			print_error("system call %ld: %d\n", nr, r);
		assert_int_equal(r, -SIGSYS);
	}
}

/* Every other number; no socket, no file, no program, no other process's memory. */
static void test_nursery_forbids(void **state)
{
	static const long allowed[] = {
		SYS_futex,	SYS_sched_yield,  SYS_pwrite64,	      SYS_mmap,
		SYS_munmap,	SYS_mprotect,	  SYS_madvise,	      SYS_clone,
		SYS_exit_group, SYS_wait4,	  SYS_rt_sigreturn,   SYS_pidfd_send_signal,
		SYS_prctl,	SYS_getppid,	  SYS_close_range,    SYS_restart_syscall,
		SYS_mremap,	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack,
		SYS_seccomp,	SYS_userfaultfd,  SYS_ioctl,	      SYS_dup2,
		SYS_close};

	expect_forbidden(allowed, sizeof(allowed) / sizeof(allowed[0]));
}

/* ---- M's: its lists are K's, so whatever this allows a hostile guest kernel can do ----------- */

static void test_mapper(void **state)
{
	const struct call allowed[] = {
		{"exit_group", SYS_exit_group, {1}},
	};
	/* (what the test has at that number is no process) */
	const struct call refused[] = {
		{"interrupt G", SYS_pidfd_send_signal, {U_FD_GUEST, SIGUSR1, 0, 0}},
		{"reset G", SYS_pidfd_send_signal, {U_FD_GUEST, SIGALRM, 0, 0}},
	};
	const struct call forbidden[] = {
		{"tgkill", SYS_tgkill, {1 << 23, 1 << 23, SIGUSR1}},
		{"tkill", SYS_tkill, {1 << 23, SIGUSR1}},
		{"kill", SYS_kill, {1 << 23, SIGUSR1}},
		{"interrupt K", SYS_pidfd_send_signal, {K_FD_SELF, SIGUSR1, 0, 0}},
		{"another signal", SYS_pidfd_send_signal, {U_FD_GUEST, SIGTERM, 0, 0}},
		{"a whole group", SYS_pidfd_send_signal, {U_FD_GUEST, SIGUSR1, 0, 4}},
		{"forged", SYS_pidfd_send_signal, {U_FD_GUEST, SIGUSR1, (long)page, 0}},
		{"a child", SYS_clone, {CLONE_FILES | SIGCHLD, 0, 0, 0, 0, 0}},
		{"userfaultfd", SYS_userfaultfd, {O_CLOEXEC | O_NONBLOCK | 1}},
		{"dup2", SYS_dup2, {K_FD_MEMORY, K_FD_REMOTE}},
		{"give memory back", SYS_madvise, {ADDR, PAGE, MADV_REMOVE}},
		{"close", SYS_close, {5}},
		{"sigaction", SYS_rt_sigaction, {SIGUSR1, 0, 0, 8}},
		{"mmap other file", SYS_mmap, {ADDR, PAGE, RW, FIX, 5, 0}},
		{"pwrite more", SYS_pwrite64, {K_FD_MEMORY, (long)page, 8, 0}},
		{"pwrite elsewhere", SYS_pwrite64, {5, (long)page, 4, 0}},
	};

	EXPECT(mapping, 1);
	EXPECT(allowed, 1);
	EXPECT(refused, 2);
	EXPECT(forbidden, -SIGSYS);
}

static void test_mapper_forbids(void **state)
{
	static const long allowed[] = {SYS_futex,      SYS_pwrite64,	    SYS_mmap,
				       SYS_munmap,     SYS_mprotect,	    SYS_pidfd_send_signal,
				       SYS_exit_group, SYS_restart_syscall, SYS_madvise};

	expect_forbidden(allowed, sizeof(allowed) / sizeof(allowed[0]));
}

/*
 * A guest program's system call must stay a signal in G, whatever it asks for: the stricter of two
 * filters counts, so N's must not end the process where G's does not.
 */
static void test_nursery_leaves_signals(void **state)
{
	for (uint32_t i = 0; i < filter.len; i++) {
		struct sock_filter insn;

		memcpy(&insn, &filter.insn[i], sizeof(insn));
		if (BPF_CLASS(insn.code) == BPF_RET)
			assert_true(insn.k == SECCOMP_RET_ALLOW || insn.k == SECCOMP_RET_TRAP);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_allowed, made_for_monitor),
		cmocka_unit_test_setup(test_forbidden_arguments, made_for_monitor),
		cmocka_unit_test_setup(test_forbidden_calls, made_for_monitor),
		cmocka_unit_test_setup(test_other_entries, made_for_monitor),
		cmocka_unit_test_setup(test_nursery, made_for_nursery),
		cmocka_unit_test_setup(test_nursery_forbids, made_for_nursery),
		cmocka_unit_test_setup(test_nursery_leaves_signals, made_for_nursery),
		cmocka_unit_test_setup(test_mapper, made_for_mapper),
		cmocka_unit_test_setup(test_mapper_forbids, made_for_mapper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
