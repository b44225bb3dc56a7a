/* SPDX-License-Identifier: MIT */
/*
 * Sites: system calls of programs that reach K without a signal of the host, which is a quarter of
 * what a short one costs. A `syscall` that runs often is replaced by a jump to the stub (user.h),
 * not in the guest's memory but in a copy of the page that only U maps, and only where the program
 * may execute but not write.
 *
 *	in the guest's RAM			in the copy
 *	site:	0f 05	   syscall		eb xx		     jmp hole
 *		...				...
 *		c3	   ret			c3		     ret
 *	hole:	66 2e 0f.. nops that align	ff 24 25 <U_SITES+8i> jmp *entry of site i
 *
 * Two bytes stand for two, so whoever comes to any instruction of the program finds one: a system
 * call that is started again, a jump to the syscall alone. Where the hole is: user_site_way.c.
 *
 * Each process has copies of its own. A page of a library is many programs', and which two bytes of
 * it are a system call one of them says by executing them, wherever it jumped to: in the middle of
 * an instruction, if it likes. What the others execute there it must not change.
 *
 * A copy must never say something else than the frame: the frame counts as code that was translated
 * from, so all who write to it (the guest's kernel, other vCPUs, back ends, mappings that become
 * writable) say so first, and the copy goes. A program that reads its own code sees the jump.
 *
 * The kernel never sees a place in between: an interrupt (K's kick) in the hole or in the stub came
 * in front of the system call. Whoever executes single steps gets the page as it is.
 */
#include "exec/ring3/monitor/user.h"

#include <sys/mman.h>

#include "core/cpu/cpu.h"
#include "core/lib/mem.h"
#include "core/mm/frame.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/k.h"

#define HOT	8u /* calls by signal before a site is made */
#define REFUSED 255u
#define NO_SITE 0xffffu
/* What the stub's own instructions change once they are saved. */
#define ARITHMETIC                                                                                 \
	(CORE_FLAG_CF | CORE_FLAG_PF | CORE_FLAG_AF | CORE_FLAG_ZF | CORE_FLAG_SF | CORE_FLAG_OF)
#define OWN_MAX	   64u	/* pages of one process */
#define HERE_SLOTS 256u /* by the last bits of the frame's number */

static struct page {
	uint64_t mfn;
	uint64_t va;	      /* where the owner has it mapped, 0 = nowhere */
	struct u_slot *owner; /* NULL = free */
	uint16_t first;	      /* site + 1 */
	uint16_t next;	      /* page + 1: the next one of the owner's */
} pages[U_SITE_PAGES];
static uint16_t here[HERE_SLOTS]; /* pages with a frame of that kind */

static struct site {
	uint16_t page; /* + 1; 0 = free */
	uint16_t off;
	uint16_t next; /* site + 1: the next one of the page */
	struct site_way way;
} sites[U_NR_SITES];
static uint32_t next_site, next_victim;

/* System calls by signal, by the process and the address behind them. */
static struct {
	uint64_t rip, life;
	uint32_t nr;
} calls[256];

static uint8_t *copy_of(uint32_t page)
{
	return k.exec + ux_sites(k.nr_frames, k.nr_vcpus, k.id) + 4096ull * page;
}

static uint16_t number_of(const struct page *p)
{
	return (uint16_t)(p - pages + 1);
}

static struct page *next_of(uint16_t number)
{
	return number ? &pages[number - 1] : NULL;
}

static struct page *find_page(const struct u_slot *s, uint64_t mfn)
{
	for (struct page *p = next_of(s->site_page); p; p = next_of(p->next))
		if (p->mfn == mfn)
			return p;
	return NULL;
}

/* ---- what is mapped where ----------------------------------------------------------------- */

/* Does the process have that frame there still? What it has not is unmapped before it runs. */
static bool still_there(const struct page *p)
{
	uint64_t mfn, flags;

	return p->va && core_walk(&k.c, k.c.v->user_root, p->va, &mfn, &flags) && mfn == p->mfn;
}

uint64_t site_copy(struct u_slot *s, uint64_t va, uint64_t mfn)
{
	struct page *p = s->plain ? NULL : find_page(s, mfn);

	if (!p)
		return 0;
	if (p->va != va) {
		if (still_there(p))
			return 0; /* one place each: else nobody knew where a call comes from */
		p->va = va;
	}
	return k.exec_off + ux_sites(k.nr_frames, k.nr_vcpus, k.id) +
	       4096ull * (uint64_t)(p - pages);
}

/* Address of a site in this process, 0 = it has none such. */
static uint64_t address_of(struct u_slot *s, uint32_t i)
{
	const struct page *p;

	if (i >= U_NR_SITES || !sites[i].page)
		return 0;
	p = &pages[sites[i].page - 1];
	return p->owner == s && p->va ? p->va + sites[i].off : 0;
}

uint64_t site_came(struct u_slot *s, uint32_t i)
{
	uint64_t va = address_of(s, i);

	return va ? va + 2 : 0;
}

/* The site that this is on the way of. */
static uint32_t on_way_of(struct u_slot *s, uint64_t rip)
{
	for (struct page *p = next_of(s->site_page); p; p = next_of(p->next)) {
		if (!p->va || (p->va ^ rip) >> 12)
			continue;
		for (uint32_t i = p->first; i; i = sites[i - 1].next) {
			const struct site_way *way = &sites[i - 1].way;

			if (way->hole.at == (rip & 0xfff) ||
			    (way->relay.room && way->relay.at == (rip & 0xfff)))
				return i - 1;
		}
	}
	return NO_SITE;
}

bool site_rewind(struct u_slot *s, struct u_frame *f)
{
	const uint64_t *gpr = s->state->gpr;
	const uint8_t *stub = u_stub + (f->rip - U_BASE);
	bool entered = stub >= u_site && stub < u_site_end;
	uint64_t va;
	uint32_t i;

	if (f->rip - U_TRAMP < U_TRAMP_END - U_TRAMP)
		i = (uint32_t)(f->rip - U_TRAMP) / U_TRAMP_SIZE;
	else if (entered)
		i = (uint32_t)f->rcx;
	else if (s->site_page)
		i = on_way_of(s, f->rip);
	else
		return false;
	va = address_of(s, i);
	if (!va)
		return false;
	f->rip = va;
	if (entered && f->rsp - U_BLOCK < U_BLOCK_SIZE)
		f->rsp = __atomic_load_n(&gpr[R_RSP], __ATOMIC_RELAXED);
	if (entered && stub >= u_site_saved) {
		f->rax = __atomic_load_n(&gpr[R_RAX], __ATOMIC_RELAXED);
		f->rdx = __atomic_load_n(&gpr[R_RDX], __ATOMIC_RELAXED);
		f->eflags = (f->eflags & ~ARITHMETIC) |
			    (__atomic_load_n(&s->state->rflags, __ATOMIC_RELAXED) & ARITHMETIC);
	}
	return true;
}

static uint32_t call_slot(uint64_t rip, uint64_t life)
{
	return (uint32_t)(rip >> 1 ^ rip >> 9 ^ life) & 255;
}

/* A site goes: if it is called again it is to become one again. */
static void count_afresh(const struct page *p, uint32_t i)
{
	uint64_t rip = p->va + sites[i].off + 2, life = p->owner->life;
	uint32_t h = call_slot(rip, life);

	if (calls[h].rip == rip && calls[h].life == life)
		calls[h].nr = 0;
}

static void release(struct page *p)
{
	uint16_t *link = &p->owner->site_page;

	while (*link != number_of(p))
		link = &pages[*link - 1].next;
	*link = p->next;
	for (uint32_t i = p->first; i; i = sites[i - 1].next) {
		count_afresh(p, i - 1);
		sites[i - 1].page = 0;
	}
	here[p->mfn % HERE_SLOTS]--;
	*p = (struct page){0};
}

static void drop(struct page *p)
{
	if (p->va)
		user_forget_page(p->owner, p->va);
	release(p);
}

void site_plain(struct u_slot *s)
{
	while (s->site_page)
		drop(&pages[s->site_page - 1]);
	s->plain = true;
}

void site_emptied(struct u_slot *s)
{
	while (s->site_page)
		release(&pages[s->site_page - 1]);
}

void site_frame_written(uint64_t mfn)
{
	if (!here[mfn % HERE_SLOTS])
		return;
	for (uint32_t i = 0; i < U_SITE_PAGES; i++)
		if (pages[i].owner && pages[i].mfn == mfn)
			drop(&pages[i]);
}

/* ---- making one --------------------------------------------------------------------------- */

static bool has_enough(const struct u_slot *s)
{
	unsigned int n = 0;

	for (struct page *p = next_of(s->site_page); p; p = next_of(p->next))
		n++;
	return n >= OWN_MAX;
}

/* A fresh copy of the frame, from now on told of what is written to it. */
static struct page *new_page(struct u_slot *s, uint64_t mfn)
{
	struct page *p = NULL;

	for (uint32_t i = 0; i < U_SITE_PAGES && !p; i++)
		if (!pages[i].owner)
			p = &pages[i];
	if (!p) {
		p = &pages[next_victim++ % U_SITE_PAGES];
		drop(p);
	}
	/* A G that only says it has stopped must not see what takes the old copy's place. */
	user_drain();
	*p = (struct page){.mfn = mfn, .owner = s, .next = s->site_page};
	s->site_page = number_of(p);
	here[mfn % HERE_SLOTS]++;
	k_note(NULL, mfn);
	memcpy(copy_of((uint32_t)(p - pages)), core_frame_ptr(&k.c, mfn), 4096);
	return p;
}

static uint32_t new_site(void)
{
	for (uint32_t n = 0; n < U_NR_SITES; n++, next_site++)
		if (!sites[next_site % U_NR_SITES].page)
			return next_site % U_NR_SITES;
	return NO_SITE;
}

static bool is_site(const struct page *p, uint32_t off)
{
	return copy_of((uint32_t)(p - pages))[off] == 0xeb &&
	       ((const uint8_t *)core_frame_ptr(&k.c, p->mfn))[off] == 0x0f;
}

static bool make(struct u_slot *s, uint64_t mfn, uint32_t off)
{
	const uint8_t *code = core_frame_ptr(&k.c, mfn);
	struct page *p = find_page(s, mfn);
	uint32_t i = new_site();
	struct site_way way;
	uint8_t *copy;

	if (p && is_site(p, off))
		return true;
	if (i == NO_SITE ||
	    !site_find_way(code, p ? copy_of((uint32_t)(p - pages)) : code, off, &way))
		return false;
	if (!p) {
		if (has_enough(s))
			return false;
		p = new_page(s, mfn);
	}
	/* From the copy, which nobody changes, once more: so far it was the guest's to change. */
	copy = copy_of((uint32_t)(p - pages));
	if (!site_find_way(copy, code, off, &way)) {
		if (!p->first)
			release(p);
		return false;
	}
	sites[i] = (struct site){number_of(p), (uint16_t)off, p->first, way};
	p->first = (uint16_t)(i + 1);
	site_write_way(copy, off, &way, U_SITES + 8 * i);
	return true;
}

/* Nobody but its kernel may write to the frame, and this program may not. */
static bool suits(uint64_t root, uint64_t va, uint64_t *ret_mfn)
{
	uint64_t flags, word;

	if (!core_walk(&k.c, root, va, ret_mfn, &flags) || !*ret_mfn || *ret_mfn >= k.nr_frames ||
	    (flags & (PTE_RW | PTE_NX)) || !(flags & PTE_USER))
		return false;
	word = frame_word(&k.c.frames[*ret_mfn]);
	return !frame_trefs(word) || (frame_type(word) == FRAME_WRITABLE && frame_trefs(word) == 1);
}

void site_called(struct u_slot *s, uint64_t rip)
{
	uint32_t h = call_slot(rip, s->life);
	uint32_t off = (uint32_t)(rip - 2) & 0xfff;
	uint64_t va = (rip - 2) & ~0xfffull, mfn, root = k.c.v->user_root, copy;

	if (calls[h].rip != rip || calls[h].life != s->life) {
		calls[h].rip = rip;
		calls[h].life = s->life;
		calls[h].nr = 0;
	}
	if (calls[h].nr == REFUSED || ++calls[h].nr < HOT || s->plain)
		return;
	if (off > 4094 || va < U_FIRST || va >= U_VA_END || !suits(root, va, &mfn)) {
		calls[h].nr = 0; /* it may some time */
		return;
	}
	calls[h].nr = REFUSED;
	if (!make(s, mfn, off))
		return;
	copy = site_copy(s, va, mfn);
	if (!copy)
		return;
	order_add(s, SYS_mmap, va, 4096, PROT_READ | PROT_EXEC,
		  MAP_SHARED | MAP_FIXED | MAP_POPULATE, K_FD_MEMORY, copy);
	s->maps++;
}

void site_init(struct u_common *common)
{
	for (uint32_t i = 0; i < U_NR_SITES; i++) {
		uint8_t *p = common->tramp[i];
		uint64_t at = U_TRAMP + U_TRAMP_SIZE * i;
		uint32_t rel = (uint32_t)(U_BASE + (uint64_t)(u_site - u_stub) - (at + 10));

		memset(p, 0xcc, U_TRAMP_SIZE);
		p[0] = 0xb9; /* mov $i, %ecx */
		memcpy(p + 1, &i, 4);
		p[5] = 0xe9; /* jmp u_site */
		memcpy(p + 6, &rel, 4);
		common->sites[i] = at;
	}
}
