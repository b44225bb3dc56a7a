/* SPDX-License-Identifier: MIT */
/* Start of day: registers, hypercall page, ports, clocks; and layouts that are refused. */
#include "harness.h"

#include <xen/event_channel.h>

static void starts_as_the_abi_says(void **state)
{
	struct dom *t = dom_new();
	const struct core_regs *r = &t->c.v->regs;

	assert_int_equal(t->ctl.run_state, CORE_STATE_RUNNING);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(r->rip, VA(PG_CODE));
	assert_int_equal(r->gpr[R_RSI], VA(PG_DATA));
	assert_int_equal(r->gpr[R_RSP], STACK_TOP);
	assert_int_equal(r->cs, 0xe033);
	assert_int_equal(r->ss, 0xe02b);
	assert_int_equal(r->ds, 0);
	assert_int_equal(r->rflags, 0x202);
	assert_int_equal(r->gpr[R_RAX], 0);
	assert_int_equal(t->c.v->kernel_mode, 1);
	assert_int_equal(t->c.v->kernel_root, PG_L4);
	assert_int_equal(t->c.v->user_root, CORE_INVALID_MFN);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask, 1);
	dom_free(t);
}

static void hypercall_page_has_stubs(void **state)
{
	struct dom *t = dom_new();
	const uint8_t *page = page_ptr(t, PG_HCALL);
	static const uint8_t stub17[] = {0x51, 0x41, 0x53, 0xb8, 17,   0,    0,	  0,
					 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3, 0xcc};
	static const uint8_t iret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05, 0xcc};

	assert_memory_equal(page + 17 * 32, stub17, sizeof(stub17));
	assert_memory_equal(page + 23 * 32, iret, sizeof(iret));
	assert_int_equal(page[127 * 32], 0x51);
	dom_free(t);
}

static void library_ports_are_allocated(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_status s = {.dom = DOMID_SELF, .port = CONSOLE_PORT};

	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &s), 0);
	assert_int_equal(s.status, EVTCHNSTAT_unbound);
	t->ctl.bound[0] |= 1ull << CONSOLE_PORT;
	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &s), 0);
	assert_int_equal(s.status, EVTCHNSTAT_interdomain);
	assert_int_equal(s.u.interdomain.dom, 0);
	dom_free(t);
}

static void clocks_run_from_the_start(void **state)
{
	struct dom *t = dom_new();
	const struct vcpu_time_info *ti = &core_vcpu_info(&t->c, t->c.v)->time;
	const struct shared_info *s = core_shared_info(&t->c);

	assert_int_equal(ti->version & 1, 0);
	assert_int_not_equal(ti->version, 0);
	assert_int_equal(ti->tsc_timestamp, 1000000);
	assert_int_equal(ti->tsc_to_system_mul, 0x80000000u);
	assert_int_equal(ti->tsc_shift, 1);
	assert_int_equal(s->wc_sec, 1700000000);
	assert_int_equal(s->wc_nsec, 5);
	assert_int_equal(s->wc_version & 1, 0);
	dom_free(t);
}

static void bad_layouts_are_refused(void **state)
{
	struct dom *t = dom_raw(0);

	assert_false(core_domain_init(&t->c));
	assert_int_equal(t->ctl.run_state, CORE_STATE_CRASHED);
	dom_free(t);

	t = dom_raw(CORE_MAX_VCPUS + 1);
	assert_false(core_domain_init(&t->c));
	dom_free(t);

	t = dom_raw(1);
	t->ctl.boot.root = NR_PAGES;
	assert_false(core_domain_init(&t->c));
	dom_free(t);

	t = dom_raw(1);
	t->ctl.boot.hypercall_page = NR_PAGES;
	assert_false(core_domain_init(&t->c));
	dom_free(t);

	t = dom_raw(1);
	t->ctl.boot.entry_rip = 0x800000000000ull;
	assert_false(core_domain_init(&t->c));
	dom_free(t);

	t = dom_raw(1); /* a root that maps itself writable */
	((uint64_t *)page_ptr(t, PG_L1))[PG_L4] |= 2;
	assert_false(core_domain_init(&t->c));
	assert_non_null(strstr(t->ctl.reason, "page tables"));
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_as_the_abi_says),
		cmocka_unit_test(hypercall_page_has_stubs),
		cmocka_unit_test(library_ports_are_allocated),
		cmocka_unit_test(clocks_run_from_the_start),
		cmocka_unit_test(bad_layouts_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
