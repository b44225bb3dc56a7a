/* SPDX-License-Identifier: MIT */
#include "util/clone.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct kernel_sigaction {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

/* What CLONE_CLEAR_SIGHAND does: signals that were ignored stay so. All are blocked meanwhile. */
static void clear_handlers(void)
{
	const struct kernel_sigaction none = {0};
	struct kernel_sigaction sa;

	for (int sig = 1; sig <= 64; sig++)
		if (syscall(SYS_rt_sigaction, sig, NULL, &sa, sizeof(sa.mask)) == 0 &&
		    sa.handler != (uintptr_t)SIG_DFL && sa.handler != (uintptr_t)SIG_IGN)
			syscall(SYS_rt_sigaction, sig, &none, NULL, sizeof(sa.mask));
}

pid_t clone_quiet(int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_CLEAR_SIGHAND | (ret_pidfd ? CLONE_PIDFD : 0),
		.pidfd = (uintptr_t)ret_pidfd,
		.exit_signal = 0,
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0 && (errno == ENOSYS || errno == EPERM)) {
		/*
		 * A container's seccomp profile cannot look into the arguments of clone3, so many
		 * refuse it. The older call has the exit signal (none) among its flags.
		 */
		pid = (pid_t)syscall(SYS_clone, ret_pidfd ? CLONE_PIDFD : 0, 0, ret_pidfd, 0, 0);
		if (pid == 0)
			clear_handlers();
	}
	return pid < 0 ? -errno : pid;
}
