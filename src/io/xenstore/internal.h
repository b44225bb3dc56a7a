/* SPDX-License-Identifier: MIT */
/*
 * The inside of the store. Everything here is called with the store's lock held unless it says
 * otherwise, and reports failures as positive errno values, for those are what the wire speaks.
 *
 * A path is a pointer and a length, without a NUL; it is absolute and valid (xsp_resolve()).
 */
#ifndef PVV_IO_XENSTORE_INTERNAL_H
#define PVV_IO_XENSTORE_INTERNAL_H

#include <errno.h> /* before xs_wire.h, which builds its table of names from it */
#include <pthread.h>
#include <stdint.h>
#include <sys/queue.h>

#include <xen/xen.h>
#include <xen/io/xs_wire.h>

#include "io/xenstore/xenstore.h"

/* --- nodes (node.c) --------------------------------------------------------------------------- */

enum { XS_PERM_R = 1, XS_PERM_W = 2, XS_PERM_OWNER = 4 };

struct xs_perm {
	uint32_t domid;
	uint32_t bits; /* XS_PERM_R, XS_PERM_W */
};

/*
 * The state of a node: never changed once made, only replaced, so that transactions can share it
 * with the store. The children are names with a NUL each, oldest first, as DIRECTORY sends them.
 */
struct xs_node {
	uint32_t refs;
	uint32_t nr_perms; /* at least 1: the owner, whose bits hold for all who are not listed */
	uint32_t data_len;
	uint32_t child_len;
	uint64_t generation; /* of the store's last change to this node */
	struct xs_perm perms[];
};

static inline const char *xsn_data(const struct xs_node *n)
{
	return (const char *)(n->perms + n->nr_perms);
}

static inline const char *xsn_children(const struct xs_node *n)
{
	return xsn_data(n) + n->data_len;
}

struct xs_node *xsn_new(const struct xs_perm *perms, uint32_t nr_perms, const void *data,
			uint32_t data_len, const char *children, uint32_t child_len);
struct xs_node *xsn_ref(struct xs_node *n);
void xsn_unref(struct xs_node *n);
/* Copies with one thing changed; NULL if memory is exhausted. */
struct xs_node *xsn_with_data(const struct xs_node *n, const void *data, uint32_t len);
struct xs_node *xsn_with_perms(const struct xs_node *n, const struct xs_perm *perms, uint32_t nr);
struct xs_node *xsn_with_child(const struct xs_node *n, const char *name, size_t len);
struct xs_node *xsn_without_child(const struct xs_node *n, const char *name, size_t len);
/* What counts against quota.node_size: xenstored's record, which tests of guests can observe. */
size_t xsn_quota_size(const struct xs_node *n);
/* Bytes of memory. */
size_t xsn_memory(const struct xs_node *n);

/* --- permissions (perms.c) -------------------------------------------------------------------- */

#define XS_PERMS_MAX 64u

struct xs_client;
uint32_t xsp_bits(const struct xs_client *client, const struct xs_perm *perms, uint32_t nr);
/* `len` bytes of strings, each ended by `sep` or the end; EINVAL, or E2BIG beyond XS_PERMS_MAX. */
int xsp_parse(const char *s, size_t len, char sep, struct xs_perm perms[XS_PERMS_MAX],
	      uint32_t *ret_nr);
/* Writes "n0\0r5\0"; returns the length, 0 if it does not fit. */
size_t xsp_format(const struct xs_perm *perms, uint32_t nr, char *buf, size_t size);

/* --- paths (path.c) --------------------------------------------------------------------------- */

#define XS_PATH_BUF (XENSTORE_PAYLOAD_MAX + 32u)

/* The client's path made absolute and checked, into `buf`. Special: "@..." is allowed too. */
int xsp_resolve(const struct xs_client *client, const char *path, bool special,
		char buf[XS_PATH_BUF], size_t *ret_len);
/* Length of the parent's path; 0 for "/" and special names. */
size_t xsp_parent(const char *path, size_t len);
/* The last component. */
const char *xsp_leaf(const char *path, size_t len, size_t *ret_len);
uint64_t xsp_hash(const uint64_t key[2], const char *path, size_t len);

/* --- the store -------------------------------------------------------------------------------- */

/* One node of the store, or one that a transaction has touched. */
struct xs_entry {
	struct xs_entry *next; /* in its bucket */
	uint64_t hash;
	struct xs_node *node; /* NULL: there is none (in a transaction only) */
	uint32_t len;
	char path[];
};

struct xs_map {
	struct xs_entry **buckets;
	size_t nr_buckets; /* a power of 2 */
	size_t nr;
};

int xsm_init(struct xs_map *map, size_t buckets);
void xsm_free(struct xs_map *map, void (*free_entry)(struct xs_entry *));
struct xs_entry *xsm_find(const struct xs_map *map, uint64_t hash, const char *path, size_t len);
void xsm_add(struct xs_map *map, struct xs_entry *e);
void xsm_del(struct xs_map *map, struct xs_entry *e);

/* What a domain holds; made when first needed, gone with its last node and its connection. */
struct xs_domain {
	struct xs_domain *next;
	unsigned int domid;
	uint32_t nodes;
	uint64_t memory;
	struct xs_client *client; /* its connection, if introduced */
};

struct xs_tx_entry {
	TAILQ_ENTRY(xs_tx_entry) link; /* by first access */
	struct xs_node *base;	       /* the store's node at the first access, NULL: none */
	uint64_t base_generation;
	bool modified;
	bool fire, exact;	/* watches to fire at the commit */
	struct xs_entry *fresh; /* during the commit */
	struct xs_entry e;	/* last: it ends in the path */
};

struct xs_tx {
	TAILQ_ENTRY(xs_tx) link;
	struct xs_client *client;
	uint32_t id;
	uint32_t touched;
	bool failed;	    /* lacks an access that met a quota: cannot be committed */
	int64_t node_delta; /* nodes of the client's own it adds */
	uint64_t memory;    /* charged to the client's domain */
	struct xs_map map;
	TAILQ_HEAD(, xs_tx_entry) entries;
};

struct xs_event { /* for an internal subscriber */
	TAILQ_ENTRY(xs_event) link;
	TAILQ_ENTRY(xs_event) watch_link;
	struct xs_watch *watch;
	bool queued;
	char *path; /* points behind the struct; NULL: the path of the watch */
};

struct xs_watch {
	TAILQ_ENTRY(xs_watch) client_link;
	TAILQ_ENTRY(xs_watch) bucket_link;
	struct xs_client *client;
	uint64_t hash, serial;
	uint32_t len;	   /* of path */
	uint32_t relative; /* length of the prefix to be cut from events' paths */
	const char *token; /* a guest's */
	xs_watch_fn *fn;   /* an internal subscriber's, and the rest too */
	void *opaque;
	uint32_t nr_events;
	TAILQ_HEAD(, xs_event) events;
	struct xs_event all; /* "anything may have changed" */
	char path[];	     /* then the token */
};
TAILQ_HEAD(xs_watch_list, xs_watch);

/* Someone who makes requests: domain 0's side of the library, or a guest's connection. */
struct xs_client {
	struct xs_store *store;
	struct xs_domain *domain;
	unsigned int domid;
	bool privileged;
	const struct xs_quota *quota; /* the store's, or its own */
	uint32_t nr_watches, nr_transactions;
	uint32_t next_tx;
	int last_error; /* why the latest path that failed did; see only_path() */
	struct xs_watch_list watches;
	TAILQ_HEAD(, xs_tx) transactions;
	/* Deliver a watch event; a guest's only. */
	void (*event)(struct xs_client *client, const struct xs_watch *watch, const char *path,
		      size_t len);
};

#define XS_DOMAIN_BUCKETS 64u
#define XS_WATCH_BUCKETS  512u

struct xs_store {
	pthread_mutex_t lock;
	struct io_loop *loop;
	uint64_t hash_key[2];
	struct xs_quota quota;
	struct xs_map map;
	uint64_t generation;
	struct xs_domain *domains[XS_DOMAIN_BUCKETS];
	struct xs_client dom0;

	/* watch.c */
	struct xs_watch_list watch_buckets[XS_WATCH_BUCKETS];
	uint64_t watch_serial;
	uint64_t fired; /* watches that were met, ever */
	size_t nr_watches;
	struct xs_watch **matches; /* room for all watches, so that firing cannot fail */
	size_t matches_size;
	TAILQ_HEAD(, xs_event) events;
	struct io_work deliver;

	char path[XS_PATH_BUF];		  /* of the request that is being served */
	char reply[XENSTORE_PAYLOAD_MAX]; /* likewise */
};

/* --- domains and quotas (domain.c) ------------------------------------------------------------ */

struct xs_domain *xsd_get(struct xs_store *store, unsigned int domid); /* NULL: no memory */
struct xs_domain *xsd_find(struct xs_store *store, unsigned int domid);
/* Free it if nothing refers to it any more. */
void xsd_put(struct xs_store *store, struct xs_domain *d);
int xs_client_init(struct xs_client *c, struct xs_store *store, unsigned int domid);
/* Drops its watches and transactions. */
void xs_client_reset(struct xs_client *c);
void xs_client_end(struct xs_client *c);
/* ENOMEM if `bytes` more would exceed an unprivileged client's quota. */
int xsd_check_memory(const struct xs_client *c, uint64_t bytes);

/* --- the tree as a client sees it, in the store or a transaction (tree.c, ops.c) ---------------
 */

/* *ret_node is borrowed, valid until the next change; NULL if there is no such node. */
int xst_lookup(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len,
	       struct xs_node **ret_node);
/* The store's node, NULL if there is none. */
struct xs_node *xst_find(struct xs_store *store, const char *path, size_t len);
struct xs_entry *xst_new_entry(struct xs_store *store, const char *path, size_t len);
/* Put a node into the store; `fresh` is the entry for a new one, NULL to have it allocated. */
int xst_store(struct xs_store *store, const char *path, size_t len, struct xs_node *node,
	      struct xs_entry *fresh);
/* Store `node` (the reference is taken over, also on failure). */
int xst_put(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len,
	    struct xs_node *node);
void xst_del(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len);

/* The node, if the client has all of `bits` on it. */
int xst_get(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len, uint32_t bits,
	    struct xs_node **ret_node);
int xst_write(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len, const void *data,
	      uint32_t data_len);
int xst_mkdir(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len);
int xst_rm(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len);
int xst_set_perms(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len,
		  const struct xs_perm *perms, uint32_t nr_perms);

/* --- transactions (transaction.c) ------------------------------------------------------------- */

int xsx_start(struct xs_client *c, uint32_t *ret_id);
struct xs_tx *xsx_find(struct xs_client *c, uint32_t id);
/* Ends it in any case; EAGAIN if it conflicts with what others did meanwhile. */
int xsx_commit(struct xs_tx *tx);
void xsx_abort(struct xs_tx *tx);
/* The transaction's record of a path, made on its first access. */
int xsx_access(struct xs_tx *tx, const char *path, size_t len, struct xs_tx_entry **ret_entry);

/* --- watches (watch.c) ------------------------------------------------------------------------ */

int xsw_add(struct xs_client *c, const char *path, size_t len, uint32_t relative, const char *token,
	    struct xs_watch **ret_watch);
void xsw_del(struct xs_watch *w);
struct xs_watch *xsw_find(struct xs_client *c, const char *path, size_t len, const char *token);
/*
 * A change at `path`: tell the watches at it and above it, or `exact`ly at it, whose client may
 * read the node as it was, as it is, or its parent. In a transaction it is noted for the commit.
 */
void xsw_fire(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len, bool exact,
	      const struct xs_node *before, const struct xs_node *after);
void xsw_fire_special(struct xs_store *store, const char *name);
/* Queue an event for an internal subscriber. */
void xsw_queue(struct xs_watch *w, const char *path, size_t len);
void xsw_deliver(void *store); /* takes the lock */

/* --- the wire (request.c) --------------------------------------------------------------------- */

/*
 * Serve one request whose payload is data[0..len), len <= XENSTORE_PAYLOAD_MAX; the caller has put
 * a NUL at data[len]. The reply goes to *ret_data (valid until the next request), its type is
 * returned. A new watch whose first event is due after the reply is put into *ret_watch.
 */
uint32_t xsq_serve(struct xs_client *c, uint32_t type, uint32_t tx_id, char *data, uint32_t len,
		   const void **ret_data, uint32_t *ret_len, struct xs_watch **ret_watch);
const char *xsq_error_name(int errnum);

#endif
