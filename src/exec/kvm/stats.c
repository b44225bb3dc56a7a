/* SPDX-License-Identifier: MIT */
/*
 * How often the virtual machine was left, and why: the kernel's own counters (its binary
 * statistics, Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD). Names that this kernel does not
 * have count 0.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/kvm/kvm.h"

#define MAX_STATS 512u

static const struct {
	const char *name;
	size_t offset;
} wanted[] = {
	{"exits", offsetof(struct exec_exits, total)},
	{"io_exits", offsetof(struct exec_exits, io)},
	{"halt_exits", offsetof(struct exec_exits, halt)},
	{"irq_exits", offsetof(struct exec_exits, interrupt)},
	{"pf_taken", offsetof(struct exec_exits, memory)},
};

static void take(int fd, const struct kvm_stats_header *h, const struct kvm_stats_desc *d,
		 struct exec_exits *ret)
{
	uint64_t value;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (strncmp(d->name, wanted[i].name, h->name_size) != 0 || d->size != 1)
			continue;
		if (pread(fd, &value, sizeof(value), (off_t)h->data_offset + d->offset) ==
		    (ssize_t)sizeof(value))
			*(uint64_t *)((uint8_t *)ret + wanted[i].offset) += value;
	}
}

static void add(const struct kvm_vcpu *v, struct exec_exits *ret)
{
	struct kvm_stats_header h;
	size_t size;
	uint8_t *all;

	ret->user += atomic_load(&v->returns);
	if (v->stats_fd < 0 || pread(v->stats_fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
	    h.name_size == 0 || h.name_size > 256 || h.num_desc > MAX_STATS)
		return;
	size = sizeof(struct kvm_stats_desc) + h.name_size;
	all = malloc(size * h.num_desc);
	if (all && pread(v->stats_fd, all, size * h.num_desc, h.desc_offset) ==
			   (ssize_t)(size * h.num_desc))
		for (uint32_t i = 0; i < h.num_desc; i++) {
			struct kvm_stats_desc *d = (struct kvm_stats_desc *)(all + i * size);

			((char *)d)[size - 1] = '\0';
			take(v->stats_fd, &h, d, ret);
		}
	free(all);
}

void kvm_exits(struct exec *e, struct exec_exits *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned int i = 0; i < e->nr_vcpus; i++)
		add(&e->vcpu[i], ret);
}
