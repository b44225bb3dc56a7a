/* SPDX-License-Identifier: MIT */
/*
 * Runs conversations written down in cases/: requests, and the replies and events that must follow.
 * Domains 5 and 7 talk through rings; 0 has domain 0's rights. A line is
 *
 *	CLIENT REQUEST[@N] PAYLOAD = REPLY
 *	CLIENT EVENT PAYLOAD		the next event the client gets
 *	CLIENT QUIET			it has no event
 *	CLIENT RAW N PAYLOAD = REPLY	a request of type N
 *	DROP CLIENT			the domain is destroyed
 *
 * In payloads "|" is a NUL byte, "~" alone is nothing, "{c*n}" is n times the character c. In
 * replies "!EINVAL" is an error and "*" matches anything. "@N" is the transaction in slot N, which
 * TRANSACTION_START@N fills; "@x" is one that does not exist.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_guest.h"
#include "peer.h"

static const char *const names[XS_TYPE_COUNT] = {
	[XS_CONTROL] = "CONTROL",
	[XS_DIRECTORY] = "DIRECTORY",
	[XS_READ] = "READ",
	[XS_GET_PERMS] = "GET_PERMS",
	[XS_WATCH] = "WATCH",
	[XS_UNWATCH] = "UNWATCH",
	[XS_TRANSACTION_START] = "TRANSACTION_START",
	[XS_TRANSACTION_END] = "TRANSACTION_END",
	[XS_INTRODUCE] = "INTRODUCE",
	[XS_RELEASE] = "RELEASE",
	[XS_GET_DOMAIN_PATH] = "GET_DOMAIN_PATH",
	[XS_WRITE] = "WRITE",
	[XS_MKDIR] = "MKDIR",
	[XS_RM] = "RM",
	[XS_SET_PERMS] = "SET_PERMS",
	[XS_IS_DOMAIN_INTRODUCED] = "IS_DOMAIN_INTRODUCED",
	[XS_RESUME] = "RESUME",
	[XS_SET_TARGET] = "SET_TARGET",
	[XS_RESET_WATCHES] = "RESET_WATCHES",
	[XS_DIRECTORY_PART] = "DIRECTORY_PART",
};

struct script {
	const char *file;
	int line;
	unsigned int requests;
	struct io_loop *loop;
	struct xs_store *store;
	struct peer peers[2];
	bool open[2];
	uint32_t tx[10];
};

static const unsigned int domids[2] = {5, 7};

static void complain(const struct script *s, const char *what, const char *got)
{
	fail_msg("%s:%d: %s: %s", s->file, s->line, what, got);
}

/* Expands the notation into buf; returns the length. */
static size_t expand(const struct script *s, const char *in, char *buf, size_t size)
{
	size_t n = 0;

	if (strcmp(in, "~") == 0)
		return 0;
	for (; *in; in++) {
		if (n >= size)
			complain(s, "payload is too long", in);
		if (*in == '|') {
			buf[n++] = '\0';
		} else if (*in == '{' && in[2] == '*') {
			char *end;
			size_t count = strtoul(in + 3, &end, 10);

			if (*end != '}' || n + count > size)
				complain(s, "bad repetition", in);
			memset(buf + n, in[1], count);
			n += count;
			in = end;
		} else {
			buf[n++] = *in;
		}
	}
	return n;
}

static bool matches(const char *pattern, size_t plen, const char *text, size_t tlen)
{
	for (; plen; pattern++, plen--) {
		if (*pattern == '*') {
			for (size_t skip = 0; skip <= tlen; skip++)
				if (matches(pattern + 1, plen - 1, text + skip, tlen - skip))
					return true;
			return false;
		}
		if (!tlen || *pattern != *text)
			return false;
		text++;
		tlen--;
	}
	return tlen == 0;
}

static void show(const char *text, size_t len, char *buf, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 5 < size; i++)
		n += (size_t)snprintf(buf + n, size - n,
				      text[i] == '\0'			? "|"
				      : isprint((unsigned char)text[i]) ? "%c"
									: "\\x%02x",
				      (unsigned char)text[i]);
	buf[n] = '\0';
}

static void expect(const struct script *s, const char *want, const char *got, size_t len)
{
	char pattern[8192], shown[512];
	size_t n = expand(s, want, pattern, sizeof(pattern));

	if (matches(pattern, n, got, len))
		return;
	show(got, len, shown, sizeof(shown));
	complain(s, "got", shown);
}

static struct peer *peer_of(struct script *s, unsigned int domid)
{
	for (int i = 0; i < 2; i++)
		if (domids[i] == domid && s->open[i])
			return &s->peers[i];
	complain(s, "no such client", "");
	return NULL;
}

/* Domain 0 has no ring: ask the request layer itself. */
static void ask_dom0(struct script *s, uint32_t type, uint32_t tx, const char *payload, size_t len,
		     struct message_in *m)
{
	char data[XENSTORE_PAYLOAD_MAX + 1];
	struct xs_watch *w;
	const void *reply;
	uint32_t reply_len;

	memcpy(data, payload, len);
	data[len] = '\0';
	pthread_mutex_lock(&s->store->lock);
	m->hdr.type =
		xsq_serve(&s->store->dom0, type, tx, data, (uint32_t)len, &reply, &reply_len, &w);
	memcpy(m->payload, reply, reply_len);
	m->payload[reply_len] = '\0';
	m->hdr.len = reply_len;
	pthread_mutex_unlock(&s->store->lock);
	pump(s->loop);
}

static void request(struct script *s, unsigned int domid, uint32_t type, const char *slot,
		    const char *payload, const char *want)
{
	static struct message_in m;
	static char data[8192];
	size_t len = expand(s, payload, data, sizeof(data));
	uint32_t *saved = slot && *slot != 'x' ? &s->tx[*slot - '0'] : NULL;
	uint32_t tx = saved ? *saved : slot ? 0xdeadbeef : 0;
	bool start = saved && type == XS_TRANSACTION_START && *saved == 0;

	if (domid == 0)
		ask_dom0(s, type, start ? 0 : tx, data, len, &m);
	else
		peer_request(peer_of(s, domid), type, start ? 0 : tx, data, len, &m);
	s->requests++;
	if (want[0] == '!') {
		if (m.hdr.type != XS_ERROR)
			complain(s, "succeeded", want);
		if (strcmp(m.payload, want + 1) != 0 || m.hdr.len != strlen(want))
			complain(s, "got error", m.payload);
		if (saved && strcmp(want, "!EAGAIN") == 0)
			*saved = 0;
		return;
	}
	if (m.hdr.type == XS_ERROR)
		complain(s, "got error", m.payload);
	expect(s, want, m.payload, m.hdr.len);
	if (start)
		*saved = (uint32_t)strtoul(m.payload, NULL, 10);
	if (saved && type == XS_TRANSACTION_END)
		*saved = 0;
}

static void drop(struct script *s, unsigned int domid)
{
	struct peer *p = peer_of(s, domid);

	peer_close(p);
	s->open[p - s->peers] = false;
}

static void run_line(struct script *s, char *line)
{
	static struct message_in m;
	char *save, *word = strtok_r(line, " \n", &save);

	if (!word || word[0] == '#')
		return;
	if (strcmp(word, "DROP") == 0) {
		drop(s, (unsigned int)strtoul(strtok_r(NULL, " \n", &save), NULL, 10));
		return;
	}
	unsigned int domid = (unsigned int)strtoul(word, NULL, 10);
	char *op = strtok_r(NULL, " \n", &save);
	if (!op)
		complain(s, "no request", line);
	if (strcmp(op, "QUIET") == 0) {
		if (peer_event(peer_of(s, domid), &m))
			complain(s, "has an event", m.payload);
		return;
	}
	uint32_t type = 0;
	if (strcmp(op, "RAW") == 0)
		type = (uint32_t)strtoul(strtok_r(NULL, " \n", &save), NULL, 10);
	char *payload = strtok_r(NULL, " \n", &save);
	if (!payload)
		complain(s, "no payload", op);
	if (strcmp(op, "EVENT") == 0) {
		if (!peer_event(peer_of(s, domid), &m))
			complain(s, "no event", payload);
		expect(s, payload, m.payload, m.hdr.len);
		return;
	}
	char *slot = strchr(op, '@');
	if (slot)
		*slot++ = '\0';
	char *equals = strtok_r(NULL, " \n", &save);
	char *want = strtok_r(NULL, " \n", &save);
	if (!equals || strcmp(equals, "=") != 0 || !want)
		complain(s, "no reply", op);
	if (strcmp(op, "RAW") != 0) {
		while (type < XS_TYPE_COUNT && !(names[type] && strcmp(names[type], op) == 0))
			type++;
		if (type == XS_TYPE_COUNT)
			complain(s, "no such request", op);
	}
	request(s, domid, type, slot, payload, want);
}

static unsigned int total_requests;

static void run_script(void **state)
{
	struct script s = {.file = *state};
	FILE *f = fopen(s.file, "r");
	char line[1024];

	assert_non_null(f);
	assert_int_equal(io_loop_new(&s.loop), 0);
	assert_int_equal(xs_store_new(s.loop, &s.store), 0);
	for (int i = 0; i < 2; i++) {
		peer_open(&s.peers[i], s.loop, s.store, domids[i]);
		s.open[i] = true;
	}
	while (fgets(line, sizeof(line), f)) {
		s.line++;
		run_line(&s, line);
	}
	fclose(f);
	for (int i = 0; i < 2; i++)
		if (s.open[i])
			peer_close(&s.peers[i]);
	xs_store_free(s.store);
	io_loop_free(s.loop);
	assert_true(s.requests > 0);
	total_requests += s.requests;
}

static void test_enough_cases_were_run(void **state)
{
	(void)state;
	print_message("%u requests answered as expected\n", total_requests);
	assert_true(total_requests >= 100);
}

static int is_case(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return dot && strcmp(dot, ".case") == 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[64] = {0};
	struct dirent **found;
	size_t nr = 0;

	if (argc != 2)
		return 2;
	int n = scandir(argv[1], &found, is_case, alphasort);
	for (int i = 0; i < n && nr < 63; i++) {
		char *path = malloc(strlen(argv[1]) + strlen(found[i]->d_name) + 2);

		if (!path)
			return 2;
		sprintf(path, "%s/%s", argv[1], found[i]->d_name);
		tests[nr++] = (struct CMUnitTest){
			.name = found[i]->d_name, .test_func = run_script, .initial_state = path};
	}
	tests[nr++] = (struct CMUnitTest)cmocka_unit_test(test_enough_cases_were_run);
	int r = _cmocka_run_group_tests("xenstore wire", tests, nr, NULL, NULL);
	for (int i = 0; i < n; i++) {
		free(tests[i].initial_state);
		free(found[i]);
	}
	free(found);
	return r;
}
