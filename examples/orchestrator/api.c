/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 and JSON on a Unix socket. libmicrohttpd parses and has an epoll descriptor of its own;
 * we run it when that is readable or its timeout has come: still one thread, and no lock.
 *
 *	GET  /v1/domains			all, one object each
 *	GET  /v1/domains/NAME			one, with its counters
 *	POST /v1/domains/NAME/start		202, or 409 when it cannot be
 *	POST /v1/domains/NAME/stop[?force=1]
 *	POST /v1/domains/NAME/restart
 *	GET  /v1/domains/NAME/console		Upgrade: console
 *	GET  /healthz /readyz /metrics
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "keeper.h"

/* Takes over `text`, which was allocated. */
static enum MHD_Result answer(struct MHD_Connection *c, unsigned int status, const char *type,
			      char *text, size_t len)
{
	struct MHD_Response *r = NULL;
	enum MHD_Result ret;

	if (text)
		r = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(text);
		return MHD_NO; /* closes the connection */
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	ret = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ret;
}

static enum MHD_Result answer_json(struct MHD_Connection *c, unsigned int status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;

	json_decref(json);
	return answer(c, status, "application/json", text, text ? strlen(text) : 0);
}

static enum MHD_Result fail(struct MHD_Connection *c, unsigned int status, const char *why)
{
	return answer_json(c, status, json_pack("{s:s}", "error", why));
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned int status, const char *text)
{
	char *copy = strdup(text);

	return answer(c, status, "text/plain; charset=utf-8", copy, strlen(text));
}

/* ---- domains as JSON */

static json_t *describe(struct unit *u)
{
	uint64_t up = unit_is_active(u) && u->started_us ? now_us() - u->started_us : 0;
	pvv_domain_info info = {.size = sizeof(info), .id = -1};

	if (u->dom)
		pvv_domain_get_info(u->dom, &info);
	return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:f, s:f}", "name", u->name, "state",
			 unit_state_names[u->state], "error", u->error, "id", (int)info.id,
			 "memory", (json_int_t)info.memory, "overhead",
			 (json_int_t)info.overhead_memory, "restarts", (json_int_t)u->restarts,
			 "cpu_seconds", (double)info.cpu_time_ns / 1e9, "up_seconds",
			 (double)up / 1e6);
}

static json_t *counters(struct unit *u)
{
	pvv_domain_stats s = {.size = sizeof(s)};
	json_t *disks = json_object();

	if (u->dom)
		pvv_domain_get_stats(u->dom, 0, &s);
	for (unsigned int i = 0; i < u->spec.nr_disks && u->dom; i++) {
		pvv_block_stats b = {.size = sizeof(b)};

		if (pvv_domain_get_block_stats(u->dom, u->spec.disks[i], 0, &b) < 0)
			continue;
		json_object_set_new(
			disks, u->spec.disks[i],
			json_pack("{s:I, s:I, s:I, s:I}", "read_bytes", (json_int_t)b.rd_bytes,
				  "written_bytes", (json_int_t)b.wr_bytes, "flushes",
				  (json_int_t)b.flush_req, "errors", (json_int_t)b.errors));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "hypercalls",
			 (json_int_t)s.hypercalls, "exceptions", (json_int_t)s.exits_exception,
			 "page_faults", (json_int_t)s.page_faults, "events", (json_int_t)s.events,
			 "console_out", (json_int_t)s.console_out, "console_in",
			 (json_int_t)s.console_in, "disks", disks);
}

static enum MHD_Result list(struct keeper *k, struct MHD_Connection *c)
{
	json_t *all = json_array();
	struct unit *u;

	LIST_FOREACH(u, &k->units, list)
	json_array_append_new(all, describe(u));
	return answer_json(c, MHD_HTTP_OK, all);
}

/* ---- verbs */

static enum MHD_Result console(struct keeper *k, struct unit *u, struct MHD_Connection *c,
			       struct request *req)
{
	const char *upgrade =
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_UPGRADE);

	if (!upgrade || strcmp(upgrade, "console"))
		return fail(c, MHD_HTTP_UPGRADE_REQUIRED, "a console needs 'Upgrade: console'");
	if (!u->dom || !unit_is_active(u))
		return fail(c, MHD_HTTP_CONFLICT, "the domain does not run");
	if (console_attach(k, u, c, req) == MHD_NO)
		return fail(c, MHD_HTTP_CONFLICT, pvv_error_get_message(pvv_error_last()));
	return MHD_YES;
}

static enum MHD_Result verb(struct keeper *k, struct unit *u, const char *what,
			    struct MHD_Connection *c)
{
	const char *force = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "force");

	if (k->draining)
		return fail(c, MHD_HTTP_SERVICE_UNAVAILABLE, "keeperd is shutting down");
	if (u->state == UNIT_INVALID)
		return fail(c, MHD_HTTP_CONFLICT, u->error);
	if (!strcmp(what, "start"))
		unit_start(u);
	else if (!strcmp(what, "stop") && u->removed)
		return fail(c, MHD_HTTP_CONFLICT, "it is being removed");
	else if (!strcmp(what, "stop"))
		unit_stop(u, force && !strcmp(force, "1"));
	else if (!strcmp(what, "restart") && !u->removed)
		unit_restart(u);
	else
		return fail(c, MHD_HTTP_NOT_FOUND, "no such verb (start, stop, restart)");
	return answer_json(c, MHD_HTTP_ACCEPTED, describe(u));
}

static enum MHD_Result on_domain(struct keeper *k, const char *path, bool post,
				 struct MHD_Connection *c, struct request *req)
{
	char name[NAME_MAX_LEN + 1];
	size_t len = strcspn(path, "/");
	const char *what = path[len] ? path + len + 1 : "";
	struct unit *u = NULL;
	json_t *json;

	if (len <= NAME_MAX_LEN) {
		memcpy(name, path, len);
		name[len] = '\0';
		u = unit_find(k, name);
	}
	if (!u || (u->removed && post))
		return fail(c, MHD_HTTP_NOT_FOUND, "no such domain");
	if (post)
		return verb(k, u, what, c);
	if (!strcmp(what, "console"))
		return console(k, u, c, req);
	if (*what)
		return fail(c, MHD_HTTP_NOT_FOUND, "nothing here (console)");
	json = describe(u);
	json_object_set_new(json, "counters", counters(u));
	return answer_json(c, MHD_HTTP_OK, json);
}

static enum MHD_Result ready(struct keeper *k, struct MHD_Connection *c)
{
	if (k->draining)
		return say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "draining\n");
	if (!TAILQ_EMPTY(&k->queue))
		return say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "starting domains\n");
	return say(c, MHD_HTTP_OK, "ok\n");
}

static enum MHD_Result on_get(struct keeper *k, const char *path, struct MHD_Connection *c)
{
	size_t len = 0;
	char *text;

	if (!strcmp(path, "/v1/domains"))
		return list(k, c);
	if (!strcmp(path, "/healthz")) /* the loop turns */
		return say(c, MHD_HTTP_OK, "ok\n");
	if (!strcmp(path, "/readyz"))
		return ready(k, c);
	if (!strcmp(path, "/metrics")) {
		text = metrics_text(k, &len);
		return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text,
			      len);
	}
	return fail(c, MHD_HTTP_NOT_FOUND,
		    "nothing here (/v1/domains, /healthz, /readyz, /metrics)");
}

static enum MHD_Result on_request(void *opaque, struct MHD_Connection *c, const char *path,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **req)
{
	static const char prefix[] = "/v1/domains/";
	bool post = !strcmp(method, MHD_HTTP_METHOD_POST);
	struct keeper *k = opaque;

	if (!*req) { /* the headers are here; a body may follow, which nothing needs */
		*req = calloc(1, sizeof(struct request));
		return *req ? MHD_YES : MHD_NO;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (!post && strcmp(method, MHD_HTTP_METHOD_GET))
		return fail(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or POST");
	if (!strncmp(path, prefix, sizeof(prefix) - 1))
		return on_domain(k, path + sizeof(prefix) - 1, post, c, *req);
	return post ? fail(c, MHD_HTTP_NOT_FOUND, "nothing here to POST to") : on_get(k, path, c);
}

static void on_completed(void *opaque, struct MHD_Connection *c, void **req,
			 enum MHD_RequestTerminationCode code)
{
	struct request *r = *req;

	if (r && r->pending)
		console_abandon(r->pending);
	free(r);
	*req = NULL;
}

/* ---- libmicrohttpd in our loop */

static int on_http_timer(sd_event_source *s, uint64_t usec, void *opaque)
{
	api_run(opaque);
	return 0;
}

void api_run(struct keeper *k)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(k->http);
	if (MHD_get_timeout(k->http, &ms) != MHD_YES) {
		sd_event_source_set_enabled(k->http_timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time_relative(k->http_timer, ms * 1000);
	sd_event_source_set_enabled(k->http_timer, SD_EVENT_ONESHOT);
}

static int on_http(sd_event_source *s, int fd, uint32_t events, void *opaque)
{
	api_run(opaque);
	return 0;
}

static int fail_errno(int fd, int error)
{
	close(fd);
	errno = error;
	return -1;
}

/* From systemd (a .socket unit), or made here: 0660, so that a group may be let in. */
static int listening(struct keeper *k)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	mode_t old;
	int fd, ret;

	if (sd_listen_fds(1) > 0)
		return SD_LISTEN_FDS_START;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (strlen(k->socket) >= sizeof(sa.sun_path))
		return fail_errno(fd, ENAMETOOLONG);
	strcpy(sa.sun_path, k->socket);
	/* Is somebody there? Two keepers of one fleet would be worse than none. */
	if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return fail_errno(fd, EADDRINUSE);
	unlink(k->socket);
	k->own_socket = true;
	old = umask(0117);
	ret = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(old);
	if (ret < 0 || listen(fd, 64) < 0)
		return fail_errno(fd, errno);
	return fd;
}

int api_start(struct keeper *k)
{
	int fd = listening(k), ret;

	if (fd < 0) {
		LOG(SD_ERR, "%s: %s", k->socket, strerror(errno));
		return -1;
	}
	k->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_UPGRADE, 0, NULL, NULL, on_request, k,
				   MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, 256u,
				   MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_NOTIFY_COMPLETED,
				   on_completed, k, MHD_OPTION_END);
	if (!k->http) {
		LOG(SD_ERR, "libmicrohttpd does not start");
		close(fd);
		return -1;
	}
	ret = sd_event_add_time_relative(k->event, &k->http_timer, CLOCK_MONOTONIC, 0, 0,
					 on_http_timer, k);
	if (ret >= 0)
		ret = sd_event_add_io(
			k->event, NULL,
			MHD_get_daemon_info(k->http, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, EPOLLIN,
			on_http, k);
	return ret;
}

void api_stop(struct keeper *k)
{
	consoles_close(k);
	MHD_stop_daemon(k->http);
	if (k->own_socket)
		unlink(k->socket);
}
