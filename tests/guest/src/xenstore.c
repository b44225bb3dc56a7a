/* SPDX-License-Identifier: MIT */
/* The xenstore as a guest sees it: the wire protocol, errors, permissions, transactions, watches.
 */
#include "pvg.h"
#include <xen/io/xs_wire.h>

static char answer[4100];

/* Sends type with the NUL-separated payload and prints the answer with NULs as '|'. */
static long req(const char *name, u32 type, u32 tx, const char *payload, u32 len)
{
	long n = pvg_store_request(type, tx, payload, len, answer, sizeof(answer));

	printf("%s: ", name);
	if (n < 0) {
		printf("error %s\n", answer);
		return n;
	}
	printf("%d bytes", (int)n);
	if (n > 0 && n < 100) {
		printf(" \"");
		for (long i = 0; i < n; i++)
			pvg_putc(answer[i] >= ' ' ? answer[i] : answer[i] ? '.' : '|');
		printf("\"");
	}
	printf("\n");
	return n;
}
#define REQ(name, type, tx, payload) req(name, type, tx, payload, sizeof(payload) - 1)

static char base[64]; /* /local/domain/N/data */

static u32 path(char *dst, const char *leaf)
{
	u32 n = (u32)strlen(base), m = (u32)strlen(leaf);

	memcpy(dst, base, n);
	memcpy(dst + n, leaf, m + 1);
	return n + m + 1;
}

static void reading(void)
{
	char domid[16];

	pvg_store_read("domid", domid, sizeof(domid));
	printf("domid is a number: %d\n", domid[0] >= '0' && domid[0] <= '9');
	REQ("read of an empty path", XS_READ, 0, "\0");
	REQ("read without NUL", XS_READ, 0, "domid");
	REQ("read missing", XS_READ, 0, "nothing-here\0");
	REQ("read of a directory", XS_READ, 0, "device\0");
	REQ("read another domain's", XS_READ, 0, "/local/domain/0/name\0");
	REQ("read the root", XS_READ, 0, "/\0");
	REQ("read //", XS_READ, 0, "//\0");
	REQ("read a path with an end slash", XS_READ, 0, "domid/\0");
	REQ("read a bad character", XS_READ, 0, "a b\0");
	REQ("read a//b", XS_READ, 0, "a//b\0");
	REQ("read @releaseDomain", XS_READ, 0, "@releaseDomain\0");
	REQ("read with two arguments", XS_READ, 0, "domid\0domid\0");
	printf("directory of console has entries: %d\n",
	       pvg_store_request(XS_DIRECTORY, 0, "console", 8, answer, sizeof(answer)) > 0);
	REQ("directory of a leaf", XS_DIRECTORY, 0, "domid\0");
	REQ("directory of a missing one", XS_DIRECTORY, 0, "nothing-here\0");
	REQ("get_perms of domid", XS_GET_PERMS, 0, "nothing-here\0");
	REQ("unknown type 99", 99, 0, "domid\0");
	REQ("read in transaction 77", XS_READ, 77, "domid\0");
	REQ("is_domain_introduced 0", XS_IS_DOMAIN_INTRODUCED, 0, "0\0");
	REQ("introduce", XS_INTRODUCE, 0, "5\0005\0005\0");
	REQ("release", XS_RELEASE, 0, "5\0");
	REQ("resume", XS_RESUME, 0, "5\0");
	REQ("set_target", XS_SET_TARGET, 0, "5\0006\0");
	REQ("control", XS_CONTROL, 0, "print\0");
}

static void writing(void)
{
	char buf[200];
	u32 n;

	pvg_store_request(XS_GET_DOMAIN_PATH, 0, "0", 2, answer, sizeof(answer));
	printf("path of domain 0: %s\n", answer);
	{
		char domid[16];
		long len = pvg_store_read("domid", domid, sizeof(domid));

		pvg_store_request(XS_GET_DOMAIN_PATH, 0, domid, (u32)len + 1, answer,
				  sizeof(answer));
		memcpy(base, answer, strlen(answer) + 1);
		memcpy(base + strlen(base), "/data", 6);
	}
	n = path(buf, "");
	memcpy(buf + n, "hello", 5);
	req("write to data", XS_WRITE, 0, buf, n + 5);
	req("read it", XS_READ, 0, buf, n);
	REQ("read it by the short path", XS_READ, 0, "data\0");
	REQ("write a child", XS_WRITE, 0, "data/a/b/c\0value");
	REQ("  read between", XS_READ, 0, "data/a/b\0");
	REQ("  directory", XS_DIRECTORY, 0, "data\0");
	REQ("write an empty value", XS_WRITE, 0, "data/empty\0");
	REQ("  read it", XS_READ, 0, "data/empty\0");
	REQ("write with an empty path", XS_WRITE, 0, "\0x");
	REQ("write without NUL", XS_WRITE, 0, "data/x");
	REQ("write the root", XS_WRITE, 0, "/\0x");
	REQ("write to domain 0", XS_WRITE, 0, "/local/domain/0/x\0x");
	REQ("write to the own home", XS_WRITE, 0, "own\0x");
	REQ("write to the own name", XS_WRITE, 0, "name\0x");
	REQ("write a binary value", XS_WRITE, 0, "data/bin\0\x01\x02\0\x03");
	REQ("  its length", XS_READ, 0, "data/bin\0");
	REQ("mkdir", XS_MKDIR, 0, "data/dir\0");
	REQ("mkdir again", XS_MKDIR, 0, "data/dir\0");
	REQ("  read it", XS_READ, 0, "data/dir\0");
	REQ("rm", XS_RM, 0, "data/a\0");
	REQ("rm again", XS_RM, 0, "data/a\0");
	REQ("rm below nothing", XS_RM, 0, "data/q/r\0");
	REQ("  directory", XS_DIRECTORY, 0, "data\0");
	REQ("rm the root", XS_RM, 0, "/\0");
	REQ("rm of domain 0", XS_RM, 0, "/local/domain/0\0");
	REQ("set_perms", XS_SET_PERMS, 0, "data/dir\0r0\0");
	REQ("set_perms to nonsense", XS_SET_PERMS, 0, "data/dir\0x0\0");
	{
		static char big[4096];

		memset(big, 'v', sizeof(big));
		memcpy(big, "data/big", 9);
		req("write 2048 bytes", XS_WRITE, 0, big, 9 + 2048);
		req("write 2049 bytes", XS_WRITE, 0, big, 9 + 2049);
		req("write 4087 bytes", XS_WRITE, 0, big, 4096);
		memset(big, 'p', sizeof(big));
		memcpy(big, "data/", 5);
		big[256] = 0;
		req("write to a path of 256 (relative)", XS_WRITE, 0, big, 258);
		big[256] = 'p';
		big[2048] = 0;
		req("write to a path of 2048", XS_WRITE, 0, big, 2050);
		big[2048] = 'p';
		big[3500] = 0;
		req("write to a path of 3500", XS_WRITE, 0, big, 3502);
	}
}

static u32 start(void)
{
	u32 id = 0;

	pvg_store_request(XS_TRANSACTION_START, 0, "", 1, answer, sizeof(answer));
	for (char *p = answer; *p >= '0' && *p <= '9'; p++)
		id = id * 10 + (u32)(*p - '0');
	return id;
}

static void transactions(void)
{
	u32 t = start(), u;

	printf("transaction id is not 0: %d\n", t != 0);
	REQ("write in it", XS_WRITE, t, "data/t\0one");
	REQ("read outside", XS_READ, 0, "data/t\0");
	REQ("read inside", XS_READ, t, "data/t\0");
	REQ("end with nonsense", XS_TRANSACTION_END, t, "X\0");
	REQ("commit", XS_TRANSACTION_END, t, "T\0");
	REQ("read outside", XS_READ, 0, "data/t\0");
	REQ("commit again", XS_TRANSACTION_END, t, "T\0");
	t = start();
	REQ("write in another", XS_WRITE, t, "data/t\0two");
	REQ("abort", XS_TRANSACTION_END, t, "F\0");
	REQ("read outside", XS_READ, 0, "data/t\0");
	t = start();
	u = start();
	REQ("first reads", XS_READ, t, "data/t\0");
	REQ("second writes", XS_WRITE, u, "data/t\0second");
	REQ("first writes", XS_WRITE, t, "data/t\0first");
	REQ("second commits", XS_TRANSACTION_END, u, "T\0");
	REQ("first commits", XS_TRANSACTION_END, t, "T\0");
	REQ("read", XS_READ, 0, "data/t\0");
	t = start();
	REQ("start inside one", XS_TRANSACTION_START, t, "\0");
	REQ("end it", XS_TRANSACTION_END, t, "F\0");
	REQ("end of 0", XS_TRANSACTION_END, 0, "T\0");
}

void guest_main(void)
{
	pvg_events_init();
	pvg_store_init();
	reading();
	writing();
	transactions();
	REQ("watch", XS_WATCH, 0, "data/w\0token\0");
	REQ("watch again", XS_WATCH, 0, "data/w\0token\0");
	REQ("watch another token", XS_WATCH, 0, "data/w\0other\0");
	REQ("watch in a bad path", XS_WATCH, 0, "a b\0t\0");
	REQ("watch @nonsense", XS_WATCH, 0, "@nonsense\0t\0");
	REQ("watch @releaseDomain", XS_WATCH, 0, "@releaseDomain\0t\0");
	REQ("watch without token", XS_WATCH, 0, "data/w\0");
	REQ("unwatch", XS_UNWATCH, 0, "data/w\0token\0");
	REQ("unwatch again", XS_UNWATCH, 0, "data/w\0token\0");
	REQ("reset_watches", XS_RESET_WATCHES, 0, "\0");
	REQ("unwatch after", XS_UNWATCH, 0, "data/w\0other\0");
}
