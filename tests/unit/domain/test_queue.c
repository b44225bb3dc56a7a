/* SPDX-License-Identifier: MIT */
/* The event queue when nobody looks, and the domain ids of a host that runs for years. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "domain/event.h"
#include "domain/host.h"

static bool readable(const struct event_queue *q)
{
	struct pollfd p = {q->fd, POLLIN, 0};

	return poll(&p, 1, 0) == 1;
}

/* A guest on a full disk makes an event for each write: the ends of others still get through. */
static void test_flood_of_errors(void **state)
{
	struct event_queue q;
	struct pvv_event *e;
	unsigned int errors = 0, stops = 0, lost = 0;

	assert_int_equal(event_queue_init(&q), 0);
	for (unsigned int i = 0; i < 3 * EVENT_QUEUE_MAX; i++)
		event_post(&q, PVV_EVENT_IO_ERROR, 28, "bad", NULL, "disk");
	for (unsigned int i = 0; i < 100; i++)
		event_post(&q, PVV_EVENT_STOPPED, 0, "good", NULL, NULL);
	assert_true(readable(&q));
	while ((e = event_take(&q))) {
		errors += e->type == PVV_EVENT_IO_ERROR;
		stops += e->type == PVV_EVENT_STOPPED;
		if (e->type == PVV_EVENT_LOST)
			lost += (unsigned int)e->detail;
		free(e);
	}
	assert_int_equal(stops, 100);
	assert_int_equal(errors + lost, 3 * EVENT_QUEUE_MAX);
	assert_true(errors > 0 && lost > 0);
	assert_false(readable(&q));
	event_queue_destroy(&q);
}

static void test_full(void **state)
{
	struct event_queue q;
	struct pvv_event *e;
	unsigned int n = 0, lost = 0;

	assert_int_equal(event_queue_init(&q), 0);
	for (unsigned int i = 0; i < EVENT_QUEUE_MAX + 5; i++)
		event_post(&q, PVV_EVENT_STARTED, (int)i, "x", NULL, NULL);
	while ((e = event_take(&q))) {
		if (e->type == PVV_EVENT_LOST)
			lost += (unsigned int)e->detail;
		else
			assert_int_equal(e->detail, n++); /* the oldest are kept, in order */
		free(e);
	}
	assert_int_equal(n, EVENT_QUEUE_MAX);
	assert_int_equal(lost, 5);
	event_queue_destroy(&q);
}

struct heard {
	unsigned int errors, others, lost;
};

static void on_log(pvv_log_level level, const char *domain, const char *message, void *opaque)
{
	struct heard *h = opaque;

	if (strstr(message, "dropped"))
		h->lost++;
	else if (level == PVV_LOG_ERROR)
		h->errors++;
	else
		h->others++;
}

static void test_flood_of_messages(void **state)
{
	struct event_queue q;
	struct heard h = {0};

	assert_int_equal(event_queue_init(&q), 0);
	log_post(&q, PVV_LOG_ERROR, "x", "nobody listens");
	assert_false(readable(&q));
	event_set_log(&q, PVV_LOG_DEBUG, on_log, &h);
	for (unsigned int i = 0; i < 2 * LOG_QUEUE_MAX; i++)
		log_post(&q, PVV_LOG_INFO, "bad", "guest: %u", i);
	for (unsigned int i = 0; i < 50; i++)
		log_post(&q, PVV_LOG_ERROR, "good", "disk %u", i);
	assert_true(readable(&q));
	event_dispatch(&q, NULL);
	assert_int_equal(h.errors, 50);
	assert_true(h.others > 0 && h.others < LOG_QUEUE_MAX);
	assert_int_equal(h.lost, 1);
	assert_false(readable(&q));
	/* Taken away while messages wait. */
	log_post(&q, PVV_LOG_INFO, "x", "y");
	assert_true(readable(&q));
	event_set_log(&q, PVV_LOG_DEBUG, NULL, NULL);
	assert_false(readable(&q));
	event_queue_destroy(&q);
}

/* 32,751 ids: they come round while an old domain still has its own. */
static void test_domain_ids(void **state)
{
	struct pvv_host *h = calloc(1, sizeof(*h));
	unsigned int old;

	h->next_domid = 1;
	old = host_take_domid(h);
	assert_int_equal(old, 1);
	for (unsigned int i = 0; i < 3 * DOMID_LAST; i++) {
		unsigned int id = host_take_domid(h);

		assert_in_range(id, 2, DOMID_LAST);
		host_put_domid(h, id);
	}
	for (unsigned int i = 1; i < DOMID_LAST; i++)
		assert_int_not_equal(host_take_domid(h), 0);
	assert_int_equal(host_take_domid(h), 0); /* all in use */
	host_put_domid(h, 777);
	assert_int_equal(host_take_domid(h), 777);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flood_of_errors),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_flood_of_messages),
		cmocka_unit_test(test_domain_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
