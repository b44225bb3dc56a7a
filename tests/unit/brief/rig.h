/* SPDX-License-Identifier: MIT */
/*
 * The interpreter of brief turns beside the processor, on the memory of the translator's harness:
 * it works on the guest's RAM, the processor executes the same bytes at the same addresses in the
 * native RAM.
 */
#ifndef TEST_BRIEF_RIG_H
#define TEST_BRIEF_RIG_H

#include "core/state.h"
#include "exec/ring3/brief/brief.h"
#include "exec/ring3/translate/insn.h"
#include "harness.h"

#define NR_PAGES     (GUEST_SIZE >> 12)
#define FLAGS_SEEN   0xcd5ull
#define FLAGS_UNDER  0x8d5ull
#define AREA	     0x4000u /* DATA - AREA / 2 ... DATA + AREA / 2 may be touched */
#define STACK_AREA   0x2000u /* likewise around STACK */
#define CODE_PAGES   4u	     /* from CODE on; int3 wherever there is nothing else */
#define INT3	     0xcc
#define PF_PRESENT   1u
#define PF_WRITE_BIT 2u
#define PF_USER_BIT  4u
#define PF_FETCH_BIT 16u

extern struct brief B;
/* How often map() was asked; and whether it calls brief_forget() each time. */
extern unsigned long nr_maps;
extern bool map_forgets;
/* Not 0: a look at this page forgets, and shows another frame as the page of code from then on. */
extern uint64_t map_moves_code;

/* At the start of each test. */
void rig_begin(void);
/* Nothing decoded, nothing mapped. */
void rig_fresh(void);
/* Rights of guest pages for both, PROT_*; 0 = not present. */
void rig_rights(uint64_t va, size_t len, int prot);
/* A page of guest virtual memory somewhere else, of any address: `va` shows the frame of `of`. */
void rig_alias(uint64_t va, uint64_t of);
void rig_no_aliases(void);

/* Random contents of the data and stack areas, the same for both; some words are code addresses. */
void rig_random_memory(void);
/* CODE's pages are int3 for both, with `len` bytes at `va`. */
void rig_code(uint64_t va, const void *bytes, size_t len);

/* The bits of rflags that manuals call undefined behind it. */
uint64_t undefined_flags(const struct insn *i, unsigned int kind);

void show_bytes(const char *what, const uint8_t *p, unsigned int len);
/* Registers and flags but those of `undefined`; false with a printed reason. */
bool same_registers(const struct core_regs *brief, const struct core_regs *native,
		    uint64_t undefined);
bool same_memory(void);
/* Both memories are as they were when this was called with NULL. */
bool memory_untouched(const char *what);

#endif
