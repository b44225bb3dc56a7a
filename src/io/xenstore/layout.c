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

/* Directories that the guest may read but not write... */
static const char *const readonly_dirs[] = {"cpu",     "memory",  "device",
					    "control", "console", "store"};
/* ... and those that are its own. */
static const char *const own_dirs[] = {"data", "drivers", "feature", "attr", "error"};
static const char *const own_controls[] = {
	"shutdown",	   "feature-poweroff", "feature-reboot",
	"feature-suspend", "feature-halt",     "sysrq",
};

static int write_dirs(struct xs_store *store, const char *home, unsigned int domid)
{
	char path[128];
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(readonly_dirs) / sizeof(readonly_dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", home, readonly_dirs[i]);
		r = xs_mkdir_perms(store, path, "n0 r%u", domid);
	}
	for (size_t i = 0; r == 0 && i < sizeof(own_dirs) / sizeof(own_dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", home, own_dirs[i]);
		r = xs_mkdir_perms(store, path, "n%u", domid);
	}
	for (size_t i = 0; r == 0 && i < sizeof(own_controls) / sizeof(own_controls[0]); i++) {
		snprintf(path, sizeof(path), "%s/control/%s", home, own_controls[i]);
		r = xs_mkdir_perms(store, path, "n%u", domid);
	}
	return r;
}

static int write_console(struct xs_store *store, const char *home,
			 const struct xs_domain_info *info)
{
	int r = xs_put(store, home, "console/ring-ref", "%llu",
		       (unsigned long long)info->console_mfn);

	if (r == 0)
		r = xs_put(store, home, "console/port", "%u", info->console_port);
	if (r == 0)
		r = xs_put(store, home, "console/type", "xenconsoled");
	if (r == 0)
		r = xs_put(store, home, "console/limit", "%u", 1048576u);
	if (r == 0)
		r = xs_put(store, home, "console/output", "pty");
	if (r == 0)
		r = xs_put(store, home, "console/tty", "%s",
			   info->console_tty ? info->console_tty : "");
	return r;
}

static int write_memory_cpu_store(struct xs_store *store, const char *home,
				  const struct xs_domain_info *info)
{
	char leaf[64];
	int r = xs_put(store, home, "memory/static-max", "%llu",
		       (unsigned long long)info->max_memory_kib);

	if (r == 0)
		r = xs_put(store, home, "memory/target", "%llu",
			   (unsigned long long)info->memory_kib);
	/* -1: no video memory. */
	if (r == 0)
		r = xs_put(store, home, "memory/videoram", "-1");
	for (unsigned int i = 0; r == 0 && i < info->max_vcpus; i++) {
		snprintf(leaf, sizeof(leaf), "cpu/%u/availability", i);
		r = xs_put(store, home, leaf, i < info->vcpus ? "online" : "offline");
	}
	if (r == 0)
		r = xs_put(store, home, "store/ring-ref", "%llu",
			   (unsigned long long)info->store_mfn);
	if (r == 0)
		r = xs_put(store, home, "store/port", "%u", info->store_port);
	if (r == 0)
		r = xs_put(store, home, "control/platform-feature-multiprocessor-suspend", "1");
	if (r == 0)
		r = xs_put(store, home, "control/platform-feature-xs_reset_watches", "1");
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
		r = xs_put(store, home, "domid", "%u", info->domid);
	if (r == 0)
		r = write_dirs(store, home, info->domid);
	if (r == 0)
		r = write_memory_cpu_store(store, home, info);
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
