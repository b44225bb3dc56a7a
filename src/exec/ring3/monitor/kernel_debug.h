/* SPDX-License-Identifier: MIT */
/* Breakpoints and watchpoints of the guest's kernel: see kernel_debug.c. */
#ifndef PVV_MONITOR_KERNEL_DEBUG_H
#define PVV_MONITOR_KERNEL_DEBUG_H

#include "exec/ring3/monitor/k.h"

/* k.exc_vector: a watched page was touched, at k.exc_cr2; if k.exc_error, to look at code in it. */
#define K_WATCHED 0x100u

/* There are some, for addresses of the window. */
extern bool kdebug_on;

/* Before the guest is entered, if kdebug_on or dr7 says that one is armed. */
void kdebug_enter(void);
/* Behind that, if kdebug_on: an exit for the run loop, or 0 if there is nothing left to do. */
enum xlate_exit kdebug_exit(enum xlate_exit why);
/* With which of PROT_* a page may be mapped, or its code translated. */
int kdebug_prot(uint64_t va);
/* Is the code at `va` not to be translated? */
bool kdebug_refuses(uint64_t va);

/* main.c */
enum xlate_exit enter_guest(void);

/* kernel_align.c: instead of enter_guest() while the guest's kernel has rflags.AC set. */
enum xlate_exit kalign_enter(void);

#endif
