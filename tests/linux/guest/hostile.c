// SPDX-License-Identifier: MIT
/*
 * hostile: user programs that attack what the ring3 executor keeps in their address space (the stub
 * from 0x10000 on, its signal stack, its system call instructions) and the edges. Each runs in a
 * process of its own and may end however it likes; what counts is that nobody else is hurt: the
 * parent goes on, a witness process keeps its memory, the guest's kernel lives. Runs natively, too,
 * where these addresses are simply not mapped.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOW = 0x10000, LOW_END = 0x240000, STUB = 0x600, PATTERN = 0x5a, HURT = 99 };

static unsigned char *witness_memory;

static uint64_t seed = 88172645463325252ull;

static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Each step of an attack in a child: most of them die. */
static int step(void (*run)(uint64_t), uint64_t arg)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGALRM, SIG_DFL);
		alarm(2);
		run(arg);
		_exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) == HURT)
		_exit(HURT);
	return status;
}

static void skip_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] +=
		3; /* the accesses below have three bytes */
}

static void catch_faults(void)
{
	struct sigaction sa = {.sa_sigaction = skip_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

static void jump_to(uint64_t where)
{
	/* as somebody who knows what a system call wants: munmap of nearly everything */
	__asm__ volatile("mov $11, %%eax\n\tmov $0x400000, %%edi\n\tmov $0x7fff00000000, "
			 "%%rsi\n\tmov $0x32, %%r10d\n\t"
			 "mov $-1, %%r8\n\txor %%r9d, %%r9d\n\tjmp *%0"
			 :
			 : "r"(where)
			 : "rax", "rdi", "rsi", "r8", "r9", "r10", "memory");
}

static void jump_kill(uint64_t where)
{
	__asm__ volatile("mov $62, %%eax\n\tmov $-1, %%rdi\n\tmov $9, %%esi\n\tjmp *%0"
			 :
			 : "r"(where)
			 : "rax", "rdi", "rsi", "memory");
}

/* Every instruction of the stub as a target, and the pages around. */
static void jumps(void)
{
	for (uint64_t at = LOW; at < LOW + STUB; at++) {
		step(jump_to, at);
		if (at % 8 == 0)
			step(jump_kill, at);
	}
	for (uint64_t at = LOW; at < LOW_END; at += 0x2000)
		step(jump_to, at);
}

/* ---- a stack of its own in the stub ---- */
static uint64_t *own_stack;

/* Whoever is stopped in there gets away only if the kernel is heard of: by a kick, for the timer.
 */
static void jump_with_stack(uint64_t where)
{
	ualarm(20000, 20000);
	__asm__ volatile("mov %1, %%rsp\n\tmov %1, %%rax\n\tmov %1, %%rbx\n\tjmp *%0"
			 :
			 : "D"(where), "S"(own_stack)
			 : "rax", "rbx", "memory");
}

/* An instruction that the executor does not interpret: the program goes on by itself. */
#define NATIVELY "pxor %%xmm0, %%xmm0\n\t"

static void innocent(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		__asm__ volatile(NATIVELY : : : "xmm0");
		_exit(syscall(SYS_getppid) > 0 ? 7 : 8);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 7 << 8)
		_exit(HURT);
}

/*
 * As if the stub's stack were here: a signal's frame around a kick's that leads to itself, or into
 * the program. It must not take the kick that was for the kernel, and whoever gets the process next
 * must not find it where the program left it.
 */
static void kicks(void)
{
	enum { BLOCK = 0x10000, RSP = (48 + 15 * 8) / 8, RIP = RSP + 1 };
	uint64_t *m =
		mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t *block = (uint64_t *)(((uint64_t)m + 2 * BLOCK) & -(uint64_t)BLOCK);
	static const uint64_t rip[] = {LOW, 0x400000};

	if (m == MAP_FAILED)
		return;
	own_stack = block + BLOCK / 16;
	for (size_t k = 0; k < sizeof(rip) / sizeof(rip[0]); k++)
		for (uint64_t at = LOW + k; at < LOW + STUB; at += 1 + k) {
			own_stack[RSP] = (uint64_t)own_stack;
			own_stack[RIP] = rip[k];
			step(jump_with_stack, at);
			innocent();
		}
}

static void write_all(uint64_t value)
{
	catch_faults();
	for (uint64_t at = LOW; at < LOW_END; at += 512)
		__asm__ volatile("mov %1, (%0)" : : "a"(at), "c"(value) : "memory");
	for (int i = 0; i < 100; i++)
		syscall(SYS_getppid);
}

/* Where a signal's frame or the registers to load lie, all of it forged, then a system call as if
 * nothing was. */
static void writes(void)
{
	static const uint64_t values[] = {0,
					  1,
					  2,
					  3,
					  0xffffffffffffffff,
					  0x10000,
					  0x10100,
					  0x21000,
					  0x23000,
					  0x7fffffffe000,
					  0x8000000000000000,
					  0xffffffff81000000,
					  0xffff800000000000};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		step(write_all, values[i]);
}

static void write_random(uint64_t n)
{
	catch_faults();
	seed = n * 2654435761u + 1;
	for (int k = 0; k < 1500; k++) {
		uint64_t at = LOW + any() % (LOW_END - LOW) / 8 * 8, value = any() >> any() % 64;

		if (any() % 4 == 0)
			value = 0x20000 + any() % 0x10000;
		if (any() % 4)
			at = 0x20000 +
			     any() % 0x5000 / 8 * 8; /* the state and the stack of the first vCPU */
		__asm__ volatile("mov %1, (%0)" : : "a"(at), "c"(value) : "memory");
		if (any() % 16 == 0)
			syscall(SYS_getppid);
	}
}

static void forgeries(void)
{
	for (uint64_t n = 0; n < 40; n++)
		step(write_random, n);
}

static void read_all(uint64_t unused)
{
	uint64_t sum = 0;

	(void)unused;
	catch_faults();
	for (uint64_t at = LOW; at < LOW_END; at += 64)
		__asm__ volatile("mov (%1), %0" : "=c"(sum) : "a"(at));
}

static void reads(void)
{
	step(read_all, 0);
}

static void map_over(uint64_t where)
{
	uint64_t length = any() % 4 ? 0x1000 : 0x30000;
	unsigned char *p = mmap((void *)where, length, PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		return;
	catch_faults();
	for (uint64_t i = 0; i < length; i += 64)
		__asm__ volatile("mov %1, (%0)"
				 :
				 : "a"(p + i), "c"(0xccccccccccccccccull)
				 : "memory");
	for (int i = 0; i < 20; i++)
		syscall(SYS_getppid);
	munmap(p, length);
	mprotect((void *)(uint64_t)LOW, LOW_END - LOW, PROT_READ | PROT_WRITE | PROT_EXEC);
	madvise((void *)(uint64_t)LOW, LOW_END - LOW, MADV_DONTNEED);
	for (int i = 0; i < 20; i++)
		syscall(SYS_getppid);
}

static void maps(void)
{
	for (uint64_t at = LOW; at < LOW_END; at += 0x1000 * (at < 0x40000 ? 1 : 16))
		step(map_over, at);
}

/* All of the address space unmapped, but the code that does it. */
static void unmap_all(uint64_t unused)
{
	extern char end;
	uint64_t above = ((uint64_t)&end + (64 << 20)) & ~0xfffull;

	(void)unused;
	syscall(SYS_munmap, LOW, 0x400000 - LOW);
	syscall(SYS_munmap, above, 0x7ffffffff000 - above);
	__asm__ volatile("mov $39, %%eax\n\tsyscall" ::: "rax", "rcx", "r11", "memory");
	__asm__ volatile("ud2");
}

static void unmaps(void)
{
	step(unmap_all, 0);
}

static void call_with_stack(uint64_t rsp)
{
	__asm__ volatile(
		"mov %0, %%rsp\n\tmov $39, %%eax\n\tsyscall\n\tmov $110, %%eax\n\tsyscall\n\tud2"
		:
		: "r"(rsp));
}

static void push_with_stack(uint64_t rsp)
{
	__asm__ volatile("mov %0, %%rsp\n\tpush %%rax\n\tpush %%rax\n\tcall 1f\n1:\tud2"
			 :
			 : "r"(rsp));
}

/* The stack pointer in the stub, on its signal stack, at the edges; then a system call or a fault
 * there. */
static void stacks(void)
{
	static const uint64_t at[] = {0,
				      8,
				      0x10000,
				      0x10800,
				      0x11000,
				      0x20000,
				      0x21000,
				      0x22000,
				      0x23000,
				      0x23008,
				      0x2f000,
				      0x2fff0,
				      0x30000,
				      0x30010,
				      0x40000,
				      0x7fffffffefff,
				      0x7ffffffff000,
				      0x7fffffffffff,
				      0x800000000000,
				      0xffffffffffffffff,
				      0xffff800000000000,
				      0xffffffff82000000};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		step(call_with_stack, at[i]);
		step(push_with_stack, at[i]);
	}
}

/* ---- a signal's frame that does not fit ---- */
static volatile int falls;

static void fall(int sig)
{
	(void)sig;
	if (++falls == 20)
		_exit(0);
	call_with_stack(0x23400);
}

static void fall_again(uint64_t rsp)
{
	static unsigned char own[65536];
	stack_t ss = {.ss_sp = own, .ss_size = sizeof(own)};
	struct sigaction sa = {.sa_handler = fall, .sa_flags = SA_ONSTACK | SA_NODEFER};

	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	call_with_stack(rsp);
}

static void wait_with_stack(uint64_t rsp)
{
	ualarm(20000, 20000);
	__asm__ volatile("mov %0, %%rsp\n1:\tjmp 1b" : : "r"(rsp));
}

/* The stack pointer at the lower end of the stub's signal stack: the host ends whoever has a signal
 * with it there, and others need that process, or one like it. */
static void falls_of_stacks(void)
{
	for (uint64_t at = 0x23000; at < 0x24400; at += 0x80) {
		step(call_with_stack, at);
		innocent();
	}
	step(wait_with_stack, 0x23400);
	innocent();
	step(fall_again, 0x23400);
	innocent();
}

static void signal_stack(uint64_t where)
{
	stack_t ss = {.ss_sp = (void *)where, .ss_size = 0x8000};
	struct sigaction sa = {.sa_sigaction = skip_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
}

/* The guest's kernel is asked to write signal frames over the executor's pages. */
static void signal_stacks(void)
{
	for (uint64_t at = 0x8000; at < 0x48000; at += 0x1000)
		step(signal_stack, at);
}

static void kernel_io(uint64_t where)
{
	int fd[2];
	struct iovec {
		void *p;
		size_t n;
	} v = {(void *)where, 4096};

	if (pipe(fd))
		return;
	syscall(SYS_write, fd[1], where, 4096);
	syscall(SYS_write, fd[1], "0123456789abcdef", 16);
	syscall(SYS_read, fd[0], where, 16);
	syscall(SYS_vmsplice, fd[1], &v, 1, 0);
	syscall(SYS_getrandom, where, 4096, 0);
	syscall(SYS_clock_gettime, 1, where);
	syscall(SYS_futex, where, 1, 100, NULL, NULL, 0);
	syscall(SYS_rt_sigreturn);
}

/* The guest's kernel reads and writes there on the program's behalf. */
static void through_the_kernel(void)
{
	static const uint64_t more[] = {0x7fffffffe000,	    0x7ffffffff000,	0xffff800000000000,
					0xffff820000000000, 0xffffffff81000000, 0xffffffffff600000,
					0xfffffffffffff000};

	for (uint64_t at = LOW; at < 0x38000; at += 0x1000)
		step(kernel_io, at);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		step(kernel_io, more[i]);
}

static void random_code(uint64_t n)
{
	unsigned char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	seed = n * 0x9e3779b97f4a7c15ull + 1;
	for (int i = 0; i < 4096; i++)
		p[i] = (unsigned char)any();
	/* not kill(-1), reboot or the like: natively this runs on somebody's machine */
	for (int i = 0; i + 1 < 4096; i++)
		if ((p[i] == 0x0f && (p[i + 1] == 0x05 || p[i + 1] == 0x34)) || p[i] == 0xcd)
			p[i] = 0x90;
	((void (*)(void))(p + any() % 64))();
}

static void random_instructions(void)
{
	for (uint64_t n = 1; n <= 200; n++)
		step(random_code, n);
}

/* A bomb of forks within a limit: all processes at once, then none. */
static void many_processes(void)
{
	pid_t pid[300];
	int n = 0;

	while (n < 300 && (pid[n] = fork()) >= 0) {
		if (!pid[n]) {
			pause();
			_exit(0);
		}
		n++;
	}
	for (int i = 0; i < n; i++)
		kill(pid[i], SIGKILL);
	for (int i = 0; i < n; i++)
		waitpid(pid[i], NULL, 0);
}

/*
 * A thread that says "a system call, your turn" as the stub would, and runs on. Another one, on
 * another vCPU, takes a page away meanwhile: whoever still reads it then would next read what
 * somebody else has there.
 */
static struct ghost {
	volatile uint64_t ready, ticks, value;
} * ghost;
static volatile uint64_t *haunted;
static struct timespec sleep_long = {3, 0};

enum { TURN = 0x21000, FRAME = 0x21008, FRAME_RDI = 48 + 8 * 8, FRAME_RSI = 48 + 9 * 8 };
enum { STACK = 0x23000, FRAME_RAX = 48 + 13 * 8, FRAME_RIP = 48 + 16 * 8 };

/* rax = the frame that the stub left of a system call that does nothing, to be used again */
#define FIND_FRAME                                                                                 \
	NATIVELY "mov $110, %%eax\n\t" /* getppid */                                               \
		 "syscall\n"                                                                       \
		 "0:\tlea 0b(%%rip), %%rcx\n\t"                                                    \
		 "mov %[stack], %%eax\n"                                                           \
		 "1:\tadd $8, %%rax\n\t"                                                           \
		 "cmp %%rcx, %c[rip](%%rax)\n\t"                                                   \
		 "jne 1b\n\t"                                                                      \
		 "cmp %%rcx, %c[rip]-16(%%rax)\n\t" /* (rcx has it, too) */                        \
		 "jne 1b\n\t"

static void pin_to(long cpu)
{
	uint64_t mask = 1ull << cpu;

	syscall(SYS_sched_setaffinity, 0, sizeof(mask), &mask);
}

static int haunt(void *last)
{
	pin_to((long)last);
	usleep(1000);
	__asm__ volatile(
		"mov (%[page]), %%rcx\n\t" /* (a fault would overwrite it) */
		"mov %%rcx, 16(%[ghost])\n\t" FIND_FRAME
		"movq $35, %c[rax](%%rax)\n\t" /* nanosleep */
		"mov %[time], %c[rdi](%%rax)\n\t"
		"movq $0, %c[rsi](%%rax)\n\t"
		"mov %[frame], %%ecx\n\t"
		"mov %%rax, (%%rcx)\n\t"
		"movq $1, (%[ghost])\n\t"
		"mov $1, %%ecx\n\t"
		"mov %[turn], %%eax\n\t"
		"xchg %%ecx, (%%rax)\n"
		"2:\tlock addq $0, (%[page])\n\t" /* may it be written, and read? */
		"mov (%[page]), %%rcx\n\t"
		"mov %%rcx, 16(%[ghost])\n\t"
		"incq 8(%[ghost])\n\t"
		"jmp 2b"
		:
		: [frame] "i"(FRAME), [turn] "i"(TURN), [stack] "i"(STACK), [rax] "i"(FRAME_RAX),
		  [rdi] "i"(FRAME_RDI), [rsi] "i"(FRAME_RSI), [rip] "i"(FRAME_RIP),
		  [time] "r"(&sleep_long), [ghost] "r"(ghost), [page] "r"(haunted)
		: "rax", "rcx", "r11", "memory");
	return 0;
}

static void haunted_house(uint64_t how)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char *stack;
	uint64_t seen;

	if (cpus < 2)
		return;
	alarm(10);
	ghost = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	haunted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*haunted = 0x5ec2e7;
	pin_to(0);
	if (clone(haunt, stack + 65536, CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD,
		  (void *)(cpus - 1)) < 0)
		_exit(1);
	while (!ghost->ready)
		usleep(1000);
	usleep(100000);
	switch (how) {
	case 0:
		munmap((void *)haunted, 4096);
		break;
	case 1:
		mprotect((void *)haunted, 4096, PROT_NONE);
		break;
	case 2:
		mprotect((void *)haunted, 4096, PROT_READ);
		break;
	default: /* and with all others */
		munmap((void *)haunted, 4096);
		munmap(stack, 65536);
	}
	seen = ghost->ticks;
	usleep(20000);
	if (ghost->ticks > seen + 1)
		_exit(HURT);
}

static void ghosts(void)
{
	int took_place = 0;

	for (uint64_t how = 0; how < 4; how++)
		for (int i = 0; i < 3; i++)
			took_place += step(haunted_house, how) == 0;
	printf("of 12 ghosts there were %d\n", took_place);
	fflush(stdout);
}

/*
 * A program that says "exit, your turn" and runs on: until its memory goes, and that may be when
 * the next program has its process. That must not go on where this one is.
 */
static volatile uint32_t possessed;

static void possess(uint64_t unused)
{
	(void)unused;
	__asm__ volatile(FIND_FRAME "movq $231, %c[rax](%%rax)\n\t" /* exit_group */
				    "movq $0, %c[rdi](%%rax)\n\t"
				    "mov %[frame], %%ecx\n\t"
				    "mov %%rax, (%%rcx)\n\t"
				    "mov $1, %%ecx\n\t"
				    "mov %[turn], %%eax\n\t"
				    "xchg %%ecx, (%%rax)\n"
				    "2:\tmov %[possessed], %%ecx\n\t"
				    "test %%ecx, %%ecx\n\t"
				    "jz 2b\n\t"
				    "mov %[hurt], %%edi\n\t"
				    "mov $231, %%eax\n\t"
				    "syscall"
			 :
			 : [frame] "i"(FRAME), [turn] "i"(TURN), [stack] "i"(STACK),
			   [rax] "i"(FRAME_RAX), [rdi] "i"(FRAME_RDI), [rip] "i"(FRAME_RIP),
			   [possessed] "m"(possessed), [hurt] "i"(HURT)
			 : "rax", "rcx", "rdi", "r11", "memory");
}

static void possessions(void)
{
	int took_place = 0;

	for (int i = 0; i < 100; i++) {
		took_place += step(possess, 0) == 0;
		possessed = 1;
		innocent();
		possessed = 0;
	}
	printf("of 100 possessions there were %d\n", took_place);
	fflush(stdout);
}

/*
 * As ghosts they say that they sleep, and then end their thread as above. The kernel hears of that
 * when it gives them a turn; by then others may have ended, too.
 */
static void fall_as_ghost(void)
{
	static const struct timespec sleep_longer = {60, 0};

	__asm__ volatile(FIND_FRAME "movq $35, %c[rax](%%rax)\n\t" /* nanosleep */
				    "mov %[time], %c[rdi](%%rax)\n\t"
				    "movq $0, %c[rsi](%%rax)\n\t"
				    "mov %[frame], %%ecx\n\t"
				    "mov %%rax, (%%rcx)\n\t"
				    "mov $1, %%ecx\n\t"
				    "mov %[turn], %%eax\n\t"
				    "xchg %%ecx, (%%rax)\n\t"
				    "mov $500000000, %%ecx\n"
				    "2:\tdec %%ecx\n\t"
				    "jnz 2b\n\t"
				    "mov $0x23400, %%esp\n\t"
				    "ud2"
			 :
			 : [frame] "i"(FRAME), [turn] "i"(TURN), [stack] "i"(STACK),
			   [rax] "i"(FRAME_RAX), [rdi] "i"(FRAME_RDI), [rsi] "i"(FRAME_RSI),
			   [rip] "i"(FRAME_RIP), [time] "r"(&sleep_longer)
			 : "rax", "rcx", "r11", "memory");
}

static void fallen_ghosts(void)
{
	pid_t pid[3];
	int took_place = 0, status;

	for (int i = 0; i < 3; i++) {
		pid[i] = fork();
		if (!pid[i])
			fall_as_ghost();
	}
	sleep(3);
	step(call_with_stack, 0x23400);
	innocent();
	for (int i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		took_place += waitpid(pid[i], &status, 0) == pid[i] && WIFSIGNALED(status) &&
			      WTERMSIG(status) == SIGKILL;
		innocent();
	}
	printf("of 3 fallen-ghosts there were %d\n", took_place);
	fflush(stdout);
}

/* What is said of whose turn it is, and no more: the kernel's timer has to get through. */
static void claim(uint64_t turn)
{
	ualarm(30000, 30000);
	__asm__ volatile("mov %[at], %%eax\n\t"
			 "xchg %%ecx, (%%rax)\n"
			 "1:\tjmp 1b"
			 :
			 : [at] "i"(TURN), "c"((uint32_t)turn)
			 : "rax", "memory");
}

static void claims(void)
{
	for (uint64_t turn = 0; turn < 64; turn++)
		step(claim, turn);
	step(claim, 0xffffffff);
}

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = {
	{"jumps", jumps},
	{"kicks", kicks},
	{"writes", writes},
	{"forgeries", forgeries},
	{"reads", reads},
	{"maps", maps},
	{"unmaps", unmaps},
	{"stacks", stacks},
	{"falls", falls_of_stacks},
	{"signal-stacks", signal_stacks},
	{"through-the-kernel", through_the_kernel},
	{"random-instructions", random_instructions},
	{"many-processes", many_processes},
	{"ghosts", ghosts},
	{"possessions", possessions},
	{"fallen-ghosts", fallen_ghosts},
	{"claims", claims},
};

/* A process that is nobody's business: its memory and registers stay what they are. */
static void witness(void)
{
	for (;;) {
		for (int i = 0; i < 64 * 4096; i += 128)
			if (witness_memory[i] != PATTERN)
				_exit(1);
		usleep(1000);
	}
}

/* In a list of names with commas. */
static int listed(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, name, n) && (!p[n] || p[n] == ','))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *only = getenv("HOSTILE_ONLY");
	struct rlimit no_core = {0, 0};
	int failed = 0, init = getpid() == 1, status;
	pid_t pid;

	if (init) {
		mkdir("/proc", 0755);
		mount("proc", "/proc", "proc", 0, NULL);
		FILE *f = fopen("/proc/sys/debug/exception-trace",
				"w"); /* thousands of lines about faults otherwise */
		if (f) {
			fputs("0\n", f);
			fclose(f);
		}
	}
	setrlimit(RLIMIT_CORE, &no_core);
	witness_memory =
		mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(witness_memory, PATTERN, 64 * 4096);
	pid = fork();
	if (!pid)
		witness();
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		pid_t attacker;

		if ((argc > 1 && strcmp(argv[1], attacks[i].name)) ||
		    (only && !listed(only, attacks[i].name)))
			continue;
		fflush(stdout);
		attacker = fork();
		if (!attacker) {
			attacks[i].run();
			_exit(0);
		}
		waitpid(attacker, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == HURT) {
			printf("FAIL %s\n", attacks[i].name);
			failed++;
			continue;
		}
		if (waitpid(pid, &status, WNOHANG) != 0) {
			printf("FAIL %s: the witness ended with 0x%x\n", attacks[i].name, status);
			failed++;
			break;
		}
		printf("ok %s\n", attacks[i].name);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("hostile: %d failed\n", failed);
	fflush(stdout);
	if (init)
		reboot(RB_POWER_OFF);
	return failed;
}
