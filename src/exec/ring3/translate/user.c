/* SPDX-License-Identifier: MIT */
/*
 * Kernel accesses to user memory. User addresses lie outside of the window, or are not mapped into
 * it; the instructions that touch them are few (those of the kernel's exception table) and become
 * known when they fault. From then on such a site leaves the cache, the operand's address is
 * computed here, the monitor turns it into a pointer to its view of RAM, and
 *	string instructions are carried out here, a page at a time;
 *	everything else is executed by a snippet: the same instruction with [r] as its operand.
 *
 * Stores to page tables go the same way (SITE_STORE): the window has them read-only, and a fault
 * for each would cost ten times as much.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o)	 (XLATE_VCPU + (o))
#define USER_END 0x800000000000ull
#define WINDOW_END                                                                                 \
	(USER_END - XLATE_SHIFT) /* user addresses from here on are not in the window              \
				  */
#define BOUNCE ((uint8_t *)(uintptr_t)ABS(XV_BOUNCE))

static unsigned int bloom_bit(uint64_t gva)
{
	return (unsigned int)((gva * 0x9e3779b97f4a7c15ull) >> 49);
}

static uint32_t find_site(const struct xlate *x, uint64_t gva)
{
	unsigned int b = bloom_bit(gva);
	uint32_t k;

	if (!(x->user_bloom[b >> 6] & 1ull << (b & 63)))
		return 0;
	for (k = 1; k <= x->nr_user; k++)
		if (x->user[k].gva == gva)
			return k;
	return 0;
}

/*
 * The compiler would call memcpy() for this, and a hosted one uses the vector registers, which are
 * the guest's.
 */
static void copy_insn(struct insn *dst, const struct insn *src)
{
	const uint8_t *s = (const uint8_t *)src;
	unsigned long n = sizeof(*dst);

	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(s), "+c"(n)::"memory");
}

/* A site for this instruction, 0 = there are too many. */
static uint32_t add_site(struct xlate *x, uint64_t gva, const struct insn *i)
{
	unsigned int b = bloom_bit(gva);

	if (x->nr_user == MAX_USER_SITES)
		return 0;
	x->user[++x->nr_user].gva = gva;
	x->user[x->nr_user].snippet = 0;
	x->user[x->nr_user].flags = 0;
	x->user[x->nr_user].small = 0;
	x->user[x->nr_user].needless = 0;
	copy_insn(&x->user[x->nr_user].insn, i);
	x->user_bloom[b >> 6] |= 1ull << (b & 63);
	x->st.user_sites++;
	return x->nr_user;
}

static void refresh_site(struct xlate *x, uint32_t site, const struct insn *i)
{
	struct user_site *u = &x->user[site];

	unsigned int k;

	for (k = 0; k < i->len && u->insn.bytes[k] == i->bytes[k];)
		k++;
	if (u->insn.len == i->len && k == i->len)
		return;
	copy_insn(&u->insn, i);
	u->snippet = 0;
	u->flags = 0;
	u->small = 0;
	u->needless = 0;
}

static bool is_user(const struct xlate *x, uint64_t va)
{
	uint64_t from = x->cfg.user_from ? x->cfg.user_from : WINDOW_END;

	/* Also the hypervisor's own range: the M2P at 0xffff800000000000. */
	return (va >= from && va < USER_END) ||
	       (va >= 0xffff800000000000ull && va < 0xffff888000000000ull);
}

/* The linear address of the memory operand; `next` is the address behind the instruction. */
static uint64_t operand(const struct core_regs *r, const struct insn *i, uint64_t next)
{
	uint64_t ea = 0;

	if (insn_class(i) == IC_MOFFS) {
		ea = (uint64_t)insn_imm(i);
	} else {
		int base = insn_base(i), index = insn_index(i);

		ea = (uint64_t)insn_disp(i);
		if (i->disp_len == 1)
			ea *= insn_disp8_scale(i);
		if (insn_rip_relative(i))
			ea += next;
		if (base >= 0)
			ea += r->gpr[base];
		if (index >= 0)
			ea += r->gpr[index] << (i->sib >> 6);
		/* pop [rsp + x]: the address is computed after the increment */
		if (base == R_RSP && i->enc == IE_LEGACY && !i->map && i->op == 0x8f)
			ea += i->p66 && !i->w ? 2 : 8;
	}
	if (i->p67)
		ea = (uint32_t)ea;
	return ea + (i->seg == 0x64 ? r->fs_base : i->seg == 0x65 ? r->gs_base : 0);
}

/*
 * bt, bts, btr, btc with a register: how far from the operand the word with the bit lies. The
 * register keeps its value, so the redirected operand is as far before the word.
 */
static uint64_t bit_offset(const struct core_regs *r, const struct insn *i)
{
	int64_t v;

	if (!insn_bit_string(i))
		return 0;
	v = (int64_t)r->gpr[insn_reg(i)];
	if (i->w)
		v = (v >> 6) * 8;
	else
		v = i->p66 ? ((int16_t)v >> 4) * 2 : ((int32_t)v >> 5) * 4;
	return (uint64_t)v;
}

static bool redirectable(const struct insn *i)
{
	if (insn_class(i) == IC_MOFFS)
		return true;
	return insn_class(i) == IC_COPY && insn_has_mem(i) && !(i->desc & ID_VSIB);
}

uint32_t xlate_user_site(struct xlate *x, uint64_t gva, const struct insn *i)
{
	uint32_t site = find_site(x, gva);

	if (!site && x->cfg.user && insn_saves_x87(i))
		site = add_site(x, gva, i);
	/* What was a site may be something else by now: another module, patched text. */
	if (!site || (insn_class(i) != IC_STR && !redirectable(i)))
		return 0;
	refresh_site(x, site, i);
	return x->user[site].flags & SITE_PLAIN ? 0 : site;
}

/* Which registers point to memory; true if the string instruction has this operand. */
static bool string_si(const struct insn *i)
{
	unsigned int k = i->op & 0xfe;

	return k == 0xa4 || k == 0xa6 || k == 0xac;
}
static bool string_di(const struct insn *i)
{
	return (i->op & 0xfe) != 0xac;
}
static bool string_stos(const struct insn *i)
{
	return (i->op & 0xfe) == 0xaa;
}
static bool string_movs(const struct insn *i)
{
	return (i->op & 0xfe) == 0xa4;
}
static uint64_t string_seg(const struct core_regs *r, const struct insn *i)
{
	return i->seg == 0x64 ? r->fs_base : i->seg == 0x65 ? r->gs_base : 0;
}

static bool fetch_insn(const struct xlate *x, uint64_t gva, struct insn *i)
{
	uint8_t buf[32] = {0};
	unsigned int n = 4096 - (gva & 0xfff), k;
	struct xlate_code code;

	if (x->cfg.fetch(x->cfg.priv, gva, &code))
		return false;
	n = n < INSN_MAX ? n : INSN_MAX;
	for (k = 0; k < n; k++)
		buf[k] = code.ptr[(gva & 0xfff) + k];
	if (n < INSN_MAX && !x->cfg.fetch(x->cfg.priv, gva + n, &code))
		for (; k < INSN_MAX; k++)
			buf[k] = code.ptr[k - n];
	return insn_decode(i, buf, k) != 0;
}

/* The instruction at rip is one from now on. */
static bool make_site(struct xlate *x, const struct insn *i, uint16_t flags)
{
	uint64_t gva = x->cfg.regs->rip;
	uint32_t site = find_site(x, gva);

	if (!site)
		site = add_site(x, gva, i);
	if (!site)
		return false;
	refresh_site(x, site, i);
	x->user[site].flags = (x->user[site].flags & ~(SITE_PLAIN | SITE_RESTS)) | flags;
	xlate_kill(x, x->cur_frag);
	return true;
}

bool xlate_user_access(struct xlate *x)
{
	const struct core_regs *r = x->cfg.regs;
	struct insn i;

	if (!x->cfg.user || !x->cur_frag || x->frags[x->cur_frag].flags & FRAG_SNIPPET)
		return false;
	if (!fetch_insn(x, r->rip, &i))
		return false;
	if (insn_class(&i) == IC_STR) {
		uint64_t seg = string_seg(r, &i);

		if (!(string_si(&i) && is_user(x, r->gpr[R_RSI] + seg)) &&
		    !(string_di(&i) && is_user(x, r->gpr[R_RDI])))
			return false;
	} else if (!redirectable(&i) ||
		   !is_user(x, operand(r, &i, r->rip + i.len) + bit_offset(r, &i))) {
		return false;
	}
	return make_site(x, &i, 0);
}

/* Bytes of a string that are as good as a page: Linux copies 1,912 of them into each new root. */
#define WHOLE 1792u
#define SMALL 16u /* shorter ones until a site is SITE_PLAIN */

/*
 * So many faults of all such instructions in between, and it was not time and again. What stores
 * here and there, and meets a page that was a table once, is no site: it would ask each time.
 */
#define STORED_AGE  32u
#define STORED_WAYS 4u

static bool faults_often(struct xlate *x, uint64_t gva)
{
	unsigned int k = bloom_bit(gva), i, at, oldest = 0;
	uint32_t now = ++x->store_faults;

	for (i = 0; i < STORED_WAYS; i++) {
		at = (k + i) % (sizeof(x->stored) / sizeof(x->stored[0]));
		if (x->stored[at].gva == gva)
			break;
		if (i == 0 || now - x->stored[at].last > now - x->stored[oldest].last)
			oldest = at;
	}
	if (i == STORED_WAYS) {
		at = oldest;
		x->stored[at].gva = gva;
		x->stored[at].faults = 0;
	} else if (now - x->stored[at].last > STORED_AGE) {
		x->stored[at].faults = 0;
	}
	x->stored[at].last = now;
	return ++x->stored[at].faults >= STORE_FAULTS;
}

bool xlate_store_access(struct xlate *x, bool allowed, bool taken)
{
	const struct core_regs *r = x->cfg.regs;
	struct insn i;
	uint32_t site;

	if (!x->cfg.user || !x->cur_frag || x->frags[x->cur_frag].flags & FRAG_SNIPPET)
		return false;
	if (!fetch_insn(x, r->rip, &i))
		return false;
	if (insn_class(&i) == IC_STR) {
		if (i.rep != 0xf3 || (!string_stos(&i) && !string_movs(&i)) ||
		    r->gpr[R_RCX] < WHOLE / 8)
			return false;
	} else if (!op_can_inline(x, &i) || !redirectable(&i) || !(i.desc & ID_MEM_WRITE) ||
		   (allowed && !faults_often(x, r->rip))) {
		return false;
	}
	/* It is one, and yet went through the window: another site has looked the page up before.
	 */
	xlate_user_forget_writes(x);
	site = find_site(x, r->rip);
	if (site && x->user[site].flags && !(taken && (x->user[site].flags & SITE_RESTS)))
		return false;
	return make_site(x, &i, SITE_STORE);
}

void xlate_store_needless(struct xlate *x)
{
	x->needless = true;
}

bool xlate_at_string(const struct xlate *x)
{
	return x->at_string;
}

void xlate_store_by_window(struct xlate *x, bool on)
{
	x->by_window = on;
	xlate_user_forget_writes(x);
}

static bool canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

/* The lowest address at which the instruction accesses the stack by itself; 0 = it does not. */
static uint64_t stack_operand(const struct core_regs *r, const struct insn *i)
{
	switch (insn_class(i)) {
	case IC_PUSHR:
	case IC_CALL:
	case IC_CALLI:
	case IC_ENTER:
		return r->gpr[R_RSP] - 8;
	case IC_POPR:
	case IC_RET:
		return r->gpr[R_RSP];
	case IC_LEAVE:
		return r->gpr[R_RBP];
	case IC_COPY:
		if (i->enc != IE_LEGACY || i->map)
			return 0;
		if (i->op == 0x68 || i->op == 0x6a ||
		    (i->op == 0xff && insn_has_mem(i) && (insn_reg(i) & 7) == 6))
			return r->gpr[R_RSP] - 8;
		return i->op == 0x8f ? r->gpr[R_RSP] : 0;
	default:
		return 0;
	}
}

unsigned int xlate_guest_vector(const struct xlate *x, unsigned int host_vector)
{
	const struct core_regs *r = x->cfg.regs;
	struct insn i;
	int base;

	if ((host_vector != 12 && host_vector != 13) || !fetch_insn(x, r->rip, &i))
		return host_vector;
	if (insn_class(&i) == IC_COPY && i.op == 0x8f && !canonical(stack_operand(r, &i)))
		return 12; /* pop [...]: first from the stack */
	base = insn_has_mem(&i) ? insn_base(&i) : -1;
	if (insn_has_mem(&i) && insn_class(&i) != IC_LEA) {
		uint64_t va = operand(r, &i, r->rip + i.len) + bit_offset(r, &i);
		unsigned int n = insn_mem_size[ID_MEMSIZE(i.desc)];

		if (!canonical(va) || !canonical(va + (n ? n - 1 : 0)))
			return !i.seg && (base == R_RSP || base == R_RBP) ? 12 : 13;
	}
	return canonical(stack_operand(r, &i)) ? host_vector : 12;
}

/* 16 bytes and more are checked by nobody, or in any case (#GP); what has no power of two neither.
 */
static bool odd(struct xlate_access *a, uint64_t va, unsigned int n, bool write)
{
	*a = (struct xlate_access){.va = va, .len = n, .write = write};
	return n <= 8 && (va & (n - 1)) != 0;
}

/* prefetches and the long nop: operands that nobody accesses */
static bool insn_hint(const struct insn *i)
{
	return i->enc == IE_LEGACY && i->map == 1 && (i->op == 0x0d || (i->op & 0xf8) == 0x18);
}

bool xlate_misaligned(const struct xlate *x, struct xlate_access *ret)
{
	const struct core_regs *r = x->cfg.regs;
	uint64_t stack;
	struct insn i;

	if (!fetch_insn(x, r->rip, &i) || insn_class(&i) == IC_LEA || insn_class(&i) == IC_SENS)
		return false;
	if (insn_class(&i) == IC_STR) {
		unsigned int kind = i.op & 0xfe, width = !(i.op & 1) ? 1 : i.w ? 8 : i.p66 ? 2 : 4;

		if (i.rep && !r->gpr[R_RCX])
			return false;
		return (string_si(&i) &&
			odd(ret, r->gpr[R_RSI] + string_seg(r, &i), width, false)) ||
		       (string_di(&i) &&
			odd(ret, r->gpr[R_RDI], width, kind == 0xaa || kind == 0xa4));
	}
	if (((insn_has_mem(&i) && i.desc & (ID_MEM_READ | ID_MEM_WRITE) && !(i.desc & ID_VSIB)) ||
	     insn_class(&i) == IC_MOFFS) &&
	    !insn_hint(&i) &&
	    odd(ret, operand(r, &i, r->rip + i.len) + bit_offset(r, &i),
		insn_class(&i) != IC_MOFFS ? insn_mem_size[ID_MEMSIZE(i.desc)]
		: !(i.op & 1)		   ? 1
		: i.w			   ? 8
		: i.p66			   ? 2
					   : 4,
		i.desc & ID_MEM_WRITE || (insn_class(&i) == IC_MOFFS && i.op & 2)))
		return true;
	stack = stack_operand(r, &i);
	return stack && odd(ret, stack, i.p66 && !i.w ? 2 : 8, stack < r->gpr[R_RSP]);
}

/* ---- string instructions ------------------------------------------------------------------ */

static enum xlate_exit page_fault(struct xlate *x, uint32_t err, uint64_t va)
{
	x->exit_error = err;
	x->exit_addr = va;
	return XLATE_PAGE_FAULT;
}

struct str_op {
	struct xlate *x;
	const struct insn *i;
	unsigned int width;
	uint32_t err; /* of the access that failed */
	uint64_t err_va;
	bool kicked; /* before anything was done */
};

/* Read or write one element; the two bytes of a page crossing are looked up one by one. */
static bool element(struct str_op *s, uint64_t va, bool write, uint64_t *v)
{
	uint8_t *p = NULL;
	unsigned int k;

	for (k = 0; k < s->width; k++) {
		if (!k || !((va + k) & 0xfff)) {
			s->err = xlate_user_ptr(s->x, va + k, write, &p);
			s->err_va = va + k;
			if (s->err)
				return false;
		}
		if (write)
			*p = (uint8_t)(*v >> (8 * k));
		else
			*v |= (uint64_t)*p << (8 * k);
		p++;
	}
	return true;
}

#define ARITH 0x8d5ull

static uint64_t compare_flags(uint64_t a, uint64_t b, unsigned int width)
{
	uint64_t f;

	a <<= 64 - 8 * width; /* only CF, ZF, SF, OF survive this; AF and PF are redone below */
	b <<= 64 - 8 * width;
	__asm__("cmp %2, %1\n\tpushfq\n\tpop %0" : "=r"(f) : "r"(a), "r"(b) : "cc");
	f &= ~0x14ull;
	a >>= 64 - 8 * width;
	b >>= 64 - 8 * width;
	if ((a & 15) < (b & 15))
		f |= 0x10;
	if (!(__builtin_popcount((unsigned int)(a - b) & 0xff) & 1))
		f |= 4;
	return f & ARITH;
}

/* One iteration. False: s->err. */
static bool one_element(struct str_op *s, bool *stop)
{
	struct core_regs *r = s->x->cfg.regs;
	uint64_t step = r->rflags & 0x400 ? -(uint64_t)s->width : s->width, a = 0, b = 0;
	uint64_t seg = string_seg(r, s->i);
	unsigned int kind = s->i->op & 0xfe;

	*stop = false;
	if (string_si(s->i) && !element(s, r->gpr[R_RSI] + seg, false, &a))
		return false;
	switch (kind) {
	case 0xac: /* lods */
		if (s->width == 8)
			r->gpr[R_RAX] = a;
		else if (s->width == 4)
			r->gpr[R_RAX] = (uint32_t)a;
		else
			__builtin_memcpy(&r->gpr[R_RAX], &a, s->width);
		break;
	case 0xaa: /* stos */
		a = r->gpr[R_RAX];
		/* fall through */
	case 0xa4: /* movs */
		if (!element(s, r->gpr[R_RDI], true, &a))
			return false;
		break;
	default: /* scas, cmps */
		if (kind == 0xae)
			__builtin_memcpy(&a, &r->gpr[R_RAX], s->width);
		if (!element(s, r->gpr[R_RDI], false, &b))
			return false;
		r->rflags = (r->rflags & ~ARITH) | compare_flags(a, b, s->width);
		if (s->i->rep)
			*stop = !(r->rflags & 0x40) == (s->i->rep == 0xf3);
		break;
	}
	if (string_si(s->i))
		r->gpr[R_RSI] += step;
	if (string_di(s->i))
		r->gpr[R_RDI] += step;
	return true;
}

/* rep stos of `n` bytes in elements of this width */
static void store_elements(uint8_t *p, uint64_t v, unsigned int width, uint64_t n)
{
	uint64_t c = n >> __builtin_ctz(width);

	if (width == 1)
		__asm__ volatile("rep stosb" : "+D"(p), "+c"(c) : "a"((uint8_t)v) : "memory");
	else if (width == 2)
		__asm__ volatile("rep stosw" : "+D"(p), "+c"(c) : "a"((uint16_t)v) : "memory");
	else if (width == 4)
		__asm__ volatile("rep stosl" : "+D"(p), "+c"(c) : "a"((uint32_t)v) : "memory");
	else
		__asm__ volatile("rep stosq" : "+D"(p), "+c"(c) : "a"(v) : "memory");
}

static void copy_bytes(uint8_t *dst, const uint8_t *src, uint64_t n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n)::"memory");
}

/* rep movs: where source and destination overlap the width matters. */
static void copy_elements(uint8_t *dst, const uint8_t *src, unsigned int width, uint64_t n)
{
	uint64_t c = n >> __builtin_ctz(width);

	if (width == 1)
		copy_bytes(dst, src, n);
	else if (width == 2)
		__asm__ volatile("rep movsw" : "+D"(dst), "+S"(src), "+c"(c)::"memory");
	else if (width == 4)
		__asm__ volatile("rep movsl" : "+D"(dst), "+S"(src), "+c"(c)::"memory");
	else
		__asm__ volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(c)::"memory");
}

/*
 * Whole elements of movs and stos up to the end of a page, forwards. Returns the number done; 0: do
 * one the careful way.
 */
static uint64_t many_elements(struct str_op *s, uint64_t count)
{
	struct core_regs *r = s->x->cfg.regs;
	unsigned int kind = s->i->op & 0xfe;
	uint64_t di = r->gpr[R_RDI], si = r->gpr[R_RSI] + string_seg(r, s->i), n = count * s->width;
	uint8_t *d, *p;

	if ((r->rflags & 0x400) || (kind != 0xa4 && kind != 0xaa) || count > ~0ull / 8)
		return 0;
	if (n > 4096 - (di & 0xfff))
		n = 4096 - (di & 0xfff);
	if (kind == 0xa4 && n > 4096 - (si & 0xfff))
		n = 4096 - (si & 0xfff);
	n &= -(uint64_t)s->width; /* (a power of two, and a division costs as much as a look-up) */
	if (!n)
		return 0;
	if (kind == 0xa4 && xlate_user_ptr(s->x, si, false, &p))
		return 0; /* reported by the careful way */
	if (xlate_user_ptr(s->x, di, true, &d))
		return 0;
	/* Asking for the one may have waited for other vCPUs, and the other be no more since. */
	if (*s->x->cfg.kick) {
		s->kicked = true;
		return 0;
	}
	if (kind == 0xa4) {
		copy_elements(d, p, s->width, n);
		r->gpr[R_RSI] += n;
	} else {
		store_elements(d, r->gpr[R_RAX], s->width, n);
	}
	r->gpr[R_RDI] += n;
	return n >> __builtin_ctz(s->width);
}

/* From now on an instruction like any other. */
static void make_plain(struct xlate *x, struct user_site *u, uint16_t flags)
{
	uint32_t host = xlate_lookup(x, u->gva);

	u->flags |= SITE_PLAIN | flags;
	/* (nothing was recovered, so cur_frag says nothing) */
	if (host)
		xlate_kill(x, xlate_frag_of(x, host));
}

/*
 * A kernel clears pages for page tables, which the window has read-only, and pages for everything
 * else, where the longer way is a waste: it leaves the cache, looks the page up, and uses another
 * mapping of it. One fault is worth about so many of these, and to rest and to be woken
 * NEEDLESS_MAX.
 */
#define NEEDED	     16u
#define NEEDLESS_MAX 64u

static void count_needless(struct xlate *x, struct user_site *u, uint64_t va, uint64_t n)
{
	if (!(u->flags & SITE_STORE) || is_user(x, va) || n != 4096)
		return;
	if (!x->needless) {
		u->needless = u->needless > NEEDED ? u->needless - NEEDED : 0;
	} else if (++u->needless >= NEEDLESS_MAX) {
		u->needless = 0;
		make_plain(x, u, SITE_RESTS);
	}
}

/* Carry out a string instruction; rip is at it. 0 = done, rip behind it. */
static enum xlate_exit string_access(struct xlate *x, struct user_site *u)
{
	const struct insn *i = &u->insn;
	struct core_regs *r = x->cfg.regs;
	struct str_op s = {.x = x, .i = i};

	s.width = !(i->op & 1) ? 1 : i->w ? 8 : i->p66 ? 2 : 4;
	if ((u->flags & SITE_STORE) && r->gpr[R_RCX] < WHOLE >> __builtin_ctz(s.width) &&
	    !is_user(x, r->gpr[R_RDI]) && ++u->small == SMALL)
		make_plain(x, u, 0);
	for (;;) {
		bool stop;
		uint64_t n;

		if (i->rep && !r->gpr[R_RCX])
			break;
		x->needless = false;
		x->at_string = true;
		n = i->rep ? many_elements(&s, r->gpr[R_RCX]) : 0;
		x->at_string = false;
		if (s.kicked)
			return XLATE_KICKED;
		if (n) {
			r->gpr[R_RCX] -= n;
			count_needless(x, u, r->gpr[R_RDI] - n * s.width, n * s.width);
		} else {
			if (!one_element(&s, &stop))
				return page_fault(x, s.err, s.err_va);
			if (!i->rep)
				break;
			r->gpr[R_RCX]--;
			if (stop)
				break;
		}
		if (*x->cfg.kick && r->gpr[R_RCX])
			return XLATE_KICKED;
	}
	r->rip += i->len;
	return 0;
}

/* ---- everything else ---------------------------------------------------------------------- */

/* The instruction with [redirect] as its operand; then to XV_AFTER. */
static uint32_t make_snippet(struct xlate *x, struct user_site *u)
{
	struct em *e = x->em;

	if (!u->snippet) {
		if (!xlate_have_room(x))
			xlate_flush(x);
		xlate_begin_frag(x, e, u->gva);
		e->f->flags |= FRAG_SNIPPET;
		e->redirect = true;
		e->next = u->gva + u->insn.len;
		em_begin(e);
		op_redirected(e, &u->insn);
		em_step(e, ACT_NEXT);
		e1(e, 0xff);
		e1(e, 0x24);
		e1(e, 0x25);
		e4(e, ABS(XV_AFTER));
		em_end(e, u->insn.len);
		e->redirect = false;
		xlate_end_frag(x, e);
		u->snippet = e->f->host;
	}
	return u->snippet;
}

/* Bytes that the operand may touch. */
static unsigned int operand_size(struct xlate *x, const struct insn *i)
{
	unsigned int n = insn_mem_size[ID_MEMSIZE(i->desc)];

	if (insn_class(i) == IC_MOFFS)
		return 8;
	if (i->enc == IE_EVEX)
		return insn_evex_size(i);
	if (n <= 512)
		return n;
	/* xsave and xrstor: legacy area, header, and the components they were asked for. */
	uint64_t asked = (uint32_t)x->cfg.regs->gpr[R_RAX] | x->cfg.regs->gpr[R_RDX] << 32;

	n = 512 + 64;
	for (uint64_t m = asked & x->xsave_has; m; m &= m - 1) {
		uint32_t end = x->xsave_end[__builtin_ctzll(m)];

		n = end > n ? end : n;
	}
	return n;
}

/* Copy an operand that crosses pages to or from the bounce buffer. */
static bool bounce(struct xlate *x, uint64_t va, unsigned int n, bool write, bool dry,
		   enum xlate_exit *ret)
{
	unsigned int done, part;

	for (done = 0; done < n; done += part) {
		uint64_t at = va + done;
		uint8_t *p;
		uint32_t err = xlate_user_ptr(x, at, write, &p);

		if (err) {
			*ret = page_fault(x, err, at);
			return false;
		}
		part = 4096 - (unsigned int)(at & 0xfff);
		part = part < n - done ? part : n - done;
		if (dry)
			continue;
		if (write)
			copy_bytes(p, BOUNCE + done, part);
		else
			copy_bytes(BOUNCE + done, p, part);
	}
	return true;
}

/* A user site was reached. Returns 0 and *host to go on in the cache, or an exit. */
enum xlate_exit xlate_user_serve(struct xlate *x, uint32_t site, uint32_t *host)
{
	struct user_site *u = &x->user[site];
	struct core_regs *r = x->cfg.regs;
	const struct insn *i = &u->insn;
	enum xlate_exit ret = 0;
	uint64_t va, next;
	unsigned int size;
	uint32_t snippet;
	uint8_t *p;

	r->rip = u->gva;
	x->st.user_accesses++;
	x->bounce_len = 0;
	if (insn_class(i) == IC_STR) {
		*host = 0;
		return string_access(x, u);
	}
	next = r->rip + i->len;
	va = operand(r, i, next) + bit_offset(r, i);
	if (is_user(x, va)) {
		bool write = i->desc & ID_MEM_WRITE;
		uint32_t err = xlate_user_ptr(x, va, write, &p);

		if (err)
			return page_fault(x, err, va);
		size = operand_size(x, i);
		if ((va & 0xfff) + size > 4096) {
			if (size > XV_BOUNCE_SIZE)
				return page_fault(x, 4, va);
			if (write && !bounce(x, va, size, true, true, &ret))
				return ret;
			if (!bounce(x, va, size, false, false, &ret))
				return ret;
			x->bounce_va = va;
			x->bounce_len = write ? size : 0;
			p = BOUNCE;
		}
	} else {
		if ((u->flags & SITE_STORE) && !x->by_window) {
			uint32_t err = x->cfg.user(x->cfg.priv, va, true, &p);

			if (err)
				return page_fault(x, err, va);
			/* Through the window if it crosses pages. */
			if ((va & 0xfff) + operand_size(x, i) <= 4096)
				xlate_tlb_enter(x, va, true, (uintptr_t)p - va);
			else
				p = (uint8_t *)(uintptr_t)(va + XLATE_SHIFT);
		} else {
			p = (uint8_t *)(uintptr_t)(va + XLATE_SHIFT);
			xlate_tlb_enter(x, va, i->desc & ID_MEM_WRITE, XLATE_SHIFT);
		}
	}
	snippet = make_snippet(x, u);
	XV->redirect = (uintptr_t)p - bit_offset(r, i);
	x->saved_site = insn_saves_x87(i) ? site : 0;
	x->saved_va = va;
	*host = x->bounce_len || x->saved_site || x->stepping ? 0 : xlate_lookup(x, next);
	XV->after = *host ? *host : TRAMP_DONE;
	x->done_len = i->len;
	*host = snippet;
	return 0;
}

/* TRAMP_DONE: a redirected instruction was executed; write a bounced operand back. */
enum xlate_exit xlate_user_done(struct xlate *x)
{
	enum xlate_exit ret = 0;

	if (x->bounce_len && !bounce(x, x->bounce_va, x->bounce_len, true, false, &ret))
		return ret; /* was writable a moment ago: only another vCPU can do that */
	x->bounce_len = 0;
	if (x->saved_site)
		xlate_fix_saved(x, &x->user[x->saved_site].insn, x->saved_va);
	return 0;
}
