/* SPDX-License-Identifier: MIT */
/*
 * What a service manager does before it starts a service: confine NAMES PROGRAM ARG... makes every
 * system call that is not in the file NAMES (one a line) fail with EPERM, address families other
 * than AF_UNIX fail, and executes PROGRAM. For orchestrator.py.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(125);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	FILE *f = argc > 2 ? fopen(argv[1], "re") : NULL;
	char name[64];
	int nr, count = 0, clone3 = 0;

	must(f && ctx, "usage: confine NAMES PROGRAM ARG...");
	while (fgets(name, sizeof(name), f)) {
		name[strcspn(name, "\n")] = '\0';
		nr = seccomp_syscall_resolve_name(name);
		if (nr < 0)
			continue; /* not of this architecture, or newer than libseccomp */
		if (!strcmp(name, "socket"))
			must(!seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 1,
					       SCMP_A0(SCMP_CMP_EQ, AF_UNIX)),
			     name);
		else
			must(!seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0), name);
		clone3 |= !strcmp(name, "clone3");
		count++;
	}
	fclose(f);
	/* As container engines do, so that libc takes clone() instead. */
	if (!clone3)
		must(!seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS),
				       seccomp_syscall_resolve_name("clone3"), 0),
		     "clone3");
	must(count > 200, "too few system calls in the list");
	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	must(!seccomp_load(ctx), "seccomp_load");
	seccomp_release(ctx);
	execvp(argv[2], argv + 2);
	must(0, argv[2]);
}
