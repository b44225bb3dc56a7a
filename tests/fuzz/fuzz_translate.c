/* SPDX-License-Identifier: MIT */
/*
 * The translator on arbitrary guest code. It is translated, not run: what is emitted is decoded by
 * Zydis and may contain nothing that guest code must not make the process do; the recovery notes
 * must fit the code; and every stop position must be recoverable.
 *
 * Input: byte 0 selects the address and the mode, byte 1 the offset in the page; the rest is code.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/translate/emitted.h"
#include "../unit/translate/harness.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (!harness_init(0))
		exit(77);
	return 0;
}

static void recover_everywhere(const struct frag *f)
{
	struct xlate_sigregs s = {0};
	struct xlate_recovered how;
	uint64_t at;

	s.rsp = STACK + XLATE_SHIFT;
	for (at = f->host; at < f->end; at++) {
		s.rip = at;
		if (xlate_where(X, at) != XLATE_IN_CACHE)
			abort();
		xlate_recover(X, &s, &how);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t delta[4] = {0, GUEST_HIGH - GUEST_LOW, GUEST_FAR - GUEST_LOW,
					  GUEST_HIGH - GUEST_LOW};
	uint64_t start, addr;
	uint32_t err, k;
	static unsigned int runs;

	if (!X && !harness_init(0))
		return 0;
	if (size < 3 || size > 3000)
		return 0;
	if (runs++ % 64 == 0)
		harness_reset();
	start = CODE + 0x800 + data[1] * 8;
	/* (not poke(): so many rewrites would be taken for thrashing) */
	xlate_invalidate_all(X);
	memcpy(guest_ptr(start), data + 2, size - 2);
	memset(guest_ptr(start + size - 2), 0xcc, 16);
	start += delta[data[0] & 3];
	X->stepping = !!(data[0] & 4);
	if (data[0] &
	    16) /* gates in front of FPU instructions, from now on (until the next reset) */
		xlate_set_fpu_trap(X, true);
	if (data[0] & 8) { /* verified blocks */
		for (k = 0; k < 8; k++)
			xlate_invalidate_frame(X, (CODE - GUEST_LOW) >> 12);
	}
	memset(&R, 0, sizeof(R));
	for (k = 0; k < 40; k++) {
		uint64_t pc = start + (k * 37) % (size - 2);

		xlate_translate(X, k < 8 ? start + k : pc, k & 1, &err, &addr);
	}
	for (k = 1; k <= X->nr_frags; k++) {
		if (!emitted_ok(X, &X->frags[k]))
			abort();
		recover_everywhere(&X->frags[k]);
	}
	X->stepping = 0;
	return 0;
}
