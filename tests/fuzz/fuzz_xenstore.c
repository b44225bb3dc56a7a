/* SPDX-License-Identifier: MIT */
/*
 * Two guests that speak to xenstore, as the input says: requests, raw bytes, lies about indices,
 * replies left unread, reconnections, and changes by domain 0 in between. Whatever they do, the
 * store must stay within their quotas and be empty when they are gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_guest.h"
#include "io/xenstore/internal.h"

#define PORT 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct front {
	struct io_guest *guest;
	struct xs_conn *conn;
	struct xenstore_domain_interface *page;
	bool deaf; /* does not read its replies */
};

struct world {
	struct io_loop *loop;
	struct xs_store *store;
	struct front fronts[2];
	const uint8_t *data;
	size_t size;
};

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "fuzz_xenstore: %s\n", what);
	abort();
}

static unsigned int next_byte(struct world *w)
{
	if (!w->size)
		return 0;
	w->size--;
	return *w->data++;
}

static void pump(struct world *w)
{
	io_loop_quit(w->loop);
	io_loop_run(w->loop);
}

static void open_front(struct world *w, int i)
{
	struct front *f = &w->fronts[i];
	unsigned int domid = 5u + (unsigned int)i;
	char path[64];

	/* Not the whole layout: it would take more time than most inputs. */
	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	check(xs_mkdir_perms(w->store, path, "n0 r%u", domid) == 0, "no home");
	check(xs_put(w->store, path, "name", "g") == 0, "no name");
	snprintf(path, sizeof(path), "/local/domain/%u/data", domid);
	check(xs_mkdir_perms(w->store, path, "n%u", domid) == 0, "no data");
	snprintf(path, sizeof(path), "/local/domain/%u/device/vbd", domid);
	check(xs_mkdir_perms(w->store, path, "n%u r0", domid) == 0, "no device");
	f->guest = fake_guest_new(domid, "g", 1);
	fake_use_loop(f->guest, w->loop);
	f->page = fake_page(f->guest, 0);
	check(xs_conn_new(w->store, f->guest, f->page, PORT, &f->conn) == 0, "no connection");
}

static void close_front(struct world *w, int i)
{
	struct front *f = &w->fronts[i];
	unsigned int domid = io_guest_domid(f->guest);

	xs_conn_free(f->conn);
	xs_domain_erase(w->store, domid);
	xs_domain_release(w->store, domid);
	fake_guest_free(f->guest);
	check(!xsd_find(w->store, domid), "a dead domain still owns nodes");
}

static void listen_to(struct front *f)
{
	/* Only the index: what comes is looked at by the unit tests. */
	if (!f->deaf)
		f->page->rsp_cons = f->page->rsp_prod;
}

static void push(struct world *w, struct front *f, const void *bytes, size_t len)
{
	const char *src = bytes;

	for (int idle = 0; len && idle < 3;) {
		uint32_t room = XENSTORE_RING_SIZE - (f->page->req_prod - f->page->req_cons);

		if (room == 0 || room > XENSTORE_RING_SIZE) {
			fake_raise(f->guest, PORT);
			pump(w);
			listen_to(f);
			idle++;
			continue;
		}
		f->page->req[MASK_XENSTORE_IDX(f->page->req_prod)] = *src++;
		f->page->req_prod++;
		len--;
		idle = 0;
	}
	fake_raise(f->guest, PORT);
}

/* A request; names are drawn from few, so that requests meet. */
static void request(struct world *w, struct front *f, unsigned int op)
{
	static const char *const paths[] = {"data/a",
					    "data/b/c",
					    "data",
					    "name",
					    "control/shutdown",
					    "/local/domain/5/data/a",
					    "/local/domain/6/data/b",
					    "/",
					    "@releaseDomain",
					    "device/vbd/1",
					    "",
					    "data/a/b/c/d/e"};
	char payload[600];
	struct xsd_sockmsg hdr = {.type = op % 26, .req_id = op};
	unsigned int shape = next_byte(w);
	size_t len = 0;

	hdr.tx_id = next_byte(w) % 6;
	if (shape & 0x80) {
		const char *path = paths[shape % (sizeof(paths) / sizeof(paths[0]))];

		len = strlen(path) + 1;
		memcpy(payload, path, len);
	}
	size_t more = next_byte(w);
	if (shape & 0x40)
		more *= 2;
	for (size_t i = 0; i < more && i < w->size; i++)
		payload[len++] = (char)w->data[i];
	size_t used = more < w->size ? more : w->size;
	w->data += used;
	w->size -= used;
	hdr.len = (uint32_t)len;
	push(w, f, &hdr, sizeof(hdr));
	push(w, f, payload, len);
}

static void mischief(struct world *w, struct front *f, unsigned int op)
{
	uint32_t *words = &f->page->req_cons;
	char raw[32];
	size_t n;

	switch (op % 8) {
	case 0: /* any of the indices, features, connection, error */
		n = next_byte(w);
		words[n % 7] += next_byte(w) * (n & 0x80 ? 0x01010101u : 1u);
		break;
	case 1:
		f->page->connection = XENSTORE_RECONNECT;
		break;
	case 2:
		f->deaf = !f->deaf;
		break;
	case 3:
		n = next_byte(w) % sizeof(raw);
		for (size_t i = 0; i < n; i++)
			raw[i] = (char)next_byte(w);
		push(w, f, raw, n);
		break;
	case 4:
		(void)xs_write(w->store, "/local/domain/5/data/a", "%u", next_byte(w));
		break;
	case 5:
		(void)xs_rm(w->store, "/local/domain/6/data");
		break;
	case 6:
		(void)xs_set_perms(w->store, "/local/domain/5/data", "b%u", 5 + next_byte(w) % 3);
		break;
	case 7:
		close_front(w, 1);
		memset(&w->fronts[1], 0, sizeof(w->fronts[1]));
		open_front(w, 1);
		break;
	}
	fake_raise(f->guest, PORT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = {.data = data, .size = size};

	check(io_loop_new(&w.loop) == 0 && xs_store_new(w.loop, &w.store) == 0, "cannot start");
	size_t nodes = w.store->map.nr;
	open_front(&w, 0);
	open_front(&w, 1);
	while (w.size) {
		unsigned int op = next_byte(&w);
		struct front *f = &w.fronts[op & 1];

		if (op < 208)
			request(&w, f, op / 2);
		else
			mischief(&w, f, op / 2);
		pump(&w);
		listen_to(f);
	}
	for (int i = 0; i < 4; i++)
		pump(&w);
	struct xs_domain *d = xsd_find(w.store, 5);
	check(d && d->memory <= w.store->quota.memory + 8192, "a domain exceeds its memory");
	close_front(&w, 0);
	close_front(&w, 1);
	check(w.store->nr_watches == 0, "a watch is left");
	check(w.store->map.nr == nodes, "a node is left");
	xs_store_free(w.store);
	io_loop_free(w.loop);
	return 0;
}
