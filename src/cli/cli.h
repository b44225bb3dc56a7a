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

/* control.c: the verbs that go to another pvvirt's domain; argv[0] says which. */
int cmd_control(int argc, char **argv);
/* The socket at which they arrive. One client at a time, one line each. */
struct control {
	const char *path; /* to be unlinked, NULL: none */
	int listener, client;
	char line[128];
	size_t len;
};
int control_open(struct control *c, const char *path); /* 0 or an exit status */
/* The listener, or the client if there is one, can be read. */
void control_serve(struct control *c, pvv_domain *dom);
void control_close(struct control *c);

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
