/* SPDX-License-Identifier: MIT */
/* Mapping grants into page tables, and taking them out again. */
#include "core/grant/grant.h"

#include "core/mm/mm.h"

/*
 * The handle that has been free for longest, as on Xen, so that one which a guest still knows does
 * not soon stand for something else. A free one keeps in .mfn when it was freed: 0 = never used.
 */
static struct core_maptrack *free_handle(struct core_ctx *c, uint32_t *ret_handle)
{
	struct core_maptrack *m = c->d->maptrack, *oldest = NULL;

	for (uint32_t i = 0; i < c->d->maptrack_max; i++) {
		if (m[i].flags == 0 && (oldest == NULL || m[i].mfn < oldest->mfn)) {
			oldest = &m[i];
			*ret_handle = i;
		}
	}
	return oldest;
}

static void put_handle(struct core_ctx *c, struct core_maptrack *gone)
{
	gone->flags = 0;
	gone->mfn = ++c->d->maptrack_freed;
}

/* The references of one mapping: a device map and a host map are counted as one each by Xen. */
static int map(struct core_ctx *c, struct gnttab_map_grant_ref *op)
{
	const uint32_t kinds = GNTMAP_device_map | GNTMAP_host_map;
	bool readonly = (op->flags & GNTMAP_readonly) != 0;
	struct core_maptrack *m;
	uint32_t handle;
	uint64_t mfn;
	int status;

	if ((op->flags & kinds) == 0)
		return GNTST_bad_gntref;
	status = grant_domain(c, op->dom, false);
	if (status == GNTST_permission_denied)
		return grant_of_dom0(op->ref);
	if (status != GNTST_okay)
		return status;
	m = free_handle(c, &handle);
	if (m == NULL)
		return GNTST_no_space;
	status = grant_acquire(c, op->ref, readonly, true, &mfn);
	if (status != GNTST_okay)
		return status;
	if (op->flags & GNTMAP_host_map) {
		status = core_mm_grant_install(c, op->host_addr, mfn, op->flags);
		if (status != GNTST_okay) {
			grant_release(c, op->ref, readonly, mfn);
			return status;
		}
	}
	*m = (struct core_maptrack){
		.ref = op->ref,
		.domid = op->dom,
		.flags = (uint16_t)(op->flags & 0xffff),
		.mfn = mfn,
	};
	op->handle = handle;
	op->dev_bus_addr = mfn << 12;
	return GNTST_okay;
}

void grant_map(struct core_ctx *c, struct gnttab_map_grant_ref *op)
{
	op->status = (int16_t)map(c, op);
}

static int unmap(struct core_ctx *c, uint32_t handle, uint64_t host_addr, uint64_t dev_bus_addr,
		 uint64_t new_addr)
{
	const uint32_t kinds = GNTMAP_device_map | GNTMAP_host_map;
	struct core_maptrack *m;
	bool device;
	int status;

	if (handle >= c->d->maptrack_max || c->d->maptrack[handle].flags == 0)
		return GNTST_bad_handle;
	m = &c->d->maptrack[handle];
	device = dev_bus_addr != 0 && (m->flags & GNTMAP_device_map);
	if (device && dev_bus_addr != m->mfn << 12)
		return GNTST_bad_dev_addr;
	if (host_addr != 0 && (m->flags & GNTMAP_host_map)) {
		status = core_mm_grant_remove(c, host_addr, m->mfn, m->flags, new_addr);
		if (status != GNTST_okay)
			return status;
		m->flags &= (uint16_t)~GNTMAP_host_map;
	}
	if (device)
		m->flags &= (uint16_t)~GNTMAP_device_map;
	if ((m->flags & kinds) == 0) {
		bool readonly = (m->flags & GNTMAP_readonly) != 0;
		struct core_maptrack gone = *m;

		put_handle(c, m);
		grant_release(c, gone.ref, readonly, gone.mfn);
	}
	return GNTST_okay;
}

void grant_unmap(struct core_ctx *c, struct gnttab_unmap_grant_ref *op)
{
	op->status = (int16_t)unmap(c, op->handle, op->host_addr, op->dev_bus_addr, 0);
}

void grant_unmap_and_replace(struct core_ctx *c, struct gnttab_unmap_and_replace *op)
{
	/* A PTE named by its machine address cannot change places with another. */
	if (op->handle < c->d->maptrack_max && op->new_addr != 0 &&
	    (c->d->maptrack[op->handle].flags & GNTMAP_contains_pte)) {
		op->status = GNTST_general_error;
		return;
	}
	op->status = (int16_t)unmap(c, op->handle, op->host_addr, 0, op->new_addr);
}
