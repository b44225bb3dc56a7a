/* SPDX-License-Identifier: MIT */
/* Those of the programs that are about data structures and memory; see translate_kernels.c. */
#include "translate_kernels.h"

/* 0: pointer chasing */
struct node {
	struct node *next;
	u64 v, pad[6];
};
u64 k_chase(u64 rounds, struct arena *a)
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
u64 k_hash(u64 rounds, struct arena *a)
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
u64 k_tree(u64 rounds, struct arena *a)
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
u64 k_sort(u64 rounds, struct arena *a)
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
u64 k_copy(u64 rounds, struct arena *a)
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
u64 k_string(u64 rounds, struct arena *a)
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
u64 k_walk(u64 rounds, struct arena *a)
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
u64 k_crc(u64 rounds, struct arena *a)
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
u64 k_bitmap(u64 rounds, struct arena *a)
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
u64 k_radix(u64 rounds, struct arena *a)
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
u64 k_lists(u64 rounds, struct arena *a)
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
