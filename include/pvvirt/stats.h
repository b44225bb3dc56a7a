/* SPDX-License-Identifier: MIT */
/**
 * @file stats.h
 * Statistics. All counters start at 0 when the guest starts and only grow while it is active; after
 * its end the last values can still be read.
 */
#ifndef PVVIRT_STATS_H
#define PVVIRT_STATS_H

#include <stddef.h>
#include <stdint.h>

#include <pvvirt/domain.h>
#include <pvvirt/macros.h>

PVV_BEGIN_DECLS

/** Counters of a domain; set `size` before the call. Since: 0.1 */
typedef struct pvv_domain_stats {
	size_t size;
	uint64_t cpu_time_ns;	  /**< processor time of all vCPUs */
	uint64_t memory;	  /**< bytes of RAM the guest has */
	uint64_t hypercalls;	  /**< served */
	uint64_t exits_exception; /**< exceptions, and system calls of guest programs */
	uint64_t exits_emulate;	  /**< privileged instructions emulated */
	uint64_t exits_kick;	  /**< interruptions by the library */
	uint64_t exits_block;	  /**< times a vCPU went to sleep */
	uint64_t page_faults;	  /**< given to the guest, or answered by the executor */
	uint64_t events;	  /**< event-channel upcalls delivered */
	uint64_t console_out;	  /**< bytes written to console 0 */
	uint64_t console_in;	  /**< bytes read from console 0 */
	uint64_t overhead_memory; /**< bytes of host memory beyond guest RAM */
	uint64_t resident_memory; /**< bytes of host memory that hold guest RAM now: what was never
				       touched, or given back, does not count */
	uint64_t vm_exits;	  /**< kvm: times a processor left the VM */
	uint64_t vm_exits_io;	  /**< of these: notifications of back ends, requests */
	uint64_t vm_exits_halt;	  /**< of these: the vCPU became idle */
	uint64_t vm_exits_interrupt; /**< of these: the host was interrupted meanwhile */
	uint64_t vm_exits_memory;    /**< of these: RAM that the host had to provide */
	uint64_t vm_exits_user;	     /**< of these: came back to the library's thread */
	uint64_t cpu_moves; /**< ring3: times the vCPU was bound to a processor of the host that was
				 idle, for it had to share its own */
	uint64_t brief_turns; /**< ring3: turns of guest programs that were so short that they were
				   interpreted, without a hand-over to the program's process */
	uint64_t user_turns;  /**< ring3: those that the program's process executed */
} pvv_domain_stats;

/** Counters of a disk; set `size` before the call. Since: 0.1 */
typedef struct pvv_block_stats {
	size_t size;
	uint64_t rd_req, rd_bytes, rd_time_ns;
	uint64_t wr_req, wr_bytes, wr_time_ns;
	uint64_t flush_req, discard_req;
	uint64_t errors;
} pvv_block_stats;

/**
 * Counters of a network interface, as the guest sees it: rx is what it received; set `size` before
 * the call. Since: 0.1
 */
typedef struct pvv_interface_stats {
	size_t size;
	uint64_t rx_bytes, rx_packets;
	uint64_t rx_errors;  /**< frames that could not be given to the guest */
	uint64_t rx_dropped; /**< frames of a kind or size that the guest does not take */
	uint64_t tx_bytes, tx_packets;
	uint64_t tx_errors;  /**< malformed packets */
	uint64_t tx_dropped; /**< packets that the host did not take */
} pvv_interface_stats;

/**
 * Read a domain's counters.
 *
 * @param flags 0
 * @param stats `size` set by the caller
 * @return 0, or PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_stats(pvv_domain *domain, uint64_t flags, pvv_domain_stats *stats);

/**
 * Read a disk's counters.
 *
 * @param target the disk's name in the guest, "xvda"
 * @param flags 0
 * @param stats `size` set by the caller
 * @return 0, or PVV_ENOENT (no such disk), PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_block_stats(pvv_domain *domain, const char *target, uint64_t flags,
				       pvv_block_stats *stats);

/**
 * Read a network interface's counters.
 *
 * @param interface the MAC address, the name of the target device on the host, or the number in the
 *        order of the description: "0"
 * @param flags 0
 * @param stats `size` set by the caller
 * @return 0, or PVV_ENOENT (no such interface), PVV_EINVAL, PVV_EFORK
 * @thread-safe
 * Since: 0.1
 */
PVV_API int pvv_domain_get_interface_stats(pvv_domain *domain, const char *interface,
					   uint64_t flags, pvv_interface_stats *stats);

PVV_END_DECLS

#endif
