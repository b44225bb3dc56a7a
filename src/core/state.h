/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor state of a domain: plain data, no pointers, one region. Fields are grouped by the
 * room of src/core that owns them; other rooms use that room's functions.
 */
#ifndef PVV_CORE_STATE_H
#define PVV_CORE_STATE_H

#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#include "core/ctl.h"

#define CORE_STATE_MAGIC   0x70767673u /* "pvvs" */
#define CORE_STATE_VERSION 1u

#define CORE_INVALID_MFN (~0ull)

/* Index of a general register: x86's own encoding order. The assembly of ring3 relies on it. */
enum {
	R_RAX,
	R_RCX,
	R_RDX,
	R_RBX,
	R_RSP,
	R_RBP,
	R_RSI,
	R_RDI,
	R_R8,
	R_R9,
	R_R10,
	R_R11,
	R_R12,
	R_R13,
	R_R14,
	R_R15
};

/* The register file of a vCPU, as the guest would see it. Offsets are asserted by the executors. */
struct core_regs {
	uint64_t gpr[16];
	uint64_t rip, rflags; /* rflags as the hardware has it: IF set, IOPL 0 */
	uint16_t cs, ss, ds, es, fs, gs;
	uint32_t pad;
	uint64_t fs_base;
	uint64_t gs_base;	/* the active one */
	uint64_t gs_base_other; /* the one of the other mode (kernel <-> user), SEGBASE_GS_USER in
				   kernel mode */
};

/*
 * Frame table: one entry per machine frame. Bits and rules: mm/frame.h.
 */
struct core_frame {
	uint64_t type;	/* type, validated, pinned, type references, general references */
	uint32_t count; /* page tables: progress of validation; free frames: a list */
	/*
	 * Holds of the library's back ends and of the core's writers; changes by atomic operations
	 * only. The top two bits belong to the executor and the back ends: they say that the frame
	 * holds source of translated code.
	 */
	uint32_t aux;
};

#define CORE_FRAME_CODE	      (1u << 31) /* translated code was made from it */
#define CORE_FRAME_CODE_STALE (1u << 30) /* a back end wrote to it: see core_ctl.code_stale */

/* ---- cpu/ ---- */
struct core_trap {
	uint64_t addr;
	uint16_t cs;
	uint8_t flags; /* DPL in bits 0-1, bit 2: clear event enable */
	uint8_t pad[5];
};

struct core_callback {
	uint64_t addr;
	uint32_t flags; /* CALLBACKF_mask_events */
	uint32_t set;
};

/*
 * Numbers of physical interrupts that exist as numbers only: those of the I/O APIC's 24 lines and,
 * as Xen has for any domain, 32 more.
 */
#define CORE_NR_GSIS  24u
#define CORE_NR_PIRQS 56u

/* ---- event/ ---- */
enum core_evtchn_state { ECS_FREE, ECS_RESERVED, ECS_UNBOUND, ECS_INTERDOMAIN, ECS_VIRQ, ECS_IPI };
struct core_evtchn {
	uint8_t state;
	uint8_t flags;
	uint16_t vcpu;	     /* notified vCPU */
	uint16_t remote_dom; /* UNBOUND, INTERDOMAIN */
	uint16_t virq;
	uint32_t remote_port; /* INTERDOMAIN within the domain; for the library: the same number */
};

/* ---- grant/ ---- */
#define CORE_MAX_GRANT_FRAMES 256u
struct core_maptrack {
	uint32_t ref;
	uint16_t domid;
	uint16_t flags;
	uint64_t mfn;
};

struct core_vcpu {
	uint32_t id;
	uint32_t is_up; /* running or blocked; 0: not initialised or taken down */
	uint32_t is_initialised;
	uint32_t kernel_mode; /* 1: the guest kernel runs, 0: its user mode */

	struct core_regs regs;

	/* cpu/ */
	struct core_trap traps[256];
	struct core_callback cb_event, cb_failsafe, cb_syscall, cb_syscall32, cb_sysenter, cb_nmi;
	uint64_t kernel_ss, kernel_sp; /* stack_switch */
	uint64_t gdt_frames[16];
	uint32_t gdt_ents;
	uint32_t ldt_ents;
	uint64_t ldt_base;
	uint64_t cr0, cr4; /* guest-visible; cr0.TS is what fpu_taskswitch sets */
	uint64_t debugreg[8];
	uint32_t iopl;
	uint32_t nmi_pending;
	uint64_t efer, star, lstar, cstar, sfmask, sysenter[3], pat,
		tsc_aux; /* MSRs the ABI lets through */

	/* mm/ */
	uint64_t kernel_root, user_root; /* mfn of the L4s, CORE_INVALID_MFN = none */
	uint64_t mm_old_table; /* mfn + 1 of a table whose demotion goes on later, 0 = none */
	uint64_t walk_gen;     /* bumped by flushes: core_ctx.walk of another value is stale */
	uint64_t root_loads;   /* likewise by loading a root, if tables_gen is another one, too */

	/* event/ */
	uint64_t vcpu_info; /* byte address in machine memory (mfn << 12 | offset) */
	uint32_t virq_port[NR_VIRQS];
	uint32_t poll_nr; /* sched_op poll: < 0xffffffff = waiting for poll_ports[] */
	uint32_t poll_ports[128];
	uint32_t returned;    /* the guest executed iret, and nothing since */
	uint32_t upcall_row;  /* upcalls in a row, see event/deliver.c */
	uint64_t upcall_hold; /* no upcall before this system time, 0 = none is held back */

	/* sched/ and time/ */
	uint32_t blocked, polling;
	uint64_t wake_ns; /* when CORE_BLOCK ends by itself; ~0 = only by a kick */
	uint64_t periodic_ns, periodic_next, singleshot_ns; /* 0 = off; system time */
	uint64_t runstate_va, time_va;			    /* registered guest areas, 0 = none */
	struct vcpu_runstate_info runstate;
	uint32_t time_version;
	uint32_t paused;	 /* counted in core_domain.vcpus_paused */
	uint64_t poll_timeout;	 /* system time, 0 = none */
	uint64_t yield_last;	 /* when the guest yielded last */
	uint64_t yield_until;	 /* the guest spins on yield: do not run it before, 0 = no */
	uint32_t yield_streak;	 /* yields in a row, see sched/sched_op.c */
	uint32_t nmi_masked;	 /* an NMI is being handled: until the iret hypercall */
	uint64_t time_params[3]; /* tsc_base, ns_base, mul and shift last given to the guest */
	uint64_t stolen_seen;	 /* ctl->vcpu[].stolen_ns already accounted */
	uint64_t iobitmap;	 /* physdev set_iobitmap: guest virtual address */
	uint32_t iobitmap_ports;
	uint32_t pad2;
	uint64_t xcr0;		/* what the guest's xsetbv loaded */
	uint64_t vcpu_info_mfn; /* frame of a registered vcpu_info + 1, 0 = in shared_info */
	uint32_t initialising;	/* a VCPUOP_initialise is under way */
	uint32_t pad3;
	uint64_t ldt_frames[16]; /* mm/ldt.c: mfn + 1 of the LDT's pages that are in use, 0 = not */
};

struct core_domain {
	uint32_t magic, version;
	uint64_t size; /* of this structure */
	uint32_t domid, nr_vcpus;
	uint64_t nr_frames; /* machine frames, as boot.nr_frames */
	uint64_t ram_first; /* as boot.ram_first */
	uint64_t max_pages;
	uint64_t tot_pages;   /* current reservation */
	uint64_t shared_info; /* mfn */
	uint64_t m2p_first, m2p_frames;
	uint64_t vm_assist;
	uint32_t mm_lock, event_lock, grant_lock,
		stop;	    /* spin locks (core/lib/lock.h); stop != 0: leave */
	uint64_t free_head; /* mm/: RAM frames given back, a list through the frame table */

	/* grant/ */
	uint64_t grant_first;
	uint32_t grant_max, grant_frames; /* limit, frames in use */
	uint32_t grant_version;
	uint32_t maptrack_max;
	uint64_t maptrack_freed; /* counts handles given back */
	struct core_maptrack maptrack[1024];

	/* event/ */
	uint32_t max_ports;   /* limit: ports 1 .. max_ports - 1 */
	uint32_t valid_ports; /* those there are so far, see event/event.h */
	struct core_evtchn evtchn[CORE_MAX_PORTS];

	/* mm/ */
	uint64_t free_tail;  /* end of the list that starts at free_head */
	uint64_t mm_leaving; /* frames given back that still have references */
	uint64_t tables_gen; /* counts page-table entries that lost something, and tables that went
			      */
	uint32_t e820_nr;    /* 1 + entries set by XENMEM_set_memory_map, 0 = the start-up map */
	uint32_t pad3;
	uint8_t e820[128 * 20];

	/* sched/ and time/ */
	uint32_t console_lock, sched_lock;
	uint32_t vcpus_paused;
	uint32_t shutdown_latched; /* SCHEDOP_shutdown_code came: code + 1 */
	uint64_t watchdog_ns[2];   /* expiry in system time, 0 = off */
	uint32_t wall_version;	   /* of ctl, last given to the guest */
	uint32_t pci_address;	   /* cpu/: latches of ports 0xcf8 and 0x70 */
	uint32_t cmos_index;
	uint32_t pad2;

	/* cpu/physdev.c */
	uint64_t pirqs;		/* numbers of interrupts given out, see CORE_NR_PIRQS */
	uint64_t pirq_eoi_page; /* mfn + 1 of the page for EOIs, 0 = none */

	struct core_vcpu vcpu[CORE_MAX_VCPUS];
};

#endif
