/* SPDX-License-Identifier: MIT */
/* disk. */
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

/* Each in the order of its enum; entry 0 of the hints is what is not written. */
static const char *const types[] = {"file", "block", NULL};
static const char *const devices[] = {"disk", "cdrom", NULL};
static const char *const caches[] = {
	"default", "none", "writeback", "writethrough", "directsync", "unsafe", NULL,
};
static const char *const discards[] = {"default", "ignore", "unmap", NULL};
static const char *const ios[] = {"default", "native", "threads", "io_uring", NULL};

/* libvirt's guess for a target without a bus. */
static const char *default_bus(const char *dev)
{
	static const struct {
		const char *prefix, *bus;
	} guesses[] = {
		{"xvd", "xen"}, {"sd", "scsi"}, {"hd", "ide"}, {"vd", "virtio"}, {"fd", "fdc"}};

	for (size_t i = 0; i < sizeof(guesses) / sizeof(guesses[0]); i++)
		if (strncmp(dev, guesses[i].prefix, strlen(guesses[i].prefix)) == 0)
			return guesses[i].bus;
	return "xen";
}

static int parse_target(struct xml_ctx *ctx, struct tree_node *disk, struct config_disk *d)
{
	struct tree_node *target;
	const char *dev;

	XML_CHECK(xml_child(ctx, disk, "target", &target));
	if (!target)
		return xml_fail(ctx, PVV_EXML, disk, NULL, "lacks <target>");
	XML_CHECK(xml_need_attr(ctx, target, "dev", &dev));
	const char *bus = xml_attr(target, "bus");
	const struct tree_pos *pos = bus ? xml_attr_pos(target, "bus") : &target->pos;
	if (!bus)
		bus = default_bus(dev);
	if (strcmp(bus, "xen") != 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, disk, pos,
				"target '%s': bus '%s' is not supported (use bus='xen')", dev, bus);
	return config_set_string(&d->target, dev);
}

static int parse_source(struct xml_ctx *ctx, struct tree_node *disk, struct config_disk *d)
{
	const char *right = d->type == CONFIG_DISK_FILE ? "file" : "dev";
	const char *wrong = d->type == CONFIG_DISK_FILE ? "dev" : "file";
	struct tree_node *source;

	XML_CHECK(xml_child(ctx, disk, "source", &source));
	if (!source)
		return PVV_OK;
	if (xml_attr(source, wrong))
		return xml_fail(ctx, PVV_EXML, disk, xml_attr_pos(source, wrong),
				"target '%s': type '%s' has its source in the attribute '%s', not "
				"'%s'",
				d->target, types[d->type], right, wrong);
	return xml_attr_string(ctx, source, right, &d->source);
}

static int parse_driver(struct xml_ctx *ctx, struct tree_node *disk, struct config_disk *d)
{
	struct tree_node *driver;
	unsigned int value = 0;

	XML_CHECK(xml_child(ctx, disk, "driver", &driver));
	if (!driver)
		return PVV_OK;
	XML_CHECK(xml_attr_string(ctx, driver, "name", &d->driver_name));
	XML_CHECK(xml_attr_string(ctx, driver, "type", &d->format));
	if (d->format && strcmp(d->format, "aio") == 0) /* raw's old name */
		XML_CHECK(config_set_string(&d->format, "raw"));
	if (d->format && strcmp(d->format, "raw") != 0)
		xml_warn(ctx, driver, xml_attr_pos(driver, "type"),
			 "type '%s' is kept but not supported: the domain will not start",
			 d->format);
	XML_CHECK(xml_attr_enum(ctx, driver, "cache", caches, &value));
	d->cache = (enum config_disk_cache)value;
	value = 0;
	XML_CHECK(xml_attr_enum(ctx, driver, "discard", discards, &value));
	d->discard = (enum config_disk_discard)value;
	value = 0;
	XML_CHECK(xml_attr_enum(ctx, driver, "io", ios, &value));
	d->io = (enum config_disk_io)value;
	return PVV_OK;
}

/* What must not be overlooked, because the disk would not be what its owner believes. */
static int refuse_in(struct xml_ctx *ctx, struct tree_node *parent)
{
	static const struct {
		const char *name, *why;
	} refused[] = {
		{"transient", "changes would be kept"},
		{"encryption", "data would be written in clear"},
		{"auth", "there are no network disks"},
		{"slices", "the whole file would be shown"},
		{"backenddomain", "there are no driver domains"},
	};
	struct tree_node *node;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		XML_CHECK(xml_child(ctx, parent, refused[i].name, &node));
		if (node)
			return xml_fail(ctx, PVV_EUNSUPPORTED, node, NULL,
					"is not supported in <disk> (%s)", refused[i].why);
	}
	return PVV_OK;
}

static int refuse_dangerous(struct xml_ctx *ctx, struct tree_node *disk)
{
	struct tree_node *source;

	XML_CHECK(refuse_in(ctx, disk));
	XML_CHECK(xml_child(ctx, disk, "source", &source));
	return source ? refuse_in(ctx, source) : PVV_OK;
}

int disk_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg)
{
	struct config_problem problem;
	struct config_disk *d;
	struct tree_node *flag;
	unsigned int value = 0;

	XML_CHECK(config_add_disk(cfg, &d));
	XML_CHECK(xml_attr_enum(ctx, node, "type", types, &value));
	d->type = (enum config_disk_type)value;
	value = 0;
	XML_CHECK(xml_attr_enum(ctx, node, "device", devices, &value));
	d->device = (enum config_disk_device)value;
	XML_CHECK(parse_target(ctx, node, d));
	pvvirt_claim(ctx, "disk", d->target, &d->fd);
	XML_CHECK(parse_source(ctx, node, d));
	XML_CHECK(parse_driver(ctx, node, d));
	XML_CHECK(refuse_dangerous(ctx, node));
	XML_CHECK(xml_child(ctx, node, "readonly", &flag));
	d->readonly = flag || d->device == CONFIG_DISK_CDROM;
	XML_CHECK(xml_child(ctx, node, "shareable", &flag));
	d->shareable = flag;
	XML_CHECK(xml_child_string(ctx, node, "serial", &d->serial, &flag));
	if (flag)
		xml_kept(ctx, flag, "a PV disk does not show one");
	if (!config_check_disk(cfg, cfg->nr_disks - 1, &problem))
		return xml_fail_problem(ctx, node, &problem);
	return PVV_OK;
}

static bool has_driver(const struct config_disk *d)
{
	return d->driver_name || d->format || d->cache || d->discard || d->io;
}

void disk_format(struct xml_out *out, const struct config_disk *d)
{
	xml_out_start(out, "disk");
	xml_out_attr(out, "type", types[d->type]);
	xml_out_attr(out, "device", devices[d->device]);
	if (has_driver(d)) {
		xml_out_start(out, "driver");
		xml_out_attr(out, "name", d->driver_name);
		xml_out_attr(out, "type", d->format);
		xml_out_attr(out, "cache", d->cache ? caches[d->cache] : NULL);
		xml_out_attr(out, "io", d->io ? ios[d->io] : NULL);
		xml_out_attr(out, "discard", d->discard ? discards[d->discard] : NULL);
		xml_out_end(out);
	}
	if (d->source) {
		xml_out_start(out, "source");
		xml_out_attr(out, d->type == CONFIG_DISK_FILE ? "file" : "dev", d->source);
		xml_out_end(out);
	}
	xml_out_start(out, "target");
	xml_out_attr(out, "dev", d->target);
	xml_out_attr(out, "bus", "xen");
	xml_out_end(out);
	xml_out_flag(out, "readonly", d->readonly);
	xml_out_flag(out, "shareable", d->shareable);
	xml_out_text(out, "serial", d->serial);
	xml_out_end(out);
}
