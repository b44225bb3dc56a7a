/* SPDX-License-Identifier: MIT */
/*
 * The queue of events and log messages of a host handle: filled by the I/O thread, emptied by the
 * embedder through one descriptor. Bounded: an embedder that does not look loses the newest and is
 * told how many.
 */
#ifndef PVV_DOMAIN_EVENT_H
#define PVV_DOMAIN_EVENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <pvvirt/event.h>
#include <pvvirt/host.h>

#define EVENT_QUEUE_MAX 4096u
#define LOG_QUEUE_MAX	1024u

struct pvv_event {
	struct pvv_event *next;
	pvv_event_type type;
	int detail;
	int64_t time_ns;
	char uuid[37];
	char name[256];
	char text[512];
};

struct log_entry {
	struct log_entry *next;
	pvv_log_level level;
	char domain[256];
	char text[512];
};

struct event_queue {
	pthread_mutex_t lock;
	int fd; /* eventfd, readable while something waits */
	struct pvv_event *head, **tail;
	unsigned int nr, lost;
	struct log_entry *log_head, **log_tail;
	unsigned int log_nr, log_lost;
	pvv_log_fn *log_fn;
	void *log_opaque;
	pvv_log_level log_level;
	pvv_event_fn *event_fn;
	void *event_opaque;
};

int event_queue_init(struct event_queue *q);
void event_queue_destroy(struct event_queue *q);
/* Any thread. `name`, `uuid` and `text` may be NULL. */
void event_post(struct event_queue *q, pvv_event_type type, int detail, const char *name,
		const char *uuid, const char *text);
struct pvv_event *event_take(struct event_queue *q);
/* Any thread. Cheap if nobody listens at that level. */
void log_post(struct event_queue *q, pvv_log_level level, const char *domain, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Runs the callbacks on the calling thread; returns how many. */
int event_dispatch(struct event_queue *q, pvv_host *host);
void event_set_log(struct event_queue *q, pvv_log_level level, pvv_log_fn *fn, void *opaque);
void event_set_callback(struct event_queue *q, pvv_event_fn *fn, void *opaque);

#endif
