/* SPDX-License-Identifier: MIT */
/*
 * Deep copies. Each struct is first copied whole, so that a new plain field is never forgotten,
 * then what it owns is replaced by copies. The owned fields are cleared before anything can fail:
 * at every moment config_free() of the half-made copy is right.
 */
#include "domain/config.h"

#include <stdlib.h>

#include "util/err.h"

#define CHECK(call)                                                                                \
	do {                                                                                       \
		int r_ = (call);                                                                   \
		if (r_ < 0)                                                                        \
			return r_;                                                                 \
	} while (0)

static int copy_chr(struct config_chr *dst, const struct config_chr *src)
{
	*dst = *src;
	dst->path = dst->host = dst->service = dst->log_file = NULL;
	dst->fd = CONFIG_FD_NONE;
	CHECK(config_set_string(&dst->path, src->path));
	CHECK(config_set_string(&dst->host, src->host));
	CHECK(config_set_string(&dst->service, src->service));
	CHECK(config_set_string(&dst->log_file, src->log_file));
	return config_set_fd(&dst->fd, src->fd);
}

static int copy_disk(struct config_disk *dst, const struct config_disk *src)
{
	*dst = *src;
	dst->source = dst->target = dst->serial = dst->driver_name = dst->format = NULL;
	dst->fd = CONFIG_FD_NONE;
	CHECK(config_set_string(&dst->source, src->source));
	CHECK(config_set_string(&dst->target, src->target));
	CHECK(config_set_string(&dst->serial, src->serial));
	CHECK(config_set_string(&dst->driver_name, src->driver_name));
	CHECK(config_set_string(&dst->format, src->format));
	return config_set_fd(&dst->fd, src->fd);
}

static int copy_forward(struct config_forward *dst, const struct config_forward *src)
{
	*dst = *src;
	dst->address = dst->dev = NULL;
	dst->ranges = NULL;
	dst->nr_ranges = 0;
	CHECK(config_set_string(&dst->address, src->address));
	CHECK(config_set_string(&dst->dev, src->dev));
	for (size_t i = 0; i < src->nr_ranges; i++) {
		struct config_port_range *range;

		CHECK(config_add_port_range(dst, &range));
		*range = src->ranges[i];
	}
	return PVV_OK;
}

static int copy_interface(struct config_interface *dst, const struct config_interface *src)
{
	*dst = *src;
	dst->source = dst->target = dst->script = dst->model = dst->log_file = NULL;
	dst->fd = CONFIG_FD_NONE;
	dst->ips = NULL;
	dst->forwards = NULL;
	dst->nr_ips = dst->nr_forwards = 0;
	CHECK(config_set_string(&dst->source, src->source));
	CHECK(config_set_string(&dst->target, src->target));
	CHECK(config_set_string(&dst->script, src->script));
	CHECK(config_set_string(&dst->model, src->model));
	CHECK(config_set_string(&dst->log_file, src->log_file));
	CHECK(config_set_fd(&dst->fd, src->fd));
	for (size_t i = 0; i < src->nr_ips; i++) {
		struct config_ip *ip;

		CHECK(config_add_ip(dst, &ip));
		*ip = src->ips[i];
	}
	for (size_t i = 0; i < src->nr_forwards; i++) {
		struct config_forward *fwd;

		CHECK(config_add_forward(dst, &fwd));
		CHECK(copy_forward(fwd, &src->forwards[i]));
	}
	return PVV_OK;
}

static int copy_lists(struct config *dst, const struct config *src)
{
	for (size_t i = 0; i < src->nr_vcpupins; i++) {
		struct config_vcpupin *pin;

		CHECK(config_add_vcpupin(dst, &pin));
		*pin = src->vcpupins[i];
	}
	for (size_t i = 0; i < src->nr_disks; i++) {
		struct config_disk *disk;

		CHECK(config_add_disk(dst, &disk));
		CHECK(copy_disk(disk, &src->disks[i]));
	}
	for (size_t i = 0; i < src->nr_interfaces; i++) {
		struct config_interface *net;

		CHECK(config_add_interface(dst, &net));
		CHECK(copy_interface(net, &src->interfaces[i]));
	}
	for (size_t i = 0; i < src->nr_consoles; i++) {
		struct config_console *con;

		CHECK(config_add_console(dst, &con));
		con->port = src->consoles[i].port;
		CHECK(copy_chr(&con->chr, &src->consoles[i].chr));
	}
	for (size_t i = 0; i < src->nr_channels; i++) {
		struct config_channel *chan;

		CHECK(config_add_channel(dst, &chan));
		CHECK(config_set_string(&chan->name, src->channels[i].name));
		CHECK(copy_chr(&chan->chr, &src->channels[i].chr));
	}
	for (size_t i = 0; i < src->nr_seclabels; i++)
		CHECK(config_add_seclabel(dst, src->seclabels[i]));
	return PVV_OK;
}

/* Turn the shallow copy `cfg` of `src` into a deep one. On failure it can still be freed. */
static int deepen(struct config *cfg, const struct config *src)
{
	char **strings[] = {
		&cfg->name,
		&cfg->title,
		&cfg->description,
		&cfg->metadata,
		&cfg->kernel,
		&cfg->initrd,
		&cfg->cmdline,
		&cfg->bootloader,
		&cfg->bootloader_args,
		&cfg->passthrough_mode,
	};
	const char *originals[sizeof(strings) / sizeof(strings[0])];

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		originals[i] = *strings[i];
		*strings[i] = NULL;
	}
	cfg->kernel_fd = cfg->initrd_fd = CONFIG_FD_NONE;
	cfg->vcpupins = NULL;
	cfg->disks = NULL;
	cfg->interfaces = NULL;
	cfg->consoles = NULL;
	cfg->channels = NULL;
	cfg->seclabels = NULL;
	cfg->nr_vcpupins = cfg->nr_disks = cfg->nr_interfaces = 0;
	cfg->nr_consoles = cfg->nr_channels = cfg->nr_seclabels = 0;

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		CHECK(config_set_string(strings[i], originals[i]));
	CHECK(config_set_fd(&cfg->kernel_fd, src->kernel_fd));
	CHECK(config_set_fd(&cfg->initrd_fd, src->initrd_fd));
	return copy_lists(cfg, src);
}

int config_copy(const struct config *src, struct config **ret_copy)
{
	struct config *cfg = malloc(sizeof(*cfg));

	*ret_copy = NULL;
	if (!cfg)
		return err_nomem(PVV_SUBSYS_DOMAIN, "copying a domain configuration");
	*cfg = *src;
	int r = deepen(cfg, src);
	if (r < 0) {
		config_free(cfg);
		return r;
	}
	*ret_copy = cfg;
	return PVV_OK;
}
