/* SPDX-License-Identifier: MIT */
/*
 * What the core itself costs, in ns: the executor's entry and exit come on top. One line per case,
 * the best of several rounds; with --check the exit status says whether the goals are met.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness.h"

#include <xen/event_channel.h>

#define ROUNDS 15
#define CALLS  20000

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

struct bench {
	struct dom *t;
	uint32_t port;
	struct iret_context frame;
};

static void null_hypercall(struct bench *b)
{
	struct core_regs *r = &b->t->c.v->regs;

	r->gpr[R_RAX] = __HYPERVISOR_xen_version;
	r->gpr[R_RDI] = 0;
	r->gpr[R_RSI] = 0;
	core_hypercall(&b->t->c);
}

static void null_hypercall_and_next(struct bench *b)
{
	null_hypercall(b);
	core_next(&b->t->c);
}

static void next(struct bench *b)
{
	core_next(&b->t->c);
}

/* The guest sends itself an event, takes the upcall, and cleans up as a handler does. */
static void event_send_deliver(struct bench *b)
{
	struct core_ctx *c = &b->t->c;
	struct core_regs *r = &c->v->regs;
	struct vcpu_info *info = core_vcpu_info(c, c->v);

	r->gpr[R_RSP] = STACK_TOP;
	r->gpr[R_RAX] = __HYPERVISOR_event_channel_op;
	r->gpr[R_RDI] = EVTCHNOP_send;
	r->gpr[R_RSI] = VA(PG_ARG);
	core_hypercall(c);
	core_next(c);
	info->evtchn_upcall_pending = 0;
	info->evtchn_pending_sel = 0;
	info->evtchn_upcall_mask = 0;
	core_shared_info(c)->evtchn_pending[0] = 0;
}

static void bounce_and_iret(struct bench *b)
{
	struct core_ctx *c = &b->t->c;
	struct core_regs *r = &c->v->regs;

	r->gpr[R_RSP] = STACK_TOP;
	core_exception(c, 0, 0, 0);
	r->gpr[R_RSP] = STACK_TOP - sizeof(b->frame);
	memcpy(b->t->ram + r->gpr[R_RSP], &b->frame, sizeof(b->frame));
	r->gpr[R_RAX] = __HYPERVISOR_iret;
	core_hypercall(c);
}

#define ENTRIES 64

static void multicall(struct bench *b)
{
	struct core_regs *r = &b->t->c.v->regs;

	r->gpr[R_RAX] = __HYPERVISOR_multicall;
	r->gpr[R_RDI] = VA(PG_FREE);
	r->gpr[R_RSI] = ENTRIES;
	core_hypercall(&b->t->c);
}

static void emulate_cr(struct bench *b)
{
	b->t->c.v->regs.rip = VA(PG_CODE);
	core_emulate(&b->t->c);
}

struct result {
	const char *name;
	void (*fn)(struct bench *b);
	unsigned int per_call; /* operations in one */
	double goal;	       /* ns */
};

static const struct result cases[] = {
	{"null hypercall", null_hypercall, 1, 25},
	{"null hypercall and core_next", null_hypercall_and_next, 1, 45},
	{"core_next", next, 1, 20},
	{"event send and deliver", event_send_deliver, 1, 400},
	{"exception bounce and iret", bounce_and_iret, 1, 400},
	{"multicall, one entry", multicall, ENTRIES, 60},
	{"emulated mov from cr", emulate_cr, 1, 150},
};

static double measure(const struct result *k, struct bench *b)
{
	double best = 1e18;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		double start = now_ns();

		for (unsigned int i = 0; i < CALLS / k->per_call; i++)
			k->fn(b);
		double ns = (now_ns() - start) / (CALLS / k->per_call * k->per_call);

		best = ns < best ? ns : best;
	}
	return best;
}

static void prepare(struct bench *b)
{
	static const uint8_t read_cr2[] = {0x0f, 0x20, 0xd0};
	struct multicall_entry m = {.op = __HYPERVISOR_xen_version};
	struct evtchn_bind_ipi ipi = {.vcpu = 0};

	b->t = dom_new();
	set_event_callback(b->t);
	set_trap(b->t, 0, 0);
	EVTCHN(b->t, EVTCHNOP_bind_ipi, &ipi);
	b->port = ipi.port;
	arg_put(b->t, &b->port, sizeof(b->port));
	for (unsigned int i = 0; i < ENTRIES; i++)
		memcpy((char *)page_ptr(b->t, PG_FREE) + i * sizeof(m), &m, sizeof(m));
	b->frame = (struct iret_context){
		.rip = VA(PG_CODE), .cs = 0xe030, .rflags = 0x202, .rsp = STACK_TOP, .ss = 0xe02b};
	code(b->t, read_cr2, sizeof(read_cr2));
	core_next(&b->t->c);
}

int main(int argc, char **argv)
{
	bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
	int status = EXIT_SUCCESS;
	struct bench b;

	prepare(&b);
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		double ns = measure(&cases[i], &b);

		printf("%-32s %8.1f ns (goal %.0f)\n", cases[i].name, ns, cases[i].goal);
		if (check && ns > cases[i].goal)
			status = EXIT_FAILURE;
	}
	if (b.t->ctl.run_state != CORE_STATE_RUNNING) {
		printf("the domain ended: %s\n", b.t->ctl.reason);
		status = EXIT_FAILURE;
	}
	dom_free(b.t);
	return status;
}
