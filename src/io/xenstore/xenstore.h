/* SPDX-License-Identifier: MIT */
/*
 * The in-process xenstore: one store per host handle, shared by all its domains. This is the
 * library's side of it, with the rights of domain 0; guests come in through xs_conn_new() and see
 * the wire protocol of xen/io/xs_wire.h. doc/xenstore.md has the layout and the quotas.
 *
 * Reading and changing the store is safe on any thread; functions that say "loop thread" belong to
 * the thread of the loop that the store was made with. Paths are absolute. Where a function takes
 * `dir` and `name`, it works on "dir/name", or on `dir` itself if `name` is NULL.
 */
#ifndef PVV_IO_XENSTORE_H
#define PVV_IO_XENSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/guest.h"
#include "io/loop.h"

struct xs_store;
struct xs_watch;
struct xs_conn;

int xs_store_new(struct io_loop *loop, struct xs_store **ret_store);
/* Loop thread (or after the loop ended). All connections and watches must have been removed. */
void xs_store_free(struct xs_store *store);

/* --- the tree, as domain 0 -------------------------------------------------------------------- */

/* Missing parents are created; a new node inherits its parent's permissions, owner included. */
int xs_write(struct xs_store *store, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int xs_put(struct xs_store *store, const char *dir, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int xs_write_data(struct xs_store *store, const char *path, const void *data, size_t len);

/*
 * The value, NUL-terminated beyond its length, to be freed by the caller. PVV_ENOENT if there is no
 * such node. A guest may have written it: any bytes, also NULs.
 */
int xs_read(struct xs_store *store, const char *path, char **ret_data, size_t *ret_len);
/* The value as a string; PVV_EGUEST if it contains a NUL or does not fit into `size`. */
int xs_get_str(struct xs_store *store, const char *dir, const char *name, char *buf, size_t size);
/* The value as a plain decimal number; PVV_EGUEST if it is none or exceeds `max`. */
int xs_get_uint(struct xs_store *store, const char *dir, const char *name, uint64_t max,
		uint64_t *ret_value);
bool xs_exists(struct xs_store *store, const char *path);
/* The names of the children, each with a NUL, in order of creation; free *ret_names. */
int xs_directory(struct xs_store *store, const char *path, char **ret_names, size_t *ret_len);

int xs_mkdir(struct xs_store *store, const char *path);
/* Removes the node and all below it; nothing to remove is success. */
int xs_rm(struct xs_store *store, const char *path);

/*
 * Permissions as the wire writes them, separated by blanks: "n0 r5" is owned by domain 0, no access
 * for others, except reading for domain 5.
 */
int xs_set_perms(struct xs_store *store, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Create if missing and set the permissions; nobody can come in between. */
int xs_mkdir_perms(struct xs_store *store, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* --- watches, as domain 0 --------------------------------------------------------------------- */

/*
 * `fn` runs on the loop's thread, never inside the call that made the change and with no lock held.
 * It runs once soon after xs_watch() with the watched path, then after changes at or below it with
 * the path that changed. Changes are coalesced: each path is reported at least once after its
 * latest change; and if many paths changed, one report of the watched path itself stands for all.
 * `path` may also be "@introduceDomain" or "@releaseDomain". Loop thread for both functions;
 * after xs_unwatch() (which fn itself may call) fn does not run again.
 */
typedef void xs_watch_fn(void *opaque, const char *path);
int xs_watch(struct xs_store *store, const char *path, xs_watch_fn *fn, void *opaque,
	     struct xs_watch **ret_watch);
void xs_unwatch(struct xs_store *store, struct xs_watch *watch);

/* --- domains ---------------------------------------------------------------------------------- */

/*
 * Connect a domain through its ring page (struct xenstore_domain_interface, mapped in the library)
 * and event channel; fires @introduceDomain. The page and `guest` must outlive the connection.
 * Loop thread for both. Removal drops its watches, transactions and unsent replies.
 */
int xs_conn_new(struct xs_store *store, struct io_guest *guest, void *ring_page, uint32_t port,
		struct xs_conn **ret_conn);
void xs_conn_free(struct xs_conn *conn);

/*
 * The domain is gone: its number loses all rights in the store, nodes it owns are removed, and
 * @releaseDomain fires. To be called after xs_conn_free(). Any thread.
 */
void xs_domain_release(struct xs_store *store, unsigned int domid);

/* What the library tells a new domain about itself; see doc/xenstore.md. */
struct xs_domain_info {
	unsigned int domid;
	const char *name;
	const char *uuid; /* as text; NULL: none */
	uint64_t memory_kib, max_memory_kib;
	unsigned int vcpus, max_vcpus;	   /* online at boot, at most */
	uint64_t store_mfn, console_mfn;   /* ring pages */
	uint32_t store_port, console_port; /* the guest's numbers */
	const char *console_tty;	   /* slave of a pty, NULL: none */
};
int xs_domain_write(struct xs_store *store, const struct xs_domain_info *info);
/* Removes all that xs_domain_write() wrote, and the back ends' directories for the domain. */
void xs_domain_erase(struct xs_store *store, unsigned int domid);

/* --- quotas ----------------------------------------------------------------------------------- */

/* Per domain; domain 0 has none. Defaults are xenstored's. */
struct xs_quota {
	uint32_t nodes;		    /* owned */
	uint32_t node_size;	    /* bytes of value, children's names and permissions */
	uint32_t node_perms;	    /* permission entries per node */
	uint32_t path_len;	    /* beyond /local/domain/N/ */
	uint32_t watches;	    /* registered */
	uint32_t transactions;	    /* open */
	uint32_t transaction_nodes; /* touched in one transaction */
	uint32_t requests;	    /* whose replies the guest has not read */
	uint32_t event_bytes;	    /* of watch events the guest has not read; more are dropped */
	uint64_t memory;	    /* bytes of all that the store holds for it */
};
void xs_get_quota(struct xs_store *store, struct xs_quota *ret_quota);
void xs_set_quota(struct xs_store *store, const struct xs_quota *quota);
/* A domain's own, instead of the store's. */
void xs_conn_set_quota(struct xs_conn *conn, const struct xs_quota *quota);

#endif
