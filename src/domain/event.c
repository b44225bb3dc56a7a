/* SPDX-License-Identifier: MIT */
#include "domain/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util/err.h"

int event_queue_init(struct event_queue *q)
{
	memset(q, 0, sizeof(*q));
	q->tail = &q->head;
	q->log_tail = &q->log_head;
	q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->fd < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_API, errno, NULL,
			       "cannot create the descriptor of the event queue");
	pthread_mutex_init(&q->lock, NULL);
	return 0;
}

void event_queue_destroy(struct event_queue *q)
{
	if (q->fd < 0)
		return;
	for (struct pvv_event *e = q->head, *n; e; e = n) {
		n = e->next;
		free(e);
	}
	for (struct log_entry *l = q->log_head, *n; l; l = n) {
		n = l->next;
		free(l);
	}
	close(q->fd);
	q->fd = -1;
	pthread_mutex_destroy(&q->lock);
}

/* The descriptor is readable exactly while something waits. Called with the lock held. */
static void update_fd(struct event_queue *q, bool was_waiting)
{
	bool waiting = q->head || q->log_head || q->lost;
	uint64_t n = 1;

	if (waiting == was_waiting)
		return;
	if (waiting ? write(q->fd, &n, sizeof(n)) < 0 : read(q->fd, &n, sizeof(n)) < 0)
		return; /* cannot happen: the counter is 0 or 1 */
}

static bool is_waiting(const struct event_queue *q)
{
	return q->head || q->log_head || q->lost;
}

static struct pvv_event *event_make(pvv_event_type type, int detail, const char *name,
				    const char *uuid, const char *text)
{
	struct pvv_event *e = calloc(1, sizeof(*e));
	struct timespec ts;

	if (!e)
		return NULL;
	e->type = type;
	e->detail = detail;
	clock_gettime(CLOCK_REALTIME, &ts);
	e->time_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	snprintf(e->name, sizeof(e->name), "%s", name ? name : "");
	snprintf(e->uuid, sizeof(e->uuid), "%s", uuid ? uuid : "");
	snprintf(e->text, sizeof(e->text), "%s", text ? text : "");
	return e;
}

void event_post(struct event_queue *q, pvv_event_type type, int detail, const char *name,
		const char *uuid, const char *text)
{
	struct pvv_event *e = event_make(type, detail, name, uuid, text);

	/* What a guest can cause again and again must not push out the ends of other domains. */
	unsigned int room = type == PVV_EVENT_IO_ERROR ? EVENT_QUEUE_MAX / 2 : EVENT_QUEUE_MAX;

	pthread_mutex_lock(&q->lock);
	bool was = is_waiting(q);
	if (!e || q->nr >= room) {
		q->lost++;
		free(e);
	} else {
		*q->tail = e;
		q->tail = &e->next;
		q->nr++;
	}
	update_fd(q, was);
	pthread_mutex_unlock(&q->lock);
}

struct pvv_event *event_take(struct event_queue *q)
{
	struct pvv_event *e;

	pthread_mutex_lock(&q->lock);
	bool was = is_waiting(q);
	e = q->head;
	if (e) {
		q->head = e->next;
		if (!q->head)
			q->tail = &q->head;
		q->nr--;
		e->next = NULL;
	} else if (q->lost) {
		/* Behind the last event that was kept. */
		e = event_make(PVV_EVENT_LOST, (int)q->lost, NULL, NULL,
			       "events were dropped because nobody took them");
		if (e)
			q->lost = 0;
	}
	update_fd(q, was);
	pthread_mutex_unlock(&q->lock);
	return e;
}

void log_post(struct event_queue *q, pvv_log_level level, const char *domain, const char *fmt, ...)
{
	struct log_entry *l;
	va_list ap;

	pthread_mutex_lock(&q->lock);
	if (!q->log_fn || level > q->log_level) {
		pthread_mutex_unlock(&q->lock);
		return;
	}
	bool was = is_waiting(q);
	/* Guests can cause any number of the lesser ones: keep room for errors. */
	unsigned int room = level > PVV_LOG_ERROR ? LOG_QUEUE_MAX / 4 * 3 : LOG_QUEUE_MAX;
	l = q->log_nr < room ? calloc(1, sizeof(*l)) : NULL;
	if (!l) {
		q->log_lost++;
		pthread_mutex_unlock(&q->lock);
		return;
	}
	l->level = level;
	snprintf(l->domain, sizeof(l->domain), "%s", domain ? domain : "");
	va_start(ap, fmt);
	vsnprintf(l->text, sizeof(l->text), fmt, ap);
	va_end(ap);
	*q->log_tail = l;
	q->log_tail = &l->next;
	q->log_nr++;
	update_fd(q, was);
	pthread_mutex_unlock(&q->lock);
}

static struct log_entry *log_take(struct event_queue *q, pvv_log_fn **fn, void **opaque,
				  unsigned int *lost)
{
	pthread_mutex_lock(&q->lock);
	bool was = is_waiting(q);
	struct log_entry *l = q->log_head;
	if (l) {
		q->log_head = l->next;
		if (!q->log_head)
			q->log_tail = &q->log_head;
		q->log_nr--;
	}
	*lost = l && !q->log_head ? q->log_lost : 0;
	if (*lost)
		q->log_lost = 0;
	*fn = q->log_fn;
	*opaque = q->log_opaque;
	update_fd(q, was);
	pthread_mutex_unlock(&q->lock);
	return l;
}

int event_dispatch(struct event_queue *q, pvv_host *host)
{
	struct log_entry *l;
	pvv_log_fn *log_fn;
	void *opaque;
	unsigned int lost;
	int nr = 0;

	/* Bounded by the queues' sizes: a callback that causes messages does not keep us here. */
	for (unsigned int i = 0; i < LOG_QUEUE_MAX; i++) {
		l = log_take(q, &log_fn, &opaque, &lost);
		if (!l)
			break;
		if (log_fn) {
			log_fn(l->level, l->domain[0] ? l->domain : NULL, l->text, opaque);
			nr++;
			if (lost) {
				char text[64];
				snprintf(text, sizeof(text), "%u log messages were dropped", lost);
				log_fn(PVV_LOG_WARNING, NULL, text, opaque);
			}
		}
		free(l);
	}
	for (unsigned int i = 0; i <= EVENT_QUEUE_MAX; i++) {
		pthread_mutex_lock(&q->lock);
		pvv_event_fn *fn = q->event_fn;
		opaque = q->event_opaque;
		pthread_mutex_unlock(&q->lock);
		struct pvv_event *e = fn ? event_take(q) : NULL;
		if (!e)
			break;
		fn(host, e, opaque);
		nr++;
		free(e);
	}
	return nr;
}

void event_set_log(struct event_queue *q, pvv_log_level level, pvv_log_fn *fn, void *opaque)
{
	struct log_entry *drop = NULL;

	pthread_mutex_lock(&q->lock);
	q->log_fn = fn;
	q->log_opaque = opaque;
	q->log_level = level;
	if (!fn) {
		/* Nobody will take them: the descriptor must not stay readable for them. */
		bool was = is_waiting(q);
		drop = q->log_head;
		q->log_head = NULL;
		q->log_tail = &q->log_head;
		q->log_nr = q->log_lost = 0;
		update_fd(q, was);
	}
	pthread_mutex_unlock(&q->lock);
	for (struct log_entry *n; drop; drop = n) {
		n = drop->next;
		free(drop);
	}
}

void event_set_callback(struct event_queue *q, pvv_event_fn *fn, void *opaque)
{
	pthread_mutex_lock(&q->lock);
	q->event_fn = fn;
	q->event_opaque = opaque;
	pthread_mutex_unlock(&q->lock);
}
