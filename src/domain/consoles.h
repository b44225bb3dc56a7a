/* SPDX-License-Identifier: MIT */
/*
 * The consoles and channels of a domain object: they outlive its incarnations, so that an embedder
 * can open one before the start and keep it across a reboot.
 */
#ifndef PVV_DOMAIN_CONSOLES_H
#define PVV_DOMAIN_CONSOLES_H

#include <stdint.h>

#include "domain/config.h"
#include "io/guest.h"
#include "io/loop.h"

struct domain_consoles;
struct xs_store;

int consoles_new(struct io_loop *loop, const struct config *cfg, struct domain_consoles **ret);
void consoles_free(struct domain_consoles *cs);
/* I/O thread: an incarnation's console 0 comes... */
int consoles_attach(struct domain_consoles *cs, struct io_guest *g, void *ring_page, uint32_t port);
/* ... then, when its home in the xenstore is there, the others and the channels as devices ... */
int consoles_attach_devices(struct domain_consoles *cs, struct io_guest *g, struct xs_store *store);
/* ... and all of them go. Takes what is left in the rings. */
void consoles_detach(struct domain_consoles *cs);
/* I/O thread: the domain is shut off: readers get end of file. */
void consoles_end(struct domain_consoles *cs);
/* Slave of console `index`'s pty, NULL if it has none. I/O thread. */
const char *consoles_tty(struct domain_consoles *cs, unsigned int index);
/* I/O thread. */
int consoles_open(struct domain_consoles *cs, unsigned int index, int *ret_fd);
int consoles_open_channel(struct domain_consoles *cs, const char *name, int *ret_fd);
void consoles_counters(struct domain_consoles *cs, uint64_t *ret_out, uint64_t *ret_in);

#endif
