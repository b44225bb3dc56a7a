/* SPDX-License-Identifier: MIT */
/*
 * What the front end wrote about its ring, and the connection made of it. All of it is the guest's:
 * each node is read once and checked, and what is wrong is said in words.
 */
#include "io/blk/device.h"

#include <stdio.h>
#include <string.h>

#include <xen/io/protocols.h>

#include "util/err.h"

/* --- the front end's side of the transport ---------------------------------------------------- */

/* An optional number; -1 if it is nonsense. */
static int get_number(struct blk_device *dev, const char *name, uint64_t fallback, uint64_t max,
		      uint64_t *ret)
{
	int r = xs_get_uint(dev->store, dev->front, name, max, ret);

	if (r == PVV_ENOENT)
		*ret = fallback;
	return r == PVV_OK || r == PVV_ENOENT ? 0 : -1;
}

static const char *read_ring_size(struct blk_device *dev, struct blk_transport *t)
{
	uint64_t order, pages;

	if (get_number(dev, "ring-page-order", UINT64_MAX, IO_RING_MAX_ORDER, &order) < 0)
		return "its ring-page-order is not a number or exceeds max-ring-page-order";
	if (order != UINT64_MAX) {
		t->nr_pages = 1u << order;
		return NULL;
	}
	if (get_number(dev, "num-ring-pages", 1, IO_RING_MAX_PAGES, &pages) < 0 || !pages ||
	    (pages & (pages - 1)))
		return "its num-ring-pages is not a power of two or exceeds max-ring-pages";
	t->nr_pages = (unsigned int)pages;
	return NULL;
}

static const char *read_refs(struct blk_device *dev, struct blk_transport *t)
{
	/* A ring of one page may be given by either name. */
	bool single = t->nr_pages == 1;
	uint64_t ref;
	char name[24];

	if (single && xs_get_uint(dev->store, dev->front, "ring-ref", UINT32_MAX, &ref) == PVV_OK) {
		t->refs[0] = (uint32_t)ref;
		return NULL;
	}
	for (unsigned int i = 0; i < t->nr_pages; i++) {
		snprintf(name, sizeof(name), "ring-ref%u", i);
		if (xs_get_uint(dev->store, dev->front, name, UINT32_MAX, &ref) < 0)
			return "its ring-ref nodes are missing or not numbers";
		t->refs[i] = (uint32_t)ref;
	}
	return NULL;
}

/* NULL, or what is wrong with it. */
const char *blk_transport_read(struct blk_device *dev, struct blk_transport *t)
{
	char protocol[32];
	uint64_t n;

	memset(t, 0, sizeof(*t));
	int r = xs_get_str(dev->store, dev->front, "protocol", protocol, sizeof(protocol));
	if (r == PVV_ENOENT || (r == PVV_OK && !strcmp(protocol, XEN_IO_PROTO_ABI_X86_64)))
		t->abi = BLK_ABI_X86_64;
	else if (r == PVV_OK && !strcmp(protocol, XEN_IO_PROTO_ABI_X86_32))
		t->abi = BLK_ABI_X86_32;
	else
		return "its protocol is neither x86_64-abi nor x86_32-abi";
	if (get_number(dev, "multi-queue-num-queues", 1, 1, &n) < 0 || n != 1)
		return "its multi-queue-num-queues is not 1";
	if (get_number(dev, "feature-persistent", 0, UINT32_MAX, &n) < 0)
		return "its feature-persistent is not a number";
	t->persistent = n && dev->image->params.persistent;
	if (xs_get_uint(dev->store, dev->front, "event-channel", UINT32_MAX, &n) < 0)
		return "its event-channel is missing or not a number";
	t->port = (uint32_t)n;
	const char *why = read_ring_size(dev, t);
	return why ? why : read_refs(dev, t);
}

bool blk_transport_same(const struct blk_conn *conn, const struct blk_transport *t)
{
	return conn->abi == t->abi && conn->port == t->port && conn->nr_pages == t->nr_pages &&
	       !memcmp(conn->refs, t->refs, t->nr_pages * sizeof(t->refs[0]));
}

/* --- connecting ------------------------------------------------------------------------------- */

static void unmap_ring(struct blk_device *dev, unsigned int nr_pages)
{
	for (unsigned int i = 0; i < nr_pages; i++)
		io_grant_unmap(dev->guest, dev->conn.refs[i], true);
}

/* NULL, or what went wrong, with nothing left behind. */
const char *blk_conn_attach(struct blk_device *dev, const struct blk_transport *t)
{
	struct blk_conn *conn = &dev->conn;
	void *pages[IO_RING_MAX_PAGES];
	unsigned int n;

	*conn = (struct blk_conn){.abi = t->abi, .nr_pages = t->nr_pages, .port = t->port};
	memcpy(conn->refs, t->refs, sizeof(conn->refs));
	for (n = 0; n < t->nr_pages; n++)
		if (io_grant_map(dev->guest, t->refs[n], true, &pages[n]) < 0)
			break;
	const char *why = NULL;
	if (n < t->nr_pages)
		why = "a page of its ring is not granted";
	else if (io_ring_attach(&conn->ring, pages, n, blk_wire_entry_size(t->abi)) < 0)
		why = "the producer index of its ring is impossible";
	else if (t->persistent && !(conn->persistent = blk_pgrants_new(dev->guest, BLK_PGRANT_MAX)))
		why = "the host is out of memory";
	else if (io_event_bind(dev->guest, t->port, blk_run, dev) < 0)
		why = "its event channel does not exist or is in use";
	if (why) {
		blk_pgrants_free(conn->persistent);
		unmap_ring(dev, n);
		memset(conn, 0, sizeof(*conn));
		return why;
	}
	conn->up = true;
	return NULL;
}

void blk_conn_detach(struct blk_device *dev)
{
	struct blk_conn *conn = &dev->conn;

	io_event_unbind(dev->guest, conn->port);
	blk_pgrants_free(conn->persistent);
	unmap_ring(dev, conn->nr_pages);
	memset(conn, 0, sizeof(*conn));
}
