/* SPDX-License-Identifier: MIT */
/* Random walks: what is done depends on a seed only, so it is the same on every host. */
#include "pvg.h"

static u64 state_of_rnd;
static unsigned int walk_now, step_now;
static unsigned int loud_walk, loud_from, loud_to;
static u64 other_seeds;

static void find_words(void);

void pvg_seed(u64 seed)
{
	find_words();
	state_of_rnd = 0x9e3779b97f4a7c15ul * (seed + other_seeds + 1);
}

u64 pvg_rnd(void)
{
	state_of_rnd ^= state_of_rnd << 13;
	state_of_rnd ^= state_of_rnd >> 7;
	state_of_rnd ^= state_of_rnd << 17;
	return state_of_rnd >> 11;
}

u64 pvg_mix(u64 sum, u64 word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15ul;
	return sum ^ sum >> 31;
}

char pvg_letter(long r)
{
	static const struct {
		signed char r;
		char c;
	} t[] = {{0, '.'},   {-1, 'P'},	 {-2, 'O'},  {-3, 'S'},	 {-4, 'h'},  {-6, 'n'},
		 {-7, 'E'},  {-8, 'd'},	 {-9, 'p'},  {-10, 'c'}, {-12, 'M'}, {-13, 'A'},
		 {-14, 'F'}, {-16, 'B'}, {-17, 'X'}, {-22, 'I'}, {-28, 'L'}, {-33, 'D'},
		 {-38, 'N'}, {-62, 'T'}, {-95, 'U'}};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		if (t[i].r == r)
			return t[i].c;
	if (r > 0 && r < 10)
		return (char)('0' + r);
	return r > 0 ? '+' : '?';
}

static unsigned int number(const u8 **s)
{
	unsigned int v = 0;

	while (**s >= '0' && **s <= '9')
		v = v * 10 + (unsigned int)(*(*s)++ - '0');
	if (**s == ',')
		(*s)++;
	return v;
}

/* The words of the command line. */
static void find_words(void)
{
	const u8 *s = (const u8 *)start_info->cmd_line;

	for (; *s; s++) {
		if (!memcmp(s, "loud=", 5)) {
			s += 5;
			loud_walk = number(&s);
			loud_from = number(&s);
			loud_to = number(&s);
			s--;
		} else if (!memcmp(s, "seed=", 5)) {
			s += 5;
			other_seeds = 100000ul * number(&s);
			s--;
		}
	}
}

bool pvg_loud(void)
{
	return (walk_now == loud_walk || loud_walk == 999) && step_now >= loud_from &&
	       step_now < loud_to;
}

void pvg_walk(unsigned int walk, unsigned int steps, long (*one)(void), u64 (*state)(void))
{
	char line[65];
	unsigned int k = 0;

	walk_now = walk;
	for (step_now = 0; step_now < steps; step_now++) {
		long r;

		SAY("%d: ", step_now);
		r = one();
		SAY(" -> %ld, then %lx\n", r, state ? state() >> 32 : 0);
		line[k++] = pvg_letter(r);
		if (k < 64 && step_now != steps - 1)
			continue;
		line[k] = 0;
		k = 0;
		if (state)
			printf("%s %lx\n", line, state() >> 32);
		else
			printf("%s\n", line);
	}
}
