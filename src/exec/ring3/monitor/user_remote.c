/* SPDX-License-Identifier: MIT */
/*
 * What K does to the memory of a U process by itself, without M (adr/0017): the process has a
 * userfaultfd of which only K has the descriptor. It takes the write right away from pages that are
 * mapped, and gives it back, in a third of a microsecond; with M the first costs an unmapping that
 * is waited for, and the second a fault and a mapping.
 *
 * Pages are registered when that happens to them for the first time. A mapping that M makes in
 * their place is not registered, and has the rights it says. So what a process may write to is what
 * M mapped writable and what this file has not protected since; and that an entry allows it, with
 * the dirty bit, is looked at before protection goes.
 *
 * G's access to a protected page is a SIGBUS that looks like a page fault otherwise. Hosts without
 * all that (no userfaultfd, before Linux 5.19, a container that forbids it) have no descriptor
 * there, and M does what it did before.
 */
#include "exec/ring3/monitor/user.h"

#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>

#include "core/mm/mm.h"
#include "exec/ring3/monitor/smp.h"

#define HOST_ENOENT 2
#define HOST_EBADF  9

long remote_ask(struct u_slot *s, unsigned long what, void *arg)
{
	long r;

	/* What M has been told and has not done yet would come behind this. */
	order_catch_up(s);
	r = sys3(SYS_ioctl, K_FD_REMOTE + user_number_of(s), what, arg);

	if (r == -HOST_EBADF)
		s->no_remote = true;
	return r;
}

static bool set_protection(struct u_slot *s, uint64_t va, uint64_t len, bool on)
{
	struct uffdio_writeprotect wp = {{va, len}, on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
	struct uffdio_register reg = {{va, len}, UFFDIO_REGISTER_MODE_WP, 0};
	long r = remote_ask(s, UFFDIO_WRITEPROTECT, &wp);

	if (r == -HOST_ENOENT && on && !remote_ask(s, UFFDIO_REGISTER, &reg)) {
		s->maps += 2; /* one may have become three */
		r = remote_ask(s, UFFDIO_WRITEPROTECT, &wp);
	}
	return r == 0;
}

/*
 * The page whose protection went for a touch, and has not come back since: there is no reason left
 * for a second one, unless what is noted as mapped there is not. Its mapping is made anew then.
 */
static struct {
	struct u_slot *s;
	uint64_t va;
} touched;

/* Pages to protect, before the guest's next flush is over: fork does that to many in a row. */
static struct {
	struct u_slot *s;
	uint64_t va, len;
} lost;

/* What was given back last, until G runs. */
static uint64_t given_va;

bool remote_write_lost(struct u_slot *s, uint64_t va)
{
	if (s->no_remote)
		return false;
	smp_due(true);
	if (lost.s == s && lost.va + lost.len == va) {
		lost.len += 4096;
		return true;
	}
	remote_settle();
	lost.s = s;
	lost.va = va;
	lost.len = 4096;
	return true;
}

void remote_settle(void)
{
	struct u_slot *s = lost.s;

	if (__builtin_expect(!s, 1))
		return;
	lost.s = NULL;
	given_va = 0;
	touched.s = NULL;
	if (!set_protection(s, lost.va, lost.len, true))
		user_forget(user_number_of(s), lost.va, lost.len);
}

void remote_write_given(struct u_slot *s, uint64_t va, uint64_t mfn)
{
	remote_settle();
	if (s->no_remote || s->debug.dr7 || window_is_code(mfn))
		return;
	if (set_protection(s, va, 4096, false))
		given_va = va;
}

bool remote_was_given(uint64_t va)
{
	bool ret = given_va && given_va == (va & ~0xfffull);

	given_va = 0;
	return ret;
}

bool remote_fault(struct u_slot *s, uint64_t va, uint32_t access)
{
	uint64_t mfn, flags, upper, *pte;

	va &= ~0xfffull;
	if (va < U_FIRST || va >= U_VA_END ||
	    !core_walk_access(&k.c, k.c.v->user_root, va, access | PF_USER, &mfn, &flags) ||
	    mfn >= k.nr_frames)
		return false;
	/* No memory of the host behind the frame? Then K gets that signal itself, and says so. */
	(void)*(const volatile uint8_t *)(k.c.ram + (mfn << 12));
	if (!(access & PF_WRITE) || s->no_remote || s->debug.dr7)
		return false;
	if (window_is_code(mfn))
		window_code_written(mfn); /* may have waited: */
	pte = tlb_follow(k.c.v->user_root, va, (int)user_number_of(s), &upper);
	if (!pte || pte_mfn(pte_read(pte)) != mfn || !(pte_read(pte) & upper & PTE_RW) ||
	    !(pte_read(pte) & PTE_DIRTY) || !user_may_have(s, pte) || tlb_pending(&s->gone))
		return false;
	if (touched.s == s && touched.va == va) {
		touched.s = NULL;
		return false;
	}
	if (!set_protection(s, va, 4096, false))
		return false;
	touched.s = s;
	touched.va = va;
	return true;
}
