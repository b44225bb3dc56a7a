/* SPDX-License-Identifier: MIT */
/*
 * What a domain is to be: the configuration, independent of where it came from (libvirt XML, the C
 * options struct, the command line). Plain data, fully owned: every pointer is malloc'ed and
 * belongs to the struct, every descriptor >= 0 is owned (close-on-exec) and closed with it.
 *
 * Way of a configuration: config_new() (defaults) -> fill it, or xml_parse() -> config_complete()
 * (what has to be made up: uuid, MAC addresses, console 0) -> config_check() (is it consistent?)
 * -> config_check_startable() (can this build run it?). Unset strings are NULL.
 */
#ifndef PVV_DOMAIN_CONFIG_H
#define PVV_DOMAIN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_MAX_VCPUS      32u   /* CORE_MAX_VCPUS */
#define CONFIG_MAX_HOST_CPUS  1024u /* in affinity masks */
#define CONFIG_MAX_DISKS      256u
#define CONFIG_MAX_INTERFACES 64u
#define CONFIG_MAX_CONSOLES   16u
#define CONFIG_MAX_CHANNELS   64u
#define CONFIG_MAX_IPS	      64u  /* per interface */
#define CONFIG_MAX_FORWARDS   256u /* port forwards per interface, and ranges per forward */
#define CONFIG_MAX_SECLABELS  16u
#define CONFIG_NAME_MAX	      255u	   /* bytes of UTF-8 */
#define CONFIG_MEMORY_MIN     (1ull << 20) /* bytes */
#define CONFIG_MEMORY_MAX     (1ull << 40) /* bytes */
#define CONFIG_CMDLINE_MAX    1023u	   /* bytes; start_info's cmd_line without its NUL */

/*
 * Descriptors. XML never names a descriptor number (the number means something only to the process
 * that wrote it, and untrusted XML must not reach into the embedder's table): it can only say that
 * one is to be supplied.
 */
#define CONFIG_FD_NONE	  (-1)
#define CONFIG_FD_PENDING (-2) /* the embedder has to supply it before start */

struct config_cpuset { /* host CPUs; bit n of word n / 64 */
	uint64_t bits[CONFIG_MAX_HOST_CPUS / 64];
};

enum config_action { /* libvirt's numbers, virDomainLifecycleAction */
		     CONFIG_ACTION_DESTROY = 0,
		     CONFIG_ACTION_RESTART = 1,
		     CONFIG_ACTION_RENAME_RESTART = 2,
		     CONFIG_ACTION_PRESERVE = 3,
		     CONFIG_ACTION_COREDUMP_DESTROY = 4, /* on_crash only */
		     CONFIG_ACTION_COREDUMP_RESTART = 5, /* on_crash only */
};

enum config_executor {
	CONFIG_EXECUTOR_AUTO = 0,
	CONFIG_EXECUTOR_RING3,
	CONFIG_EXECUTOR_KVM,
};

enum config_tristate {
	CONFIG_UNSET = 0,
	CONFIG_ON,
	CONFIG_OFF,
};

/* ---- disks ---- */

enum config_disk_type {
	CONFIG_DISK_FILE = 0,
	CONFIG_DISK_BLOCK,
};
enum config_disk_device {
	CONFIG_DISK_DISK = 0,
	CONFIG_DISK_CDROM, /* always read-only; may have no source */
};
enum config_disk_cache {
	CONFIG_CACHE_DEFAULT = 0, /* page cache, flushes honoured */
	CONFIG_CACHE_NONE,	  /* O_DIRECT */
	CONFIG_CACHE_WRITEBACK,
	CONFIG_CACHE_WRITETHROUGH, /* each write durable before it is acknowledged */
	CONFIG_CACHE_DIRECTSYNC,   /* O_DIRECT and durable */
	CONFIG_CACHE_UNSAFE,	   /* flushes not honoured */
};
enum config_disk_discard {
	CONFIG_DISCARD_DEFAULT = 0, /* as unmap */
	CONFIG_DISCARD_IGNORE,	    /* not offered to the guest */
	CONFIG_DISCARD_UNMAP,
};
enum config_disk_io { /* a hint */
		      CONFIG_IO_DEFAULT = 0,
		      CONFIG_IO_NATIVE,
		      CONFIG_IO_THREADS,
		      CONFIG_IO_URING,
};

struct config_disk {
	enum config_disk_type type;
	enum config_disk_device device;
	char *source; /* absolute path; NULL: no medium (cdrom), or a descriptor */
	int fd;	      /* used instead of opening `source` unless CONFIG_FD_NONE */
	char *target; /* "xvda", "xvdb1", also "sda", "hda" */
	bool readonly;
	bool shareable;
	char *serial;	   /* NULL: none */
	char *driver_name; /* hint: "qemu", "phy", "file", "tap", "tap2"; NULL: none */
	char *format;	   /* NULL or "raw"; others are kept but do not start */
	enum config_disk_cache cache;
	enum config_disk_discard discard;
	enum config_disk_io io;
};

/* ---- network interfaces ---- */

enum config_net_type {
	CONFIG_NET_BRIDGE = 0,
	CONFIG_NET_ETHERNET, /* a tap device of the host, or a descriptor */
	CONFIG_NET_USER,     /* without privileges */
};

struct config_ip {
	uint8_t family; /* 4 or 6 */
	uint8_t addr[16];
	uint8_t prefix; /* bits; valid if has_prefix */
	bool has_prefix;
	bool has_peer;
	uint8_t peer[16];
};

struct config_port_range {
	uint16_t start, end; /* host ports, inclusive; start <= end, start > 0 */
	uint16_t to;	     /* guest port of `start`; 0: the same */
	bool exclude;	     /* these ports are not forwarded */
};

struct config_forward {
	bool udp;
	char *address; /* host address to listen on, canonical text; NULL: any */
	char *dev;     /* host interface to listen on; NULL: any */
	struct config_port_range *ranges;
	size_t nr_ranges; /* 0: all ports */
};

struct config_interface {
	enum config_net_type type;
	bool has_mac;
	uint8_t mac[6];
	char *source;		      /* bridge name (bridge), host interface (user); NULL: none */
	char *target;		      /* name of the tap or vif device on the host; NULL: any */
	enum config_tristate managed; /* CONFIG_OFF: `target` exists and is not to be touched */
	int fd;			      /* a tap or socket descriptor unless CONFIG_FD_NONE */
	char *script;		      /* script that sets the host side up; NULL: none */
	char *model;		      /* NULL or "netfront" */
	uint32_t mtu;		      /* 0: default */
	enum config_tristate link;    /* CONFIG_OFF: cable unplugged */
	bool passt;		      /* user: backend type='passt' asked for */
	char *log_file;		      /* user: backend's log */
	struct config_ip *ips;	      /* the guest's addresses */
	size_t nr_ips;
	struct config_forward *forwards; /* user */
	size_t nr_forwards;
};

/* ---- consoles and channels ---- */

enum config_chr_type {
	CONFIG_CHR_NULL = 0,
	CONFIG_CHR_PTY,
	CONFIG_CHR_FILE, /* path, append */
	CONFIG_CHR_UNIX, /* path, listen */
	CONFIG_CHR_TCP,	 /* host, service, listen, telnet */
	CONFIG_CHR_FD,	 /* fd; in XML: type='null' plus our own namespace */
};

struct config_chr {
	enum config_chr_type type;
	char *path;
	enum config_tristate append; /* file: default is to truncate */
	bool listen;		     /* unix, tcp: mode='bind', else 'connect' */
	char *host, *service;	     /* tcp */
	bool telnet;		     /* tcp */
	int fd;			     /* CONFIG_CHR_FD: >= 0 or CONFIG_FD_PENDING */
	char *log_file;		     /* everything the guest prints is also written here */
	enum config_tristate log_append;
};

struct config_console {
	uint32_t port; /* 0 is the console of start_info */
	struct config_chr chr;
};

struct config_channel {
	char *name;
	struct config_chr chr;
};

/* ---- the rest ---- */

struct config_vcpupin {
	uint32_t vcpu;
	struct config_cpuset cpus;
};

enum config_clock_offset {
	CONFIG_CLOCK_UTC = 0,
	CONFIG_CLOCK_LOCALTIME,
	CONFIG_CLOCK_VARIABLE, /* adjustment seconds relative to `basis` */
	CONFIG_CLOCK_ABSOLUTE, /* starts at `start` */
};

struct config_clock {
	enum config_clock_offset offset;
	bool has_adjustment;
	bool adjustment_reset; /* utc, localtime: adjustment='reset' */
	int64_t adjustment;    /* seconds */
	bool basis_localtime;  /* variable */
	uint64_t start;	       /* absolute: seconds since the epoch */
};

struct config_limits {			/* our namespace; 0: the library's default */
	uint64_t code_cache;		/* bytes of translated code (ring3) */
	uint64_t overhead;		/* bytes of host memory beyond RAM */
	uint32_t xenstore_nodes;	/* nodes the domain may own */
	uint32_t xenstore_watches;	/* */
	uint32_t xenstore_transactions; /* open at once */
};

struct config {
	char *name; /* required; no '/', no control characters */
	bool has_uuid;
	uint8_t uuid[16];
	char *title;
	char *description;
	char *metadata; /* opaque: zero or more XML elements, our own excepted */

	/* boot */
	char *kernel;
	int kernel_fd;
	char *initrd;
	int initrd_fd;
	char *cmdline;
	char *bootloader; /* used if there is no kernel; "pygrub" and the like mean PV GRUB */
	char *bootloader_args;

	/* memory, in bytes, each a multiple of 1 MiB */
	uint64_t memory;	 /* required: what the domain may use */
	uint64_t current_memory; /* balloon target at start; 0: as memory */
	uint64_t max_memory;	 /* ceiling for set_memory; 0: as memory */
	uint32_t max_memory_slots;

	/* processors */
	uint32_t vcpus;	       /* maximum, >= 1 */
	uint32_t vcpus_online; /* at start; 0: all */
	bool has_cpuset;
	struct config_cpuset cpuset;	 /* default affinity of each vCPU */
	uint32_t shares;		 /* scheduler weight; 0: default */
	uint64_t period;		 /* us, 0: none */
	int64_t quota;			 /* us per period per vCPU, 0: none, -1: unlimited */
	struct config_vcpupin *vcpupins; /* at most one per vCPU, ascending */
	size_t nr_vcpupins;

	enum config_action on_poweroff, on_reboot, on_crash;

	struct config_clock clock;

	/* features/xen: accepted, without effect on a PV guest */
	bool has_xen_features;
	enum config_tristate e820_host, passthrough;
	char *passthrough_mode; /* "sync_pt", "share_pt" */

	/* devices */
	struct config_disk *disks;
	size_t nr_disks;
	struct config_interface *interfaces;
	size_t nr_interfaces;
	struct config_console *consoles; /* ascending by port */
	size_t nr_consoles;
	struct config_channel *channels;
	size_t nr_channels;
	uint32_t max_grant_frames;   /* 0: default */
	uint32_t max_event_channels; /* 0: default */
	bool balloon;		     /* memballoon model='xen' */

	char **seclabels; /* opaque elements */
	size_t nr_seclabels;

	/* our own namespace */
	enum config_executor executor;
	bool no_brief_turns; /* of ring3: adr/0019 */
	struct config_limits limits;
};

/* A new configuration with the defaults, or NULL (PVV_ENOMEM is recorded). */
struct config *config_new(void);
/* Free it with all it owns; NULL is accepted. */
void config_free(struct config *cfg);
/* A deep copy; descriptors are duplicated. Errors: PVV_ENOMEM, PVV_ESYS. */
int config_copy(const struct config *src, struct config **ret_copy);

/* Replace an owned string by a copy of `value` (NULL: unset). */
int config_set_string(char **field, const char *value);
/* Replace an owned descriptor by a close-on-exec duplicate of `fd`. Errors: PVV_ESYS, PVV_EINVAL.
 */
int config_set_fd(int *field, int fd);

/*
 * Append an entry with its defaults and return it for filling; valid until the next add. Errors:
 * PVV_ENOMEM, PVV_ELIMIT.
 */
int config_add_disk(struct config *cfg, struct config_disk **ret_disk);
int config_add_interface(struct config *cfg, struct config_interface **ret_interface);
int config_add_console(struct config *cfg, struct config_console **ret_console);
int config_add_channel(struct config *cfg, struct config_channel **ret_channel);
int config_add_vcpupin(struct config *cfg, struct config_vcpupin **ret_pin);
int config_add_seclabel(struct config *cfg, const char *label);
int config_add_ip(struct config_interface *net, struct config_ip **ret_ip);
int config_add_forward(struct config_interface *net, struct config_forward **ret_forward);
int config_add_port_range(struct config_forward *fwd, struct config_port_range **ret_range);

/*
 * Fill in what the author left open and what must not change any more once the domain exists: a
 * random uuid, MAC addresses (00:16:3e:..., derived from the uuid), console 0 (pty),
 * current_memory, vcpus_online; sort consoles and pins. Idempotent. Errors: PVV_ENOMEM, PVV_ESYS.
 */
int config_complete(struct config *cfg);

/*
 * Is it consistent, with every value in its documented range? The same rules as xml_parse() has,
 * for configurations that did not come from XML. Errors: PVV_EINVAL, PVV_ELIMIT; the message names
 * the field by its XML element.
 */
int config_check(const struct config *cfg);

/*
 * Can this build start it? Everything that libvirt's language can say and we accept, keep and
 * print, but cannot do: image formats other than raw, descriptors that were never supplied, no
 * kernel and no bootloader. Does not look at the file system. Errors: PVV_EUNSUPPORTED, PVV_EINVAL.
 */
int config_check_startable(const struct config *cfg);

/*
 * What the guest's wall clock is ahead of the host's CLOCK_REALTIME if it starts at `now` (seconds
 * since the epoch), in ns. Within +-2^63 for a configuration that config_check() accepts.
 */
int64_t config_clock_offset_ns(const struct config_clock *clock, int64_t now);

/* Bytes rounded up to whole MiB; false if that does not fit. */
bool config_round_memory(uint64_t bytes, uint64_t *ret_bytes);

/*
 * The vbd number of a target name ("xvda" -> 202 << 8). Errors: PVV_EINVAL.
 */
int config_disk_vdev(const char *target, uint32_t *ret_vdev);

/* Affinity masks. Text is "0-3,^2,8"; formatted ascending, "0-1,3,8". */
void config_cpuset_set(struct config_cpuset *set, unsigned int cpu, bool on);
bool config_cpuset_has(const struct config_cpuset *set, unsigned int cpu);
bool config_cpuset_empty(const struct config_cpuset *set);
/* Errors: PVV_EINVAL with a message that quotes the text. */
int config_cpuset_parse(const char *text, struct config_cpuset *ret_set);
/* A malloc'ed text, NULL if out of memory. */
char *config_cpuset_format(const struct config_cpuset *set);

/* The affinity of a vCPU: its pin, else the domain's cpuset, else NULL (any). */
const struct config_cpuset *config_vcpu_affinity(const struct config *cfg, unsigned int vcpu);

/* "8-4-4-4-12"; `buf` takes 37 bytes. Parsing also takes 32 digits without dashes. */
void config_uuid_format(const uint8_t uuid[16], char buf[37]);
bool config_uuid_parse(const char *text, uint8_t ret_uuid[16]);
/* "00:16:3e:..."; `buf` takes 18 bytes. */
void config_mac_format(const uint8_t mac[6], char buf[18]);
bool config_mac_parse(const char *text, uint8_t ret_mac[6]);

/* The names XML has for enumerations; NULL for a number that is none. */
const char *config_action_name(enum config_action action);
const char *config_executor_name(enum config_executor executor);
bool config_executor_parse(const char *text, enum config_executor *ret_executor);

#endif
