/* SPDX-License-Identifier: MIT */
/*
 * A console connection: after "101 Switching Protocols" the bytes are the guest's, in both
 * directions. Each direction has one buffer; what the other side does not take is not read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"

struct flow {
	char data[16384];
	size_t at, len;
	bool eof;
};

struct relay {
	LIST_ENTRY(relay) list;
	struct keeper *k;
	struct MHD_UpgradeResponseHandle *urh;
	int client, guest;
	sd_event_source *client_src, *guest_src, *close_src;
	struct flow to_client, to_guest;
};

static void relay_close(struct relay *r)
{
	struct keeper *k = r->k;

	LIST_REMOVE(r, list);
	sd_event_source_disable_unref(r->client_src);
	sd_event_source_disable_unref(r->guest_src);
	sd_event_source_disable_unref(r->close_src);
	close(r->guest); /* the guest's console can be opened again */
	MHD_upgrade_action(r->urh, MHD_UPGRADE_ACTION_CLOSE);
	free(r);
	k->consoles--;
	api_run(k);
}

static int on_close(sd_event_source *s, void *opaque)
{
	relay_close(opaque);
	return 0;
}

void consoles_close(struct keeper *k)
{
	struct relay *r;

	while ((r = LIST_FIRST(&k->relays)))
		relay_close(r);
}

/* 0, or -1: that side is gone. */
static int fill(int fd, struct flow *f)
{
	ssize_t n;

	if (f->len || f->eof)
		return 0;
	f->at = 0;
	n = recv(fd, f->data, sizeof(f->data), MSG_DONTWAIT);
	if (n == 0)
		f->eof = true;
	else if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	else
		f->len = (size_t)n;
	return 0;
}

static int drain(int fd, struct flow *f)
{
	while (f->len) {
		ssize_t n = send(fd, f->data + f->at, f->len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		f->at += (size_t)n;
		f->len -= (size_t)n;
	}
	return 0;
}

static uint32_t wanted(const struct flow *in, const struct flow *out)
{
	return (in->len || in->eof ? 0 : EPOLLIN) | (out->len ? EPOLLOUT : 0);
}

static int on_io(sd_event_source *s, int fd, uint32_t events, void *opaque)
{
	struct relay *r = opaque;
	bool gone = fill(r->client, &r->to_guest) < 0;

	if (fill(r->guest, &r->to_client) < 0)
		r->to_client.eof = true;
	if (drain(r->client, &r->to_client) < 0)
		gone = true;
	/* A guest that has ended takes nothing; its last words still go to the client. */
	if (drain(r->guest, &r->to_guest) < 0)
		r->to_guest.len = 0;
	if (gone || r->to_guest.eof || (r->to_client.eof && !r->to_client.len)) {
		sd_event_source_set_enabled(r->client_src, SD_EVENT_OFF);
		sd_event_source_set_enabled(r->guest_src, SD_EVENT_OFF);
		return sd_event_source_set_enabled(r->close_src, SD_EVENT_ONESHOT);
	}
	/* A side that has hung up is ready for ever: it is not looked at until there is room. */
	sd_event_source_set_io_events(r->client_src, wanted(&r->to_guest, &r->to_client));
	sd_event_source_set_io_events(r->guest_src, wanted(&r->to_client, &r->to_guest));
	sd_event_source_set_enabled(r->guest_src, r->to_client.eof ? SD_EVENT_OFF : SD_EVENT_ON);
	return 0;
}

static void on_upgrade(void *opaque, struct MHD_Connection *c, void *req, const char *extra,
		       size_t extra_size, MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	struct relay *r = opaque;

	((struct request *)req)->pending = NULL;
	LIST_INSERT_HEAD(&r->k->relays, r, list);
	r->k->consoles++;
	r->urh = urh;
	r->client = sock;
	if (extra_size > sizeof(r->to_guest.data))
		extra_size = sizeof(r->to_guest.data);
	memcpy(r->to_guest.data, extra, extra_size);
	r->to_guest.len = extra_size;
	if (sd_event_add_defer(r->k->event, &r->close_src, on_close, r) < 0)
		return; /* out of memory: it stays until the end, and does nothing */
	sd_event_source_set_enabled(r->close_src, SD_EVENT_OFF);
	if (sd_event_add_io(r->k->event, &r->client_src, sock, EPOLLIN | EPOLLOUT, on_io, r) < 0 ||
	    sd_event_add_io(r->k->event, &r->guest_src, r->guest, EPOLLIN, on_io, r) < 0)
		sd_event_source_set_enabled(r->close_src, SD_EVENT_ONESHOT);
}

/* The client went away before it was told "101". */
void console_abandon(struct relay *r)
{
	close(r->guest);
	free(r);
}

enum MHD_Result console_attach(struct keeper *k, struct unit *u, struct MHD_Connection *c,
			       struct request *req)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct MHD_Response *response;
	enum MHD_Result ret;

	if (!r)
		return MHD_NO;
	r->k = k;
	if (pvv_domain_open_console(u->dom, 0, PVV_CONSOLE_NONBLOCK, &r->guest) < 0) {
		free(r);
		return MHD_NO; /* the caller says why */
	}
	response = MHD_create_response_for_upgrade(on_upgrade, r);
	if (!response) {
		console_abandon(r);
		return MHD_NO;
	}
	req->pending = r;
	MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, "console");
	ret = MHD_queue_response(c, MHD_HTTP_SWITCHING_PROTOCOLS, response);
	MHD_destroy_response(response);
	return ret;
}
