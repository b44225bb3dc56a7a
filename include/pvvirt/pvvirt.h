/* SPDX-License-Identifier: MIT */
/**
 * @file pvvirt.h
 * libpvvirt: host paravirtualized (Xen PV) guests from inside any Linux program.
 *
 * Thread words used in this documentation:
 * - @thread-safe: may be called from any thread at any time.
 * - @thread-object: may be called from any thread, but not at the same time for the same object.
 * - @not-in-callback: not from inside a callback run by pvv_dispatch().
 *
 * The library never calls the program except inside pvv_dispatch(), installs no signal handler,
 * writes nothing to the standard streams, and its helper processes are invisible to waitpid(-1).
 */
#ifndef PVVIRT_PVVIRT_H
#define PVVIRT_PVVIRT_H

#include <pvvirt/macros.h>
#include <pvvirt/error.h>
#include <pvvirt/version.h>
#include <pvvirt/host.h>
#include <pvvirt/domain.h>
#include <pvvirt/options.h>
#include <pvvirt/event.h>
#include <pvvirt/stats.h>
#include <pvvirt/image.h>

#endif
