/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "harness.h"

#define NR_FRAMES      (GUEST_SIZE >> 12)
#define S	       XLATE_SHIFT
#define VCPU_WORD(off) (*(volatile uint64_t *)(uintptr_t)(XLATE_VCPU + (off)))

extern uint64_t native_host_rsp, native_host_fs, native_tf;
extern struct core_regs *native_regs_ptr;
void native_enter(struct core_regs *r);
void native_exit(void);
void native_return(void);

uint8_t *ram_guest, *ram_native;
struct xlate *X;
struct core_regs R;
uint32_t kick_flag;
uint64_t nr_notes, nr_write_faults;
void (*on_stop)(void);
const uint8_t native_end_code[8] = {0xff, 0x24, 0x25, 0xf0,
				    0xff, 0xff, 0x00, 0x90}; /* [0xfffff0] */
#define NATIVE_VEC 0xfff000ul				     /* the page with the vector */

/* XLATE_TRIM=1: the look-up table is dropped before every third entry, in all tests. */
#ifdef XLATE_NO_TABLE
#define CAN_TRIM 0
#else
#define CAN_TRIM 1
#endif
static bool trims;
static unsigned int nr_entered;

static int ram_fd = -1;
static uint8_t rights[NR_FRAMES], protect[NR_FRAMES];
static uint64_t taken = ~0ull; /* a frame */
static uint64_t cache_size_used;

/* Of the run in progress; written by the signal handler. */
static volatile struct outcome last;
static volatile int in_native;

static uint64_t rnd_state = 88172645463325252ull;
uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}
void rnd_seed(uint64_t s)
{
	rnd_state = s * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
}

void harness_cache(uint64_t size)
{
	cache_size_used = size;
	harness_reset();
}

static bool to_offset(uint64_t gva, uint64_t *off)
{
	if (gva - GUEST_LOW < GUEST_SIZE)
		*off = gva - GUEST_LOW;
	else if (gva - GUEST_HIGH < GUEST_SIZE)
		*off = gva - GUEST_HIGH;
	else if (gva - GUEST_FAR < GUEST_SIZE)
		*off = gva - GUEST_FAR;
	else
		return false;
	return true;
}

uint8_t *guest_ptr(uint64_t gva)
{
	uint64_t off = 0;

	if (!to_offset(gva, &off))
		abort();
	return ram_guest + off;
}

void poke(uint64_t gva, const void *src, size_t len)
{
	uint64_t off = 0, k;

	if (!to_offset(gva, &off))
		abort();
	memcpy(ram_guest + off, src, len);
	memcpy(ram_native + off, src, len);
	if (!X)
		return;
	for (k = off >> 12; k <= (off + len - 1) >> 12; k++)
		if (xlate_invalidate_frame(X, k))
			protect[k] =
				0; /* rights are put back at the next set_rights or write fault */
}

static void apply_rights(uint64_t frame)
{
	int prot = rights[frame];

	if (protect[frame] || frame == taken)
		prot &= ~PROT_WRITE;
	mprotect((void *)(GUEST_LOW + S + (frame << 12)), 4096, prot & ~PROT_EXEC);
	mprotect((void *)(GUEST_HIGH + S + (frame << 12)), 4096, prot & ~PROT_EXEC);
	mprotect((void *)(GUEST_FAR + S + (frame << 12)), 4096, prot & ~PROT_EXEC);
}

void set_rights(uint64_t gva, size_t len, int prot)
{
	uint64_t off = 0, k;

	if (!to_offset(gva, &off))
		abort();
	for (k = off >> 12; k <= (off + len - 1) >> 12; k++) {
		rights[k] = (uint8_t)prot;
		apply_rights(k);
		mprotect(ram_native + (k << 12), 4096, prot);
	}
	xlate_user_forget(X);
	xlate_revalidate(X);
}

void set_taken(uint64_t gva)
{
	uint64_t off = 0, old = taken;

	if (gva && !to_offset(gva, &off))
		abort();
	taken = gva ? off >> 12 : ~0ull;
	if (old < NR_FRAMES)
		apply_rights(old);
	if (taken < NR_FRAMES)
		apply_rights(taken);
}

bool frame_protected(uint64_t mfn)
{
	return protect[mfn];
}

static uint32_t cb_fetch(void *priv, uint64_t gva, struct xlate_code *ret)
{
	uint64_t off;

	if (!to_offset(gva, &off) || !(rights[off >> 12] & PROT_EXEC))
		return 0x14;
	ret->ptr = ram_guest + (off & ~0xffful);
	ret->mfn = off >> 12;
	return 0;
}

static void cb_note(void *priv, uint64_t mfn)
{
	protect[mfn] = 1;
	nr_notes++;
	apply_rights(mfn);
}

uint64_t user_absent, user_swap, nr_user_asked;
bool asked_at_string;

static void cb_zero(void *priv, uint64_t addr, uint64_t len)
{
	if (madvise((void *)addr, len, MADV_DONTNEED))
		abort();
}

static uint32_t cb_user(void *priv, uint64_t va, bool write, uint8_t **ret)
{
	uint64_t off;

	nr_user_asked++;
	asked_at_string = xlate_at_string(X);
	if (va - USER_BASE < USER_SIZE) {
		if (va >> 12 == user_absent >> 12 && (write || !(user_absent & 1)))
			return (user_absent & 1) | (write ? 2 : 0) | 4;
		off = USER_RAM + ((va - USER_BASE) ^ user_swap);
	} else if (!to_offset(va, &off)) {
		return write ? 6 : 4;
	}
	if (write && protect[off >> 12]) {
		protect[off >> 12] = 0;
		xlate_invalidate_frame(X, off >> 12);
		apply_rights(off >> 12);
	}
	if (write && off >> 12 != taken)
		xlate_store_needless(X);
	*ret = ram_guest + off;
	return 0;
}

void harness_reset(void)
{
	struct xlate_config cfg = {.cache_size = cache_size_used,
				   .regs = &R,
				   .kick = &kick_flag,
				   .fetch = cb_fetch,
				   .note = cb_note,
				   .user = cb_user,
				   .zero = cb_zero};
	uint64_t k;

	for (k = 0; k < NR_FRAMES; k++)
		if (protect[k]) {
			protect[k] = 0;
			apply_rights(k);
		}
	X = xlate_init(&cfg);
	if (!X)
		abort();
}

static void (*native_hook)(const struct core_regs *r);

static void native_state(struct core_regs *r, const greg_t *g)
{
	const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
			       REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
			       REG_R12, REG_R13, REG_R14, REG_R15};
	int k;

	for (k = 0; k < 16; k++)
		r->gpr[k] = (uint64_t)g[order[k]];
	r->rip = (uint64_t)g[REG_RIP];
	r->rflags = (r->rflags & ~0xcd5ull) | ((uint64_t)g[REG_EFL] & 0xcd5);
}

static void native_fault(int sig, siginfo_t *si, ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;

	native_state(native_regs_ptr, g);
	last.exit = 0;
	last.sig = sig;
	last.vector = (unsigned int)g[REG_TRAPNO];
	last.error = (unsigned int)g[REG_ERR];
	last.addr = sig == SIGSEGV && si->si_code != SI_KERNEL ? (uint64_t)si->si_addr : 0;
	g[REG_RIP] = (greg_t)native_return;
	g[REG_RSP] = (greg_t)native_host_rsp;
	g[REG_EFL] &= ~0x40500ll;
}

/* Write to a frame that is only protected because it holds translated source? */
static bool serve_write_fault(uint64_t gva, struct xlate_sigregs *s)
{
	uint64_t off;

	/* (poke() leaves pages read-only that are protected no longer) */
	if (!to_offset(gva, &off) || !(rights[off >> 12] & PROT_WRITE))
		return false;
	if (off >> 12 == taken) {
		xlate_recover(X, s, NULL);
		if (!xlate_store_access(X, true, true))
			return false;
		xlate_leave(X, s);
		last.exit = -1;
		return true;
	}
	nr_write_faults++;
	protect[off >> 12] = 0;
	xlate_recover(X, s, NULL);
	xlate_invalidate_frame(X, off >> 12);
	apply_rights(off >> 12);
	xlate_leave(X, s);
	last.exit = -1; /* go on */
	return true;
}

static void (*step_hook)(const struct core_regs *r);
static unsigned int steps_left; /* then a kick; 0 = none */

/* SIGTRAP after each host instruction: look, and go on. */
static void host_step(enum xlate_where where, struct xlate_sigregs *s)
{
	struct core_regs saved = R, seen;

	switch (where) {
	case XLATE_IN_CACHE:
		xlate_recover(X, s, NULL);
		seen = R;
		R = saved;
		if (steps_left && !--steps_left) {
			R = seen;
			xlate_leave(X, s);
			last.exit = -1;
			break;
		}
		step_hook(&seen);
		break;
	case XLATE_LEAVING:
		s->eflags &= ~0x100ull;
		break;
	default:
		break;
	}
}

HARNESS_BARE static void handler(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	struct xlate_sigregs *s = (void *)uc->uc_mcontext.gregs;
	enum xlate_where where;
	struct xlate_recovered rec;
	const uint64_t fs =
		__builtin_ia32_rdfsbase64(); /* put back wherever the handler just returns */

	if (in_native) {
		__builtin_ia32_wrfsbase64(native_host_fs);
		if (sig == SIGALRM || sig == SIGUSR1) {
			__builtin_ia32_wrfsbase64(fs);
			return;
		}
		if (sig == SIGTRAP && native_hook) {
			struct core_regs seen = *native_regs_ptr;

			native_state(&seen, uc->uc_mcontext.gregs);
			native_hook(&seen);
			if (seen.rip == (uint64_t)native_exit) /* stepped through it all */
				uc->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
			__builtin_ia32_wrfsbase64(fs);
			return;
		}
		native_fault(sig, si, uc);
		__builtin_ia32_wrfsbase64(native_host_fs);
		return;
	}
	where = X ? xlate_where(X, s->rip) : XLATE_OUTSIDE;
	if (where != XLATE_OUTSIDE)
		__builtin_ia32_wrfsbase64(VCPU_WORD(XV_HOST_FS));
	if (sig == SIGTRAP && step_hook) {
		host_step(where, s);
		__builtin_ia32_wrfsbase64(fs);
		return;
	}
	switch (where) {
	case XLATE_MISS:
		xlate_miss(X, s);
		__builtin_ia32_wrfsbase64(fs);
		return;
	case XLATE_IN_CACHE:
		if (sig == SIGSEGV && si->si_code == SEGV_ACCERR &&
		    serve_write_fault((uint64_t)si->si_addr - S, s))
			return;
		xlate_recover(X, s, &rec);
		xlate_leave(X, s);
		last.exit = 0;
		last.sig = sig;
		last.addr =
			sig == SIGSEGV && si->si_code != SI_KERNEL ? (uint64_t)si->si_addr - S : 0;
		last.fetch = rec.fetch;
		last.vector =
			xlate_guest_vector(X, (unsigned int)uc->uc_mcontext.gregs[REG_TRAPNO]);
		if (sig == SIGALRM || sig == SIGUSR1 || rec.completed ||
		    (sig == SIGSEGV && si->si_code == SI_KERNEL && xlate_user_access(X)))
			last.exit = -1;
		if (on_stop)
			on_stop();
		return;
	case XLATE_IN_ENTRY:
		if (sig == SIGALRM || sig == SIGUSR1) {
			xlate_leave(X, s);
			last.exit = -1;
			return;
		}
		break;
	default:
		if (sig == SIGALRM || sig == SIGUSR1) {
			if (where == XLATE_LEAVING)
				__builtin_ia32_wrfsbase64(fs);
			return;
		}
		break;
	}
	__builtin_ia32_wrfsbase64(VCPU_WORD(XV_HOST_FS));
	fprintf(stderr, "unexpected signal %d at %#lx addr %p where %d\n", sig, s->rip, si->si_addr,
		where);
	signal(sig, SIG_DFL);
	raise(sig);
	_exit(2);
}

/* No memset() in the runs: the C library's would use the vector registers that tests compare. */
static void clear_last(void)
{
	last.exit = last.sig = 0;
	last.addr = 0;
	last.fetch = false;
}

struct outcome run_guest(void)
{
	struct outcome o;

	for (;;) {
		clear_last();
		if (trims && !(++nr_entered % 3))
			xlate_trim(X);
		o.exit = xlate_enter(X);
		if (o.exit == XLATE_KICKED)
			continue;
		if (o.exit != XLATE_SIGNAL)
			break;
		if (last.exit == -1)
			continue;
		o = last;
		return o;
	}
	o.sig = 0;
	o.addr = o.exit == XLATE_FETCH_FAULT || o.exit == XLATE_PAGE_FAULT ? xlate_exit_addr(X) : 0;
	o.fetch = o.exit == XLATE_FETCH_FAULT;
	return o;
}

struct outcome run_guest_stepped(void (*on_step)(const struct core_regs *r))
{
	struct outcome o;

	clear_last();
	step_hook = on_step;
	VCPU_WORD(XV_HOST_TF) = 0x100;
	o.exit = xlate_enter(X);
	VCPU_WORD(XV_HOST_TF) = 0;
	step_hook = NULL;
	if (o.exit == XLATE_SIGNAL)
		return last;
	o.sig = 0;
	o.addr = 0;
	o.fetch = false;
	return o;
}

static void no_hook(const struct core_regs *r)
{
}

bool run_guest_kicked_at(unsigned int step)
{
	struct outcome o;

	steps_left = step;
	o = run_guest_stepped(no_hook);
	/* The rest, as far as it is still to be run. */
	if (o.exit == -1)
		o = run_guest();
	if (o.exit != XLATE_HYPERCALL)
		abort();
	step = steps_left;
	steps_left = 0;
	return step == 0;
}

struct outcome run_native(struct core_regs *r)
{
	struct outcome o;

	clear_last();
	last.exit = XLATE_HYPERCALL;
	in_native = 1;
	native_enter(r);
	in_native = 0;
	o = last;
	return o;
}

struct outcome run_native_stepped(struct core_regs *r, void (*on_step)(const struct core_regs *r))
{
	struct outcome o;

	native_hook = on_step;
	native_tf = 0x100;
	o = run_native(r);
	native_tf = 0;
	native_hook = NULL;
	return o;
}

uint64_t fpu_mask(void)
{
	uint32_t a, d;

	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a & 0xe7;
}

void fpu_load(const void *area)
{
	__asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"((uint32_t)fpu_mask()), "d"(0) : "memory");
}

void fpu_save(void *area)
{
	__asm__ volatile("xsave64 (%0)" ::"r"(area), "a"((uint32_t)fpu_mask()), "d"(0) : "memory");
}

static bool map_at(uint64_t addr, uint64_t size, int prot, int flags, int fd, const char *what)
{
	void *p = mmap((void *)addr, size, prot, flags | MAP_FIXED_NOREPLACE, fd, 0);

	if (p == (void *)addr)
		return true;
	printf("harness: %s at %#lx (%#lx bytes) is not free: %s\n", what, addr, size,
	       strerror(errno));
	return false;
}

void harness_begin(void)
{
	static uint8_t altstack[65536];
	const int sigs[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM, SIGUSR1};
	stack_t ss = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
	struct sigaction sa = {.sa_sigaction = handler,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	unsigned int k;

	/*
	 * As in the monitor no kick comes in the middle of a handler: with a timer that is faster
	 * than a busy host runs this one they would nest until the stack is full.
	 */
	sigaddset(&sa.sa_mask, SIGALRM);
	sigaddset(&sa.sa_mask, SIGUSR1);
	sigaltstack(&ss, NULL);
	for (k = 0; k < sizeof(sigs) / sizeof(*sigs); k++)
		sigaction(sigs[k], &sa, NULL);
}

bool harness_init(uint64_t cache_size)
{
	struct xlate_area areas[XLATE_NR_AREAS];
	unsigned int k;

	cache_size_used = cache_size;
	trims = CAN_TRIM && getenv("XLATE_TRIM");
	xlate_areas(areas, cache_size);
	for (k = 0; k < XLATE_NR_AREAS; k++)
		if (!map_at(areas[k].addr, areas[k].size,
			    PROT_READ | PROT_WRITE | (areas[k].exec ? PROT_EXEC : 0),
			    MAP_PRIVATE | MAP_ANONYMOUS | (areas[k].noreserve ? MAP_NORESERVE : 0),
			    -1, "translator area"))
			return false;
	ram_fd = memfd_create("guest", MFD_CLOEXEC);
	if (ram_fd < 0 || ftruncate(ram_fd, GUEST_SIZE))
		return false;
	ram_guest = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	ram_native = (uint8_t *)GUEST_LOW;
	if (!map_at(GUEST_LOW, GUEST_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, "native memory") ||
	    !map_at(GUEST_LOW + S, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd,
		    "low window") ||
	    !map_at(GUEST_HIGH + S, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd,
		    "high window") ||
	    !map_at(GUEST_FAR + S, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd,
		    "far window") ||
	    !map_at(NATIVE_VEC, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    "vector page"))
		return false;
	*(uint64_t *)0xfffff0ul = (uint64_t)native_exit;
	memset(rights, ALL_RIGHTS, sizeof(rights));
	harness_begin();
	harness_reset();
	return true;
}
