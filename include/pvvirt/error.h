/* SPDX-License-Identifier: MIT */
/**
 * @file error.h
 * Error codes and error detail.
 *
 * Every function that can fail returns 0 or a positive number on success and a negative PVV_E* code
 * on failure. A failing call also records detail for the calling thread, see pvv_error_last().
 */
#ifndef PVVIRT_ERROR_H
#define PVVIRT_ERROR_H

#include <pvvirt/macros.h>

PVV_BEGIN_DECLS

/**
 * Error codes. The numbers are part of the ABI and never change.
 * Since: 0.1
 */
typedef enum pvv_error_code {
	PVV_OK = 0,
	PVV_EINVAL = -1, /**< An argument is outside its documented range. */
	PVV_ENOMEM = -2, /**< Memory or address space is exhausted. */
	PVV_ESYS = -3, /**< The host's kernel refused a call; pvv_error_get_os_errno() says why. */
	PVV_EXML = -4, /**< The domain XML is malformed or not acceptable. */
	PVV_EUNSUPPORTED = -5, /**< Valid, but this library, build or host cannot do it. */
	PVV_ESTATE = -6,       /**< The domain is not in a state that allows the operation. */
	PVV_ENOENT = -7,       /**< No such domain, device, file or console. */
	PVV_EEXIST = -8,       /**< Something of that name exists already. */
	PVV_EIMAGE = -9,       /**< The kernel image is malformed or not a Xen PV image. */
	PVV_ELIMIT = -10,      /**< A documented limit would be exceeded. */
	PVV_EBUSY = -11,       /**< The resource is in use. */
	PVV_ETIMEDOUT = -12,   /**< The time allowed has passed. */
	PVV_EAGAIN = -13,      /**< Nothing there now; wait for the descriptor and try again. */
	PVV_EGUEST = -14,      /**< The guest broke a protocol (ring, xenstore, control channel). */
	PVV_EPERM = -15,       /**< The host denies permission. */
	PVV_EFORK = -16,       /**< The handle belongs to the process before a fork(). */
	PVV_EIO = -17,	       /**< Reading or writing a file or device failed. */
	PVV_EINTERNAL = -18,   /**< A bug in libpvvirt; please report the message. */
} pvv_error_code;

/** The part of the library that reported an error. Since: 0.1 */
typedef enum pvv_error_subsystem {
	PVV_SUBSYS_NONE = 0,
	PVV_SUBSYS_API = 1,
	PVV_SUBSYS_XML = 2,
	PVV_SUBSYS_IMAGE = 3,
	PVV_SUBSYS_DOMAIN = 4,
	PVV_SUBSYS_EXEC = 5,
	PVV_SUBSYS_CONSOLE = 6,
	PVV_SUBSYS_XENSTORE = 7,
	PVV_SUBSYS_BLOCK = 8,
	PVV_SUBSYS_NET = 9,
	PVV_SUBSYS_GUEST = 10,
} pvv_error_subsystem;

/** Detail of an error; opaque, read it with the accessors below. Since: 0.1 */
typedef struct pvv_error pvv_error;

/**
 * The detail of the last failed libpvvirt call made by the calling thread.
 *
 * @return the thread's error record, or NULL if no call of this thread has failed yet. It is owned
 *         by the library and valid until the next failing libpvvirt call of this thread or its end.
 *         A succeeding call does not change it.
 * @thread-safe
 * Since: 0.1
 */
PVV_API const pvv_error *pvv_error_last(void);

/** The PVV_E* code (negative), or PVV_OK for NULL. @thread-safe Since: 0.1 */
PVV_API int pvv_error_get_code(const pvv_error *error);

/** The subsystem that failed, PVV_SUBSYS_NONE for NULL. @thread-safe Since: 0.1 */
PVV_API pvv_error_subsystem pvv_error_get_subsystem(const pvv_error *error);

/** The host's errno behind the failure, 0 if there was none. @thread-safe Since: 0.1 */
PVV_API int pvv_error_get_os_errno(const pvv_error *error);

/**
 * What failed: a domain name, file name or element, possibly "". Never NULL. Owned by the error.
 * @thread-safe Since: 0.1
 */
PVV_API const char *pvv_error_get_object(const pvv_error *error);

/**
 * A sentence in English that says what was wrong and where. Never NULL. Owned by the error.
 * @thread-safe Since: 0.1
 */
PVV_API const char *pvv_error_get_message(const pvv_error *error);

/**
 * The name of a code, such as "PVV_EXML"; "unknown error code" for a number that is none.
 * Never NULL, static.
 * @thread-safe Since: 0.1
 */
PVV_API const char *pvv_error_code_name(int code);

PVV_END_DECLS

#endif
