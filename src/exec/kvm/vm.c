/* SPDX-License-Identifier: MIT */
/* Making the virtual machine: its memory, and the little of the kernel's device models it needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/kvm/kvm.h"
#include "util/err.h"

/* Where KVM puts pages of its own on some processors: below 4 GiB, never RAM of ours. */
#define KVM_HOLE_START	  0xfec00000ull
#define KVM_HOLE_END	  0x100000000ull
#define TSS_ADDR	  0xfffbd000ul
#define IDENTITY_MAP_ADDR 0xfffbc000ull

int kvm_open(const char *name)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	/* It was there when the host was looked at: what is missing now may be ours. */
	bool want = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);

	if (fd < 0)
		return err_sys(want ? PVV_ESYS : PVV_EUNSUPPORTED, PVV_SUBSYS_EXEC, errno, name,
			       "cannot open /dev/kvm");
	return fd;
}

static int fail(struct exec *e, const char *what)
{
	return err_sys(errno == ENOMEM ? PVV_ENOMEM : PVV_ESYS, PVV_SUBSYS_EXEC, errno, e->name,
		       "domain '%s': the host's KVM does not let it %s", e->name, what);
}

/* ---- MSRs: what the monitor writes once and at run time; all else is refused in the VM ---- */

static int msr_filter(struct exec *e)
{
	static const uint8_t all[16] = {[0 ... 15] = 0xff};
	uint8_t *bits = (uint8_t *)(uintptr_t)all; /* the kernel reads them */
	struct kvm_msr_filter f = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges =
			{
				/* TSC deadline; EFER, STAR, LSTAR, CSTAR, SFMASK; bases and
				 * TSC_AUX; sysenter; end of interrupt by memory */
				{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
				 .base = 0x6e0,
				 .nmsrs = 1,
				 .bitmap = bits},
				{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
				 .base = 0xc0000080,
				 .nmsrs = 5,
				 .bitmap = bits},
				{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
				 .base = 0xc0000100,
				 .nmsrs = 4,
				 .bitmap = bits},
				{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
				 .base = 0x174,
				 .nmsrs = 3,
				 .bitmap = bits},
				{.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
				 .base = 0x4b564d04,
				 .nmsrs = 1,
				 .bitmap = bits},
			},
	};

	if (ioctl(e->vm, KVM_X86_SET_MSR_FILTER, &f) < 0)
		return fail(e, "close the model-specific registers");
	return 0;
}

/*
 * What KVM would do for a guest that nobody here needs, each a part of the host's kernel less in
 * reach. Old kernels do not know how to leave some of it out.
 */
static void leave_out(struct exec *e)
{
	const int quirks =
		KVM_X86_QUIRK_OUT_7E_INC_RIP
#ifdef KVM_X86_QUIRK_FIX_HYPERCALL_INSN
		/* (the other vendor's hypercall, which KVM would patch in the guest's code) */
		| KVM_X86_QUIRK_FIX_HYPERCALL_INSN | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS
#endif
		;
	int known = ioctl(e->vm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);
	struct kvm_enable_cap caps[] = {
		{.cap = KVM_CAP_DISABLE_QUIRKS2, .args = {known > 0 ? (known & quirks) : 0}},
		{.cap = KVM_CAP_PMU_CAPABILITY, .args = {KVM_PMU_CAP_DISABLE}},
#ifdef KVM_CAP_X86_NOTIFY_VMEXIT
		/* Nor can an instruction without an end hold the host's processor. */
		{.cap = KVM_CAP_X86_NOTIFY_VMEXIT, .args = {KVM_X86_NOTIFY_VMEXIT_ENABLED}},
#endif
	};

	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++)
		if (ioctl(e->vm, KVM_CHECK_EXTENSION, (long)caps[i].cap) > 0)
			ioctl(e->vm, KVM_ENABLE_CAP, &caps[i]);
}

/* Interrupts: the kernel's local APICs alone, and one message for each vCPU as "kick". */
static int interrupts(struct exec *e)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP};

	if (ioctl(e->vm, KVM_ENABLE_CAP, &cap) < 0)
		return fail(e, "use local interrupt controllers");
	return 0;
}

int kvm_vm_routes(struct exec *e)
{
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + e->nr_vcpus * sizeof(r->entries[0]));
	int ret = 0;

	if (!r)
		return err_nomem(PVV_SUBSYS_EXEC, "starting a domain");
	r->nr = e->nr_vcpus;
	for (uint32_t i = 0; i < e->nr_vcpus; i++)
		r->entries[i] = (struct kvm_irq_routing_entry){
			.gsi = i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {.address_lo = 0xfee00000u | i << 12, .data = KVM_VEC_KICK},
		};
	if (ioctl(e->vm, KVM_SET_GSI_ROUTING, r) < 0)
		ret = fail(e, "send it interrupts");
	free(r);
	return ret;
}

int kvm_vm_create(struct exec *e)
{
	uint64_t identity = IDENTITY_MAP_ADDR;
	int kvm = kvm_open(e->name), size, r;

	if (kvm < 0)
		return kvm;
	do
		e->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	while (e->vm < 0 && errno == EINTR);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (e->vm < 0 || size < (int)sizeof(struct kvm_run)) {
		r = fail(e, "make a virtual machine");
		close(kvm);
		return r;
	}
	fcntl(e->vm, F_SETFD, FD_CLOEXEC);
	e->run_size = (uint32_t)size;

	r = kvm_cpuid_ask(e, kvm);
	close(kvm);
	if (r < 0)
		return r;
	/* Needed by some Intel processors only. */
	ioctl(e->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(e->vm, KVM_SET_TSS_ADDR, TSS_ADDR);
	leave_out(e);
	r = interrupts(e);
	return r < 0 ? r : msr_filter(e);
}

static int set_slot(struct exec *e, uint32_t slot, uint64_t gpa, uint64_t size, const void *at)
{
	struct kvm_userspace_memory_region m = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)at,
	};

	if (ioctl(e->vm, KVM_SET_USER_MEMORY_REGION, &m) < 0)
		return fail(e, "use the domain's memory");
	return 0;
}

/*
 * The memfd mapped once more, so that its addresses are aligned like the VM's: then KVM maps large
 * pages wherever the host's kernel gave some.
 */
static int map_ram(struct exec *e)
{
	const uint64_t big = 2ull << 20, size = e->memory->size;
	uint8_t *map, *base;

	e->ram_map_size = size + big;
	map = mmap(NULL, e->ram_map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	if (map == MAP_FAILED)
		return err_nomem(PVV_SUBSYS_EXEC, "mapping a domain's memory");
	e->ram_map = map;
	base = (uint8_t *)(((uintptr_t)map + big - 1) & ~(big - 1));
	e->ram = mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
		      e->memory->fd, 0);
	if (e->ram == MAP_FAILED) {
		e->ram = NULL;
		return err_nomem(PVV_SUBSYS_EXEC, "mapping a domain's memory");
	}
	madvise(e->ram, size, MADV_DONTFORK);
	madvise(e->ram, size, MADV_DONTDUMP);
	madvise(e->ram, size, MADV_HUGEPAGE);
	return 0;
}

int kvm_vm_memory(struct exec *e)
{
	const struct exec_memory *m = e->memory;
	uint64_t first = m->ram_first << 12;
	int r;

	if (m->size > KVM_RAM_MAX)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_EXEC, e->name,
			       "domain '%s' has too much memory for the kvm executor: at most %llu "
			       "GiB are possible",
			       e->name, (unsigned long long)KVM_RAM_MAX >> 30);
	if (first < KVM_HOLE_END && m->size > KVM_HOLE_START)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_EXEC, e->name,
			       "domain '%s': more than %llu MiB of memory must begin at 4 GiB",
			       e->name, (KVM_HOLE_START - first) >> 20);
	r = map_ram(e);
	if (r < 0)
		return r;
	/* Below RAM is nobody's memory. */
	r = set_slot(e, 0, first, m->size - first, e->ram + first);
	if (r < 0)
		return r;
	r = kvm_region_create(e, &e->region);
	if (r < 0)
		return r;
	return set_slot(e, 1, e->region.gpa, e->region.size, e->region.base);
}
