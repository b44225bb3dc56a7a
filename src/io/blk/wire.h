/* SPDX-License-Identifier: MIT */
/*
 * Requests and responses as they lie in the ring. The layout depends on the ABI the front end was
 * compiled for, which it names in its "protocol" node: 32-bit x86 aligns 64-bit numbers to 4 bytes.
 */
#ifndef PVV_IO_BLK_WIRE_H
#define PVV_IO_BLK_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/io/blkif.h>

enum blk_abi {
	BLK_ABI_X86_64,
	BLK_ABI_X86_32,
};

/* A copy of a request, not checked yet. */
struct blk_cmd {
	uint8_t op; /* BLKIF_OP_*, INDIRECT resolved to what it asks for; Linux wants that echoed */
	bool indirect;	      /* the segments are in the pages of indirect_grefs */
	uint16_t nr_segments; /* READ, WRITE, WRITE_BARRIER, FLUSH_DISKCACHE */
	uint64_t id;
	uint64_t sector;
	uint64_t nr_sectors; /* DISCARD */
	struct blkif_request_segment seg[BLKIF_MAX_SEGMENTS_PER_REQUEST];
	uint32_t indirect_grefs[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST];
};

#define BLK_WIRE_REQUEST_MAX sizeof(struct blkif_request)

uint32_t blk_wire_entry_size(enum blk_abi abi);
/* `raw` holds an entry. */
void blk_wire_decode(enum blk_abi abi, const uint8_t raw[static BLK_WIRE_REQUEST_MAX],
		     struct blk_cmd *ret_cmd);
/* The number of bytes of the response in `raw`. */
uint32_t blk_wire_encode(enum blk_abi abi, uint64_t id, uint8_t op, int16_t status,
			 uint8_t raw[static BLK_WIRE_REQUEST_MAX]);

#endif
