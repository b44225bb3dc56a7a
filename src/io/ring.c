/* SPDX-License-Identifier: MIT */
#include "io/ring.h"

#include <assert.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/io/ring.h>

#include "util/err.h"

#define RING_PAGE 4096u

/* Xen's own type, for the layout of the indices and for where the entries begin. */
struct no_entry {
	uint32_t nothing;
};
DEFINE_RING_TYPES(any, struct no_entry, struct no_entry);

#define RING_HEADER offsetof(struct any_sring, ring)
_Static_assert(RING_HEADER == 64, "the ring's header is 64 bytes on all ABIs");

static struct any_sring *shared(const struct io_ring *ring)
{
	return (struct any_sring *)ring->pages[0];
}

static uint32_t largest_power_of_two(uint32_t n)
{
	return n ? 1u << (31 - __builtin_clz(n)) : 0;
}

int io_ring_attach(struct io_ring *ring, void *const *pages, unsigned int nr_pages,
		   uint32_t entry_size)
{
	assert(nr_pages && nr_pages <= IO_RING_MAX_PAGES && !(nr_pages & (nr_pages - 1)));
	memset(ring, 0, sizeof(*ring));
	for (unsigned int i = 0; i < nr_pages; i++)
		ring->pages[i] = pages[i];
	ring->entry_size = entry_size;
	ring->nr_ents =
		largest_power_of_two((nr_pages * RING_PAGE - (uint32_t)RING_HEADER) / entry_size);
	assert(ring->nr_ents);

	uint32_t rsp_prod = __atomic_load_n(&shared(ring)->rsp_prod, __ATOMIC_ACQUIRE);
	ring->req_cons = ring->req_prod = rsp_prod;
	ring->rsp_prod = ring->rsp_pushed = rsp_prod;
	io_ring_pending(ring);
	if (ring->broken)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, NULL,
			       "the shared ring claims more requests than its %u entries hold",
			       ring->nr_ents);
	return PVV_OK;
}

uint32_t io_ring_pending(struct io_ring *ring)
{
	if (ring->broken)
		return 0;
	/* Acquire: the requests before the index are read after it. */
	uint32_t prod = __atomic_load_n(&shared(ring)->req_prod, __ATOMIC_ACQUIRE);

	/*
	 * Entries of unanswered requests are not free, and the index only grows: both together say
	 * that it is among [req_prod, rsp_prod + nr_ents] in wrap-around order.
	 */
	if (prod - ring->rsp_prod > ring->nr_ents ||
	    prod - ring->rsp_prod < ring->req_prod - ring->rsp_prod) {
		ring->broken = true;
		return 0;
	}
	ring->req_prod = prod;
	return prod - ring->req_cons;
}

/* Copy between `buf` and the entry `idx`, which may straddle two pages. */
static void copy_entry(struct io_ring *ring, uint32_t idx, void *buf, size_t size, bool out)
{
	size_t at = RING_HEADER + (size_t)(idx & (ring->nr_ents - 1)) * ring->entry_size;
	uint8_t *p = buf;

	while (size) {
		size_t in_page = at % RING_PAGE;
		size_t n = RING_PAGE - in_page < size ? RING_PAGE - in_page : size;
		uint8_t *entry = ring->pages[at / RING_PAGE] + in_page;

		if (out)
			memcpy(p, entry, n);
		else
			memcpy(entry, p, n);
		p += n;
		at += n;
		size -= n;
	}
	/* The compiler must not read the ring again where the copy is used. */
	__asm__ volatile("" : : "r"(buf) : "memory");
}

void io_ring_take(struct io_ring *ring, void *req, size_t size)
{
	assert(size <= ring->entry_size && ring->req_prod != ring->req_cons);
	copy_entry(ring, ring->req_cons, req, size, true);
	ring->req_cons++;
}

bool io_ring_final_check(struct io_ring *ring)
{
	if (io_ring_pending(ring))
		return true;
	if (ring->broken)
		return false;
	/* An exchange, to be a full barrier: the front end stores req_prod, then loads req_event.
	 */
	__atomic_exchange_n(&shared(ring)->req_event, ring->req_cons + 1, __ATOMIC_SEQ_CST);
	return io_ring_pending(ring) != 0;
}

uint32_t io_ring_inflight(const struct io_ring *ring)
{
	return ring->req_cons - ring->rsp_prod;
}

void io_ring_put(struct io_ring *ring, const void *rsp, size_t size)
{
	assert(size <= ring->entry_size && io_ring_inflight(ring));
	/* The entry's request was taken: rsp_prod never passes req_cons. */
	if (!ring->broken)
		copy_entry(ring, ring->rsp_prod, (void *)(uintptr_t)rsp, size, false);
	ring->rsp_prod++;
}

bool io_ring_push(struct io_ring *ring)
{
	uint32_t old = ring->rsp_pushed, new = ring->rsp_prod;

	if (ring->broken || old == new)
		return false;
	/*
	 * Releases the responses, and is a full barrier before the load of rsp_event: the front end
	 * stores rsp_event, then loads rsp_prod.
	 */
	__atomic_exchange_n(&shared(ring)->rsp_prod, new, __ATOMIC_SEQ_CST);
	ring->rsp_pushed = new;
	uint32_t event = __atomic_load_n(&shared(ring)->rsp_event, __ATOMIC_SEQ_CST);
	return new - event < new - old;
}
