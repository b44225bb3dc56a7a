/* SPDX-License-Identifier: MIT */
/*
 * What the back ends' tests have in common: a loop that is stepped in the test's thread, a fake
 * domain whose pages are all granted under their own numbers, a store, and the device's nodes.
 */
#ifndef PVV_TESTS_IO_RIG_H
#define PVV_TESTS_IO_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fake_guest.h"
#include "io/loop.h"
#include "io/xenstore/xenstore.h"

#define IO_RIG_FIELDS                                                                              \
	struct io_loop *loop;                                                                      \
	struct io_guest *guest;                                                                    \
	struct xs_store *store;                                                                    \
	const char *front, *back

struct io_rig {
	IO_RIG_FIELDS;
};

/* Stands at the beginning of each rig, whose members it gives names of their own, too. */
#define IO_RIG                                                                                     \
	union {                                                                                    \
		struct io_rig io;                                                                  \
		struct {                                                                           \
			IO_RIG_FIELDS;                                                             \
		};                                                                                 \
	}

void io_rig_init(struct io_rig *r, unsigned int domid, uint32_t pages, const char *front,
		 const char *back);
void io_rig_fini(struct io_rig *r);

/* Let the loop run for a moment. */
void io_rig_step(struct io_rig *r);
#define rig_step(r) io_rig_step(&(r)->io)
/* Until the condition holds; fails after 20 s. */
#define rig_until(r, cond)                                                                         \
	do {                                                                                       \
		uint64_t end_ = io_now_ns() + 20000000000u;                                        \
		while (!(cond)) {                                                                  \
			if (io_now_ns() > end_)                                                    \
				fail_msg("timed out waiting for %s", #cond);                       \
			rig_step(r);                                                               \
		}                                                                                  \
	} while (0)

/* Nodes. */
void io_rig_front_write(struct io_rig *r, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
uint64_t io_rig_back_number(struct io_rig *r, const char *name);
#define rig_front_write(r, ...)	 io_rig_front_write(&(r)->io, __VA_ARGS__)
#define rig_front_state(r, s)	 io_rig_front_write(&(r)->io, "state", "%u", (unsigned int)(s))
#define rig_back_number(r, name) io_rig_back_number(&(r)->io, name)
#define rig_back_state(r)	 ((unsigned int)io_rig_back_number(&(r)->io, "state"))

#endif
