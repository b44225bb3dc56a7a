/* SPDX-License-Identifier: MIT */
/* keeperctl: a client of keeperd's HTTP interface. curl --unix-socket does the same by hand. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>

static const char help[] = "Usage: keeperctl [--socket PATH] [--wait SECONDS] COMMAND\n"
			   "\n"
			   "  list                 the domains\n"
			   "  show NAME            one of them, with counters, as JSON\n"
			   "  start NAME           start it, or end its back-off\n"
			   "  stop [--force] NAME  ask it to power off; with --force, end it\n"
			   "  restart NAME\n"
			   "  console NAME         its console; ^] leaves\n"
			   "  metrics, health\n"
			   "\n"
			   "--wait: until it runs (start, restart) or has stopped (stop).\n"
			   "Exit status: 0, 1 refused or failed, 2 usage, 3 not within --wait.\n";

struct text {
	char *data;
	size_t len;
};

static const char *sock = "/run/keeper/keeper.sock";
static double wait_for;

static size_t collect(char *data, size_t size, size_t n, void *opaque)
{
	struct text *t = opaque;
	char *more = realloc(t->data, t->len + size * n + 1);

	if (!more)
		return 0;
	t->data = more;
	memcpy(t->data + t->len, data, size * n);
	t->len += size * n;
	t->data[t->len] = '\0';
	return size * n;
}

static void no_connection(CURLcode why)
{
	fprintf(stderr, "keeperctl: %s: %s%s\n", sock, curl_easy_strerror(why),
		why == CURLE_COULDNT_CONNECT ? " (is keeperd running, and may you use its socket?)"
					     : "");
}

/* The HTTP status, or 0 with a message; text->data is to be freed. */
static long request(int post, const char *path, struct text *text)
{
	CURL *curl = curl_easy_init();
	char url[512];
	long status = 0;
	CURLcode ret;

	memset(text, 0, sizeof(*text));
	snprintf(url, sizeof(url), "http://keeper%s", path);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, sock);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, text);
	if (post)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	ret = curl_easy_perform(curl);
	if (ret == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	else
		no_connection(ret);
	curl_easy_cleanup(curl);
	return status;
}

/* What an answer says is wrong. */
static void refused(json_t *json)
{
	const char *why = json_string_value(json_object_get(json, "error"));

	fprintf(stderr, "keeperctl: %s\n", why ? why : "the answer makes no sense");
	json_decref(json);
}

/* Parses an answer; prints its error if it is one. */
static json_t *ask(int post, const char *path)
{
	struct text text;
	long status = request(post, path, &text);
	json_t *json = status ? json_loads(text.data ? text.data : "", 0, NULL) : NULL;

	free(text.data);
	if (status && (status >= 300 || !json)) {
		refused(json);
		return NULL;
	}
	return json;
}

static const char *str(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static int by_name(const void *a, const void *b)
{
	return strcmp(str(*(json_t *const *)a, "name"), str(*(json_t *const *)b, "name"));
}

static int list(void)
{
	json_t *all = ask(0, "/v1/domains"), **sorted;
	size_t n = json_array_size(all);

	sorted = all ? calloc(n + 1, sizeof(json_t *)) : NULL;
	if (!sorted)
		return 1;
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(all, i);
	qsort(sorted, n, sizeof(json_t *), by_name);
	printf("%-24s %-9s %8s %8s %8s  %s\n", "NAME", "STATE", "UP s", "CPU s", "RESTARTS",
	       "LAST ERROR");
	for (size_t i = 0; i < n; i++)
		printf("%-24s %-9s %8.0f %8.1f %8lld  %s\n", str(sorted[i], "name"),
		       str(sorted[i], "state"),
		       json_number_value(json_object_get(sorted[i], "up_seconds")),
		       json_number_value(json_object_get(sorted[i], "cpu_seconds")),
		       (long long)json_integer_value(json_object_get(sorted[i], "restarts")),
		       str(sorted[i], "error"));
	free(sorted);
	json_decref(all);
	return 0;
}

static int plain(const char *path)
{
	struct text text;
	long status = request(0, path, &text);

	fputs(text.data ? text.data : "", stdout);
	free(text.data);
	return status != 200;
}

static int show(const char *name)
{
	char path[256];
	json_t *json;

	snprintf(path, sizeof(path), "/v1/domains/%s", name);
	json = ask(0, path);
	if (!json)
		return 1;
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(json);
	return 0;
}

static int verb(const char *name, const char *what, int force)
{
	const char *until = strcmp(what, "stop") ? "running" : "stopped";
	char path[256];
	json_t *json;

	snprintf(path, sizeof(path), "/v1/domains/%s/%s%s", name, what, force ? "?force=1" : "");
	json = ask(1, path);
	snprintf(path, sizeof(path), "/v1/domains/%s", name);
	for (double t = 0; json && wait_for > 0 && strcmp(str(json, "state"), until); t += 0.05) {
		if (t > wait_for) {
			fprintf(stderr, "keeperctl: %s is still %s\n", name, str(json, "state"));
			json_decref(json);
			return 3;
		}
		usleep(50000);
		json_decref(json);
		json = ask(0, path);
	}
	if (!json)
		return 1;
	printf("%s: %s\n", name, str(json, "state"));
	json_decref(json);
	return 0;
}

/* ---- console */

static struct termios saved;

static void restore_terminal(void)
{
	tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

static void make_terminal_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	atexit(restore_terminal);
	raw = saved;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static int send_all(CURL *curl, const char *data, size_t len)
{
	while (len) {
		size_t n = 0;
		CURLcode ret = curl_easy_send(curl, data, len, &n);

		if (ret == CURLE_AGAIN)
			usleep(1000);
		else if (ret != CURLE_OK)
			return -1;
		data += n;
		len -= n;
	}
	return 0;
}

/* Waits for the descriptor, then receives: 0 is the end. */
static ssize_t receive(CURL *curl, int fd, char *buf, size_t size)
{
	struct pollfd p = {fd, POLLIN, 0};
	CURLcode ret;
	size_t n = 0;

	while ((ret = curl_easy_recv(curl, buf, size, &n)) == CURLE_AGAIN)
		poll(&p, 1, -1);
	return ret == CURLE_OK ? (ssize_t)n : 0;
}

/* Reads the answer's header, byte by byte: what follows it is the guest's. */
static int upgraded(CURL *curl, int fd)
{
	char head[4096] = "";
	size_t n = 0;

	while (n < sizeof(head) - 1 && !strstr(head, "\r\n\r\n") && receive(curl, fd, head + n, 1))
		head[++n] = '\0';
	if (!strncmp(head, "HTTP/1.1 101", 12))
		return 1;
	n = (size_t)receive(curl, fd, head, sizeof(head) - 1);
	refused(json_loadb(head, n, 0, NULL));
	return 0;
}

/* Until the guest ends or ^] is typed; the end of the input alone does not end it. */
static void relay(CURL *curl, int fd)
{
	struct pollfd p[] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
	char buf[4096];
	ssize_t n;

	while (poll(p, 2, -1) > 0 || errno == EINTR) {
		if (p[0].revents) {
			n = receive(curl, fd, buf, sizeof(buf));
			if (n <= 0 || write(STDOUT_FILENO, buf, (size_t)n) != n)
				return;
		}
		if (p[1].revents) {
			n = read(STDIN_FILENO, buf, sizeof(buf));
			if (n <= 0)
				p[1].fd = -1;
			else if (memchr(buf, 0x1d, (size_t)n) || send_all(curl, buf, (size_t)n) < 0)
				return;
		}
	}
}

static int console(const char *name)
{
	CURL *curl = curl_easy_init();
	curl_socket_t fd = -1;
	char req[512];
	int ret = 1;
	CURLcode rc;

	signal(SIGPIPE, SIG_IGN);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, sock);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_URL, "http://keeper/");
	curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L); /* then the socket is ours */
	snprintf(req, sizeof(req),
		 "GET /v1/domains/%s/console HTTP/1.1\r\nHost: keeper\r\nConnection: Upgrade\r\n"
		 "Upgrade: console\r\n\r\n",
		 name);
	rc = curl_easy_perform(curl);
	if (rc == CURLE_OK)
		rc = curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd);
	if (rc != CURLE_OK) {
		no_connection(rc);
	} else if (!send_all(curl, req, strlen(req)) && upgraded(curl, fd)) {
		make_terminal_raw();
		relay(curl, fd);
		ret = 0;
	}
	curl_easy_cleanup(curl);
	return ret;
}

static int command(int argc, char **argv, int force)
{
	const char *what = argc > 0 ? argv[0] : "";

	if (argc == 1 && !strcmp(what, "list"))
		return list();
	if (argc == 1 && !strcmp(what, "metrics"))
		return plain("/metrics");
	if (argc == 1 && !strcmp(what, "health"))
		return plain("/healthz");
	if (argc == 2 && !strcmp(what, "show"))
		return show(argv[1]);
	if (argc == 2 && !strcmp(what, "console"))
		return console(argv[1]);
	if (argc == 2 &&
	    (!strcmp(what, "start") || !strcmp(what, "stop") || !strcmp(what, "restart")))
		return verb(argv[1], what, force);
	fputs(help, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"wait", required_argument, NULL, 'w'},
		{"force", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt, force = 0;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (opt == 's') {
			sock = optarg;
		} else if (opt == 'w') {
			wait_for = atof(optarg);
		} else if (opt == 'f') {
			force = 1;
		} else {
			fputs(help, opt == 'h' ? stdout : stderr);
			return opt == 'h' ? 0 : 2;
		}
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return command(argc - optind, argv + optind, force);
}
