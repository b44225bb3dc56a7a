/* SPDX-License-Identifier: MIT */
/* GET /metrics: Prometheus' text format. Names of units are plain words: nothing needs quoting. */
#include <dirent.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "keeper.h"

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void per_domain(FILE *f, struct keeper *k)
{
	static const struct {
		const char *name, *type, *help;
		size_t offset;
	} counters[] = {
		{"pvvirt_domain_memory_bytes", "gauge", "RAM of the guest.",
		 offsetof(pvv_domain_stats, memory)},
		{"pvvirt_domain_overhead_bytes", "gauge", "Host memory beyond the guest's RAM.",
		 offsetof(pvv_domain_stats, overhead_memory)},
		{"pvvirt_domain_hypercalls_total", "counter", "Hypercalls served.",
		 offsetof(pvv_domain_stats, hypercalls)},
		{"pvvirt_domain_exceptions_total", "counter", "Exceptions taken.",
		 offsetof(pvv_domain_stats, exits_exception)},
		{"pvvirt_domain_page_faults_total", "counter", "Mappings filled.",
		 offsetof(pvv_domain_stats, page_faults)},
		{"pvvirt_domain_events_total", "counter", "Event-channel upcalls delivered.",
		 offsetof(pvv_domain_stats, events)},
		{"pvvirt_domain_console_out_bytes_total", "counter", "Written to the console.",
		 offsetof(pvv_domain_stats, console_out)},
	};
	pvv_domain_stats s = {.size = sizeof(s)};
	struct unit *u;

	head(f, "pvvirt_domain_cpu_seconds_total", "counter", "Processor time of all vCPUs.");
	LIST_FOREACH(u, &k->units, list)
	if (u->dom && pvv_domain_get_stats(u->dom, 0, &s) >= 0)
		fprintf(f, "pvvirt_domain_cpu_seconds_total{domain=\"%s\"} %.6f\n", u->name,
			(double)s.cpu_time_ns / 1e9);
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		head(f, counters[i].name, counters[i].type, counters[i].help);
		LIST_FOREACH(u, &k->units, list)
		{
			if (!u->dom || pvv_domain_get_stats(u->dom, 0, &s) < 0)
				continue;
			fprintf(f, "%s{domain=\"%s\"} %" PRIu64 "\n", counters[i].name, u->name,
				*(uint64_t *)((char *)&s + counters[i].offset));
		}
	}
}

static void per_disk(FILE *f, struct keeper *k)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} counters[] = {
		{"pvvirt_disk_read_bytes_total", "Read by the guest.",
		 offsetof(pvv_block_stats, rd_bytes)},
		{"pvvirt_disk_written_bytes_total", "Written by the guest.",
		 offsetof(pvv_block_stats, wr_bytes)},
		{"pvvirt_disk_flushes_total", "Flushes.", offsetof(pvv_block_stats, flush_req)},
		{"pvvirt_disk_errors_total", "Requests that failed.",
		 offsetof(pvv_block_stats, errors)},
	};
	struct unit *u;

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		head(f, counters[i].name, "counter", counters[i].help);
		LIST_FOREACH(u, &k->units, list)
		{
			for (unsigned int d = 0; d < u->spec.nr_disks && u->dom; d++) {
				pvv_block_stats s = {.size = sizeof(s)};

				if (pvv_domain_get_block_stats(u->dom, u->spec.disks[d], 0, &s) < 0)
					continue;
				fprintf(f, "%s{domain=\"%s\",disk=\"%s\"} %" PRIu64 "\n",
					counters[i].name, u->name, u->spec.disks[d],
					*(uint64_t *)((char *)&s + counters[i].offset));
			}
		}
	}
}

static void own(FILE *f, struct keeper *k)
{
	unsigned long size = 0, rss = 0;
	unsigned int fds = 0;
	FILE *statm = fopen("/proc/self/statm", "re");
	DIR *d = opendir("/proc/self/fd");

	if (statm && fscanf(statm, "%lu %lu", &size, &rss) == 2) {
		head(f, "process_resident_memory_bytes", "gauge", "keeperd without its guests.");
		fprintf(f, "process_resident_memory_bytes %lu\n",
			rss * (unsigned long)getpagesize());
	}
	while (d && readdir(d))
		fds++;
	if (fds > 4) {
		head(f, "process_open_fds", "gauge", "Open descriptors.");
		fprintf(f, "process_open_fds %u\n", fds - 4); /* . .. and the two in use here */
	}
	if (statm)
		fclose(statm);
	if (d)
		closedir(d);
	head(f, "keeper_events_total", "counter", "Events of the library.");
	fprintf(f, "keeper_events_total %" PRIu64 "\n", k->events);
	head(f, "keeper_consoles", "gauge", "Console connections.");
	fprintf(f, "keeper_consoles %u\n", k->consoles);
	head(f, "keeper_draining", "gauge", "1 while it is shutting down.");
	fprintf(f, "keeper_draining %d\n", k->draining);
}

char *metrics_text(struct keeper *k, size_t *ret_len)
{
	unsigned int count[UNIT_STATES] = {0};
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_len);
	struct unit *u;

	if (!f)
		return NULL;
	head(f, "keeper_domain_up", "gauge", "1 while the guest runs.");
	LIST_FOREACH(u, &k->units, list)
	{
		count[u->state]++;
		fprintf(f, "keeper_domain_up{domain=\"%s\"} %d\n", u->name,
			u->state == UNIT_RUNNING);
	}
	head(f, "keeper_restarts_total", "counter", "Starts after an end that nobody asked for.");
	LIST_FOREACH(u, &k->units, list)
	fprintf(f, "keeper_restarts_total{domain=\"%s\"} %" PRIu64 "\n", u->name, u->restarts);
	head(f, "keeper_domains", "gauge", "Domains by state.");
	for (int i = 0; i < UNIT_STATES; i++)
		fprintf(f, "keeper_domains{state=\"%s\"} %u\n", unit_state_names[i], count[i]);
	per_domain(f, k);
	per_disk(f, k);
	own(f, k);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
