/* SPDX-License-Identifier: MIT */
/*
 * The library's half of the kvm executor. kvm.c is the interface (executor.h); vm.c makes the VM
 * and its memory, region.c what the monitor finds in it, vcpu.c runs a vCPU, exits.c judges what it
 * comes back with, cpuid.c says what processor there is, probe.c finds out whether this host's KVM
 * can be trusted to. The other half is monitor/.
 */
#ifndef PVV_KVM_H
#define PVV_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "exec/executor.h"
#include "exec/kvm/layout.h"

/* The monitor image as linked into the library (image.S). */
extern const uint8_t kvm_image_start[], kvm_image_end[];

#define KVM_WHY_MAX 160

struct kvm_vcpu {
	struct exec *e;
	unsigned int id;
	int fd, stats_fd;
	int kick; /* eventfd: an interrupt for this vCPU, by irqfd */
	struct kvm_run *run;
	pthread_t thread;
	bool started;		       /* there is a thread to join */
	atomic_uint_fast64_t cpu_time; /* of the thread, once it is at its end */
	bool has_affinity;
	uint64_t affinity[EXEC_CPU_WORDS];
	atomic_uint_fast64_t returns; /* of KVM_RUN to the thread */
};

/* Anonymous memory of the VM for the monitor alone: image, parameters, page tables, vCPUs. */
struct kvm_region {
	uint8_t *base;
	uint64_t gpa, size;
	uint64_t used; /* bytes given out */
	uint64_t l4, params_va, entry;
};

struct exec {
	const struct exec_memory *memory;
	char name[64];
	int vm;
	int doorbell, end;
	uint32_t run_size;
	uint8_t *ram; /* the memfd once more, aligned for huge pages: what the VM sees */
	uint8_t *ram_map;
	uint64_t ram_map_size;
	struct kvm_region region;
	struct kvm_cpuid2 *cpuid;
	bool has_xsave, has_rdtscp, has_pv_eoi;
	unsigned int address_bits; /* of guest-physical addresses */
	uint32_t leaf7_ebx;
	unsigned int nr_vcpus;
	uint32_t shares; /* weight of the vCPU threads, 0: as the program's */
	struct kvm_vcpu *vcpu;
	atomic_bool stopping, ended;
	bool killed;
	pthread_mutex_t lock; /* of why */
	char why[KVM_WHY_MAX];
};

/* ---- vm.c ---- */
/* The host's KVM, or a negative error; `name` is for the message. */
int kvm_open(const char *name);
int kvm_vm_create(struct exec *e);
int kvm_vm_memory(struct exec *e);
/* The messages that kick() sends: after all vCPUs were made. */
int kvm_vm_routes(struct exec *e);
/* ---- region.c ---- */
/* Fill the region for e->memory; its guest-physical place is chosen here. */
int kvm_region_create(struct exec *e, struct kvm_region *ret);
static inline uint64_t kvm_block_va(unsigned int id)
{
	return KVM_CPU_VA + (uint64_t)id * KVM_CPU_SIZE;
}
/* ---- vcpu.c ---- */
int kvm_vcpu_create(struct exec *e, unsigned int id);
void kvm_vcpu_free(struct kvm_vcpu *v);
int kvm_vcpu_start(struct kvm_vcpu *v);
/* Processor time of its thread, ns. */
uint64_t kvm_vcpu_time(const struct kvm_vcpu *v);
/* ---- cpuid.c ---- */
/* Fills e->cpuid and what follows from it. */
int kvm_cpuid_ask(struct exec *e, int kvm);
int kvm_cpuid_set(struct kvm_vcpu *v);
const struct kvm_cpuid_entry2 *kvm_cpuid_find(const struct kvm_cpuid2 *c, uint32_t leaf,
					      uint32_t subleaf);
/* Takes from the guest's policy what is not offered. */
void kvm_cpuid_limit(const struct kvm_cpuid2 *offered, struct core_boot *b);
/* ---- exits.c ---- */
enum kvm_verdict {
	KVM_AGAIN,    /* enter again */
	KVM_DISCARD,  /* rdi frames, rsi how many: kvm_discard_ok() */
	KVM_SET_XCR0, /* rdi is the value */
	KVM_OVER,     /* `why` says why */
};
enum kvm_verdict kvm_exit_meaning(const struct kvm_run *run, char why[KVM_WHY_MAX]);
bool kvm_discard_ok(const struct exec_memory *m, uint64_t first, uint64_t nr);
/* ---- stats.c ---- */
void kvm_exits(struct exec *e, struct exec_exits *ret);
/* ---- probe.c ---- */
void kvm_probe(struct exec_probe *ret);

#endif
