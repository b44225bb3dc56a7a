/* SPDX-License-Identifier: MIT */
/*
 * What a domain finds about itself in the store: the layout of xl and libxl, as far as guests look
 * at it. doc/xenstore.md is its description.
 */
#include "io/xenstore/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"

/*
 * In the order in which libxl makes them, for DIRECTORY shows it. `own` ones belong to the guest,
 * the others it may only read.
 */
static const struct {
	const char *name;
	bool own;
} dirs[] = {
	{"cpu", false},
	{"memory", false},
	{"device", false},
	{"control", false},
	{"control/shutdown", true},
	{"control/feature-poweroff", true},
	{"control/feature-reboot", true},
	{"control/feature-suspend", true},
	{"control/sysrq", true},
	{"device/suspend/event-channel", true},
	{"data", true},
	{"drivers", true},
	{"feature", true},
	{"attr", true},
	{"error", true},
};

static int write_dirs(struct xs_store *store, const char *home, unsigned int domid)
{
	char path[128];
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", home, dirs[i].name);
		r = dirs[i].own ? xs_mkdir_perms(store, path, "n%u", domid)
				: xs_mkdir_perms(store, path, "n0 r%u", domid);
	}
	return r;
}

static int write_vm(struct xs_store *store, const char *home, const struct xs_domain_info *info)
{
	char vm[128];

	if (!info->uuid)
		return PVV_OK;
	snprintf(vm, sizeof(vm), "/vm/%s", info->uuid);
	int r = xs_mkdir_perms(store, vm, "n0 r%u", info->domid);
	if (r == 0)
		r = xs_put(store, vm, "name", "%s", info->name);
	if (r == 0)
		r = xs_put(store, vm, "uuid", "%s", info->uuid);
	if (r == 0)
		r = xs_put(store, home, "vm", "%s", vm);
	return r;
}

struct entry {
	const char *name;
	uint64_t value;
};

static int put_numbers(struct xs_store *store, const char *dir, const struct entry *e, size_t nr)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < nr; i++)
		r = xs_put(store, dir, e[i].name, "%llu", (unsigned long long)e[i].value);
	return r;
}

static int write_resources(struct xs_store *store, const char *home,
			   const struct xs_domain_info *info)
{
	const struct entry before[] = {
		{"control/platform-feature-multiprocessor-suspend", 1},
		{"control/platform-feature-xs_reset_watches", 1},
	};
	const struct entry after[] = {
		{"domid", info->domid},
		{"store/port", info->store_port},
		{"store/ring-ref", info->store_mfn},
		{"memory/static-max", info->max_memory_kib},
		{"memory/target", info->memory_kib},
		{"memory/videoram", 0},
	};
	char leaf[64];
	int r = put_numbers(store, home, before, sizeof(before) / sizeof(before[0]));

	if (r == 0)
		r = put_numbers(store, home, after, sizeof(after) / sizeof(after[0]));
	for (unsigned int i = 0; r == 0 && i < info->max_vcpus; i++) {
		snprintf(leaf, sizeof(leaf), "cpu/%u/availability", i);
		r = xs_put(store, home, leaf, i < info->vcpus ? "online" : "offline");
	}
	return r;
}

/* Both ends of console 0; its back end is the library itself, which does not look here. */
static int write_console(struct xs_store *store, const char *home,
			 const struct xs_domain_info *info)
{
	char back[64], front[80];
	const struct entry back_numbers[] = {
		{"frontend-id", info->domid}, {"online", 1}, {"state", 1}};
	const struct entry front_numbers[] = {{"port", info->console_port},
					      {"ring-ref", info->console_mfn}};

	snprintf(back, sizeof(back), "/local/domain/0/backend/console/%u/0", info->domid);
	snprintf(front, sizeof(front), "%s/console", home);
	int r = xs_mkdir_perms(store, back, "n0 r%u", info->domid);
	if (r == 0)
		r = xs_put(store, back, "frontend", "%s", front);
	if (r == 0)
		r = put_numbers(store, back, back_numbers, 3);
	if (r == 0)
		r = xs_put(store, back, "protocol", "vt100");
	if (r == 0)
		r = xs_put(store, front, "backend", "%s", back);
	if (r == 0)
		r = xs_put(store, front, "backend-id", "0");
	if (r == 0)
		r = xs_put(store, front, "limit", "1048576");
	if (r == 0)
		r = xs_put(store, front, "type", "xenconsoled");
	if (r == 0)
		r = xs_put(store, front, "output", "pty");
	if (r == 0)
		r = xs_put(store, front, "tty", "%s", info->console_tty ? info->console_tty : "");
	if (r == 0)
		r = put_numbers(store, front, front_numbers, 2);
	return r;
}

int xs_domain_write(struct xs_store *store, const struct xs_domain_info *info)
{
	char home[64];

	snprintf(home, sizeof(home), "/local/domain/%u", info->domid);
	int r = xs_mkdir_perms(store, home, "n0 r%u", info->domid);
	if (r == 0)
		r = write_vm(store, home, info);
	if (r == 0)
		r = xs_put(store, home, "name", "%s", info->name);
	if (r == 0)
		r = write_dirs(store, home, info->domid);
	if (r == 0)
		r = write_resources(store, home, info);
	if (r == 0)
		r = write_console(store, home, info);
	if (r)
		xs_domain_erase(store, info->domid);
	return r;
}

/* /local/domain/0/backend/TYPE/DOMID, of every type. */
static void erase_backends(struct xs_store *store, unsigned int domid)
{
	char *types, path[XS_PATH_BUF];
	size_t len;
	static const char dir[] = "/local/domain/0/backend";

	if (!xs_exists(store, dir) || xs_directory(store, dir, &types, &len) < 0)
		return;
	for (size_t at = 0; at < len; at += strlen(types + at) + 1) {
		snprintf(path, sizeof(path), "%s/%s/%u", dir, types + at, domid);
		xs_rm(store, path);
	}
	free(types);
}

void xs_domain_erase(struct xs_store *store, unsigned int domid)
{
	char path[160], vm[128];

	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	/* Ours, or the guest could name another's: it cannot write the node, but be sure. */
	if (xs_get_str(store, path, "vm", vm, sizeof(vm)) == 0 && strncmp(vm, "/vm/", 4) == 0)
		xs_rm(store, vm);
	erase_backends(store, domid);
	xs_rm(store, path);
}
