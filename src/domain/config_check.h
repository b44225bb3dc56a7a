/* SPDX-License-Identifier: MIT */
/*
 * The rules of a consistent configuration, one function per part, so that xml/ can report a breach
 * at the element that made it and config_check() can report the same breach for a configuration
 * that never was XML.
 *
 * Each returns true if the part is fine; otherwise `problem` says what is wrong, worded to follow
 * the element's name: "target 'xvda' is used twice".
 */
#ifndef PVV_DOMAIN_CONFIG_CHECK_H
#define PVV_DOMAIN_CONFIG_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "domain/config.h"

struct config_problem {
	int code; /* PVV_EINVAL, PVV_ELIMIT, PVV_EUNSUPPORTED */
	char text[512];
};

/* Sets `problem` and returns false. */
bool config_problem(struct config_problem *problem, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Strings. `what` starts the sentence: "path", "target". */
bool config_check_name(const char *name, struct config_problem *problem);
bool config_check_path(const char *what, const char *path, struct config_problem *problem);
bool config_check_device_name(const char *what, const char *name, struct config_problem *problem);

/* As config_disk_vdev(), without recording an error. */
bool config_parse_vdev(const char *target, uint32_t *ret_vdev);

/* os, memory, vcpu, cputune, clock as a whole. */
bool config_check_cmdline(const char *cmdline, struct config_problem *problem);
bool config_check_title(const char *title, struct config_problem *problem);
bool config_check_memory(const struct config *cfg, struct config_problem *problem);
bool config_check_vcpus(const struct config *cfg, struct config_problem *problem);
bool config_check_cputune(const struct config *cfg, struct config_problem *problem);
bool config_check_clock(const struct config_clock *clock, struct config_problem *problem);

/* Device `index` by itself and against those before it. */
bool config_check_disk(const struct config *cfg, size_t index, struct config_problem *problem);
bool config_check_interface(const struct config *cfg, size_t index, struct config_problem *problem);
bool config_check_console(const struct config *cfg, size_t index, struct config_problem *problem);
bool config_check_channel(const struct config *cfg, size_t index, struct config_problem *problem);

#endif
