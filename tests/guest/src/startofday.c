/* SPDX-License-Identifier: MIT */
/*
 * The start of day, as exactly as the guest can see it: where each element lies (in pfns, which do
 * not depend on the host), every entry of the initial page tables by kind, the state of shared_info
 * and of the grant table. Nothing is changed before it is printed.
 */
#include "pvg.h"

#ifdef WITH_INIT_P2M
__asm__(".pushsection .note.Xen, \"a\", @note\n"
	".balign 4\n.long 4, 8, 15\n.asciz \"Xen\"\n.quad 0x8000000000\n"
	".balign 4\n.long 4, 8, 16\n.asciz \"Xen\"\n.quad 1\n"
	".popsection");
#endif

/* Pfns near the image's end are told from there: its size is the compiler's business. */
static void pfn(u64 n)
{
	u64 end = pvg_pfn_of(pvg_image_end);

	if (n >= end && n < end + 0x100)
		printf("E+%lx", n - end);
	else
		printf("%lx", n);
}

static void line(const char *what, u64 n)
{
	printf("%s pfn ", what);
	pfn(n);
	printf("\n");
}

/* Runs of consecutive L1 entries with equal flags that lead to consecutive pfns. */
static u64 run_page, run_pfn, run_flags, run_n;

static void run_end(void)
{
	if (!run_n)
		return;
	printf("  pages [");
	pfn(run_page);
	printf(", ");
	pfn(run_page + run_n);
	printf(") are pfn ");
	pfn(run_pfn);
	printf("..., flags %lx\n", run_flags);
	run_n = 0;
}

/* Whether Xen marks what has been used is a matter of the processor. */
#define FLAGS(e) ((e) & ~(PTE_ADDR | PTE_A | PTE_D))

static void leaf(u64 page, u64 e)
{
	u64 target = pvg_pfn_of_mfn((e & PTE_ADDR) >> 12);

	if (!run_n || page != run_page + run_n || target != run_pfn + run_n ||
	    FLAGS(e) != run_flags) {
		run_end();
		run_page = page;
		run_pfn = target;
		run_flags = FLAGS(e);
	}
	run_n++;
}

/* Level by level, so that the order of the tables can be seen. */
static void tables(u64 table, int level, int show, u64 va)
{
	const u64 *t = pvg_va_of_pfn(table);
	u64 *map = pvg_entry((u64)t, 1);

	if (!map || !(*map & PTE_P)) {
		if (show == level)
			printf("    not in the initial mapping\n");
		return;
	}
	for (unsigned int i = 0; i < 512; i++) {
		u64 next = (va << 9) + i;

		if (level == 4 && i >= 256 && i < 272)
			continue; /* Xen's own */
		if (level == show && t[i] && !(t[i] & PTE_P))
			printf("    [%x] not present and not zero\n", i);
		if (!(t[i] & PTE_P))
			continue;
		if (level == show && level > 1) {
			printf("    L%d [%x] -> pfn ", level, i);
			pfn(pvg_pfn_of_mfn((t[i] & PTE_ADDR) >> 12));
			printf(" flags %lx\n", FLAGS(t[i]));
		} else if (level == show) {
			leaf(next - (((u64)pvg_image & 0xfffffffffffful) >> 12), t[i]);
		} else {
			tables(pvg_pfn_of_mfn((t[i] & PTE_ADDR) >> 12), level - 1, show, next);
		}
	}
}

static unsigned int nonzero(u64 pfn)
{
	const u8 *p = pvg_va_of_pfn(pfn);
	unsigned int n = 0;

	for (unsigned int i = 0; i < PAGE_SIZE; i++)
		n += p[i] != 0;
	return n;
}

static void grant_table(void)
{
	static xen_pfn_t frame;
	struct gnttab_setup_table s = {.dom = DOMID_SELF, .nr_frames = 1};
	grant_entry_v1_t *g = pvg_page_alloc();

	set_xen_guest_handle(s.frame_list, &frame);
	printf("setup_table %e", HC3(grant_table_op, GNTTABOP_setup_table, &s, 1));
	printf(", status %d\n", s.status);
	printf("map it %e\n", pvg_map(g, frame << 12 | PTE_KERN));
	for (unsigned int i = 0; i < 512; i++)
		if (g[i].flags || g[i].domid || g[i].frame) {
			printf("  grant %d: flags %x domid %d pfn ", i, g[i].flags, g[i].domid);
			pfn(pvg_pfn_of_mfn(g[i].frame));
			printf("\n");
		}
}

void guest_main(void)
{
	const struct start_info *s = start_info;
	u64 first_free = s->pt_base + s->nr_pt_frames * PAGE_SIZE, end, bad = 0, last = 0;

	printf("nr_pages %ld, flags %x\n", s->nr_pages, s->flags);
	if ((u64)pvg_va_of_pfn(0) <= s->mfn_list && s->mfn_list < s->pt_base)
		line("mfn_list at", pvg_pfn_of((void *)s->mfn_list));
	else
		printf("mfn_list %lx\n", s->mfn_list);
	printf("first_p2m_pfn %lx, nr_p2m_frames %lx\n", s->first_p2m_pfn, s->nr_p2m_frames);
	line("start_info at", pvg_pfn_of(s));
	line("store at", pvg_pfn_of_mfn(s->store_mfn));
	line("console at", pvg_pfn_of_mfn(s->console.domU.mfn));
	printf("ports: store %d, console %d\n", s->store_evtchn, s->console.domU.evtchn);
	line("pt_base at", pvg_pfn_of((void *)s->pt_base));
	printf("%ld page-table frames\n", s->nr_pt_frames);
	printf("mod_start %lx, mod_len %lx\n", s->mod_start, s->mod_len);
	printf("command line \"%s\"\n", (const char *)s->cmd_line);
	for (end = first_free; pvg_entry(end, 1) && *pvg_entry(end, 1) & PTE_P; end += PAGE_SIZE)
		if (end > first_free) /* the first is the boot stack, which nobody uses here */
			bad += nonzero(pvg_pfn_of((void *)end)) != 0;
	printf("mapping ends at %lx; pages behind the boot stack that are not zero: %ld\n", end,
	       bad);
	printf("the boot stack has %d bytes that are not zero\n",
	       nonzero(pvg_pfn_of((void *)first_free)));
	bad = 0;
	for (u64 i = 0; i < s->nr_pages; i++)
		bad += pvg_pfn_of_mfn(pvg_mfn_of_pfn(i)) != i;
	printf("entries of the list that the machine-to-phys table contradicts: %ld\n", bad);
	last = s->nr_pages;
	for (bad = 0; last & 511; last++)
		bad += pvg_mfn_of_pfn(last) != 0;
	printf("entries behind the list's end that are not zero: %ld\n", bad);

	printf("page tables:\n");
	for (int level = 4; level >= 1; level--)
		tables(pvg_pfn_of((void *)s->pt_base), 4, level, 0);
	run_end();

	pvg_shared_init();
	u64 masked = 0, pending = 0, vcpus = 0;
	for (unsigned int i = 0; i < 64; i++) {
		masked |= pvg_shared->evtchn_mask[i];
		if (i > 0) /* the console's event may have come */
			pending |= pvg_shared->evtchn_pending[i];
	}
	for (unsigned int i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
		vcpus += pvg_shared->vcpu_info[i].evtchn_upcall_mask == 1;
	printf("shared_info: ports masked %lx, ports above 63 pending %lx, vCPUs with upcalls "
	       "masked "
	       "%ld\n",
	       masked, pending, vcpus);
	printf("pfn_to_mfn_frame_list_list %lx, max_pfn %lx\n",
	       pvg_shared->arch.pfn_to_mfn_frame_list_list, pvg_shared->arch.max_pfn);
	grant_table();
}
