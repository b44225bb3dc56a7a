/* SPDX-License-Identifier: MIT */
/* The text forms of the small types: affinity masks, uuid, MAC, names of enumerations, vbd numbers.
 */
#include "domain/config_check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "util/strbuf.h"

void config_cpuset_set(struct config_cpuset *set, unsigned int cpu, bool on)
{
	if (cpu >= CONFIG_MAX_HOST_CPUS)
		return;
	if (on)
		set->bits[cpu / 64] |= 1ull << (cpu % 64);
	else
		set->bits[cpu / 64] &= ~(1ull << (cpu % 64));
}

bool config_cpuset_has(const struct config_cpuset *set, unsigned int cpu)
{
	return cpu < CONFIG_MAX_HOST_CPUS && (set->bits[cpu / 64] >> (cpu % 64) & 1);
}

bool config_cpuset_empty(const struct config_cpuset *set)
{
	for (size_t i = 0; i < CONFIG_MAX_HOST_CPUS / 64; i++)
		if (set->bits[i])
			return false;
	return true;
}

static const char *skip_space(const char *s)
{
	while (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')
		s++;
	return s;
}

/* A CPU number at *s, which is moved behind it; -1 if there is none or it is too large. */
static int take_cpu(const char **s)
{
	unsigned int n = 0;

	if (!isdigit((unsigned char)**s))
		return -1;
	for (; isdigit((unsigned char)**s); (*s)++) {
		n = n * 10 + (unsigned int)(**s - '0');
		if (n >= CONFIG_MAX_HOST_CPUS)
			return -1;
	}
	return (int)n;
}

static bool parse_cpuset(const char *s, struct config_cpuset *set)
{
	for (;;) {
		s = skip_space(s);
		bool exclude = *s == '^';
		if (exclude)
			s++;
		int first = take_cpu(&s);
		int last = first;
		if (!exclude && *s == '-') {
			s++;
			last = take_cpu(&s);
		}
		if (first < 0 || last < first)
			return false;
		for (int cpu = first; cpu <= last; cpu++)
			config_cpuset_set(set, (unsigned int)cpu, !exclude);
		s = skip_space(s);
		if (*s == '\0')
			return true;
		if (*s++ != ',')
			return false;
	}
}

int config_cpuset_parse(const char *text, struct config_cpuset *ret_set)
{
	struct config_cpuset set = {0};

	if (!parse_cpuset(text, &set))
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, NULL,
			       "'%s' is not a list of CPUs below %u such as '0-3,^2,8'", text,
			       CONFIG_MAX_HOST_CPUS);
	if (config_cpuset_empty(&set))
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, NULL, "'%s' leaves no CPU", text);
	*ret_set = set;
	return PVV_OK;
}

char *config_cpuset_format(const struct config_cpuset *set)
{
	struct strbuf sb = STRBUF_INIT;

	for (unsigned int cpu = 0; cpu < CONFIG_MAX_HOST_CPUS; cpu++) {
		if (!config_cpuset_has(set, cpu))
			continue;
		unsigned int last = cpu;
		while (config_cpuset_has(set, last + 1))
			last++;
		strbuf_printf(&sb, "%s%u", sb.len ? "," : "", cpu);
		if (last > cpu)
			strbuf_printf(&sb, "-%u", last);
		cpu = last;
	}
	return strbuf_take(&sb);
}

const struct config_cpuset *config_vcpu_affinity(const struct config *cfg, unsigned int vcpu)
{
	for (size_t i = 0; i < cfg->nr_vcpupins; i++)
		if (cfg->vcpupins[i].vcpu == vcpu)
			return &cfg->vcpupins[i].cpus;
	return cfg->has_cpuset ? &cfg->cpuset : NULL;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

void config_uuid_format(const uint8_t uuid[16], char buf[37])
{
	char *p = buf;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += snprintf(p, 3, "%02x", uuid[i]);
	}
}

bool config_uuid_parse(const char *text, uint8_t ret_uuid[16])
{
	uint8_t uuid[16];
	/* All dashes or none. */
	bool dashes = strlen(text) == 36;

	if (!dashes && strlen(text) != 32)
		return false;
	for (int i = 0; i < 16; i++) {
		if (dashes && (i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return false;
		if (hex(text[0]) < 0 || hex(text[1]) < 0)
			return false;
		uuid[i] = (uint8_t)(hex(text[0]) << 4 | hex(text[1]));
		text += 2;
	}
	memcpy(ret_uuid, uuid, 16);
	return true;
}

void config_mac_format(const uint8_t mac[6], char buf[18])
{
	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
}

bool config_mac_parse(const char *text, uint8_t ret_mac[6])
{
	uint8_t mac[6];

	if (strlen(text) != 17)
		return false;
	for (int i = 0; i < 6; i++, text += 3) {
		if (hex(text[0]) < 0 || hex(text[1]) < 0 || (i < 5 && text[2] != ':'))
			return false;
		mac[i] = (uint8_t)(hex(text[0]) << 4 | hex(text[1]));
	}
	memcpy(ret_mac, mac, 6);
	return true;
}

static const char *const actions[] = {
	"destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart",
};

const char *config_action_name(enum config_action action)
{
	return (unsigned int)action < 6 ? actions[action] : NULL;
}

static const char *const executors[] = {"auto", "ring3", "kvm"};

const char *config_executor_name(enum config_executor executor)
{
	return (unsigned int)executor < 3 ? executors[executor] : NULL;
}

bool config_executor_parse(const char *text, enum config_executor *ret_executor)
{
	for (unsigned int i = 0; i < 3; i++) {
		if (strcmp(text, executors[i]) == 0) {
			*ret_executor = (enum config_executor)i;
			return true;
		}
	}
	return false;
}

bool config_round_memory(uint64_t bytes, uint64_t *ret_bytes)
{
	uint64_t mib = 1ull << 20;

	if (bytes > UINT64_MAX - (mib - 1))
		return false;
	*ret_bytes = (bytes + mib - 1) & ~(mib - 1);
	return true;
}

/*
 * Xen's vbd numbering: xvd has major 202 and 16 minors per disk for the first 16 disks, above that
 * the extended form 1 << 28 | disk << 8 | partition; sd is major 8 (16 minors), hd majors 3, 22
 * (64 minors).
 */
static bool vdev_number(const char *prefix, unsigned int disk, unsigned int part,
			uint32_t *ret_vdev)
{
	if (strcmp(prefix, "xvd") == 0) {
		if (disk < 16 && part < 16)
			*ret_vdev = 202u << 8 | disk << 4 | part;
		else
			*ret_vdev = 1u << 28 | disk << 8 | part;
		return part < 256;
	}
	if (strcmp(prefix, "sd") == 0) {
		*ret_vdev = 8u << 8 | disk << 4 | part;
		return disk < 16 && part < 16;
	}
	static const uint32_t hd_major[] = {3, 22};
	if (disk >= 4 || part >= 64)
		return false;
	*ret_vdev = hd_major[disk / 2] << 8 | (disk & 1) << 6 | part;
	return true;
}

bool config_parse_vdev(const char *target, uint32_t *ret_vdev)
{
	static const char *const prefixes[] = {"xvd", "sd", "hd"};

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(prefixes[i]);

		if (strncmp(target, prefixes[i], n) != 0)
			continue;
		const char *s = target + n;
		unsigned int disk = 0, part = 0, letters = 0;
		/* a..z are 0..25, aa is 26; at most 2^20 disks fit the extended form. */
		for (; *s >= 'a' && *s <= 'z'; s++) {
			if (++letters > 4)
				return false;
			disk = (letters > 1 ? disk + 1 : 0) * 26 + (unsigned int)(*s - 'a');
		}
		if (!letters || disk >= 1u << 20 || *s == '0')
			return false;
		for (; isdigit((unsigned char)*s); s++) {
			part = part * 10 + (unsigned int)(*s - '0');
			if (part > 255)
				return false;
		}
		return *s == '\0' && vdev_number(prefixes[i], disk, part, ret_vdev);
	}
	return false;
}

int config_disk_vdev(const char *target, uint32_t *ret_vdev)
{
	if (!config_parse_vdev(target, ret_vdev))
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, NULL,
			       "'%s' is not the name of a Xen block device such as 'xvda'", target);
	return PVV_OK;
}
