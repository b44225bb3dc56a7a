/* SPDX-License-Identifier: MIT */
/*
 * Guest programs for the translator's tests and benchmark: self-contained, freestanding, linked
 * flat at a given address and run both natively and translated. kernel_entry(which, rounds,
 * scratch) returns a checksum that does not depend on where the code or the scratch memory lies.
 * Those about the shape of code are here; those about data are in translate_kernels_data.c.
 */
#include "translate_kernels.h"

#include <stdarg.h>

void *memset(void *d, int c, size_t n)
{
	char *p = d;

	while (n--) {
		*p++ = (char)c;
		__asm__ volatile("");
	}
	return d;
}

void *memcpy(void *d, const void *s, size_t n)
{
	char *p = d;
	const char *q = s;

	while (n--) {
		*p++ = *q++;
		__asm__ volatile("");
	}
	return d;
}

/* 6: calls and nothing else */
static noinline u64 fib(u64 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
u64 k_fib(u64 rounds, struct arena *a)
{
	u64 r, sum = 0;

	for (r = 0; r < rounds; r++)
		sum += fib(16 + (r & 1));
	return sum;
}

/* 7: 1024 functions on random paths */
#define FN(n)	   static noinline u64 fn_##n(u64 *s, u64 d, u64 *m);
#define R4(M, n)   M(n##0) M(n##1) M(n##2) M(n##3)
#define R16(M, n)  R4(M, n##0) R4(M, n##1) R4(M, n##2) R4(M, n##3)
#define R64(M, n)  R16(M, n##0) R16(M, n##1) R16(M, n##2) R16(M, n##3)
#define R256(M, n) R64(M, n##0) R64(M, n##1) R64(M, n##2) R64(M, n##3)
#define ALL_FN(M)  R256(M, 0) R256(M, 1) R256(M, 2) R256(M, 3)
typedef u64 fn_t(u64 *s, u64 d, u64 *m);
ALL_FN(FN)
#define REF(n) fn_##n,
static fn_t *const fns[1024] = {ALL_FN(REF)};
static noinline u64 leaf(u64 x, u64 *m)
{
	m[x & 63] += x;
	return x * 5 + m[(x >> 6) & 63];
}
#define BODY(n)                                                                                    \
	static noinline u64 fn_##n(u64 *s, u64 d, u64 *m)                                          \
	{                                                                                          \
		u64 x = next(s), r = leaf(x, m);                                                   \
                                                                                                   \
		if (d == 0)                                                                        \
			return r;                                                                  \
		if (x & 0x100)                                                                     \
			r += leaf(r + d, m);                                                       \
		if (x & 0x200)                                                                     \
			return r ^ fns[(x >> 20) & 1023](s, d - 1, m);                             \
		m[d & 63] ^= r;                                                                    \
		return fns[(x >> 32) & 1023](s, d - 1, m) + fns[(x >> 42) & 1023](s, d - 1, m);    \
	}
ALL_FN(BODY)
u64 k_many(u64 rounds, struct arena *a)
{
	u64 *m = take(a, 64 * 8), s = 13, r, sum = 0;

	for (r = 0; r < 64; r++)
		m[r] = r;
	for (r = 0; r < rounds; r++)
		sum += fns[r & 1023](&s, 9, m);
	return sum;
}

/* 8: indirect calls through an operations table */
struct ops {
	u64 (*add)(u64, u64), (*mix)(u64, u64), (*rot)(u64, u64), (*sub)(u64, u64);
};
static noinline u64 o_add(u64 x, u64 y)
{
	return x + y;
}
static noinline u64 o_mix(u64 x, u64 y)
{
	return x ^ (y * 0x9e3779b97f4a7c15ull);
}
static noinline u64 o_rot(u64 x, u64 y)
{
	return x << (y & 31) | x >> (64 - (y & 31));
}
static noinline u64 o_sub(u64 x, u64 y)
{
	return x - y;
}
static const struct ops the_ops = {o_add, o_mix, o_rot, o_sub};
u64 k_indirect(u64 rounds, struct arena *a)
{
	const struct ops *o = &the_ops;
	u64 r, i, x = 1;

	__asm__ volatile("" : "+r"(o));
	for (r = 0; r < rounds; r++)
		for (i = 1; i < 200; i++) {
			x = o->add(x, i);
			x = o->mix(x, r);
			x = o->rot(x, i);
			x = o->sub(x, 3);
		}
	return x;
}

/* 9: the same through a retpoline */
__asm__(".text\n"
	"thunk_rax:\n"
	"	call 1f\n"
	"2:	pause\n"
	"	lfence\n"
	"	jmp 2b\n"
	"1:	mov %rax, (%rsp)\n"
	"	ret\n");
static inline u64 retpoline(u64 (*f)(u64, u64), u64 x, u64 y)
{
	u64 ret;

	__asm__ volatile("call thunk_rax"
			 : "=a"(ret), "+D"(x), "+S"(y)
			 : "a"(f)
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
	return ret;
}
u64 k_retpoline(u64 rounds, struct arena *a)
{
	const struct ops *o = &the_ops;
	u64 r, i, x = 1;

	__asm__ volatile("" : "+r"(o));
	for (r = 0; r < rounds; r++)
		for (i = 1; i < 200; i++) {
			x = retpoline(o->add, x, i);
			x = retpoline(o->mix, x, r);
			x = retpoline(o->rot, x, i);
		}
	return x;
}

/* 10: a state machine with a dense switch */
noinline u64 k_switch(u64 rounds, struct arena *a)
{
	u64 r, i, s = 17, acc = 0, st = 0;

	for (r = 0; r < rounds; r++)
		for (i = 0; i < 500; i++) {
			switch (st) {
			case 0:
				acc += 3;
				st = next(&s) & 15;
				break;
			case 1:
				acc ^= s;
				st = 5;
				break;
			case 2:
				acc = acc << 1 | acc >> 63;
				st = s >> 5 & 15;
				break;
			case 3:
				acc -= i;
				st = 7;
				break;
			case 4:
				acc *= 5;
				st = (acc >> 3) & 15;
				break;
			case 5:
				acc += r;
				st = next(&s) >> 3 & 15;
				break;
			case 6:
				acc = ~acc;
				st = 9;
				break;
			case 7:
				acc += acc >> 7;
				st = 2;
				break;
			case 8:
				acc ^= acc << 3;
				st = 0;
				break;
			case 9:
				acc += 0x1234567;
				st = 11;
				break;
			case 10:
				st = 12 - (acc & 1);
				break;
			case 11:
				acc -= s;
				st = next(&s) >> 7 & 15;
				break;
			case 12:
				acc += 12;
				st = 4;
				break;
			default:
				acc ^= st;
				st = acc % 13;
				break;
			}
		}
	return acc;
}

/* 16: formatting: variable arguments, division */
static noinline char *put_num(char *p, u64 v, unsigned int base)
{
	char t[24];
	int n = 0;

	do
		t[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		*p++ = t[--n];
	return p;
}
static noinline char *format(char *p, const char *f, ...)
{
	va_list ap;

	va_start(ap, f);
	for (; *f; f++) {
		if (*f != '%') {
			*p++ = *f;
			continue;
		}
		switch (*++f) {
		case 'u':
			p = put_num(p, va_arg(ap, u64), 10);
			break;
		case 'x':
			p = put_num(p, va_arg(ap, u64), 16);
			break;
		case 's': {
			const char *q = va_arg(ap, const char *);

			while (*q)
				*p++ = *q++;
			break;
		}
		default:
			*p++ = *f;
		}
	}
	va_end(ap);
	*p = 0;
	return p;
}
u64 k_format(u64 rounds, struct arena *a)
{
	char *buf = take(a, 512), *p;
	u64 r, s = 41, sum = 0;

	for (r = 0; r < rounds * 8; r++) {
		format(buf, "vcpu %u: %s at %x (%u%%)\n", r, r & 1 ? "running" : "idle", next(&s),
		       r % 101);
		for (p = buf; *p; p++)
			sum = sum * 33 + (unsigned char)*p;
	}
	return sum;
}

/* 17: LZ-like decompression: byte loops with data-dependent branches */
u64 k_lz(u64 rounds, struct arena *a)
{
	unsigned char *in = take(a, 1024), *out = take(a, 8192), *d, *q, *e;
	u64 r, i, s = 43, sum = 0;

	for (i = 0; i < 1024; i++)
		in[i] = (unsigned char)next(&s);
	for (r = 0; r < rounds; r++) {
		for (d = out, i = 0; i < 1000 && d < out + 4000;) {
			unsigned char c = in[i++];

			if (c & 1 && d > out + 64) {
				q = d - 1 - (in[i++] & 63);
				e = d + 3 + (c >> 4);
				while (d < e)
					*d++ = *q++;
			} else {
				*d++ = c ^ (unsigned char)r;
			}
		}
		sum = sum * 31 + d[-1] + (u64)(d - out);
	}
	return sum;
}

/* 18: integer matrix product */
u64 k_matrix(u64 rounds, struct arena *a)
{
	u32(*m)[16] = take(a, sizeof(u32[3][16][16]));
	u64 r, i, j, k, sum = 0;

	for (i = 0; i < 48; i++)
		for (j = 0; j < 16; j++)
			m[i][j] = (u32)(i * 17 + j * 3);
	for (r = 0; r < rounds; r++) {
		for (i = 0; i < 16; i++)
			for (j = 0; j < 16; j++) {
				u32 acc = 0;

				for (k = 0; k < 16; k++)
					acc += m[i][k] * m[16 + k][j];
				m[32 + i][j] = acc;
			}
		sum += m[32 + (r & 15)][3];
		m[r & 15][5] ^= (u32)sum;
	}
	return sum;
}

/* 19: rep movs and rep stos, 64 bytes to 4 KiB */
u64 k_rep(u64 rounds, struct arena *a)
{
	char *x = take(a, 8192), *y = take(a, 8192);
	u64 r, i, sum = 0;

	for (i = 0; i < 4096; i++)
		x[i] = (char)(i * 3);
	for (r = 0; r < rounds; r++)
		for (i = 512; i <= 4096; i <<= 1) {
			void *d = y, *s = x;
			u64 n = i / 8;

			__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(n)::"memory");
			sum += (u64)((char *)d - y) + (unsigned char)y[i - 1];
			n = i;
			d = y;
			__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"((int)r) : "memory");
			sum += (unsigned char)y[i / 2];
		}
	return sum;
}

/* 20: per-CPU data through gs: (the base is the scratch area's end) */
u64 k_percpu(u64 rounds, struct arena *a)
{
	u64 r, i, v = 0;

	for (r = 0; r < rounds; r++)
		for (i = 0; i < 200; i++) {
			__asm__ volatile("incq %%gs:0x40" ::: "memory", "cc");
			__asm__ volatile("addq %0, %%gs:0x48" ::"r"(i) : "memory", "cc");
			__asm__ volatile("xaddq %0, %%gs:0x50" : "+r"(v)::"memory", "cc");
			v += i;
		}
	__asm__ volatile("movq %%gs:0x48, %0" : "=r"(r));
	return v + r;
}

static kernel_t *const kernels[] = {k_chase,  k_hash,	k_tree,	    k_sort,	 k_copy,   k_string,
				    k_fib,    k_many,	k_indirect, k_retpoline, k_switch, k_walk,
				    k_crc,    k_bitmap, k_radix,    k_lists,	 k_format, k_lz,
				    k_matrix, k_rep,	k_percpu};

__attribute__((used)) u64 kernel_main(u64 which, u64 rounds, char *scratch)
{
	struct arena a = {scratch};

	return kernels[which](rounds, &a);
}

/* rdi, rsi, rdx as kernel_main(); then to the exit at the fixed address behind the entry. */
__asm__(".section .text.entry, \"ax\"\n"
	".globl kernel_entry\n"
	"kernel_entry:\n"
	"	call kernel_main\n"
	"	.globl kernel_exit\n"
	"kernel_exit:\n"
	"	.skip 16, 0x90\n"
	"	.text\n");
