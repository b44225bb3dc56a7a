/* SPDX-License-Identifier: MIT */
/*
 * The interpreter: each operation is a label, and each jumps to the next one by itself. Operands
 * are pointers, to a register of the guest's (in memory, too) or to the program's memory; what an
 * operation does to flags the processor itself works out, by the same instruction.
 *
 * While it runs, the arithmetic flags are as LAHF and SETO leave them: SF, ZF, AF, PF, CF from bit
 * 8 on as in rflags, OF in bit 0.
 */
#include "exec/ring3/brief/brief.h"
#include "exec/ring3/translate/insn.h"

#define PF_WRITE_ 2u
#define PF_FETCH_ 16u

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R11 = 11 };

#define FLAG_ARITH 0x8d5ull
#define FLAG_DF	   0x400ull
#define FLAG_RF	   0x10000ull

typedef uint8_t u8a __attribute__((may_alias));
typedef uint16_t u16a __attribute__((may_alias, aligned(1)));
typedef uint32_t u32a __attribute__((may_alias, aligned(1)));
typedef uint64_t u64a __attribute__((may_alias, aligned(1)));
typedef int8_t s8a __attribute__((may_alias));
typedef int16_t s16a __attribute__((may_alias, aligned(1)));
typedef int32_t s32a __attribute__((may_alias, aligned(1)));

void brief_init(struct brief *b, const struct brief_config *cfg, struct core_regs *regs)
{
	b->cfg = *cfg;
	b->regs = regs;
	b->zero = 0;
	b->generation = 1;
}

void brief_forget(struct brief *b)
{
	if (++b->generation < 1ull << 27)
		return;
	b->generation = 1;
	for (unsigned int i = 0; i < BRIEF_TLB; i++)
		b->tlb[0][i].tag = b->tlb[1][i].tag = 0;
	for (unsigned int i = 0; i < 16; i++)
		b->code[i].tag = 0;
}

static inline uint64_t tag_of(const struct brief *b, uint64_t va)
{
	/* (a sum: addresses that have more bits are of later generations, of which there is none)
	 */
	return (va >> 12) + (b->generation << 36);
}

/*
 * 0 if that is the page of `va`, and of `over` bytes behind it, else all ones. A processor may
 * guess that it is and go on, with an address that the program has chosen: joined to it this one
 * leaves nothing of that.
 */
#define WRONG(t, va, over)                                                                         \
	do {                                                                                       \
		miss = ((t)->tag ^ tag_of(b, va)) | (((va)&4095) + (over)) >> 12;                  \
		wrong = miss;                                                                      \
		__asm__ volatile("neg %0; sbb %0, %0" : "+r"(wrong) : : "cc");                     \
	} while (0)

/* The place of `va` after a miss. */
static bool look_up(struct brief *b, struct brief_page *t, uint64_t va, uint32_t access)
{
	uint8_t *p;

	b->fault_va = va;
	b->fault_error = b->cfg.map(b->cfg.priv, va, access, &p);
	if (b->fault_error)
		return false;
	/* (it may have called brief_forget()) */
	t->tag = tag_of(b, va);
	t->delta = (uintptr_t)p - va;
	return true;
}

static inline bool is_here(uint64_t va)
{
	return va - BRIEF_VA_FIRST < BRIEF_VA_END - BRIEF_VA_FIRST;
}

static inline unsigned int slot_of(const uint8_t *at)
{
	return ((uintptr_t)at ^ (uintptr_t)at >> 12) & (BRIEF_OPS - 1);
}

/* Which of 16 bytes belong to an instruction of that length. */
#define M(n)                                                                                       \
	{                                                                                          \
		(n) < 8 ? (1ull << 8 * ((n)&7)) - 1 : ~0ull,                                       \
			(n) < 8 ? 0 : (1ull << 8 * ((n)&7)) - 1                                    \
	}
static const uint64_t masks[16][2] = {
	M(0), M(1), M(2),  M(3),  M(4),	 M(5),	M(6),  M(7),
	M(8), M(9), M(10), M(11), M(12), M(13), M(14), M(15),
};

/* (Looked at by its own address: the other one may be a guess of the processor, of anywhere.) */
static inline bool is_op(const struct brief_op *op, const uint8_t *at)
{
	const uint8_t *own = op->at;
	const u64a *now;
	const uint64_t *mask = masks[op->len];

	__asm__("" : "=r"(now) : "0"(own));
	return own == at &&
	       !(((now[0] ^ op->bytes[0]) & mask[0]) | ((now[1] ^ op->bytes[1]) & mask[1]));
}

/* True: decoded; false: it reaches into the next page, or is nothing. */
static bool decode(struct brief *b, struct brief_op *op, const uint8_t *at, void *const *enter,
		   void *const *body)
{
	unsigned int off = (uintptr_t)at & 4095, room = 4096 - off, how, n;
	const uint8_t *page = at - off;
	uint8_t bytes[16] = {0};
	struct insn i;

	op->at = NULL;
	for (n = 0; n < room && n < INSN_MAX; n++)
		bytes[n] = page[(off + n) & 4095]; /* (whatever is guessed of the loop's end) */
	if (!insn_decode(&i, bytes, n))
		return false;
	how = brief_compile(b, op, &i);
	op->over = (uint8_t)((1u << op->size) - 1);
	op->next = op->taken = op;
	__builtin_memcpy(op->bytes, bytes, 16);
	op->body = body[op->kind];
	op->enter = how == BM_NONE ? op->body : enter[how];
	/*
	 * Of the last bytes of a page none is kept: is_op() would read on in the next frame, which
	 * is another's, or has been given back to the host.
	 */
	op->at = room < 16 ? NULL : at;
	return true;
}

/* One bit for each value of OF CF ZF SF PF (from bit 0 on): is the condition met? */
static const uint32_t conditions[16] = {
	0xaaaaaaaa, 0x55555555, 0xcccccccc, 0x33333333, 0xf0f0f0f0, 0x0f0f0f0f,
	0xfcfcfcfc, 0x03030303, 0xff00ff00, 0x00ff00ff, 0xffff0000, 0x0000ffff,
	0x55aa55aa, 0xaa55aa55, 0xf5faf5fa, 0x0a050a05,
};

static inline bool met(uint32_t fl, unsigned int cc)
{
	uint32_t i = (fl & 1) | (fl >> 7 & 2) | (fl >> 12 & 12) | (fl >> 6 & 16);

	return conditions[cc] >> i & 1;
}

#define RESTORE "addb $0x7f, %%al; sahf; "
#define KEEP	"; lahf; seto %%al"

#define FLAGS_OF_OP(text, ...)                                                                     \
	__asm__ volatile(RESTORE text KEEP : "+a"(fl) : __VA_ARGS__ : "memory", "cc")

/* ... of an operation that changes all of them and looks at none. */
#define NEW_FLAGS_OF_OP(text, ...)                                                                 \
	__asm__ volatile(text KEEP : "=a"(fl) : __VA_ARGS__ : "memory", "cc")

/*
 * The next instruction is at `rip`. The one that was executed behind this one the last time is
 * found without waiting for rip; whether it is the one is known soon enough.
 */
#define NEXT_BY(link)                                                                              \
	do {                                                                                       \
		if (__builtin_expect(--left == 0, 0))                                              \
			goto over;                                                                 \
		if (__builtin_expect((rip ^ page) >> 12 != 0, 0))                                  \
			goto other_page;                                                           \
		at = frame + (rip & 4095);                                                         \
		last = &op->link;                                                                  \
		op = op->link;                                                                     \
		if (__builtin_expect(!is_op(op, at), 0))                                           \
			goto other_op;                                                             \
		dst = op->dst;                                                                     \
		src = op->src;                                                                     \
		goto * op->enter;                                                                  \
	} while (0)

#define NEXT NEXT_BY(next)

#define STEP                                                                                       \
	do {                                                                                       \
		rip += op->len;                                                                    \
		NEXT;                                                                              \
	} while (0)

#define ADDRESS() (*op->segment + *op->base + (*op->index << op->scale) + (uint64_t)op->disp)

/* dst OP= src, with all flags */
#define BINARY(name, insn, sfx, type)                                                              \
	name:                                                                                      \
	FLAGS_OF_OP(insn sfx " %[s], (%[d])", [d] "r"(dst), [s] "r"(*(type *)src));                \
	*op->upper = 0;                                                                            \
	STEP;

#define FRESH(name, insn, sfx, type)                                                               \
	name:                                                                                      \
	NEW_FLAGS_OF_OP(insn sfx " %[s], (%[d])", [d] "r"(dst), [s] "r"(*(type *)src));            \
	*op->upper = 0;                                                                            \
	STEP;

#define FRESH4(name, insn)                                                                         \
	FRESH(name##_0, insn, "b", u8a)                                                            \
	FRESH(name##_1, insn, "w", u16a)                                                           \
	FRESH(name##_2, insn, "l", u32a)                                                           \
	FRESH(name##_3, insn, "q", u64a)

#define BINARY4(name, insn)                                                                        \
	BINARY(name##_0, insn, "b", u8a)                                                           \
	BINARY(name##_1, insn, "w", u16a)                                                          \
	BINARY(name##_2, insn, "l", u32a)                                                          \
	BINARY(name##_3, insn, "q", u64a)

#define UNARY(name, insn, sfx)                                                                     \
	name:                                                                                      \
	FLAGS_OF_OP(insn sfx " (%[d])", [d] "r"(dst));                                             \
	*op->upper = 0;                                                                            \
	STEP;

#define UNARY4(name, insn)                                                                         \
	UNARY(name##_0, insn, "b")                                                                 \
	UNARY(name##_1, insn, "w")                                                                 \
	UNARY(name##_2, insn, "l")                                                                 \
	UNARY(name##_3, insn, "q")

/* No flags at all. */
#define PLAIN(name, insn, sfx)                                                                     \
	name:                                                                                      \
	__asm__ volatile(insn sfx " (%[d])" : : [d] "r"(dst) : "memory");                          \
	*op->upper = 0;                                                                            \
	STEP;

#define PLAIN4(name, insn)                                                                         \
	PLAIN(name##_0, insn, "b")                                                                 \
	PLAIN(name##_1, insn, "w")                                                                 \
	PLAIN(name##_2, insn, "l")                                                                 \
	PLAIN(name##_3, insn, "q")

#define SHIFT(name, insn, sfx)                                                                     \
	name:                                                                                      \
	FLAGS_OF_OP(insn sfx " %%cl, (%[d])", [d] "r"(dst), "c"(*src));                            \
	*op->upper = 0;                                                                            \
	STEP;

#define SHIFT4(name, insn)                                                                         \
	SHIFT(name##_0, insn, "b")                                                                 \
	SHIFT(name##_1, insn, "w")                                                                 \
	SHIFT(name##_2, insn, "l")                                                                 \
	SHIFT(name##_3, insn, "q")

/* Register dst, with its old value as input: what an instruction leaves alone stays. */
#define ON_REGISTER(name, insn, mod, type)                                                         \
	name:                                                                                      \
	v = *(u64a *)dst;                                                                          \
	__asm__ volatile(RESTORE insn " %" mod "[s], %" mod "[v]" KEEP                             \
			 : "+a"(fl), [v] "+r"(v)                                                   \
			 : [s] "r"((uint64_t) * (type *)src)                                       \
			 : "cc");                                                                  \
	*(u64a *)dst = v;                                                                          \
	STEP;

#define ON_REGISTER3(name, insn)                                                                   \
	ON_REGISTER(name##_1, insn "w", "w", u16a)                                                 \
	ON_REGISTER(name##_2, insn "l", "k", u32a)                                                 \
	ON_REGISTER(name##_3, insn "q", "q", u64a)

#define IMUL3(name, sfx, mod, type)                                                                \
	name:                                                                                      \
	v = *(type *)src;                                                                          \
	__asm__ volatile(RESTORE "imul" sfx " %" mod "[s], %" mod "[v]" KEEP                       \
			 : "+a"(fl), [v] "+r"(v)                                                   \
			 : [s] "r"(op->imm)                                                        \
			 : "cc");                                                                  \
	*(type *)dst = (type)v;                                                                    \
	*op->upper = 0;                                                                            \
	STEP;

/* Bits of registers or memory, by a number below the operand's width. */
#define BIT(name, insn, sfx, mod, type, mask)                                                      \
	name:                                                                                      \
	v = *(type *)src & (mask);                                                                 \
	FLAGS_OF_OP(insn sfx " %" mod "[s], (%[d])", [d] "r"(dst), [s] "r"(v));                    \
	*op->upper = 0;                                                                            \
	STEP;

#define BIT3(name, insn)                                                                           \
	BIT(name##_1, insn, "w", "w", u16a, 15)                                                    \
	BIT(name##_2, insn, "l", "k", u32a, 31)                                                    \
	BIT(name##_3, insn, "q", "q", u64a, 63)

/* xadd, xchg: both operands change. */
#define BOTH(name, insn, sfx, mod, type)                                                           \
	name:                                                                                      \
	v = *(type *)src;                                                                          \
	__asm__ volatile(RESTORE insn sfx " %" mod "[s], (%[d])" KEEP                              \
			 : "+a"(fl), [s] "+r"(v)                                                   \
			 : [d] "r"(dst)                                                            \
			 : "memory", "cc");                                                        \
	*(type *)src = (type)v;                                                                    \
	*op->upper = 0;                                                                            \
	STEP;

#define BOTH4(name, insn)                                                                          \
	BOTH(name##_0, insn, "b", "b", u8a)                                                        \
	BOTH(name##_1, insn, "w", "w", u16a)                                                       \
	BOTH(name##_2, insn, "l", "k", u32a)                                                       \
	BOTH(name##_3, insn, "q", "q", u64a)

/* (needs rax for itself; the flags that go in do not matter to it, all of them come out) */
#define CMPXCHG(name, insn, sfx, mod, type, clear)                                                 \
	name:                                                                                      \
	v = r->gpr[RAX];                                                                           \
	__asm__ volatile(insn sfx " %" mod "[s], (%[d]); mov %%rax, %[v]; lahf; seto %%al"         \
			 : "+a"(v), [v] "=&r"(w)                                                   \
			 : [s] "r"(*(type *)src), [d] "r"(dst)                                     \
			 : "memory", "cc");                                                        \
	fl = (uint32_t)v;                                                                          \
	if (!(fl & 1u << 14))                                                                      \
		*(type *)&r->gpr[RAX] = (type)w, *(clear) = 0;                                     \
	STEP;

#define CMPXCHG4(name, insn)                                                                       \
	CMPXCHG(name##_0, insn, "b", "b", u8a, &b->nowhere)                                        \
	CMPXCHG(name##_1, insn, "w", "w", u16a, &b->nowhere)                                       \
	CMPXCHG(name##_2, insn, "l", "k", u32a, (u32a *)&r->gpr[RAX] + 1)                          \
	CMPXCHG(name##_3, insn, "q", "q", u64a, &b->nowhere)

#define MOVE(name, to, from)                                                                       \
	name:                                                                                      \
	*(to *)dst = (to) * (from *)src;                                                           \
	*op->upper = 0;                                                                            \
	STEP;

/* A condition in the code, not in a table: each has a branch predictor's entry of its own. */
#define JCC(cc)                                                                                    \
	jcc_##cc : if (met(fl, cc))                                                                \
	{                                                                                          \
		to = rip + op->len + (uint64_t)op->imm;                                            \
		if (__builtin_expect(!is_here(to), 0))                                             \
			goto native;                                                               \
		rip = to;                                                                          \
		NEXT_BY(taken);                                                                    \
	}                                                                                          \
	STEP;

#define FOUR(name)  &&name##_0, &&name##_1, &&name##_2, &&name##_3
#define THREE(name) &&native, &&name##_1, &&name##_2, &&name##_3
#define TWO(name)   &&native, &&native, &&name##_2, &&name##_3

/* Repeated ones of a turn, a page at most each: it is to be over soon. */
#define STRINGS 32u

/* As much of a string as lies in one page, with `p`; the rest is the same instruction again. */
#define STRING(name, text, sfx, ...)                                                               \
	name:                                                                                      \
	v = op->cc ? r->gpr[RCX] : 1;                                                              \
	if (r->rflags & FLAG_DF)                                                                   \
		goto native;                                                                       \
	if (op->cc && ++strings > STRINGS)                                                         \
		goto over;                                                                         \
	if (!v)                                                                                    \
		STEP;                                                                              \
	__VA_ARGS__                                                                                \
	w = v;                                                                                     \
	__asm__ volatile("rep; " text sfx                                                          \
			 : "+D"(p), "+S"(src), "+c"(w)                                             \
			 : "a"(r->gpr[RAX])                                                        \
			 : "memory");                                                              \
	goto string_done;

#define STOS(name, sfx) STRING(name, "stos", sfx, PIECE(r->gpr[RDI], 1, p))
#define MOVS(name, sfx)                                                                            \
	STRING(name, "movs", sfx, PIECE(r->gpr[RSI], 0, src) PIECE(r->gpr[RDI], 1, p))

/* v: not more elements than are in the page. */
#define PIECE(va, access, ret)                                                                     \
	ea = (va);                                                                                 \
	w = (4096 - (ea & 4095)) >> op->size;                                                      \
	if (!w || !is_here(ea))                                                                    \
		goto native;                                                                       \
	v = v < w ? v : w;                                                                         \
	t = &b->tlb[access][ea >> 12 & (BRIEF_TLB - 1)];                                           \
	WRONG(t, ea, 0);                                                                           \
	if (miss) {                                                                                \
		page = ~rip;                                                                       \
		if (!look_up(b, t, ea, (access) ? PF_WRITE_ : 0))                                  \
			goto fault;                                                                \
		wrong = 0;                                                                         \
	}                                                                                          \
	ret = (u8a *)(uintptr_t)((ea + t->delta) | wrong);

/* 8 bytes on the stack: `p`, or out. */
#define STACK(va, access)                                                                          \
	do {                                                                                       \
		uint64_t va_ = (va);                                                               \
                                                                                                   \
		t = &b->tlb[(access) != 0][va_ >> 12 & (BRIEF_TLB - 1)];                           \
		WRONG(t, va_, 7);                                                                  \
		if (__builtin_expect(miss != 0, 0)) {                                              \
			if ((va_ & 4095) > 4088 || !is_here(va_))                                  \
				goto native;                                                       \
			page = ~rip;                                                               \
			if (!look_up(b, t, va_, (access)))                                         \
				goto fault;                                                        \
			wrong = 0;                                                                 \
		}                                                                                  \
		p = (u8a *)(uintptr_t)((va_ + t->delta) | wrong);                                  \
	} while (0)

/* Each operation is to have a jump of its own. (clang leaves them as they are) */
#ifdef __clang__
#define JUMPS_APART
#else
#define JUMPS_APART __attribute__((optimize("no-crossjumping", "no-gcse")))
#endif

JUMPS_APART enum brief_exit brief_run(struct brief *b, unsigned int nr)
{
	static void *const enter[] = {
		[BM_SRC] = &&memory_src,
		[BM_DST] = &&memory_dst,
		[BM_LOCKED] = &&memory_locked,
		[BM_ADDRESS] = &&memory_address,
	};
	static void *const body[BK_NR] = {
		FOUR(add),	FOUR(or),	 FOUR(adc),	 FOUR(sbb),
		FOUR(and),	FOUR(sub),	 FOUR(xor),	 FOUR(cmp),
		FOUR(test),	FOUR(mov),	 FOUR(inc),	 FOUR(dec),
		FOUR(not ),	FOUR(neg),	 FOUR(rol),	 FOUR(ror),
		FOUR(rcl),	FOUR(rcr),	 FOUR(shl),	 FOUR(shr),
		FOUR(sar),	THREE(cmov),	 THREE(imul2),	 THREE(imul3),
		THREE(bsf),	THREE(bsr),	 THREE(tzcnt),	 THREE(lzcnt),
		THREE(lea),	THREE(bt),	 THREE(bts),	 THREE(btr),
		THREE(btc),	TWO(mul),	 TWO(imul),	 TWO(div),
		FOUR(xchg),	FOUR(lock_add),	 FOUR(lock_or),	 FOUR(lock_and),
		FOUR(lock_sub), FOUR(lock_xor),	 FOUR(lock_inc), FOUR(lock_dec),
		FOUR(xadd),	FOUR(lock_xadd), FOUR(cmpxchg),	 FOUR(lock_cmpxchg),
		FOUR(stos),	FOUR(movs),	 &&zx8_16,	 &&zx8,
		&&zx16,		&&sx8_16,	 &&sx8_32,	 &&sx8_64,
		&&sx16_32,	&&sx16_64,	 &&sx32_64,	 &&setcc,
		&&jcc_0,	&&jcc_1,	 &&jcc_2,	 &&jcc_3,
		&&jcc_4,	&&jcc_5,	 &&jcc_6,	 &&jcc_7,
		&&jcc_8,	&&jcc_9,	 &&jcc_10,	 &&jcc_11,
		&&jcc_12,	&&jcc_13,	 &&jcc_14,	 &&jcc_15,
		&&jmp,		&&jmpi,		 &&call,	 &&calli,
		&&ret,		&&push,		 &&pop,		 &&leave,
		&&cbw,		&&cwde,		 &&cdqe,	 &&cwd,
		&&cdq,		&&cqo,		 &&bswap_32,	 &&bswap_64,
		&&rdtsc,	&&rdtscp,	 &&fence,	 &&nop,
		&&syscall,	&&native,
	};
	struct core_regs *r = b->regs;
	uint64_t rip = r->rip, page = ~rip, ea, v, w, to, miss, wrong;
	unsigned int left = nr + 1; /* NEXT counts in front of the first one */
	unsigned int strings = 0;
	enum brief_exit why;
	struct brief_page *t;
	struct brief_op *op, **last, *nobody;
	const uint8_t *at, *frame = NULL;
	u8a *dst, *src, *p;
	uint32_t fl;

	b->fault_error = 0;
	fl = (uint32_t)(r->rflags & FLAG_ARITH & 0xff) << 8 | (uint32_t)(r->rflags >> 11 & 1);
	if (--left == 0)
		goto over;

other_page:
	t = &b->code[rip >> 12 & 15];
	WRONG(t, rip, 0);
	if (miss) {
		if (!is_here(rip))
			goto native;
		if (!look_up(b, t, rip, PF_FETCH_))
			goto fault;
		wrong = 0;
	}
	page = rip;
	/* (an instruction is looked for within it, whatever is guessed to be the next one) */
	frame = (const uint8_t *)(uintptr_t)(((rip & ~4095ull) + t->delta) | wrong);
	at = frame + (rip & 4095);
	last = &nobody;

other_op:
	op = &b->op[slot_of(at)];
	if (!is_op(op, at) && !decode(b, op, at, enter, body))
		goto native;
	*last = op;
	dst = op->dst;
	src = op->src;
	goto * op->enter;

memory_src:
	b->rip_next = rip + op->len;
	ea = ADDRESS();
	t = &b->tlb[0][ea >> 12 & (BRIEF_TLB - 1)];
	WRONG(t, ea, op->over);
	if (__builtin_expect(miss != 0, 0)) {
		if ((ea & 4095) + op->over > 4095 || !is_here(ea))
			goto native;
		page = ~rip; /* (map() may have called brief_forget()) */
		if (!look_up(b, t, ea, 0))
			goto fault;
		wrong = 0;
	}
	src = (u8a *)(uintptr_t)((ea + t->delta) | wrong);
	goto * op->body;

memory_locked:
	b->rip_next = rip + op->len;
	ea = ADDRESS();
	/* Across two cache lines hosts may punish it (split_lock_detect), and that is for G. */
	if ((ea & 63) + op->over > 63)
		goto native;
memory_dst:
	b->rip_next = rip + op->len;
	ea = ADDRESS();
	t = &b->tlb[op->write][ea >> 12 & (BRIEF_TLB - 1)];
	WRONG(t, ea, op->over);
	if (__builtin_expect(miss != 0, 0)) {
		if ((ea & 4095) + op->over > 4095 || !is_here(ea))
			goto native;
		page = ~rip;
		if (!look_up(b, t, ea, op->write ? PF_WRITE_ : 0))
			goto fault;
		wrong = 0;
	}
	dst = (u8a *)(uintptr_t)((ea + t->delta) | wrong);
	goto * op->body;

memory_address:
	b->rip_next = rip + op->len;
	ea = ADDRESS();
	src = (u8a *)&ea;
	goto * op->body;

	FRESH4(add, "add")
	FRESH4(or, "or")
	BINARY4(adc, "adc")
	BINARY4(sbb, "sbb")
	FRESH4(and, "and")
	FRESH4(sub, "sub")
	FRESH4(xor, "xor")
	FRESH4(cmp, "cmp")
	FRESH4(test, "test")
	FRESH4(lock_add, "lock; add")
	FRESH4(lock_or, "lock; or")
	FRESH4(lock_and, "lock; and")
	FRESH4(lock_sub, "lock; sub")
	FRESH4(lock_xor, "lock; xor")
	UNARY4(inc, "inc")
	UNARY4(dec, "dec")
	PLAIN4(not, "not")
	UNARY4(neg, "neg")
	UNARY4(lock_inc, "lock; inc")
	UNARY4(lock_dec, "lock; dec")
	SHIFT4(rol, "rol")
	SHIFT4(ror, "ror")
	SHIFT4(rcl, "rcl")
	SHIFT4(rcr, "rcr")
	SHIFT4(shl, "shl")
	SHIFT4(shr, "shr")
	SHIFT4(sar, "sar")
	ON_REGISTER3(bsf, "bsf")
	ON_REGISTER3(bsr, "bsr")
	ON_REGISTER3(tzcnt, "tzcnt")
	ON_REGISTER3(lzcnt, "lzcnt")
	ON_REGISTER3(imul2, "imul")
	IMUL3(imul3_1, "w", "w", u16a)
	IMUL3(imul3_2, "l", "k", u32a)
	IMUL3(imul3_3, "q", "q", u64a)
	BIT3(bt, "bt")
	BIT3(bts, "bts")
	BIT3(btr, "btr")
	BIT3(btc, "btc")
	BOTH4(xchg, "xchg")
	BOTH4(xadd, "xadd")
	BOTH4(lock_xadd, "lock; xadd")
	CMPXCHG4(cmpxchg, "cmpxchg")
	CMPXCHG4(lock_cmpxchg, "lock; cmpxchg")
	MOVE(mov_0, u8a, u8a)
	MOVE(mov_1, u16a, u16a)
	MOVE(mov_2, u32a, u32a)
	MOVE(mov_3, u64a, u64a)
	MOVE(lea_1, u16a, u64a)
	MOVE(lea_2, u32a, u64a)
	MOVE(lea_3, u64a, u64a)
	MOVE(zx8_16, u16a, u8a)
	MOVE(zx8, u64a, u8a)
	MOVE(zx16, u64a, u16a)
	MOVE(sx8_16, u16a, s8a)
	MOVE(sx8_32, u32a, s8a)
	MOVE(sx8_64, u64a, s8a)
	MOVE(sx16_32, u32a, s16a)
	MOVE(sx16_64, u64a, s16a)
	MOVE(sx32_64, u64a, s32a)

cmov_1:
	if (met(fl, op->cc))
		*(u16a *)dst = *(u16a *)src;
	STEP;
cmov_2:
	if (met(fl, op->cc))
		*(u32a *)dst = *(u32a *)src;
	*op->upper = 0;
	STEP;
cmov_3:
	if (met(fl, op->cc))
		*(u64a *)dst = *(u64a *)src;
	STEP;
setcc:
	*dst = met(fl, op->cc);
	STEP;

	JCC(0)
	JCC(1)
	JCC(2)
	JCC(3)
	JCC(4)
	JCC(5)
	JCC(6)
	JCC(7)
	JCC(8)
	JCC(9)
	JCC(10)
	JCC(11)
	JCC(12)
	JCC(13)
	JCC(14)
	JCC(15)

jmp:
	to = rip + op->len + (uint64_t)op->imm;
	if (!is_here(to))
		goto native;
	rip = to;
	NEXT;
jmpi:
	to = *(u64a *)src;
	if (!is_here(to))
		goto native;
	rip = to;
	NEXT;
call:
	to = rip + op->len + (uint64_t)op->imm;
	if (!is_here(to))
		goto native;
	STACK(r->gpr[RSP] - 8, PF_WRITE_);
	r->gpr[RSP] -= 8;
	*(u64a *)p = rip + op->len;
	rip = to;
	NEXT;
calli:
	to = *(u64a *)src;
	if (!is_here(to))
		goto native;
	STACK(r->gpr[RSP] - 8, PF_WRITE_);
	r->gpr[RSP] -= 8;
	*(u64a *)p = rip + op->len;
	rip = to;
	NEXT;
ret:
	STACK(r->gpr[RSP], 0);
	to = *(u64a *)p;
	if (!is_here(to))
		goto native;
	r->gpr[RSP] += 8 + (uint64_t)op->imm;
	rip = to;
	NEXT;
push:
	v = *(u64a *)src;
	STACK(r->gpr[RSP] - 8, PF_WRITE_);
	r->gpr[RSP] -= 8;
	*(u64a *)p = v;
	STEP;
pop:
	STACK(r->gpr[RSP], 0);
	r->gpr[RSP] += 8;
	*(u64a *)dst = *(u64a *)p;
	STEP;
leave:
	STACK(r->gpr[RBP], 0);
	r->gpr[RSP] = r->gpr[RBP] + 8;
	r->gpr[RBP] = *(u64a *)p;
	STEP;

mul_2:
	w = (uint64_t)(uint32_t)r->gpr[RAX] * *(u32a *)dst;
	goto product_32;
imul_2:
	w = (uint64_t)((int64_t)(int32_t)r->gpr[RAX] * *(s32a *)dst);
product_32:
	/* (SF, ZF, AF and PF are undefined) */
	to = op->kind == BK_MUL + 2 ? w >> 32 != 0 : (int64_t)w != (int32_t)w;
	r->gpr[RAX] = (uint32_t)w;
	r->gpr[RDX] = w >> 32;
	fl = (fl & ~0x101u) | (to ? 0x101u : 0);
	STEP;
mul_3:
	__asm__("mulq %[s]; seto %b[o]"
		: "=a"(v), "=d"(w), [o] "=q"(to)
		: "a"(r->gpr[RAX]), [s] "r"(*(u64a *)dst)
		: "cc");
	goto product_64;
imul_3:
	__asm__("imulq %[s]; seto %b[o]"
		: "=a"(v), "=d"(w), [o] "=q"(to)
		: "a"(r->gpr[RAX]), [s] "r"(*(u64a *)dst)
		: "cc");
product_64:
	r->gpr[RAX] = v;
	r->gpr[RDX] = w;
	fl = (fl & ~0x101u) | (to & 1 ? 0x101u : 0);
	STEP;
div_2:
	v = *(volatile u32a *)dst; /* once: it may change, to 0 as well */
	if ((uint32_t)r->gpr[RDX] >= v)
		goto native; /* a #DE */
	w = r->gpr[RDX] << 32 | (uint32_t)r->gpr[RAX];
	r->gpr[RAX] = w / v;
	r->gpr[RDX] = w % v;
	STEP;
div_3:
	v = *(volatile u64a *)dst;
	if (r->gpr[RDX] >= v)
		goto native;
	__asm__("divq %[s]" : "+a"(r->gpr[RAX]), "+d"(r->gpr[RDX]) : [s] "r"(v) : "cc");
	STEP;

cbw:
	*(u16a *)&r->gpr[RAX] = (uint16_t) * (s8a *)&r->gpr[RAX];
	STEP;
cwde:
	r->gpr[RAX] = (uint32_t) * (s16a *)&r->gpr[RAX];
	STEP;
cdqe:
	r->gpr[RAX] = (uint64_t) * (s32a *)&r->gpr[RAX];
	STEP;
cwd:
	*(u16a *)&r->gpr[RDX] = (uint16_t)(*(s16a *)&r->gpr[RAX] >> 15);
	STEP;
cdq:
	r->gpr[RDX] = (uint32_t)(*(s32a *)&r->gpr[RAX] >> 31);
	STEP;
cqo:
	r->gpr[RDX] = (uint64_t)((int64_t)r->gpr[RAX] >> 63);
	STEP;
bswap_32:
	*(u64a *)dst = __builtin_bswap32(*(u32a *)dst);
	STEP;
bswap_64:
	*(u64a *)dst = __builtin_bswap64(*(u64a *)dst);
	STEP;
	STOS(stos_0, "b")
	STOS(stos_1, "w")
	STOS(stos_2, "l")
	STOS(stos_3, "q")
	MOVS(movs_0, "b")
	MOVS(movs_1, "w")
	MOVS(movs_2, "l")
	MOVS(movs_3, "q")
string_done:
	r->gpr[RDI] += v << op->size;
	if (op->kind >= BK_MOVS)
		r->gpr[RSI] += v << op->size;
	if (!op->cc)
		STEP;
	r->gpr[RCX] -= v;
	if (!r->gpr[RCX])
		STEP;
	NEXT;

	/* As in the program's own process, where the guest is not asked either. */
rdtsc:
	__asm__ volatile("rdtsc" : "=a"(r->gpr[RAX]), "=d"(r->gpr[RDX]));
	STEP;
rdtscp: /* (the monitor needs a processor that has it) */
	__asm__ volatile("rdtscp" : "=a"(r->gpr[RAX]), "=d"(r->gpr[RDX]), "=c"(r->gpr[RCX]));
	STEP;
fence:
	__asm__ volatile("lfence; mfence" : : : "memory");
	STEP;
nop:
	STEP;

syscall:
	why = BRIEF_SYSCALL;
	goto out;
fault:
	why = b->fault_error == BRIEF_STOP ? BRIEF_OVER : BRIEF_FAULT;
	goto out;
over:
	why = BRIEF_OVER;
	goto out;
native:
	why = BRIEF_NATIVE;
out:
	b->executed += nr - left + (why == BRIEF_SYSCALL);
	r->rflags = (r->rflags & ~FLAG_ARITH) | (fl >> 8 & 0xd5) | (uint64_t)(fl & 1) << 11;
	/* the first instruction that is completed ends it (it may be a jump to itself) */
	if (left != nr)
		r->rflags &= ~FLAG_RF;
	r->rip = rip;
	if (why == BRIEF_SYSCALL) {
		r->rflags &= ~FLAG_RF;
		r->rip += op->len;
		r->gpr[RCX] = r->rip;
		r->gpr[R11] = r->rflags;
	}
	return why;
}
