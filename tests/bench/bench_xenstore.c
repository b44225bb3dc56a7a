/* SPDX-License-Identifier: MIT */
/*
 * What the store costs when a host is full: 100 domains with 100 nodes and 10 watches each. One
 * line per case, in nanoseconds per operation.
 *
 *	bench_xenstore [--check]
 *
 * With --check it ends with 1 if a request through the ring takes more than 20 us: an idle-looking
 * operation that slow would be one whose cost grows with the number of domains.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_guest.h"
#include "io/xenstore/internal.h"

#define DOMAINS 100u
#define NODES	100u
#define PORT	3u

struct bench {
	struct io_loop *loop;
	struct xs_store *store;
	struct io_guest *guests[DOMAINS];
	struct xs_conn *conns[DOMAINS];
};

static void need(bool good)
{
	if (!good)
		abort();
}

static void pump(struct bench *b)
{
	io_loop_quit(b->loop);
	io_loop_run(b->loop);
}

static double report(const char *what, uint64_t start, uint64_t ops)
{
	double ns = (double)(io_now_ns() - start) / (double)ops;

	printf("%-52s %9.0f ns\n", what, ns);
	return ns;
}

/* A request and its reply through the ring of a domain, as a front end does it. */
static void request(struct bench *b, unsigned int i, uint32_t type, uint32_t tx, const char *data,
		    uint32_t len)
{
	struct xenstore_domain_interface *page = fake_page(b->guests[i], 0);
	struct xsd_sockmsg hdr = {.type = type, .tx_id = tx, .len = len};
	char bytes[256];

	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), data, len);
	for (uint32_t at = 0; at < sizeof(hdr) + len; at++)
		page->req[MASK_XENSTORE_IDX(page->req_prod++)] = bytes[at];
	uint32_t before = page->rsp_prod;
	fake_raise(b->guests[i], PORT);
	pump(b);
	need(page->rsp_prod != before);
	page->rsp_cons = page->rsp_prod;
}

static void fill(struct bench *b)
{
	char path[64];

	for (unsigned int i = 0; i < DOMAINS; i++) {
		struct xs_domain_info info = {.domid = i + 1, .name = "bench", .max_vcpus = 4};

		b->guests[i] = fake_guest_new(i + 1, "bench", 1);
		fake_use_loop(b->guests[i], b->loop);
		need(xs_domain_write(b->store, &info) == 0);
		for (unsigned int n = 0; n < NODES; n++) {
			snprintf(path, sizeof(path), "/local/domain/%u/data/%u/%u", i + 1, n / 10,
				 n);
			need(xs_write(b->store, path, "value %u", n) == 0);
		}
		need(xs_conn_new(b->store, b->guests[i], fake_page(b->guests[i], 0), PORT,
				 &b->conns[i]) == 0);
		for (unsigned int n = 0; n < 10; n++) {
			int len = snprintf(path, sizeof(path), "data/%u%ctoken", n, '\0');

			request(b, i, XS_WATCH, 0, path, (uint32_t)len + 1);
		}
	}
}

static double requests(struct bench *b)
{
	const uint64_t ops = 100000;
	uint64_t start = io_now_ns();

	for (uint64_t n = 0; n < ops; n++)
		request(b, n % DOMAINS, XS_READ, 0, "data/3/33", 10);
	double worst = report("READ through the ring", start, ops);
	start = io_now_ns();
	for (uint64_t n = 0; n < ops; n++)
		request(b, n % DOMAINS, XS_WRITE, 0, "data/3/33\0value", 15);
	double ns = report("WRITE through the ring, one watch fires", start, ops);
	worst = ns > worst ? ns : worst;
	start = io_now_ns();
	for (uint64_t n = 0; n < ops; n++)
		request(b, n % DOMAINS, XS_DIRECTORY, 0, "data/3", 7);
	ns = report("DIRECTORY of 10 through the ring", start, ops);
	worst = ns > worst ? ns : worst;
	start = io_now_ns();
	for (uint32_t n = 0; n < ops; n++) {
		request(b, 0, XS_TRANSACTION_START, 0, "", 1);
		request(b, 0, XS_WRITE, n + 1, "data/3/33\0x", 11);
		request(b, 0, XS_TRANSACTION_END, n + 1, "T", 2);
	}
	report("a transaction of one WRITE (3 requests)", start, ops);
	return worst;
}

static void library(struct bench *b)
{
	const uint64_t ops = 200000;
	char path[64];
	uint64_t start = io_now_ns(), v;

	for (uint64_t n = 0; n < ops; n++)
		need(xs_get_uint(b->store, "/local/domain/50", "domid", 100, &v) == 0);
	report("xs_get_uint()", start, ops);
	start = io_now_ns();
	for (uint64_t n = 0; n < ops; n++) {
		snprintf(path, sizeof(path), "/local/domain/%u/data/x",
			 (unsigned int)(n % 100) + 1);
		need(xs_write(b->store, path, "%u", (unsigned int)n) == 0);
	}
	report("xs_write()", start, ops);
}

static void end_domains(struct bench *b)
{
	uint64_t start = io_now_ns();

	for (unsigned int i = 0; i < DOMAINS; i++) {
		xs_conn_free(b->conns[i]);
		xs_domain_erase(b->store, i + 1);
		xs_domain_release(b->store, i + 1);
	}
	report("end of a domain", start, DOMAINS);
	for (unsigned int i = 0; i < DOMAINS; i++)
		fake_guest_free(b->guests[i]);
}

int main(int argc, char **argv)
{
	struct bench b = {0};

	need(io_loop_new(&b.loop) == 0 && xs_store_new(b.loop, &b.store) == 0);
	uint64_t start = io_now_ns();
	fill(&b);
	report("a domain of 100 nodes and 10 watches", start, DOMAINS);
	double worst = requests(&b);
	library(&b);
	end_domains(&b);
	xs_store_free(b.store);
	io_loop_free(b.loop);
	return argc > 1 && strcmp(argv[1], "--check") == 0 && worst > 20000;
}
