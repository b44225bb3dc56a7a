/* SPDX-License-Identifier: MIT */
/* Work without the hypervisor: integers, strings, recursion, indirect calls, tables, sorting. */
#include "pvg.h"

static u64 seed = 88172645463325252ul;
static u64 next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static u32 fib(u32 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static u32 crc32(const u8 *p, size_t n)
{
	u32 c = ~0u;

	while (n--) {
		c ^= *p++;
		for (int i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
	}
	return ~c;
}

static int by_value(const void *a, const void *b)
{
	return *(const u32 *)a < *(const u32 *)b ? -1 : *(const u32 *)a > *(const u32 *)b;
}
static int by_reverse(const void *a, const void *b)
{
	return -by_value(a, b);
}

static void sort(u32 *v, u32 n, int (*cmp)(const void *, const void *))
{
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++)
			for (u32 k = i; k >= gap && cmp(&v[k - gap], &v[k]) > 0; k -= gap) {
				u32 t = v[k];

				v[k] = v[k - gap];
				v[k - gap] = t;
			}
}

static u8 buf[65536];
static u32 values[4096];
static u64 matrix[3][32][32];

static u64 op_add(u64 a, u64 b)
{
	return a + b;
}
static u64 op_mul(u64 a, u64 b)
{
	return a * b;
}
static u64 op_rot(u64 a, u64 b)
{
	return a << (b & 63) | a >> (-b & 63);
}
static u64 op_div(u64 a, u64 b)
{
	return b ? a / b + a % b : 0;
}
static u64 (*const ops[4])(u64, u64) = {op_add, op_mul, op_rot, op_div};

void guest_main(void)
{
	u64 h = 0, a = 1;
	u32 n;

	printf("fib(25) = %d\n", fib(25));
	for (n = 0; n < sizeof(buf); n++)
		buf[n] = (u8)next();
	printf("crc32 %x\n", crc32(buf, sizeof(buf)));
	__asm__ volatile("rep movsb" ::"D"(buf + 1000), "S"(buf), "c"(30000ul) : "memory");
	printf("after rep movsb, overlapping: %x\n", crc32(buf, sizeof(buf)));
	{
		void *d = buf + 50000, *s = buf + 40000;
		u64 c = 500;

		__asm__ volatile("std\n rep movsq\n cld" : "+D"(d), "+S"(s), "+c"(c)::"memory");
		printf("after rep movsq, backwards: %x, rcx %d\n", crc32(buf, sizeof(buf)), (int)c);
		d = buf;
		c = 65536;
		__asm__ volatile("repne scasb" : "+D"(d), "+c"(c) : "a"(0x77) : "memory", "cc");
		printf("scasb stopped after %d\n", (int)((u8 *)d - buf));
	}
	for (n = 0; n < ARRAY_SIZE(values); n++)
		values[n] = (u32)next();
	sort(values, ARRAY_SIZE(values), by_value);
	printf("sorted, middle %x\n", values[2048]);
	sort(values, ARRAY_SIZE(values), by_reverse);
	printf("reversed, first %x\n", values[0]);
	for (n = 0; n < 1000000; n++)
		a = ops[next() & 3](a, n | 1);
	printf("a million indirect calls: %lx\n", a);
	for (int i = 0; i < 32; i++)
		for (int k = 0; k < 32; k++) {
			matrix[0][i][k] = next();
			matrix[1][i][k] = next();
		}
	for (int i = 0; i < 32; i++)
		for (int k = 0; k < 32; k++)
			for (int j = 0; j < 32; j++)
				matrix[2][i][k] += matrix[0][i][j] * matrix[1][j][k];
	for (int i = 0; i < 32; i++)
		h ^= matrix[2][i][i];
	printf("matrix %lx\n", h);
	for (n = 0, h = 5381; n < 3000000; n++)
		switch (next() >> 60) {
		case 0:
			h += 1;
			break;
		case 1:
			h ^= 0x55;
			break;
		case 2:
			h *= 33;
			break;
		case 3:
			h -= n;
			break;
		case 4:
			h = ~h;
			break;
		case 5:
			h = h << 1 | h >> 63;
			break;
		case 6:
			h ^= h >> 17;
			break;
		case 7:
			h += h << 5;
			break;
		case 8:
			h = __builtin_bswap64(h);
			break;
		default:
			h += n;
			break;
		}
	printf("three million turns of a switch: %lx\n", h);
}
