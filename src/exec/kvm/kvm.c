/* SPDX-License-Identifier: MIT */
/*
 * The kvm executor as the library sees it (executor.h): a virtual machine whose ring 0 is the
 * monitor, one thread of the library's for each vCPU.
 */
#include "exec/kvm/kvm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "util/err.h"

static void kvm_destroy(struct exec *e);

static int open_doorbell(struct exec *e)
{
	struct kvm_ioeventfd bell = {
		.addr = KVM_PORT_DOORBELL,
		.len = 4,
		.flags = KVM_IOEVENTFD_FLAG_PIO,
	};

	e->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bell.fd = e->doorbell;
	if (e->doorbell < 0 || e->end < 0 || ioctl(e->vm, KVM_IOEVENTFD, &bell) < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, e->name,
			       "cannot create the doorbell of domain '%s'", e->name);
	return 0;
}

static struct exec *new_exec(const struct exec_params *p)
{
	struct exec *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->memory = p->memory;
	e->nr_vcpus = p->nr_vcpus;
	e->shares = p->shares;
	e->vm = e->doorbell = e->end = -1;
	snprintf(e->name, sizeof(e->name), "%s", p->name);
	pthread_mutex_init(&e->lock, NULL);
	e->vcpu = calloc(e->nr_vcpus, sizeof(e->vcpu[0]));
	if (!e->vcpu) {
		pthread_mutex_destroy(&e->lock);
		free(e);
		return NULL;
	}
	for (unsigned int i = 0; i < e->nr_vcpus; i++) {
		e->vcpu[i].e = e;
		e->vcpu[i].id = i;
		e->vcpu[i].fd = e->vcpu[i].kick = e->vcpu[i].stats_fd = -1;
		e->vcpu[i].has_affinity = p->affinity[i] != NULL;
		if (p->affinity[i])
			memcpy(e->vcpu[i].affinity, p->affinity[i], sizeof(e->vcpu[i].affinity));
	}
	return e;
}

/*
 * KVM has pages of its own in the 20 MiB below 4 GiB of every VM. A domain that does not end before
 * them, with the hypervisor's tables behind its RAM (1 % and a few MiB), begins at 4 GiB.
 */
static uint64_t kvm_ram_first(uint64_t max_pages, uint64_t usual)
{
	const uint64_t limit = 0xfec00, above = 1ull << 20;

	return usual + max_pages + max_pages / 64 + 4096 < limit ? usual : above;
}

static struct core_ctl *ctl(const struct exec *e)
{
	return (struct core_ctl *)(e->memory->base + e->memory->ctl_off);
}

static int kvm_start(const struct exec_params *params, struct exec **ret_exec)
{
	struct exec *e;
	int r;

	*ret_exec = NULL;
	if (params->nr_vcpus == 0 || params->nr_vcpus > CORE_MAX_VCPUS)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_EXEC, params->name,
			       "domain '%s': %u vCPUs are too many, the limit is %u", params->name,
			       params->nr_vcpus, CORE_MAX_VCPUS);
	e = new_exec(params);
	if (!e)
		return err_nomem(PVV_SUBSYS_EXEC, "starting a domain");
	r = kvm_vm_create(e);
	if (r == 0) {
		kvm_cpuid_limit(e->cpuid, &ctl(e)->boot);
		r = kvm_vm_memory(e);
	}
	if (r == 0)
		r = open_doorbell(e);
	if (r == 0)
		r = kvm_vm_routes(e);
	for (unsigned int i = 0; r == 0 && i < e->nr_vcpus; i++)
		r = kvm_vcpu_create(e, i);
	if (r == 0)
		r = kvm_vcpu_start(&e->vcpu[0]);
	if (r < 0) {
		kvm_destroy(e);
		return r;
	}
	*ret_exec = e;
	return 0;
}

static int kvm_start_vcpu(struct exec *e, unsigned int vcpu)
{
	if (vcpu >= e->nr_vcpus || e->vcpu[vcpu].started)
		return err_set(PVV_EINVAL, PVV_SUBSYS_EXEC, e->name,
			       "domain '%s': vCPU %u cannot be started", e->name, vcpu);
	return kvm_vcpu_start(&e->vcpu[vcpu]);
}

static void kvm_kick(struct exec *e, unsigned int vcpu)
{
	uint64_t one = 1;

	/* Full means that kicks wait already. */
	if (vcpu < e->nr_vcpus && write(e->vcpu[vcpu].kick, &one, sizeof(one)) < 0)
		return;
}

static int kvm_doorbell_fd(struct exec *e)
{
	return e->doorbell;
}

static void kvm_doorbell_clear(struct exec *e)
{
	uint64_t n;

	if (read(e->doorbell, &n, sizeof(n)) < 0)
		return; /* EAGAIN: nobody rang */
}

static int kvm_end_fd(struct exec *e)
{
	return e->end;
}

static int kvm_end_collect(struct exec *e, struct exec_end *ret_end)
{
	if (!atomic_load(&e->ended) && !e->killed)
		return err_set(PVV_EAGAIN, PVV_SUBSYS_EXEC, NULL, "the sandbox still runs");
	pthread_mutex_lock(&e->lock);
	*ret_end = (struct exec_end){
		.killed = e->killed,
		.status = atomic_load(&e->ended) ? 1 : 0,
		.why = e->why[0] ? e->why : NULL,
	};
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static void kvm_kill(struct exec *e)
{
	if (e->killed)
		return;
	e->killed = true;
	atomic_store(&e->stopping, true);
	for (unsigned int i = 0; i < e->nr_vcpus; i++) {
		if (!e->vcpu[i].started)
			continue;
		atomic_store(&e->vcpu[i].cpu_time, kvm_vcpu_time(&e->vcpu[i]));
		pthread_cancel(e->vcpu[i].thread);
		pthread_join(e->vcpu[i].thread, NULL);
		e->vcpu[i].started = false;
	}
}

static uint64_t kvm_overhead(struct exec *e)
{
	return e->region.used;
}

static uint64_t kvm_cpu_time(struct exec *e)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < e->nr_vcpus; i++)
		sum += kvm_vcpu_time(&e->vcpu[i]);
	return sum;
}

static void kvm_destroy(struct exec *e)
{
	if (!e)
		return;
	kvm_kill(e);
	for (unsigned int i = 0; i < e->nr_vcpus; i++)
		kvm_vcpu_free(&e->vcpu[i]);
	if (e->vm >= 0)
		close(e->vm);
	if (e->region.base)
		munmap(e->region.base, e->region.size);
	if (e->ram_map)
		munmap(e->ram_map, e->ram_map_size);
	if (e->doorbell >= 0)
		close(e->doorbell);
	if (e->end >= 0)
		close(e->end);
	pthread_mutex_destroy(&e->lock);
	free(e->cpuid);
	free(e->vcpu);
	free(e);
}

const struct exec_ops exec_kvm = {
	.name = "kvm",
	.probe = kvm_probe,
	.ram_first = kvm_ram_first,
	.start = kvm_start,
	.start_vcpu = kvm_start_vcpu,
	.kick = kvm_kick,
	.doorbell_fd = kvm_doorbell_fd,
	.doorbell_clear = kvm_doorbell_clear,
	.end_fd = kvm_end_fd,
	.end_collect = kvm_end_collect,
	.kill = kvm_kill,
	.overhead = kvm_overhead,
	.cpu_time = kvm_cpu_time,
	.exits = kvm_exits,
	.destroy = kvm_destroy,
};
