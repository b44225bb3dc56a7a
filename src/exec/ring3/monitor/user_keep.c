/* SPDX-License-Identifier: MIT */
/*
 * Pages that come back. Who maps a few pages, uses them and unmaps them again and again gets the
 * same addresses each time, and the same frames, for kernels hand out first what was given back
 * last. To unmap them M throws the mapping away with the host's page tables, and makes all of it
 * anew a moment later. So what was mapped twice in the same way keeps its mapping: M takes the
 * pages out of it (MADV_DONTNEED: nothing of the memfd changes), and K, who has registered it with
 * the userfaultfd of user_remote.c before, for all kinds of faults, puts them back by one ioctl.
 *
 * Behind an empty mapping are frames that the guest may use for anything else by now. It is
 * registered before it is emptied, so a touch is a SIGBUS and never brings a page, and K puts one
 * there only for an entry that says so. What else is mapped or unmapped in it ends it.
 */
#include "exec/ring3/monitor/user.h"

#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "exec/ring3/monitor/k.h"

#define OFTEN 2u
#define RW    (PROT_READ | PROT_WRITE)

/* Of what was known of these addresses: an entry for just them, and no other any more. */
static struct u_keep *only(struct u_slot *s, uint64_t va, uint64_t len)
{
	struct u_keep *ret = NULL;

	for (unsigned int i = 0; i < U_KEEP; i++) {
		struct u_keep *e = &s->keep[i];

		if (e->va >= va + len || va >= e->va + e->len)
			continue;
		if (e->va == va && e->len == len)
			ret = e;
		else
			*e = (struct u_keep){0};
	}
	return ret;
}

static struct u_keep *make_room(struct u_slot *s)
{
	for (unsigned int i = 0; i < U_KEEP; i++) {
		struct u_keep *e = &s->keep[s->keep_next++ % U_KEEP];

		if (!e->kept)
			return e;
	}
	return &s->keep[s->keep_next++ % U_KEEP];
}

void keep_mapped(struct u_slot *s, uint64_t va, uint64_t at, uint64_t len, int prot)
{
	struct u_keep *e = only(s, va, len);
	uint32_t times = e && e->at == at ? e->times + 1 : 1;

	if (prot != RW || len > U_KEEP_MAX || s->no_remote) {
		if (e)
			*e = (struct u_keep){0};
		return;
	}
	if (!e)
		e = make_room(s);
	*e = (struct u_keep){va, len, at, times < OFTEN ? times : OFTEN, false};
}

bool keep_unmap(struct u_slot *s, uint64_t va, uint64_t len)
{
	struct uffdio_register reg = {{va, len}, 0, 0};
	struct u_keep *e = only(s, va, len);

	if (!e || e->times < OFTEN || s->no_remote)
		return false;
	reg.mode =
		UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
	if (!e->kept && remote_ask(s, UFFDIO_REGISTER, &reg)) {
		*e = (struct u_keep){0};
		return false;
	}
	s->maps += e->kept ? 0 : 2; /* one may have become three */
	e->kept = true;
	order_add(s, SYS_madvise, va, len, MADV_DONTNEED, 0, 0, 0);
	return true;
}

bool keep_fill(struct u_slot *s, uint64_t va, uint64_t at, uint64_t len)
{
	struct uffdio_continue go = {{va, len}, 0, 0};

	for (unsigned int i = 0; i < U_KEEP; i++) {
		const struct u_keep *e = &s->keep[i];

		/* (if it is there already M maps it over this one) */
		if (e->kept && e->va == va && e->len == len && e->at == at)
			return !remote_ask(s, UFFDIO_CONTINUE, &go);
	}
	return false;
}
