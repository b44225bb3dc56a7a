/* SPDX-License-Identifier: MIT */
/*
 * The ring3 executor as the library sees it (executor.h). One process per vCPU: vCPU 0's is made at
 * the start, the others when the guest brings them up. They end together.
 */
#include "exec/ring3/ring3.h"
#include "exec/ring3/gang.h"
#include "exec/ring3/user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/err.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE 2u /* asm/hwcap2.h */
#endif

struct vcpu {
	int pidfd; /* -1: not started; read by kick() on other threads */
	pid_t pid;
	bool ended;
	struct ring3_usage usage;
	struct gang_place gang;
};

struct exec {
	const struct exec_memory *memory;
	char name[128];
	unsigned int nr_vcpus;
	int doorbell;
	struct gang_idle *idle;
	uint64_t moves; /* to an idle processor */
	int ends;	/* epoll: readable when the process of any vCPU has ended */
	struct ring3_kicks kicks;
	struct vcpu vcpu[CORE_MAX_VCPUS];
	uint64_t affinity[CORE_MAX_VCPUS][EXEC_CPU_WORDS];
	uint32_t has_affinity; /* bit n: of vCPU n */
	uint32_t shares;
	uint64_t code_cache;
	bool no_brief_turns;
	bool killed, ended;
	struct exec_end end; /* of the one that ended first */
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

/* As each process of guest programs asks for it (monitor/nursery.c). */
static bool can_protect_remotely(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = REMOTE_FEATURES};
	int fd = (int)syscall(SYS_userfaultfd, REMOTE_FLAGS);
	bool ret = fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

static void ring3_probe(struct exec_probe *ret)
{
	memset(ret, 0, sizeof(*ret));
	/* The kernel must know the calls that keep the embedding program undisturbed. */
	if (syscall(SYS_pidfd_send_signal, -1, 0, NULL, 0) == -1 && errno == ENOSYS)
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
	if (ret->available && !can_protect_remotely())
		snprintf(ret->reason, sizeof(ret->reason),
			 "page faults and mprotect() of guest programs take longer, for the host "
			 "has no "
			 "userfaultfd for shared memory (Linux 5.19 or newer has it), or a "
			 "container "
			 "forbids it");
}

static void ring3_destroy(struct exec *e);

/* One vCPU has one end to watch; several are gathered. */
static int watch_ends(struct exec *e)
{
	if (e->nr_vcpus < 2)
		return 0;
	e->ends = epoll_create1(EPOLL_CLOEXEC);
	if (e->ends < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, e->name,
			       "cannot watch the vCPUs of domain '%s'", e->name);
	return 0;
}

static int start_vcpu(struct exec *e, unsigned int id)
{
	if (e->vcpu[id].gang.slot == GANG_NONE)
		gang_join(NULL, e->shares, &e->vcpu[id].gang);

	const struct ring3_spawn s = {
		.name = e->name,
		.memory_fd = e->memory->fd,
		.doorbell_fd = e->doorbell,
		.kicks = &e->kicks,
		.memory = e->memory,
		.nr_vcpus = e->nr_vcpus,
		.vcpu = id,
		.affinity = e->has_affinity >> id & 1 ? e->affinity[id] : NULL,
		.shares = e->shares,
		.code_cache = e->code_cache,
		.no_brief_turns = e->no_brief_turns,
		.gang_fd = e->vcpu[id].gang.fd,
		.gang_slot = e->vcpu[id].gang.slot,
	};
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = id};
	int pidfd, r = ring3_spawn(&s, &pidfd, &e->vcpu[id].pid);

	if (r < 0)
		return r;
	__atomic_store_n(&e->vcpu[id].pidfd, pidfd, __ATOMIC_RELEASE);
	if (e->ends >= 0 && epoll_ctl(e->ends, EPOLL_CTL_ADD, pidfd, &ev))
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, e->name,
			       "cannot watch vCPU %u of domain '%s'", id, e->name);
	return 0;
}

static int ring3_start_vcpu(struct exec *e, unsigned int id)
{
	if (id >= e->nr_vcpus || e->vcpu[id].pidfd >= 0 || e->ended || e->killed)
		return err_set(PVV_EINVAL, PVV_SUBSYS_EXEC, e->name,
			       "domain '%s' has no vCPU %u to start", e->name, id);
	return start_vcpu(e, id);
}

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
	e->nr_vcpus = params->nr_vcpus;
	snprintf(e->name, sizeof(e->name), "%s", params->name);
	e->shares = params->shares;
	e->code_cache = params->code_cache;
	e->no_brief_turns = params->no_brief_turns;
	for (unsigned int i = 0; i < CORE_MAX_VCPUS; i++) {
		e->vcpu[i].pidfd = -1;
		e->vcpu[i].gang = (struct gang_place){.fd = -1, .slot = GANG_NONE};
		if (!params->affinity[i])
			continue;
		memcpy(e->affinity[i], params->affinity[i], sizeof(e->affinity[i]));
		e->has_affinity |= 1u << i;
	}
	e->ends = -1;
	e->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->doorbell < 0)
		r = err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, params->name,
			    "cannot create the doorbell of domain '%s'", params->name);
	else
		r = watch_ends(e);
	if (!r)
		r = ring3_kicks_open(&e->kicks, e->nr_vcpus, params->name);
	if (!r)
		r = start_vcpu(e, 0);
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
	int pidfd = __atomic_load_n(&e->vcpu[vcpu].pidfd, __ATOMIC_ACQUIRE);

	if (pidfd < 0)
		return; /* it will look when it starts */
	/*
	 * `kick` is set already (by the caller). The monitor writes `state` and then reads `kick`
	 * before it sleeps or enters the guest, so whichever of us comes second sees the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	uint32_t state = __atomic_load_n(&v->state, __ATOMIC_SEQ_CST);
	if (state == CORE_VCPU_BLOCKED || state == CORE_VCPU_PAUSED)
		syscall(SYS_futex, &v->kick, FUTEX_WAKE, 1, NULL, NULL, 0);
	else
		syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0);
}

static int ring3_doorbell_fd(struct exec *e)
{
	return e->doorbell;
}

/*
 * A vCPU has to share its processor. Those of a domain with several were spread over what there is
 * when they started; they stay.
 */
static void find_better_cpu(struct exec *e, unsigned int id)
{
	uint64_t any[EXEC_CPU_WORDS] = {0};

	if (e->nr_vcpus > 1)
		return;
	if (!e->idle)
		e->idle = calloc(1, sizeof(*e->idle));
	if (!(e->has_affinity & 1u << id) &&
	    syscall(SYS_sched_getaffinity, 0, sizeof(any), any) <= 0)
		return;
	if (e->idle)
		e->moves += gang_move(&e->vcpu[id].gang, e->vcpu[id].pid,
				      e->has_affinity & 1u << id ? e->affinity[id] : any, e->idle);
}

static void ring3_doorbell_clear(struct exec *e)
{
	uint64_t n;

	if (read(e->doorbell, &n, sizeof(n)) < 0)
		return; /* EAGAIN: nobody rang */
	for (unsigned int i = 0; i < e->nr_vcpus; i++)
		if (e->vcpu[i].pidfd >= 0 && gang_heard(&e->vcpu[i].gang, e->vcpu[i].pid))
			find_better_cpu(e, i);
}

static int ring3_end_fd(struct exec *e)
{
	return e->ends >= 0 ? e->ends : e->vcpu[0].pidfd;
}

/* The statuses of spawn.c, tramp.S and the first steps of monitor/main.c. */
static const char *meaning_of(int status)
{
	switch (status) {
	case U_REFUSED:
		return "the host refuses it a process of its own (a limit on processes, "
		       "or memory)";
	case 120:
		return "the host does not let it change its address space";
	case 121:
		return "the program that started it has ended";
	case 122:
		return "it cannot have its three descriptors (RLIMIT_NOFILE must be 12 at least)";
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

/* False: it still runs. */
static bool collect(struct exec *e, unsigned int id, int options, struct exec_end *ret_end)
{
	struct vcpu *v = &e->vcpu[id];
	siginfo_t si;
	int r;

	memset(&si, 0, sizeof(si));
	/* __WALL: the exit signal is 0, which makes it a "clone child". */
	do {
		r = waitid(P_PIDFD, (id_t)v->pidfd, &si, WEXITED | __WALL | options);
	} while (r < 0 && errno == EINTR);
	if (r == 0 && si.si_pid == 0)
		return false;
	if (r < 0) /* ECHILD: the program waited with __WALL itself. It has ended all the same. */
		*ret_end = (struct exec_end){.status = 125};
	else if (si.si_code == CLD_EXITED)
		*ret_end =
			(struct exec_end){.status = si.si_status, .why = meaning_of(si.si_status)};
	else
		*ret_end = (struct exec_end){.signal = si.si_status};
	v->ended = true;
	ring3_reap_orphans(v->pid);
	return true;
}

/* Without one of them the others are no domain: it may have held a lock, and its work is undone. */
static void kill_rest(struct exec *e)
{
	struct exec_end end;

	for (unsigned int i = 0; i < e->nr_vcpus; i++)
		if (e->vcpu[i].pidfd >= 0 && !e->vcpu[i].ended)
			syscall(SYS_pidfd_send_signal, e->vcpu[i].pidfd, SIGKILL, NULL, 0);
	for (unsigned int i = 0; i < e->nr_vcpus; i++)
		if (e->vcpu[i].pidfd >= 0 && !e->vcpu[i].ended)
			(void)collect(e, i, 0, &end);
}

static int ring3_end_collect(struct exec *e, struct exec_end *ret_end)
{
	for (unsigned int i = 0; i < e->nr_vcpus && !e->ended; i++) {
		if (e->vcpu[i].pidfd < 0 || !collect(e, i, WNOHANG, &e->end))
			continue;
		e->end.killed = e->killed;
		e->ended = true;
		kill_rest(e);
	}
	if (!e->ended)
		return err_set(PVV_EAGAIN, PVV_SUBSYS_EXEC, NULL, "the sandbox still runs");
	*ret_end = e->end;
	return 0;
}

static void ring3_kill(struct exec *e)
{
	if (e->ended)
		return;
	e->killed = true;
	kill_rest(e);
	e->ended = true;
	e->end = (struct exec_end){.killed = true, .signal = SIGKILL};
}

static bool has_process(const struct vcpu *v)
{
	return !v->ended && v->pidfd >= 0; /* the pid is ours until it is collected */
}

static uint64_t ring3_overhead(struct exec *e)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < e->nr_vcpus; i++) {
		struct vcpu *v = &e->vcpu[i];

		if (!has_process(v))
			continue;
		ring3_usage(v->pid, false, &v->usage);
		sum += v->usage.monitor_memory + v->usage.memory;
	}
	return sum;
}

static uint64_t ring3_cpu_time(struct exec *e)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < e->nr_vcpus; i++) {
		struct vcpu *v = &e->vcpu[i];

		if (!has_process(v))
			continue;
		ring3_usage(v->pid, true, &v->usage);
		sum += v->usage.monitor_cpu_time + v->usage.cpu_time;
	}
	return sum;
}

static uint64_t ring3_moves(struct exec *e)
{
	return e->moves;
}

static void ring3_destroy(struct exec *e)
{
	if (!e)
		return;
	ring3_kill(e);
	for (unsigned int i = 0; i < e->nr_vcpus; i++) {
		if (e->vcpu[i].pidfd >= 0)
			close(e->vcpu[i].pidfd);
		gang_leave(NULL, &e->vcpu[i].gang);
	}
	ring3_kicks_close(&e->kicks);
	if (e->ends >= 0)
		close(e->ends);
	if (e->doorbell >= 0)
		close(e->doorbell);
	free(e->idle);
	free(e);
}

static uint64_t ring3_region(uint64_t nr_frames, unsigned int nr_vcpus)
{
	return ux_size(nr_frames, nr_vcpus);
}

const struct exec_ops exec_ring3 = {
	.name = "ring3",
	.translates = true,
	.region = ring3_region,
	.probe = ring3_probe,
	.start = ring3_start,
	.start_vcpu = ring3_start_vcpu,
	.kick = ring3_kick,
	.doorbell_fd = ring3_doorbell_fd,
	.doorbell_clear = ring3_doorbell_clear,
	.end_fd = ring3_end_fd,
	.end_collect = ring3_end_collect,
	.kill = ring3_kill,
	.overhead = ring3_overhead,
	.cpu_time = ring3_cpu_time,
	.moves = ring3_moves,
	.destroy = ring3_destroy,
};
