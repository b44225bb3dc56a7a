/* SPDX-License-Identifier: MIT */
/*
 * A guest that does what the host's test tells it on console 0, a line at a time: balloon, consoles
 * beyond the first, looking into the xenstore. tests/system/test_resources.c talks to it.
 *
 *	read PATH	print a node
 *	fill N		write to the N last frames
 *	mem		balloon to memory/target; frames that come must be zero
 *	grow		populate until that is refused
 *	nodes N		make nodes until that fails, at most N
 *	con N		connect console device N and echo one line there
 *	close N		disconnect it
 *	quit
 */
#include "pvg.h"
#include <xen/io/console.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>

#define MAX_CONSOLES 80u
#define FIRST_REF    16u

static struct console {
	volatile struct xencons_interface *ring;
	unsigned int port;
} consoles[MAX_CONSOLES];

static u64 pages;	/* of the reservation */
static u8 *window;	/* a page of address space to look through */
static u64 window_back; /* the PTE it had */

static void yield(void)
{
	HC2(sched_op, SCHEDOP_yield, 0);
}

static char *put_number(char *p, u64 n)
{
	char digits[24];
	int i = 0;

	do
		digits[i++] = (char)('0' + n % 10);
	while (n /= 10);
	while (i)
		*p++ = digits[--i];
	*p = 0;
	return p;
}

static u64 get_number(const char *p)
{
	u64 n = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (u64)(*p - '0');
	return n;
}

/* ---- memory ---- */

static u64 *p2m(u64 pfn)
{
	return (u64 *)start_info->mfn_list + pfn;
}

static u64 *look_at(u64 mfn)
{
	if (!window) {
		window = pvg_page_alloc();
		window_back = pvg_mfn_of(window) << 12 | PTE_KERN;
	}
	if (pvg_map(window, mfn << 12 | PTE_KERN))
		printf("cannot map frame %lx\n", mfn);
	return (u64 *)window;
}

static void look_away(void)
{
	if (window)
		pvg_map(window, window_back);
}

static void fill(u64 n)
{
	for (u64 pfn = pages - n; pfn < pages; pfn++) {
		u64 *p = look_at(*p2m(pfn));

		for (unsigned int i = 0; i < 512; i++)
			p[i] = 0x5555aaaa5555aaaa;
	}
	look_away();
	printf("filled %lu\n", n);
}

static long reserve(unsigned int op, u64 *frame)
{
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

	set_xen_guest_handle(r.extent_start, frame);
	return HC2(memory_op, op, &r);
}

static bool give_back_one(void)
{
	u64 mfn = *p2m(pages - 1);

	if (reserve(XENMEM_decrease_reservation, &mfn) != 1)
		return false;
	*p2m(--pages) = ~0ul;
	return true;
}

static bool take_one(bool *zero)
{
	u64 frame = pages;

	if (reserve(XENMEM_populate_physmap, &frame) != 1)
		return false;
	const u64 *p = look_at(frame);
	for (unsigned int i = 0; i < 512; i++)
		*zero &= p[i] == 0;
	*p2m(pages++) = frame;
	return true;
}

static void balloon(void)
{
	u64 target = pvg_store_number("memory/target") / 4;
	bool zero = true;

	while (pages > target && give_back_one())
		;
	while (pages < target && pages < start_info->nr_pages && take_one(&zero))
		;
	look_away();
	printf("pages %lu of %lu zero %d\n", pages, target, zero);
}

static void grow(void)
{
	bool zero = true;
	u64 before = pages;

	while (pages < start_info->nr_pages && take_one(&zero))
		;
	look_away();
	printf("grew by %lu zero %d\n", pages - before, zero);
}

/* ---- consoles ---- */

static void device_path(char *path, u64 nr, const char *leaf)
{
	char *p;

	memcpy(path, "device/console/", 16);
	p = put_number(path + 15, nr);
	memcpy(p, leaf, strlen(leaf) + 1);
}

static void write_number(u64 nr, const char *leaf, u64 value)
{
	char path[64], text[24];

	device_path(path, nr, leaf);
	put_number(text, value);
	if (pvg_store_write(path, text) < 0)
		printf("cannot write %s\n", path);
}

static u64 backend_state(u64 nr)
{
	char path[64], backend[128];

	device_path(path, nr, "/backend");
	if (pvg_store_read(path, backend, sizeof(backend) - 8) < 0)
		return 0;
	memcpy(backend + strlen(backend), "/state", 7);
	return pvg_store_number(backend);
}

static bool wait_for(u64 nr, u64 state)
{
	for (unsigned int i = 0; i < 100000; i++) {
		if (backend_state(nr) == state)
			return true;
		yield();
	}
	printf("console %lu: the back end stays in state %lu\n", nr, backend_state(nr));
	return false;
}

static bool connect(u64 nr)
{
	struct evtchn_alloc_unbound alloc = {.dom = DOMID_SELF, .remote_dom = 0};
	struct console *c = &consoles[nr];
	void *page;

	if (c->ring)
		return true;
	if (!wait_for(nr, XenbusStateInitWait))
		return false;
	page = pvg_page_alloc();
	pvg_grants_init();
	pvg_grant(FIRST_REF + (unsigned int)nr, 0, pvg_mfn_of(page), false);
	if (HC2(event_channel_op, EVTCHNOP_alloc_unbound, &alloc))
		return false;
	c->port = alloc.port;
	write_number(nr, "/ring-ref", FIRST_REF + nr);
	write_number(nr, "/port", c->port);
	write_number(nr, "/state", XenbusStateInitialised);
	if (!wait_for(nr, XenbusStateConnected))
		return false;
	write_number(nr, "/state", XenbusStateConnected);
	c->ring = page;
	return true;
}

static void kick(struct console *c)
{
	struct evtchn_send send = {.port = c->port};

	HC2(event_channel_op, EVTCHNOP_send, &send);
}

static void con_puts(struct console *c, const char *s)
{
	for (; *s; s++) {
		while (c->ring->out_prod - c->ring->out_cons >= sizeof(c->ring->out))
			yield();
		c->ring->out[MASK_XENCONS_IDX(c->ring->out_prod, c->ring->out)] = *s;
		wmb();
		c->ring->out_prod++;
	}
	kick(c);
}

static void echo(u64 nr)
{
	struct console *c = nr < MAX_CONSOLES ? &consoles[nr] : NULL;
	char line[100], *p = line;

	if (!c || !connect(nr)) {
		printf("console %lu cannot be connected\n", nr);
		return;
	}
	printf("console %lu connected\n", nr);
	while (p == line || p[-1] != '\n') {
		while (c->ring->in_cons == c->ring->in_prod)
			yield();
		rmb();
		char ch = c->ring->in[MASK_XENCONS_IDX(c->ring->in_cons, c->ring->in)];
		mb();
		c->ring->in_cons++;
		if (p < line + sizeof(line) - 1)
			*p++ = ch;
	}
	*p = 0;
	kick(c);
	con_puts(c, "you said ");
	con_puts(c, line);
	printf("console %lu echoed\n", nr);
}

static void disconnect(u64 nr)
{
	struct console *c = nr < MAX_CONSOLES ? &consoles[nr] : NULL;
	struct evtchn_close close;

	if (!c || !c->ring)
		return;
	write_number(nr, "/state", XenbusStateClosing);
	wait_for(nr, XenbusStateClosing);
	write_number(nr, "/state", XenbusStateClosed);
	wait_for(nr, XenbusStateClosed);
	close.port = c->port;
	HC2(event_channel_op, EVTCHNOP_close, &close);
	printf("console %lu closed, grant in use: %d\n", nr,
	       (pvg_grants[FIRST_REF + nr].flags & (GTF_reading | GTF_writing)) != 0);
	c->ring = NULL;
	write_number(nr, "/state", XenbusStateInitialising);
}

static void read_node(const char *path)
{
	char text[256];
	long n = pvg_store_read(path, text, sizeof(text));

	printf("%s: %s%s\n", path, n < 0 ? "error " : "", text);
}

static void make_nodes(u64 n)
{
	char path[32] = "data/node-", answer[64];

	for (u64 i = 0; i < n; i++) {
		char *end = put_number(path + 10, i);

		if (pvg_store_request(XS_MKDIR, 0, path, (u32)(end - path) + 1, answer,
				      sizeof(answer)) < 0) {
			printf("node %lu: %s\n", i, answer);
			return;
		}
	}
	printf("made %lu\n", n);
}

/* ---- the lines ---- */

static bool starts(const char *line, const char *word, const char **rest)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < n; i++)
		if (line[i] != word[i])
			return false;
	*rest = line + n;
	return true;
}

/* As kernels compute: it never sleeps, and has 1000 ticks a second. */
static void compute(void)
{
	struct vcpu_set_periodic_timer t = {.period_ns = 1000000};
	struct evtchn_bind_virq virq = {.virq = VIRQ_TIMER};
	static volatile u64 sum;

	if (HC2(event_channel_op, EVTCHNOP_bind_virq, &virq) ||
	    HC3(vcpu_op, VCPUOP_set_periodic_timer, 0, &t))
		printf("no ticks\n");
	for (u64 i = 0;; i++)
		sum += i * i;
}

static bool obey(const char *line)
{
	const char *rest;

	if (starts(line, "read ", &rest))
		read_node(rest);
	else if (starts(line, "fill ", &rest))
		fill(get_number(rest));
	else if (starts(line, "mem", &rest))
		balloon();
	else if (starts(line, "grow", &rest))
		grow();
	else if (starts(line, "nodes ", &rest))
		make_nodes(get_number(rest));
	else if (starts(line, "con ", &rest))
		echo(get_number(rest));
	else if (starts(line, "close ", &rest))
		disconnect(get_number(rest));
	else if (starts(line, "compute", &rest))
		compute();
	else
		return false;
	return true;
}

void guest_main(void)
{
	char line[200];
	unsigned int n = 0;

	pvg_events_init();
	pvg_store_init();
	pages = start_info->nr_pages;
	printf("ready\n");
	for (;;) {
		int c = pvg_getc();

		if (c < 0) {
			yield();
			continue;
		}
		if (c != '\n') {
			if (n < sizeof(line) - 1)
				line[n++] = (char)c;
			continue;
		}
		line[n] = 0;
		n = 0;
		if (!obey(line))
			return;
	}
}
