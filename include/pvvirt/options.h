/* SPDX-License-Identifier: MIT */
/**
 * @file options.h
 * Making a domain from a C structure instead of XML.
 */
#ifndef PVVIRT_OPTIONS_H
#define PVVIRT_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include <pvvirt/host.h>
#include <pvvirt/macros.h>

PVV_BEGIN_DECLS

/** One disk. Exactly one of path and fd. Since: 0.1 */
typedef struct pvv_disk_options {
	size_t size;	    /**< sizeof(pvv_disk_options) */
	const char *path;   /**< raw image file or block device, or NULL */
	int fd;		    /**< an open descriptor (duplicated by the library), or -1 */
	const char *target; /**< device name in the guest, "xvda"; NULL = the next free one */
	int readonly;	    /**< not 0: the guest cannot write */
} pvv_disk_options;

/** Initial value of a pvv_disk_options. Since: 0.1 */
#define PVV_DISK_OPTIONS_INIT                                                                      \
	{                                                                                          \
		sizeof(pvv_disk_options), NULL, -1, NULL, 0                                        \
	}

/** What a network interface is plugged into. Since: 0.1 */
typedef enum pvv_interface_type {
	/** User networking by passt, without privileges. */
	PVV_INTERFACE_USER = 0,
	/** A tap device: an existing one by name, or one that is made (needs CAP_NET_ADMIN). */
	PVV_INTERFACE_TAP = 1,
	/** A tap device that is made and attached to a bridge (needs CAP_NET_ADMIN). */
	PVV_INTERFACE_BRIDGE = 2,
} pvv_interface_type;

/** One port or range of ports of the host that leads to the guest. Since: 0.1 */
typedef struct pvv_forward_options {
	size_t size;	     /**< sizeof(pvv_forward_options) */
	uint32_t udp;	     /**< 0 = TCP, 1 = UDP */
	uint32_t start, end; /**< host ports, 1..65535; end 0 = start */
	uint32_t to;	     /**< guest port of start; 0 = the same */
	const char *address; /**< host address to listen on; NULL = any */
} pvv_forward_options;

/** Initial value of a pvv_forward_options. Since: 0.1 */
#define PVV_FORWARD_OPTIONS_INIT                                                                   \
	{                                                                                          \
		sizeof(pvv_forward_options), 0, 0, 0, 0, NULL                                      \
	}

/** One network interface. Since: 0.1 */
typedef struct pvv_interface_options {
	size_t size;   /**< sizeof(pvv_interface_options) */
	uint32_t type; /**< pvv_interface_type */
	/**
	 * An open descriptor instead of what `type` would open (duplicated by the library, which
	 * makes it non-blocking), or -1: a tap device without packet information (IFF_NO_PI); a
	 * stream socket on which each frame follows its length (32 bits, big endian); a datagram
	 * or seqpacket socket with a frame per message.
	 */
	int fd;
	const char *target; /**< tap device on the host, or NULL */
	const char *bridge; /**< with PVV_INTERFACE_BRIDGE: its name */
	const char *mac;    /**< "00:16:3e:..."; NULL = made up from the domain's UUID */
	uint32_t mtu;	    /**< 68..65535; 0 = as it is */
	uint32_t existing;  /**< not 0: the target exists and is used as it is */
	const pvv_forward_options *forwards; /**< array, with PVV_INTERFACE_USER */
	size_t nr_forwards;		     /**< its length, 0..64 */
	size_t forward_stride; /**< sizeof(pvv_forward_options) as the caller knows it; 0 =
				  forwards->size */
} pvv_interface_options;

/** Initial value of a pvv_interface_options. Since: 0.1 */
#define PVV_INTERFACE_OPTIONS_INIT                                                                 \
	{                                                                                          \
		sizeof(pvv_interface_options), 0, -1, NULL, NULL, NULL, 0, 0, NULL, 0, 0           \
	}

/** What follows the end of a guest; 0 takes libvirt's default. Since: 0.1 */
typedef enum pvv_action {
	PVV_ACTION_DEFAULT = 0, /**< Power off: destroy, reboot: restart, crash: destroy. */
	PVV_ACTION_DESTROY = 1,
	PVV_ACTION_RESTART = 2,
	PVV_ACTION_PRESERVE = 3,
} pvv_action;

/** What a console is connected to. Since: 0.1 */
typedef enum pvv_console_type {
	PVV_CONSOLE_STREAM = 0, /**< pvv_domain_open_console() only (always possible) */
	PVV_CONSOLE_PTY = 1,
	PVV_CONSOLE_FILE = 2, /**< appended to console_path */
	PVV_CONSOLE_UNIX = 3, /**< a listening Unix socket at console_path */
	PVV_CONSOLE_NULL = 4,
} pvv_console_type;

/**
 * A domain. Fields that are 0, NULL or -1 (descriptors) take their default. A caller compiled
 * against an older header passes a shorter record; the rest counts as default. A longer one is
 * accepted if what this library does not know is 0.
 * Since: 0.1
 */
typedef struct pvv_domain_options {
	size_t size;	    /**< sizeof(pvv_domain_options) */
	const char *name;   /**< required; 1..255 bytes, no '/' and no control characters */
	const char *uuid;   /**< 36 characters; NULL = made up */
	const char *kernel; /**< file with the PV kernel (ELF or bzImage), or NULL with kernel_fd */
	int kernel_fd;	    /**< an open descriptor (duplicated), or -1 */
	const char *initrd; /**< module handed to the guest, or NULL */
	int initrd_fd;	    /**< an open descriptor (duplicated), or -1 */
	const char *cmdline;	       /**< at most 1,023 bytes; NULL = "" */
	uint64_t memory;	       /**< bytes, 4 MiB at least; 0 = 256 MiB */
	uint32_t vcpus;		       /**< 1..32; 0 = 1 */
	uint32_t executor;	       /**< pvv_executor */
	const pvv_disk_options *disks; /**< array */
	size_t nr_disks;	       /**< its length, 0..64 */
	size_t disk_stride; /**< sizeof(pvv_disk_options) as the caller knows it; 0 = disks->size */
	uint32_t console;   /**< pvv_console_type */
	const char *console_path;
	uint32_t on_poweroff;  /**< pvv_action */
	uint32_t on_reboot;    /**< pvv_action */
	uint32_t on_crash;     /**< pvv_action */
	uint32_t reserved;     /**< 0 */
	uint64_t max_memory;   /**< bytes pvv_domain_set_memory() may give it; 0 = memory */
	uint32_t vcpus_online; /**< at start, 1..vcpus; 0 = all */
	uint32_t reserved2;    /**< 0 */
	const pvv_interface_options *interfaces; /**< array */
	size_t nr_interfaces;			 /**< its length, 0..64 */
	size_t interface_stride; /**< sizeof(pvv_interface_options) as the caller knows it; 0 =
				    interfaces->size */
} pvv_domain_options;

/** Initial value of a pvv_domain_options. Since: 0.1 */
#define PVV_DOMAIN_OPTIONS_INIT                                                                    \
	{                                                                                          \
		sizeof(pvv_domain_options), NULL, NULL, NULL, -1, NULL, -1, NULL, 0, 0, 0, NULL,   \
			0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0                             \
	}

/**
 * Make a domain from options. It is not started. Names are not opened before the start;
 * descriptors are duplicated now.
 *
 * @param host a handle
 * @param options the description; not needed after the call
 * @param flags 0
 * @param ret_domain the domain with one reference; NULL on failure
 * @return 0, or PVV_EINVAL (which field is in the message), PVV_ELIMIT, PVV_EEXIST,
 *         PVV_EUNSUPPORTED, PVV_ENOMEM, PVV_ESYS, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_create(pvv_host *host, const pvv_domain_options *options, uint64_t flags,
			      pvv_domain **ret_domain);

PVV_END_DECLS

#endif
