/* SPDX-License-Identifier: MIT */
/**
 * @file host.h
 * The host handle: the root of everything, with the one descriptor an embedder polls.
 */
#ifndef PVVIRT_HOST_H
#define PVVIRT_HOST_H

#include <stddef.h>
#include <stdint.h>

#include <pvvirt/macros.h>

PVV_BEGIN_DECLS

/** A set of domains that share one xenstore, one I/O thread and one event queue. Since: 0.1 */
typedef struct pvv_host pvv_host;

/** One hosted guest, see domain.h. Since: 0.1 */
typedef struct pvv_domain pvv_domain;

/**
 * Open a host handle. Several may exist in one program; they know nothing of each other.
 *
 * Starts one thread, with all signals blocked. Nothing else in the program changes.
 *
 * @param flags 0
 * @param ret_host the new handle with one reference; NULL on failure
 * @return 0, or PVV_EINVAL (flags, ret_host), PVV_ENOMEM, PVV_ESYS
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_open(uint64_t flags, pvv_host **ret_host);

/** Take a reference. @return host. @thread-safe Since: 0.1 */
PVV_API pvv_host *pvv_host_ref(pvv_host *host);

/**
 * Drop a reference. Never stops a guest: while a domain runs, the handle's insides (not the
 * caller's right to use it) live on, and end with the last domain.
 *
 * @param host a handle or NULL
 * @return NULL, so that `host = pvv_host_unref(host)` clears the pointer
 * @thread-safe @not-in-callback
 * Since: 0.1
 */
PVV_API pvv_host *pvv_host_unref(pvv_host *host);

/** For `__attribute__((cleanup(pvv_host_unrefp)))`. @thread-safe Since: 0.1 */
PVV_API void pvv_host_unrefp(pvv_host **host);

/**
 * The descriptor to poll for POLLIN; level-triggered: readable while events or log messages wait.
 * Owned by the handle; do not read, write or close it.
 *
 * @return the descriptor, or PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_fd(pvv_host *host);

/**
 * Run the callbacks (events, log) that are due, and return without waiting. Events are consumed
 * by either this function's event callback or pvv_event_next(), not by both.
 *
 * @param flags 0
 * @return the number of callbacks run, or PVV_EINVAL, PVV_EFORK
 * @thread-safe; callbacks run on the calling thread. @not-in-callback
 * Since: 0.1
 */
PVV_API int pvv_dispatch(pvv_host *host, uint64_t flags);

/** Severity of a log message, as syslog's. Since: 0.1 */
typedef enum pvv_log_level {
	PVV_LOG_ERROR = 3,
	PVV_LOG_WARNING = 4,
	PVV_LOG_INFO = 6,
	PVV_LOG_DEBUG = 7,
} pvv_log_level;

/**
 * A log callback.
 *
 * @param level severity
 * @param domain the name of the domain concerned, or NULL; valid during the call
 * @param message one line without the newline; valid during the call
 * Since: 0.1
 */
typedef void pvv_log_fn(pvv_log_level level, const char *domain, const char *message, void *opaque);

/**
 * Say where log messages go. Without a callback they are dropped, also those that wait. They are
 * queued (at most 1,024, the last quarter for errors; then the newest are dropped and counted) and
 * delivered inside pvv_dispatch().
 *
 * @param host a handle
 * @param level the least severe level to deliver
 * @param fn the callback, or NULL for none
 * @param opaque passed to fn
 * @return 0, or PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_set_log(pvv_host *host, pvv_log_level level, pvv_log_fn *fn, void *opaque);

/** What runs a guest. Since: 0.1 */
typedef enum pvv_executor {
	PVV_EXECUTOR_AUTO = 0, /**< The best one that this host has. */
	/** Deprivileged, by translation, in ordinary sandboxed processes. */
	PVV_EXECUTOR_RING3 = 1,
	PVV_EXECUTOR_KVM = 2, /**< By hardware virtualization. */
} pvv_executor;

/**
 * What this host can do, as a JSON document: version, executors with "available" and the "reason"
 * why not (or what it could do better with), the default one, features (pvv_has_feature()), limits.
 * Probing an executor takes up to 2 s the first time; on a host without a processor to spare, 10.
 *
 * @param host a handle
 * @param flags 0
 * @param ret_json NUL-terminated text to be freed with pvv_free(); NULL on failure
 * @return 0, or PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_get_capabilities(pvv_host *host, uint64_t flags, char **ret_json);

/**
 * All domains of the handle, each with a new reference.
 *
 * @param host a handle
 * @param flags 0
 * @param ret_domains an array to be freed with pvv_free() after each entry was unreferenced
 * @param ret_count its length
 * @return 0, or PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_list_domains(pvv_host *host, uint64_t flags, pvv_domain ***ret_domains,
				  size_t *ret_count);

/**
 * Find a domain by its name.
 *
 * @param ret_domain the domain with a new reference; NULL on failure
 * @return 0, or PVV_EINVAL, PVV_ENOENT, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_lookup_domain(pvv_host *host, const char *name, pvv_domain **ret_domain);

/**
 * Find a domain by its UUID.
 *
 * @param uuid 36 characters, 8-4-4-4-12 hexadecimal digits
 * @param ret_domain the domain with a new reference; NULL on failure
 * @return 0, or PVV_EINVAL, PVV_ENOENT, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_lookup_domain_by_uuid(pvv_host *host, const char *uuid,
					   pvv_domain **ret_domain);

PVV_END_DECLS

#endif
