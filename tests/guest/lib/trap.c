/* SPDX-License-Identifier: MIT */
/* The trap table, and a net under code that is expected to trap. */
#include "pvg.h"

extern u64 pvg_try_rsp, pvg_try_result[2];
extern u8 pvg_try_exit[];
void pvg_trap(struct trap_frame *f);
bool pvg_try_call(void (*fn)(u64, u64, u64), u64 a, u64 b, u64 c);

struct pvg_caught pvg_caught;
bool (*pvg_trap_hook)(struct trap_frame *f);
unsigned int pvg_trap_depth;
static struct trap_info table[257];

static const char *const vector_names[32] = {
	"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "#CSO", "#TS",
	"#NP", "#SS", "#GP", "#PF", "#15", "#MF", "#AC", "#MC", "#XM", "#VE",  "#CP",
};

const char *pvg_vector_name(unsigned int vector)
{
	if (vector < 32 && vector_names[vector])
		return vector_names[vector];
	return vector == 257 ? "failsafe" : "int";
}

void pvg_traps_init(void)
{
	for (unsigned int i = 0; i < 256; i++) {
		bool user = i == 3 || i == 4 || (i >= 0x80 && i < 0x90);

		table[i].vector = (u8)i;
		TI_SET_DPL(&table[i], user ? 3 : 0);
		table[i].cs = KERNEL_CS;
		table[i].address = pvg_trap_stubs[i];
	}
	HC1(set_trap_table, table);
}

/* Where something lies in the guest's own memory is no matter of the host's, but for its place in
 * a page. */
static u64 shown(u64 v)
{
	return v - (u64)pvg_image < start_info->nr_pages * PAGE_SIZE ? v % PAGE_SIZE : v;
}

static void unexpected(struct trap_frame *f)
{
	static unsigned int deep;

	if (deep++)
		pvg_exit(SHUTDOWN_crash);
	pvg_printf("UNEXPECTED TRAP %u %s error %lx rip image+%lx rsp %lx cr2 %lx\n",
		   (unsigned int)f->vector, pvg_vector_name((unsigned int)f->vector), f->error,
		   f->rip - (u64)pvg_image, shown(f->rsp), pvg_shared ? VCPU0->arch.cr2 : 0);
	pvg_printf("rax %lx rbx %lx rcx %lx rdx %lx rsi %lx rdi %lx\n", shown(f->rax),
		   shown(f->rbx), shown(f->rcx), shown(f->rdx), shown(f->rsi), shown(f->rdi));
	pvg_exit(SHUTDOWN_crash);
}

/* entry.S calls this. */
void pvg_trap(struct trap_frame *f)
{
	pvg_trap_depth++;
	if (pvg_trap_hook && pvg_trap_hook(f)) {
		pvg_trap_depth--;
		return;
	}
	if (!pvg_try_rsp)
		unexpected(f);
	pvg_caught.f = *f;
	pvg_caught.cr2 = pvg_shared ? VCPU0->arch.cr2 : 0;
	f->rip = (u64)pvg_try_exit;
	f->rsp = pvg_try_rsp;
	f->cs = KERNEL_CS & ~3u;
	f->ss = KERNEL_DS;
	f->rflags = 0x202;
	pvg_trap_depth--;
}

bool pvg_try3(void (*fn)(u64, u64, u64), u64 a, u64 b, u64 c)
{
	bool trapped = pvg_try_call(fn, a, b, c);

	pvg_caught.result = pvg_try_result[0];
	pvg_caught.result_rdx = pvg_try_result[1];
	return trapped;
}

bool pvg_try(void (*fn)(void))
{
	return pvg_try3((void (*)(u64, u64, u64))fn, 0, 0, 0);
}

void pvg_report(const char *name, void (*fn)(void))
{
	const struct trap_frame *f = &pvg_caught.f;

	if (!pvg_try(fn)) {
		pvg_printf("%s: no trap\n", name);
		return;
	}
	pvg_printf("%s: %s", name, pvg_vector_name((unsigned int)f->vector));
	if (f->vector >= 32)
		pvg_printf(" %x", (unsigned int)f->vector);
	if (f->error != TRAP_NO_ERROR)
		pvg_printf(" error %lx", f->error);
	pvg_printf(" rip%s%ld", f->rip >= (u64)fn ? "+" : "", (long)(f->rip - (u64)fn));
	if (f->vector == 14)
		pvg_printf(" cr2 %lx", pvg_caught.cr2);
	pvg_printf("\n");
}
