/* SPDX-License-Identifier: MIT */
/* Setting up, and the loop that runs the guest and resolves what the cache does not know yet. */
#include "exec/ring3/translate/emit.h"

#define DEFAULT_CACHE (128ull << 20)
#define RFLAGS_TF     0x100ull
#define RFLAGS_RF     0x10000ull
#define RFLAGS_VM     0x20000ull
#define RFLAGS_HW     0xed7ull /* in the hardware's flags anyway: arithmetic, DF, IF, bit 1 */
#define TOUCHED_BYTES (XLATE_TABLE_SIZE / 4096 / 8 + 8)

#define CHECK(field, off)                                                                          \
	_Static_assert(offsetof(struct xlate_vcpu, field) == (off), "layout.h: " #field)
CHECK(sp0, XV_SP0);
CHECK(sp1, XV_SP1);
CHECK(slot, XV_SLOT);
CHECK(target, XV_TARGET);
CHECK(retimm, XV_RETIMM);
CHECK(exit_rip, XV_EXIT_RIP);
CHECK(exit_info, XV_EXIT_INFO);
CHECK(resume, XV_RESUME);
CHECK(regs, XV_REGS);
CHECK(host_rsp, XV_HOST_RSP);
CHECK(exit_vec, XV_EXIT_VEC);
CHECK(miss_vec, XV_MISS_VEC);
CHECK(fs_base, XV_FS_BASE);
CHECK(redirect, XV_REDIRECT);
CHECK(hw_fs, XV_HW_FS);
CHECK(host_fs, XV_HOST_FS);
CHECK(host_gs, XV_HOST_GS);
CHECK(kick, XV_KICK);
CHECK(scratch, XV_SCRATCH);
CHECK(shift, XV_SHIFT);
CHECK(sp2, XV_SP2);
CHECK(after, XV_AFTER);
CHECK(fs_shift, XV_FS_SHIFT);
CHECK(fs_unshift, XV_FS_UNSHIFT);
CHECK(host_tf, XV_HOST_TF);
CHECK(sel, XV_SEL);
CHECK(flags, XV_FLAGS);
CHECK(fpu_trap, XV_FPU_TRAP);
CHECK(tsc_aux, XV_TSC_AUX);
CHECK(str_flags, XV_STR_FLAGS);
CHECK(str_dst, XV_STR_DST);
CHECK(str_src, XV_STR_SRC);
CHECK(str_end_di, XV_STR_END_DI);
CHECK(str_end_si, XV_STR_END_SI);
CHECK(str_end_cx, XV_STR_END_CX);
CHECK(str_try, XV_STR_TRY);
_Static_assert(offsetof(struct core_regs, rip) == 128, "entry.S: R_RIP");
_Static_assert(offsetof(struct core_regs, rflags) == 136, "entry.S: R_RFLAGS");
_Static_assert(offsetof(struct core_regs, gs) - offsetof(struct core_regs, cs) == 10,
	       "layout.h: XV_SEL");

void xlate_areas(struct xlate_area a[XLATE_NR_AREAS], uint64_t cache_size)
{
	a[0] = (struct xlate_area){XLATE_VCPU, XLATE_VCPU_SIZE, false, false};
	a[1] = (struct xlate_area){XLATE_CACHE, cache_size ? cache_size : DEFAULT_CACHE, true,
				   true};
	a[2] = (struct xlate_area){XLATE_TABLE, XLATE_TABLE_SIZE, false, true};
	a[3] = (struct xlate_area){XLATE_META, XLATE_META_SIZE, false, true};
}

static void *carve(uint64_t *at, uint64_t size)
{
	void *p = (void *)(uintptr_t)*at;

	*at += (size + 4095) & ~4095ull;
	return p;
}

static void trampoline(uint32_t at, uint32_t vec)
{
	uint8_t *p = (uint8_t *)(uintptr_t)at;

	p[0] = 0xff; /* jmp *[vec] */
	p[1] = 0x24;
	p[2] = 0x25;
	__builtin_memcpy(p + 3, &vec, 4);
}

/* An exit with this code: 16 bytes. */
static void trampoline_code(uint32_t at, uint32_t code)
{
	uint8_t *p = (uint8_t *)(uintptr_t)at;
	const uint32_t addr = XLATE_VCPU + XV_EXIT_INFO, rel = TRAMP_EXIT - (at + 16);

	p[0] = 0xc7; /* mov dword [addr], code */
	p[1] = 0x04;
	p[2] = 0x25;
	__builtin_memcpy(p + 3, &addr, 4);
	__builtin_memcpy(p + 7, &code, 4);
	p[11] = 0xe9;
	__builtin_memcpy(p + 12, &rel, 4);
}

/* Where the components of an XSAVE image end. */
static void find_xsave_ends(struct xlate *x)
{
	uint32_t a = 0xd, b, c = 0, d, low, high;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	low = a;
	high = d;
	for (unsigned int k = 2; k < 63; k++) {
		if (!(k < 32 ? low >> k & 1 : high >> (k - 32) & 1))
			continue;
		a = 0xd;
		c = k;
		__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		x->xsave_end[k] = a + b;
		x->xsave_has |= 1ull << k;
	}
}

static void set_fs(struct xlate *x, uint64_t gs_base)
{
	uint64_t v = gs_base + XLATE_SHIFT;

	if ((uint64_t)((int64_t)(v << 16) >> 16) != v)
		v = 0xffff800000000000; /* canonical, and every access faults */
	XV->hw_fs = v;
	x->gs_base = gs_base;
	x->fs_stale = 0;
#ifndef XLATE_HOSTED
	__asm__ volatile("wrfsbase %0" ::"r"(v));
#endif
}

struct xlate *xlate_init(const struct xlate_config *cfg)
{
	uint64_t at = XLATE_META, size = cfg->cache_size ? cfg->cache_size : DEFAULT_CACHE;
	struct xlate *x = carve(&at, sizeof(*x));

	if ((size & 0xfffff) || size < (4u << 20) || size > XLATE_CACHE_SIZE_MAX || !cfg->regs ||
	    !cfg->kick || !cfg->fetch || !cfg->note)
		return NULL;
	bool again = x->magic == XLATE_MAGIC;

	if (again) /* the tables hold addresses of before */
		xlate_forget_lookups(x);
	__builtin_memset(x, 0, sizeof(*x));
	x->magic = XLATE_MAGIC;
	x->cfg = *cfg;
	x->frags = carve(&at, sizeof(struct frag) * MAX_FRAGS);
	x->edges = carve(&at, sizeof(struct edge) * MAX_EDGES);
	x->notes = carve(&at, NOTES_SIZE);
	x->pages = carve(&at, sizeof(struct page_rec) * (MAX_PAGES + 1));
	x->page_hash = carve(&at, sizeof(uint32_t) * 2 * MAX_PAGES);
	x->filter = carve(&at, (FILTER_FRAMES + FILTER_PAGES) / 8);
	x->far = carve(&at, sizeof(struct far_entry) * MAX_FAR);
	x->user = carve(&at, sizeof(struct user_site) * (MAX_USER_SITES + 1));
	x->touched = carve(&at, sizeof(uint32_t) * MAX_TOUCHED);
	x->touched_map = carve(&at, TOUCHED_BYTES);
	x->em = carve(&at, sizeof(struct em));
	x->tlb_saved = carve(&at, sizeof(struct tlb_saved) * TLB_ROOTS);
	if (at > XLATE_META + XLATE_META_SIZE)
		return NULL;
	/* Fresh memory is zero already, and clearing it would cost the host 17 MiB for each vCPU.
	 */
	if (again) {
		__builtin_memset(x->page_hash, 0, sizeof(uint32_t) * 2 * MAX_PAGES);
		__builtin_memset(x->far, 0, sizeof(struct far_entry) * MAX_FAR);
		__builtin_memset(x->filter, 0, (FILTER_FRAMES + FILTER_PAGES) / 8);
		__builtin_memset(x->touched_map, 0, TOUCHED_BYTES);
	}
#ifdef XLATE_NO_TABLE
	x->exact = 1;
	x->st.exact_mode = 1;
#endif
	x->hot_start = HOT_FIRST;
	x->cache_end = (uint32_t)(XLATE_CACHE + size);
	xlate_flush(x);
	x->generation = 1;
	x->st.flushes = 0;
	trampoline(TRAMP_EXIT, XLATE_VCPU + XV_EXIT_VEC);
	trampoline(TRAMP_MISS, XLATE_VCPU + XV_MISS_VEC);
	trampoline_code(TRAMP_DONE, XC_DONE);
	trampoline_code(TRAMP_SLOT, XC_SLOT);
	XV->fpu_trap = 0;
	XV->tsc_aux = 0;
	find_xsave_ends(x);
	xlate_tlb_init(x);
	XV->exit_vec = (uintptr_t)xlate_asm_exit;
	XV->miss_vec = (uintptr_t)xlate_asm_miss;
	XV->regs = cfg->regs;
	XV->kick = cfg->kick;
	XV->shift = XLATE_SHIFT;
	set_fs(x, cfg->regs->gs_base);
#ifndef XLATE_HOSTED
	__asm__ volatile("wrgsbase %0" ::"r"(XLATE_SHIFT));
#endif
	return x;
}

static enum xlate_exit fetch_fault(struct xlate *x, uint32_t err, uint64_t addr)
{
	x->exit_error = err;
	x->exit_addr = addr;
	return XLATE_FETCH_FAULT;
}

static uint32_t translate_rip(struct xlate *x, bool called)
{
	uint64_t addr;
	uint32_t err, host = xlate_translate(x, x->cfg.regs->rip, called, &err, &addr);

	if (!host)
		fetch_fault(x, err, addr);
	return host;
}

/* The host address for regs->rip, translating if needed; 0 = fetch fault, recorded. */
static uint32_t find_rip(struct xlate *x)
{
	uint32_t host = x->stepping || x->redo ? 0 : xlate_lookup(x, x->cfg.regs->rip);

	return host ? host : translate_rip(x, false);
}

/*
 * Likewise for a call, with an entry for it. (Where a fragment came upon the function on its way
 * there is none; then a second one begins there.)
 */
static uint32_t find_called(struct xlate *x)
{
	uint32_t host = xlate_lookup_call(x, x->cfg.regs->rip);

	return host ? host : translate_rip(x, true);
}

static uint32_t resolve_edge(struct xlate *x, uint32_t id)
{
	uint32_t gen = x->generation, host, frag;

	x->cfg.regs->rip = x->edges[id].target;
	host = x->edges[id].call ? find_called(x) : find_rip(x);
	x->st.edges_resolved++;
	if (!host || x->generation != gen)
		return host;
	frag = xlate_frag_of(x, host);
	if (frag && !x->edges[id].linked)
		xlate_link(x, id, host, frag);
	return host;
}

/* A verified block's source changed: forget it. */
static void verify_failed(struct xlate *x, uint32_t frag)
{
	x->cfg.regs->rip = x->frags[frag].gva;
	xlate_kill(x, frag);
}

static enum xlate_exit user_site(struct xlate *x, uint32_t site, uint32_t *host)
{
	enum xlate_exit ret = xlate_user_serve(x, site, host);

	if (ret || *host)
		return ret;
	if (x->stepping)
		return XLATE_STEP;
	*host = find_rip(x);
	return 0;
}

static enum xlate_exit user_done(struct xlate *x, uint32_t *host)
{
	enum xlate_exit ret = xlate_user_done(x);

	if (ret)
		return ret;
	x->cfg.regs->rip += x->done_len;
	if (x->stepping)
		return XLATE_STEP;
	*host = find_rip(x);
	return 0;
}

/* An exit that the caller serves. */
static enum xlate_exit report(struct xlate *x, uint32_t info)
{
	struct core_regs *r = x->cfg.regs;

	r->rip = XV->exit_rip;
	switch (info & 0xff) {
	case XC_SYSCALL:
		r->gpr[R_RCX] = r->rip;
		r->gpr[R_R11] = r->rflags;
		return XLATE_HYPERCALL;
	case XC_SENS:
		return XLATE_SENSITIVE;
	case XC_NM:
		return XLATE_NM;
	case XC_FPU:
		return XLATE_FPU;
	case XC_GP:
		return XLATE_GP;
	case XC_INT:
		x->exit_vector = info >> 8 & 0xff;
		x->exit_len = info >> 16 & 0xff;
		return XLATE_SOFT_INT;
	default:
		return XLATE_UD;
	}
}

void xlate_step_next(struct xlate *x)
{
	x->step_next = 1;
}

enum xlate_exit xlate_enter(struct xlate *x)
{
	struct core_regs *r = x->cfg.regs;
	uint32_t host, info;
	enum xlate_exit ret;

	if (r->gs_base != x->gs_base || x->fs_stale)
		set_fs(x, r->gs_base);
	XV->fs_base = r->fs_base;
	XV->fs_shift = r->fs_base + XLATE_SHIFT;
	XV->fs_unshift = -XV->fs_shift;
	__builtin_memcpy(XV->sel, &r->cs, sizeof(XV->sel));
	XV->flags = r->rflags & ~(RFLAGS_HW | RFLAGS_RF | RFLAGS_VM);
	x->stepping = (r->rflags & RFLAGS_TF) || x->step_next ? 1 : 0;
	x->step_next = 0;
	x->cur_frag = 0;
	if (x->nr_verify && !(++x->nr_entered & 0xfff))
		xlate_expire_verify(x);
	if (x->redo && x->redo_rip != r->rip)
		x->redo = 0; /* the core had other plans */
	host = find_rip(x);
	x->redo = 0;
	for (;;) {
		if (!host)
			return XLATE_FETCH_FAULT;
		XV->resume = host;
		info = xlate_asm_run();
		switch (info & 0xff) {
		case XC_ABORT:
			return XLATE_KICKED;
		case XC_SIGNAL:
			return XLATE_SIGNAL;
		case XC_EDGE:
			if (x->stepping) {
				r->rip = x->edges[info >> 8].target;
				return XLATE_STEP;
			}
			host = resolve_edge(x, info >> 8);
			break;
		case XC_MISS:
		case XC_SLOT:
			r->rip = XV->slot;
			if (x->stepping)
				return XLATE_STEP;
			x->st.misses++;
			host = find_rip(x);
			break;
		case XC_ICALL:
			xlate_icall_miss(x, info >> 8);
			host = find_rip(x);
			break;
		case XC_VERIFY:
			verify_failed(x, info >> 8);
			host = find_rip(x);
			break;
		case XC_USER:
			ret = user_site(x, info >> 8, &host);
			if (ret)
				return ret;
			break;
		case XC_DONE:
			ret = user_done(x, &host);
			if (ret)
				return ret;
			break;
		default:
			return report(x, info);
		}
	}
}

unsigned int xlate_exit_vector(const struct xlate *x)
{
	return x->exit_vector;
}

unsigned int xlate_exit_len(const struct xlate *x)
{
	return x->exit_len;
}

uint64_t xlate_exit_addr(const struct xlate *x)
{
	return x->exit_addr;
}

uint32_t xlate_exit_error(const struct xlate *x)
{
	return x->exit_error;
}

void xlate_get_stats(const struct xlate *x, struct xlate_stats *ret)
{
	*ret = x->st;
}
