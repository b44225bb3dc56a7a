/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char help[] =
	"Usage: pvvirt COMMAND [OPTIONS]\n"
	"\n"
	"  run DOMAIN.xml      boot a domain and stay with it until it ends\n"
	"  run --kernel FILE   the same without XML\n"
	"  check DOMAIN.xml    is this domain XML acceptable? prints it in canonical form\n"
	"  host [--json]       what this host can do, and why not\n"
	"  inspect IMAGE       what is in a kernel image\n"
	"  setmem, setvcpus, pause, resume, shutdown, reboot, destroy, info SOCKET\n"
	"                      the same domain from elsewhere: see 'run --control SOCKET'\n"
	"  version             the version\n"
	"  help [COMMAND]      this text, or a command's\n"
	"\n"
	"Exit status: 0 the guest powered off (other commands: fine), 10 it crashed, 11 --timeout\n"
	"passed, 1 the host or the library failed, 2 wrong usage.\n";

static const struct command {
	const char *name;
	int (*fn)(int argc, char **argv);
} commands[] = {
	{"run", cmd_run},	  {"check", cmd_check},	    {"host", cmd_host},
	{"inspect", cmd_inspect}, {"setmem", cmd_control},  {"setvcpus", cmd_control},
	{"pause", cmd_control},	  {"resume", cmd_control},  {"shutdown", cmd_control},
	{"reboot", cmd_control},  {"destroy", cmd_control}, {"info", cmd_control},
};

int cli_fail(void)
{
	const pvv_error *e = pvv_error_last();

	fprintf(stderr, "pvvirt: %s\n", e ? pvv_error_get_message(e) : "unknown error");
	return CLI_ERROR;
}

int cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "pvvirt %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry 'pvvirt help %s'.\n", command);
	return CLI_USAGE;
}

#define FILE_MAX (2u << 20) /* the library refuses more than 1 MiB of XML; let it say so */

char *cli_read_file(const char *path)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *text = f ? malloc(FILE_MAX + 1) : NULL;

	if (!text) {
		fprintf(stderr, "pvvirt: cannot open '%s': %s\n", path, strerror(errno));
		if (f && f != stdin)
			fclose(f);
		return NULL;
	}
	size_t n = fread(text, 1, FILE_MAX, f);
	int failed = ferror(f);

	if (f != stdin)
		fclose(f);
	text[n] = '\0';
	if (!failed && strlen(text) == n)
		return text;
	fprintf(stderr, "pvvirt: cannot read '%s': %s\n", path,
		failed ? strerror(errno) : "it contains a NUL byte");
	free(text);
	return NULL;
}

int cli_parse_memory(const char *text, uint64_t *ret_bytes)
{
	unsigned long long n;
	unsigned int shift = 20;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (end == text || *text == '-' || errno)
		return 0;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		end++;
		break;
	case 'm':
	case 'M':
		end++;
		break;
	case 'g':
	case 'G':
		shift = 30;
		end++;
		break;
	}
	if (!strcmp(end, "iB") || !strcmp(end, "B"))
		end = "";
	if (*end || !n || n > (~0ull >> 1) >> shift)
		return 0;
	*ret_bytes = n << shift;
	return 1;
}

static int show_help(const char *name)
{
	for (size_t i = 0; name && i < sizeof(commands) / sizeof(commands[0]); i++) {
		char *args[] = {(char *)name, (char *)"--help", NULL};

		if (!strcmp(commands[i].name, name))
			return commands[i].fn(2, args);
	}
	fputs(help, stdout);
	return CLI_OK;
}

/* Or the next file that is opened becomes "stdout". */
static void open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	open_standard_streams();

	if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
		return show_help(argc > 2 ? argv[2] : NULL);
	if (!strcmp(name, "version") || !strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("pvvirt %s\n", pvv_version_string());
		return CLI_OK;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].fn(argc - 1, argv + 1);
	if (*name)
		fprintf(stderr, "pvvirt: '%s' is not a command\n\n", name);
	fputs(help, stderr);
	return CLI_USAGE;
}
