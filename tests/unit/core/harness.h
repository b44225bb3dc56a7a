/* SPDX-License-Identifier: MIT */
/*
 * A domain for the core's tests: fake RAM, real page tables, and an executor that counts what it
 * is asked and whose time stands still until a test moves it.
 *
 * The guest's kernel sees page n at virtual address n << 12 (pages of page tables read-only, page
 * PG_HOLE not at all, PG_READONLY read-only). User mode has tables of its own: page PG_USER at
 * USER_VA.
 */
#ifndef PVV_TEST_CORE_HARNESS_H
#define PVV_TEST_CORE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cpu/cpu.h"
#include "core/event/event.h"
#include "core/hypercall/hypercall.h"
#include "core/run.h"
#include "core/time/time.h"

enum {
	NR_PAGES = 256,
	/* page-table pages */
	PG_L1 = 1,
	PG_L2,
	PG_L3,
	PG_L4,
	PG_USER_L4,
	PG_USER_L3,
	PG_USER_L2,
	PG_USER_L1,
	/* what tests use */
	PG_HOLE = 10,
	PG_READONLY,
	PG_STACK, /* kernel stack: grows down from STACK_TOP */
	PG_ARG,	  /* hypercall arguments, see arg_put() */
	PG_CODE,
	PG_DATA,
	PG_USER,
	PG_HCALL, /* hypercall page */
	PG_GDT,	  /* read-only from the start */
	PG_GDT2,
	PG_LDT,	      /* likewise */
	PG_FREE = 32, /* from here on unused */

	SHARED_INFO = NR_PAGES,
	GRANT_FIRST,
	GRANT_MAX = 4,
	M2P = GRANT_FIRST + GRANT_MAX,
	NR_FRAMES = M2P + 1,
};

#define VA(page)      ((uint64_t)(page) << 12)
#define STACK_TOP     (VA(PG_STACK) + 0x1000)
#define USER_VA	      0x400000ull
#define UNMAPPED      0x7f0000000000ull
#define DOMID	      5
#define CONSOLE_PORT  2
#define STORE_PORT    1
#define EVENT_HANDLER 0x111000ull

struct dom {
	struct core_ctx c;
	struct core_ctl ctl;
	struct core_domain *d;
	uint8_t *ram;
	struct core_frame *frames;
	/* the fake executor */
	uint64_t tsc; /* one tick a nanosecond */
	unsigned int doorbells, root_changes, cpu_changes, flushes, dirtied;
	uint64_t kicked; /* vCPUs, by mask */
};

/* A started domain, before the first core_next(). */
struct dom *dom_new(void);
struct dom *dom_new_vcpus(unsigned int nr);
/* Only memory and control pages; the test calls core_domain_init(). */
struct dom *dom_raw(unsigned int nr_vcpus);
/* The same memory as new, for programs that need very many domains. */
void dom_reset(struct dom *t, unsigned int nr_vcpus);
void dom_free(struct dom *t);

/* Context of another vCPU of the same domain. */
struct core_ctx *dom_vcpu(struct dom *t, struct core_ctx *other, unsigned int id);

/* A hypercall through core_hypercall(), registers and all; asserts that rip did not move. */
long call(struct dom *t, unsigned int nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3);
/* The same on any context. */
long call_on(struct core_ctx *c, unsigned int nr, uint64_t a0, uint64_t a1, uint64_t a2,
	     uint64_t a3);

/* Copy a structure into the argument page; returns its address. */
uint64_t arg_put(struct dom *t, const void *obj, size_t size);
#define ARG(t, obj) arg_put((t), (obj), sizeof(*(obj)))
/* Read back. */
void arg_get(struct dom *t, void *obj, size_t size);

/* A sub-operation with one structure, copied in and out. */
long op_call(struct dom *t, unsigned int nr, unsigned int cmd, void *obj, size_t size);
#define EVTCHN(t, cmd, obj)                                                                        \
	op_call((t), __HYPERVISOR_event_channel_op, (cmd), (obj), sizeof(*(obj)))
#define SCHED(t, cmd, obj) op_call((t), __HYPERVISOR_sched_op, (cmd), (obj), sizeof(*(obj)))

void *page_ptr(struct dom *t, unsigned int page);
uint64_t peek(struct dom *t, uint64_t va);
void poke(struct dom *t, uint64_t va, uint64_t value);

/* Handlers for exception `vector` at 0x100000 + vector * 16; flags as in trap_info. */
void set_trap(struct dom *t, unsigned int vector, unsigned int flags);
#define HANDLER(vector) (0x100000ull + (vector)*16ull)
/* A callback for events, upcalls unmasked. */
void set_event_callback(struct dom *t);
/* Give the guest user page tables and enter user mode at USER_VA by an iret hypercall. */
void enter_user(struct dom *t);

/* Put instruction bytes at the code page and point rip at them. */
void code(struct dom *t, const uint8_t *bytes, size_t len);
#define CODE(t, ...)                                                                               \
	do {                                                                                       \
		static const uint8_t bytes_[] = {__VA_ARGS__};                                     \
		code((t), bytes_, sizeof(bytes_));                                                 \
	} while (0)
/* code() and core_emulate(); the instruction must have completed. */
#define EMULATE(t, ...)                                                                            \
	do {                                                                                       \
		static const uint8_t e_[] = {__VA_ARGS__};                                         \
		code((t), e_, sizeof(e_));                                                         \
		core_emulate(&(t)->c);                                                             \
		assert_int_equal((t)->c.v->regs.rip, VA(PG_CODE) + sizeof(e_));                    \
	} while (0)

/* The frame on top of the kernel's stack: exactly one exception, event or syscall was bounced. */
struct bounced {
	uint64_t rcx, r11, error, rip, cs, rflags, rsp, ss;
};
struct bounced bounce_get(struct dom *t, bool has_error);
/* Asserts that `vector` was delivered, with `error` for those that have one. */
struct bounced assert_bounced(struct dom *t, unsigned int vector, uint32_t error);

void assert_crashed(struct dom *t, const char *text);
void assert_alive(struct dom *t);

#define REG(t, name) ((t)->c.v->regs.gpr[R_##name])

#endif
