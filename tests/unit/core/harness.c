/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdlib.h>

#include "core/mm/mm.h"

static struct dom *of(struct core_ctx *c)
{
	return c->priv;
}

static void fake_flush_all(struct core_ctx *c, uint64_t mask)
{
	of(c)->flushes++;
}

static void fake_flush_va(struct core_ctx *c, uint64_t mask, uint64_t va)
{
	of(c)->flushes++;
}

static void fake_frame(struct core_ctx *c, uint64_t mfn)
{
}

static void fake_dirtied(struct core_ctx *c, uint64_t mfn)
{
	of(c)->dirtied++;
}

static void fake_discard(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
	memset(c->ram + (mfn << 12), 0, nr << 12);
}

static void fake_root(struct core_ctx *c)
{
	of(c)->root_changes++;
}

static void fake_doorbell(struct core_ctx *c)
{
	of(c)->doorbells++;
}

static void fake_kick(struct core_ctx *c, unsigned int id)
{
	of(c)->kicked |= 1ull << id;
}

static uint64_t fake_tsc(struct core_ctx *c)
{
	return of(c)->tsc;
}

static void fake_cpu(struct core_ctx *c)
{
	of(c)->cpu_changes++;
}

static bool fake_start_vcpu(struct core_ctx *c, unsigned int id)
{
	return true;
}

static const struct core_exec_ops fake_ops = {
	.flush_all = fake_flush_all,
	.flush_va = fake_flush_va,
	.frame_protect = fake_frame,
	.frame_dirtied = fake_dirtied,
	.root_changed = fake_root,
	.frames_discard = fake_discard,
	.doorbell = fake_doorbell,
	.kick_vcpu = fake_kick,
	.start_vcpu = fake_start_vcpu,
	.rdtsc = fake_tsc,
	.cpu_changed = fake_cpu,
};

void *page_ptr(struct dom *t, unsigned int page)
{
	return t->ram + VA(page);
}

static void put_entry(struct dom *t, unsigned int table, unsigned int slot, unsigned int page,
		      uint64_t flags)
{
	((uint64_t *)page_ptr(t, table))[slot] = VA(page) | flags;
}

static bool is_table(unsigned int page)
{
	return (page >= PG_L1 && page <= PG_USER_L1) || page == PG_GDT || page == PG_LDT ||
	       page == PG_READONLY;
}

static void build_tables(struct dom *t)
{
	const uint64_t rw = PTE_PRESENT | PTE_RW | PTE_USER, ro = PTE_PRESENT | PTE_USER;

	for (unsigned int page = 0; page < NR_PAGES; page++) {
		if (page != PG_HOLE)
			put_entry(t, PG_L1, page, page, is_table(page) ? ro : rw);
	}
	put_entry(t, PG_L2, 0, PG_L1, rw);
	put_entry(t, PG_L3, 0, PG_L2, rw);
	put_entry(t, PG_L4, 0, PG_L3, rw);
	put_entry(t, PG_USER_L1, 0, PG_USER, rw);
	put_entry(t, PG_USER_L2, (USER_VA >> 21) & 511, PG_USER_L1, rw);
	put_entry(t, PG_USER_L3, 0, PG_USER_L2, rw);
	put_entry(t, PG_USER_L4, 0, PG_USER_L3, rw);
}

static void add_cpuid(struct dom *t, uint32_t leaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
		      uint32_t edx)
{
	t->ctl.boot.cpuid[t->ctl.boot.nr_cpuid++] =
		(struct core_cpuid){.leaf = leaf, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx};
}

static void fill_boot(struct dom *t, unsigned int nr_vcpus)
{
	struct core_boot *b = &t->ctl.boot;

	b->domid = DOMID;
	b->nr_vcpus = nr_vcpus;
	b->nr_pages = NR_PAGES;
	b->max_pages = NR_PAGES;
	b->nr_frames = NR_FRAMES;
	b->shared_info = SHARED_INFO;
	b->grant_first = GRANT_FIRST;
	b->grant_max = GRANT_MAX;
	b->maptrack_max = 8;
	b->m2p_first = M2P;
	b->m2p_frames = 1;
	b->root = PG_L4;
	b->entry_rip = VA(PG_CODE);
	b->entry_rsi = VA(PG_DATA);
	b->entry_rsp = STACK_TOP;
	b->hypercall_page = PG_HCALL;
	b->console_port = CONSOLE_PORT;
	b->store_port = STORE_PORT;
	b->max_ports = 1024;
	for (unsigned int i = 0; i < 16; i++)
		b->uuid[i] = (uint8_t)(i + 1);
	/* Intel, XSAVE with x87, SSE and AVX, FSGSBASE, RDTSCP */
	add_cpuid(t, 0, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69);
	add_cpuid(t, 1, 0x000306a9, 0xff000800, 1u << 26, 0x178bfbff);
	add_cpuid(t, 7, 0, 1, 0, 0);
	add_cpuid(t, 0xd, 7, 832, 832, 0);
	t->ctl.boot.cpuid[3].flags = 1;
	t->ctl.boot.cpuid[4] =
		(struct core_cpuid){.leaf = 0xd, .subleaf = 2, .flags = 1, .eax = 256, .ebx = 576};
	t->ctl.boot.nr_cpuid = 5;
	add_cpuid(t, 0x80000001, 0, 0, 0, 1u << 27 | 1u << 29);
}

void dom_reset(struct dom *t, unsigned int nr_vcpus)
{
	struct dom old = *t;

	memset(t, 0, sizeof(*t));
	t->d = old.d;
	t->frames = old.frames;
	t->ram = old.ram;
	memset(t->d, 0, sizeof(*t->d));
	memset(t->frames, 0, NR_FRAMES * sizeof(*t->frames));
	memset(t->ram, 0, (size_t)NR_FRAMES << 12);
	t->ctl.magic = CORE_CTL_MAGIC;
	t->ctl.version = CORE_CTL_VERSION;
	t->ctl.size = sizeof(t->ctl);
	t->ctl.tsc_mul = 0x80000000u;
	t->ctl.tsc_shift = 1;
	t->ctl.tsc_base = 1000000;
	t->tsc = 1000000;
	t->ctl.wall_sec = 1700000000;
	t->ctl.wall_nsec = 5;
	t->ctl.wall_version = 2;
	fill_boot(t, nr_vcpus);
	build_tables(t);
	t->c = (struct core_ctx){
		.d = t->d,
		.frames = t->frames,
		.ctl = &t->ctl,
		.ram = t->ram,
		.ops = &fake_ops,
		.priv = t,
	};
}

struct dom *dom_raw(unsigned int nr_vcpus)
{
	struct dom *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->d = malloc(sizeof(*t->d));
	t->frames = malloc(NR_FRAMES * sizeof(*t->frames));
	t->ram = aligned_alloc(4096, (size_t)NR_FRAMES << 12);
	assert_true(t->d != NULL && t->frames != NULL && t->ram != NULL);
	dom_reset(t, nr_vcpus);
	return t;
}

struct dom *dom_new_vcpus(unsigned int nr)
{
	struct dom *t = dom_raw(nr);

	if (!core_domain_init(&t->c))
		fail_msg("the test domain does not start: %.200s", t->ctl.reason);
	return t;
}

struct dom *dom_new(void)
{
	return dom_new_vcpus(1);
}

void dom_free(struct dom *t)
{
	free(t->ram);
	free(t->frames);
	free(t->d);
	free(t);
}

struct core_ctx *dom_vcpu(struct dom *t, struct core_ctx *other, unsigned int id)
{
	*other = t->c;
	core_attach(other, id);
	return other;
}

long call_on(struct core_ctx *c, unsigned int nr, uint64_t a0, uint64_t a1, uint64_t a2,
	     uint64_t a3)
{
	struct core_regs *r = &c->v->regs;

	r->gpr[R_RAX] = nr;
	r->gpr[R_RDI] = a0;
	r->gpr[R_RSI] = a1;
	r->gpr[R_RDX] = a2;
	r->gpr[R_R10] = a3;
	core_hypercall(c);
	return (long)r->gpr[R_RAX];
}

long call(struct dom *t, unsigned int nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	uint64_t rip = t->c.v->regs.rip;
	long ret = call_on(&t->c, nr, a0, a1, a2, a3);

	assert_int_equal(t->c.v->regs.rip, rip);
	return ret;
}

uint64_t arg_put(struct dom *t, const void *obj, size_t size)
{
	memcpy(page_ptr(t, PG_ARG), obj, size);
	return VA(PG_ARG);
}

void arg_get(struct dom *t, void *obj, size_t size)
{
	memcpy(obj, page_ptr(t, PG_ARG), size);
}

long op_call(struct dom *t, unsigned int nr, unsigned int cmd, void *obj, size_t size)
{
	long rc = call(t, nr, cmd, arg_put(t, obj, size), 0, 0);

	arg_get(t, obj, size);
	return rc;
}

uint64_t peek(struct dom *t, uint64_t va)
{
	uint64_t value;

	memcpy(&value, t->ram + va, sizeof(value));
	return value;
}

void poke(struct dom *t, uint64_t va, uint64_t value)
{
	memcpy(t->ram + va, &value, sizeof(value));
}

void set_trap(struct dom *t, unsigned int vector, unsigned int flags)
{
	struct trap_info info[2] = {
		{.vector = (uint8_t)vector,
		 .flags = (uint8_t)flags,
		 .cs = FLAT_KERNEL_CS64,
		 .address = HANDLER(vector)},
	};

	assert_int_equal(call(t, __HYPERVISOR_set_trap_table, ARG(t, &info), 0, 0, 0), 0);
}

void set_event_callback(struct dom *t)
{
	assert_int_equal(call(t, __HYPERVISOR_set_callbacks, EVENT_HANDLER, 0, 0, 0), 0);
	core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask = 0;
}

void enter_user(struct dom *t)
{
	struct mmuext_op op[2] = {
		{.cmd = MMUEXT_PIN_L4_TABLE, .arg1.mfn = PG_USER_L4},
		{.cmd = MMUEXT_NEW_USER_BASEPTR, .arg1.mfn = PG_USER_L4},
	};
	struct iret_context frame = {
		.rip = USER_VA,
		.cs = FLAT_USER_CS64,
		.rflags = 0x202,
		.rsp = USER_VA + 0x1000,
		.ss = FLAT_USER_SS64,
	};

	assert_int_equal(call(t, __HYPERVISOR_mmuext_op, ARG(t, &op), 2, 0, DOMID_SELF), 0);
	REG(t, RSP) = STACK_TOP - sizeof(frame);
	memcpy(t->ram + REG(t, RSP), &frame, sizeof(frame));
	call_on(&t->c, __HYPERVISOR_iret, 0, 0, 0, 0);
	assert_alive(t);
	assert_int_equal(t->c.v->kernel_mode, 0);
	assert_int_equal(t->c.v->regs.rip, USER_VA);
}

void code(struct dom *t, const uint8_t *bytes, size_t len)
{
	uint64_t at = t->c.v->kernel_mode ? VA(PG_CODE) : VA(PG_USER);

	memset(t->ram + at, 0x90, 64);
	memcpy(t->ram + at, bytes, len);
	t->c.v->regs.rip = t->c.v->kernel_mode ? VA(PG_CODE) : USER_VA;
}

struct bounced bounce_get(struct dom *t, bool has_error)
{
	const uint64_t *p = (const uint64_t *)(t->ram + REG(t, RSP));
	struct bounced b = {0};

	assert_int_equal(REG(t, RSP) & 7, 0);
	assert_int_equal(t->c.v->regs.cs, FLAT_KERNEL_CS64);
	assert_int_equal(t->c.v->regs.ss, FLAT_KERNEL_SS64);
	assert_int_equal(t->c.v->kernel_mode, 1);
	b.rcx = *p++;
	b.r11 = *p++;
	if (has_error)
		b.error = *p++;
	b.rip = *p++;
	b.cs = *p++;
	b.rflags = *p++;
	b.rsp = *p++;
	b.ss = *p++;
	return b;
}

struct bounced assert_bounced(struct dom *t, unsigned int vector, uint32_t error)
{
	bool has_error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
	struct bounced b;

	assert_alive(t);
	assert_int_equal(t->c.v->regs.rip, HANDLER(vector));
	b = bounce_get(t, has_error);
	if (has_error)
		assert_int_equal(b.error, error);
	return b;
}

void assert_crashed(struct dom *t, const char *text)
{
	assert_int_equal(t->ctl.run_state, CORE_STATE_CRASHED);
	if (strstr(t->ctl.reason, text) == NULL)
		fail_msg("crashed, but the reason is \"%s\", not \"...%s...\"", t->ctl.reason,
			 text);
	assert_int_equal(core_next(&t->c), CORE_STOP);
}

void assert_alive(struct dom *t)
{
	if (t->ctl.run_state != CORE_STATE_RUNNING)
		fail_msg("state %u: %s", t->ctl.run_state, t->ctl.reason);
}
