/* SPDX-License-Identifier: MIT */
/*
 * Write rights in the window without mprotect() and mmap(), which cost ten times as much: K has a
 * userfaultfd of its own address space, too (adr/0017), takes the right to write from a page and
 * gives it back. Linux makes page tables of the same pages again and again. A page is registered
 * when it loses its right for the first time, and mappings made in its place are not.
 *
 * Who may write to a page again has to know which frame is mapped there. The notes of frames
 * (struct k_frame) do not say so for sure, for they may outlive a mapping, and neither do the
 * guest's tables, for it may not have flushed yet. So what was mapped last is noted here, for as
 * many pages as there is room for; the others are mapped anew.
 */
#include "exec/ring3/monitor/k.h"

#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>

#include "core/core.h"

#define HOST_ENOENT 2
#define NOTES	    4096u

/* One of them for each address that is a multiple of their number apart. */
static struct {
	uint64_t va, mfn;
} notes[NOTES];
static bool usable;

void window_protect_init(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = REMOTE_FEATURES};
	long fd = sys1(SYS_userfaultfd, REMOTE_FLAGS);

	if (fd < 0)
		return;
	usable = !sys3(SYS_ioctl, fd, UFFDIO_API, &api) &&
		 sys2(SYS_dup2, fd, K_FD_OWN_REMOTE) == K_FD_OWN_REMOTE;
	sys1(SYS_close, fd);
}

static long set(uint64_t va, bool on)
{
	struct uffdio_writeprotect wp = {{va + K_SHIFT, 4096},
					 on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

	return sys3(SYS_ioctl, K_FD_OWN_REMOTE, UFFDIO_WRITEPROTECT, &wp);
}

void window_page_mapped(uint64_t va, uint64_t mfn, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++, va += 4096) {
		notes[(va >> 12) % NOTES].va = va;
		notes[(va >> 12) % NOTES].mfn = mfn + i;
	}
}

bool window_page_protect(uint64_t va)
{
	struct uffdio_register reg = {{va + K_SHIFT, 4096}, UFFDIO_REGISTER_MODE_WP, 0};
	long r;

	if (!usable)
		return false;
	r = set(va, true);
	if (r == -HOST_ENOENT && !sys3(SYS_ioctl, K_FD_OWN_REMOTE, UFFDIO_REGISTER, &reg)) {
		k.nr_maps += 2; /* one may have become three */
		r = set(va, true);
	}
	return r == 0;
}

bool window_page_is(uint64_t va, uint64_t mfn)
{
	return notes[(va >> 12) % NOTES].va == va && notes[(va >> 12) % NOTES].mfn == mfn;
}

bool window_page_allow(uint64_t va)
{
	return !set(va, false);
}
