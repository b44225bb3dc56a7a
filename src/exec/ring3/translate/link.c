/* SPDX-License-Identifier: MIT */
/* Linking direct branches to their targets, and taking the links back. */
#include "exec/ring3/translate/internal.h"

static void patch(uint32_t site, uint32_t target)
{
	uint32_t rel = target - (site + 4);

	/* One vCPU, one process: nobody executes this while it is written. */
	__builtin_memcpy((void *)(uintptr_t)site, &rel, 4);
}

void xlate_link(struct xlate *x, uint32_t edge, uint32_t host, uint32_t frag)
{
	struct edge *d = &x->edges[edge];
	struct frag *f = &x->frags[frag];

	patch(d->site, host - (d->call ? CALL_ENTRY : 0));
	d->linked = 1;
	d->next = f->in;
	f->in = edge;
}

void xlate_unlink_all(struct xlate *x, struct frag *f)
{
	uint32_t k, next;

	for (k = f->in; k; k = next) {
		struct edge *d = &x->edges[k];

		next = d->next;
		d->linked = 0;
		patch(d->site, xlate_edge_stub(x, k));
	}
	f->in = 0;
}
