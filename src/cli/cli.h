/* SPDX-License-Identifier: MIT */
/*
 * The pvvirt program: one file per command. It is an ordinary user of the public API; nothing of
 * the library's insides is included here.
 */
#ifndef PVV_CLI_H
#define PVV_CLI_H

#include <pvvirt/pvvirt.h>

enum cli_exit { /* exit status, documented in `pvvirt help` */
		CLI_OK = 0,
		CLI_ERROR = 1, /* the host or the library failed */
		CLI_USAGE = 2,
		CLI_CRASHED = 10,
		CLI_TIMEOUT = 11,
};

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_host(int argc, char **argv);
int cmd_inspect(int argc, char **argv);

/* "pvvirt: <message of the last error>" on stderr; returns CLI_ERROR. */
int cli_fail(void);
int cli_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The whole file as a NUL-terminated string ("-" = stdin), NULL with a message on stderr. */
char *cli_read_file(const char *path);

/* "256M", "1G", "1048576K"; plain numbers are MiB. False if it is none. */
int cli_parse_memory(const char *text, uint64_t *ret_bytes);

/* terminal.c: a stdio console */
struct terminal;
struct terminal *terminal_begin(void); /* raw mode if stdin is a terminal */
void terminal_end(struct terminal *t); /* as it was */

#endif
