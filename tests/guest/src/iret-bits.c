/* SPDX-License-Identifier: MIT */
/* Every bit of every word of the frame that the iret hypercall takes, and what has become of it. */
#include "pvg.h"

u64 ib_frame[9], ib_rsp, ib_out[8];
extern u8 ib_target[];
static u64 base[9];

/* Everything as it was but what ib_out says: rsp, cs, ss, rflags, rax, rcx, r11. */
void ib_go(void);
__asm__(".pushsection .text\n.globl ib_go, ib_target\n"
	"ib_go:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rsp, ib_rsp(%rip)\n"
	"lea ib_frame(%rip), %rsp\n"
	"mov $23, %eax\n syscall\n"
	"ib_target:\n"
	"mov %rsp, ib_out(%rip)\n"
	"mov ib_rsp(%rip), %rsp\n"
	"pushfq\n popq ib_out+24(%rip)\n"
	"mov %rax, ib_out+32(%rip)\n"
	"mov %rcx, ib_out+40(%rip)\n"
	"mov %r11, ib_out+48(%rip)\n"
	"pushq $0x202\n popfq\n"
	"mov %cs, %eax\n mov %rax, ib_out+8(%rip)\n"
	"mov %ss, %eax\n mov %rax, ib_out+16(%rip)\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n ret\n"
	".popsection");

struct outcome {
	u64 trap, error, rip, cs, ss, rflags, rsp, rax, rcx, r11, mask;
};

static struct outcome run(void)
{
	struct outcome o = {0};

	VCPU0->evtchn_upcall_mask = 0;
	if (pvg_try(ib_go)) {
		o.trap = 1 + pvg_caught.f.vector;
		o.error = pvg_caught.f.error;
		o.rip = pvg_caught.f.rip - ib_frame[4];
		o.cs = pvg_caught.f.cs;
		o.ss = pvg_caught.f.ss;
		o.rflags = pvg_caught.f.rflags ^ 0x202;
		o.rsp = pvg_caught.f.rsp - ib_frame[7];
		o.rax = pvg_caught.f.rax ^ base[0];
	} else {
		o.rsp = ib_out[0] - ib_frame[7];
		o.cs = ib_out[1];
		o.ss = ib_out[2];
		o.rflags = ib_out[3] ^ 0x202;
		o.rax = ib_out[4] ^ base[0];
		o.rcx = ib_out[5] ^ base[2];
		o.r11 = ib_out[6] ^ base[1];
	}
	o.mask = VCPU0->evtchn_upcall_mask;
	VCPU0->evtchn_upcall_mask = 0;
	return o;
}

static void show(const char *name, unsigned int from, unsigned int to, const struct outcome *o)
{
	printf("%s %d-%d: ", name, from, to);
	if (o->trap)
		printf("%s error %lx rip+%lx ", pvg_vector_name((unsigned int)o->trap - 1),
		       o->error == TRAP_NO_ERROR ? 0xffff : o->error, o->rip);
	printf("cs %lx ss %lx rflags^%lx rsp+%lx mask %ld", o->cs, o->ss, o->rflags, o->rsp,
	       o->mask);
	if (!o->trap)
		printf(" rax^%lx rcx^%lx r11^%lx", o->rax, o->rcx, o->r11);
	printf("\n");
}

/* Differences in the bit itself do not count: "the bit is what it was set to". */
static bool same(const struct outcome *a, const struct outcome *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void sweep(const char *name, unsigned int word, unsigned int from, unsigned int to)
{
	struct outcome o, last = {0};
	unsigned int start = from;

	for (unsigned int bit = from; bit <= to; bit++) {
		memcpy(ib_frame, base, sizeof(base));
		ib_frame[word] ^= 1ul << bit;
		o = run();
		/* What arrives where it was asked for says nothing. */
		if (word <= 2) {
			o.rax &= word == 0 && o.rax == 1ul << bit ? 0 : ~0ul;
			o.rcx &= word == 2 && o.rcx == 1ul << bit ? 0 : ~0ul;
			o.r11 &= word == 1 && o.r11 == 1ul << bit ? 0 : ~0ul;
		}
		if (word == 6 && o.rflags == 1ul << bit)
			o.rflags = 1;
		if (bit != from && !same(&o, &last)) {
			show(name, start, bit - 1, &last);
			start = bit;
		}
		last = o;
	}
	show(name, start, to, &last);
}

static void with(const char *name, unsigned int word, u64 value)
{
	struct outcome o;

	memcpy(ib_frame, base, sizeof(base));
	ib_frame[word] = value;
	o = run();
	show(name, 0, 0, &o);
}

void guest_main(void)
{
	static u8 stack[4096] __attribute__((aligned(4096)));
	static const u64 sels[] = {0xe030, 0xe031, 0xe032, 0xe028, 0xe029,  0xe02a, 0xe038, 0xe020,
				   0xe018, 0xe010, 0xe008, 0xe000, 0xe040,  0,	    1,	    4,
				   0x30,   0x28,   0x10,   0xfff8, 0xffff0, 0x1e030};

	pvg_events_init();
	pvg_traps_init();
	base[0] = 0x1234567890;
	base[1] = 0x11;
	base[2] = 0x22;
	base[4] = (u64)ib_target;
	base[5] = KERNEL_CS & ~3u;
	base[6] = 0x202;
	base[7] = (u64)stack + 2048;
	base[8] = KERNEL_DS;
	sweep("rax", 0, 0, 63);
	sweep("r11", 1, 0, 63);
	sweep("rcx", 2, 0, 63);
	sweep("flags", 3, 0, 63);
	sweep("rip", 4, 47, 63);
	sweep("cs", 5, 0, 1);
	sweep("cs", 5, 16, 63);
	sweep("rflags", 6, 0, 16);
	sweep("rflags", 6, 17, 63);
	sweep("rsp", 7, 0, 63);
	sweep("ss", 8, 0, 1);
	sweep("ss", 8, 16, 63);
	for (unsigned int i = 0; i < ARRAY_SIZE(sels); i++) {
		if ((sels[i] & 3) != 3 && sels[i] != 0xe020)
			with("cs", 5, sels[i]);
		with("ss", 8, sels[i]);
	}
	base[3] = VGCF_IN_SYSCALL;
	with("in a system call", 0, 1);
	sweep("in a system call: rflags", 6, 0, 63);
	sweep("in a system call: cs", 5, 16, 63);
	with("in a system call: ss 0", 8, 0);
	with("in a system call: rip", 4, 1ul << 63);
	with("in a system call: rip", 4, 1ul << 47);
	for (unsigned int i = 0; i < ARRAY_SIZE(sels); i++)
		if ((sels[i] & 3) != 3 && sels[i] != 0xe020)
			with("in a system call: cs", 5, sels[i]);
}
