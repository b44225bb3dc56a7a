/* SPDX-License-Identifier: MIT */
#include "io/blk/wire.h"

#include <stddef.h>
#include <string.h>

/*
 * blkif.h gives the layout of the ABI it is compiled for, 64-bit here. For 32-bit x86 the fields
 * are the same without the padding that 8-byte alignment makes.
 */
struct __attribute__((packed, aligned(4))) request_32 {
	uint8_t operation, nr_segments;
	uint16_t handle;
	uint64_t id;
	uint64_t sector_number;
	struct blkif_request_segment seg[BLKIF_MAX_SEGMENTS_PER_REQUEST];
};

struct __attribute__((packed, aligned(4))) discard_32 {
	uint8_t operation, flag;
	uint16_t handle;
	uint64_t id;
	uint64_t sector_number;
	uint64_t nr_sectors;
};

struct __attribute__((packed, aligned(4))) indirect_32 {
	uint8_t operation, indirect_op;
	uint16_t nr_segments;
	uint64_t id;
	uint64_t sector_number;
	uint16_t handle;
	uint16_t pad;
	uint32_t indirect_grefs[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST];
	uint64_t pad2;
};

struct __attribute__((packed, aligned(4))) response_32 {
	uint64_t id;
	uint8_t operation;
	uint8_t pad;
	int16_t status;
};

_Static_assert(sizeof(struct blkif_request) == 112, "the 64-bit ABI");
_Static_assert(sizeof(struct blkif_response) == 16, "the 64-bit ABI");
_Static_assert(offsetof(struct blkif_request_indirect, indirect_grefs) == 28, "the 64-bit ABI");
_Static_assert(sizeof(struct request_32) == 108, "the 32-bit ABI");
_Static_assert(sizeof(struct indirect_32) == 64, "the 32-bit ABI");
_Static_assert(sizeof(struct response_32) == 12, "the 32-bit ABI");

uint32_t blk_wire_entry_size(enum blk_abi abi)
{
	return abi == BLK_ABI_X86_32 ? sizeof(struct request_32) : sizeof(struct blkif_request);
}

#define DECODE_RW(type)                                                                            \
	do {                                                                                       \
		struct type r;                                                                     \
		memcpy(&r, raw, sizeof(r));                                                        \
		cmd->nr_segments = r.nr_segments;                                                  \
		cmd->id = r.id;                                                                    \
		cmd->sector = r.sector_number;                                                     \
		memcpy(cmd->seg, r.seg, sizeof(cmd->seg));                                         \
	} while (0)

#define DECODE_DISCARD(type)                                                                       \
	do {                                                                                       \
		struct type r;                                                                     \
		memcpy(&r, raw, sizeof(r));                                                        \
		cmd->id = r.id;                                                                    \
		cmd->sector = r.sector_number;                                                     \
		cmd->nr_sectors = r.nr_sectors;                                                    \
	} while (0)

#define DECODE_INDIRECT(type)                                                                      \
	do {                                                                                       \
		struct type r;                                                                     \
		memcpy(&r, raw, sizeof(r));                                                        \
		cmd->op = r.indirect_op;                                                           \
		cmd->indirect = true;                                                              \
		cmd->nr_segments = r.nr_segments;                                                  \
		cmd->id = r.id;                                                                    \
		cmd->sector = r.sector_number;                                                     \
		memcpy(cmd->indirect_grefs, r.indirect_grefs, sizeof(cmd->indirect_grefs));        \
	} while (0)

void blk_wire_decode(enum blk_abi abi, const uint8_t raw[static BLK_WIRE_REQUEST_MAX],
		     struct blk_cmd *cmd)
{
	bool abi_32 = abi == BLK_ABI_X86_32;

	memset(cmd, 0, sizeof(*cmd));
	cmd->op = raw[0];
	if (cmd->op == BLKIF_OP_INDIRECT && abi_32)
		DECODE_INDIRECT(indirect_32);
	else if (cmd->op == BLKIF_OP_INDIRECT)
		DECODE_INDIRECT(blkif_request_indirect);
	else if (cmd->op == BLKIF_OP_DISCARD && abi_32)
		DECODE_DISCARD(discard_32);
	else if (cmd->op == BLKIF_OP_DISCARD)
		DECODE_DISCARD(blkif_request_discard);
	else if (abi_32)
		DECODE_RW(request_32);
	else
		DECODE_RW(blkif_request);
}

uint32_t blk_wire_encode(enum blk_abi abi, uint64_t id, uint8_t op, int16_t status,
			 uint8_t raw[static BLK_WIRE_REQUEST_MAX])
{
	if (abi == BLK_ABI_X86_32) {
		struct response_32 r = {.id = id, .operation = op, .status = status};

		memcpy(raw, &r, sizeof(r));
		return sizeof(r);
	}
	struct blkif_response r;
	/* The padding goes to the guest. */
	memset(&r, 0, sizeof(r));
	r.id = id;
	r.operation = op;
	r.status = status;
	memcpy(raw, &r, sizeof(r));
	return sizeof(r);
}
