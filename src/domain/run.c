/* SPDX-License-Identifier: MIT */
/* One incarnation on the I/O thread: putting the guest into its sandbox, watching it, ending it. */
#include "domain/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/sched.h>

#include "domain/consoles.h"
#include "domain/memory.h"

#define RELEASE_APART (64ull << 20) /* bytes; some milliseconds */

struct run *run_new(struct pvv_domain *d, bool start_paused)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r) {
		err_nomem(PVV_SUBSYS_DOMAIN, "starting a domain");
		return NULL;
	}
	r->d = d;
	r->h = d->host;
	r->start_paused = start_paused;
	r->kernel_fd = r->initrd_fd = -1;
	r->mem.fd = -1;
	return r;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void run_free(struct run *r)
{
	for (size_t i = 0; i < r->nr_disks; i++)
		blk_image_free(r->disks[i].image);
	free(r->disks);
	run_free_nets(r);
	close_fd(&r->kernel_fd);
	close_fd(&r->initrd_fd);
	if (r->ops)
		r->ops->destroy(r->exec);
	guest_free(r->guest);
	memory_destroy(&r->mem);
	free(r);
}

/* ---- watching ---- */

/* What the guest printed by console_io: its last words when nothing else works yet. */
static void drain_debug(struct run *r)
{
	struct core_ctl *ctl = memory_ctl(&r->mem);
	uint64_t prod = __atomic_load_n(&ctl->debug_prod, __ATOMIC_ACQUIRE);
	char line[256];
	size_t n = 0;

	if (prod - r->debug_cons > CORE_DEBUG_RING)
		r->debug_cons = prod - CORE_DEBUG_RING;
	while (r->debug_cons != prod) {
		char ch = (char)__atomic_load_n(&ctl->debug_ring[r->debug_cons++ % CORE_DEBUG_RING],
						__ATOMIC_RELAXED);
		bool end = ch == '\n' || n == sizeof(line) - 1;

		if (ch != '\n' && ch != '\r')
			line[n++] = ch >= ' ' || ch == '\t' ? ch : '?';
		if ((end || r->debug_cons == prod) && n) {
			log_post(&r->h->events, PVV_LOG_INFO, r->d->name, "guest: %.*s", (int)n,
				 line);
			n = 0;
		}
	}
	__atomic_store_n(&ctl->debug_cons, r->debug_cons, __ATOMIC_RELEASE);
}

/* Written by the monitor: copy once, end it, keep it printable. */
static void read_reason(const struct core_ctl *ctl, char text[CORE_REASON_MAX])
{
	memcpy(text, ctl->reason, CORE_REASON_MAX);
	text[CORE_REASON_MAX - 1] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
}

static void stop_by_state(struct run *r, uint32_t state)
{
	struct core_ctl *ctl = memory_ctl(&r->mem);
	char text[CORE_REASON_MAX];

	if (state == CORE_STATE_CRASHED) {
		read_reason(ctl, text);
		run_stop(r, RUN_END_FAULT, text);
		return;
	}
	switch (__atomic_load_n(&ctl->shutdown_code, __ATOMIC_ACQUIRE)) {
	case SHUTDOWN_poweroff:
		run_stop(r, RUN_END_POWEROFF, "");
		break;
	case SHUTDOWN_reboot:
	case SHUTDOWN_soft_reset:
		run_stop(r, RUN_END_REBOOT, "");
		break;
	case SHUTDOWN_crash:
		run_stop(r, RUN_END_PANIC, "the guest reported a crash (SHUTDOWN_crash)");
		break;
	case SHUTDOWN_watchdog:
		run_stop(r, RUN_END_FAULT, "the guest's watchdog expired");
		break;
	case SHUTDOWN_suspend:
		run_stop(r, RUN_END_POWEROFF,
			 "the guest suspended itself, which is treated as power-off");
		break;
	default:
		run_stop(r, RUN_END_FAULT, "the guest shut down with an unknown code");
	}
}

/* Did the monitor change the domain's state? */
static void look_at_state(struct run *r)
{
	struct pvv_domain *d = r->d;
	uint32_t state = __atomic_load_n(&memory_ctl(&r->mem)->run_state, __ATOMIC_ACQUIRE);

	if (state == CORE_STATE_SHUTDOWN || state == CORE_STATE_CRASHED) {
		stop_by_state(r, state);
		return;
	}
	pthread_mutex_lock(&d->lock);
	bool ack = state == CORE_STATE_PAUSED && __atomic_load_n(&memory_ctl(&r->mem)->pause_ack,
								 __ATOMIC_SEQ_CST) == r->pause_seq;
	if (ack != d->paused_ack) {
		d->paused_ack = ack;
		pthread_cond_broadcast(&d->changed);
	}
	pthread_mutex_unlock(&d->lock);
}

static void on_doorbell(void *opaque, uint32_t events)
{
	struct run *r = opaque;

	r->ops->doorbell_clear(r->exec);
	/* First this: it allows the next ring, and what is asked for behind our back comes with
	 * one. */
	guest_doorbell(r->guest);
	run_start_vcpus(r);
	if (r->ending)
		return;
	drain_debug(r);
	look_at_state(r);
}

static void describe_end(struct run *r, const struct exec_end *end, uint32_t state, char *text,
			 size_t size)
{
	char reason[CORE_REASON_MAX];

	if (end->signal == SIGSYS) {
		snprintf(text, size,
			 "the sandbox made a system call that it may not make and was ended");
	} else if (end->signal == SIGKILL) {
		snprintf(text, size,
			 "the sandbox process was killed: by somebody, or by the host because its "
			 "memory, or that of the control group, was used up");
	} else if (end->signal) {
		snprintf(text, size, "the sandbox process was ended by signal %d (%s)", end->signal,
			 sigdescr_np(end->signal) ? sigdescr_np(end->signal) : "unknown");
	} else if (state == CORE_STATE_NEW) {
		read_reason(memory_ctl(&r->mem), reason);
		snprintf(text, size, "the sandbox process could not set itself up (status %d)%s%s",
			 end->status, end->why || reason[0] ? ": " : "",
			 end->why ? end->why : reason);
	} else if (end->why) {
		snprintf(text, size, "the sandbox was ended: %s", end->why);
	} else {
		snprintf(text, size, "the sandbox process ended by itself (status %d)",
			 end->status);
	}
}

static void on_end(void *opaque, uint32_t events)
{
	struct run *r = opaque;
	struct exec_end end = {0};
	char text[REASON_TEXT_MAX];
	uint32_t state;

	if (r->ops->end_collect(r->exec, &end) == PVV_EAGAIN)
		return;
	guest_doorbell(r->guest);
	drain_debug(r);
	state = __atomic_load_n(&memory_ctl(&r->mem)->run_state, __ATOMIC_ACQUIRE);
	if (state == CORE_STATE_SHUTDOWN || state == CORE_STATE_CRASHED) {
		stop_by_state(r, state);
		return;
	}
	describe_end(r, &end, state, text, sizeof(text));
	run_stop(r, state == CORE_STATE_NEW ? RUN_END_FAILED : RUN_END_FAULT, text);
}

/* ---- beginning ---- */

static int start_sandbox(struct run *r)
{
	struct exec_params ep = {
		.name = r->d->name,
		.memory = &r->mem,
		.nr_vcpus = r->boot.nr_vcpus,
		.shares = r->d->cfg->shares,
		.code_cache = r->d->cfg->limits.code_cache,
		.no_brief_turns = r->d->cfg->no_brief_turns,
	};
	struct core_ctl *ctl = memory_ctl(&r->mem);
	int ret;

	for (unsigned int i = 0; i < r->boot.nr_vcpus && i < CORE_MAX_VCPUS; i++) {
		const struct config_cpuset *cpus = config_vcpu_affinity(r->d->cfg, i);

		ep.affinity[i] = cpus ? cpus->bits : NULL;
	}
	r->boot.domid = r->domid;
	ctl->boot = r->boot;
	if (r->d->live_memory) /* a reboot; changes come on this thread only */
		run_limit_memory(r, r->d->live_memory);
	if (r->start_paused)
		ctl->request = CORE_REQ_PAUSE;
	ret = r->ops->start(&ep, &r->exec);
	if (ret < 0)
		return ret;
	guest_attach(r->guest, r->ops, r->exec);
	ret = io_loop_add_fd(r->h->loop, r->ops->doorbell_fd(r->exec), EPOLLIN, on_doorbell, r,
			     &r->doorbell_reg);
	if (!ret)
		ret = io_loop_add_fd(r->h->loop, r->ops->end_fd(r->exec), EPOLLIN, on_end, r,
				     &r->end_reg);
	return ret;
}

/* <pvvirt:limits> */
static void limit_store(struct run *r)
{
	const struct config_limits *l = &r->d->cfg->limits;
	struct xs_quota quota;

	xs_get_quota(r->h->store, &quota);
	if (l->xenstore_nodes)
		quota.nodes = l->xenstore_nodes;
	if (l->xenstore_watches)
		quota.watches = l->xenstore_watches;
	if (l->xenstore_transactions)
		quota.transactions = l->xenstore_transactions;
	xs_conn_set_quota(r->xs, &quota);
}

static int attach_guest(struct run *r)
{
	struct pvv_domain *d = r->d;
	struct guest_params gp = {
		.domid = r->domid,
		.name = d->name,
		.memory = &r->mem,
		.boot = &r->boot,
	};
	void *page;
	int ret;

	ret = guest_new(&gp, &r->guest);
	if (ret < 0)
		return ret;
	struct xs_domain_info info = {
		.domid = r->domid,
		.name = d->name,
		.uuid = d->uuid,
		.memory_kib = r->boot.nr_pages << 2,
		.max_memory_kib = r->boot.max_pages << 2,
		.vcpus = domain_target_vcpus(d),
		.max_vcpus = d->cfg->vcpus,
		.store_mfn = r->boot.ram_first + r->layout.region[BUILD_STORE].pfn,
		.store_port = r->boot.store_port,
		.console_mfn = r->boot.ram_first + r->layout.region[BUILD_CONSOLE].pfn,
		.console_port = r->boot.console_port,
	};
	ret = io_frame_map(r->guest, info.console_mfn, &page);
	if (!ret)
		ret = consoles_attach(d->consoles, r->guest, page, info.console_port);
	if (ret < 0)
		return ret;
	r->consoles_attached = true;
	info.console_tty = consoles_tty(d->consoles, 0);
	ret = xs_domain_write(r->h->store, &info);
	if (ret < 0)
		return ret;
	r->in_store = true;
	ret = io_frame_map(r->guest, info.store_mfn, &page);
	if (!ret)
		ret = xs_conn_new(r->h->store, r->guest, page, info.store_port, &r->xs);
	if (!ret)
		limit_store(r);
	if (!ret)
		ret = consoles_attach_devices(d->consoles, r->guest, r->h->store);
	if (!ret)
		ret = run_attach_devices(r);
	return ret;
}

void run_attach(struct run *r)
{
	struct pvv_domain *d = r->d;
	struct pvv_error e;
	int ret;

	if (r->cancelled) {
		run_stop(r, RUN_END_DESTROYED, "");
		return;
	}
	if (r->error.code) {
		run_stop(r, RUN_END_FAILED, r->error.message);
		return;
	}
	r->started_ns = io_now_ns();
	r->domid = host_take_domid(r->h);
	ret = r->domid ? attach_guest(r)
		       : err_set(PVV_ELIMIT, PVV_SUBSYS_DOMAIN, d->name,
				 "domain '%s' cannot start: all %u domain ids are in use", d->name,
				 DOMID_LAST);
	if (!ret)
		ret = start_sandbox(r);
	if (ret < 0) {
		err_save(&e);
		run_stop(r, RUN_END_FAILED, e.message);
		return;
	}
	run_watch(r);
	pthread_mutex_lock(&d->lock);
	d->id = (int)r->domid;
	d->executor = r->ops == &exec_kvm ? 2 : 1;
	d->paused_ack = false;
	d->want_paused = r->start_paused;
	d->state = r->start_paused ? PVV_DOMAIN_PAUSED : PVV_DOMAIN_RUNNING;
	d->reason = r->start_paused ? PVV_PAUSED_USER : PVV_RUNNING_BOOTED;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	domain_post(d, PVV_EVENT_STARTED, PVV_EVENT_STARTED_BOOTED, "");
}

/* ---- end ---- */

void run_stop(struct run *r, enum run_end why, const char *text)
{
	if (r->ending)
		return;
	r->ending = true;
	r->end = why;
	snprintf(r->end_text, sizeof(r->end_text), "%s", text);

	run_unwatch(r);
	if (r->end_reg)
		io_loop_del_fd(r->h->loop, r->end_reg);
	if (r->doorbell_reg)
		io_loop_del_fd(r->h->loop, r->doorbell_reg);
	if (r->exec) {
		domain_refresh_stats(r->d);
		r->ops->kill(r->exec);
	}
	domain_set_state(r->d, PVV_DOMAIN_SHUTDOWN, 0);
	if (why == RUN_END_POWEROFF || why == RUN_END_REBOOT)
		domain_post(r->d, PVV_EVENT_SHUTDOWN,
			    why == RUN_END_REBOOT ? PVV_EVENT_SHUTDOWN_REBOOT
						  : PVV_EVENT_SHUTDOWN_POWEROFF,
			    text);
	if (r->guest)
		guest_detach(r->guest);
	/* The guest is dead, its rings are not: what it wrote into them last still counts. */
	if (r->consoles_attached)
		consoles_detach(r->d->consoles);
	if (r->xs)
		xs_conn_free(r->xs);
	r->xs = NULL;
	run_detach_devices(r);
}

static void released(void *opaque)
{
	run_finished(opaque);
}

static void *release(void *opaque)
{
	struct run *r = opaque;

	pthread_setname_np(pthread_self(), "pvv-release");
	memory_destroy(&r->mem);
	r->work.fn = released;
	r->work.opaque = r;
	io_loop_post(r->h->loop, &r->work);
	return NULL;
}

void run_devices_gone(struct run *r)
{
	if (r->in_store) {
		xs_domain_erase(r->h->store, r->domid);
		xs_domain_release(r->h->store, r->domid);
	}
	if (r->domid)
		host_put_domid(r->h, r->domid);
	/* Nothing of it touches the memory from here on. */
	if (r->ops)
		r->ops->destroy(r->exec);
	r->exec = NULL;
	guest_free(r->guest);
	r->guest = NULL;
	/* To give pages back takes long, and this thread serves other domains. */
	if (memory_resident(&r->mem) < RELEASE_APART || run_thread(r, release) != 0)
		run_finished(r);
}
