/* SPDX-License-Identifier: MIT */
/*
 * How the vCPUs of a domain interrupt each other (adr/0012). A sandbox may not signal other
 * processes; it may write a byte into a pipe, and the kernel tells the pipe's owner by SIGUSR1
 * (O_ASYNC). spawn.c makes each process the owner of its pipe.
 */
#include "exec/ring3/ring3.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util/err.h"

int ring3_kicks_open(struct ring3_kicks *k, unsigned int nr_vcpus, const char *name)
{
	k->nr = 0;
	if (nr_vcpus < 2)
		return 0;
	for (unsigned int i = 0; i < nr_vcpus; i++) {
		int fd[2];

		if (pipe2(fd, O_CLOEXEC | O_NONBLOCK)) {
			int e = errno;

			ring3_kicks_close(k);
			return err_sys(
				PVV_ESYS, PVV_SUBSYS_EXEC, e, name,
				"cannot create the pipes between the %u vCPUs of domain '%s'",
				nr_vcpus, name);
		}
		/* A page holds more bytes than there can be kicks under way; it may stay larger. */
		(void)fcntl(fd[1], F_SETPIPE_SZ, 4096);
		k->rd[i] = fd[0];
		k->wr[i] = fd[1];
		k->nr = i + 1;
	}
	return 0;
}

void ring3_kicks_close(struct ring3_kicks *k)
{
	for (unsigned int i = 0; i < k->nr; i++) {
		close(k->rd[i]);
		close(k->wr[i]);
	}
	k->nr = 0;
}
