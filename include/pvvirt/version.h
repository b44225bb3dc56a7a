/* SPDX-License-Identifier: MIT */
/**
 * @file version.h
 * The version of the library, and what this build can do.
 */
#ifndef PVVIRT_VERSION_H
#define PVVIRT_VERSION_H

#include <stdint.h>

#include <pvvirt/macros.h>

/** The version of the headers: major * 1000000 + minor * 1000 + micro. Since: 0.1 */
#define PVV_VERSION 1000

/** The same as text. Since: 0.1 */
#define PVV_VERSION_STRING "0.1.0"

PVV_BEGIN_DECLS

/**
 * The version of the library that is running (compare PVV_VERSION).
 *
 * @return major * 1000000 + minor * 1000 + micro
 * @thread-safe
 * Since: 0.1
 */
PVV_API uint32_t pvv_version(void);

/** The same as text, "0.1.0". Static, never NULL. @thread-safe Since: 0.1 */
PVV_API const char *pvv_version_string(void);

/**
 * Whether this build of the library has a feature. Whether the *host* can use it is another
 * question: see pvv_host_get_capabilities().
 *
 * @param feature "executor.ring3", "executor.kvm", "xml", "smp", "balloon", "console.stream",
 *        "console.pty", "console.file", "console.unix", "console.tcp", "console.null", "channel",
 *        "disk.raw", "disk.io_uring", "net"; names unknown to this version are simply absent
 * @return 1 if present, 0 if not (also for NULL)
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_has_feature(const char *feature);

/**
 * Free memory that a libpvvirt function returned as "to be freed with pvv_free()".
 *
 * @param ptr such memory, or NULL
 * @thread-safe
 * Since: 0.1
 */
PVV_API void pvv_free(void *ptr);

PVV_END_DECLS

#endif
