/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const char help[] =
	"Usage: pvvirt check [--strict] [--quiet] DOMAIN.xml\n"
	"\n"
	"Checks a libvirt domain XML and prints what libpvvirt makes of it, in canonical form. "
	"What\n"
	"would be ignored is listed on stderr; with --strict it is an error. '-' reads stdin.\n";

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {
		{"strict", no_argument, NULL, 's'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	__attribute__((cleanup(pvv_host_unrefp))) pvv_host *host = NULL;
	__attribute__((cleanup(pvv_domain_unrefp))) pvv_domain *dom = NULL;
	uint64_t flags = 0;
	int quiet = 0, opt, ret;
	char *text, *out;

	while ((opt = getopt_long(argc, argv, "sqh", options, NULL)) != -1) {
		if (opt == 's')
			flags |= PVV_XML_STRICT;
		else if (opt == 'q')
			quiet = 1;
		else if (opt == 'h')
			return fputs(help, stdout) < 0;
		else
			return cli_usage("check", "that option is not known");
	}
	if (argc - optind != 1)
		return cli_usage("check", "give one file");
	if (pvv_host_open(0, &host) < 0)
		return cli_fail();
	text = cli_read_file(argv[optind]);
	if (!text)
		return CLI_ERROR;
	ret = pvv_domain_create_xml(host, text, flags, &dom);
	free(text);
	if (ret < 0)
		return cli_fail();
	if (pvv_domain_get_warnings(dom, &out) < 0)
		return cli_fail();
	fputs(out, stderr);
	pvv_free(out);
	if (pvv_domain_get_xml(dom, 0, &out) < 0)
		return cli_fail();
	if (!quiet)
		fputs(out, stdout);
	pvv_free(out);
	return fflush(stdout) ? CLI_ERROR : CLI_OK;
}
