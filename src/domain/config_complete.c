/* SPDX-License-Identifier: MIT */
/* What the author of a configuration left open. */
#include "domain/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "util/err.h"

static int make_uuid(struct config *cfg)
{
	uint8_t *u = cfg->uuid;
	ssize_t n;

	if (cfg->has_uuid)
		return PVV_OK;
	do {
		n = getrandom(u, 16, 0);
	} while (n < 0 && errno == EINTR);
	if (n != 16)
		return err_sys(PVV_ESYS, PVV_SUBSYS_DOMAIN, errno, cfg->name,
			       "cannot make a uuid: no random numbers");
	u[6] = (u[6] & 0x0f) | 0x40; /* version 4: random */
	u[8] = (u[8] & 0x3f) | 0x80;
	cfg->has_uuid = true;
	return PVV_OK;
}

static bool mac_taken(const struct config *cfg, const uint8_t mac[6])
{
	for (size_t i = 0; i < cfg->nr_interfaces; i++)
		if (cfg->interfaces[i].has_mac && memcmp(cfg->interfaces[i].mac, mac, 6) == 0)
			return true;
	return false;
}

/*
 * Derived from the uuid and the position, so that a domain whose author named no MAC keeps it over
 * restarts and reparsing. FNV-1a spreads the uuid over the 24 bits.
 */
static void make_mac(const struct config *cfg, size_t index, uint8_t mac[6])
{
	for (uint32_t salt = 0;; salt++) {
		uint32_t h = 2166136261u;

		for (int i = 0; i < 16; i++)
			h = (h ^ cfg->uuid[i]) * 16777619u;
		h = (h ^ (uint32_t)index) * 16777619u;
		h = (h ^ salt) * 16777619u;
		h ^= h >> 24;
		const uint8_t made[6] = {
			0x00, 0x16, 0x3e, (uint8_t)(h >> 16 & 0x7f), (uint8_t)(h >> 8), (uint8_t)h};
		memcpy(mac, made, 6);
		/* Ends: at most CONFIG_MAX_INTERFACES are taken, and each salt gives another. */
		if (!mac_taken(cfg, mac))
			return;
	}
}

/* Options may name files relative to the working directory; a domain outlives that. */
static int make_absolute(char **path)
{
	if (!*path || **path == '/' || **path == '\0')
		return PVV_OK;
	char *cwd = getcwd(NULL, 0);
	if (!cwd)
		return err_sys(PVV_ESYS, PVV_SUBSYS_DOMAIN, errno, *path,
			       "cannot make '%s' an absolute path", *path);
	char *absolute;
	int n = asprintf(&absolute, "%s/%s", cwd, *path);
	free(cwd);
	if (n < 0)
		return err_nomem(PVV_SUBSYS_DOMAIN, "making a path absolute");
	free(*path);
	*path = absolute;
	return PVV_OK;
}

static int complete_chr(struct config_chr *chr)
{
	int r = make_absolute(&chr->path);

	return r < 0 ? r : make_absolute(&chr->log_file);
}

static int complete_paths(struct config *cfg)
{
	int r = make_absolute(&cfg->kernel);

	if (r == PVV_OK)
		r = make_absolute(&cfg->initrd);
	for (size_t i = 0; i < cfg->nr_disks && r == PVV_OK; i++)
		r = make_absolute(&cfg->disks[i].source);
	for (size_t i = 0; i < cfg->nr_consoles && r == PVV_OK; i++)
		r = complete_chr(&cfg->consoles[i].chr);
	for (size_t i = 0; i < cfg->nr_channels && r == PVV_OK; i++)
		r = complete_chr(&cfg->channels[i].chr);
	for (size_t i = 0; i < cfg->nr_interfaces && r == PVV_OK; i++)
		r = make_absolute(&cfg->interfaces[i].log_file);
	return r;
}

static int by_port(const void *a, const void *b)
{
	const struct config_console *x = a, *y = b;

	return x->port < y->port ? -1 : x->port > y->port;
}

static int by_vcpu(const void *a, const void *b)
{
	const struct config_vcpupin *x = a, *y = b;

	return x->vcpu < y->vcpu ? -1 : x->vcpu > y->vcpu;
}

/* The ABI gives every PV domain a console. */
static int complete_consoles(struct config *cfg)
{
	bool found = false;

	for (size_t i = 0; i < cfg->nr_consoles; i++)
		found |= cfg->consoles[i].port == 0;
	if (!found) {
		struct config_console *con;
		int r = config_add_console(cfg, &con);

		if (r < 0)
			return r;
		con->chr.type = CONFIG_CHR_PTY;
	}
	qsort(cfg->consoles, cfg->nr_consoles, sizeof(cfg->consoles[0]), by_port);
	return PVV_OK;
}

int config_complete(struct config *cfg)
{
	int r = make_uuid(cfg);

	if (r == PVV_OK)
		r = complete_paths(cfg);
	if (r == PVV_OK)
		r = complete_consoles(cfg);
	if (r < 0)
		return r;
	for (size_t i = 0; i < cfg->nr_interfaces; i++) {
		struct config_interface *net = &cfg->interfaces[i];

		if (!net->has_mac)
			make_mac(cfg, i, net->mac);
		net->has_mac = true;
	}
	for (size_t i = 0; i < cfg->nr_disks; i++)
		if (cfg->disks[i].device == CONFIG_DISK_CDROM)
			cfg->disks[i].readonly = true;
	if (cfg->nr_vcpupins)
		qsort(cfg->vcpupins, cfg->nr_vcpupins, sizeof(cfg->vcpupins[0]), by_vcpu);
	/* Sizes from options may be any number of bytes; too large ones are left to config_check().
	 */
	config_round_memory(cfg->memory, &cfg->memory);
	config_round_memory(cfg->current_memory, &cfg->current_memory);
	config_round_memory(cfg->max_memory, &cfg->max_memory);
	if (!cfg->current_memory)
		cfg->current_memory = cfg->memory;
	if (!cfg->vcpus_online)
		cfg->vcpus_online = cfg->vcpus;
	return PVV_OK;
}
