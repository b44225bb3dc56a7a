/* SPDX-License-Identifier: MIT */
/*
 * Domains of one program that do the same, for tests/bench/contention. At each line from standard
 * input it prints what they have done so far, at its end it goes, and the domains with it.
 *
 *	contend KERNEL INITRD COMMAND-LINE NUMBER
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <pvvirt/pvvirt.h>

#define MANY 64

static void check(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "contend: %s\n", pvv_error_get_message(pvv_error_last()));
	exit(1);
}

int main(int argc, char **argv)
{
	pvv_domain *domain[MANY];
	pvv_host *host;
	int c, nr = argc == 5 ? atoi(argv[4]) : 0;

	if (nr < 1 || nr > MANY) {
		fprintf(stderr, "usage: contend KERNEL INITRD COMMAND-LINE NUMBER\n");
		return 2;
	}
	check(pvv_host_open(0, &host));
	for (int i = 0; i < nr; i++) {
		pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
		char name[32];

		snprintf(name, sizeof(name), "contend-%d", i);
		o.name = name;
		o.kernel = argv[1];
		o.initrd = argv[2];
		o.cmdline = argv[3];
		o.memory = 128ull << 20;
		o.executor = 1; /* ring3 */
		check(pvv_domain_create(host, &o, 0, &domain[i]));
		check(pvv_domain_start(domain[i], 0));
	}
	while ((c = getchar()) != EOF) {
		if (c != '\n')
			continue;
		for (int i = 0; i < nr; i++) {
			pvv_domain_stats s = {.size = sizeof(s)};

			check(pvv_domain_get_stats(domain[i], 0, &s));
			printf("%" PRIu64 " %" PRIu64 " ", s.hypercalls, s.cpu_time_ns);
		}
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
