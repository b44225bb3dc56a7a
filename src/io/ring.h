/* SPDX-License-Identifier: MIT */
/*
 * The back end's half of a shared request/response ring (Xen's io/ring.h) whose front end is
 * hostile. Xen's own macros leave the private indices beside the shared ones, trust the producer
 * index and hand out pointers into the ring; here
 *  - the private indices never leave our memory;
 *  - a producer index is read once and accepted only if all requests up to it can be in the ring,
 *    which also bounds the requests that are taken and not answered by the size of the ring;
 *  - requests are copied out before anybody looks at them;
 *  - pages of the ring need not be adjacent in our address space.
 * A ring with an impossible index is broken for good: it yields nothing more, and responses to it
 * are dropped. It is for its owner to disconnect.
 */
#ifndef PVV_IO_RING_H
#define PVV_IO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IO_RING_MAX_ORDER 4u
#define IO_RING_MAX_PAGES (1u << IO_RING_MAX_ORDER)

struct io_ring {
	uint8_t *pages[IO_RING_MAX_PAGES];
	uint32_t entry_size;
	uint32_t nr_ents;    /* a power of two */
	uint32_t req_prod;   /* the front end's, as last accepted */
	uint32_t req_cons;   /* requests before it were taken */
	uint32_t rsp_prod;   /* responses before it were written */
	uint32_t rsp_pushed; /* responses before it are visible to the front end */
	bool broken;
};

/*
 * Attach to a ring of `nr_pages` (a power of two, at most IO_RING_MAX_PAGES) mapped pages; an entry
 * is the larger of request and response. Goes on where the ring's responses end, so that a ring
 * with history can be attached, too. PVV_EGUEST if its indices are impossible.
 */
int io_ring_attach(struct io_ring *ring, void *const *pages, unsigned int nr_pages,
		   uint32_t entry_size);

/* Requests that can be taken now; 0 also for a broken ring. */
uint32_t io_ring_pending(struct io_ring *ring);
/* Copy out the next request; only if io_ring_pending() said that there is one. */
void io_ring_take(struct io_ring *ring, void *req, size_t size);
/*
 * Before going to sleep: ask the front end for an event with the next request. True if a request
 * has slipped in meanwhile, so that the caller must go on instead.
 */
bool io_ring_final_check(struct io_ring *ring);
/* Requests taken and not answered. */
uint32_t io_ring_inflight(const struct io_ring *ring);

/* Write a response; it becomes visible with the next push. */
void io_ring_put(struct io_ring *ring, const void *rsp, size_t size);
/* Publish the responses. True if the front end wants an event for them. */
bool io_ring_push(struct io_ring *ring);

#endif
