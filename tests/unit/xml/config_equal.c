/* SPDX-License-Identifier: MIT */
/* Comparing configurations field by field, so that a field that the XML forgets is noticed. */
#include "harness.h"

#include <string.h>

static bool same_string(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* XML keeps that there is a descriptor, not its number. */
static bool same_fd(int a, int b)
{
	return (a == CONFIG_FD_NONE) == (b == CONFIG_FD_NONE);
}

#define DIFFER(name)                                                                               \
	do {                                                                                       \
		*ret_field = name;                                                                 \
		return false;                                                                      \
	} while (0)
#define SAME(field)                                                                                \
	do {                                                                                       \
		if (a->field != b->field)                                                          \
			DIFFER(#field);                                                            \
	} while (0)
#define SAME_STRING(field)                                                                         \
	do {                                                                                       \
		if (!same_string(a->field, b->field))                                              \
			DIFFER(#field);                                                            \
	} while (0)
#define SAME_FD(field)                                                                             \
	do {                                                                                       \
		if (!same_fd(a->field, b->field))                                                  \
			DIFFER(#field);                                                            \
	} while (0)
#define SAME_BYTES(field)                                                                          \
	do {                                                                                       \
		if (memcmp(&a->field, &b->field, sizeof(a->field)) != 0)                           \
			DIFFER(#field);                                                            \
	} while (0)

static bool equal_chr(const struct config_chr *a, const struct config_chr *b,
		      const char **ret_field)
{
	SAME(type);
	SAME_STRING(path);
	SAME(append);
	SAME(listen);
	SAME_STRING(host);
	SAME_STRING(service);
	SAME(telnet);
	SAME_FD(fd);
	SAME_STRING(log_file);
	SAME(log_append);
	return true;
}

static bool equal_disk(const struct config_disk *a, const struct config_disk *b,
		       const char **ret_field)
{
	SAME(type);
	SAME(device);
	SAME_STRING(source);
	SAME_FD(fd);
	SAME_STRING(target);
	SAME(readonly);
	SAME(shareable);
	SAME_STRING(serial);
	SAME_STRING(driver_name);
	SAME_STRING(format);
	SAME(cache);
	SAME(discard);
	SAME(io);
	return true;
}

static bool equal_forward(const struct config_forward *a, const struct config_forward *b,
			  const char **ret_field)
{
	SAME(udp);
	SAME_STRING(address);
	SAME_STRING(dev);
	SAME(nr_ranges);
	for (size_t i = 0; i < a->nr_ranges; i++) {
		SAME(ranges[i].start);
		SAME(ranges[i].end);
		SAME(ranges[i].to);
		SAME(ranges[i].exclude);
	}
	return true;
}

static bool equal_interface(const struct config_interface *a, const struct config_interface *b,
			    const char **ret_field)
{
	SAME(type);
	SAME(has_mac);
	if (a->has_mac)
		SAME_BYTES(mac);
	SAME_STRING(source);
	SAME_STRING(target);
	SAME(managed);
	SAME_FD(fd);
	SAME_STRING(script);
	SAME_STRING(model);
	SAME(mtu);
	SAME(link);
	SAME(passt);
	SAME_STRING(log_file);
	SAME(nr_ips);
	for (size_t i = 0; i < a->nr_ips; i++) {
		SAME(ips[i].family);
		SAME_BYTES(ips[i].addr);
		SAME(ips[i].has_prefix);
		SAME(ips[i].prefix);
		SAME(ips[i].has_peer);
		SAME_BYTES(ips[i].peer);
	}
	SAME(nr_forwards);
	for (size_t i = 0; i < a->nr_forwards; i++)
		if (!equal_forward(&a->forwards[i], &b->forwards[i], ret_field))
			return false;
	return true;
}

static bool equal_devices(const struct config *a, const struct config *b, const char **ret_field)
{
	SAME(nr_disks);
	for (size_t i = 0; i < a->nr_disks; i++)
		if (!equal_disk(&a->disks[i], &b->disks[i], ret_field))
			return false;
	SAME(nr_interfaces);
	for (size_t i = 0; i < a->nr_interfaces; i++)
		if (!equal_interface(&a->interfaces[i], &b->interfaces[i], ret_field))
			return false;
	SAME(nr_consoles);
	for (size_t i = 0; i < a->nr_consoles; i++) {
		SAME(consoles[i].port);
		if (!equal_chr(&a->consoles[i].chr, &b->consoles[i].chr, ret_field))
			return false;
	}
	SAME(nr_channels);
	for (size_t i = 0; i < a->nr_channels; i++) {
		SAME_STRING(channels[i].name);
		if (!equal_chr(&a->channels[i].chr, &b->channels[i].chr, ret_field))
			return false;
	}
	SAME(max_grant_frames);
	SAME(max_event_channels);
	SAME(balloon);
	return true;
}

bool config_equal(const struct config *a, const struct config *b, const char **ret_field)
{
	SAME_STRING(name);
	SAME(has_uuid);
	if (a->has_uuid)
		SAME_BYTES(uuid);
	SAME_STRING(title);
	SAME_STRING(description);
	SAME_STRING(metadata);
	SAME_STRING(kernel);
	SAME_FD(kernel_fd);
	SAME_STRING(initrd);
	SAME_FD(initrd_fd);
	SAME_STRING(cmdline);
	SAME_STRING(bootloader);
	SAME_STRING(bootloader_args);
	SAME(memory);
	SAME(current_memory);
	SAME(max_memory);
	SAME(max_memory_slots);
	SAME(vcpus);
	/* 0 and "all of them" are the same. */
	uint32_t online_a = a->vcpus_online ? a->vcpus_online : a->vcpus;
	uint32_t online_b = b->vcpus_online ? b->vcpus_online : b->vcpus;
	if (online_a != online_b)
		DIFFER("vcpus_online");
	SAME(has_cpuset);
	if (a->has_cpuset)
		SAME_BYTES(cpuset);
	SAME(shares);
	SAME(period);
	SAME(quota);
	SAME(nr_vcpupins);
	for (size_t i = 0; i < a->nr_vcpupins; i++) {
		SAME(vcpupins[i].vcpu);
		SAME_BYTES(vcpupins[i].cpus);
	}
	SAME(on_poweroff);
	SAME(on_reboot);
	SAME(on_crash);
	SAME(clock.offset);
	SAME(clock.has_adjustment);
	SAME(clock.adjustment_reset);
	SAME(clock.adjustment);
	SAME(clock.basis_localtime);
	SAME(clock.start);
	SAME(has_xen_features);
	SAME(e820_host);
	SAME(passthrough);
	SAME_STRING(passthrough_mode);
	SAME(nr_seclabels);
	for (size_t i = 0; i < a->nr_seclabels; i++)
		SAME_STRING(seclabels[i]);
	SAME(executor);
	SAME(no_brief_turns);
	SAME(limits.code_cache);
	SAME(limits.overhead);
	SAME(limits.xenstore_nodes);
	SAME(limits.xenstore_watches);
	SAME(limits.xenstore_transactions);
	return equal_devices(a, b, ret_field);
}
