/* SPDX-License-Identifier: MIT */
/*
 * Write rights by userfaultfd (monitor/user_remote.c, window_protect.c), with a real one, whose
 * pages are this process's own.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mm/mm.h"
#include "exec/ring3/monitor/smp.h"
#include "exec/ring3/monitor/user.h"

#define PAGE  4096u
#define FRAME 5u
#define RW    (PROT_READ | PROT_WRITE)

struct k k;
static struct core_vcpu vcpu;
static struct k_peer me;
static struct u_slot slot;
static uint64_t pte, mapped_va, forgotten;
static int memfd;
static uint8_t *page; /* what "G" has mapped; K's own mapping is k.c.ram's */

/* ---- the rest of the monitor ---------------------------------------------------------------- */

void order_catch_up(struct u_slot *s)
{
}
unsigned int user_number_of(const struct u_slot *s)
{
	return 0;
}
void user_forget(unsigned int number, uint64_t va, uint64_t len)
{
	forgotten = va;
}
bool user_may_have(const struct u_slot *s, const uint64_t *entry)
{
	return mapped_va != 0;
}
uint64_t *tlb_follow(uint64_t root, uint64_t va, int number, uint64_t *ret_upper)
{
	*ret_upper = PTE_RW | PTE_USER;
	return &pte;
}
bool core_walk_access(struct core_ctx *c, uint64_t root, uint64_t va, uint32_t access,
		      uint64_t *ret_mfn, uint64_t *ret_flags)
{
	*ret_mfn = FRAME;
	*ret_flags = PTE_PRESENT | PTE_USER | (pte & PTE_RW);
	return !(access & PF_WRITE) || (pte & PTE_RW);
}
bool window_is_code(uint64_t mfn)
{
	return false;
}
void window_code_written(uint64_t mfn)
{
}

/* ---- */

static sigjmp_buf back;

static void on_sigbus(int sig)
{
	siglongjmp(back, 1);
}
static bool can_store(uint8_t *p, uint8_t value)
{
	struct sigaction sa = {.sa_handler = on_sigbus}, old; /* (cmocka has its own) */
	volatile bool ret = false;

	sigaction(SIGBUS, &sa, &old);
	if (!sigsetjmp(back, 1)) {
		*(volatile uint8_t *)p = value;
		ret = true;
	}
	sigaction(SIGBUS, &old, NULL);
	return ret;
}
static uint64_t at(const void *p)
{
	return (uint64_t)p;
}

static int set_up(void **state)
{
	struct uffdio_api api = {.api = UFFD_API, .features = REMOTE_FEATURES};
	int fd = (int)sys1(SYS_userfaultfd, REMOTE_FLAGS);

	memset(&slot, 0, sizeof(slot));
	memset(&me, 0, sizeof(me));
	memfd = memfd_create("remote", MFD_CLOEXEC);
	if (fd < 0 || memfd < 0 || ioctl(fd, UFFDIO_API, &api) || dup2(fd, K_FD_REMOTE) < 0 ||
	    ftruncate(memfd, 64 * PAGE))
		return -1;
	close(fd);
	k.c.ram = mmap(NULL, 64 * PAGE, RW, MAP_SHARED, memfd, 0);
	k.c.v = &vcpu;
	k.nr_frames = 64;
	k.smp = true;
	k.me = &me;
	page = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_POPULATE, memfd, FRAME * PAGE);
	pte = (uint64_t)FRAME << 12 | PTE_PRESENT | PTE_USER | PTE_RW | PTE_DIRTY;
	mapped_va = at(page);
	forgotten = 0;
	return k.c.ram == MAP_FAILED || page == MAP_FAILED ? -1 : 0;
}
static int tear_down(void **state)
{
	munmap(k.c.ram, 64 * PAGE);
	munmap(page, PAGE);
	close(memfd);
	close(K_FD_REMOTE);
	return 0;
}

static void test_lost_and_touched(void **state)
{
	assert_true(remote_write_lost(&slot, at(page)));
	assert_int_equal(me.due, 1); /* another vCPU's flush has to know */
	remote_settle();
	assert_int_equal(forgotten, 0);
	assert_false(can_store(page, 1));
	assert_int_equal(*page, 0);
	/* What the guest's tables forbid stays forbidden. */
	pte &= ~PTE_RW;
	assert_false(remote_fault(&slot, at(page), PF_WRITE));
	pte |= PTE_RW;
	pte &= ~PTE_DIRTY;
	assert_false(remote_fault(&slot, at(page), PF_WRITE));
	pte |= PTE_DIRTY;
	mapped_va = 0;
	assert_false(remote_fault(&slot, at(page), PF_WRITE));
	assert_false(can_store(page, 1));
	mapped_va = at(page);
	assert_true(remote_fault(&slot, at(page), PF_WRITE));
	assert_true(can_store(page, 1));
	/* And once more, for fork does that again and again. */
	assert_true(remote_write_lost(&slot, at(page)));
	remote_settle();
	assert_false(can_store(page, 2));
	assert_true(remote_fault(&slot, at(page), PF_WRITE));
	assert_true(can_store(page, 2));
	assert_int_equal(*page, 2);
}

static void test_given(void **state)
{
	assert_true(remote_write_lost(&slot, at(page)));
	remote_write_given(&slot, at(page), FRAME);
	assert_true(remote_was_given(at(page) + 8));
	assert_false(remote_was_given(at(page)));
	assert_true(can_store(page, 1));
	assert_true(remote_write_lost(&slot, at(page)));
	remote_settle();
	assert_false(can_store(page, 1));
}

/* Noted as mapped, and it is not: no ioctl on the protection helps, and that is noticed. */
static void test_not_there(void **state)
{
	struct uffdio_register reg = {{at(page), PAGE},
				      UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR |
					      UFFDIO_REGISTER_MODE_WP,
				      0};
	unsigned int times = 0;

	assert_int_equal(remote_ask(&slot, UFFDIO_REGISTER, &reg), 0);
	assert_int_equal(madvise(page, PAGE, MADV_DONTNEED), 0);
	while (!can_store(page, 1) && remote_fault(&slot, at(page), PF_WRITE))
		assert_true(++times < 10);
	assert_false(can_store(page, 1));
	/* By what the caller does then (user_map()) it is there, and all goes on as ever. */
	assert_ptr_equal(
		mmap(page, PAGE, RW, MAP_SHARED | MAP_FIXED | MAP_POPULATE, memfd, FRAME * PAGE),
		page);
	assert_true(can_store(page, 1));
	assert_true(remote_write_lost(&slot, at(page)));
	remote_settle();
	assert_false(can_store(page, 2));
	assert_true(remote_fault(&slot, at(page), PF_WRITE));
	assert_true(can_store(page, 2));
}

/* No descriptor: said once, and nobody asks again. */
static void test_no_descriptor(void **state)
{
	close(K_FD_REMOTE);
	assert_true(remote_write_lost(&slot, at(page)));
	remote_settle();
	assert_true(slot.no_remote);
	assert_int_equal(forgotten, at(page));
	assert_false(remote_write_lost(&slot, at(page)));
	assert_false(remote_fault(&slot, at(page), PF_WRITE));
}

/* K's own window: who may write again has to name the frame that was mapped there last. */
static void test_window(void **state)
{
	uint64_t va = at(page) - K_SHIFT;

	window_protect_init();
	window_page_mapped(va, FRAME, 1);
	assert_true(window_page_protect(va));
	assert_false(can_store(page, 1));
	assert_true(window_page_is(va, FRAME));
	assert_false(window_page_is(va, FRAME + 1));
	assert_false(window_page_is(va + PAGE, FRAME));
	assert_true(window_page_allow(va));
	assert_true(can_store(page, 1));
	/* Another frame is mapped there; there is another page in the note's place. */
	window_page_mapped(va - PAGE, FRAME, 3);
	assert_true(window_page_is(va, FRAME + 1));
	assert_false(window_page_is(va, FRAME));
	for (uint64_t i = 1; i < 1u << 20; i++)
		window_page_mapped(va + i * PAGE, FRAME + 1, 1);
	assert_false(window_page_is(va, FRAME + 1));
	close(K_FD_OWN_REMOTE);
	assert_false(window_page_protect(va));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lost_and_touched, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_given, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_descriptor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_window, set_up, tear_down),
	};
	int fd = (int)sys1(SYS_userfaultfd, REMOTE_FLAGS);
	struct uffdio_api api = {.api = UFFD_API, .features = REMOTE_FEATURES};

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api)) {
		print_message("skipped: this host has no userfaultfd that protects shared memory "
			      "(Linux 5.19), or forbids it\n");
		return 77;
	}
	close(fd);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
