/* SPDX-License-Identifier: MIT */
/**
 * @file domain.h
 * Domains: their life cycle, state, description and console.
 *
 * States, reasons and event numbers are libvirt's, so that a libvirt driver is a table.
 */
#ifndef PVVIRT_DOMAIN_H
#define PVVIRT_DOMAIN_H

#include <stddef.h>
#include <stdint.h>

#include <pvvirt/host.h>
#include <pvvirt/macros.h>

PVV_BEGIN_DECLS

/** Flags of pvv_domain_create_xml(). Since: 0.1 */
typedef enum pvv_create_flags {
	/** Refuse elements and attributes that would be ignored with a warning. */
	PVV_XML_STRICT = 1 << 0,
} pvv_create_flags;

/** Flags of pvv_domain_start(). Since: 0.1 */
typedef enum pvv_start_flags {
	/** Do not run the guest until pvv_domain_resume(). */
	PVV_START_PAUSED = 1 << 0,
	/** Destroy the guest when the last reference to the domain object is dropped. */
	PVV_START_AUTODESTROY = 1 << 1,
} pvv_start_flags;

/** Domain states. Since: 0.1 */
typedef enum pvv_domain_state {
	PVV_DOMAIN_NOSTATE = 0,
	PVV_DOMAIN_RUNNING = 1,
	PVV_DOMAIN_BLOCKED = 2, /**< Running, all vCPUs idle. */
	PVV_DOMAIN_PAUSED = 3,
	PVV_DOMAIN_SHUTDOWN = 4, /**< Being torn down. */
	PVV_DOMAIN_SHUTOFF = 5,
	PVV_DOMAIN_CRASHED = 6, /**< Crashed and preserved (on_crash='preserve'). */
} pvv_domain_state;

/** Why a domain is RUNNING or BLOCKED. Since: 0.1 */
typedef enum pvv_running_reason {
	PVV_RUNNING_UNKNOWN = 0,
	PVV_RUNNING_BOOTED = 1,
	PVV_RUNNING_UNPAUSED = 5,
} pvv_running_reason;

/** Why a domain is PAUSED. Since: 0.1 */
typedef enum pvv_paused_reason {
	PVV_PAUSED_UNKNOWN = 0,
	PVV_PAUSED_USER = 1,
	PVV_PAUSED_IOERROR = 5,
	PVV_PAUSED_STARTING_UP = 11,
} pvv_paused_reason;

/** Why a domain is SHUTOFF. Since: 0.1 */
typedef enum pvv_shutoff_reason {
	PVV_SHUTOFF_UNKNOWN = 0,
	PVV_SHUTOFF_SHUTDOWN =
		1, /**< The guest powered off (or rebooted, with on_reboot='destroy'). */
	PVV_SHUTOFF_DESTROYED = 2, /**< pvv_domain_destroy(). */
	PVV_SHUTOFF_CRASHED = 3,   /**< The guest crashed; see pvv_domain_get_reason_text(). */
	PVV_SHUTOFF_FAILED = 6,	   /**< It could not be started, or the host failed it. */
} pvv_shutoff_reason;

/** Why a domain is CRASHED. Since: 0.1 */
typedef enum pvv_crashed_reason {
	PVV_CRASHED_UNKNOWN = 0,
	PVV_CRASHED_PANICKED = 1,
} pvv_crashed_reason;

/**
 * Make a domain from libvirt domain XML (type='xen' or 'pvvirt', machine='xenpv'). It is not
 * started.
 *
 * @param host a handle
 * @param xml the document, UTF-8, at most 1 MiB
 * @param flags PVV_XML_STRICT or 0
 * @param ret_domain the domain with one reference; NULL on failure
 * @return 0, or PVV_EINVAL, PVV_EXML (message with line and column), PVV_ELIMIT (a documented
 * limit, the document's size among them), PVV_EEXIST (name or UUID in use), PVV_EUNSUPPORTED,
 *         PVV_ENOMEM, PVV_ESYS, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_create_xml(pvv_host *host, const char *xml, uint64_t flags,
				  pvv_domain **ret_domain);

/** Take a reference. @return domain. @thread-safe Since: 0.1 */
PVV_API pvv_domain *pvv_domain_ref(pvv_domain *domain);

/**
 * Drop a reference. Never stops a guest unless it was started with PVV_START_AUTODESTROY. A domain
 * that runs stays in the host's list (pvv_host_list_domains() finds it again); one that is shut off
 * disappears with its last reference.
 *
 * @param domain a domain or NULL
 * @return NULL
 * @thread-safe
 * Since: 0.1
 */
PVV_API pvv_domain *pvv_domain_unref(pvv_domain *domain);

/** For `__attribute__((cleanup(pvv_domain_unrefp)))`. @thread-safe Since: 0.1 */
PVV_API void pvv_domain_unrefp(pvv_domain **domain);

/**
 * Start the guest and return at once: opening the kernel, module and disks happens before the
 * return (so their errors are returned here), loading the image and booting happen afterwards and
 * are reported by the lifecycle events STARTED or STOPPED/FAILED.
 *
 * @param flags PVV_START_*
 * @return 0, or PVV_ESTATE (not shut off), PVV_ENOENT or PVV_EPERM or PVV_EIO (a file),
 *         PVV_EUNSUPPORTED (executor), PVV_EBUSY (a disk is in use), PVV_ENOMEM, PVV_ESYS,
 *         PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_start(pvv_domain *domain, uint64_t flags);

/**
 * Stop all vCPUs; when it returns no guest instruction runs until pvv_domain_resume(). Pausing a
 * paused domain succeeds; one that is still being started comes up paused.
 *
 * @param flags 0
 * @return 0, or PVV_ESTATE (not running), PVV_ETIMEDOUT (the sandbox has not answered within 2
 *         s; the request is withdrawn and the guest runs on), PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_pause(pvv_domain *domain, uint64_t flags);

/** Let a paused guest go on; one that is still being started with PVV_START_PAUSED runs when it is
 * up. @param flags 0 @return 0, or PVV_ESTATE (not paused), PVV_EINVAL,
 * PVV_EFORK @thread-safe Since: 0.1 */
PVV_API int pvv_domain_resume(pvv_domain *domain, uint64_t flags);

/**
 * Ask the guest to power off, by xenstore's control/shutdown. Returns at once; the guest may take
 * its time or ignore it: combine with pvv_domain_wait() and pvv_domain_destroy().
 *
 * @param flags 0
 * @return 0, or PVV_ESTATE (not running), PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_shutdown(pvv_domain *domain, uint64_t flags);

/** Ask the guest to reboot, like pvv_domain_shutdown(). @param flags 0 @return as
 * pvv_domain_shutdown(). @thread-safe Since: 0.1 */
PVV_API int pvv_domain_reboot(pvv_domain *domain, uint64_t flags);

/**
 * End the guest at whatever instruction it is. When it returns, nothing of the guest runs, writes
 * that were acknowledged to it are in their files, and its processes, descriptors and memory are
 * released. The domain object stays, shut off. One that is being started by another thread ends
 * before it has run.
 *
 * @param flags 0
 * @return 0, or PVV_ESTATE (not active), PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_destroy(pvv_domain *domain, uint64_t flags);

/**
 * Wait until the domain is not active any more (shut off, or crashed and preserved).
 *
 * @param timeout_ms milliseconds; negative = no limit, 0 = only look
 * @param flags 0
 * @return 0, or PVV_ETIMEDOUT, PVV_EINVAL, PVV_EFORK
 * @thread-safe @not-in-callback
 * Since: 0.1
 */
PVV_API int pvv_domain_wait(pvv_domain *domain, int64_t timeout_ms, uint64_t flags);

/**
 * The state and, by its meaning for that state, the reason.
 *
 * @param ret_state a pvv_domain_state, may be NULL
 * @param ret_reason a pvv_running_reason, pvv_paused_reason ... may be NULL
 * @return 0, or PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_state(pvv_domain *domain, int *ret_state, int *ret_reason);

/**
 * A sentence about the last stop: why the guest crashed, which file was missing. "" if there is
 * nothing to say.
 *
 * @param ret_text NUL-terminated, to be freed with pvv_free(); NULL on failure
 * @return 0, or PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_reason_text(pvv_domain *domain, char **ret_text);

/** The name. Owned by the domain, never changes. NULL for NULL. @thread-safe Since: 0.1 */
PVV_API const char *pvv_domain_get_name(pvv_domain *domain);

/** The UUID as 36 characters. Owned by the domain, never changes. NULL for NULL.
 * @thread-safe Since: 0.1 */
PVV_API const char *pvv_domain_get_uuid(pvv_domain *domain);

/** The domain id of the running guest (1..), or -1 while it is not active, and for NULL.
 * @thread-safe Since: 0.1 */
PVV_API int pvv_domain_get_id(pvv_domain *domain);

/**
 * Facts about a domain. A versioned record: set `size` to sizeof() before the call; the library
 * fills as many fields as both sides know.
 * Since: 0.1
 */
typedef struct pvv_domain_info {
	size_t size;
	int state;  /**< pvv_domain_state */
	int reason; /**< as pvv_domain_get_state(): a pvv_running_reason ... by the state */
	uint64_t max_memory; /**< bytes */
	uint64_t memory;     /**< bytes the guest has now */
	uint32_t max_vcpus;
	uint32_t vcpus;		  /**< online */
	uint64_t cpu_time_ns;	  /**< processor time used by the guest since its start */
	uint64_t overhead_memory; /**< host memory in use for the guest beyond its RAM, bytes */
	int32_t id;		  /**< as pvv_domain_get_id() */
	uint32_t executor;	  /**< pvv_executor; PVV_EXECUTOR_AUTO while it is not active */
} pvv_domain_info;

/**
 * Fill a pvv_domain_info.
 *
 * @param info `size` set by the caller
 * @return 0, or PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_info(pvv_domain *domain, pvv_domain_info *info);

/**
 * Ask the guest to have this much memory, by its balloon (xenstore's memory/target). Returns at
 * once; the guest may take its time, or have no balloon driver: pvv_domain_get_info() says what it
 * has. Whether it follows or not, it cannot take more than 1 MiB above what it was asked to have.
 * The request outlives a reboot of the guest, not its end.
 *
 * @param bytes rounded up to whole MiB; 4 MiB at least, at most the info's `max_memory`
 * @param flags 0
 * @return 0, or PVV_ESTATE (not running), PVV_EINVAL, PVV_EUNSUPPORTED (memballoon
 *         model='none'), PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_set_memory(pvv_domain *domain, uint64_t bytes, uint64_t flags);

/**
 * Ask the guest to use this many vCPUs, by CPU hot-plug (xenstore's cpu/N/availability). Returns at
 * once; the guest may take its time, or not know hot-plug: pvv_domain_get_info() says how many are
 * up. The request outlives a reboot of the guest, not its end.
 *
 * @param vcpus 1 to the info's `max_vcpus`
 * @param flags 0
 * @return 0, or PVV_ESTATE (not running), PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_set_vcpus(pvv_domain *domain, uint32_t vcpus, uint64_t flags);

/**
 * The domain as canonical libvirt XML; pvv_domain_create_xml() accepts it.
 *
 * @param flags 0
 * @param ret_xml to be freed with pvv_free(); NULL on failure
 * @return 0, or PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_xml(pvv_domain *domain, uint64_t flags, char **ret_xml);

/**
 * The warnings of parsing its XML, one a line (elements that are ignored), or "".
 *
 * @param ret_text to be freed with pvv_free(); NULL on failure
 * @return 0, or PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_warnings(pvv_domain *domain, char **ret_text);

/** Flags of pvv_domain_open_console(). Since: 0.1 */
typedef enum pvv_console_flags {
	/** Make the descriptor non-blocking. */
	PVV_CONSOLE_NONBLOCK = 1 << 0,
} pvv_console_flags;

/**
 * Open a console as a stream descriptor: what the guest writes can be read, what is written is the
 * guest's input, end of file comes after the guest's last byte. The last 64 KiB written before the
 * call are delivered first, so that nothing of the boot is lost. Works before the start, too.
 * It is a socket: writing to it after the domain ended raises SIGPIPE, unless that is ignored or
 * send() is used with MSG_NOSIGNAL.
 *
 * @param index console number, 0 = the first
 * @param flags PVV_CONSOLE_*
 * @param ret_fd a descriptor that the caller owns (close-on-exec); -1 on failure
 * @return 0, or PVV_ENOENT (no such console), PVV_EBUSY (opened already), PVV_EINVAL, PVV_ENOMEM,
 *         PVV_ESYS, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_open_console(pvv_domain *domain, uint32_t index, uint64_t flags,
				    int *ret_fd);

/**
 * Open a channel (libvirt's \<channel\> with a target name; the guest finds a console device of
 * that name in its xenstore) as a stream descriptor, as pvv_domain_open_console() does.
 *
 * @param name the target's name
 * @param flags PVV_CONSOLE_*
 * @param ret_fd a descriptor that the caller owns (close-on-exec); -1 on failure
 * @return 0, or PVV_ENOENT (no such channel), PVV_EBUSY (opened already), PVV_EINVAL, PVV_ENOMEM,
 *         PVV_ESYS, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_open_channel(pvv_domain *domain, const char *name, uint64_t flags,
				    int *ret_fd);

/**
 * Say what a console is connected to, instead of what the XML or the options said. The domain must
 * be shut off; the streams that were opened with pvv_domain_open_console() end, of all its
 * consoles.
 *
 * @param index console number, 0 = the first
 * @param type a pvv_console_type
 * @param path for PVV_CONSOLE_FILE and PVV_CONSOLE_UNIX, else NULL
 * @param flags 0
 * @return 0, or PVV_ESTATE, PVV_ENOENT (no such console), PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_set_console(pvv_domain *domain, uint32_t index, uint32_t type,
				   const char *path, uint64_t flags);

/**
 * Choose the executor, instead of what the XML or the options said. The domain must be shut off.
 *
 * @param executor a pvv_executor
 * @param flags 0
 * @return 0, or PVV_ESTATE, PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_set_executor(pvv_domain *domain, uint32_t executor, uint64_t flags);

/**
 * Whether the ring3 executor may interpret short turns of guest programs itself, which is faster,
 * or has to leave all of them to the processes of the programs, instead of what the XML said (yes
 * if nothing). Others ignore it. The domain must be shut off.
 *
 * @param allowed 1 or 0
 * @param flags 0
 * @return 0, or PVV_ESTATE, PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_set_brief_turns(pvv_domain *domain, uint32_t allowed, uint64_t flags);

/**
 * The name of the pseudo terminal behind a console of type 'pty', while the domain is active.
 *
 * @param ret_path to be freed with pvv_free(); NULL on failure
 * @return 0, or PVV_ENOENT (no such console, or it has none now), PVV_EINVAL, PVV_ENOMEM, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_console_path(pvv_domain *domain, uint32_t index, char **ret_path);

PVV_END_DECLS

#endif
