/* SPDX-License-Identifier: MIT */
/*
 * `pvvirt setmem` and its like: they speak to a `pvvirt run --control PATH` through its socket, a
 * line there ("setmem 134217728") and lines back, of which the last is "ok" or "error WHY". The
 * library needs none of this: it is how this program lets others at the domain it holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"

enum argument { ARG_NONE, ARG_MEMORY, ARG_NUMBER };

static int do_setmem(pvv_domain *dom, uint64_t n, FILE *out)
{
	return pvv_domain_set_memory(dom, n, 0);
}

static int do_setvcpus(pvv_domain *dom, uint64_t n, FILE *out)
{
	return pvv_domain_set_vcpus(dom, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n, 0);
}

static int do_pause(pvv_domain *dom, uint64_t n, FILE *out)
{
	return pvv_domain_pause(dom, 0);
}

static int do_resume(pvv_domain *dom, uint64_t n, FILE *out)
{
	return pvv_domain_resume(dom, 0);
}

static int do_shutdown(pvv_domain *dom, uint64_t n, FILE *out)
{
	return pvv_domain_shutdown(dom, 0);
}

static int do_reboot(pvv_domain *dom, uint64_t n, FILE *out)
{
	return pvv_domain_reboot(dom, 0);
}

static int do_destroy(pvv_domain *dom, uint64_t n, FILE *out)
{
	return pvv_domain_destroy(dom, 0);
}

static int do_info(pvv_domain *dom, uint64_t n, FILE *out)
{
	static const char *const states[] = {"no state", "running",  "idle",   "paused",
					     "ending",	 "shut off", "crashed"};
	pvv_domain_info i = {.size = sizeof(i)};
	int ret = pvv_domain_get_info(dom, &i);

	if (ret < 0)
		return ret;
	fprintf(out,
		"name %s\nstate %s\nmemory %" PRIu64 " of %" PRIu64 " MiB\nvcpus %u of %u\n"
		"cpu time %" PRIu64 ".%03" PRIu64 " s\n",
		pvv_domain_get_name(dom),
		(unsigned int)i.state < sizeof(states) / sizeof(states[0]) ? states[i.state] : "?",
		i.memory >> 20, i.max_memory >> 20, i.vcpus, i.max_vcpus,
		i.cpu_time_ns / 1000000000, i.cpu_time_ns / 1000000 % 1000);
	return 0;
}

static const struct verb {
	const char *name;
	enum argument argument;
	int (*fn)(pvv_domain *dom, uint64_t n, FILE *out);
	const char *help;
} verbs[] = {
	{"setmem", ARG_MEMORY, do_setmem, "ask the guest to have this much memory (256M)"},
	{"setvcpus", ARG_NUMBER, do_setvcpus, "ask the guest to use so many vCPUs"},
	{"pause", ARG_NONE, do_pause, "stop it"},
	{"resume", ARG_NONE, do_resume, "let it go on"},
	{"shutdown", ARG_NONE, do_shutdown, "ask the guest to power off"},
	{"reboot", ARG_NONE, do_reboot, "ask the guest to reboot"},
	{"destroy", ARG_NONE, do_destroy, "end it at once"},
	{"info", ARG_NONE, do_info, "its state, memory and vCPUs"},
};

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static int address(const char *path, struct sockaddr_un *addr)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(addr->sun_path)) {
		fprintf(stderr, "pvvirt: '%s' is too long for a socket (%zu bytes)\n", path,
			sizeof(addr->sun_path) - 1);
		return -1;
	}
	strcpy(addr->sun_path, path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* ---- the side of `pvvirt run` ---- */

int control_open(struct control *c, const char *path)
{
	struct sockaddr_un addr;
	struct stat st;

	c->listener = address(path, &addr);
	if (c->listener < 0)
		return CLI_ERROR;
	/* A socket nobody answers at is a leftover of a program that was killed. */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(c->listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 &&
	    errno == ECONNREFUSED)
		unlink(path);
	close(c->listener);
	c->listener = address(path, &addr);
	fchmod(c->listener, 0600); /* what the name will get, whatever the umask */
	if (bind(c->listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(c->listener, 4) < 0) {
		fprintf(stderr, "pvvirt: cannot listen at '%s': %s\n", path, strerror(errno));
		return CLI_ERROR;
	}
	c->path = path;
	return 0;
}

void control_close(struct control *c)
{
	if (c->path)
		unlink(c->path);
	if (c->client >= 0)
		close(c->client);
	if (c->listener >= 0)
		close(c->listener);
	c->listener = c->client = -1;
	c->path = NULL;
}

static void answer(int fd, pvv_domain *dom, const char *line)
{
	char *text = NULL, word[16];
	size_t len;
	uint64_t n = 0;
	FILE *out = open_memstream(&text, &len);
	const struct verb *v;

	if (!out)
		return;
	int words = sscanf(line, "%15s %" SCNu64, word, &n);
	v = words > 0 ? find(word) : NULL;
	if (!v || (v->argument != ARG_NONE) != (words == 2))
		fprintf(out, "error '%s' is not a command\n", line);
	else if (v->fn(dom, n, out) < 0)
		fprintf(out, "error %s\n", pvv_error_get_message(pvv_error_last()));
	else
		fprintf(out, "ok\n");
	/* Shorter than any socket's buffer; who does not read it has it lost. */
	if (fclose(out) == 0 && send(fd, text, len, MSG_NOSIGNAL) < 0)
		fprintf(stderr, "pvvirt: cannot answer at the control socket: %s\n",
			strerror(errno));
	free(text);
}

void control_serve(struct control *c, pvv_domain *dom)
{
	ssize_t n;
	char *end;

	if (c->client < 0) {
		c->client = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		c->len = 0;
		return;
	}
	n = read(c->client, c->line + c->len, sizeof(c->line) - 1 - c->len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		c->len += (size_t)n;
		c->line[c->len] = '\0';
		end = strchr(c->line, '\n');
		if (!end && c->len < sizeof(c->line) - 1)
			return;
		if (end)
			*end = '\0';
		answer(c->client, dom, c->line);
	}
	close(c->client);
	c->client = -1;
}

/* ---- the other side ---- */

static int usage(const struct verb *v)
{
	printf("Usage: pvvirt %s SOCKET%s\n\n%s: of the domain whose 'pvvirt run' was given "
	       "--control "
	       "SOCKET.\n",
	       v->name,
	       v->argument == ARG_MEMORY   ? " SIZE"
	       : v->argument == ARG_NUMBER ? " NUMBER"
					   : "",
	       v->help);
	return CLI_OK;
}

/* Prints the lines of the answer; the last one says how it went. */
static int print_answer(FILE *in)
{
	char line[1024] = "";

	while (fgets(line, sizeof(line), in)) {
		if (!strcmp(line, "ok\n"))
			return CLI_OK;
		if (!strncmp(line, "error ", 6)) {
			fprintf(stderr, "pvvirt: %s", line + 6);
			return CLI_ERROR;
		}
		fputs(line, stdout);
	}
	fprintf(stderr, "pvvirt: no answer; has the domain ended?\n");
	return CLI_ERROR;
}

static int ask(const char *path, const char *request)
{
	struct sockaddr_un addr;
	int fd = address(path, &addr);
	size_t len = strlen(request);
	FILE *in;

	if (fd < 0)
		return CLI_ERROR;
	/* A socket of one's own machine connects at once or not at all. */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		fprintf(stderr, "pvvirt: cannot connect to '%s': %s\n", path, strerror(errno));
		close(fd);
		return CLI_ERROR;
	}
	fcntl(fd, F_SETFL, 0);
	if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len || !(in = fdopen(fd, "r"))) {
		fprintf(stderr, "pvvirt: cannot write to '%s': %s\n", path, strerror(errno));
		close(fd);
		return CLI_ERROR;
	}
	int ret = print_answer(in);
	fclose(in);
	return ret;
}

int cmd_control(int argc, char **argv)
{
	const struct verb *v = find(argv[0]);
	uint64_t n = 0;
	char request[64], *end = NULL;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return usage(v);
	if (argc != (v->argument == ARG_NONE ? 2 : 3))
		return cli_usage(v->name, "give the control socket%s",
				 v->argument == ARG_NONE ? "" : " and a number");
	if (v->argument == ARG_MEMORY && !cli_parse_memory(argv[2], &n))
		return cli_usage(v->name, "'%s' is not a size (256M, 1G)", argv[2]);
	if (v->argument == ARG_NUMBER) {
		n = strtoull(argv[2], &end, 10);
		if (*end || argv[2][0] < '0' || argv[2][0] > '9')
			return cli_usage(v->name, "'%s' is not a number", argv[2]);
	}
	if (v->argument == ARG_NONE)
		snprintf(request, sizeof(request), "%s\n", v->name);
	else
		snprintf(request, sizeof(request), "%s %" PRIu64 "\n", v->name, n);
	return ask(argv[1], request);
}
