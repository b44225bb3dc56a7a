/* SPDX-License-Identifier: MIT */
/*
 * What libvirt's language can say and we keep, but this build cannot run. Apart from
 * config_check(), because a daemon may define, list and print such a domain.
 */
#include "domain/config.h"

#include <inttypes.h>
#include <string.h>

#include "util/err.h"

static int check_disk(const struct config *cfg, const struct config_disk *disk)
{
	if (disk->format && strcmp(disk->format, "raw") != 0 && strcmp(disk->format, "aio") != 0)
		return err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_DOMAIN, cfg->name,
			       "<disk> target '%s': format '%s' is not supported (convert it with "
			       "'qemu-img convert -O raw')",
			       disk->target, disk->format);
	if (disk->fd == CONFIG_FD_PENDING)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, cfg->name,
			       "<disk> target '%s': its descriptor has not been supplied",
			       disk->target);
	if (!disk->source && disk->fd == CONFIG_FD_NONE && disk->device == CONFIG_DISK_DISK)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, cfg->name,
			       "<disk> target '%s' has no source", disk->target);
	return PVV_OK;
}

static int check_interface(const struct config *cfg, size_t index)
{
	const struct config_interface *net = &cfg->interfaces[index];

	if (net->fd == CONFIG_FD_PENDING)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, cfg->name,
			       "<interface> %zu: its descriptor has not been supplied", index);
	for (size_t i = 0; i < net->nr_forwards; i++)
		if ((net->forwards[i].address || net->forwards[i].dev) &&
		    !net->forwards[i].nr_ranges)
			return err_set(
				PVV_EUNSUPPORTED, PVV_SUBSYS_DOMAIN, cfg->name,
				"<interface> %zu: a <portForward> with an address or dev needs a "
				"<range> (passt can forward all ports of all addresses only)",
				index);
	return PVV_OK;
}

int config_check_startable(const struct config *cfg)
{
	bool kernel = cfg->kernel || cfg->kernel_fd != CONFIG_FD_NONE;

	if (!kernel && !cfg->bootloader)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, cfg->name,
			       "<os> names neither a kernel nor a bootloader");
	if (cfg->kernel_fd == CONFIG_FD_PENDING || cfg->initrd_fd == CONFIG_FD_PENDING)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, cfg->name,
			       "<os>: the descriptor of the %s has not been supplied",
			       cfg->kernel_fd == CONFIG_FD_PENDING ? "kernel" : "initrd");
	for (size_t i = 0; i < cfg->nr_disks; i++) {
		int r = check_disk(cfg, &cfg->disks[i]);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < cfg->nr_interfaces; i++) {
		int r = check_interface(cfg, i);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < cfg->nr_consoles; i++)
		if (cfg->consoles[i].chr.fd == CONFIG_FD_PENDING)
			return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, cfg->name,
				       "<console> port '%" PRIu32
				       "': its descriptor has not been supplied",
				       cfg->consoles[i].port);
	for (size_t i = 0; i < cfg->nr_channels; i++)
		if (cfg->channels[i].chr.fd == CONFIG_FD_PENDING)
			return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, cfg->name,
				       "<channel> '%s': its descriptor has not been supplied",
				       cfg->channels[i].name);
	return PVV_OK;
}
