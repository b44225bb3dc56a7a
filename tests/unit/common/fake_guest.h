/* SPDX-License-Identifier: MIT */
/*
 * A domain for back-end tests: implements io/guest.h over plain memory, so that a test plays the
 * front end (and the attacker) without a sandbox. Link it instead of domain/guest.c.
 */
#ifndef PVV_TESTS_FAKE_GUEST_H
#define PVV_TESTS_FAKE_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "io/guest.h"
#include "io/loop.h"

#define FAKE_PORTS  256u
#define FAKE_GRANTS 1024u

/* Aborts the test if memory runs out. Each page is its own allocation, so ASan sees overruns. */
struct io_guest *fake_guest_new(unsigned int domid, const char *name, unsigned int pages);
/* Asserts that nothing is mapped or bound any more. */
void fake_guest_free(struct io_guest *g);
/* Without the assertion, for a test that lets a back end leak on purpose. */
void fake_guest_free_unchecked(struct io_guest *g);

/* The page of a pfn (here mfn == pfn), zeroed at the start. */
void *fake_page(struct io_guest *g, uint64_t pfn);

/* Grant `pfn` to domain 0 under a reference of the test's choice, < FAKE_GRANTS. */
void fake_grant(struct io_guest *g, uint32_t ref, uint64_t pfn, bool readonly);
void fake_grant_end(struct io_guest *g, uint32_t ref);
/* How often the reference is mapped now, and all of them; mappings ever made. */
unsigned int fake_grant_maps(const struct io_guest *g, uint32_t ref);
unsigned int fake_grant_maps_total(const struct io_guest *g);
uint64_t fake_grant_maps_ever(const struct io_guest *g);
/* The next `n` io_grant_map() and io_frame_map() calls fail with PVV_EGUEST. */
void fake_fail_maps(struct io_guest *g, unsigned int n);

/*
 * The guest sends an event on `port`. Without a loop the back end's handler runs now; with one
 * (fake_use_loop) it is posted there, as the real one does. Any thread with a loop.
 */
void fake_raise(struct io_guest *g, uint32_t port);
void fake_use_loop(struct io_guest *g, struct io_loop *loop);
bool fake_bound(const struct io_guest *g, uint32_t port);
/* Events the back end has sent to `port` so far. Any thread. */
uint64_t fake_events(const struct io_guest *g, uint32_t port);
/* Calls of io_page_written() so far. Any thread. */
uint64_t fake_pages_written(const struct io_guest *g);

#endif
