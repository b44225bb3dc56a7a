/* SPDX-License-Identifier: MIT */
/* The smallest guest: prints what start_info promises, and powers off. */
#include "pvg.h"

static bool aligned(u64 v)
{
	return !(v & (PAGE_SIZE - 1));
}

void guest_main(void)
{
	const struct start_info *s = start_info;
	u64 rsp;

	printf("Hello, world!\n");
	printf("magic \"xen-3.0-x86_64\": %s\n", strcmp(s->magic, "xen-3.0-x86_64") ? "no" : "yes");
	printf("start_info page aligned: %d\n", aligned((u64)s));
	printf("nr_pages is the memory asked for: %d\n", s->nr_pages == 64 * 256);
	printf("shared_info page aligned: %d\n", aligned(s->shared_info) && s->shared_info);
	printf("flags %x\n", s->flags);
	printf("store port %d, console port %d\n", s->store_evtchn, s->console.domU.evtchn);
	printf("pt_base page aligned: %d\n", aligned(s->pt_base));
	printf("page-table frames > 3: %d\n", s->nr_pt_frames > 3);
	printf("module %d bytes, command line \"%s\"\n", (int)s->mod_len,
	       (const char *)s->cmd_line);
	printf("layout in order (image, mfn_list, start_info, store, console, page tables): %d\n",
	       (u64)pvg_image_end <= s->mfn_list && s->mfn_list < (u64)s &&
		       (u64)s < (u64)pvg_va_of_mfn(s->store_mfn) &&
		       (u64)pvg_va_of_mfn(s->store_mfn) < (u64)pvg_va_of_mfn(s->console.domU.mfn) &&
		       (u64)pvg_va_of_mfn(s->console.domU.mfn) < s->pt_base);
	printf("first_p2m_pfn %d, nr_p2m_frames %d\n", (int)s->first_p2m_pfn,
	       (int)s->nr_p2m_frames);
	__asm__("mov %%rsp, %0" : "=r"(rsp));
	printf("running on the image's own stack: %d\n",
	       rsp > (u64)pvg_image && rsp < (u64)pvg_image_end);
}
