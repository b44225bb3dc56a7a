/* SPDX-License-Identifier: MIT */
/*
 * The control pages: everything the library and the monitor say to each other, in one shared
 * structure. The library trusts nothing in it: it reads each value once, checks it, and keeps what
 * it needs (the configuration it wrote, ports it bound) in memory of its own. The monitor trusts
 * the library.
 *
 * Doorbells: the library wakes a vCPU by setting vcpu[i].kick and then either waking the futex
 * (vcpu[i].state == BLOCKED/PAUSED) or interrupting it (RUNNING); the monitor wakes the library by
 * setting bits in outbound[] and, if `doorbell` was 0, ringing the executor's doorbell descriptor.
 */
#ifndef PVV_CORE_CTL_H
#define PVV_CORE_CTL_H

#include <stdint.h>

#define CORE_CTL_MAGIC	 0x70767663u /* "pvvc" */
#define CORE_CTL_VERSION 1u
#define CORE_MAX_VCPUS	 32u
#define CORE_MAX_PORTS	 4096u /* 2-level event channels, 64-bit guest */
#define CORE_PORT_WORDS	 (CORE_MAX_PORTS / 64)
#define CORE_REASON_MAX	 256u
#define CORE_DEBUG_RING	 4096u

/* Requests of the library, bits of core_ctl.request. */
#define CORE_REQ_PAUSE	 1u
#define CORE_REQ_DESTROY 2u

enum core_run_state { /* core_ctl.run_state, written by the monitor */
		      CORE_STATE_NEW = 0,
		      CORE_STATE_RUNNING = 1,
		      CORE_STATE_PAUSED = 2,
		      CORE_STATE_SHUTDOWN =
			      3, /* core_ctl.shutdown_code is a SHUTDOWN_* of xen/sched.h */
		      CORE_STATE_CRASHED = 4, /* core_ctl.reason says why */
};

enum core_vcpu_run { /* core_ctl_vcpu.state, written by the monitor; a futex word */
		     CORE_VCPU_DOWN = 0,
		     CORE_VCPU_MONITOR = 1, /* in the monitor: it will look at `kick` before it
					       enters the guest */
		     CORE_VCPU_GUEST = 2,   /* in guest code: interrupt it */
		     CORE_VCPU_BLOCKED = 3, /* sleeping on the futex `kick` */
		     CORE_VCPU_PAUSED = 4,  /* sleeping on the futex `kick` */
};

struct core_ctl_vcpu {
	uint32_t kick; /* set to 1 by whoever wants attention; a futex word */
	uint32_t state;
	/* Statistics, monotonic. */
	uint64_t guest_ns, blocked_ns;
	uint64_t exits_hypercall, exits_exception, exits_emulate, exits_kick, exits_block;
	uint64_t page_faults, events;
	/*
	 * Time in which the vCPU could have run and the host ran something else (run-queue delay).
	 * Monotonic; written by whoever can measure it, reported to the guest as stolen time.
	 */
	uint64_t stolen_ns;
	uint64_t brief_turns; /* of programs, that the monitor executed by itself */
	uint64_t user_turns;  /* those that it handed over to their processes */
	uint64_t pad[1];
};

/*
 * How the domain was laid out by the library (domain/build.c), for core_domain_init(). Frames are
 * machine frame numbers; frame n lies at byte n << 12 of the memfd. Guest RAM is frames [ram_first,
 * ram_first + nr_pages); pfn n starts as mfn ram_first + n. What is below is nobody's: on a real
 * machine a guest does not own the first frames either. [ram_first + max_pages, nr_frames) are the
 * hypervisor's own frames that a guest may map (shared info, grant table, read-only M2P). The state
 * region lies behind them and is no machine frame at all, so that no PTE can name it.
 */
#define CORE_BOOT_TSC_UNSTABLE 1u /* the processors' time-stamp counters may differ */

struct core_boot {
	uint32_t domid;
	uint32_t nr_vcpus;     /* 1..CORE_MAX_VCPUS; vCPU 0 starts */
	uint64_t ram_first;    /* mfn of pfn 0 */
	uint64_t nr_pages;     /* RAM frames populated at start */
	uint64_t max_pages;    /* RAM frames the balloon may grow to */
	uint64_t nr_frames;    /* all machine frames */
	uint64_t shared_info;  /* mfn */
	uint64_t grant_first;  /* mfn of the first grant frame, consecutive */
	uint32_t grant_max;    /* number of grant frames */
	uint32_t maptrack_max; /* grants the guest itself may map at once */
	uint64_t m2p_first;    /* mfn */
	uint64_t m2p_frames;
	uint64_t root;				  /* mfn of the initial L4 */
	uint64_t entry_rip, entry_rsi, entry_rsp; /* guest virtual */
	uint64_t hypercall_page; /* mfn to fill with the hypercall page, ~0 = none */
	uint64_t virt_base;
	uint64_t vm_assist;		   /* assists the image's notes switch on at start */
	uint32_t console_port, store_port; /* bound to the library at start, 0 = none */
	uint64_t max_ports;		   /* event channel limit, <= CORE_MAX_PORTS */
	uint8_t uuid[16];
	int64_t wallclock_offset_ns; /* guest wall clock minus host's CLOCK_REALTIME */
	uint32_t flags;		     /* CORE_BOOT_* */
	uint64_t arch_caps;	     /* what IA32_ARCH_CAPABILITIES reads as */
	uint32_t nr_cpuid;	     /* CPUID policy, answered for forced-emulation CPUID */
	struct core_cpuid {
		uint32_t leaf, subleaf, flags; /* flags bit 0: subleaf matters */
		uint32_t eax, ebx, ecx, edx;
	} cpuid[64];
};

struct core_ctl {
	uint32_t magic, version;
	uint64_t size;

	/* -- written by the library -- */
	_Alignas(64) uint32_t request;
	uint32_t pause_seq; /* counted up before each CORE_REQ_PAUSE; see pause_ack */
	uint32_t pad0[14];
	uint64_t inbound[CORE_PORT_WORDS]; /* guest ports to raise; set by the library, taken by the
					      monitor */
	uint64_t inbound_any;		   /* bit w: inbound[w] is not zero */
	/* A back end wrote to frames marked CORE_FRAME_CODE: it set their CORE_FRAME_CODE_STALE,
	 * then this. The executor takes it before it delivers events. */
	uint64_t code_stale;
	uint64_t bound[CORE_PORT_WORDS]; /* guest ports a back end of the library has bound */
	/* Time: ns = ((tsc - tsc_base) * tsc_mul >> 32, after << tsc_shift) + ns_base, as pvclock.
	 */
	uint64_t tsc_base, ns_base;
	uint32_t tsc_mul;
	int32_t tsc_shift;
	uint64_t wall_sec; /* CLOCK_REALTIME at system time 0 */
	uint32_t wall_nsec, wall_version;
	uint64_t mem_limit; /* frames the guest may have now, at most boot.max_pages; 0 = that */
	struct core_boot boot;

	/* -- written by the monitor -- */
	_Alignas(64) uint32_t doorbell; /* 1: the library has been woken and not yet looked */
	uint32_t run_state;		/* enum core_run_state */
	uint32_t shutdown_code;
	uint32_t pause_ack;		    /* the pause_seq for which every vCPU stands still */
	uint32_t state_seq;		    /* bumped after each change of run_state */
	uint64_t outbound[CORE_PORT_WORDS]; /* guest ports that were notified to the library */
	uint64_t outbound_any;
	uint64_t
		closed[CORE_PORT_WORDS]; /* ports the guest closed that were bound to the library */
	uint64_t closed_any;
	char reason[CORE_REASON_MAX]; /* NUL-terminated by the reader, not trusted to be */
	uint64_t hypercalls[CORE_MAX_VCPUS][64]; /* counts by number, each vCPU its own */
	uint32_t start_request; /* bit n: vCPU n is to be started; taken by the library */
	uint32_t start_pad;
	uint8_t port_vcpu[CORE_MAX_PORTS]; /* a hint whom to kick for a port: the vCPU it notifies
					    */
	uint64_t debug_prod;		   /* console_io output: bytes produced, ring below */
	uint64_t debug_cons;		   /* by the library */
	uint8_t debug_ring[CORE_DEBUG_RING];
	uint64_t nr_pages; /* current reservation, for statistics */

	_Alignas(64) struct core_ctl_vcpu vcpu[CORE_MAX_VCPUS];
};

#endif
