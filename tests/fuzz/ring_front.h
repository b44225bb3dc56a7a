/* SPDX-License-Identifier: MIT */
/*
 * What the fuzzers of the back ends have in common: a front end's domain, store and nodes, whose
 * every step is read from the input.
 */
#ifndef PVV_FUZZ_RING_FRONT_H
#define PVV_FUZZ_RING_FRONT_H

#include <stddef.h>
#include <stdint.h>

#include "fake_guest.h"
#include "io/loop.h"
#include "io/xenstore/xenstore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

/* Zeroes behind the end of the input. */
void copy_bytes(struct input *in, void *buf, size_t n);
uint32_t number(struct input *in, size_t n);

/* Made once: what the front end can change in them is put right before each input. */
struct front {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xs_store *store;
	const char *path; /* of its nodes */
	uint32_t pages;	  /* all granted under their own numbers */
};

void front_set_up(struct front *f);
/* All that is queued in the loop, without waiting. */
void front_run(struct front *f);
void front_put(struct front *f, const char *name, uint32_t value);
/* Write bytes into one of the nodes, or remove it. */
void front_put_node(struct front *f, struct input *in, const char *const *names, size_t nr_names);
/* End a grant, and perhaps grant another page by it. */
void front_change_grant(struct front *f, struct input *in);
/* 16 bytes anywhere in its memory: rings, requests, data. */
void front_scribble(struct front *f, struct input *in);
/* Aborts if something is still mapped or bound: the back end has ended. */
void front_check_released(struct front *f);

#endif
