/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char help[] = "Usage: pvvirt host [--json]\n"
			   "\n"
			   "Says which executors this host offers, and why not.\n";

/*
 * The capabilities are JSON of our own making, one executor a line: enough to pick the lines apart
 * without a JSON library.
 */
static int field(const char *line, const char *key, char *buf, size_t size)
{
	const char *p = strstr(line, key), *end = strchr(line, '\n');
	size_t n = 0;

	if (!p || (end && p > end))
		return 0;
	p += strlen(key);
	while (*p && *p != '"' && *p != '\n' && n + 1 < size) {
		if (*p == '\\' && p[1])
			p++;
		buf[n++] = *p++;
	}
	buf[n] = '\0';
	return 1;
}

static void print_text(const char *json)
{
	char name[32], reason[512], chosen[32] = "none";

	printf("libpvvirt %s on x86_64\n", pvv_version_string());
	for (const char *p = json; (p = strstr(p, "{\"name\": \"")) != NULL; p++) {
		if (!field(p, "{\"name\": \"", name, sizeof(name)) ||
		    !field(p, "\"reason\": \"", reason, sizeof(reason)))
			continue;
		const char *end = strchr(p, '\n'), *yes = strstr(p, "\"available\": true");

		if (yes && (!end || yes < end))
			printf("  %-8s available%s%s%s\n", name, *reason ? " (" : "", reason,
			       *reason ? ")" : "");
		else
			printf("  %-8s not available: %s\n", name, reason);
	}
	const char *d = strstr(json, "\"default_executor\"");
	if (d)
		field(d, "\"default_executor\": \"", chosen, sizeof(chosen));
	printf("'auto' chooses: %s\n", chosen);
}

int cmd_host(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	__attribute__((cleanup(pvv_host_unrefp))) pvv_host *host = NULL;
	int json = 0, opt;
	char *text;

	while ((opt = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (opt == 'j')
			json = 1;
		else if (opt == 'h')
			return fputs(help, stdout) < 0;
		else
			return cli_usage("host", "that option is not known");
	}
	if (argc != optind)
		return cli_usage("host", "no arguments are expected");
	if (pvv_host_open(0, &host) < 0 || pvv_host_get_capabilities(host, 0, &text) < 0)
		return cli_fail();
	if (json)
		fputs(text, stdout);
	else
		print_text(text);
	pvv_free(text);
	return fflush(stdout) ? CLI_ERROR : CLI_OK;
}
