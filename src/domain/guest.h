/* SPDX-License-Identifier: MIT */
/*
 * The implementation side of io/guest.h: what the back ends may touch of a running domain. Made by
 * domain/run.c for each incarnation.
 */
#ifndef PVV_DOMAIN_GUEST_H
#define PVV_DOMAIN_GUEST_H

#include "exec/executor.h"
#include "io/guest.h"

struct guest_params {
	unsigned int domid;
	const char *name;
	const struct exec_memory *memory;
	const struct core_boot *boot; /* the library's own copy: never the one in shared memory */
};

int guest_new(const struct guest_params *p, struct io_guest **ret_guest);
void guest_free(struct io_guest *g);
/* From now on events reach the vCPU (they are only noted before). */
void guest_attach(struct io_guest *g, const struct exec_ops *ops, struct exec *exec);
void guest_detach(struct io_guest *g);
/* The monitor rang: hand the notified ports to the back ends that bound them. */
void guest_doorbell(struct io_guest *g);
/* Make vCPU 0 look at ctl->request. Any thread. */
void guest_kick_all(struct io_guest *g);

#endif
