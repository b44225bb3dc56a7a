/* SPDX-License-Identifier: MIT */
#include "pvg.h"

static u8 grant_page[PAGE_SIZE] __page;
struct grant_entry_v1 *pvg_grants;

void pvg_grants_init(void)
{
	unsigned long frame = 0;
	struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};

	if (pvg_grants)
		return;
	set_xen_guest_handle(setup.frame_list, &frame);
	if (HC3(grant_table_op, GNTTABOP_setup_table, &setup, 1) || setup.status ||
	    pvg_map(grant_page, frame << 12 | PTE_KERN)) {
		pvg_puts("cannot set up the grant table\n");
		pvg_exit(SHUTDOWN_crash);
	}
	pvg_grants = (struct grant_entry_v1 *)grant_page;
}

void pvg_grant(unsigned int ref, domid_t domid, u64 frame, bool ro)
{
	pvg_grants[ref].frame = (u32)frame;
	pvg_grants[ref].domid = domid;
	wmb();
	pvg_grants[ref].flags = (u16)(GTF_permit_access | (ro ? GTF_readonly : 0));
}
