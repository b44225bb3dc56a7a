/* SPDX-License-Identifier: MIT */
#ifndef PVV_TEST_FAKE_EXEC_H
#define PVV_TEST_FAKE_EXEC_H

#include <stdint.h>

enum hostile_mode {
	HOSTILE_ALL,	      /* never lets the domain end by itself, never answers */
	HOSTILE_ENDS,	      /* also the state word: the domain may end with any reason */
	HOSTILE_POLITE_PAUSE, /* answers requests to pause in between */
	HOSTILE_SYSCALL,      /* runs into the system call filter after a moment */
	FRIENDLY_STARTS,      /* asks for its vCPUs, each while the one before is being started */
};
extern enum hostile_mode hostile_mode;
extern uint64_t hostile_seed, hostile_writes;
extern uint32_t vcpus_started;
extern uint64_t hostile_overhead; /* what is said of its memory */

#endif
