/* SPDX-License-Identifier: MIT */
/*
 * What the sandbox may ask of the host's kernel. This list is the host's isolation: the monitor and
 * the guest kernel share one privilege level, so assume the guest can make any of these calls with
 * any arguments. It can then
 *   - map and unmap pages of its own domain's memfd (never executable, never another file),
 *   - give pages of it back, sleep, wake its own sleepers, ring its own doorbell, arm its timer,
 *   - end itself.
 * Anything else ends the process.
 */
#include "exec/ring3/ring3.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/ring3/layout.h"
#include "util/err.h"

static int add_rules(scmp_filter_ctx ctx)
{
	/* restart_syscall: what the kernel makes of a futex wait that was stopped or frozen. */
	static const int plain[] = {SCMP_SYS(rt_sigreturn), SCMP_SYS(munmap), SCMP_SYS(exit_group),
				    SCMP_SYS(restart_syscall)};
	int r = 0;

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]) && !r; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, plain[i], 0);
	/* The window: pages of the memfd only, at fixed addresses, not executable. */
	if (!r)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 3,
			SCMP_A2(SCMP_CMP_MASKED_EQ, ~(scmp_datum_t)(PROT_READ | PROT_WRITE), 0),
			SCMP_A3(SCMP_CMP_EQ, MAP_SHARED | MAP_FIXED),
			SCMP_A4(SCMP_CMP_EQ, K_FD_MEMORY));
	/* The balloon. */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(madvise), 1,
				     SCMP_A2(SCMP_CMP_EQ, MADV_REMOVE));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(futex), 1,
				     SCMP_A1(SCMP_CMP_EQ, FUTEX_WAIT_BITSET));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(futex), 1,
				     SCMP_A1(SCMP_CMP_EQ, FUTEX_WAKE));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(write), 2,
				     SCMP_A0(SCMP_CMP_EQ, K_FD_DOORBELL), SCMP_A2(SCMP_CMP_EQ, 8));
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(timer_settime), 0);
	return r;
}

/* libseccomp exports to a descriptor only: through a memfd. */
static int export_filter(scmp_filter_ctx ctx, struct ring3_filter *ret)
{
	ssize_t n;
	int fd = ring3_memfd("pvv-filter");
	int r;

	if (fd < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, NULL,
			       "cannot create a memfd for the system call filter");
	r = seccomp_export_bpf(ctx, fd);
	n = r ? -1 : pread(fd, ret->insn, sizeof(ret->insn), 0);
	close(fd);
	if (r || n <= 0 || (size_t)n == sizeof(ret->insn) || n % (ssize_t)sizeof(ret->insn[0]))
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, r < 0 ? -r : 0, NULL,
			       "cannot build the system call filter");
	ret->len = (uint32_t)((size_t)n / sizeof(ret->insn[0]));
	return 0;
}

int ring3_filter_make(struct ring3_filter *ret)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return err_nomem(PVV_SUBSYS_EXEC, "building the system call filter");
	/* A binary tree instead of a list: faster. Older libraries refuse, which does no harm. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* Calls by the 32-bit and x32 entries end all of the process, too. */
	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!r)
		r = add_rules(ctx);
	if (r)
		r = err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, -r, NULL,
			    "cannot build the system call filter");
	else
		r = export_filter(ctx, ret);
	seccomp_release(ctx);
	return r;
}
