/* SPDX-License-Identifier: MIT */
#include "domain/host.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/xenstore/xenstore.h"
#include "util/err.h"

static void host_free(struct pvv_host *h)
{
	if (h->store)
		xs_store_free(h->store);
	if (h->loop)
		io_loop_free(h->loop);
	event_queue_destroy(&h->events);
	pthread_mutex_destroy(&h->lock);
	pthread_mutex_destroy(&h->probe_lock);
	free(h);
}

static void *io_thread(void *opaque)
{
	struct pvv_host *h = opaque;

	io_loop_run(h->loop);
	/* Quit means that nobody refers to the host any more. */
	host_free(h);
	return NULL;
}

/* The embedder's signals stay the embedder's: our threads take none. */
static int start_thread(struct pvv_host *h)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&h->thread, NULL, io_thread, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == EPERM)
		return err_sys(PVV_ESYS, PVV_SUBSYS_API, r, NULL,
			       "cannot start the I/O thread (a seccomp filter that refuses clone3 "
			       "must answer ENOSYS, then libc takes clone)");
	if (r)
		return err_sys(PVV_ESYS, PVV_SUBSYS_API, r, NULL, "cannot start the I/O thread");
	pthread_setname_np(h->thread, "pvv-io");
	return 0;
}

int host_open(struct pvv_host **ret_host)
{
	struct pvv_host *h = calloc(1, sizeof(*h));
	int r;

	*ret_host = NULL;
	if (!h)
		return err_nomem(PVV_SUBSYS_API, "opening a host handle");
	h->pid = getpid();
	h->user_refs = 1;
	h->next_domid = 1;
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_init(&h->probe_lock, NULL);
	h->events.fd = -1;
	r = event_queue_init(&h->events);
	if (!r)
		r = io_loop_new(&h->loop);
	if (!r)
		r = xs_store_new(h->loop, &h->store);
	if (!r)
		r = start_thread(h);
	if (r < 0) {
		host_free(h);
		return r;
	}
	*ret_host = h;
	return 0;
}

void host_ref(struct pvv_host *h)
{
	pthread_mutex_lock(&h->lock);
	h->user_refs++;
	pthread_mutex_unlock(&h->lock);
}

void host_unref(struct pvv_host *h)
{
	pthread_t thread = h->thread;
	bool last;

	pthread_mutex_lock(&h->lock);
	last = --h->user_refs == 0 && h->nr_objects == 0;
	pthread_mutex_unlock(&h->lock);
	if (!last)
		return;
	if (pthread_equal(thread, pthread_self())) {
		/* The last domain ended by itself after everybody had let go. */
		pthread_detach(thread);
		io_loop_quit(h->loop);
	} else {
		io_loop_quit(h->loop);
		pthread_join(thread, NULL);
	}
}

int host_check(const struct pvv_host *h)
{
	if (h->pid != getpid())
		return err_set(PVV_EFORK, PVV_SUBSYS_API, NULL,
			       "the handle was opened by process %d before a fork; open a host of "
			       "your own in the child",
			       (int)h->pid);
	return 0;
}

void host_probe(struct pvv_host *h)
{
	pthread_mutex_lock(&h->probe_lock);
	if (!h->probed) {
		exec_ring3.probe(&h->probe_ring3);
		exec_kvm.probe(&h->probe_kvm);
		h->probed = true;
	}
	pthread_mutex_unlock(&h->probe_lock);
}

const struct exec_ops *host_choose_executor(struct pvv_host *h, enum config_executor want,
					    const char *domain)
{
	host_probe(h);
	if (want != CONFIG_EXECUTOR_RING3 && h->probe_kvm.available)
		return &exec_kvm;
	if (want != CONFIG_EXECUTOR_KVM && h->probe_ring3.available)
		return &exec_ring3;
	const struct exec_probe *why =
		want == CONFIG_EXECUTOR_KVM ? &h->probe_kvm : &h->probe_ring3;
	err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_EXEC, domain,
		"domain '%s' cannot start: the %s executor is not available on this host: %s",
		domain, want == CONFIG_EXECUTOR_KVM ? "kvm" : "ring3", why->reason);
	return NULL;
}

unsigned int host_take_domid(struct pvv_host *h)
{
	/* Ids are used again as late as possible: tools remember them for a while. */
	for (unsigned int i = 0; i < DOMID_LAST; i++) {
		unsigned int id = h->next_domid;

		h->next_domid = id == DOMID_LAST ? 1 : id + 1;
		if (!(h->domids_used[id / 64] & 1ull << (id % 64))) {
			h->domids_used[id / 64] |= 1ull << (id % 64);
			return id;
		}
	}
	return 0;
}

void host_put_domid(struct pvv_host *h, unsigned int domid)
{
	h->domids_used[domid / 64] &= ~(1ull << (domid % 64));
}
