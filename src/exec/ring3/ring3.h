/* SPDX-License-Identifier: MIT */
/*
 * The library's half of the ring3 executor: making the sandbox process and ending it. The other
 * half, which runs inside, is monitor/ and translate/.
 */
#ifndef PVV_RING3_H
#define PVV_RING3_H

#include <stdint.h>
#include <sys/types.h>

#include "exec/executor.h"
#include "exec/ring3/layout.h"

struct ring3_filter {
	uint64_t insn[K_FILTER_MAX];
	uint32_t len;
};
void ring3_filter_make(struct ring3_filter *ret);
/* N's, which all U processes have, too; and those of the tasks of a U process: see user.h. */
void ring3_filter_make_nursery(struct ring3_filter *ret);
void ring3_filter_make_mapper(struct ring3_filter *ret);
void ring3_filter_make_thread(struct ring3_filter *ret);
/* A memfd, or -1 and errno. */
int ring3_memfd(const char *name);

/* The monitor image as linked into the library (image.S). */
extern const uint8_t ring3_image_start[], ring3_image_end[];
extern const uint8_t ring3_tramp_start[], ring3_tramp_end[];

/*
 * How vCPUs interrupt each other: a pipe for each, whose reading end makes the kernel send SIGUSR1
 * to the process it belongs to. None (-1) in a domain of one vCPU.
 */
struct ring3_kicks {
	unsigned int nr;
	int rd[CORE_MAX_VCPUS], wr[CORE_MAX_VCPUS];
};
int ring3_kicks_open(struct ring3_kicks *k, unsigned int nr_vcpus, const char *name);
void ring3_kicks_close(struct ring3_kicks *k);

struct ring3_spawn {
	const char *name;
	int memory_fd, doorbell_fd;
	const struct ring3_kicks *kicks;
	const struct exec_memory *memory;
	unsigned int nr_vcpus, vcpu;
	const uint64_t *affinity; /* EXEC_CPU_WORDS words, NULL: any CPU */
	uint32_t shares;	  /* 0: as this process */
	uint64_t code_cache;	  /* bytes, 0: default */
	bool no_brief_turns;	  /* see exec_params */
	int gang_fd;		  /* see gang.h; -1: none */
	uint32_t gang_slot;
};

/* What the processes of a vCPU use. All zero before the first look. */
struct ring3_usage {
	uint64_t monitor_memory, monitor_cpu_time; /* bytes beyond the RAM, ns */
	uint64_t memory, cpu_time;		   /* of the nursery and the U processes */
	uint64_t looked_at;			   /* the monitor's time when they were */
};
/* Not exact: U processes as at an earlier look, if the monitor has done little since. */
void ring3_usage(pid_t monitor, bool exact, struct ring3_usage *u);
/* The processes that it has started, as far as there is room: how many. */
unsigned int ring3_children(pid_t pid, pid_t *ret, unsigned int max);
/* The same of one thread of a program. */
unsigned int ring3_children_of(pid_t pid, pid_t thread, pid_t *ret, unsigned int max);

/* Collects what a monitor that has ended leaves to this program, if it is that which orphans go to.
 */
void ring3_reap_orphans(pid_t monitor);

/*
 * Make the process of one vCPU; it dies with the calling thread. On success *ret_pidfd is its pidfd
 * (close-on-exec) and *ret_pid its id.
 */
int ring3_spawn(const struct ring3_spawn *s, int *ret_pidfd, pid_t *ret_pid);

#endif
