/* SPDX-License-Identifier: MIT */
/* Single instructions: accesses and loads of selectors that may fault, and code made on the spot.
 */
#include "pvg.h"

__attribute__((noinline)) static void load(u64 va, u64 ret, u64 c)
{
	__asm__ volatile("mov (%1), %0" : "=r"(*(u64 *)ret) : "r"(va) : "memory");
}
__attribute__((noinline)) static void load_string(u64 va, u64 ret, u64 c)
{
	__asm__ volatile("lodsq" : "=a"(*(u64 *)ret), "+S"(va) : : "memory");
}
__attribute__((noinline)) static void load_copy(u64 va, u64 ret, u64 n)
{
	__asm__ volatile("rep movsb" : "+S"(va), "+D"(ret), "+c"(n) : : "memory");
}
__attribute__((noinline)) static void store(u64 va, u64 v, u64 c)
{
	__asm__ volatile("mov %1, (%0)" : : "r"(va), "r"(v) : "memory");
}
__attribute__((noinline)) static void store_string(u64 va, u64 v, u64 c)
{
	__asm__ volatile("stosq" : "+D"(va) : "a"(v) : "memory");
}
__attribute__((noinline)) static void store_copy(u64 va, u64 from, u64 n)
{
	__asm__ volatile("rep movsb" : "+S"(from), "+D"(va), "+c"(n) : : "memory");
}

bool pvg_load(u64 va, u64 *ret)
{
	return pvg_try3(load, va, (u64)ret, 0);
}
bool pvg_load_string(u64 va, u64 *ret)
{
	return pvg_try3(load_string, va, (u64)ret, 0);
}
bool pvg_load_copy(u64 va, u64 *ret)
{
	return pvg_try3(load_copy, va, (u64)ret, sizeof(*ret));
}
bool pvg_store(u64 va, u64 v)
{
	return pvg_try3(store, va, v, 0);
}
bool pvg_store_string(u64 va, u64 v)
{
	return pvg_try3(store_string, va, v, 0);
}
bool pvg_store_copy(u64 va, const u64 *v)
{
	return pvg_try3(store_copy, va, (u64)v, sizeof(*v));
}

void pvg_load_ds(u64 sel, u64 b, u64 c)
{
	__asm__ volatile("movl %0, %%ds\n xorl %%eax, %%eax\n movl %%eax, %%ds" ::"r"((u32)sel)
			 : "rax");
}
void pvg_load_ss(u64 sel, u64 b, u64 c)
{
	__asm__ volatile("movl %%ss, %%eax\n movl %0, %%ss\n movl %%eax, %%ss" ::"r"((u32)sel)
			 : "rax");
}
void pvg_far_return(u64 sel, u64 b, u64 c)
{
	__asm__ volatile(
		"movl %%cs, %%edx\n pushq %0\n leaq 1f(%%rip), %%rax\n pushq %%rax\n lretq\n"
		"1: pushq %%rdx\n leaq 2f(%%rip), %%rax\n pushq %%rax\n lretq\n2:" ::"r"(sel)
		: "rax", "rdx", "memory");
}

void pvg_code_put(u8 *p, u32 value)
{
	p[0] = 0xb8; /* mov $value, %eax; ret */
	memcpy(p + 1, &value, 4);
	p[5] = 0xc3;
}
u32 pvg_code_run(const u8 *p)
{
	barrier();
	return ((u32(*)(void))p)();
}
