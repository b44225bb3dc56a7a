/* SPDX-License-Identifier: MIT */
/*
 * Children that the embedding program does not notice: like fork(), but the end of the child sends
 * no signal, its waitpid(-1) never sees it, and none of the program's handlers (of pthread_atfork()
 * or of signals) runs in it.
 */
#ifndef PVV_UTIL_CLONE_H
#define PVV_UTIL_CLONE_H

#include <sys/types.h>

/*
 * Call with all signals blocked. Returns 0 in the child, in the parent its pid, or a negative
 * errno. ret_pidfd (close-on-exec) may be NULL. The child has a copy of the program's memory with
 * whatever locks other threads held: it may make system calls, and little else.
 */
pid_t clone_quiet(int *ret_pidfd);

#endif
