/* SPDX-License-Identifier: MIT */
/*
 * The probe of a host's KVM against KVMs of our own: one that is right, some that are wrong, slow
 * or hang, and machines that have no time. The source is included, with open() and ioctl()
 * replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static int fake_open(const char *path, int flags);
static int fake_ioctl(int fd, unsigned long op, ...);
#define open  fake_open
#define ioctl fake_ioctl
#include "exec/kvm/probe.c"
#undef open
#undef ioctl

static enum { RIGHT, SLOW, HANGS_BUSY, HANGS_ASLEEP, IN_RING3, STARVED, LACKS, FATAL } behaviour;
static struct probe_result *guest;
static struct kvm_run *shared;
static int interruptions; /* EINTRs that KVM_CREATE_VM is to give */
static atomic_bool hog_done;

static uint64_t cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void burn(uint64_t ns)
{
	uint64_t until = cpu_now() + ns;

	while (cpu_now() < until)
		pthread_testcancel();
}

static void one_cpu(void)
{
	cpu_set_t all, one;

	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* Takes the processor from the one that is at work, for longer than the probe's limit. */
static void *hog(void *opaque)
{
	uint64_t until = now_ns() + 2500000000u;

	one_cpu();
	while (now_ns() < until)
		;
	hog_done = true;
	return NULL;
}

static int fake_open(const char *path, int flags)
{
	if (behaviour == FATAL && !strncmp(path, "/proc/c", 7)) {
		const char *text = !strcmp(path, "/proc/cmdline")
					   ? "quiet split_lock_detect=fatal\n"
					   : "flags\t\t: fpu split_lock_detect\n";
		int fd = memfd_create("text", MFD_CLOEXEC);

		assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
		return fd;
	}
	if (strcmp(path, "/dev/kvm") != 0)
		return open(path, flags);
	return eventfd(0, EFD_CLOEXEC);
}

static void record(unsigned int i, uint64_t vector, uint64_t error, uint64_t cr2)
{
	guest->record[i] = (struct probe_record){
		.vector = vector, .error = error, .cr2 = cr2, .cs = 0x2b, .rip = PROBE_VA};
	guest->nr = i + 1;
}

static int kvm_run(void)
{
	static pthread_t thread;
	struct sched_param idle = {0};
	bool first = !guest->nr;

	record(0, 6, 0, 0);
	record(1, 14, 4, PROBE_HOLE);
	record(2, 13, 0x40 * 8 + 2, 0);
	guest->bounces += PROBE_BOUNCES;
	shared->exit_reason = KVM_EXIT_IO;
	switch (behaviour) {
	case SLOW:
		burn(PROBE_BOUNCES * 100000u);
		break;
	case HANGS_BUSY:
		burn(60000000000u);
		break;
	case HANGS_ASLEEP:
		sleep(60);
		break;
	case IN_RING3:
		guest->record[2].rip = PROBE_VA + (uint64_t)(probe_syscall - probe_start);
		break;
	case STARVED:
		if (!first)
			break;
		one_cpu();
		sched_setscheduler(0, SCHED_IDLE, &idle);
		pthread_create(&thread, NULL, hog, NULL);
		while (!hog_done)
			burn(1000000);
		pthread_join(thread, NULL);
		break;
	default:
		break;
	}
	return 0;
}

static int fake_ioctl(int fd, unsigned long op, ...)
{
	va_list ap;

	va_start(ap, op);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	switch (op) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return !(behaviour == LACKS && (long)arg == KVM_CAP_X86_MSR_FILTER);
	case KVM_CREATE_VM:
		if (interruptions-- > 0) {
			errno = EINTR;
			return -1;
		}
		return eventfd(0, EFD_CLOEXEC);
	case KVM_SET_USER_MEMORY_REGION: {
		struct kvm_userspace_memory_region *m = arg;

		guest = (struct probe_result *)(m->userspace_addr + PROBE_DATA * 4096ull);
		return 0;
	}
	case KVM_CREATE_VCPU: {
		int vcpu = memfd_create("vcpu", MFD_CLOEXEC);

		assert_int_equal(ftruncate(vcpu, 4096), 0);
		shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
		assert_ptr_not_equal(shared, MAP_FAILED);
		return vcpu;
	}
	case KVM_GET_VCPU_MMAP_SIZE:
		return 4096;
	case KVM_GET_SUPPORTED_CPUID: {
		struct kvm_cpuid2 *c = arg;

		c->nent = 1;
		c->entries[0] = (struct kvm_cpuid_entry2){.function = 7, .ebx = 1};
		return 0;
	}
	case KVM_SET_MSRS:
		return 3;
	case KVM_RUN:
		return kvm_run();
	default:
		return 0;
	}
}

/* The probe's answer, and how long it took. */
static struct exec_probe ask(int how, uint64_t *ret_ms)
{
	struct exec_probe answer;
	uint64_t start = now_ns();

	behaviour = how;
	hog_done = false;
	kvm_probe(&answer);
	*ret_ms = (now_ns() - start) / 1000000;
	if (shared)
		munmap(shared, 4096);
	shared = NULL;
	assert_int_equal(answer.available, answer.reason[0] == '\0');
	return answer;
}

static void test_right(void **state)
{
	uint64_t ms;

	interruptions = 3; /* signals of the program's */
	struct exec_probe a = ask(RIGHT, &ms);

	assert_string_equal(a.reason, "");
}

static void test_wrong(void **state)
{
	uint64_t ms;

	assert_non_null(strstr(ask(IN_RING3, &ms).reason, "still in ring 3"));
	assert_non_null(strstr(ask(SLOW, &ms).reason, "no hardware virtualization"));
	assert_non_null(strstr(ask(LACKS, &ms).reason, "it lacks MSR filters"));
	assert_non_null(strstr(ask(FATAL, &ms).reason, "split_lock_detect=fatal"));
}

/* (The limit is 1.5 s of what the thread has had of the machine; the rest is for a machine that is
 * busy while this test runs.) */
static void test_hangs(void **state)
{
	uint64_t ms;

	assert_non_null(strstr(ask(HANGS_ASLEEP, &ms).reason, "take longer than 1500 ms"));
	assert_in_range(ms, 1400, 10000);
	struct exec_probe a = ask(HANGS_BUSY, &ms);

	assert_false(a.available);
	if (ms < 9000) {
		assert_non_null(strstr(a.reason, "take longer than 1500 ms"));
		assert_in_range(ms, 1400, 9000);
	} else { /* it did not get 1.5 s, or only just before the end */
		assert_true(strstr(a.reason, "too busy") ||
			    strstr(a.reason, "take longer than 1500 ms"));
	}
}

/* No processor for 2.5 s, or for more where others want it, too: that is no fault of KVM's. */
static void test_starved(void **state)
{
	uint64_t ms;
	struct exec_probe a = ask(STARVED, &ms);

	assert_true(ms > 1600);
	if (ms < 9000)
		assert_string_equal(a.reason, "");
	else
		assert_null(strstr(a.reason, "faithfully"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_hangs),
		cmocka_unit_test(test_starved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
