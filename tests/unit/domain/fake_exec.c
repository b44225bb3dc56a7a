/* SPDX-License-Identifier: MIT */
/*
 * An executor whose "monitor" is a hostile thread: instead of running a guest it writes garbage
 * over everything the library shares with a sandbox - control pages, core state, frame table, grant
 * table, the rings, random guest pages - and rings its doorbell all the time. Linked in place of
 * ring3.
 */
#include "fake_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "domain/memory.h"

struct exec {
	struct exec_memory mem;
	pthread_t thread;
	int doorbell, end;
	uint32_t stop, collected;
	uint64_t seed;
	enum hostile_mode mode;
	unsigned int nr_vcpus;
};

enum hostile_mode hostile_mode = HOSTILE_ALL;
uint64_t hostile_seed = 1;
uint64_t hostile_writes, hostile_overhead;
uint32_t vcpus_started;

static uint64_t next(struct exec *e)
{
	e->seed ^= e->seed << 13;
	e->seed ^= e->seed >> 7;
	e->seed ^= e->seed << 17;
	return e->seed;
}

/* Mostly nonsense, often the small and the extreme numbers that checks are about. */
static uint64_t value(struct exec *e)
{
	static const uint64_t nasty[] = {
		0,	    1,		2,	    3,	   4,	       5,	   0x7f, 0xff,
		0x7fffffff, 0x80000000, 0xffffffff, ~0ull, 1ull << 32, 1ull << 63, 4095, 4096};
	uint64_t r = next(e);

	return r & 1 ? nasty[(r >> 8) % 16] : next(e);
}

static void scribble(struct exec *e, uint64_t off, uint64_t len)
{
	uint64_t at = off + (next(e) % len & ~7ull);
	uint64_t n = 1 + next(e) % 16;

	for (uint64_t i = 0; i < n && at + 8 <= off + len; i++, at += 8)
		__atomic_store_n((uint64_t *)(e->mem.base + at), value(e), __ATOMIC_RELAXED);
}

static void step(struct exec *e)
{
	struct core_ctl *ctl = memory_ctl(&e->mem);
	uint64_t ring = 1;

	switch (next(e) % 8) {
	case 0:
	case 1: /* the control pages; the state only when that is asked for */
		scribble(e, e->mem.ctl_off, e->mem.ctl_size);
		if (e->mode == HOSTILE_ENDS && next(e) % 512 == 0) {
			__atomic_store_n(&ctl->shutdown_code, (uint32_t)value(e), __ATOMIC_RELAXED);
			__atomic_store_n(&ctl->run_state, 3 + (uint32_t)(next(e) % 2),
					 __ATOMIC_RELEASE);
		}
		if (e->mode != HOSTILE_ENDS)
			__atomic_store_n(&ctl->run_state, CORE_STATE_RUNNING, __ATOMIC_RELAXED);
		break;
	case 2: /* every port at once */
		memset(ctl->outbound, 0xff, sizeof(ctl->outbound));
		ctl->outbound_any = ~0ull;
		break;
	case 3:
		scribble(e, e->mem.state_off, e->mem.state_size);
		break;
	case 4:
		scribble(e, e->mem.frames_off, e->mem.frames_size);
		break;
	default: /* guest memory: rings, grant table, everything */
		scribble(e, 0, e->mem.nr_frames << 12);
	}
	if (next(e) % 4 == 0 && write(e->doorbell, &ring, sizeof(ring)) < 0)
		return;
}

/* As monitors do: the ring is left out when the library has not looked since the last one. */
static void ask_for_vcpu(struct exec *e, unsigned int id)
{
	struct core_ctl *ctl = memory_ctl(&e->mem);
	uint64_t one = 1;

	__atomic_fetch_or(&ctl->start_request, 1u << id, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&ctl->doorbell, 1, __ATOMIC_SEQ_CST) == 0 &&
	    write(e->doorbell, &one, sizeof(one)) < 0)
		abort();
}

static int fake_start_vcpu(struct exec *e, unsigned int id)
{
	__atomic_fetch_or(&vcpus_started, 1u << id, __ATOMIC_SEQ_CST);
	if (e->mode == FRIENDLY_STARTS && id + 1 < e->nr_vcpus)
		ask_for_vcpu(e, id + 1);
	return 0;
}

static void *hostile(void *opaque)
{
	struct exec *e = opaque;
	uint64_t one = 1;

	if (e->mode == FRIENDLY_STARTS) {
		__atomic_store_n(&memory_ctl(&e->mem)->run_state, CORE_STATE_RUNNING,
				 __ATOMIC_RELEASE);
		ask_for_vcpu(e, 1);
		return NULL;
	}
	while (!__atomic_load_n(&e->stop, __ATOMIC_ACQUIRE)) {
		for (int i = 0; i < 256; i++)
			step(e);
		__atomic_add_fetch(&hostile_writes, 256, __ATOMIC_RELAXED);
		if (e->mode == HOSTILE_POLITE_PAUSE) {
			struct core_ctl *ctl = memory_ctl(&e->mem);
			__atomic_store_n(&ctl->run_state, CORE_STATE_PAUSED, __ATOMIC_SEQ_CST);
			__atomic_store_n(&ctl->pause_ack, ctl->pause_seq, __ATOMIC_SEQ_CST);
		}
		if (e->mode == HOSTILE_SYSCALL)
			break;
		usleep(200);
	}
	if (write(e->end, &one, sizeof(one)) < 0)
		return NULL;
	return NULL;
}

static void fake_probe(struct exec_probe *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->available = true;
}

static int fake_start(const struct exec_params *params, struct exec **ret_exec)
{
	struct exec *e = calloc(1, sizeof(*e));

	e->mem = *params->memory;
	e->mode = hostile_mode;
	e->nr_vcpus = params->nr_vcpus;
	e->seed = hostile_seed * 0x9e3779b97f4a7c15ull | 1;
	e->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_create(&e->thread, NULL, hostile, e);
	*ret_exec = e;
	return 0;
}

static void fake_kick(struct exec *e, unsigned int vcpu)
{
}

static int fake_doorbell_fd(struct exec *e)
{
	return e->doorbell;
}

static void fake_doorbell_clear(struct exec *e)
{
	uint64_t n;

	if (read(e->doorbell, &n, sizeof(n)) < 0)
		return;
}

static int fake_end_fd(struct exec *e)
{
	return e->end;
}

static int fake_end_collect(struct exec *e, struct exec_end *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (e->mode == HOSTILE_SYSCALL)
		ret->signal = SIGSYS;
	else
		ret->status = 1;
	return 0;
}

static void fake_kill(struct exec *e)
{
	if (__atomic_exchange_n(&e->stop, 1, __ATOMIC_ACQ_REL) == 0)
		pthread_join(e->thread, NULL);
}

static uint64_t fake_overhead(struct exec *e)
{
	return __atomic_load_n(&hostile_overhead, __ATOMIC_RELAXED);
}

static void fake_destroy(struct exec *e)
{
	if (!e)
		return;
	fake_kill(e);
	close(e->doorbell);
	close(e->end);
	free(e);
}

const struct exec_ops exec_ring3 = {
	.name = "ring3",
	.probe = fake_probe,
	.start = fake_start,
	.start_vcpu = fake_start_vcpu,
	.kick = fake_kick,
	.doorbell_fd = fake_doorbell_fd,
	.doorbell_clear = fake_doorbell_clear,
	.end_fd = fake_end_fd,
	.end_collect = fake_end_collect,
	.kill = fake_kill,
	.overhead = fake_overhead,
	.cpu_time = fake_overhead,
	.destroy = fake_destroy,
};
