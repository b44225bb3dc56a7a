/* SPDX-License-Identifier: MIT */
/* Making, freeing and growing configurations. */
#include "domain/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/err.h"

struct config *config_new(void)
{
	struct config *cfg = calloc(1, sizeof(*cfg));

	if (!cfg) {
		err_nomem(PVV_SUBSYS_DOMAIN, "making a domain configuration");
		return NULL;
	}
	cfg->kernel_fd = CONFIG_FD_NONE;
	cfg->initrd_fd = CONFIG_FD_NONE;
	cfg->vcpus = 1;
	cfg->on_poweroff = CONFIG_ACTION_DESTROY;
	cfg->on_reboot = CONFIG_ACTION_RESTART;
	cfg->on_crash = CONFIG_ACTION_DESTROY;
	cfg->balloon = true;
	return cfg;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void free_chr(struct config_chr *chr)
{
	free(chr->path);
	free(chr->host);
	free(chr->service);
	free(chr->log_file);
	close_fd(chr->fd);
}

static void free_disk(struct config_disk *disk)
{
	free(disk->source);
	free(disk->target);
	free(disk->serial);
	free(disk->driver_name);
	free(disk->format);
	close_fd(disk->fd);
}

static void free_interface(struct config_interface *net)
{
	free(net->source);
	free(net->target);
	free(net->script);
	free(net->model);
	free(net->log_file);
	close_fd(net->fd);
	free(net->ips);
	for (size_t i = 0; i < net->nr_forwards; i++) {
		free(net->forwards[i].address);
		free(net->forwards[i].dev);
		free(net->forwards[i].ranges);
	}
	free(net->forwards);
}

void config_free(struct config *cfg)
{
	if (!cfg)
		return;
	free(cfg->name);
	free(cfg->title);
	free(cfg->description);
	free(cfg->metadata);
	free(cfg->kernel);
	free(cfg->initrd);
	close_fd(cfg->kernel_fd);
	close_fd(cfg->initrd_fd);
	free(cfg->cmdline);
	free(cfg->bootloader);
	free(cfg->bootloader_args);
	free(cfg->vcpupins);
	free(cfg->passthrough_mode);
	for (size_t i = 0; i < cfg->nr_disks; i++)
		free_disk(&cfg->disks[i]);
	for (size_t i = 0; i < cfg->nr_interfaces; i++)
		free_interface(&cfg->interfaces[i]);
	for (size_t i = 0; i < cfg->nr_consoles; i++)
		free_chr(&cfg->consoles[i].chr);
	for (size_t i = 0; i < cfg->nr_channels; i++) {
		free(cfg->channels[i].name);
		free_chr(&cfg->channels[i].chr);
	}
	for (size_t i = 0; i < cfg->nr_seclabels; i++)
		free(cfg->seclabels[i]);
	free(cfg->disks);
	free(cfg->interfaces);
	free(cfg->consoles);
	free(cfg->channels);
	free(cfg->seclabels);
	free(cfg);
}

int config_set_string(char **field, const char *value)
{
	char *copy = value ? strdup(value) : NULL;

	if (value && !copy)
		return err_nomem(PVV_SUBSYS_DOMAIN, "copying a domain configuration");
	free(*field);
	*field = copy;
	return PVV_OK;
}

int config_set_fd(int *field, int fd)
{
	int copy = fd;

	if (fd >= 0) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return err_sys(errno == EBADF ? PVV_EINVAL : PVV_ESYS, PVV_SUBSYS_DOMAIN,
				       errno, NULL, "cannot duplicate descriptor %d", fd);
	} else if (fd != CONFIG_FD_NONE && fd != CONFIG_FD_PENDING) {
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, NULL, "%d is not a descriptor", fd);
	}
	close_fd(*field);
	*field = copy;
	return PVV_OK;
}

/* Grow an array by one zeroed entry; returns the entry in *ret_entry. */
static int grow(void **array, size_t *nr, size_t size, size_t max, const char *what,
		void **ret_entry)
{
	*ret_entry = NULL;
	if (*nr >= max)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_DOMAIN, NULL, "more than %zu %s", max, what);
	/* Powers of two: reallocate when the count reaches one. */
	if ((*nr & (*nr - 1)) == 0) {
		void *bigger = reallocarray(*array, *nr ? *nr * 2 : 1, size);

		if (!bigger)
			return err_nomem(PVV_SUBSYS_DOMAIN, "growing a domain configuration");
		*array = bigger;
	}
	*ret_entry = (char *)*array + *nr * size;
	memset(*ret_entry, 0, size);
	(*nr)++;
	return PVV_OK;
}

int config_add_disk(struct config *cfg, struct config_disk **ret_disk)
{
	int r = grow((void **)&cfg->disks, &cfg->nr_disks, sizeof(**ret_disk), CONFIG_MAX_DISKS,
		     "disks", (void **)ret_disk);

	if (r == PVV_OK)
		(*ret_disk)->fd = CONFIG_FD_NONE;
	return r;
}

int config_add_interface(struct config *cfg, struct config_interface **ret_interface)
{
	int r = grow((void **)&cfg->interfaces, &cfg->nr_interfaces, sizeof(**ret_interface),
		     CONFIG_MAX_INTERFACES, "interfaces", (void **)ret_interface);

	if (r == PVV_OK)
		(*ret_interface)->fd = CONFIG_FD_NONE;
	return r;
}

int config_add_console(struct config *cfg, struct config_console **ret_console)
{
	int r = grow((void **)&cfg->consoles, &cfg->nr_consoles, sizeof(**ret_console),
		     CONFIG_MAX_CONSOLES, "consoles", (void **)ret_console);

	if (r == PVV_OK)
		(*ret_console)->chr.fd = CONFIG_FD_NONE;
	return r;
}

int config_add_channel(struct config *cfg, struct config_channel **ret_channel)
{
	int r = grow((void **)&cfg->channels, &cfg->nr_channels, sizeof(**ret_channel),
		     CONFIG_MAX_CHANNELS, "channels", (void **)ret_channel);

	if (r == PVV_OK)
		(*ret_channel)->chr.fd = CONFIG_FD_NONE;
	return r;
}

int config_add_vcpupin(struct config *cfg, struct config_vcpupin **ret_pin)
{
	return grow((void **)&cfg->vcpupins, &cfg->nr_vcpupins, sizeof(**ret_pin), CONFIG_MAX_VCPUS,
		    "vcpupin elements", (void **)ret_pin);
}

int config_add_seclabel(struct config *cfg, const char *label)
{
	char *copy = strdup(label);
	char **entry;

	if (!copy)
		return err_nomem(PVV_SUBSYS_DOMAIN, "copying a domain configuration");
	int r = grow((void **)&cfg->seclabels, &cfg->nr_seclabels, sizeof(*entry),
		     CONFIG_MAX_SECLABELS, "seclabels", (void **)&entry);
	if (r == PVV_OK)
		*entry = copy;
	else
		free(copy);
	return r;
}

int config_add_ip(struct config_interface *net, struct config_ip **ret_ip)
{
	return grow((void **)&net->ips, &net->nr_ips, sizeof(**ret_ip), CONFIG_MAX_IPS,
		    "addresses of one interface", (void **)ret_ip);
}

int config_add_forward(struct config_interface *net, struct config_forward **ret_forward)
{
	return grow((void **)&net->forwards, &net->nr_forwards, sizeof(**ret_forward),
		    CONFIG_MAX_FORWARDS, "port forwards of one interface", (void **)ret_forward);
}

int config_add_port_range(struct config_forward *fwd, struct config_port_range **ret_range)
{
	return grow((void **)&fwd->ranges, &fwd->nr_ranges, sizeof(**ret_range),
		    CONFIG_MAX_FORWARDS, "ranges of one port forward", (void **)ret_range);
}
