/* SPDX-License-Identifier: MIT */
/*
 * Guest programs for the translator's tests and benchmark: self-contained, freestanding, linked
 * flat at a given address and run both natively and translated. kernel_entry(which, rounds,
 * scratch) returns a checksum that does not depend on where the code or the scratch memory lies.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;

#define noinline __attribute__((noinline))

struct arena {
	char *p;
};

static u64 next(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void *take(struct arena *a, size_t n)
{
	void *p = a->p;

	a->p += (n + 15) & ~15ul;
	return p;
}

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

/* 0: pointer chasing */
struct node {
	struct node *next;
	u64 v, pad[6];
};
static u64 k_chase(u64 rounds, struct arena *a)
{
	struct node *n = take(a, 1024 * sizeof(*n)), *p;
	u64 s = 1, sum = 0, i, j;

	for (i = 0; i < 1024; i++) {
		n[i].next = &n[(i * 397 + 1) & 1023];
		n[i].v = next(&s);
	}
	for (i = 0; i < rounds; i++)
		for (p = n, j = 0; j < 1024; j++, p = p->next)
			sum += p->v ^ j;
	return sum;
}

/* 1: hash table with chains */
struct hent {
	struct hent *next;
	u64 key, val;
};
static noinline u32 hash64(u64 k)
{
	return (u32)((k * 0x61c8864680b583ebull) >> 54);
}
static noinline struct hent *h_find(struct hent **t, u64 k)
{
	struct hent *e;

	for (e = t[hash64(k)]; e; e = e->next)
		if (e->key == k)
			return e;
	return NULL;
}
static u64 k_hash(u64 rounds, struct arena *a)
{
	struct hent **t = take(a, 1024 * sizeof(*t)), *e = take(a, 2048 * sizeof(*e));
	u64 s, sum = 0, i, r;

	for (r = 0; r < rounds; r++) {
		for (i = 0; i < 1024; i++)
			t[i] = NULL;
		for (s = 7, i = 0; i < 1000; i++) {
			e[i].key = next(&s);
			e[i].val = i;
			e[i].next = t[hash64(e[i].key)];
			t[hash64(e[i].key)] = &e[i];
		}
		for (s = 7, i = 0; i < 1000; i++) {
			struct hent *f = h_find(t, next(&s) ^ (i & 1));

			sum += f ? f->val : 3;
		}
	}
	return sum;
}

/* 2: binary tree, recursive */
struct tnode {
	struct tnode *l, *r;
	u64 key;
};
static noinline void t_insert(struct tnode **root, struct tnode *n)
{
	while (*root)
		root = n->key < (*root)->key ? &(*root)->l : &(*root)->r;
	*root = n;
}
static noinline u64 t_sum(const struct tnode *t, u64 depth)
{
	if (!t)
		return depth;
	return t_sum(t->l, depth + 1) * 3 + t_sum(t->r, depth + 1) + (t->key & 0xff);
}
static u64 k_tree(u64 rounds, struct arena *a)
{
	struct tnode *n = take(a, 512 * sizeof(*n)), *root;
	u64 r, i, s, sum = 0;

	for (r = 0; r < rounds; r++) {
		root = NULL;
		for (s = 5 + r, i = 0; i < 512; i++) {
			n[i] = (struct tnode){.key = next(&s)};
			t_insert(&root, &n[i]);
		}
		sum += t_sum(root, 0);
	}
	return sum;
}

/* 3: sorting through a comparison callback */
static noinline int cmp_u64(const void *x, const void *y)
{
	u64 p = *(const u64 *)x, q = *(const u64 *)y;

	return p < q ? -1 : p > q;
}
static void swap_bytes(char *x, char *y, size_t n)
{
	while (n--) {
		char t = *x;

		*x++ = *y;
		*y++ = t;
	}
}
static noinline void heap_sort(char *base, size_t n, size_t sz,
			       int (*cmp)(const void *, const void *))
{
	size_t i, c, r;

	for (i = n / 2; i-- > 0;)
		for (r = i; (c = 2 * r + 1) < n; r = c) {
			if (c + 1 < n && cmp(base + c * sz, base + (c + 1) * sz) < 0)
				c++;
			if (cmp(base + r * sz, base + c * sz) >= 0)
				break;
			swap_bytes(base + r * sz, base + c * sz, sz);
		}
	for (i = n - 1; i > 0; i--) {
		swap_bytes(base, base + i * sz, sz);
		for (r = 0; (c = 2 * r + 1) < i; r = c) {
			if (c + 1 < i && cmp(base + c * sz, base + (c + 1) * sz) < 0)
				c++;
			if (cmp(base + r * sz, base + c * sz) >= 0)
				break;
			swap_bytes(base + r * sz, base + c * sz, sz);
		}
	}
}
static u64 k_sort(u64 rounds, struct arena *a)
{
	u64 *v = take(a, 256 * 8), s = 3, sum = 0, r, i;

	for (r = 0; r < rounds; r++) {
		for (i = 0; i < 256; i++)
			v[i] = next(&s);
		heap_sort((char *)v, 256, 8, cmp_u64);
		for (i = 0; i < 256; i++)
			sum = sum * 31 + v[i];
	}
	return sum;
}

/* 4: copying structures with plain loads and stores */
struct blob {
	u64 w[16];
};
static u64 k_copy(u64 rounds, struct arena *a)
{
	struct blob *b = take(a, 64 * sizeof(*b));
	u64 r, i, s = 9, sum = 0;

	for (i = 0; i < 64; i++)
		for (r = 0; r < 16; r++)
			b[i].w[r] = next(&s);
	for (r = 0; r < rounds; r++)
		for (i = 0; i < 63; i++) {
			u64 *d = b[i].w, *q = b[(i * 7 + 3) & 63].w;
			u64 k;

			for (k = 0; k < 16; k += 4) {
				u64 x0 = q[k], x1 = q[k + 1], x2 = q[k + 2], x3 = q[k + 3];

				d[k] = x0 + 1;
				d[k + 1] = x1;
				d[k + 2] = x2;
				d[k + 3] = x3;
			}
			sum ^= d[5];
		}
	return sum;
}

/* 5: strings */
static noinline size_t s_len(const char *p)
{
	const char *q = p;

	while (*q)
		q++;
	return (size_t)(q - p);
}
static noinline int s_cmp(const char *p, const char *q)
{
	while (*p && *p == *q) {
		p++;
		q++;
	}
	return *p - *q;
}
static noinline const char *s_chr(const char *p, char c)
{
	for (; *p; p++)
		if (*p == c)
			return p;
	return NULL;
}
static u64 k_string(u64 rounds, struct arena *a)
{
	char *t = take(a, 4096);
	u64 r, i, s = 11, sum = 0;

	for (i = 0; i < 4095; i++)
		t[i] = (char)((next(&s) & 15) ? 'a' + (next(&s) & 7) : 0);
	t[4095] = 0;
	for (r = 0; r < rounds; r++)
		for (i = 0; i < 3000; i += 1 + s_len(t + i)) {
			const char *f = s_chr(t + i, 'c');

			sum += s_len(t + i) + (f ? (u64)(f - t) : 1);
			sum += s_cmp(t + i, t + i / 2) < 0;
		}
	return sum;
}

/* 6: calls and nothing else */
static noinline u64 fib(u64 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
static u64 k_fib(u64 rounds, struct arena *a)
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
static u64 k_many(u64 rounds, struct arena *a)
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
static u64 k_indirect(u64 rounds, struct arena *a)
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
static u64 k_retpoline(u64 rounds, struct arena *a)
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
static noinline u64 k_switch(u64 rounds, struct arena *a)
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

/* 11: page-table walks */
static noinline u64 walk(const u64 *root, u64 va, const u64 *base)
{
	const u64 *t = root;
	int level;

	for (level = 3; level >= 0; level--) {
		u64 e = t[va >> (12 + 9 * level) & 511];

		if (!(e & 1))
			return ~0ull;
		t = (const u64 *)((const char *)base + (e & 0xffffffffff000ull));
	}
	return (u64)((const char *)t - (const char *)base);
}
static u64 k_walk(u64 rounds, struct arena *a)
{
	u64 *pt, r, i, sum = 0, s = 23;

	a->p = (char *)(((uintptr_t)a->p + 4095) & ~4095ul);
	pt = take(a, 16 * 4096);
	for (i = 0; i < 16 * 512; i++)
		pt[i] = (((i * 2654435761u >> 7) & 15) << 12) | ((i % 11) != 0);
	for (r = 0; r < rounds; r++)
		for (i = 0; i < 300; i++)
			sum += walk(pt, next(&s) & 0xfffffffff000ull, pt);
	return sum;
}

/* 12: arithmetic without much memory */
static u64 k_crc(u64 rounds, struct arena *a)
{
	unsigned char *t = take(a, 1024);
	u64 r, i;
	u32 c = ~0u;
	int k;

	for (i = 0; i < 1024; i++)
		t[i] = (unsigned char)(i * 7 + 3);
	for (r = 0; r < rounds; r++)
		for (i = 0; i < 128; i++) {
			c ^= t[(i + r) & 1023];
			for (k = 0; k < 8; k++)
				c = c >> 1 ^ (0xedb88320u & -(c & 1));
		}
	return c;
}

/* 13: bitmaps */
static u64 k_bitmap(u64 rounds, struct arena *a)
{
	u64 *b = take(a, 64 * 8), r, i, s = 29, sum = 0;

	for (i = 0; i < 64; i++)
		b[i] = next(&s) & next(&s) & next(&s);
	for (r = 0; r < rounds; r++) {
		for (i = 0; i < 64; i++) {
			u64 w = b[i];

			while (w) {
				sum += (u64)__builtin_ctzll(w) + i * 64;
				w &= w - 1;
			}
		}
		__asm__ volatile("btcq %1, %0" : "+m"(b[3]) : "r"(r & 63) : "cc");
		__asm__ volatile("lock btsq %1, %0"
				 : "+m"(*b)
				 : "r"(next(&s) & 4095)
				 : "cc", "memory");
	}
	return sum;
}

/* 14: radix tree lookups */
struct rnode {
	struct rnode *slot[16];
};
static noinline struct rnode *r_get(struct rnode *n, u32 key)
{
	int i;

	for (i = 0; i < 3 && n; i++, key >>= 4)
		n = n->slot[key & 15];
	return n;
}
static u64 k_radix(u64 rounds, struct arena *a)
{
	struct rnode *n = take(a, 300 * sizeof(*n)), *p;
	u64 r, i, s = 31, sum = 0;

	memset(n, 0, 300 * sizeof(*n));
	for (i = 0; i < 273; i++)
		for (r = 0; r < 16; r++)
			if (i < 17)
				n[i].slot[r] = &n[1 + i * 16 + r];
			else
				n[i].slot[r] = (next(&s) & 3) ? &n[(i + r) % 273] : NULL;
	for (r = 0; r < rounds; r++)
		for (i = 0; i < 500; i++) {
			p = r_get(n, (u32)next(&s));
			sum += p ? (u64)(p - n) : 1;
		}
	return sum;
}

/* 15: a free-list allocator and doubly linked lists */
struct obj {
	struct obj *next, *prev;
	u64 v;
};
static noinline struct obj *o_alloc(struct obj **freelist)
{
	struct obj *o = *freelist;

	if (o)
		*freelist = o->next;
	return o;
}
static noinline void o_free(struct obj **freelist, struct obj *o)
{
	o->next = *freelist;
	*freelist = o;
}
static noinline void l_add(struct obj *head, struct obj *o)
{
	o->next = head->next;
	o->prev = head;
	head->next->prev = o;
	head->next = o;
}
static noinline void l_del(struct obj *o)
{
	o->prev->next = o->next;
	o->next->prev = o->prev;
}
static u64 k_lists(u64 rounds, struct arena *a)
{
	struct obj *pool = take(a, 256 * sizeof(*pool)), head[4], *fl = NULL, *o;
	u64 r, i, s = 37, sum = 0;

	for (i = 0; i < 256; i++)
		o_free(&fl, &pool[i]);
	for (i = 0; i < 4; i++)
		head[i].next = head[i].prev = &head[i];
	for (r = 0; r < rounds; r++)
		for (i = 0; i < 300; i++) {
			u64 x = next(&s);

			if (x & 1) {
				o = o_alloc(&fl);
				if (o) {
					o->v = x >> 8;
					l_add(&head[x >> 1 & 3], o);
				}
			} else {
				o = head[x >> 1 & 3].prev;
				if (o != &head[x >> 1 & 3]) {
					sum += o->v;
					l_del(o);
					o_free(&fl, o);
				}
			}
		}
	return sum;
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
static u64 k_format(u64 rounds, struct arena *a)
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
static u64 k_lz(u64 rounds, struct arena *a)
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
static u64 k_matrix(u64 rounds, struct arena *a)
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
static u64 k_rep(u64 rounds, struct arena *a)
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
static u64 k_percpu(u64 rounds, struct arena *a)
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

typedef u64 kernel_t(u64 rounds, struct arena *a);
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
