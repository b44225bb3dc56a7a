/* SPDX-License-Identifier: MIT */
#include "fake_guest.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"

#define FAKE_PAGE 4096u

struct fake_grant {
	bool valid, readonly;
	uint64_t pfn;
	unsigned int maps;
};

struct fake_port {
	struct io_work work;
	io_event_fn *notify;
	void *opaque;
	atomic_uint_fast64_t events;
};

struct io_guest {
	unsigned int domid;
	char name[64];
	unsigned int nr_pages;
	void **pages;
	struct io_loop *loop;
	unsigned int fail_maps;
	uint64_t maps_ever;
	struct fake_grant grants[FAKE_GRANTS];
	struct fake_port ports[FAKE_PORTS];
	atomic_uint_fast64_t pages_written;
	atomic_bool unsettled; /* written, and the vCPUs were not told */
};

/* Tests cannot go on without memory, also when assert() is compiled out. */
static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

struct io_guest *fake_guest_new(unsigned int domid, const char *name, unsigned int pages)
{
	struct io_guest *g = need(calloc(1, sizeof(*g)));

	g->domid = domid;
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->nr_pages = pages;
	g->pages = need(calloc(pages, sizeof(*g->pages)));
	for (unsigned int i = 0; i < pages; i++) {
		g->pages[i] = need(aligned_alloc(FAKE_PAGE, FAKE_PAGE));
		memset(g->pages[i], 0, FAKE_PAGE);
	}
	return g;
}

void fake_guest_free_unchecked(struct io_guest *g)
{
	for (unsigned int i = 0; i < g->nr_pages; i++)
		free(g->pages[i]);
	free(g->pages);
	free(g);
}

void fake_guest_free(struct io_guest *g)
{
	if (fake_grant_maps_total(g)) {
		fprintf(stderr, "fake_guest: %u grants are still mapped\n",
			fake_grant_maps_total(g));
		abort();
	}
	for (uint32_t i = 0; i < FAKE_PORTS; i++) {
		if (g->ports[i].notify) {
			fprintf(stderr, "fake_guest: port %u is still bound\n", i);
			abort();
		}
	}
	fake_guest_free_unchecked(g);
}

void *fake_page(struct io_guest *g, uint64_t pfn)
{
	assert(pfn < g->nr_pages);
	return g->pages[pfn];
}

void fake_grant(struct io_guest *g, uint32_t ref, uint64_t pfn, bool readonly)
{
	assert(ref < FAKE_GRANTS && !g->grants[ref].maps);
	g->grants[ref] = (struct fake_grant){.valid = true, .readonly = readonly, .pfn = pfn};
}

void fake_grant_end(struct io_guest *g, uint32_t ref)
{
	assert(ref < FAKE_GRANTS);
	g->grants[ref].valid = false;
}

unsigned int fake_grant_maps(const struct io_guest *g, uint32_t ref)
{
	assert(ref < FAKE_GRANTS);
	return g->grants[ref].maps;
}

unsigned int fake_grant_maps_total(const struct io_guest *g)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < FAKE_GRANTS; i++)
		n += g->grants[i].maps;
	return n;
}

uint64_t fake_grant_maps_ever(const struct io_guest *g)
{
	return g->maps_ever;
}

void fake_fail_maps(struct io_guest *g, unsigned int n)
{
	g->fail_maps = n;
}

static void run_port(void *opaque)
{
	struct fake_port *p = opaque;

	if (p->notify)
		p->notify(p->opaque);
}

void fake_raise(struct io_guest *g, uint32_t port)
{
	assert(port < FAKE_PORTS);
	if (g->loop)
		io_loop_post(g->loop, &g->ports[port].work);
	else
		run_port(&g->ports[port]);
}

void fake_use_loop(struct io_guest *g, struct io_loop *loop)
{
	g->loop = loop;
	for (uint32_t i = 0; i < FAKE_PORTS; i++)
		g->ports[i].work = (struct io_work){.fn = run_port, .opaque = &g->ports[i]};
}

bool fake_bound(const struct io_guest *g, uint32_t port)
{
	return g->ports[port].notify != NULL;
}

uint64_t fake_events(const struct io_guest *g, uint32_t port)
{
	assert(port < FAKE_PORTS);
	return atomic_load(&g->ports[port].events);
}

/* --- io/guest.h ------------------------------------------------------------------------------- */

unsigned int io_guest_domid(const struct io_guest *g)
{
	return g->domid;
}

const char *io_guest_name(const struct io_guest *g)
{
	return g->name;
}

static bool injected_failure(struct io_guest *g)
{
	if (!g->fail_maps)
		return false;
	g->fail_maps--;
	return true;
}

int io_grant_map(struct io_guest *g, uint32_t ref, bool write, void **ret_page)
{
	if (injected_failure(g))
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name, "injected failure");
	if (ref >= FAKE_GRANTS || !g->grants[ref].valid)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name,
			       "grant reference %u is not granted", ref);
	struct fake_grant *grant = &g->grants[ref];
	if (write && grant->readonly)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name,
			       "grant reference %u is read-only", ref);
	if (grant->pfn >= g->nr_pages)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name,
			       "grant reference %u names a bad frame", ref);
	grant->maps++;
	g->maps_ever++;
	*ret_page = g->pages[grant->pfn];
	return PVV_OK;
}

void io_grant_unmap(struct io_guest *g, uint32_t ref, bool write)
{
	(void)write;
	if (ref >= FAKE_GRANTS || !g->grants[ref].maps)
		abort();
	g->grants[ref].maps--;
}

int io_frame_map(struct io_guest *g, uint64_t mfn, void **ret_page)
{
	if (injected_failure(g) || mfn >= g->nr_pages)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name, "bad frame");
	*ret_page = g->pages[mfn];
	return PVV_OK;
}

int io_event_bind(struct io_guest *g, uint32_t port, io_event_fn *notify, void *opaque)
{
	if (port >= FAKE_PORTS)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name, "no such port");
	if (g->ports[port].notify)
		return err_set(PVV_EBUSY, PVV_SUBSYS_GUEST, g->name, "the port is bound");
	g->ports[port].notify = notify;
	g->ports[port].opaque = opaque;
	return PVV_OK;
}

void io_event_unbind(struct io_guest *g, uint32_t port)
{
	if (port >= FAKE_PORTS || !g->ports[port].notify)
		abort();
	if (g->loop)
		io_loop_cancel(g->loop, &g->ports[port].work);
	g->ports[port].notify = NULL;
}

void io_event_send(struct io_guest *g, uint32_t port)
{
	/* Whoever says that there is something to see has settled it before (io/guest.h). */
	if (atomic_load(&g->unsettled)) {
		fprintf(stderr, "an event was sent with pages written and not settled\n");
		abort();
	}
	if (port < FAKE_PORTS)
		atomic_fetch_add(&g->ports[port].events, 1);
}

void io_page_written(struct io_guest *g, void *page)
{
	(void)page;
	atomic_fetch_add(&g->pages_written, 1);
	atomic_store(&g->unsettled, true);
}

void io_pages_settle(struct io_guest *g)
{
	atomic_store(&g->unsettled, false);
}

uint64_t fake_pages_written(const struct io_guest *g)
{
	return atomic_load(&g->pages_written);
}
