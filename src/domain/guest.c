/* SPDX-License-Identifier: MIT */
/*
 * Granted memory and event channels of a domain, for the back ends. Everything here reads memory
 * that a hostile guest writes at the same time: each value is loaded once, checked, and used from
 * the copy.
 */
#include "domain/guest.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xen/xen.h>
#include <xen/grant_table.h>

#include "core/mm/frame.h"
#include "core/state.h"
#include "io/loop.h"
#include "util/err.h"

#define GRANTS_PER_FRAME (4096u / sizeof(grant_entry_v1_t))
#define MAP_TRIES	 64
#define SETTLE_NS	 20000u

struct port_binding {
	io_event_fn *notify;
	void *opaque;
};

/*
 * How often a reference is mapped, and which frame it named then: the guest may scribble over its
 * entry meanwhile, and what was taken is what must be put back.
 */
struct ref_use {
	uint32_t readers, writers;
	uint32_t mfn;
};

struct io_guest {
	unsigned int domid;
	char *name;
	const struct exec_memory *memory;
	struct core_ctl *ctl;
	struct core_frame *frames;
	uint64_t nr_frames, ram_first, max_pages, grant_first;
	uint32_t nr_refs, max_ports, nr_vcpus;
	struct ref_use *use;
	struct port_binding *ports;
	const struct exec_ops *ops;
	_Atomic(struct exec *) exec;
	atomic_bool unsettled; /* pages that held code were written, the vCPUs do not know */
};

static size_t use_size(const struct io_guest *g)
{
	return g->nr_refs * sizeof(*g->use);
}

/*
 * Hundreds of KiB of which a guest uses a few entries: from the kernel, which gives only what is
 * touched, and takes it back at the end. calloc() would do so for the first domains only; after a
 * few have ended, it clears a part of its heap for each, and the heap has holes of that size.
 */
static struct ref_use *new_use(const struct io_guest *g)
{
	void *p =
		mmap(NULL, use_size(g), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int guest_new(const struct guest_params *p, struct io_guest **ret_guest)
{
	struct io_guest *g = calloc(1, sizeof(*g));

	*ret_guest = NULL;
	if (!g)
		return err_nomem(PVV_SUBSYS_DOMAIN, "starting a domain");
	g->domid = p->domid;
	g->memory = p->memory;
	g->ctl = (struct core_ctl *)(p->memory->base + p->memory->ctl_off);
	g->frames = (struct core_frame *)(p->memory->base + p->memory->frames_off);
	g->nr_frames = p->boot->nr_frames;
	g->ram_first = p->boot->ram_first;
	g->max_pages = p->boot->max_pages;
	g->grant_first = p->boot->grant_first;
	g->nr_refs = p->boot->grant_max * (uint32_t)GRANTS_PER_FRAME;
	g->max_ports = (uint32_t)p->boot->max_ports;
	g->nr_vcpus = p->boot->nr_vcpus;
	g->name = strdup(p->name);
	g->use = new_use(g);
	g->ports = calloc(g->max_ports, sizeof(*g->ports));
	if (!g->name || !g->use || !g->ports) {
		guest_free(g);
		return err_nomem(PVV_SUBSYS_DOMAIN, "starting a domain");
	}
	*ret_guest = g;
	return 0;
}

void guest_free(struct io_guest *g)
{
	if (!g)
		return;
	free(g->name);
	if (g->use)
		munmap(g->use, use_size(g));
	free(g->ports);
	free(g);
}

void guest_attach(struct io_guest *g, const struct exec_ops *ops, struct exec *exec)
{
	g->ops = ops;
	atomic_store(&g->exec, exec);
	/* Events that were raised before are noted in ctl->inbound; the monitor looks as it starts.
	 */
}

void guest_detach(struct io_guest *g)
{
	atomic_store(&g->exec, NULL);
}

unsigned int io_guest_domid(const struct io_guest *g)
{
	return g->domid;
}

const char *io_guest_name(const struct io_guest *g)
{
	return g->name;
}

static grant_entry_v1_t *grant_entry(const struct io_guest *g, uint32_t ref)
{
	uint8_t *frame = g->memory->base + ((g->grant_first + ref / GRANTS_PER_FRAME) << 12);

	return (grant_entry_v1_t *)frame + ref % GRANTS_PER_FRAME;
}

static int bad_grant(const struct io_guest *g, uint32_t ref, const char *why)
{
	return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name,
		       "grant reference %u of domain '%s' %s", ref, g->name, why);
}

int io_grant_map(struct io_guest *g, uint32_t ref, bool write, void **ret_page)
{
	uint64_t *word, old, new;
	struct ref_use *u;
	grant_entry_v1_t e;

	*ret_page = NULL;
	if (ref >= g->nr_refs)
		return bad_grant(g, ref, "is out of range");
	u = &g->use[ref];
	word = (uint64_t *)grant_entry(g, ref);
	old = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	for (int tries = 0;; tries++) {
		memcpy(&e, &old, sizeof(e));
		if ((e.flags & GTF_type_mask) != GTF_permit_access)
			return bad_grant(g, ref, "does not permit access");
		if (e.domid != 0)
			return bad_grant(g, ref, "is for another domain");
		if (write && (e.flags & GTF_readonly))
			return bad_grant(g, ref, "is read-only");
		if ((u->readers || u->writers) && e.frame != u->mfn)
			return bad_grant(g, ref, "was changed while it is in use");
		if (e.frame - g->ram_first >= g->max_pages)
			return bad_grant(g, ref, "names a frame that is not guest memory");
		e.flags |= GTF_reading | (write ? GTF_writing : 0);
		memcpy(&new, &e, sizeof(new));
		if (__atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			break;
		/* The guest edits its entry while we look at it: a few times is bad luck. */
		if (tries == MAP_TRIES)
			return bad_grant(g, ref, "changes all the time");
	}
	if (write ? !frame_get_writable(g->frames, g->nr_frames, e.frame)
		  : !frame_get(g->frames, g->nr_frames, e.frame)) {
		if (!u->readers && !u->writers)
			__atomic_and_fetch(word, ~(uint64_t)(GTF_reading | GTF_writing),
					   __ATOMIC_RELEASE);
		return bad_grant(g, ref,
				 write ? "names a frame that must not be written"
				       : "names a frame that is not there");
	}
	u->mfn = e.frame;
	*(write ? &u->writers : &u->readers) += 1;
	*ret_page = g->memory->base + ((uint64_t)e.frame << 12);
	return 0;
}

void io_grant_unmap(struct io_guest *g, uint32_t ref, bool write)
{
	struct ref_use *u;

	if (ref >= g->nr_refs)
		return;
	u = &g->use[ref];
	assert(write ? u->writers : u->readers);
	if (write) {
		u->writers--;
		frame_put_writable(g->frames, g->nr_frames, u->mfn);
	} else {
		u->readers--;
		frame_put(g->frames, g->nr_frames, u->mfn);
	}
	uint16_t clear =
		(u->writers ? 0 : GTF_writing) | (u->writers || u->readers ? 0 : GTF_reading);
	if (clear)
		__atomic_and_fetch(&grant_entry(g, ref)->flags, (uint16_t)~clear, __ATOMIC_RELEASE);
}

int io_frame_map(struct io_guest *g, uint64_t mfn, void **ret_page)
{
	*ret_page = NULL;
	if (mfn - g->ram_first >= g->max_pages)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name,
			       "frame 0x%llx of domain '%s' is not guest memory",
			       (unsigned long long)mfn, g->name);
	*ret_page = g->memory->base + (mfn << 12);
	return 0;
}

void io_page_written(struct io_guest *g, void *page)
{
	uint64_t mfn = (uint64_t)((uint8_t *)page - g->memory->base) >> 12;

	if (mfn >= g->nr_frames)
		return;
	/* Seldom: the guest reads a block into a page from which it has run code. */
	if (__atomic_load_n(&g->frames[mfn].aux, __ATOMIC_ACQUIRE) & CORE_FRAME_CODE) {
		__atomic_or_fetch(&g->frames[mfn].aux, CORE_FRAME_CODE_STALE, __ATOMIC_RELEASE);
		__atomic_store_n(&g->ctl->code_stale, 1, __ATOMIC_RELEASE);
		atomic_store(&g->unsettled, true);
	}
}

static void kick(struct io_guest *g, unsigned int vcpu)
{
	struct exec *e = atomic_load(&g->exec);

	/* Whoever finds it set already can rely on the earlier kick: the monitor has not looked
	 * yet. */
	if (__atomic_exchange_n(&g->ctl->vcpu[vcpu].kick, 1, __ATOMIC_SEQ_CST) == 0 && e)
		g->ops->kick(e, vcpu);
}

static void settle(struct io_guest *g)
{
	uint64_t until = io_now_ns() + SETTLE_NS;

	/*
	 * A vCPU that is not on a processor now finds the kick before its next instruction. One
	 * that is, has it within microseconds: wait for those. A hostile monitor that never answers
	 * harms its own guest and costs us SETTLE_NS.
	 */
	for (unsigned int i = 0; i < g->nr_vcpus; i++)
		if (__atomic_load_n(&g->ctl->vcpu[i].state, __ATOMIC_SEQ_CST) != CORE_VCPU_DOWN)
			kick(g, i);
	for (unsigned int i = 0; i < g->nr_vcpus; i++)
		while (__atomic_load_n(&g->ctl->vcpu[i].kick, __ATOMIC_ACQUIRE) &&
		       __atomic_load_n(&g->ctl->vcpu[i].state, __ATOMIC_RELAXED) ==
			       CORE_VCPU_GUEST &&
		       io_now_ns() < until)
			__builtin_ia32_pause();
}

void io_pages_settle(struct io_guest *g)
{
	if (atomic_load_explicit(&g->unsettled, memory_order_relaxed) &&
	    atomic_exchange(&g->unsettled, false))
		settle(g);
}

static void bit_set(uint64_t *map, uint64_t *any, uint32_t n)
{
	__atomic_or_fetch(&map[n / 64], 1ull << (n % 64), __ATOMIC_RELEASE);
	if (any)
		__atomic_or_fetch(any, 1ull << (n / 64), __ATOMIC_RELEASE);
}

void guest_kick_all(struct io_guest *g)
{
	for (unsigned int i = 0; i < g->nr_vcpus; i++) {
		struct exec *e = atomic_load(&g->exec);

		/* Unconditionally: a request must not be lost because the monitor lies. */
		__atomic_store_n(&g->ctl->vcpu[i].kick, 1, __ATOMIC_SEQ_CST);
		if (e &&
		    __atomic_load_n(&g->ctl->vcpu[i].state, __ATOMIC_SEQ_CST) != CORE_VCPU_DOWN)
			g->ops->kick(e, i);
	}
}

int io_event_bind(struct io_guest *g, uint32_t port, io_event_fn *notify, void *opaque)
{
	if (port == 0 || port >= g->max_ports)
		return err_set(PVV_EGUEST, PVV_SUBSYS_GUEST, g->name,
			       "event channel %u of domain '%s' is out of range (1 to %u)", port,
			       g->name, g->max_ports - 1);
	if (g->ports[port].notify)
		return err_set(PVV_EBUSY, PVV_SUBSYS_GUEST, g->name,
			       "event channel %u of domain '%s' is bound already", port, g->name);
	g->ports[port] = (struct port_binding){.notify = notify, .opaque = opaque};
	bit_set(g->ctl->bound, NULL, port);
	return 0;
}

void io_event_unbind(struct io_guest *g, uint32_t port)
{
	if (port == 0 || port >= g->max_ports || !g->ports[port].notify)
		return;
	__atomic_and_fetch(&g->ctl->bound[port / 64], ~(1ull << (port % 64)), __ATOMIC_RELEASE);
	memset(&g->ports[port], 0, sizeof(g->ports[port]));
}

void io_event_send(struct io_guest *g, uint32_t port)
{
	if (port == 0 || port >= g->max_ports)
		return;
	bit_set(g->ctl->inbound, &g->ctl->inbound_any, port);
	/* Any vCPU sorts it to the one the guest bound the port to: best that one itself. */
	unsigned int vcpu = __atomic_load_n(&g->ctl->port_vcpu[port], __ATOMIC_RELAXED);

	if (vcpu >= g->nr_vcpus ||
	    __atomic_load_n(&g->ctl->vcpu[vcpu].state, __ATOMIC_RELAXED) == CORE_VCPU_DOWN)
		vcpu = 0;
	kick(g, vcpu);
}

void guest_doorbell(struct io_guest *g)
{
	uint64_t words, bits;

	/* First allow the next ring, then look: nothing falls between. */
	__atomic_store_n(&g->ctl->doorbell, 0, __ATOMIC_SEQ_CST);
	words = __atomic_exchange_n(&g->ctl->outbound_any, 0, __ATOMIC_SEQ_CST);
	for (; words; words &= words - 1) {
		unsigned int w = (unsigned int)__builtin_ctzll(words);

		bits = __atomic_exchange_n(&g->ctl->outbound[w], 0, __ATOMIC_SEQ_CST);
		for (; bits; bits &= bits - 1) {
			uint32_t port = w * 64 + (uint32_t)__builtin_ctzll(bits);

			if (port < g->max_ports && g->ports[port].notify)
				g->ports[port].notify(g->ports[port].opaque);
		}
	}
}
