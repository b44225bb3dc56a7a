/* SPDX-License-Identifier: MIT */
/* Is a configuration consistent? The parts other than devices, and the whole. */
#include "domain/config_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/err.h"
#include "util/utf8.h"

bool config_problem(struct config_problem *problem, int code, const char *fmt, ...)
{
	va_list ap;

	problem->code = code;
	va_start(ap, fmt);
	vsnprintf(problem->text, sizeof(problem->text), fmt, ap);
	va_end(ap);
	return false;
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

bool config_check_name(const char *name, struct config_problem *problem)
{
	if (!name || !*name)
		return config_problem(problem, PVV_EINVAL, "is missing or empty");
	if (strlen(name) > CONFIG_NAME_MAX)
		return config_problem(problem, PVV_EINVAL, "is longer than %u bytes",
				      CONFIG_NAME_MAX);
	if (!utf8_valid(name, strlen(name)))
		return config_problem(problem, PVV_EINVAL, "is not valid UTF-8");
	if (has_control(name))
		return config_problem(problem, PVV_EINVAL, "contains a control character");
	if (strchr(name, '/'))
		return config_problem(problem, PVV_EINVAL, "'%s' contains '/'", name);
	if (strspn(name, " ") == strlen(name))
		return config_problem(problem, PVV_EINVAL, "consists of blanks");
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return config_problem(problem, PVV_EINVAL, "'%s' is not allowed", name);
	return true;
}

bool config_check_title(const char *title, struct config_problem *problem)
{
	if (title && strpbrk(title, "\n\r"))
		return config_problem(problem, PVV_EINVAL, "has more than one line");
	return true;
}

bool config_check_path(const char *what, const char *path, struct config_problem *problem)
{
	if (!path)
		return true;
	/* libvirt's schema wants something behind the slash. */
	if (path[0] != '/' || path[1] == '\0')
		return config_problem(problem, PVV_EINVAL, "%s '%s' is not an absolute path", what,
				      path);
	if (strlen(path) > 4095)
		return config_problem(problem, PVV_EINVAL, "%s is longer than 4095 bytes", what);
	if (strpbrk(path, "\n\r"))
		return config_problem(problem, PVV_EINVAL, "%s contains a line break", what);
	return true;
}

bool config_check_device_name(const char *what, const char *name, struct config_problem *problem)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-\\:/";

	if (!name)
		return true;
	if (!*name || strspn(name, allowed) != strlen(name))
		return config_problem(problem, PVV_EINVAL,
				      "%s '%s' is not a device name (letters, digits, _ . - : /)",
				      what, name);
	return true;
}

bool config_check_cmdline(const char *cmdline, struct config_problem *problem)
{
	if (cmdline && strlen(cmdline) > CONFIG_CMDLINE_MAX)
		return config_problem(problem, PVV_ELIMIT,
				      "is %zu bytes long; start_info holds at most %u",
				      strlen(cmdline), CONFIG_CMDLINE_MAX);
	return true;
}

static bool check_size(const char *what, uint64_t bytes, struct config_problem *problem)
{
	uint64_t mib = 1ull << 20;

	if (bytes % mib)
		return config_problem(problem, PVV_EINVAL,
				      "%s%" PRIu64 " bytes is not a whole number of MiB", what,
				      bytes);
	if (bytes > CONFIG_MEMORY_MAX)
		return config_problem(problem, PVV_ELIMIT,
				      "%s%" PRIu64 " MiB is more than %llu MiB", what, bytes / mib,
				      CONFIG_MEMORY_MAX / mib);
	return true;
}

bool config_check_memory(const struct config *cfg, struct config_problem *problem)
{
	if (cfg->memory < CONFIG_MEMORY_MIN)
		return config_problem(problem, PVV_EINVAL, "is missing or zero");
	if (!check_size("", cfg->memory, problem) ||
	    !check_size("currentMemory ", cfg->current_memory, problem) ||
	    !check_size("maxMemory ", cfg->max_memory, problem))
		return false;
	if (cfg->current_memory > cfg->memory)
		return config_problem(problem, PVV_EINVAL,
				      "is %" PRIu64 " MiB, less than currentMemory's %" PRIu64
				      " MiB",
				      cfg->memory >> 20, cfg->current_memory >> 20);
	if (cfg->max_memory && cfg->max_memory < cfg->memory)
		return config_problem(problem, PVV_EINVAL,
				      "is %" PRIu64 " MiB, more than maxMemory's %" PRIu64 " MiB",
				      cfg->memory >> 20, cfg->max_memory >> 20);
	if (cfg->max_memory_slots && !cfg->max_memory)
		return config_problem(problem, PVV_EINVAL, "has slots but no maxMemory");
	return true;
}

bool config_check_vcpus(const struct config *cfg, struct config_problem *problem)
{
	if (!cfg->vcpus)
		return config_problem(problem, PVV_EINVAL, "0: a domain has at least one vCPU");
	if (cfg->vcpus > CONFIG_MAX_VCPUS)
		return config_problem(problem, PVV_ELIMIT, "%u: a domain has at most %u vCPUs",
				      cfg->vcpus, CONFIG_MAX_VCPUS);
	if (cfg->vcpus_online > cfg->vcpus)
		return config_problem(problem, PVV_EINVAL,
				      "current='%u' is more than the maximum of %u",
				      cfg->vcpus_online, cfg->vcpus);
	if (cfg->has_cpuset && config_cpuset_empty(&cfg->cpuset))
		return config_problem(problem, PVV_EINVAL, "cpuset leaves no CPU");
	return true;
}

bool config_check_cputune(const struct config *cfg, struct config_problem *problem)
{
	/* libvirt's (cgroups') range. */
	if (cfg->shares && (cfg->shares < 2 || cfg->shares > 262144))
		return config_problem(problem, PVV_EINVAL, "shares %u is not within 2..262144",
				      cfg->shares);
	if (cfg->period && (cfg->period < 1000 || cfg->period > 1000000))
		return config_problem(problem, PVV_EINVAL,
				      "period %" PRIu64 " is not within 1000..1000000 us",
				      cfg->period);
	/* libvirt's bounds. */
	if (cfg->quota && cfg->quota != -1 && (cfg->quota < 1000 || cfg->quota > 17592186044415ll))
		return config_problem(problem, PVV_EINVAL,
				      "quota %" PRId64 " is neither -1 nor within "
				      "1000..17592186044415 us",
				      cfg->quota);
	for (size_t i = 0; i < cfg->nr_vcpupins; i++) {
		const struct config_vcpupin *pin = &cfg->vcpupins[i];

		if (pin->vcpu >= cfg->vcpus)
			return config_problem(problem, PVV_EINVAL,
					      "vcpupin vcpu='%u': the domain has %u vCPUs",
					      pin->vcpu, cfg->vcpus);
		if (config_cpuset_empty(&pin->cpus))
			return config_problem(problem, PVV_EINVAL,
					      "vcpupin vcpu='%u': cpuset leaves no CPU", pin->vcpu);
		for (size_t k = 0; k < i; k++)
			if (cfg->vcpupins[k].vcpu == pin->vcpu)
				return config_problem(problem, PVV_EINVAL,
						      "vcpupin vcpu='%u' appears twice", pin->vcpu);
	}
	return true;
}

bool config_check_clock(const struct config_clock *clock, struct config_problem *problem)
{
	/* Room for nanoseconds in 64 bits. */
	const int64_t most = 4000000000ll;

	if ((unsigned int)clock->offset > CONFIG_CLOCK_ABSOLUTE)
		return config_problem(problem, PVV_EINVAL, "offset %d is unknown", clock->offset);
	bool absolute = clock->offset == CONFIG_CLOCK_ABSOLUTE;
	bool variable = clock->offset == CONFIG_CLOCK_VARIABLE;
	if (clock->start && !absolute)
		return config_problem(problem, PVV_EINVAL, "start belongs to offset 'absolute'");
	if (absolute && (clock->has_adjustment || clock->adjustment_reset))
		return config_problem(problem, PVV_EINVAL, "offset 'absolute' has no adjustment");
	if (clock->basis_localtime && !variable)
		return config_problem(problem, PVV_EINVAL, "basis belongs to offset 'variable'");
	if (clock->adjustment_reset && (variable || clock->has_adjustment))
		return config_problem(problem, PVV_EINVAL,
				      "adjustment 'reset' stands alone, with utc or localtime");
	if (clock->adjustment && !clock->has_adjustment)
		return config_problem(problem, PVV_EINVAL, "adjustment without has_adjustment set");
	if (clock->adjustment > most || clock->adjustment < -most)
		return config_problem(problem, PVV_ELIMIT,
				      "adjustment of %" PRId64 " s is more than %" PRId64 " s",
				      clock->adjustment, most);
	if (clock->start > (uint64_t)most)
		return config_problem(problem, PVV_ELIMIT,
				      "start %" PRIu64 " is later than %" PRId64 " s", clock->start,
				      most);
	return true;
}

static bool check_actions(const struct config *cfg, struct config_problem *problem)
{
	if ((unsigned int)cfg->on_poweroff > CONFIG_ACTION_PRESERVE)
		return config_problem(problem, PVV_EINVAL, "on_poweroff: unknown action %d",
				      cfg->on_poweroff);
	if ((unsigned int)cfg->on_reboot > CONFIG_ACTION_PRESERVE)
		return config_problem(problem, PVV_EINVAL, "on_reboot: unknown action %d",
				      cfg->on_reboot);
	if ((unsigned int)cfg->on_crash > CONFIG_ACTION_COREDUMP_RESTART)
		return config_problem(problem, PVV_EINVAL, "on_crash: unknown action %d",
				      cfg->on_crash);
	if ((unsigned int)cfg->executor > CONFIG_EXECUTOR_KVM)
		return config_problem(problem, PVV_EINVAL, "executor: unknown number %d",
				      cfg->executor);
	return true;
}

static bool check_features(const struct config *cfg, struct config_problem *problem)
{
	const char *mode = cfg->passthrough_mode;

	if (!cfg->has_xen_features && (cfg->e820_host || cfg->passthrough || mode))
		return config_problem(problem, PVV_EINVAL, "xen: set without has_xen_features");
	if (mode && strcmp(mode, "sync_pt") != 0 && strcmp(mode, "share_pt") != 0)
		return config_problem(problem, PVV_EINVAL, "xen: passthrough mode '%s' is unknown",
				      mode);
	if (mode && !cfg->passthrough)
		return config_problem(problem, PVV_EINVAL,
				      "xen: passthrough has a mode but no state");
	if ((unsigned int)cfg->e820_host > CONFIG_OFF ||
	    (unsigned int)cfg->passthrough > CONFIG_OFF)
		return config_problem(problem, PVV_EINVAL, "xen: an enumeration is out of range");
	return true;
}

static bool check_limits(const struct config *cfg, struct config_problem *problem)
{
	uint64_t cache = cfg->limits.code_cache, overhead = cfg->limits.overhead;

	if (overhead % (1u << 20) || overhead > CONFIG_MEMORY_MAX)
		return config_problem(problem, PVV_EINVAL,
				      "overhead: %" PRIu64 " bytes is not a whole number of MiB "
				      "up to %llu",
				      overhead, CONFIG_MEMORY_MAX >> 20);
	if (cache % (1u << 20) || cache > CONFIG_MEMORY_MAX)
		return config_problem(problem, PVV_EINVAL,
				      "codeCache: %" PRIu64 " bytes is not a whole number of MiB "
				      "up to %llu",
				      cache, CONFIG_MEMORY_MAX >> 20);
	return true;
}

static int fail(const struct config *cfg, const char *element, const struct config_problem *problem)
{
	return err_set(problem->code, PVV_SUBSYS_DOMAIN, cfg->name ? cfg->name : "", "%s%s%s",
		       element, *element ? " " : "", problem->text);
}

static bool check_boot(const struct config *cfg, struct config_problem *problem)
{
	if ((cfg->initrd || cfg->initrd_fd != CONFIG_FD_NONE) && !cfg->kernel &&
	    cfg->kernel_fd == CONFIG_FD_NONE)
		return config_problem(problem, PVV_EINVAL, "<initrd> without <kernel>");
	return config_check_path("kernel", cfg->kernel, problem) &&
	       config_check_path("initrd", cfg->initrd, problem) &&
	       config_check_cmdline(cfg->cmdline, problem);
}

int config_check(const struct config *cfg)
{
	struct config_problem p;

	if (!config_check_name(cfg->name, &p))
		return fail(cfg, "<name>", &p);
	if (!config_check_title(cfg->title, &p))
		return fail(cfg, "<title>", &p);
	if (!check_boot(cfg, &p))
		return fail(cfg, "<os>", &p);
	if (!config_check_memory(cfg, &p))
		return fail(cfg, "<memory>", &p);
	if (!config_check_vcpus(cfg, &p))
		return fail(cfg, "<vcpu>", &p);
	if (!config_check_cputune(cfg, &p))
		return fail(cfg, "<cputune>", &p);
	if (!config_check_clock(&cfg->clock, &p))
		return fail(cfg, "<clock>", &p);
	if (!check_actions(cfg, &p))
		return fail(cfg, "", &p);
	if (!check_features(cfg, &p))
		return fail(cfg, "<features>", &p);
	if (!check_limits(cfg, &p))
		return fail(cfg, "<limits>", &p);
	for (size_t i = 0; i < cfg->nr_disks; i++)
		if (!config_check_disk(cfg, i, &p))
			return fail(cfg, "<disk>", &p);
	for (size_t i = 0; i < cfg->nr_interfaces; i++)
		if (!config_check_interface(cfg, i, &p))
			return fail(cfg, "<interface>", &p);
	for (size_t i = 0; i < cfg->nr_consoles; i++)
		if (!config_check_console(cfg, i, &p))
			return fail(cfg, "<console>", &p);
	for (size_t i = 0; i < cfg->nr_channels; i++)
		if (!config_check_channel(cfg, i, &p))
			return fail(cfg, "<channel>", &p);
	return PVV_OK;
}
