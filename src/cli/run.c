/* SPDX-License-Identifier: MIT */
/*
 * `pvvirt run`: one domain in the foreground. An example of an embedder's loop: one poll over the
 * host's descriptor, the console, the terminal and the program's own signals.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/net.h"

#define MAX_DISKS 64
#define LEAVE	  0x1d /* ^] */

static const char help[] =
	"Usage: pvvirt run [OPTIONS] DOMAIN.xml\n"
	"       pvvirt run [OPTIONS] --kernel FILE [--initrd FILE] [--cmdline TEXT]\n"
	"                  [--memory 256M] [--max-memory 1G] [--vcpus N] [--name NAME] "
	"[--no-reboot]\n"
	"                  [--disk FILE[,xvda][,ro]]... [--net WHAT]...\n"
	"\n"
	"Boots a domain and stays with it until it ends.\n"
	"\n"
	"  --executor auto|ring3|kvm     how to run it (default auto)\n"
	"  --brief-turns yes|no          ring3: interpret short turns of guest programs, which is\n"
	"                                faster, or leave all to their processes (default: as\n"
	"                                DOMAIN.xml says, else yes)\n"
	"  --console stdio|pty|null|unix:PATH\n"
	"                                where its console goes (default stdio; ^] leaves it)\n"
	"  --net user[,tcp:8080:80]...   a network interface without privileges, by passt, with\n"
	"                                ports of the host ([ADDRESS:]PORT[-END][:TO]) that lead\n"
	"                                to the guest\n"
	"  --net tap=NAME[,existing]     by a tap device; made if need be\n"
	"  --net bridge=NAME             by a new tap device at this bridge\n"
	"  --net fd=N                    by an open tap device or socket; all also with ,mac=MAC\n"
	"                                and ,mtu=N\n"
	"  --timeout SECONDS             end it after this time, with exit status 11\n"
	"  --control SOCKET              take commands there: 'pvvirt setmem SOCKET 128M'\n"
	"  --events FILE                 append its events as JSON, one a line\n"
	"  --strict                      refuse XML with anything that would be ignored\n"
	"  --verbose                     the library's log on stderr\n"
	"  --stats                       its counters on stderr at the end\n"
	"\n"
	"Signals: SIGINT and SIGTERM ask the guest to power off; the second one, or SIGHUP, ends "
	"it.\n"
	"Exit status: 0 powered off, 10 crashed, 11 timed out, 1 ended by a signal, or the host or "
	"the\n"
	"library failed, 2 usage.\n";

struct run {
	const char *xml, *console, *events_path, *executor, *brief_turns, *control_path;
	pvv_domain_options o;
	pvv_disk_options disks[MAX_DISKS];
	char *disk_text[MAX_DISKS];
	struct net_args nets;
	double timeout; /* 0: none */
	int strict, verbose, stats, options_used;

	pvv_host *host;
	pvv_domain *dom;
	struct terminal *term;
	FILE *events;
	struct control control;
	int console_fd, signal_fd, stdin_open, term_is_tty;
	/* On its way: the guest's output, the user's input. The loop waits for room. */
	struct buffer {
		char data[16384];
		size_t at, len;
	} out, in;
	int asked; /* shutdown was asked for */
	int ended, failed, crashed, timed_out, killed;
	char *text; /* why */
	struct timespec deadline;
};

/* FILE[,xvda][,ro] */
static int parse_disk(struct run *r, char *text)
{
	pvv_disk_options d = PVV_DISK_OPTIONS_INIT;
	char *save, *part;

	if (r->o.nr_disks == MAX_DISKS)
		return cli_usage("run", "at most %d disks are possible", MAX_DISKS);
	d.path = strtok_r(text, ",", &save);
	if (!d.path)
		return cli_usage("run", "--disk needs a file");
	while ((part = strtok_r(NULL, ",", &save))) {
		if (!strcmp(part, "ro"))
			d.readonly = 1;
		else if (!strcmp(part, "rw"))
			d.readonly = 0;
		else
			d.target = part;
	}
	r->disks[r->o.nr_disks++] = d;
	return 0;
}

static int parse_number(const char *text, double max, double *ret)
{
	char *end;

	*ret = strtod(text, &end);
	return end != text && !*end && *ret >= 0 && *ret <= max;
}

static int parse_executor(struct run *r, const char *text)
{
	static const char *const names[] = {"auto", "ring3", "kvm"};

	for (uint32_t i = 0; i < 3; i++) {
		if (!strcmp(text, names[i])) {
			r->o.executor = i;
			r->executor = text;
			return 0;
		}
	}
	return cli_usage("run", "'%s' is not an executor (auto, ring3, kvm)", text);
}

static int parse_option(struct run *r, int opt, char *arg)
{
	double n;

	switch (opt) {
	case 'x':
		return parse_executor(r, arg);
	case 'b':
		r->brief_turns = arg;
		if (strcmp(arg, "yes") && strcmp(arg, "no"))
			return cli_usage("run", "--brief-turns '%s' is not yes or no", arg);
		return 0;
	case 't':
		if (!parse_number(arg, 1e9, &r->timeout) || r->timeout <= 0)
			return cli_usage("run", "--timeout '%s' is not a number of seconds", arg);
		return 0;
	case 'c':
		r->console = arg;
		if (strcmp(arg, "stdio") && strcmp(arg, "pty") && strcmp(arg, "null") &&
		    strncmp(arg, "unix:", 5))
			return cli_usage(
				"run", "--console '%s' is not stdio, pty, null or unix:PATH", arg);
		return 0;
	case 'e':
		r->events_path = arg;
		return 0;
	case 'C':
		r->control_path = arg;
		return 0;
	case 's':
		r->strict = 1;
		return 0;
	case 'v':
		r->verbose = 1;
		return 0;
	case 'S':
		r->stats = 1;
		return 0;
	}
	r->options_used = 1;
	switch (opt) {
	case 'k':
		r->o.kernel = arg;
		return 0;
	case 'i':
		r->o.initrd = arg;
		return 0;
	case 'l':
		r->o.cmdline = arg;
		return 0;
	case 'n':
		r->o.name = arg;
		return 0;
	case 'm':
		if (!cli_parse_memory(arg, &r->o.memory))
			return cli_usage("run", "--memory '%s' is not a size (256M, 1G)", arg);
		return 0;
	case 'M':
		if (!cli_parse_memory(arg, &r->o.max_memory))
			return cli_usage("run", "--max-memory '%s' is not a size (256M, 1G)", arg);
		return 0;
	case 'u':
		if (!parse_number(arg, 1e6, &n) || n < 1 || n != (uint32_t)n)
			return cli_usage("run", "--vcpus '%s' is not a number of vCPUs", arg);
		r->o.vcpus = (uint32_t)n;
		return 0;
	case 'd':
		return parse_disk(r, arg);
	case 'N':
		return net_parse_arg(&r->nets, arg);
	case 'r':
		r->o.on_reboot = PVV_ACTION_DESTROY;
		return 0;
	}
	return cli_usage("run", "that option is not known");
}

static int parse(struct run *r, int argc, char **argv)
{
	static const struct option options[] = {
		{"executor", required_argument, NULL, 'x'},
		{"brief-turns", required_argument, NULL, 'b'},
		{"timeout", required_argument, NULL, 't'},
		{"console", required_argument, NULL, 'c'},
		{"events", required_argument, NULL, 'e'},
		{"control", required_argument, NULL, 'C'},
		{"kernel", required_argument, NULL, 'k'},
		{"initrd", required_argument, NULL, 'i'},
		{"cmdline", required_argument, NULL, 'l'},
		{"memory", required_argument, NULL, 'm'},
		{"max-memory", required_argument, NULL, 'M'},
		{"vcpus", required_argument, NULL, 'u'},
		{"disk", required_argument, NULL, 'd'},
		{"net", required_argument, NULL, 'N'},
		{"name", required_argument, NULL, 'n'},
		{"strict", no_argument, NULL, 's'},
		{"verbose", no_argument, NULL, 'v'},
		{"stats", no_argument, NULL, 'S'},
		{"no-reboot", no_argument, NULL, 'r'},

		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int opt, ret;

	while ((opt = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(help, stdout);
			exit(CLI_OK);
		}
		ret = parse_option(r, opt, optarg);
		if (ret)
			return ret;
	}
	if (argc - optind > 1)
		return cli_usage("run", "'%s' is one argument too many", argv[optind + 1]);
	if (argc - optind == 1)
		r->xml = argv[optind];
	if (r->xml && r->options_used)
		return cli_usage("run", "give either DOMAIN.xml or --kernel and its options");
	if (!r->xml && !r->o.kernel)
		return cli_usage("run", "give DOMAIN.xml or --kernel FILE");
	return 0;
}

/* ---- making the domain ---- */

static int set_console(struct run *r)
{
	if (!strcmp(r->console, "stdio"))
		return pvv_domain_open_console(r->dom, 0, PVV_CONSOLE_NONBLOCK, &r->console_fd);
	if (!strcmp(r->console, "pty"))
		return pvv_domain_set_console(r->dom, 0, PVV_CONSOLE_PTY, NULL, 0);
	if (!strcmp(r->console, "null"))
		return pvv_domain_set_console(r->dom, 0, PVV_CONSOLE_NULL, NULL, 0);
	return pvv_domain_set_console(r->dom, 0, PVV_CONSOLE_UNIX, r->console + 5, 0);
}

static int set_brief_turns(struct run *r)
{
	return r->brief_turns && pvv_domain_set_brief_turns(r->dom, !strcmp(r->brief_turns, "yes"),
							    0) < 0
		       ? cli_fail()
		       : 0;
}

static int make_domain(struct run *r)
{
	char *text;
	int ret;

	if (!r->xml) {
		if (!r->o.name)
			r->o.name = "guest";
		r->o.disks = r->disks;
		r->o.interfaces = r->nets.net;
		r->o.nr_interfaces = r->nets.nr;
		return pvv_domain_create(r->host, &r->o, 0, &r->dom) < 0 ? cli_fail()
									 : set_brief_turns(r);
	}
	text = cli_read_file(r->xml);
	if (!text)
		return CLI_ERROR;
	ret = pvv_domain_create_xml(r->host, text, r->strict ? PVV_XML_STRICT : 0, &r->dom);
	free(text);
	if (ret < 0)
		return cli_fail();
	if (r->executor && pvv_domain_set_executor(r->dom, r->o.executor, 0) < 0)
		return cli_fail();
	ret = set_brief_turns(r);
	if (ret)
		return ret;
	if (pvv_domain_get_warnings(r->dom, &text) < 0)
		return cli_fail();
	fputs(text, stderr);
	pvv_free(text);
	return 0;
}

static void log_line(pvv_log_level level, const char *domain, const char *message, void *opaque)
{
	fprintf(stderr, "pvvirt: %s%s%s\n", domain ? domain : "", domain ? ": " : "", message);
}

/* ---- events ---- */

static void json_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			fprintf(f, "\\u%04x", *s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void write_event(struct run *r, const pvv_event *e)
{
	int64_t ns = pvv_event_get_time_ns(e);

	if (!r->events)
		return;
	fprintf(r->events, "{\"time\": %" PRId64 ".%09" PRId64 ", \"event\": ", ns / 1000000000,
		ns % 1000000000);
	json_string(r->events, pvv_event_type_name((int)pvv_event_get_type(e)));
	fprintf(r->events, ", \"detail\": %d, \"domain\": ", pvv_event_get_detail(e));
	json_string(r->events, pvv_event_get_domain_name(e));
	fprintf(r->events, ", \"text\": ");
	json_string(r->events, pvv_event_get_text(e));
	fprintf(r->events, "}\n");
	fflush(r->events);
}

static void on_event(pvv_host *host, const pvv_event *e, void *opaque)
{
	struct run *r = opaque;
	char *path;

	write_event(r, e);
	switch (pvv_event_get_type(e)) {
	case PVV_EVENT_STARTED:
		if (!strcmp(r->console, "pty") &&
		    pvv_domain_get_console_path(r->dom, 0, &path) == 0) {
			fprintf(stderr, "pvvirt: the console of '%s' is %s\n",
				pvv_domain_get_name(r->dom), path);
			pvv_free(path);
		}
		break;
	case PVV_EVENT_CRASHED:
	case PVV_EVENT_IO_ERROR:
		free(r->text);
		r->text = strdup(pvv_event_get_text(e));
		if (pvv_event_get_type(e) == PVV_EVENT_IO_ERROR)
			fprintf(stderr, "pvvirt: %s\n", r->text ? r->text : "");
		break;
	case PVV_EVENT_STOPPED:
		r->ended = 1;
		r->crashed = pvv_event_get_detail(e) == PVV_EVENT_STOPPED_CRASHED;
		r->failed = pvv_event_get_detail(e) == PVV_EVENT_STOPPED_FAILED;
		if (*pvv_event_get_text(e)) {
			free(r->text);
			r->text = strdup(pvv_event_get_text(e));
		}
		break;
	default:
		break;
	}
}

/* ---- the console ---- */

/*
 * As much as there is room for. Pieces of the size that poll() promises: a blocking pipe would
 * keep us for the rest, and the timeout and signals with it. False: nobody is there any more.
 */
static int flush_some(struct buffer *b, int fd)
{
	struct pollfd p = {fd, POLLOUT, 0};

	while (b->len && poll(&p, 1, 0) == 1) {
		ssize_t n = write(fd, b->data + b->at, b->len < PIPE_BUF ? b->len : PIPE_BUF);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 1;
		if (n < 0)
			return 0;
		b->at += (size_t)n;
		b->len -= (size_t)n;
	}
	return 1;
}

/* False at the end of the stream. Only while r->out is empty. */
static int read_console(struct run *r)
{
	ssize_t n = read(r->console_fd, r->out.data, sizeof(r->out.data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n <= 0)
		return 0;
	r->out.at = 0;
	r->out.len = (size_t)n;
	return 1;
}

static void close_console(struct run *r)
{
	if (r->console_fd >= 0)
		close(r->console_fd);
	r->console_fd = -1;
	r->stdin_open = 0;
	r->in.len = 0;
}

static void leave_console(struct run *r)
{
	terminal_end(r->term);
	r->term = NULL;
	close_console(r);
	fprintf(stderr, "\npvvirt: left the console; '%s' runs on. ^C asks it to power off.\n",
		pvv_domain_get_name(r->dom));
}

static void read_stdin(struct run *r)
{
	char buf[1024], *leave;
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		r->stdin_open = 0;
		return;
	}
	leave = memchr(buf, LEAVE, (size_t)n);
	if (leave)
		n = leave - buf;
	/* Typed while the guest does not read: lost, as on a serial line; ^] must still work. */
	if (!r->in.len) {
		memcpy(r->in.data, buf, (size_t)n);
		r->in.at = 0;
		r->in.len = (size_t)n;
		flush_some(&r->in, r->console_fd);
	}
	if (leave)
		leave_console(r);
}

/* ---- the loop ---- */

static void on_signal(struct run *r)
{
	struct signalfd_siginfo si;

	if (read(r->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	/* The terminal is gone: nobody would see it run on, or could ask twice. */
	if (si.ssi_signo != SIGHUP && !r->asked && pvv_domain_shutdown(r->dom, 0) == 0) {
		r->asked = 1;
		fprintf(stderr, "pvvirt: asked '%s' to power off; once more ends it\n",
			pvv_domain_get_name(r->dom));
	} else {
		/* Or it has ended by itself at this very moment. */
		r->killed |= pvv_domain_destroy(r->dom, 0) == 0;
	}
}

static int ms_left(struct run *r)
{
	struct timespec now;
	int64_t ms;

	if (r->timeout <= 0)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (int64_t)(r->deadline.tv_sec - now.tv_sec) * 1000 +
	     (r->deadline.tv_nsec - now.tv_nsec) / 1000000 + 1;
	return ms < 0 ? 0 : ms > 1000000 ? 1000000 : (int)ms;
}

static int timed_out(struct run *r)
{
	if (r->timed_out || ms_left(r) != 0)
		return 0;
	/* It may have ended by itself at this very moment: then the event says how. */
	r->timed_out = pvv_domain_destroy(r->dom, 0) == 0;
	r->timeout = 0;
	return 1;
}

/* False if the program cannot wait any more. */
static int loop(struct run *r)
{
	while (!r->ended) {
		int typing = r->stdin_open && (!r->in.len || r->term_is_tty);
		struct pollfd p[6] = {
			{pvv_host_fd(r->host), POLLIN, 0},
			{r->signal_fd, POLLIN, 0},
			{r->out.len ? -1 : r->console_fd,
			 (short)(POLLIN | (r->in.len ? POLLOUT : 0)), 0},
			{typing ? STDIN_FILENO : -1, POLLIN, 0},
			{r->out.len ? STDOUT_FILENO : -1, POLLOUT, 0},
			{r->control.client < 0 ? r->control.listener : r->control.client, POLLIN,
			 0},
		};

		if (timed_out(r))
			continue;
		if (poll(p, 6, ms_left(r)) < 0) {
			if (errno == EINTR)
				continue;
			return 0;
		}
		/* Output first: it came before whatever the events say. */
		if (p[2].revents & (POLLIN | POLLHUP | POLLERR) && !read_console(r))
			close_console(r);
		if (r->out.len && !flush_some(&r->out, STDOUT_FILENO)) {
			r->out.len = 0;
			close_console(r);
		}
		if (r->in.len && r->console_fd >= 0 && !flush_some(&r->in, r->console_fd))
			r->in.len = 0;
		if (p[3].revents && r->console_fd >= 0)
			read_stdin(r);
		if (p[1].revents)
			on_signal(r);
		if (p[5].revents)
			control_serve(&r->control, r->dom);
		if (p[0].revents)
			pvv_dispatch(r->host, 0);
	}
	return 1;
}

/* What the guest printed last: the library ends the stream behind it. */
static void last_words(struct run *r)
{
	while (r->console_fd >= 0 || r->out.len) {
		struct pollfd p[3] = {
			{r->out.len ? -1 : r->console_fd, POLLIN, 0},
			{r->out.len ? STDOUT_FILENO : -1, POLLOUT, 0},
			{r->signal_fd, POLLIN, 0},
		};

		/* A reader may be slow (a pager): wait, unless somebody wants to leave. */
		int left = r->timeout > 0 ? ms_left(r) : r->timed_out ? 1000 : -1;

		if (poll(p, 3, left) <= 0 || p[2].revents)
			break;
		if (p[0].revents && !read_console(r))
			close_console(r);
		if (r->out.len && !flush_some(&r->out, STDOUT_FILENO))
			break;
	}
}

static int block_signals(struct run *r)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	sigset_t set;

	sigemptyset(&set);
	/* Those that are ignored stay ignored (nohup, background jobs): a signalfd would not. */
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction sa;

		if (sigaction(signals[i], NULL, &sa) == 0 && sa.sa_handler != SIG_IGN)
			sigaddset(&set, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return r->signal_fd;
}

static void print_stats(struct run *r)
{
	pvv_domain_stats s = {.size = sizeof(s)};

	if (pvv_domain_get_stats(r->dom, 0, &s) < 0)
		return;
	fprintf(stderr,
		"cpu time        %" PRIu64 ".%03" PRIu64 " s\n"
		"hypercalls      %" PRIu64 "\n"
		"exceptions      %" PRIu64 "\n"
		"emulated        %" PRIu64 "\n"
		"kicks           %" PRIu64 "\n"
		"sleeps          %" PRIu64 "\n"
		"mappings        %" PRIu64 "\n"
		"events          %" PRIu64 "\n"
		"console         %" PRIu64 " bytes out, %" PRIu64 " in\n"
		"overhead        %" PRIu64 " KiB beyond its RAM\n",
		s.cpu_time_ns / 1000000000, s.cpu_time_ns / 1000000 % 1000, s.hypercalls,
		s.exits_exception, s.exits_emulate, s.exits_kick, s.exits_block, s.page_faults,
		s.events, s.console_out, s.console_in, s.overhead_memory >> 10);
	if (s.brief_turns || s.user_turns)
		fprintf(stderr,
			"brief turns     %" PRIu64 " of programs, interpreted; %" PRIu64
			" by their processes\n",
			s.brief_turns, s.user_turns);
	if (s.cpu_moves)
		fprintf(stderr, "moved           %" PRIu64 " times to an idle processor\n",
			s.cpu_moves);
	if (s.vm_exits)
		fprintf(stderr,
			"VM exits        %" PRIu64 ": %" PRIu64 " I/O, %" PRIu64 " halts, %" PRIu64
			" host interrupts, %" PRIu64 " memory; %" PRIu64 " to the library\n",
			s.vm_exits, s.vm_exits_io, s.vm_exits_halt, s.vm_exits_interrupt,
			s.vm_exits_memory, s.vm_exits_user);
	for (size_t i = 0; i < r->o.nr_disks; i++) {
		char name[8] = {'x', 'v', 'd', (char)('a' + i % 26), 0};
		const char *target = r->disks[i].target ? r->disks[i].target : name;
		pvv_block_stats b = {.size = sizeof(b)};

		if (pvv_domain_get_block_stats(r->dom, target, 0, &b) == 0)
			fprintf(stderr,
				"%-15s %" PRIu64 " reads (%" PRIu64 " bytes), %" PRIu64
				" writes (%" PRIu64 " bytes), %" PRIu64 " flushes, %" PRIu64
				" errors\n",
				target, b.rd_req, b.rd_bytes, b.wr_req, b.wr_bytes, b.flush_req,
				b.errors);
	}
	net_print_stats(stderr, r->dom);
}

static int go(struct run *r)
{
	int ret;

	if (pvv_host_open(0, &r->host) < 0)
		return cli_fail();
	pvv_host_set_event_callback(r->host, on_event, r);
	pvv_host_set_log(r->host, r->verbose ? PVV_LOG_DEBUG : PVV_LOG_WARNING, log_line, r);
	ret = make_domain(r);
	if (ret)
		return ret;
	if (r->events_path) {
		r->events = fopen(r->events_path, "ae");
		if (!r->events) {
			fprintf(stderr, "pvvirt: cannot open '%s': %s\n", r->events_path,
				strerror(errno));
			return CLI_ERROR;
		}
	}
	if (r->control_path && control_open(&r->control, r->control_path))
		return CLI_ERROR;
	if (set_console(r) < 0 || pvv_domain_start(r->dom, 0) < 0)
		return cli_fail();
	if (block_signals(r) < 0) {
		fprintf(stderr, "pvvirt: cannot wait for signals: %s\n", strerror(errno));
		return CLI_ERROR;
	}
	if (r->console_fd >= 0) {
		r->term = terminal_begin();
		r->term_is_tty = isatty(STDIN_FILENO);
		r->stdin_open = 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &r->deadline);
	r->deadline.tv_sec += (time_t)r->timeout;
	r->deadline.tv_nsec += (long)((r->timeout - (double)(time_t)r->timeout) * 1e9);
	int waited = loop(r);
	if (waited)
		last_words(r);
	terminal_end(r->term);
	r->term = NULL;
	if (!waited) {
		fprintf(stderr, "pvvirt: cannot wait for events: %s\n", strerror(errno));
		pvv_domain_destroy(r->dom, 0);
		return CLI_ERROR;
	}
	if (r->stats)
		print_stats(r);
	if (r->timed_out) {
		fprintf(stderr, "pvvirt: '%s' was ended: the time allowed has passed\n",
			pvv_domain_get_name(r->dom));
		return CLI_TIMEOUT;
	}
	if (r->killed) {
		fprintf(stderr, "pvvirt: '%s' was ended before it had powered off\n",
			pvv_domain_get_name(r->dom));
		return CLI_ERROR;
	}
	if (r->crashed || r->failed)
		fprintf(stderr, "pvvirt: '%s' %s: %s\n", pvv_domain_get_name(r->dom),
			r->crashed ? "crashed" : "could not be started", r->text ? r->text : "");
	return r->crashed ? CLI_CRASHED : r->failed ? CLI_ERROR : CLI_OK;
}

int cmd_run(int argc, char **argv)
{
	struct run r = {
		.o = PVV_DOMAIN_OPTIONS_INIT,
		.console = "stdio",
		.console_fd = -1,
		.signal_fd = -1,
		.control = {.listener = -1, .client = -1},
	};
	int ret = parse(&r, argc, argv);

	if (!ret)
		ret = go(&r);
	if (r.console_fd >= 0)
		close(r.console_fd);
	if (r.signal_fd >= 0)
		close(r.signal_fd);
	control_close(&r.control);
	if (r.events)
		fclose(r.events);
	free(r.text);
	pvv_domain_unref(r.dom);
	pvv_host_unref(r.host);
	return ret;
}
