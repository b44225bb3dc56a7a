/* SPDX-License-Identifier: MIT */
/* Making domains: from XML, and from the options record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/check.h"
#include "api/interface.h"
#include "api/record.h"
#include "xml/xml.h"

/* The last steps are the same for both; takes over cfg and warnings. */
static int finish(pvv_host *host, struct config *cfg, char *warnings, pvv_domain **ret_domain)
{
	int ret = config_complete(cfg);

	if (!ret)
		ret = config_check(cfg);
	if (ret < 0) {
		config_free(cfg);
		free(warnings);
		return ret;
	}
	return domain_new(host, cfg, warnings, ret_domain);
}

static char *join_warnings(const struct xml_warnings *w)
{
	size_t len = 1;
	char *text, *p;

	for (size_t i = 0; i < w->nr; i++)
		len += strlen(w->items[i].text) + 1;
	text = p = malloc(len);
	if (!text)
		return NULL;
	*p = '\0';
	for (size_t i = 0; i < w->nr; i++)
		p += sprintf(p, "%s\n", w->items[i].text);
	return text;
}

int pvv_domain_create_xml(pvv_host *host, const char *xml, uint64_t flags, pvv_domain **ret_domain)
{
	struct xml_warnings w = {0};
	struct config *cfg;
	char *warnings;
	int ret;

	if (!ret_domain)
		return API_EINVAL("pvv_domain_create_xml: ret_domain is NULL");
	*ret_domain = NULL;
	ret = api_host(host, "pvv_domain_create_xml");
	if (!ret)
		ret = api_flags(flags, PVV_XML_STRICT, "pvv_domain_create_xml");
	if (ret < 0)
		return ret;
	if (!xml)
		return API_EINVAL("pvv_domain_create_xml: xml is NULL");
	ret = xml_parse(xml, strnlen(xml, XML_MAX_SIZE + 1), NULL,
			flags & PVV_XML_STRICT ? XML_STRICT : 0, &cfg, &w);
	if (ret < 0)
		return ret;
	warnings = join_warnings(&w);
	xml_warnings_clear(&w);
	if (!warnings) {
		config_free(cfg);
		return err_nomem(PVV_SUBSYS_XML, "collecting warnings");
	}
	return finish(host, cfg, warnings, ret_domain);
}

int take_console_type(struct config_chr *chr, uint32_t type, const char *path, const char *function)
{
	chr->listen = false;
	chr->append = CONFIG_UNSET;
	switch (type) {
	case PVV_CONSOLE_STREAM:
	case PVV_CONSOLE_NULL:
		chr->type = CONFIG_CHR_NULL;
		return config_set_string(&chr->path, NULL);
	case PVV_CONSOLE_PTY:
		chr->type = CONFIG_CHR_PTY;
		return config_set_string(&chr->path, NULL);
	case PVV_CONSOLE_FILE:
		chr->type = CONFIG_CHR_FILE;
		chr->append = CONFIG_ON;
		break;
	case PVV_CONSOLE_UNIX:
		chr->type = CONFIG_CHR_UNIX;
		chr->listen = true;
		break;
	default:
		return API_EINVAL("%s: %u is not a console type (0 to 4)", function, type);
	}
	if (!path)
		return API_EINVAL("%s: this console type needs a path", function);
	return config_set_string(&chr->path, path);
}

/* ---- options ---- */

#define FN "pvv_domain_create"

static int take_source(const char *what, const char *path, const char *what_fd, int fd,
		       char **ret_path, int *ret_fd)
{
	if (path && fd >= 0)
		return API_EINVAL(
			FN ": both %s and %s (%d) are given; give one%s", what, what_fd, fd,
			fd ? "" : " (none is -1, which the record has that begins with its _INIT)");
	return fd >= 0 ? config_set_fd(ret_fd, fd) : config_set_string(ret_path, path);
}

static int take_disk(struct config *cfg, const pvv_disk_options *disk, size_t index)
{
	char what[40], what_fd[40];
	struct config_disk *cd;
	int ret = config_add_disk(cfg, &cd);

	if (ret < 0)
		return ret;
	if (!disk->path && disk->fd < 0)
		return API_EINVAL(FN ": disks[%zu] has neither a path nor a descriptor", index);
	snprintf(what, sizeof(what), "disks[%zu].path", index);
	snprintf(what_fd, sizeof(what_fd), "disks[%zu].fd", index);
	ret = take_source(what, disk->path, what_fd, disk->fd, &cd->source, &cd->fd);
	if (ret < 0)
		return ret;
	cd->readonly = disk->readonly != 0;
	return config_set_string(&cd->target, disk->target);
}

static bool target_taken(const struct config *cfg, const char *target)
{
	for (size_t i = 0; i < cfg->nr_disks; i++)
		if (cfg->disks[i].target && !strcmp(cfg->disks[i].target, target))
			return true;
	return false;
}

/* When all names that were given are known: the first free ones for the others. */
static int name_disks(struct config *cfg)
{
	for (size_t i = 0; i < cfg->nr_disks; i++) {
		char target[8] = "xvda";
		int ret;

		if (cfg->disks[i].target)
			continue;
		while (target[3] <= 'z' && target_taken(cfg, target))
			target[3]++;
		if (target[3] > 'z')
			return API_EINVAL(FN ": disks[%zu] needs a target: xvda to xvdz are taken",
					  i);
		ret = config_set_string(&cfg->disks[i].target, target);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int take_disks(struct config *cfg, const pvv_domain_options *o)
{
	if (o->nr_disks > 64 || (o->nr_disks && !o->disks))
		return API_EINVAL(FN ": nr_disks is %zu; 0 to 64 are possible, with disks set",
				  o->nr_disks);
	for (size_t i = 0; i < o->nr_disks; i++) {
		pvv_disk_options disk = PVV_DISK_OPTIONS_INIT;
		int ret = record_take_at(&disk, sizeof(disk), o->disks, o->disk_stride, i, FN);

		if (!ret)
			ret = take_disk(cfg, &disk, i);
		if (ret < 0)
			return ret;
	}
	return name_disks(cfg);
}

static int take_console(struct config *cfg, const pvv_domain_options *o)
{
	struct config_console *c;
	int ret = config_add_console(cfg, &c);

	return ret < 0 ? ret : take_console_type(&c->chr, o->console, o->console_path, FN);
}

static int take_action(const char *what, uint32_t action, enum config_action *ret)
{
	switch (action) {
	case PVV_ACTION_DEFAULT:
		return 0;
	case PVV_ACTION_DESTROY:
		*ret = CONFIG_ACTION_DESTROY;
		return 0;
	case PVV_ACTION_RESTART:
		*ret = CONFIG_ACTION_RESTART;
		return 0;
	case PVV_ACTION_PRESERVE:
		*ret = CONFIG_ACTION_PRESERVE;
		return 0;
	default:
		return API_EINVAL(FN ": %s is %u, which is no pvv_action", what, action);
	}
}

static int take_options(struct config *cfg, const pvv_domain_options *o)
{
	int ret;

	if (!o->name)
		return API_EINVAL(FN ": name is NULL");
	if (o->reserved || o->reserved2)
		return API_EINVAL(FN ": reserved is not 0");
	if (!o->kernel && o->kernel_fd < 0)
		return API_EINVAL(FN ": neither kernel nor kernel_fd is given");
	if (o->uuid && !config_uuid_parse(o->uuid, cfg->uuid))
		return API_EINVAL(FN ": uuid '%s' is not of the form "
				     "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
				  o->uuid);
	cfg->has_uuid = o->uuid != NULL;
	if (o->memory && o->memory < (4ull << 20))
		return API_EINVAL(FN ": memory is %llu bytes; at least 4 MiB are needed",
				  (unsigned long long)o->memory);
	if (!config_round_memory(o->memory ? o->memory : 256ull << 20, &cfg->memory))
		return API_EINVAL(FN ": memory is too large");
	if (o->executor > CONFIG_EXECUTOR_KVM)
		return API_EINVAL(FN ": %u is not an executor (0 automatic, 1 ring3, 2 kvm)",
				  o->executor);
	cfg->executor = (enum config_executor)o->executor;
	cfg->vcpus = o->vcpus ? o->vcpus : 1;
	cfg->vcpus_online = o->vcpus_online;
	if (o->max_memory && !config_round_memory(o->max_memory, &cfg->max_memory))
		return API_EINVAL(FN ": max_memory is too large");
	if (cfg->max_memory && cfg->max_memory < cfg->memory)
		return API_EINVAL(FN ": max_memory is %llu bytes, less than memory",
				  (unsigned long long)o->max_memory);
	ret = config_set_string(&cfg->name, o->name);
	if (!ret)
		ret = take_source("kernel", o->kernel, "kernel_fd", o->kernel_fd, &cfg->kernel,
				  &cfg->kernel_fd);
	if (!ret)
		ret = take_source("initrd", o->initrd, "initrd_fd", o->initrd_fd, &cfg->initrd,
				  &cfg->initrd_fd);
	if (!ret)
		ret = config_set_string(&cfg->cmdline, o->cmdline);
	if (!ret)
		ret = take_disks(cfg, o);
	if (!ret)
		ret = take_interfaces(cfg, o);
	if (!ret)
		ret = take_action("on_poweroff", o->on_poweroff, &cfg->on_poweroff);
	if (!ret)
		ret = take_action("on_reboot", o->on_reboot, &cfg->on_reboot);
	if (!ret)
		ret = take_action("on_crash", o->on_crash, &cfg->on_crash);
	return ret < 0 ? ret : take_console(cfg, o);
}

int pvv_domain_create(pvv_host *host, const pvv_domain_options *options, uint64_t flags,
		      pvv_domain **ret_domain)
{
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	struct config *cfg;
	int ret;

	if (!ret_domain)
		return API_EINVAL(FN ": ret_domain is NULL");
	*ret_domain = NULL;
	ret = api_host(host, FN);
	if (!ret)
		ret = api_flags(flags, 0, FN);
	if (!ret)
		ret = record_take(&o, sizeof(o), options, options ? options->size : 0, FN);
	if (ret < 0)
		return ret;
	cfg = config_new();
	if (!cfg)
		return PVV_ENOMEM;
	ret = take_options(cfg, &o);
	if (ret < 0) {
		config_free(cfg);
		return ret;
	}
	return finish(host, cfg, NULL, ret_domain);
}
