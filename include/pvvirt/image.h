/* SPDX-License-Identifier: MIT */
/**
 * @file image.h
 * Looking into kernel images without running them.
 */
#ifndef PVVIRT_IMAGE_H
#define PVVIRT_IMAGE_H

#include <stdint.h>

#include <pvvirt/macros.h>

PVV_BEGIN_DECLS

/** Flags of pvv_image_inspect(). Since: 0.1 */
typedef enum pvv_image_flags {
	PVV_IMAGE_JSON = 1 << 0, /**< JSON instead of text for people. */
} pvv_image_flags;

/**
 * Describe a kernel image: format, compression, Xen notes, where it would lie in a guest.
 *
 * @param path file to read, or NULL to use fd
 * @param fd an open descriptor, used if path is NULL; not closed
 * @param flags PVV_IMAGE_*
 * @param ret_text to be freed with pvv_free(); NULL on failure
 * @return 0, or PVV_EIMAGE (not a PV image, and why), PVV_ENOENT, PVV_EPERM, PVV_EIO, PVV_EINVAL,
 *         PVV_ENOMEM, PVV_ELIMIT
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_image_inspect(const char *path, int fd, uint64_t flags, char **ret_text);

PVV_END_DECLS

#endif
