/* SPDX-License-Identifier: MIT */
/*
 * A small runtime for PV test guests: everything a guest of tests/guest may use. One vCPU, no
 * preemption, memory by page. A guest defines guest_main(); when it returns, the domain powers off.
 *
 * What a guest prints is compared with what the same guest printed on Xen, so it prints relations
 * ("rip at the instruction", "counts up"), never values that differ from host to host.
 */
#ifndef PVG_H
#define PVG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>
#include <xen/callback.h>
#include <xen/physdev.h>

#include "hypercall.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE_SIZE     4096ul
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define __page	      __attribute__((aligned(4096)))
#define __unused_     __attribute__((unused))
#define barrier()     __asm__ volatile("" ::: "memory")
#define rmb()	      barrier()
#define wmb()	      barrier()
#define mb()	      __asm__ volatile("mfence" ::: "memory")
#define KERNEL_CS     0xe033u
#define KERNEL_DS     0xe02bu
#define DOMID_OF_ME   DOMID_SELF

/* The guest provides this. */
void guest_main(void);

/* ---- start.S, main.c */
extern struct start_info *start_info;
extern u8 pvg_image[], pvg_image_end[];
/* Flushes the console, then ends the domain with a SHUTDOWN_* code. */
void pvg_exit(unsigned int reason) __attribute__((noreturn));

/* ---- print.c: %d %u %x %c %s %% and l; %e prints a hypercall result as 0, a count or -ENAME */
void pvg_puts(const char *s);
void pvg_vprintf(const char *fmt, va_list ap);
void pvg_printf(const char *fmt, ...);
#define printf pvg_printf
const char *pvg_errname(long err);
/* Prints what a call came to; MUST: only if that is not 0. */
#define R(name, expr)                                                                              \
	do {                                                                                       \
		long r_ = (expr);                                                                  \
		printf("%s: %le\n", name, r_);                                                     \
	} while (0)
#define MUST(name, expr)                                                                           \
	do {                                                                                       \
		long must_ = (expr);                                                               \
		if (must_)                                                                         \
			printf("%s: %le\n", name, must_);                                          \
	} while (0)

/* ---- console.c */
void pvg_console_init(void);
void pvg_putc(char c);
void pvg_console_flush(void);
/* One byte of input, or -1 when there is none. */
int pvg_getc(void);

/* ---- string.c */
void *memcpy(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
void *memmove(void *dst, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);

/* ---- trap.c, entry.S */
struct trap_frame {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 vector;
	u64 error; /* TRAP_NO_ERROR when the frame had none */
	u64 rip, cs, rflags, rsp, ss;
};
#define TRAP_NO_ERROR (~0ul)

extern const u64 pvg_trap_stubs[256];
/* Called first, when set; true: handled, return to the frame as edited. */
extern bool (*pvg_trap_hook)(struct trap_frame *f);
extern unsigned int pvg_trap_depth;
/* Registers all 256 vectors; DPL 3 for int3, into and those of 0x80-0x8f. */
void pvg_traps_init(void);
void pvg_event_entry(void);
void pvg_failsafe_entry(void);
void pvg_trap_common(void);

/* rflags and ss as the last trap handler was entered, and the segments of a failsafe frame: ds, es,
 * fs, gs. */
extern u64 pvg_entry_rflags, pvg_failsafe_segs[4];
extern u32 pvg_entry_ss;
/* The last trap that pvg_try() caught. */
struct pvg_caught {
	struct trap_frame f;
	u64 cr2;
	u64 result, result_rdx; /* rax and rdx if there was none */
};
extern struct pvg_caught pvg_caught;
/*
 * Calls fn with a trap net: returns true if it trapped (then pvg_caught has the frame), false if it
 * returned. Nothing it left on the stack matters.
 */
bool pvg_try(void (*fn)(void));
bool pvg_try3(void (*fn)(u64, u64, u64), u64 a, u64 b, u64 c);
/* "#GP" ... */
const char *pvg_vector_name(unsigned int vector);
/* Prints `name: ` and what pvg_try(fn) came to: vector, error, rip relative to fn, cr2 if #PF. */
void pvg_report(const char *name, void (*fn)(void));
/* Defines a function of just these instructions and a ret. */
#define INSN(name, text)                                                                           \
	void t_##name(void);                                                                       \
	__asm__(".pushsection .text\n.globl t_" #name "\n.type t_" #name ", @function\nt_" #name   \
		":\n" text "\nret\n.popsection\n")

/* ---- insn.c: single accesses, by one kind of instruction each; true: it faulted */
bool pvg_load(u64 va, u64 *ret);
bool pvg_load_string(u64 va, u64 *ret);
bool pvg_load_copy(u64 va, u64 *ret); /* with a count */
bool pvg_store(u64 va, u64 v);
bool pvg_store_string(u64 va, u64 v);
bool pvg_store_copy(u64 va, const u64 *v);
/* For pvg_try3(): loads a selector, and what was there again. */
void pvg_load_ds(u64 sel, u64 b, u64 c);
void pvg_load_ss(u64 sel, u64 b, u64 c);
void pvg_far_return(u64 sel, u64 b, u64 c);
/* A function that returns the value, and a call of what is there. */
void pvg_code_put(u8 *p, u32 value);
u32 pvg_code_run(const u8 *p);

/* ---- user.c: programs. pvg_user_init(), or pvg_user_trap as pvg_trap_hook, pvg_user_syscall as
 * the callback and a kernel stack. */
enum pvg_user_end { PVG_USER_RUNS = 1, PVG_USER_TRAP, PVG_USER_SYSCALL };
extern struct pvg_user {
	enum pvg_user_end how;
	struct trap_frame f;
	u64 gprs[4]; /* rax, rcx, r11, rdx at a system call */
	u64 mask, cr2;
} pvg_user;
extern struct iret_context pvg_user_frame;
void pvg_user_init(void);
void pvg_user_syscall(void);
bool pvg_user_trap(struct trap_frame *f);
void pvg_user_defaults(u64 rip, u64 rsp);
/* Runs a program from pvg_user_frame on; how it ended is in pvg_user. */
void pvg_user_go(void);
/* Page tables for programs, with one L1 table, returned, for the 2 MiB at va. When that is filled
 * in, _use() makes them read-only and the user root. */
u64 *pvg_user_space(u64 va);
long pvg_user_space_use(void);

/* ---- mm.c */
#define PTE_P	 0x001ul
#define PTE_RW	 0x002ul
#define PTE_US	 0x004ul
#define PTE_PWT	 0x008ul
#define PTE_PCD	 0x010ul
#define PTE_A	 0x020ul
#define PTE_D	 0x040ul
#define PTE_PS	 0x080ul
#define PTE_G	 0x100ul
#define PTE_NX	 (1ul << 63)
#define PTE_KERN (PTE_P | PTE_RW | PTE_A | PTE_D)
#define PTE_ADDR 0x000ffffffffff000ul

u64 pvg_mfn_of_pfn(u64 pfn);
u64 pvg_pfn_of_mfn(u64 mfn);
u64 pvg_pfn_of(const void *va);
u64 pvg_mfn_of(const void *va);
void *pvg_va_of_pfn(u64 pfn);
void *pvg_va_of_mfn(u64 mfn);
/* A zeroed page behind the bootstrap page tables that the builder already mapped writable. */
void *pvg_page_alloc(void);
/* Same, and the page after it in address and pfn. NULL when the mapped memory ends. */
void *pvg_pages_alloc(unsigned int n);
/* The end of a page, behind which is a hole; a page mapped read-only. */
void *pvg_edge_alloc(void);
void *pvg_page_alloc_ro(void);
/* Where the entry of level (1..4) for va lies; NULL if a table above is not present. */
u64 *pvg_entry(u64 va, int level);
u64 pvg_entry_maddr(u64 va, int level);
u64 pvg_root_mfn(void);
#define L1X(va) (((u64)(va) >> 12) & 511)
#define L2X(va) (((u64)(va) >> 21) & 511)
#define L3X(va) (((u64)(va) >> 30) & 511)
#define L4X(va) (((u64)(va) >> 39) & 511)
/* One mmu_update request; the result of the call. */
long pvg_mmu_update(u64 ptr, u64 val);
/* update_va_mapping with UVMF_INVLPG. */
long pvg_map(void *va, u64 pte);
long pvg_mmuext(unsigned int cmd, u64 arg1, u64 arg2);
long pvg_pin(unsigned int level, const void *table);
long pvg_unpin(const void *table);
/* Sets the entry of va's page to read-only or back. */
long pvg_set_ro(void *va);
long pvg_set_rw(void *va);
/* Sets / clears / reads the current virtual address mapping in a fresh page. */
static inline void pvg_invlpg(const void *va)
{
	pvg_mmuext(MMUEXT_INVLPG_LOCAL, (u64)va, 0);
}

/* ---- walk.c: random walks, the same on every host; each answer is a letter */
/* "seed=N" as the command line makes other walks of it. */
void pvg_seed(u64 seed);
u64 pvg_rnd(void);
#define PICK(array) ((array)[pvg_rnd() % ARRAY_SIZE(array)])
u64 pvg_mix(u64 sum, u64 word);
/* Of an errno, a grant status or a small number. */
char pvg_letter(long r);
/* Lines of 64 steps, each with the upper half of a sum over the state then, if there is one. It may
 * be asked for the state at any time. */
void pvg_walk(unsigned int walk, unsigned int steps, long (*one)(void), u64 (*state)(void));
/*
 * With "loud=WALK,FROM,TO" as the command line: whether this step should say what it does, to find
 * out about a difference (scripts/record-xen has --cmdline, too). WALK 999: in all walks.
 */
bool pvg_loud(void);
#define SAY(...)                                                                                   \
	do {                                                                                       \
		if (pvg_loud())                                                                    \
			printf(__VA_ARGS__);                                                       \
	} while (0)

/* ---- pool.c: a few pages that walks over the MMU interface use as anything */
#define PVG_POOL 10
extern u64 *pvg_pool[PVG_POOL], pvg_pool_mfn[PVG_POOL];
/* Where an L1 table of its own maps, which is not in the pool. */
extern u64 pvg_window, pvg_window_mfn, *pvg_window_l1;
void pvg_pool_init(void);
/* One of the pool, the window, the root, shared_info or nowhere, and how to call it. */
u64 pvg_pool_frame(const char **name);
u64 pvg_pool_flags(void);
unsigned int pvg_pool_slot(void);
/* What is in the pages, in terms of the pool. */
u64 pvg_pool_contents(void);
/* Back to plain pages: whatever is in the way goes, until nothing changes any more. */
bool pvg_pool_clean(void);

/* ---- event.c */
extern struct shared_info *pvg_shared;
#define VCPU0 (&pvg_shared->vcpu_info[0])
void pvg_shared_init(void);
/* Maps shared_info, registers the callback, leaves events masked. */
void pvg_events_init(void);
extern unsigned int pvg_upcalls;
/* Called by vCPU 0's handler when it has found nothing more. */
extern void (*pvg_upcall_end)(void);
extern u64 pvg_port_count[4096];
/* Order in which ports were seen, and the saved upcall mask of the last frame. */
extern struct trap_frame pvg_upcall_frame;
extern u64 pvg_upcall_mask_inside;
/* Called for each port when set. */
extern void (*pvg_port_hook)(unsigned int port);
void pvg_upcall(struct trap_frame *f);
static inline void pvg_cli(void)
{
	VCPU0->evtchn_upcall_mask = 1;
	barrier();
}
/* Unmasks, and takes what is pending by an upcall as a real kernel does. */
void pvg_sti(void);
void pvg_force_callback(void);
void pvg_mask_port(unsigned int port);
void pvg_unmask_port(unsigned int port);
bool pvg_port_pending(unsigned int port);
bool pvg_port_masked(unsigned int port);
bool pvg_test_and_clear(volatile void *bits, unsigned int nr);

/* ---- smp.c: more vCPUs */
#define PVG_MAX_VCPUS 8u
/* Which vCPU this is: 0 until others were started. */
unsigned int pvg_cpu(void);
/* The vCPU a port notifies; a port of another one is left alone by pvg_upcall(). */
extern u8 pvg_port_cpu[4096];
/* A context that starts in the runtime, on a stack of its own, with the page tables of vCPU 0. */
void pvg_vcpu_context(struct vcpu_guest_context *x, unsigned int cpu);
long pvg_vcpu_init(unsigned int cpu);
/* Runs fn on it and returns when it has started; a vCPU whose fn returns goes down. */
long pvg_vcpu_up(unsigned int cpu, void (*fn)(unsigned int cpu));
/* Runs one that does what pvg_on() says: that returns when fn has been run there. */
long pvg_worker_up(unsigned int cpu);
void pvg_on(unsigned int cpu, void (*fn)(void));
/* The two halves of that, for another one; false: that was not long enough. */
void pvg_ask(unsigned int cpu, void (*fn)(void));
bool pvg_wait_ns(unsigned int cpu, u64 ns);
/* In a loop that waits for another vCPU. */
void pvg_relax(void);
#define MY_VCPU (&pvg_shared->vcpu_info[pvg_cpu()])

/* ---- time.c */
u64 pvg_now(void); /* ns of system time */
u64 pvg_rdtsc(void);
void pvg_spin_ns(u64 ns);

/* ---- grant.c */
extern struct grant_entry_v1 *pvg_grants;
void pvg_grants_init(void);
void pvg_grant(unsigned int ref, domid_t domid, u64 frame, bool ro);

/* ---- xenstore.c: talk to xenstored; both return 0 or a positive errno of xenstored */
void pvg_store_init(void);
/* Sends one request and waits for the answer: fills buf (NUL-terminated), returns its length or
 * -1 with the error's name in buf. */
long pvg_store_request(u32 type, u32 tx, const void *payload, u32 len, char *buf, u32 size);
long pvg_store_read(const char *path, char *buf, u32 size);
long pvg_store_write(const char *path, const char *value);
/* For the nodes of devices: "<base>/<leaf>", good until the next call; "<prefix><n>". */
const char *pvg_store_under(const char *base, const char *leaf);
void pvg_store_name(char *name, const char *prefix, u64 n);
/* Write a number; yield until the node is a number of at least `from` and at most `to`, or 5 s. */
long pvg_store_put(const char *base, const char *leaf, u64 value);
bool pvg_store_wait(const char *base, const char *leaf, u64 from, u64 to);
u64 pvg_store_number(const char *path);
/* Whether a watch (set by a request XS_WATCH) has fired since the last call. */
bool pvg_store_watch_fired(void);

/* ---- blk.c */
struct blkif_request;
struct blkif_response;
struct pvg_blk {
	struct blkif_sring *sring;
	u32 req_prod, rsp_cons;
	unsigned int port, ref, backend, next_grant;
	char path[64], backend_path[96];
	u64 sectors, sector_size, info;
};
/* Connects to device/vbd/<nr>; 0 or the step that failed. */
int pvg_blk_open(struct pvg_blk *b, unsigned int vbd);
/* Puts one request on the ring and waits for the answer: its status. */
int pvg_blk_do(struct pvg_blk *b, struct blkif_request *req);
int pvg_blk_rw(struct pvg_blk *b, bool write, u64 sector, void *page, unsigned int first,
	       unsigned int last);
void pvg_blk_push(struct pvg_blk *b, const struct blkif_request *req);
void pvg_blk_kick(struct pvg_blk *b);
/* Waits for one response: true and *rsp, or false when none came within two seconds. */
bool pvg_blk_wait(struct pvg_blk *b, struct blkif_response *rsp);
int pvg_blk_close(struct pvg_blk *b);

#endif
