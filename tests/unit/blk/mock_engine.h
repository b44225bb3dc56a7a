/* SPDX-License-Identifier: MIT */
/*
 * An engine whose host is the test: operations wait until the test completes them, in any order and
 * with any result. It has a disk of its own with a volatile cache: a write that is completed is
 * visible, but lost in a power cut unless a sync that began after it was completed.
 */
#ifndef PVV_TESTS_MOCK_ENGINE_H
#define PVV_TESTS_MOCK_ENGINE_H

#include "io/blk/engine.h"

#define MOCK_MAX     1024u
#define MOCK_SECTORS 64u

struct mock_write {
	uint64_t sector;
	uint64_t value;
	bool synced; /* a sync that began after it has succeeded */
};

struct mock {
	struct blk_engine engine;
	/* Operations submitted and not completed, in order of submission. */
	struct blk_io *ops[MOCK_MAX];
	unsigned int nr_ops;
	unsigned int submitted; /* ever */
	bool freed;

	/* Completed writes in order of completion; one sector each, value in its first word. */
	struct mock_write writes[65536];
	unsigned int nr_writes;
	/* For each operation in `ops`: how many writes were completed when it began. */
	unsigned int began[MOCK_MAX];
};

void mock_init(struct mock *m);
/* Complete the i-th operation; what it did to the disk happens now if error is 0. */
void mock_complete(struct mock *m, unsigned int i, int error);
/* The first operation of this kind, or -1. */
int mock_find(const struct mock *m, enum blk_io_op op);

#endif
