/* SPDX-License-Identifier: MIT */
/**
 * @file event.h
 * What happened to the domains of a host handle.
 */
#ifndef PVVIRT_EVENT_H
#define PVVIRT_EVENT_H

#include <stdint.h>

#include <pvvirt/host.h>
#include <pvvirt/macros.h>

PVV_BEGIN_DECLS

/** One event; opaque, read it with the accessors below. Since: 0.1 */
typedef struct pvv_event pvv_event;

/** Kinds of events. Lifecycle numbers are libvirt's virDomainEventType. Since: 0.1 */
typedef enum pvv_event_type {
	PVV_EVENT_DEFINED = 0,
	PVV_EVENT_UNDEFINED = 1,
	PVV_EVENT_STARTED = 2,
	PVV_EVENT_SUSPENDED = 3,
	PVV_EVENT_RESUMED = 4,
	/** It has ended. The state is final (shut off, or crashed and preserved): a domain that is
	 * shut off may be started again at once, from the callback, too. */
	PVV_EVENT_STOPPED = 5,
	PVV_EVENT_SHUTDOWN = 6, /**< The guest has shut down; tearing down begins. */
	PVV_EVENT_CRASHED = 8,
	PVV_EVENT_REBOOT = 100,	  /**< The guest rebooted (on_reboot='restart'). */
	PVV_EVENT_IO_ERROR = 101, /**< A disk's host side failed; detail text names it. */
	/** The queue (4,096; for IO_ERROR, half of it) was full; detail = events dropped. */
	PVV_EVENT_LOST = 102,
} pvv_event_type;

/** Details of PVV_EVENT_STARTED. Since: 0.1 */
typedef enum pvv_event_started { PVV_EVENT_STARTED_BOOTED = 0 } pvv_event_started;

/** Details of PVV_EVENT_SHUTDOWN: what the guest asked for. Since: 0.1 */
typedef enum pvv_event_shutdown {
	PVV_EVENT_SHUTDOWN_POWEROFF = 0,
	PVV_EVENT_SHUTDOWN_REBOOT = 100, /**< Whether it is restarted, on_reboot says. */
} pvv_event_shutdown;

/** Details of PVV_EVENT_STOPPED. Since: 0.1 */
typedef enum pvv_event_stopped {
	PVV_EVENT_STOPPED_SHUTDOWN = 0,
	PVV_EVENT_STOPPED_DESTROYED = 1,
	PVV_EVENT_STOPPED_CRASHED = 2,
	PVV_EVENT_STOPPED_FAILED = 5,
} pvv_event_stopped;

/** Details of PVV_EVENT_CRASHED. Since: 0.1 */
typedef enum pvv_event_crashed {
	PVV_EVENT_CRASHED_PANICKED = 0, /**< The guest said so (SHUTDOWN_crash). */
	PVV_EVENT_CRASHED_FAULT = 10,	/**< It did something that cannot go on. */
} pvv_event_crashed;

/**
 * Take the next event, without waiting.
 *
 * @param host a handle
 * @param flags 0
 * @param ret_event the event, to be freed with pvv_event_free(); NULL if there is none
 * @return 1 if there was one, 0 if not, or PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_event_next(pvv_host *host, uint64_t flags, pvv_event **ret_event);

/** Free an event (NULL is accepted). @thread-safe Since: 0.1 */
PVV_API void pvv_event_free(pvv_event *event);

/** The type; none of the above for NULL (the other accessors: 0 or ""). @thread-safe Since: 0.1 */
PVV_API pvv_event_type pvv_event_get_type(const pvv_event *event);

/** The detail, by its meaning for the type. @thread-safe Since: 0.1 */
PVV_API int pvv_event_get_detail(const pvv_event *event);

/** The name of the domain, "" if none. Owned by the event. @thread-safe Since: 0.1 */
PVV_API const char *pvv_event_get_domain_name(const pvv_event *event);

/** The UUID of the domain, "" if none. Owned by the event. @thread-safe Since: 0.1 */
PVV_API const char *pvv_event_get_domain_uuid(const pvv_event *event);

/** A sentence: the crash reason, the error of a failed start; may be "". Owned by the event.
 * @thread-safe Since: 0.1 */
PVV_API const char *pvv_event_get_text(const pvv_event *event);

/** When it happened, CLOCK_REALTIME in nanoseconds. @thread-safe Since: 0.1 */
PVV_API int64_t pvv_event_get_time_ns(const pvv_event *event);

/**
 * The name of a type, such as "started"; "unknown" for a number that is none. Static, never NULL.
 * @thread-safe Since: 0.1
 */
PVV_API const char *pvv_event_type_name(int type);

/** An event callback; `event` is valid during the call. Since: 0.1 */
typedef void pvv_event_fn(pvv_host *host, const pvv_event *event, void *opaque);

/**
 * Have events delivered by pvv_dispatch() to a callback.
 *
 * @param host a handle
 * @param fn the callback, or NULL to go back to pvv_event_next()
 * @param opaque passed to fn
 * @return 0, or PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_host_set_event_callback(pvv_host *host, pvv_event_fn *fn, void *opaque);

PVV_END_DECLS

#endif
