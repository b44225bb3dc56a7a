/* SPDX-License-Identifier: MIT */
/*
 * A PV guest to start from: greets, answers each line typed on its console, and powers off at
 * "quit". Everything it talks to is in Xen's public headers (libxen-dev, MIT).
 */
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/io/console.h>

void guest_main(struct start_info *si);

extern char image[]; /* guest.lds: page 0 of the guest */

/* A hypercall is a `syscall` in the guest's kernel: number in rax, arguments in rdi, rsi, ... */
static long hypercall(unsigned long nr, unsigned long a, unsigned long b, unsigned long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret), "+D"(a), "+S"(b), "+d"(c)
			 : "0"(nr)
			 : "rcx", "r11", "memory");
	return ret;
}

static void notify(unsigned int port)
{
	struct evtchn_send send = {.port = port};

	hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, (unsigned long)&send, 0);
}

/* ---- the console: one page with two rings of characters, and a port to ring the other side */

static volatile struct xencons_interface *console;
static unsigned int console_port;

/*
 * Sleep until the port rings. Its bit in the shared page says that it has, and poll returns at once
 * while it is set. So: clear it, look at the ring, and only then sleep. (With a callback and
 * SCHEDOP_block, a guest waits for all of its ports: see tests/guest/lib/event.c.)
 */
static union {
	struct shared_info info;
	char page[4096];
} shared __attribute__((aligned(4096)));

static void clear_event(void)
{
	__atomic_fetch_and(&shared.info.evtchn_pending[console_port / 64],
			   ~(1ul << console_port % 64), __ATOMIC_SEQ_CST);
}

static void wait_for_event(void)
{
	struct sched_poll poll = {.nr_ports = 1};

	set_xen_guest_handle(poll.ports, &console_port);
	hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, (unsigned long)&poll, 0);
}

static void put(const char *s)
{
	for (; *s; s++) {
		while (clear_event(),
		       console->out_prod - console->out_cons >= sizeof(console->out)) {
			notify(console_port);
			wait_for_event();
		}
		console->out[MASK_XENCONS_IDX(console->out_prod, console->out)] = *s;
		__asm__ volatile("" ::: "memory"); /* the character before the index */
		console->out_prod++;
	}
	notify(console_port);
}

static char get(void)
{
	char c;

	while (clear_event(), console->in_cons == console->in_prod)
		wait_for_event();
	__asm__ volatile("" ::: "memory");
	c = console->in[MASK_XENCONS_IDX(console->in_cons, console->in)];
	__asm__ volatile("" ::: "memory");
	console->in_cons++;
	notify(console_port);
	return c;
}

static void power_off(void)
{
	struct sched_shutdown s = {.reason = SHUTDOWN_poweroff};

	while (clear_event(), console->out_cons != console->out_prod)
		wait_for_event(); /* what was printed should be seen */
	hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (unsigned long)&s, 0);
}

void guest_main(struct start_info *si)
{
	char line[80];
	unsigned int n = 0;

	/*
	 * The console page is named by its machine frame. The builder mapped all of the guest's
	 * first pages in a row from `image`; the machine-to-physical table, which every guest can
	 * read, says which of them it is.
	 */
	console = (void *)(image + (machine_to_phys_mapping[si->console.domU.mfn] << 12));
	console_port = si->console.domU.evtchn;
	/* The shared page is no RAM of the guest: it is mapped in the place of one of our own. */
	hypercall(__HYPERVISOR_update_va_mapping, (unsigned long)&shared, si->shared_info | 3,
		  UVMF_INVLPG);

	put("Hello from a PV guest. Type a line, or quit.\n");
	for (;;) {
		char c = get();

		if (c != '\r' && c != '\n') {
			if (n < sizeof(line) - 1)
				line[n++] = c;
			continue;
		}
		line[n] = 0;
		put("You said: ");
		put(line);
		put("\n");
		if (n == 4 && line[0] == 'q' && line[1] == 'u' && line[2] == 'i' && line[3] == 't')
			power_off();
		n = 0;
	}
}
