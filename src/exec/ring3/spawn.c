/* SPDX-License-Identifier: MIT */
/*
 * Making a sandbox process without the embedding program noticing.
 *
 * No exec: the kernel resets the exit signal of a process that execs to SIGCHLD, and then the
 * embedder's waitpid(-1) would see it. So the child is a bare clone (exit signal 0, no handlers run
 * on fork), runs no code of the program or of libc, and empties the address space it inherited:
 * tramp.S unmaps everything but its own page and maps the monitor image instead.
 *
 * PR_SET_PDEATHSIG ends the child when the thread that made it ends: that is the host's I/O thread,
 * which lives as long as any domain, so a program that dies by any means leaves no sandbox behind.
 */
#include "exec/ring3/ring3.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <unistd.h>

#include "exec/ring3/sys.h"
#include "exec/ring3/translate/layout.h"
#include "util/clone.h"
#include "util/err.h"

#define TRAMP_LEN 12288ul      /* one page of code, two of parameters */
#define CACHE_MIN (4ull << 20) /* the translator insists on that */
_Static_assert(sizeof(struct k_params) <= TRAMP_LEN - 4096, "two pages of parameters");

#define MAX_FDS (5 + CORE_MAX_VCPUS)

struct child_args {
	pid_t parent;
	/* Memory, doorbell, image, perhaps the board of gang.h; then with more than one vCPU what
	 * interrupts them. */
	int nr_fds, fd[MAX_FDS], to[MAX_FDS];
	int above;			  /* all of to[] */
	bool interrupted;		  /* by the pipes */
	unsigned int gap[MAX_FDS + 1][2]; /* descriptor ranges to close first */
	char name[16], root[2];
	uintptr_t rseq_area;
	uint32_t rseq_size;
	uintptr_t tramp, params;
	const uint64_t *affinity;
	char autogroup[24], nice_text[8]; /* a file, and what to write there; "": leave it */
	int nice;			  /* to add */
};

/*
 * The child, between clone and the trampoline: in a copy of the program's memory, with whatever
 * locks other threads held. Raw system calls only.
 */
#define IN_CHILD                                                                                   \
	__attribute__((no_sanitize("address", "thread", "undefined"), noinline,                    \
		       optimize("no-stack-protector")))

/*
 * Where it may run, and with what weight. The session is new, so the host may have put it into a
 * scheduling group of its own (CONFIG_SCHED_AUTOGROUP): then the group's niceness is what counts.
 * A weight above the usual one is for the privileged; the others get the usual one.
 */
IN_CHILD static void child_scheduling(const struct child_args *a)
{
	int fd;

	if (a->affinity && sys3(SYS_sched_setaffinity, 0, EXEC_CPU_WORDS * 8, a->affinity) < 0)
		sys_exit(126);
	if (!a->nice_text[0])
		return;
	/* The raw call answers with 20 - niceness. */
	sys3(SYS_setpriority, PRIO_PROCESS, 0,
	     20 - sys2(SYS_getpriority, PRIO_PROCESS, 0) + a->nice);
	fd = (int)sys3(SYS_open, a->autogroup, O_WRONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		sys3(SYS_write, fd, a->nice_text, sizeof(a->nice_text) - 1);
		sys1(SYS_close, fd);
	}
}

IN_CHILD __attribute__((noreturn)) static void child(const struct child_args *a)
{
	int fd[MAX_FDS];

	sys2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	if (sys0(SYS_getppid) != a->parent)
		sys_exit(121); /* the program died in between */
	/* Its own session: a ^C on the program's terminal is not for the guest. */
	sys0(SYS_setsid);
	child_scheduling(a);
	sys2(SYS_prctl, PR_SET_NAME, a->name);
	sys2(SYS_prctl, PR_SET_DUMPABLE, 0);
	sys6(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
	/* The kernel would write to the area (and kill us) once it is unmapped. */
	if (a->rseq_area)
		sys4(SYS_rseq, a->rseq_area, a->rseq_size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);

	for (int i = 0; i <= a->nr_fds; i++)
		if (a->gap[i][0] <= a->gap[i][1] &&
		    sys3(SYS_close_range, a->gap[i][0], a->gap[i][1], 0))
			sys_exit(124); /* never with the program's descriptors */
	for (int i = 0; i < a->nr_fds; i++) {
		fd[i] = (int)sys3(SYS_fcntl, a->fd[i], F_DUPFD, a->above);
		if (fd[i] < 0)
			sys_exit(122);
	}
	if (sys3(SYS_close_range, 0, a->above - 1, 0))
		sys_exit(124);
	for (int i = 0; i < a->nr_fds; i++)
		if (sys2(SYS_dup2, fd[i], a->to[i]) < 0)
			sys_exit(122);
	if (sys3(SYS_close_range, a->above, ~0u, 0))
		sys_exit(124);
	if (a->interrupted) {
		/* From now on a byte in the pipe is a SIGUSR1 for this process. */
		if (sys3(SYS_fcntl, K_FD_KICKED, F_SETOWN, sys0(SYS_getpid)) ||
		    sys3(SYS_fcntl, K_FD_KICKED, F_SETSIG, SIGUSR1) ||
		    sys3(SYS_fcntl, K_FD_KICKED, F_SETFL, O_ASYNC | O_NONBLOCK))
			sys_exit(122);
	}
	/* The program's working directory must not be kept busy by a guest. */
	sys1(SYS_chdir, a->root);

	__asm__ volatile("jmp *%0" : : "r"(a->tramp), "D"(a->params) : "memory");
	__builtin_unreachable();
}

static void pass(struct child_args *a, int fd, int to)
{
	a->fd[a->nr_fds] = fd;
	a->to[a->nr_fds++] = to;
	if (to >= a->above)
		a->above = to + 1;
}

static void pass_descriptors(struct child_args *a, const struct ring3_spawn *s, int image_fd)
{
	a->above = 8;
	pass(a, s->memory_fd, K_FD_MEMORY);
	pass(a, s->doorbell_fd, K_FD_DOORBELL);
	pass(a, image_fd, K_FD_IMAGE);
	if (s->gang_fd >= 0)
		pass(a, s->gang_fd, K_FD_GANG);
	if (!s->kicks || s->kicks->nr == 0)
		return;
	a->interrupted = true;
	pass(a, s->kicks->rd[s->vcpu], K_FD_KICKED);
	for (unsigned int i = 0; i < s->kicks->nr; i++)
		pass(a, s->kicks->wr[i], K_FD_KICK + (int)i);
}

/* The ranges of descriptors between those that stay. */
static void close_gaps(struct child_args *a)
{
	unsigned int f[MAX_FDS], from = 0;

	for (int i = 0; i < a->nr_fds; i++) {
		int j = i;

		for (; j > 0 && f[j - 1] > (unsigned int)a->fd[i]; j--)
			f[j] = f[j - 1];
		f[j] = (unsigned int)a->fd[i];
	}
	for (int i = 0; i < a->nr_fds; i++) {
		a->gap[i][0] = f[i] > from ? from : 1;
		a->gap[i][1] = f[i] > from ? f[i] - 1 : 0;
		from = f[i] + 1;
	}
	a->gap[a->nr_fds][0] = from;
	a->gap[a->nr_fds][1] = ~0u;
}

/* Hosts with vm.memfd_noexec=2 insist on NOEXEC_SEAL (which is about execve(), not mmap()). */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

int ring3_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC);
	return fd;
}

static int open_image(void)
{
	size_t len = (size_t)(ring3_image_end - ring3_image_start);
	int fd = ring3_memfd("pvv-monitor");

	if (fd < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, NULL,
			       "cannot create a memfd for the monitor");
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, ring3_image_start + done, len - done);
		if (n < 0) {
			int e = errno;
			close(fd);
			return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, e, NULL,
				       "cannot write the monitor image");
		}
		done += (size_t)n;
	}
	return fd;
}

static uint64_t cache_size(uint64_t asked)
{
	if (!asked)
		return 0;
	if (asked < CACHE_MIN)
		asked = CACHE_MIN;
	return asked < XLATE_CACHE_SIZE_MAX ? asked : XLATE_CACHE_SIZE_MAX;
}

static void fill_params(struct k_params *p, const struct ring3_spawn *s, uintptr_t tramp)
{
	const struct k_image_header *h = (const struct k_image_header *)ring3_image_start;
	struct ring3_filter filter;

	ring3_filter_make(&filter);
	p->text_len = h->text_end - K_IMAGE_BASE;
	p->data_len = h->data_end - h->text_end;
	p->bss_len = h->bss_end - h->data_end;
	p->entry = h->entry;
	p->stack_top = h->stack_top;
	p->tramp_base = tramp;
	p->tramp_len = TRAMP_LEN;
	p->mem_size = s->memory->size;
	p->nr_frames = s->memory->nr_frames;
	p->ctl_off = s->memory->ctl_off;
	p->state_off = s->memory->state_off;
	p->frames_off = s->memory->frames_off;
	p->exec_off = s->memory->exec_off;
	p->smp_off = s->memory->exec_off;
	p->nr_vcpus = s->nr_vcpus;
	/*
	 * Bounds what a hostile guest can make the kernel spend on page tables: a domain maps its
	 * RAM a few times (direct map, kernel text, vmalloc), and the monitor has a few GiB of
	 * sparse tables.
	 */
	p->rlimit_as = 16 * s->memory->size + (64ull << 30);
	p->vcpu = s->vcpu;
	p->vdso = getauxval(AT_SYSINFO_EHDR);
	p->code_cache = cache_size(s->code_cache);
	p->no_brief_turns = s->no_brief_turns;
	p->nr_vcpus = s->nr_vcpus;
	p->gang_slot = s->gang_slot;
	p->filter_len = filter.len;
	memcpy(p->filter, filter.insn, filter.len * sizeof(filter.insn[0]));
	ring3_filter_make_nursery(&filter);
	p->nursery_len = filter.len;
	memcpy(p->nursery, filter.insn, filter.len * sizeof(filter.insn[0]));
	ring3_filter_make_mapper(&filter);
	p->mapper_len = filter.len;
	memcpy(p->mapper, filter.insn, filter.len * sizeof(filter.insn[0]));
	ring3_filter_make_thread(&filter);
	p->thread_len = filter.len;
	memcpy(p->thread, filter.insn, filter.len * sizeof(filter.insn[0]));
}

__attribute__((noinline)) static int spawn_from(const struct ring3_spawn *s, uintptr_t tramp,
						int image_fd, int *ret_pidfd, pid_t *ret_pid)
{
	struct child_args a = {
		.parent = getpid(),
		.tramp = tramp,
		.params = tramp + 4096,
		.root = "/",
		.affinity = s->affinity,
		.autogroup = "/proc/self/autogroup",
	};
	sigset_t all, old;
	pid_t pid;

	size_t n = strlen(s->name);
	memcpy(a.name, "pvv:", 4);
	memcpy(a.name + 4, s->name, n < 11 ? n : 11);
	if (s->shares) {
		a.nice = exec_nice(s->shares);
		snprintf(a.nice_text, sizeof(a.nice_text), "%d", a.nice);
	}
	pass_descriptors(&a, s, image_fd);
	close_gaps(&a);
	if (__rseq_size) {
		a.rseq_area = (uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset;
		a.rseq_size = __rseq_size < 32 ? 32 : __rseq_size;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = clone_quiet(ret_pidfd);
	if (pid == 0)
		child(&a);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, -pid, s->name,
			       "cannot create the sandbox process of domain '%s'", s->name);
	*ret_pid = pid;
	return 0;
}

int ring3_spawn(const struct ring3_spawn *s, int *ret_pidfd, pid_t *ret_pid)
{
	uint8_t *tramp;
	int image_fd, r;

	tramp = mmap(NULL, TRAMP_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (tramp == MAP_FAILED)
		return err_nomem(PVV_SUBSYS_EXEC, "preparing the sandbox");
	memcpy(tramp, ring3_tramp_start, (size_t)(ring3_tramp_end - ring3_tramp_start));
	fill_params((struct k_params *)(tramp + 4096), s, (uintptr_t)tramp);
	if (mprotect(tramp, 4096, PROT_READ | PROT_EXEC)) {
		r = err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, NULL,
			    "the host does not allow executable anonymous memory");
		goto out;
	}
	image_fd = open_image();
	if (image_fd < 0) {
		r = image_fd;
		goto out;
	}
	r = spawn_from(s, (uintptr_t)tramp, image_fd, ret_pidfd, ret_pid);
	close(image_fd);
out:
	munmap(tramp, TRAMP_LEN);
	return r;
}
