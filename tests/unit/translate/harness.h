/* SPDX-License-Identifier: MIT */
/*
 * A monitor in miniature: runs the translator inside a test process.
 *
 * "Guest RAM" is one memfd. Its low view is mapped natively at GUEST_LOW, where the very same code
 * can be executed by the processor itself as the oracle; the guest sees it at guest virtual address
 * GUEST_LOW (host GUEST_LOW + S) and again at GUEST_HIGH (a kernel's addresses). The guest has RAM
 * of its own, so that both runs start from the same memory.
 */
#ifndef TEST_TRANSLATE_HARNESS_H
#define TEST_TRANSLATE_HARNESS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/state.h"
#include "exec/ring3/translate/translate.h"

#define GUEST_LOW  0x01000000ul
#define GUEST_HIGH 0xffffffff81000000ul
#define GUEST_FAR  0xffffc90010000000ul /* a third view, in neither window of the flat table */
#define GUEST_SIZE 0x02000000ul		/* 32 MiB */
#define USER_BASE  0x7f0012340000ul	/* user addresses: pages of RAM from USER_RAM on */
#define USER_RAM   0x1800000ul		/* offset */
#define USER_SIZE  0x100000ul

/* Inside of GUEST_LOW, by convention of the tests */
#define CODE	(GUEST_LOW + 0x100000)
#define DATA	(GUEST_LOW + 0x800000)
#define STACK	(GUEST_LOW + 0xff8000)
#define HIGH(a) ((uint64_t)(a)-GUEST_LOW + GUEST_HIGH)

enum { ALL_RIGHTS = 7 };

/* How a run ended. */
struct outcome {
	int exit;      /* enum xlate_exit; 0 = a signal */
	int sig;       /* signal number */
	uint64_t addr; /* of SIGSEGV, as the guest sees it */
	bool fetch;
	unsigned int vector; /* of the exception, 0 if there was none */
	unsigned int error;  /* of a native run's: the processor's error code */
};

extern uint8_t *ram_guest;  /* the guest's RAM: the monitor's view */
extern uint8_t *ram_native; /* the oracle's RAM, = (uint8_t *)GUEST_LOW */
extern struct xlate *X;
extern struct core_regs R; /* the guest's */
extern uint32_t kick_flag;

/* Once per process. Returns false with a printed reason if the address space is not free. */
bool harness_init(uint64_t cache_size);
/* At the start of each test: cmocka puts its own signal handlers in place before it calls one. */
void harness_begin(void);
/* A fresh translator (all translations forgotten). */
void harness_reset(void);
/* Likewise, with less of the code cache. */
void harness_cache(uint64_t size);
/* Same bytes into the guest's and the native RAM at the guest address `gva` (low or high). */
void poke(uint64_t gva, const void *src, size_t len);
uint8_t *guest_ptr(uint64_t gva);
/* Host protection of guest pages; remembered: 0 = not present. Both views, low and high. */
void set_rights(uint64_t gva, size_t len, int prot);
/* Frames that the translator asked to be protected. */
bool frame_protected(uint64_t mfn);
/* 0: all user pages are there; else the one at this address is not, or not writable (| 1) */
extern uint64_t user_absent;
/* Neighbouring user pages change places if this is 0x1000; how often the callback was asked. */
extern uint64_t user_swap, nr_user_asked;
extern bool asked_at_string; /* by the last time, see xlate_at_string() */
extern uint64_t nr_notes, nr_write_faults;

/* A page that the window has read-only although the guest may write to it; 0: there is none. */
void set_taken(uint64_t gva);

/* Run the guest until a hypercall exit, another exit, or a fault the harness does not serve. */
struct outcome run_guest(void);
/* Execute natively from r->rip with r's registers; ends at native_end_code. r = the end state. */
struct outcome run_native(struct core_regs *r);
/* Likewise, with a look at each instruction. */
struct outcome run_native_stepped(struct core_regs *r, void (*on_step)(const struct core_regs *r));

/*
 * Single-step the host through one run. In front of each host instruction in the cache, on_step()
 * is called with the state that xlate_recover() makes of that position (R itself is not disturbed).
 */
struct outcome run_guest_stepped(void (*on_step)(const struct core_regs *r));
/* Likewise, and then to the end: kicked behind that many host instructions in the cache. False:
 * there are not so many. */
bool run_guest_kicked_at(unsigned int step);
/* Called in signal handlers with the precise state in R; see kick tests. NULL = none. */
extern void (*on_stop)(void);

/*
 * A signal handler: until it has put back what the library of the test has at fs, there is no
 * thread-local storage, which what instruments for libFuzzer writes to.
 */
#ifdef __clang__
#define HARNESS_BARE __attribute__((no_sanitize("address", "undefined", "coverage")))
#else
#define HARNESS_BARE __attribute__((no_sanitize("address", "undefined")))
#endif

extern const uint8_t native_end_code[8]; /* place where the guest has `syscall` */

/*
 * AddressSanitizer's runtime uses the vector registers between the test's and the guest's
 * instructions: such builds cannot compare them.
 */
#ifdef XLATE_NO_TABLE
#define VECTORS_COMPARED 0
#else
#define VECTORS_COMPARED 1
#endif
/* All vector and x87 state that a 64-bit program without AMX has; areas are 64-byte aligned. */
#define FPU_SIZE 2688
uint64_t fpu_mask(void);
void fpu_load(const void *area);
void fpu_save(void *area);

uint64_t rnd(void);
void rnd_seed(uint64_t s);

#endif
