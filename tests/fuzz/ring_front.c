/* SPDX-License-Identifier: MIT */
#include "ring_front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void copy_bytes(struct input *in, void *buf, size_t n)
{
	size_t have = in->left < n ? in->left : n;

	memset(buf, 0, n);
	memcpy(buf, in->p, have);
	in->p += have;
	in->left -= have;
}

uint32_t number(struct input *in, size_t n)
{
	uint32_t v = 0;

	copy_bytes(in, &v, n);
	return v;
}

void front_set_up(struct front *f)
{
	if (!f->loop) {
		if (io_loop_new(&f->loop) < 0 || xs_store_new(f->loop, &f->store) < 0)
			abort();
		f->guest = fake_guest_new(1, "fuzz", f->pages);
	}
	for (uint32_t i = 0; i < f->pages; i++) {
		memset(fake_page(f->guest, i), 0, 4096);
		fake_grant(f->guest, i, i, false);
	}
}

void front_run(struct front *f)
{
	for (int i = 0; i < 4; i++) {
		io_loop_quit(f->loop);
		io_loop_run(f->loop);
	}
}

void front_put(struct front *f, const char *name, uint32_t value)
{
	xs_put(f->store, f->path, name, "%u", value);
}

void front_put_node(struct front *f, struct input *in, const char *const *names, size_t nr_names)
{
	char value[17], path[96];
	uint32_t which = number(in, 1);

	snprintf(path, sizeof(path), "%s/%s", f->path, names[(which & 0x7f) % nr_names]);
	if (which & 0x80) {
		xs_rm(f->store, path);
		return;
	}
	uint32_t len = number(in, 1) % sizeof(value);
	copy_bytes(in, value, len);
	xs_write_data(f->store, path, value, len);
}

void front_change_grant(struct front *f, struct input *in)
{
	uint32_t what = number(in, 1), ref = what % f->pages;

	fake_grant_end(f->guest, ref);
	if (what & 0x80 && !fake_grant_maps(f->guest, ref))
		fake_grant(f->guest, ref, number(in, 1), what & 0x40);
}

void front_scribble(struct front *f, struct input *in)
{
	uint32_t n = number(in, 3);

	copy_bytes(in, (uint8_t *)fake_page(f->guest, (n >> 12) % f->pages) + (n & 0xff0), 16);
}

void front_check_released(struct front *f)
{
	if (fake_grant_maps_total(f->guest))
		abort();
	for (uint32_t i = 0; i < FAKE_PORTS; i++)
		if (fake_bound(f->guest, i))
			abort();
}
