/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char help[] =
	"Usage: pvvirt inspect [--json] IMAGE\n"
	"\n"
	"Describes a kernel image (ELF or bzImage): format, compression, Xen notes, segments, and\n"
	"where it would lie in a domain of 256 MiB. Nothing of it is run.\n";

int cmd_inspect(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	uint64_t flags = 0;
	char *text;
	int opt;

	while ((opt = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (opt == 'j')
			flags |= PVV_IMAGE_JSON;
		else if (opt == 'h')
			return fputs(help, stdout) < 0;
		else
			return cli_usage("inspect", "that option is not known");
	}
	if (argc - optind != 1)
		return cli_usage("inspect", "give one image");
	if (pvv_image_inspect(argv[optind], -1, flags, &text) < 0)
		return cli_fail();
	fputs(text, stdout);
	if (*text && text[strlen(text) - 1] != '\n')
		putchar('\n');
	pvv_free(text);
	return fflush(stdout) ? CLI_ERROR : CLI_OK;
}
