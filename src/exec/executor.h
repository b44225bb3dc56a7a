/* SPDX-License-Identifier: MIT */
/*
 * The executor interface: how the library makes a sandbox, puts a domain into it and gets it out
 * again. Two implementations: ring3 (processes and translation) and kvm (a VM). Everything the
 * guest can notice is src/core, which runs inside the sandbox; this is the outside.
 *
 * The library prepares one memfd (struct exec_memory) with the guest's image and the control pages
 * filled in; the executor starts the monitor on it. From then on both sides speak through struct
 * core_ctl and two doorbells.
 *
 * Threads: all calls for one exec come from one thread (the host's I/O thread), except kick(),
 * which any thread may call between start() and destroy().
 */
#ifndef PVV_EXEC_EXECUTOR_H
#define PVV_EXEC_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ctl.h"

/*
 * The domain's memory: one sealed memfd, mapped once into the library.
 *   [0, nr_frames << 12)         machine frames: guest RAM, then the hypervisor's guest-visible
 * frames [ctl_off, + ctl_size)        struct core_ctl [state_off, + state_size)    struct
 * core_domain [frames_off, + frames_size)  the frame table
 */
struct exec_memory {
	int fd;
	uint8_t *base; /* the library's own view of all of it */
	uint64_t size;
	uint64_t nr_frames;
	uint64_t ram_first; /* machine frame of pfn 0 */
	uint64_t ctl_off, ctl_size;
	uint64_t state_off, state_size;
	uint64_t frames_off, frames_size;
	uint64_t exec_off, exec_size; /* the executor's own, zero at start; sparse */
};

struct exec; /* one running sandbox; defined by each executor */

#define EXEC_CPU_WORDS 16u /* host CPUs 0..1023 */

struct exec_params {
	const char *name; /* of the domain, for process names */
	const struct exec_memory *memory;
	unsigned int nr_vcpus;
	uint64_t flags; /* none yet */
	/*
	 * Host CPUs on which vCPU i may run: EXEC_CPU_WORDS words, bit n % 64 of word n / 64; NULL
	 * = all. They stay where they are until destroy(), for vCPUs that start later.
	 */
	const uint64_t *affinity[CORE_MAX_VCPUS];
	uint64_t
		code_cache; /* bytes of translated code for each vCPU; 0 = the executor's default */
	uint32_t shares;    /* weight against other domains, 1024 is usual; 0 = not said */
	bool no_brief_turns; /* programs are executed by processes of their own only (ring3) */
};

/* Why an executor can or cannot be used on this host; `reason` is a sentence, "" if available. */
struct exec_probe {
	bool available;
	char reason[256];
};

struct exec_end {	 /* how a sandbox ended */
	bool killed;	 /* by exec_kill() */
	int signal;	 /* the sandbox died of this signal, 0 = it left by itself */
	int status;	 /* exit status if signal == 0; 0 after an orderly CORE_STOP */
	const char *why; /* what such a status means, if it has a meaning; static */
};

/* Times a processor left the virtual machine, all vCPUs since start(). */
struct exec_exits {
	uint64_t total;	    /* for whatever reason */
	uint64_t io;	    /* of these: doorbells, requests to the library */
	uint64_t halt;	    /* idle */
	uint64_t interrupt; /* the host was interrupted: its own business */
	uint64_t memory;    /* memory that was not mapped yet */
	uint64_t user;	    /* came back to the library's thread */
};

struct exec_ops {
	const char *name; /* "ring3", "kvm" */
	bool translates;  /* the guest's kernel is executed elsewhere than where it lies */
	/* Bytes it wants in the memfd for its own use (exec_memory.exec_off). NULL: none. */
	uint64_t (*region)(uint64_t nr_frames, unsigned int nr_vcpus);
	/* Can this host run it? At most 2 s of a processor; no side effects. Always fills *ret. */
	void (*probe)(struct exec_probe *ret);
	/*
	 * The machine frame of pfn 0 for so much RAM, if it may not be `usual`; a multiple of 512.
	 * May be NULL.
	 */
	uint64_t (*ram_first)(uint64_t max_pages, uint64_t usual);
	/* Make the sandbox and start vCPU 0. Errors: PVV_ESYS, PVV_ENOMEM, PVV_EUNSUPPORTED. */
	int (*start)(const struct exec_params *params, struct exec **ret_exec);
	/*
	 * Start vCPU `vcpu` (1..nr_vcpus - 1, once), which the monitor asked for. May be NULL: one
	 * vCPU only. Errors: as start().
	 */
	int (*start_vcpu)(struct exec *e, unsigned int vcpu);
	/* A vCPU's ctl->vcpu[i].kick was set: make it look. Any thread. */
	void (*kick)(struct exec *e, unsigned int vcpu);
	/* Readable (poll) when the monitor rang; exec_doorbell_clear() before reading
	 * ctl->outbound. */
	int (*doorbell_fd)(struct exec *e);
	void (*doorbell_clear)(struct exec *e);
	/* Readable (poll) when the sandbox has ended, for whatever reason. */
	int (*end_fd)(struct exec *e);
	/* Collect the end (after end_fd became readable); PVV_EAGAIN if it still runs. */
	int (*end_collect)(struct exec *e, struct exec_end *ret_end);
	/* End it at any instruction. When it returns no guest instruction runs any more.
	 * Idempotent. */
	void (*kill)(struct exec *e);
	/* Host memory the sandbox holds beyond the memfd, in bytes (for statistics). */
	uint64_t (*overhead)(struct exec *e);
	/* Processor time used by all vCPUs since start(), ns. */
	uint64_t (*cpu_time)(struct exec *e);
	/* Times a vCPU was bound to another processor of the host. May be NULL: never. */
	uint64_t (*moves)(struct exec *e);
	/* May be NULL: there is no virtual machine. */
	void (*exits)(struct exec *e, struct exec_exits *ret);
	/* kill() if needed, and free everything. NULL is accepted. */
	void (*destroy)(struct exec *e);
};

extern const struct exec_ops exec_ring3, exec_kvm;

/* The niceness that gives about `shares` / 1024 of the usual weight, -20..19. */
int exec_nice(uint32_t shares);

#endif
