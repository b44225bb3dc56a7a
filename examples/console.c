/* SPDX-License-Identifier: MIT */
/*
 * Sit at a guest's console: the terminal in raw mode, one poll over the terminal and the console,
 * ^] to leave. The console is an ordinary descriptor, so any event loop will do.
 *
 *	cc console.c $(pkg-config --cflags --libs libpvvirt) && ./a.out KERNEL [DISK]
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <pvvirt/pvvirt.h>

static struct termios saved;

static void restore_terminal(void)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

static void make_terminal_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return; /* not a terminal: a pipe serves as well */
	atexit(restore_terminal);
	raw = saved;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* Until the guest ends (0), the user leaves with ^] or the input ends (1). */
static int talk(int console)
{
	struct pollfd p[] = {{console, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
	char buf[4096];
	ssize_t n;

	while (poll(p, 2, -1) > 0) {
		if (p[0].revents) {
			n = read(console, buf, sizeof(buf));
			if (n <= 0 || write(STDOUT_FILENO, buf, (size_t)n) != n)
				return 0;
		}
		if (p[1].revents) {
			n = read(STDIN_FILENO, buf, sizeof(buf));
			if (n <= 0 || memchr(buf, 0x1d, (size_t)n) ||
			    write(console, buf, (size_t)n) != n)
				return 1;
		}
	}
	return 1;
}

int main(int argc, char **argv)
{
	pvv_domain_options options = PVV_DOMAIN_OPTIONS_INIT;
	pvv_disk_options disk = PVV_DISK_OPTIONS_INIT;
	pvv_host *host = NULL;
	pvv_domain *domain = NULL;
	int console = -1;

	if (argc < 2) {
		fprintf(stderr, "usage: %s KERNEL [DISK]\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* the guest may end while we write to it */
	options.name = "console";
	options.kernel = argv[1];
	if (argc > 2) {
		disk.path = argv[2];
		options.disks = &disk;
		options.nr_disks = 1;
	}
	if (pvv_host_open(0, &host) < 0 || pvv_domain_create(host, &options, 0, &domain) < 0 ||
	    pvv_domain_open_console(domain, 0, 0, &console) < 0 ||
	    pvv_domain_start(domain, 0) < 0) {
		fprintf(stderr, "%s\n", pvv_error_get_message(pvv_error_last()));
		return 1;
	}
	make_terminal_raw();
	/* Whoever leaves asks the guest to power off; after five seconds it has no choice. */
	if (talk(console)) {
		pvv_domain_shutdown(domain, 0);
		if (pvv_domain_wait(domain, 5000, 0) == PVV_ETIMEDOUT)
			pvv_domain_destroy(domain, 0);
	}
	pvv_domain_wait(domain, -1, 0);
	close(console);
	pvv_domain_unref(domain);
	pvv_host_unref(host);
	return 0;
}
