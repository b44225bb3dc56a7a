/* SPDX-License-Identifier: MIT */
#include "io_rig.h"

#include <stdio.h>

void io_rig_init(struct io_rig *r, unsigned int domid, uint32_t pages, const char *front,
		 const char *back)
{
	r->front = front;
	r->back = back;
	assert_int_equal(io_loop_new(&r->loop), 0);
	assert_int_equal(xs_store_new(r->loop, &r->store), 0);
	r->guest = fake_guest_new(domid, "rig", pages);
	fake_use_loop(r->guest, r->loop);
	for (uint32_t i = 0; i < pages; i++)
		fake_grant(r->guest, i, i, false);
}

void io_rig_fini(struct io_rig *r)
{
	xs_store_free(r->store);
	fake_guest_free(r->guest);
	io_loop_free(r->loop);
}

static void quit(void *opaque)
{
	io_loop_quit(opaque);
}

void io_rig_step(struct io_rig *r)
{
	struct io_timer t = {.fn = quit, .opaque = r->loop};

	io_timer_set(r->loop, &t, io_now_ns() + 100000);
	io_loop_run(r->loop);
	io_timer_set(r->loop, &t, 0);
}

void io_rig_front_write(struct io_rig *r, const char *name, const char *fmt, ...)
{
	char value[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	assert_int_equal(xs_put(r->store, r->front, name, "%s", value), 0);
}

uint64_t io_rig_back_number(struct io_rig *r, const char *name)
{
	uint64_t n;

	assert_int_equal(xs_get_uint(r->store, r->back, name, UINT64_MAX, &n), 0);
	return n;
}
