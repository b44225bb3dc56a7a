/* SPDX-License-Identifier: MIT */
/* Opening what a domain is made of: kernel, module, disks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "domain/run.h"

/* Where Debian's grub-xen-host keeps the PV GRUB for 64-bit guests. */
#define PV_GRUB "/usr/lib/grub-xen/grub-x86_64-xen.bin"

static int open_file(struct run *r, const char *what, const char *path, int fd, int *ret_fd)
{
	if (fd >= 0) {
		*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (*ret_fd < 0)
			return err_sys(PVV_ESYS, PVV_SUBSYS_DOMAIN, errno, r->d->name,
				       "cannot duplicate the %s descriptor of domain '%s'", what,
				       r->d->name);
		return 0;
	}
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (*ret_fd < 0) {
		int e = errno;
		int code = e == ENOENT || e == ENOTDIR		       ? PVV_ENOENT
			   : e == EACCES || e == EPERM		       ? PVV_EPERM
			   : e == EMFILE || e == ENFILE || e == ENOMEM ? PVV_ESYS
								       : PVV_EIO;
		return err_sys(code, PVV_SUBSYS_DOMAIN, e, path,
			       "cannot open the %s '%s' of domain '%s'", what, path, r->d->name);
	}
	return 0;
}

/*
 * libvirt's <bootloader> for PV guests names a program that fetches the kernel out of the disk
 * (pygrub). Ours runs inside the guest: PV GRUB does the same with no host-side parsing of guest
 * disks. Any other name is taken as a PV kernel that boots further.
 */
static const char *kernel_path(const struct config *cfg)
{
	const char *base;

	if (cfg->kernel || !cfg->bootloader)
		return cfg->kernel;
	base = strrchr(cfg->bootloader, '/');
	base = base ? base + 1 : cfg->bootloader;
	if (!strcmp(base, "pygrub") || !strcmp(base, "pvgrub") || !strcmp(base, "pv-grub") ||
	    !strcmp(base, "grub"))
		return PV_GRUB;
	return cfg->bootloader;
}

static enum blk_cache cache_mode(enum config_disk_cache cache)
{
	switch (cache) {
	case CONFIG_CACHE_NONE:
		return BLK_CACHE_NONE;
	case CONFIG_CACHE_WRITETHROUGH:
		return BLK_CACHE_WRITETHROUGH;
	case CONFIG_CACHE_DIRECTSYNC:
		return BLK_CACHE_DIRECTSYNC;
	case CONFIG_CACHE_UNSAFE:
		return BLK_CACHE_UNSAFE;
	default:
		return BLK_CACHE_WRITEBACK;
	}
}

static int open_disk(struct run *r, const struct config_disk *cd, struct run_disk *disk)
{
	struct blk_params p = BLK_PARAMS_INIT;

	snprintf(disk->target, sizeof(disk->target), "%s", cd->target);
	if (!cd->source && cd->fd < 0)
		return 0; /* an empty drive */
	if (cd->fd >= 0)
		p.fd = cd->fd;
	else
		p.path = cd->source;
	p.vdev = cd->target;
	p.cache = cache_mode(cd->cache);
	p.engine = cd->io == CONFIG_IO_THREADS ? BLK_ENGINE_THREADS
		   : cd->io == CONFIG_IO_URING ? BLK_ENGINE_URING
					       : BLK_ENGINE_AUTO;
	p.readonly = cd->readonly || cd->device == CONFIG_DISK_CDROM;
	p.cdrom = cd->device == CONFIG_DISK_CDROM;
	p.removable = p.cdrom;
	p.shareable = cd->shareable;
	p.no_discard = cd->discard == CONFIG_DISCARD_IGNORE;
	return blk_image_open(&p, &disk->image);
}

int run_open(struct run *r)
{
	const struct config *cfg = r->d->cfg;
	const char *kernel = kernel_path(cfg);
	int ret;

	ret = open_file(r, "kernel", kernel, cfg->kernel_fd, &r->kernel_fd);
	if (!ret && (cfg->initrd || cfg->initrd_fd >= 0))
		ret = open_file(r, "initrd", cfg->initrd, cfg->initrd_fd, &r->initrd_fd);
	if (ret < 0)
		return ret;
	r->disks = calloc(cfg->nr_disks ? cfg->nr_disks : 1, sizeof(*r->disks));
	if (!r->disks)
		return err_nomem(PVV_SUBSYS_DOMAIN, "starting a domain");
	r->nr_disks = cfg->nr_disks;
	for (size_t i = 0; i < cfg->nr_disks; i++) {
		r->disks[i].run = r;
		ret = open_disk(r, &cfg->disks[i], &r->disks[i]);
		if (ret < 0)
			return ret;
	}
	ret = run_open_nets(r);
	if (ret < 0)
		return ret;
	r->opened = true;
	return 0;
}
