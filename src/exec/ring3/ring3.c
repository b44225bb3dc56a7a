/* SPDX-License-Identifier: MIT */
/*
 * The ring3 executor as the library sees it (executor.h). One process per vCPU; the foundation
 * starts vCPU 0.
 */
#include "exec/ring3/ring3.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/err.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2u /* asm/hwcap2.h */
#endif

struct exec {
	const struct exec_memory *memory;
	int doorbell;
	int pidfd;
	pid_t pid;
	bool killed, ended;
	struct exec_end end;
};

static struct core_ctl *exec_ctl(const struct exec *e)
{
	return (struct core_ctl *)(e->memory->base + e->memory->ctl_off);
}

/* Present, and not hidden by a container's own filter (which answers ENOSYS or EPERM). */
static bool can_close_range(void)
{
	return syscall(SYS_close_range, ~0u, ~0u, 0) == 0;
}

static bool can_kill_by_filter(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static void ring3_probe(struct exec_probe *ret)
{
	memset(ret, 0, sizeof(*ret));
	/* The kernel must know the calls that keep the embedding program undisturbed. */
	if (syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS)
		snprintf(ret->reason, sizeof(ret->reason),
			 "the host's kernel has no clone3 system call (or a container forbids it); "
			 "Linux 5.9 or newer is needed");
	else if (syscall(SYS_pidfd_send_signal, -1, 0, NULL, 0) == -1 && errno == ENOSYS)
		snprintf(ret->reason, sizeof(ret->reason),
			 "the host's kernel has no pidfd_send_signal system call; Linux 5.9 or "
			 "newer is needed");
	else if (!can_close_range())
		snprintf(ret->reason, sizeof(ret->reason),
			 "the host's kernel has no close_range system call (or a container forbids "
			 "it); Linux 5.9 or newer is needed");
	else if (!can_kill_by_filter())
		snprintf(ret->reason, sizeof(ret->reason),
			 "the host's kernel has no seccomp filters (or a container forbids them)");
	else if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
		snprintf(ret->reason, sizeof(ret->reason),
			 "the host's processor or kernel does not let programs set FS and GS bases "
			 "(FSGSBASE)");
	else
		ret->available = true;
}

static void ring3_destroy(struct exec *e);

static int ring3_start(const struct exec_params *params, struct exec **ret_exec)
{
	struct exec *e;
	int r;

	*ret_exec = NULL;
	if (params->memory->size > K_RAM_MAX)
		return err_set(
			PVV_ELIMIT, PVV_SUBSYS_EXEC, params->name,
			"domain '%s' has too much memory for the ring3 executor: at most %llu "
			"GiB are possible",
			params->name, (unsigned long long)(K_RAM_MAX >> 30));
	e = calloc(1, sizeof(*e));
	if (!e)
		return err_nomem(PVV_SUBSYS_EXEC, "starting a domain");
	e->memory = params->memory;
	e->pidfd = -1;
	e->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->doorbell < 0) {
		r = err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, params->name,
			    "cannot create the doorbell of domain '%s'", params->name);
		ring3_destroy(e);
		return r;
	}
	struct ring3_spawn s = {
		.name = params->name,
		.memory_fd = params->memory->fd,
		.doorbell_fd = e->doorbell,
		.memory = params->memory,
		.vcpu = 0,
		.affinity = params->affinity[0],
		.shares = params->shares,
		.code_cache = params->code_cache,
	};
	r = ring3_spawn(&s, &e->pidfd, &e->pid);
	if (r < 0) {
		ring3_destroy(e);
		return r;
	}
	*ret_exec = e;
	return 0;
}

static void ring3_kick(struct exec *e, unsigned int vcpu)
{
	struct core_ctl_vcpu *v = &exec_ctl(e)->vcpu[vcpu];

	/*
	 * `kick` is set already (by the caller). The monitor writes `state` and then reads `kick`
	 * before it sleeps or enters the guest, so whichever of us comes second sees the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	uint32_t state = __atomic_load_n(&v->state, __ATOMIC_SEQ_CST);
	if (state == CORE_VCPU_BLOCKED || state == CORE_VCPU_PAUSED)
		syscall(SYS_futex, &v->kick, FUTEX_WAKE, 1, NULL, NULL, 0);
	else
		syscall(SYS_pidfd_send_signal, e->pidfd, SIGUSR1, NULL, 0);
}

static int ring3_doorbell_fd(struct exec *e)
{
	return e->doorbell;
}

static void ring3_doorbell_clear(struct exec *e)
{
	uint64_t n;

	if (read(e->doorbell, &n, sizeof(n)) < 0)
		return; /* EAGAIN: nobody rang */
}

static int ring3_end_fd(struct exec *e)
{
	return e->pidfd;
}

/* The statuses of spawn.c, tramp.S and the first steps of monitor/main.c. */
static const char *meaning_of(int status)
{
	switch (status) {
	case 120:
		return "the host does not let it change its address space";
	case 121:
		return "the program that started it has ended";
	case 122:
		return "it cannot have its three descriptors (RLIMIT_NOFILE must be 11 at least)";
	case 123:
		return "there is no address space for the guest's memory (RLIMIT_AS?)";
	case 124:
		return "it could not close the program's descriptors";
	case 126:
		return "it may not use any of the host CPUs that <vcpupin> or cpuset= name";
	default:
		return NULL;
	}
}

static int collect(struct exec *e, int options, struct exec_end *ret_end)
{
	siginfo_t si;

	if (e->ended) {
		*ret_end = e->end;
		return 0;
	}
	memset(&si, 0, sizeof(si));
	/* __WALL: the exit signal is 0, which makes it a "clone child". */
	if (waitid(P_PIDFD, (id_t)e->pidfd, &si, WEXITED | __WALL | options) < 0) {
		if (errno == EINTR)
			return err_set(PVV_EAGAIN, PVV_SUBSYS_EXEC, NULL, "the sandbox still runs");
		/* ECHILD: the program waited with __WALL itself. It has ended all the same. */
		e->end = (struct exec_end){.killed = e->killed, .status = 125};
	} else if (si.si_pid == 0) {
		return err_set(PVV_EAGAIN, PVV_SUBSYS_EXEC, NULL, "the sandbox still runs");
	} else if (si.si_code == CLD_EXITED) {
		e->end = (struct exec_end){.killed = e->killed,
					   .status = si.si_status,
					   .why = meaning_of(si.si_status)};
	} else {
		e->end = (struct exec_end){.killed = e->killed, .signal = si.si_status};
	}
	e->ended = true;
	*ret_end = e->end;
	return 0;
}

static int ring3_end_collect(struct exec *e, struct exec_end *ret_end)
{
	return collect(e, WNOHANG, ret_end);
}

static void ring3_kill(struct exec *e)
{
	struct exec_end end;

	if (e->ended || e->pidfd < 0)
		return;
	e->killed = true;
	syscall(SYS_pidfd_send_signal, e->pidfd, SIGKILL, NULL, 0);
	while (collect(e, 0, &end) == PVV_EAGAIN)
		;
}

/* A file of the sandbox's /proc folder; the pid is ours until it is collected. */
static bool read_proc(struct exec *e, const char *file, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	if (e->ended || e->pidfd < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)e->pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

static uint64_t ring3_overhead(struct exec *e)
{
	unsigned long total, resident, shared;
	char buf[256];

	/* Anonymous pages are resident minus shared (memfd and image). */
	if (!read_proc(e, "statm", buf, sizeof(buf)) ||
	    sscanf(buf, "%lu %lu %lu", &total, &resident, &shared) != 3 || resident < shared)
		return 0;
	return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t ring3_cpu_time(struct exec *e)
{
	unsigned long long run, wait;
	char buf[128];

	/* schedstat: nanoseconds on the processor, nanoseconds waiting for it, slices. */
	if (!read_proc(e, "schedstat", buf, sizeof(buf)) ||
	    sscanf(buf, "%llu %llu", &run, &wait) != 2)
		return 0;
	return run;
}

static void ring3_destroy(struct exec *e)
{
	if (!e)
		return;
	ring3_kill(e);
	if (e->pidfd >= 0)
		close(e->pidfd);
	if (e->doorbell >= 0)
		close(e->doorbell);
	free(e);
}

const struct exec_ops exec_ring3 = {
	.name = "ring3",
	.probe = ring3_probe,
	.start = ring3_start,
	.kick = ring3_kick,
	.doorbell_fd = ring3_doorbell_fd,
	.doorbell_clear = ring3_doorbell_clear,
	.end_fd = ring3_end_fd,
	.end_collect = ring3_end_collect,
	.kill = ring3_kill,
	.overhead = ring3_overhead,
	.cpu_time = ring3_cpu_time,
	.destroy = ring3_destroy,
};
