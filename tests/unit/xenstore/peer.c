/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fake_guest.h"
#include "peer.h"

void pump(struct io_loop *loop)
{
	io_loop_quit(loop);
	io_loop_run(loop);
}

void peer_open(struct peer *p, struct io_loop *loop, struct xs_store *store, unsigned int domid)
{
	char name[32];
	void *page;

	memset(p, 0, sizeof(*p));
	snprintf(name, sizeof(name), "guest%u", domid);
	p->loop = loop;
	p->store = store;
	p->guest = fake_guest_new(domid, name, 1);
	fake_use_loop(p->guest, loop);
	struct xs_domain_info info = {
		.domid = domid,
		.name = name,
		.memory_kib = 65536,
		.max_memory_kib = 131072,
		.vcpus = 1,
		.max_vcpus = 2,
		.store_mfn = 100,
		.store_port = PEER_PORT,
		.console_mfn = 101,
		.console_port = 4,
	};
	assert_int_equal(xs_domain_write(store, &info), 0);
	assert_int_equal(io_frame_map(p->guest, 0, &page), 0);
	p->page = page;
	assert_int_equal(xs_conn_new(store, p->guest, page, PEER_PORT, &p->conn), 0);
	pump(loop);
}

void peer_close(struct peer *p)
{
	unsigned int domid = io_guest_domid(p->guest);

	xs_conn_free(p->conn);
	xs_domain_erase(p->store, domid);
	xs_domain_release(p->store, domid);
	fake_guest_free(p->guest);
	pump(p->loop);
}

bool peer_push(struct peer *p, const void *data, size_t len)
{
	struct xenstore_domain_interface *page = p->page;
	const char *src = data;

	for (int idle = 0; len && idle < 10;) {
		uint32_t prod = page->req_prod;
		uint32_t room = XENSTORE_RING_SIZE - (prod - page->req_cons);

		if (room == 0) {
			pump(p->loop);
			idle++;
			continue;
		}
		idle = 0;
		page->req[MASK_XENSTORE_IDX(prod)] = *src++;
		page->req_prod = prod + 1;
		if (--len == 0 || room == 1)
			fake_raise(p->guest, PEER_PORT);
	}
	return len == 0;
}

static bool pull_bytes(struct peer *p, void *dst, size_t len)
{
	struct xenstore_domain_interface *page = p->page;
	char *out = dst;

	for (int idle = 0; len && idle < 10;) {
		uint32_t cons = page->rsp_cons;

		if (cons == page->rsp_prod) {
			fake_raise(p->guest, PEER_PORT);
			pump(p->loop);
			idle++;
			continue;
		}
		idle = 0;
		*out++ = page->rsp[MASK_XENSTORE_IDX(cons)];
		page->rsp_cons = cons + 1;
		len--;
	}
	return len == 0;
}

bool peer_pull(struct peer *p, struct message_in *m)
{
	if (!pull_bytes(p, &m->hdr, sizeof(m->hdr)))
		return false;
	assert_true(m->hdr.len <= XENSTORE_PAYLOAD_MAX);
	assert_true(pull_bytes(p, m->payload, m->hdr.len));
	m->payload[m->hdr.len] = '\0';
	return true;
}

static void keep_event(struct peer *p, const struct message_in *m)
{
	assert_int_equal(m->hdr.req_id, 0);
	assert_int_equal(m->hdr.tx_id, 0);
	assert_true(p->nr_events < sizeof(p->events) / sizeof(p->events[0]));
	p->events[p->nr_events++] = *m;
}

void peer_request(struct peer *p, uint32_t type, uint32_t tx, const void *payload, size_t len,
		  struct message_in *reply)
{
	struct xsd_sockmsg hdr = {
		.type = type, .req_id = ++p->next_req, .tx_id = tx, .len = (uint32_t)len};

	assert_true(peer_push(p, &hdr, sizeof(hdr)));
	assert_true(peer_push(p, payload, len));
	for (;;) {
		assert_true(peer_pull(p, reply));
		if (reply->hdr.type != XS_WATCH_EVENT)
			break;
		keep_event(p, reply);
	}
	assert_int_equal(reply->hdr.req_id, p->next_req);
	assert_int_equal(reply->hdr.tx_id, tx);
	assert_true(reply->hdr.type == type || reply->hdr.type == XS_ERROR);
}

bool peer_event(struct peer *p, struct message_in *m)
{
	if (p->nr_events) {
		*m = p->events[0];
		memmove(p->events, p->events + 1, --p->nr_events * sizeof(p->events[0]));
		return true;
	}
	if (!peer_pull(p, m))
		return false;
	assert_int_equal(m->hdr.type, XS_WATCH_EVENT);
	assert_int_equal(m->hdr.req_id, 0);
	assert_int_equal(m->hdr.tx_id, 0);
	return true;
}

const char *peer_do(struct peer *p, uint32_t type, uint32_t tx, const char *payload, size_t len)
{
	static struct message_in m;

	peer_request(p, type, tx, payload, len, &m);
	return m.hdr.type == XS_ERROR ? m.payload : "";
}
