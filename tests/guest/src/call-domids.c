/* SPDX-License-Identifier: MIT */
/* Each hypercall that takes a domain's number, with each kind of number. */
#include "pvg.h"

#define NR_IDS 12
static unsigned int ids[NR_IDS];
static const char *const id_name[NR_IDS] = {
	"SELF",		  "own", "0",	"1000", "0x7fef",  "0x8000",
	"FIRST_RESERVED", "IO",	 "XEN", "COW",	"INVALID", "IDLE"};
static u8 *page;
static u64 mfn;

struct xen_pod {
	u64 target, tot, cached, entries;
	domid_t domid;
};
static union {
	u8 bytes[512];
	u64 words[64];
	struct xen_memory_reservation res;
	struct xen_memory_exchange exch;
	struct xen_add_to_physmap atp;
	struct xen_remove_from_physmap rfp;
	struct xen_foreign_memory_map fmap;
	struct xen_pod_target pod;
	struct xen_vnuma_topology_info vnuma;
	struct gnttab_setup_table setup;
	struct gnttab_query_size query;
	struct gnttab_get_version ver;
	struct gnttab_get_status_frames st;
	struct gnttab_map_grant_ref map;
	struct gnttab_copy copy;
	struct gnttab_transfer transfer;
	struct evtchn_alloc_unbound unbound;
	struct evtchn_bind_interdomain inter;
	struct evtchn_status status;
	struct evtchn_reset reset;
	struct sched_remote_shutdown rs;
	struct physdev_map_pirq mpirq;
	struct physdev_unmap_pirq upirq;
} u;

static u64 frames[4];
static int inner; /* a status inside the structure counts, too */

static long gnt(unsigned int cmd, int16_t *status)
{
	long r = HC3(grant_table_op, cmd, &u, 1);

	inner = *status;
	return r;
}

static void close_port(evtchn_port_t port)
{
	struct evtchn_close c = {.port = port};

	HC2(event_channel_op, EVTCHNOP_close, &c);
}

static struct mmu_update upd;
static struct mmuext_op ext;

#define CASES(X)                                                                                   \
	X("mmu_update of none", HC4(mmu_update, &upd, 0, 0, id))                                   \
	X("mmu_update L1, foreign frame",                                                          \
	  (upd.ptr = pvg_entry_maddr((u64)page, 1), upd.val = mfn << 12 | PTE_KERN,                \
	   HC4(mmu_update, &upd, 1, 0, id)))                                                       \
	X("mmu_update L1 to 0",                                                                    \
	  (upd.ptr = pvg_entry_maddr((u64)page, 1), upd.val = 0, HC4(mmu_update, &upd, 1, 0, id))) \
	X("mmu_update L1, no such frame",                                                          \
	  (upd.ptr = pvg_entry_maddr((u64)page, 1), upd.val = 0x3fffffful << 12 | PTE_KERN,        \
	   HC4(mmu_update, &upd, 1, 0, id)))                                                       \
	X("mmu_update L2", (upd.ptr = pvg_entry_maddr((u64)page, 2),                               \
			    upd.val = *pvg_entry((u64)page, 2), HC4(mmu_update, &upd, 1, 0, id)))  \
	X("mmu_update plain", (upd.ptr = mfn << 12, upd.val = 5, HC4(mmu_update, &upd, 1, 0, id))) \
	X("mmu_update no such table",                                                              \
	  (upd.ptr = 0x3fffffful << 12, HC4(mmu_update, &upd, 1, 0, id)))                          \
	X("mmu_update M2P", (upd.ptr = mfn << 12 | MMU_MACHPHYS_UPDATE,                            \
			     upd.val = pvg_pfn_of(page), HC4(mmu_update, &upd, 1, 0, id)))         \
	X("mmu_update command 5", (upd.ptr = mfn << 12 | 5, HC4(mmu_update, &upd, 1, 0, id)))      \
	X("mmu_update tables of, none",                                                            \
	  HC4(mmu_update, &upd, 0, 0, DOMID_SELF | (u64)(u16)(id + 1) << 16))                      \
	X("mmu_update tables of",                                                                  \
	  (upd.ptr = pvg_entry_maddr((u64)page, 1), upd.val = mfn << 12 | PTE_KERN,                \
	   HC4(mmu_update, &upd, 1, 0, DOMID_SELF | (u64)(u16)(id + 1) << 16)))                    \
	X("mmu_update M2P, tables of",                                                             \
	  (upd.ptr = mfn << 12 | MMU_MACHPHYS_UPDATE, upd.val = pvg_pfn_of(page),                  \
	   HC4(mmu_update, &upd, 1, 0, DOMID_SELF | (u64)(u16)(id + 1) << 16)))                    \
	X("mmuext_op of none", HC4(mmuext_op, &ext, 0, 0, id))                                     \
	X("mmuext_op flush", (ext.cmd = MMUEXT_TLB_FLUSH_LOCAL, HC4(mmuext_op, &ext, 1, 0, id)))   \
	X("mmuext_op pin",                                                                         \
	  (ext.cmd = MMUEXT_PIN_L1_TABLE, ext.arg1.mfn = mfn, HC4(mmuext_op, &ext, 1, 0, id)))     \
	X("mmuext_op unpin",                                                                       \
	  (ext.cmd = MMUEXT_UNPIN_TABLE, ext.arg1.mfn = mfn, HC4(mmuext_op, &ext, 1, 0, id)))      \
	X("mmuext_op unknown", (ext.cmd = 50, HC4(mmuext_op, &ext, 1, 0, id)))                     \
	X("mmuext_op clear",                                                                       \
	  (ext.cmd = MMUEXT_CLEAR_PAGE, ext.arg1.mfn = mfn, HC4(mmuext_op, &ext, 1, 0, id)))       \
	X("va_mapping_otherdomain",                                                                \
	  HC4(update_va_mapping_otherdomain, page, mfn << 12 | PTE_KERN, 0, id))                   \
	X("va_mapping_otherdomain, 0", HC4(update_va_mapping_otherdomain, page, 0, 0, id))         \
	X("va_mapping_otherdomain, no L1",                                                         \
	  HC4(update_va_mapping_otherdomain, 0x600000000000, 0, 0, id))                            \
	X("va_mapping_otherdomain, no such frame",                                                 \
	  HC4(update_va_mapping_otherdomain, page, 0x3fffffful << 12 | PTE_KERN, 0, id))           \
	X("increase of none",                                                                      \
	  (u.res.domid = (domid_t)id, HC2(memory_op, XENMEM_increase_reservation, &u)))            \
	X("decrease of one",                                                                       \
	  (u.res.domid = (domid_t)id, frames[0] = 0x3ffffff, u.res.nr_extents = 1,                 \
	   u.res.extent_start.p = frames, HC2(memory_op, XENMEM_decrease_reservation, &u)))        \
	X("exchange of none",                                                                      \
	  (u.exch.in.domid = u.exch.out.domid = (domid_t)id, HC2(memory_op, XENMEM_exchange, &u))) \
	X("exchange, domids differ", (u.exch.in.domid = (domid_t)id, u.exch.out.domid = 7,         \
				      HC2(memory_op, XENMEM_exchange, &u)))                        \
	X("current_reservation",                                                                   \
	  (u.words[0] = id, HC2(memory_op, XENMEM_current_reservation, &u) > 0                     \
				    ? 1                                                            \
				    : HC2(memory_op, XENMEM_current_reservation, &u)))             \
	X("maximum_reservation",                                                                   \
	  (u.words[0] = id, HC2(memory_op, XENMEM_maximum_reservation, &u) > 0                     \
				    ? 1                                                            \
				    : HC2(memory_op, XENMEM_maximum_reservation, &u)))             \
	X("maximum_gpfn", (u.words[0] = id, HC2(memory_op, XENMEM_maximum_gpfn, &u)))              \
	X("add_to_physmap",                                                                        \
	  (u.atp.domid = (domid_t)id, HC2(memory_op, XENMEM_add_to_physmap, &u)))                  \
	X("add_to_physmap gmfn_foreign",                                                           \
	  (u.atp.domid = (domid_t)id, u.atp.space = 4, HC2(memory_op, XENMEM_add_to_physmap, &u))) \
	X("remove_from_physmap",                                                                   \
	  (u.rfp.domid = (domid_t)id, HC2(memory_op, XENMEM_remove_from_physmap, &u)))             \
	X("add_to_physmap_batch",                                                                  \
	  (u.words[0] = id, HC2(memory_op, XENMEM_add_to_physmap_batch, &u)))                      \
	X("set_memory_map",                                                                        \
	  (u.fmap.domid = (domid_t)id, HC2(memory_op, XENMEM_set_memory_map, &u)))                 \
	X("set_memory_map of 129", (u.fmap.domid = (domid_t)id, u.fmap.map.nr_entries = 129,       \
				    HC2(memory_op, XENMEM_set_memory_map, &u)))                    \
	X("set_memory_map of 1", (u.fmap.domid = (domid_t)id, u.fmap.map.nr_entries = 1,           \
				  HC2(memory_op, XENMEM_set_memory_map, &u)))                      \
	X("set_pod_target",                                                                        \
	  (u.pod.domid = (domid_t)id, HC2(memory_op, XENMEM_set_pod_target, &u)))                  \
	X("get_pod_target",                                                                        \
	  (u.pod.domid = (domid_t)id, HC2(memory_op, XENMEM_get_pod_target, &u)))                  \
	X("get_vnumainfo",                                                                         \
	  (u.vnuma.domid = (domid_t)id, HC2(memory_op, XENMEM_get_vnumainfo, &u)))                 \
	X("get_vnumainfo, padded", (u.vnuma.domid = (domid_t)id, u.vnuma.pad = 1,                  \
				    HC2(memory_op, XENMEM_get_vnumainfo, &u)))                     \
	X("acquire_resource", (u.words[0] = id, HC2(memory_op, XENMEM_acquire_resource, &u)))      \
	X("acquire_resource, one", (u.words[0] = id | 1ul << 16, u.words[1] = 1,                   \
				    HC2(memory_op, XENMEM_acquire_resource, &u)))                  \
	X("claim_pages", (u.res.domid = (domid_t)id, HC2(memory_op, 24, &u)))                      \
	X("claim_pages, a list",                                                                   \
	  (u.res.domid = (domid_t)id, u.words[0] = 1, HC2(memory_op, 24, &u)))                     \
	X("memory access_op", (u.words[0] = (u64)id << 16, HC2(memory_op, 21, &u)))                \
	X("memory paging_op", (u.words[0] = (u64)id << 16, HC2(memory_op, 20, &u)))                \
	X("grant setup", (u.setup.dom = (domid_t)id, gnt(GNTTABOP_setup_table, &u.setup.status)))  \
	X("grant query_size",                                                                      \
	  (u.query.dom = (domid_t)id, gnt(GNTTABOP_query_size, &u.query.status)))                  \
	X("grant get_version",                                                                     \
	  (u.ver.dom = (domid_t)id, HC3(grant_table_op, GNTTABOP_get_version, &u, 1)))             \
	X("grant get_status_frames",                                                               \
	  (u.st.dom = (domid_t)id, gnt(GNTTABOP_get_status_frames, &u.st.status)))                 \
	X("grant get_status_frames, 1", (u.st.dom = (domid_t)id, u.st.nr_frames = 1,               \
					 gnt(GNTTABOP_get_status_frames, &u.st.status)))           \
	X("grant map", (u.map.dom = (domid_t)id, u.map.ref = 50, u.map.flags = GNTMAP_host_map,    \
			u.map.host_addr = (u64)page, gnt(GNTTABOP_map_grant_ref, &u.map.status)))  \
	X("grant map, ref 2^20",                                                                   \
	  (u.map.dom = (domid_t)id, u.map.ref = 1 << 20, u.map.flags = GNTMAP_host_map,            \
	   u.map.host_addr = (u64)page, gnt(GNTTABOP_map_grant_ref, &u.map.status)))               \
	X("grant map, no flags",                                                                   \
	  (u.map.dom = (domid_t)id, gnt(GNTTABOP_map_grant_ref, &u.map.status)))                   \
	X("grant copy from frame", (u.copy.source.domid = (domid_t)id, u.copy.source.u.gmfn = mfn, \
				    u.copy.dest.domid = DOMID_SELF, u.copy.dest.u.gmfn = mfn,      \
				    u.copy.len = 8, gnt(GNTTABOP_copy, &u.copy.status)))           \
	X("grant copy to frame", (u.copy.dest.domid = (domid_t)id, u.copy.source.u.gmfn = mfn,     \
				  u.copy.source.domid = DOMID_SELF, u.copy.dest.u.gmfn = mfn,      \
				  u.copy.len = 8, gnt(GNTTABOP_copy, &u.copy.status)))             \
	X("grant copy from ref",                                                                   \
	  (u.copy.source.domid = (domid_t)id, u.copy.source.u.ref = 60,                            \
	   u.copy.dest.domid = DOMID_SELF, u.copy.dest.u.gmfn = mfn, u.copy.len = 8,               \
	   u.copy.flags = 1, gnt(GNTTABOP_copy, &u.copy.status)))                                  \
	X("grant copy to ref",                                                                     \
	  (u.copy.dest.domid = (domid_t)id, u.copy.dest.u.ref = 60,                                \
	   u.copy.source.domid = DOMID_SELF, u.copy.source.u.gmfn = mfn, u.copy.len = 8,           \
	   u.copy.flags = 2, gnt(GNTTABOP_copy, &u.copy.status)))                                  \
	X("grant copy from ref, flags 4",                                                          \
	  (u.copy.source.domid = (domid_t)id, u.copy.source.u.ref = 60,                            \
	   u.copy.dest.domid = DOMID_SELF, u.copy.dest.u.gmfn = mfn, u.copy.len = 8,               \
	   u.copy.flags = 4, gnt(GNTTABOP_copy, &u.copy.status)))                                  \
	X("grant transfer of no such frame",                                                       \
	  (u.transfer.domid = (domid_t)id, u.transfer.mfn = 0x3ffffff,                             \
	   gnt(GNTTABOP_transfer, &u.transfer.status)))                                            \
	X("event alloc_unbound", (u.unbound.dom = (domid_t)id, u.unbound.remote_dom = 0,           \
				  alloc(HC2(event_channel_op, EVTCHNOP_alloc_unbound, &u))))       \
	X("event alloc_unbound, remote",                                                           \
	  (u.unbound.dom = DOMID_SELF, u.unbound.remote_dom = (domid_t)id,                         \
	   alloc(HC2(event_channel_op, EVTCHNOP_alloc_unbound, &u))))                              \
	X("event bind_interdomain, port 0",                                                        \
	  (u.inter.remote_dom = (domid_t)id, u.inter.remote_port = 0,                              \
	   HC2(event_channel_op, EVTCHNOP_bind_interdomain, &u)))                                  \
	X("event bind_interdomain, port 1",                                                        \
	  (u.inter.remote_dom = (domid_t)id, u.inter.remote_port = 1,                              \
	   HC2(event_channel_op, EVTCHNOP_bind_interdomain, &u)))                                  \
	X("event bind_interdomain, port 5000",                                                     \
	  (u.inter.remote_dom = (domid_t)id, u.inter.remote_port = 5000,                           \
	   HC2(event_channel_op, EVTCHNOP_bind_interdomain, &u)))                                  \
	X("event status", (u.status.dom = (domid_t)id, u.status.port = 0,                          \
			   HC2(event_channel_op, EVTCHNOP_status, &u)))                            \
	X("event status, port 5000", (u.status.dom = (domid_t)id, u.status.port = 5000,            \
				      HC2(event_channel_op, EVTCHNOP_status, &u)))                 \
	X("sched remote_shutdown", (u.rs.domain_id = (domid_t)id, u.rs.reason = SHUTDOWN_crash,    \
				    HC2(sched_op, SCHEDOP_remote_shutdown, &u)))                   \
	X("physdev map_pirq",                                                                      \
	  (u.mpirq.domid = (domid_t)id, u.mpirq.type = MAP_PIRQ_TYPE_GSI, u.mpirq.index = 5,       \
	   u.mpirq.pirq = 5, HC2(physdev_op, PHYSDEVOP_map_pirq, &u)))                             \
	X("physdev map_pirq, type 99", (u.mpirq.domid = (domid_t)id, u.mpirq.type = 99,            \
					HC2(physdev_op, PHYSDEVOP_map_pirq, &u)))                  \
	X("physdev unmap_pirq", (u.upirq.domid = (domid_t)id, u.upirq.pirq = 5,                    \
				 HC2(physdev_op, PHYSDEVOP_unmap_pirq, &u)))                       \
	X("physdev unmap_pirq 5000", (u.upirq.domid = (domid_t)id, u.upirq.pirq = 5000,            \
				      HC2(physdev_op, PHYSDEVOP_unmap_pirq, &u)))                  \
	X("hvm_op set_param", (u.words[0] = id, HC2(hvm_op, 0, &u)))                               \
	X("hvm_op get_param", (u.words[0] = id, HC2(hvm_op, 1, &u)))                               \
	X("hvm_op get_param 99", (u.words[0] = id | 99ul << 32, HC2(hvm_op, 1, &u)))               \
	X("dm_op of none", HC3(dm_op, id, 0, &u))                                                  \
	X("dm_op of one", HC3(dm_op, id, 1, &u))                                                   \
	X("dm_op of 300", HC3(dm_op, id, 300, &u))                                                 \
	X("domctl", (u.words[0] = 5 | 0x15ul << 32, u.words[1] = id, HC1(domctl, &u)))             \
	X("domctl getdomaininfo",                                                                  \
	  (u.words[0] = 5 | 0x15ul << 32, u.words[1] = id, HC1(domctl, &u)))                       \
	X("event reset",                                                                           \
	  (u.reset.dom = (domid_t)id,                                                              \
	   id == DOMID_SELF || id == ids[1] ? 0 : HC2(event_channel_op, EVTCHNOP_reset, &u)))

static long alloc(long r)
{
	if (r == 0)
		close_port(u.unbound.port);
	return r;
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_grants_init();
	page = pvg_page_alloc();
	mfn = pvg_mfn_of(page);
	pvg_store_init();
	{
		static const unsigned int rest[] = {
			0,	  1000,	     0x7fef,	0x8000,	       DOMID_FIRST_RESERVED,
			DOMID_IO, DOMID_XEN, DOMID_COW, DOMID_INVALID, DOMID_IDLE};

		ids[0] = DOMID_SELF;
		ids[1] = (unsigned int)pvg_store_number("domid");
		memcpy(ids + 2, rest, sizeof(rest));
	}
#define X(name, expr)                                                                              \
	printf("%s:\n", name);                                                                     \
	{                                                                                          \
		long last = 1 << 20;                                                               \
		int last_inner = 0;                                                                \
		for (unsigned int i = 0; i < NR_IDS; i++) {                                        \
			unsigned int id = ids[i];                                                  \
			long r;                                                                    \
                                                                                                   \
			memset(&u, 0, sizeof(u));                                                  \
			inner = 0;                                                                 \
			r = (expr);                                                                \
			pvg_map(page, mfn << 12 | PTE_KERN);                                       \
			if (r != last || inner != last_inner)                                      \
				printf("  from %s: %le, status %d\n", id_name[i], r, inner);       \
			last = r;                                                                  \
			last_inner = inner;                                                        \
		}                                                                                  \
	}
	CASES(X)
}
