// SPDX-License-Identifier: MIT
/*
 * forks N: fork, exec, exit and wait, N times, and the kernel's timer interrupts meanwhile. As
 * process 1 (count in the environment: FORKS=N on the kernel's command line) it powers off at the
 * end. What it costs is counted outside.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Timer interrupts of all processors, as a Xen guest names them ("timer0") or natively ("LOC"). */
static long ticks(void)
{
	char line[1024];
	long sum = 0;
	FILE *f = fopen("/proc/interrupts", "re");

	while (f && fgets(line, sizeof(line), f)) {
		char *p = strchr(line, ':');

		if (!p || (!strstr(line, "timer") && !strstr(line, "LOC:")))
			continue;
		for (p++;;) {
			char *end;
			long n = strtol(p, &end, 10);

			if (end == p)
				break;
			sum += n;
			p = end;
		}
	}
	if (f)
		fclose(f);
	return sum;
}

static int one(char **argv)
{
	char *args[] = {argv[0], "--exit", NULL};
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		execv("/proc/self/exe", args);
		_exit(99);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 5;
}

int main(int argc, char **argv)
{
	const char *count = getenv("FORKS");
	int init = getpid() == 1, good = 0, n;
	long before;

	if (argc > 1 && !strcmp(argv[1], "--exit"))
		_exit(5);
	n = argc > 1 ? atoi(argv[1]) : count ? atoi(count) : 10;
	if (init) {
		mkdir("/proc", 0755);
		mount("proc", "/proc", "proc", 0, NULL);
	}
	before = ticks();
	for (int i = 0; i < n; i++)
		good += one(argv);
	printf("forks: %d of %d, ticks %ld\n", good, n, ticks() - before);
	fflush(stdout);
	if (init)
		reboot(RB_POWER_OFF);
	return good != n;
}
