/* SPDX-License-Identifier: MIT */
#include "domain/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/state.h"
#include "util/err.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

#define GRANT_FRAMES_DEFAULT 64u

static uint64_t page_align(uint64_t n)
{
	return (n + 4095) & ~4095ull;
}

/*
 * Frames: RAM, shared info, grant table, M2P. The M2P has an entry for every frame, its own
 * included.
 */
static void plan_frames(const struct memory_params *p, struct core_boot *b)
{
	uint64_t m2p = 0, want = 1;

	b->nr_pages = p->nr_pages;
	b->max_pages = p->max_pages ? p->max_pages : p->nr_pages;
	b->ram_first = p->ram_first;
	b->shared_info = b->ram_first + b->max_pages;
	b->grant_first = b->shared_info + 1;
	b->grant_max = p->grant_frames ? p->grant_frames : GRANT_FRAMES_DEFAULT;
	b->maptrack_max = sizeof(((struct core_domain *)0)->maptrack) /
			  sizeof(((struct core_domain *)0)->maptrack[0]);
	b->m2p_first = b->grant_first + b->grant_max;
	while (m2p < want) {
		m2p = want;
		want = page_align((b->m2p_first + m2p) * 8) >> 12;
	}
	b->m2p_frames = m2p;
	b->nr_frames = b->m2p_first + m2p;
	b->max_ports = p->max_ports ? p->max_ports : CORE_MAX_PORTS;
}

static int check(const struct memory_params *p)
{
	uint64_t max = p->max_pages ? p->max_pages : p->nr_pages;

	if (p->nr_pages == 0 || max < p->nr_pages)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, p->name,
			       "a domain needs memory, and at most its maximum: %llu pages of %llu "
			       "were asked for",
			       (unsigned long long)p->nr_pages, (unsigned long long)max);
	if (max > MEMORY_MAX_PAGES)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_DOMAIN, p->name,
			       "a domain can have %llu GiB of memory at most",
			       MEMORY_MAX_PAGES >> 18);
	if (p->grant_frames > CORE_MAX_GRANT_FRAMES)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_DOMAIN, p->name,
			       "a domain can have %u grant table frames at most, not %u",
			       CORE_MAX_GRANT_FRAMES, p->grant_frames);
	if (p->max_ports > CORE_MAX_PORTS)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_DOMAIN, p->name,
			       "a domain can have %u event channels at most, not %u",
			       CORE_MAX_PORTS, p->max_ports);
	return 0;
}

/* NOEXEC_SEAL (Linux 6.3) forbids execve() of the memfd, not executable mappings of it. */
static int make_memfd(const char *name)
{
	char full[128];
	int fd;

	snprintf(full, sizeof(full), "pvv-%s", name ? name : "domain");
	fd = memfd_create(full, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(full, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

int memory_create(const struct memory_params *p, struct exec_memory *ret_mem,
		  struct core_boot *ret_boot)
{
	struct exec_memory m = {.fd = -1};
	struct core_boot b = {0};
	int r = check(p);

	memset(ret_mem, 0, sizeof(*ret_mem));
	ret_mem->fd = -1;
	if (r < 0)
		return r;
	plan_frames(p, &b);
	m.nr_frames = b.nr_frames;
	m.ram_first = b.ram_first;
	m.ctl_off = b.nr_frames << 12;
	m.ctl_size = page_align(sizeof(struct core_ctl));
	m.state_off = m.ctl_off + m.ctl_size;
	m.state_size = page_align(sizeof(struct core_domain));
	m.frames_off = m.state_off + m.state_size;
	m.frames_size = page_align(b.nr_frames * sizeof(struct core_frame));
	m.exec_off = m.frames_off + m.frames_size;
	m.exec_size = p->exec_region ? page_align(p->exec_region(b.nr_frames, p->nr_vcpus)) : 0;
	m.size = m.exec_off + m.exec_size;

	m.fd = make_memfd(p->name);
	if (m.fd < 0)
		return err_sys(errno == ENOMEM ? PVV_ENOMEM : PVV_ESYS, PVV_SUBSYS_DOMAIN, errno,
			       p->name, "cannot make the memory file of the domain");
	if (ftruncate(m.fd, (off_t)m.size) < 0 ||
	    fcntl(m.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		r = err_sys(PVV_ESYS, PVV_SUBSYS_DOMAIN, errno, p->name,
			    "cannot give the domain's memory file its size of %llu MiB",
			    (unsigned long long)m.size >> 20);
		close(m.fd);
		return r;
	}
	void *base =
		mmap(NULL, m.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m.fd, 0);
	if (base == MAP_FAILED) {
		r = err_sys(errno == ENOMEM ? PVV_ENOMEM : PVV_ESYS, PVV_SUBSYS_DOMAIN, errno,
			    p->name, "cannot map the domain's memory of %llu MiB",
			    (unsigned long long)m.size >> 20);
		close(m.fd);
		return r;
	}
	/* Guest memory belongs neither into the embedder's core dumps nor into its children. */
	madvise(base, m.size, MADV_DONTDUMP);
	madvise(base, m.size, MADV_DONTFORK);
	m.base = base;

	struct core_ctl *ctl = memory_ctl(&m);
	ctl->magic = CORE_CTL_MAGIC;
	ctl->version = CORE_CTL_VERSION;
	ctl->size = sizeof(*ctl);
	ctl->nr_pages = b.nr_pages; /* until the core says otherwise: who asks now, knows */
	*ret_mem = m;
	*ret_boot = b;
	return 0;
}

void memory_destroy(struct exec_memory *mem)
{
	if (mem->base) {
		munmap(mem->base, mem->size);
		close(mem->fd);
	}
	memset(mem, 0, sizeof(*mem));
	mem->fd = -1;
}

uint64_t memory_resident(const struct exec_memory *mem)
{
	struct stat st;

	if (!mem->base || fstat(mem->fd, &st) < 0)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}
