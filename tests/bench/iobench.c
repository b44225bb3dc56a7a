// SPDX-License-Identifier: MIT
/*
 * iobench: what a guest gets of a disk whose image lies in the host's page cache, and of the
 * network to the host. Like ubench.c one static binary: run natively, as a program in some sandbox,
 * or as /init of an initramfs, where it loads the modules that scripts/mkinitramfs has put there.
 *
 *   iobench			  rows as `iobench: ROW VALUE UNIT`, the best of several passes
 *   iobench --serve ADDRESS	  the other end of the network rows, for ever
 *
 * By the environment: UBENCH_ROWS=row,row, UBENCH_PASSES (default 3), UBENCH_MS the length of a
 * pass (default 1000), UBENCH_DISK the device or file, UBENCH_PEER the server's IPv4 address; as
 * init UBENCH_NIC and UBENCH_ADDR the interface to bring up and its address (/24).
 *
 * A block device's own cache is dropped before each pass, so that the data crosses the ring; a file
 * is read as it is.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM "iobench"
#include "bench.h"

/* Not from linux/fs.h, which musl-gcc has not. */
#ifndef BLKFLSBUF
#define BLKFLSBUF _IO(0x12, 97)
#endif
#define PORT	   5900
#define CHUNK	   (1u << 20)
#define NET_CHUNK  (128u << 10) /* what iperf3 reads and writes */
#define DISK_BYTES (192ull << 20)

static uint8_t *buffer;
static double pass_ns = 1e9;

/* ---- disk --------------------------------------------------------------------------------- */

static int open_disk(int flags)
{
	const char *path = getenv("UBENCH_DISK");
	struct stat st;
	int fd = -1;

	if (!path)
		die("UBENCH_DISK is not set");
	for (int tries = 0; tries < 200 && fd < 0; tries++) {
		fd = open(path, O_RDONLY | flags);
		if (fd < 0)
			usleep(50000);
	}
	if (fd < 0 || fstat(fd, &st))
		die("%s", path);
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKFLSBUF))
		die("%s: BLKFLSBUF", path);
	return fd;
}

static double read_all(int flags)
{
	int fd = open_disk(flags);
	double t = now_ns();

	for (uint64_t at = 0; at < DISK_BYTES; at += CHUNK)
		if (pread(fd, buffer, CHUNK, (off_t)at) != CHUNK)
			die("reading the disk at %llu", (unsigned long long)at);
	t = now_ns() - t;
	close(fd);
	return (double)DISK_BYTES / (t * 1e-3);
}

static double blk_buffered(void)
{
	return read_all(0);
}

static double blk_direct(void)
{
	return read_all(O_DIRECT);
}

/* One at a time: what a request costs on its way. */
static double blk_4k(void)
{
	int fd = open_disk(O_DIRECT);
	uint32_t random = 1;
	double start = now_ns();
	long n = 0;

	do {
		random = random * 1664525u + 1013904223u;
		if (pread(fd, buffer, 4096, (off_t)(random % (DISK_BYTES >> 12)) << 12) != 4096)
			die("reading 4 KiB of the disk");
		n++;
	} while (now_ns() - start < pass_ns);
	close(fd);
	return (now_ns() - start) * 1e-3 / (double)n;
}

/* ---- network ------------------------------------------------------------------------------ */

static struct sockaddr_in address(const char *text, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	if (!text || inet_pton(AF_INET, text, &a.sin_addr) != 1)
		die("'%s' is no IPv4 address", text ? text : "");
	return a;
}

static int dial(char what)
{
	struct sockaddr_in a = address(getenv("UBENCH_PEER"), PORT);

	for (int tries = 0; tries < 100; tries++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (fd < 0)
			die("socket");
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a))) {
			if (write(fd, &what, 1) != 1)
				die("writing to the server");
			return fd;
		}
		close(fd);
		usleep(100000);
	}
	die("no connection to %s", getenv("UBENCH_PEER"));
}

/* Everything has arrived when the server closes its end. */
static double net_send(void)
{
	int fd = dial('s');
	double start = now_ns(), bytes = 0;
	ssize_t n;

	do {
		n = write(fd, buffer, NET_CHUNK);
		if (n <= 0)
			die("sending");
		bytes += (double)n;
	} while (now_ns() - start < pass_ns);
	shutdown(fd, SHUT_WR);
	while (read(fd, buffer, 1) > 0)
		;
	close(fd);
	return bytes * 8e3 / (now_ns() - start);
}

static double net_recv(void)
{
	int fd = dial('r');
	double start = now_ns(), bytes = 0;
	ssize_t n;

	do {
		n = read(fd, buffer, NET_CHUNK);
		if (n <= 0)
			die("receiving");
		bytes += (double)n;
	} while (now_ns() - start < pass_ns);
	close(fd);
	return bytes * 8e3 / (now_ns() - start);
}

static void serve_one(int fd)
{
	char what = 0;

	if (read(fd, &what, 1) != 1)
		return;
	if (what == 's')
		while (read(fd, buffer, NET_CHUNK) > 0)
			;
	else
		while (write(fd, buffer, NET_CHUNK) > 0)
			;
}

__attribute__((noreturn)) static void serve(const char *where)
{
	struct sockaddr_in a = address(where, PORT);
	int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 8))
		die("listening at %s", where);
	for (;;) {
		int fd = accept(s, NULL, NULL);

		if (fd < 0)
			die("accept");
		serve_one(fd);
		close(fd);
	}
}

/* ---- rows --------------------------------------------------------------------------------- */

static const struct row {
	const char *name;
	double (*run)(void);
	const char *unit;
	int smaller;
} rows[] = {
	{"blk_buffered", blk_buffered, "MB/s", 0},
	{"blk_direct", blk_direct, "MB/s", 0},
	{"blk_4k", blk_4k, "us", 1},
	{"net_send", net_send, "Mbit/s", 0},
	{"net_recv", net_recv, "Mbit/s", 0},
};

static int wanted(const char *name)
{
	const char *list = getenv("UBENCH_ROWS");
	size_t n = strlen(name);

	for (const char *at = list; at && (at = strstr(at, name)); at += n)
		if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
			return 1;
	return !list;
}

static void load_modules(void)
{
	FILE *f = fopen("/etc/modules", "r");
	char path[256];

	while (f && fscanf(f, "%255s", path) == 1) {
		int fd = open(path, O_RDONLY);

		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			die("loading %s", path);
		close(fd);
	}
	if (f)
		fclose(f);
}

static void bring_up(const char *nic)
{
	struct sockaddr_in mask = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xffffff00)};
	struct sockaddr_in a = address(getenv("UBENCH_ADDR"), 0);
	int s = socket(AF_INET, SOCK_DGRAM, 0), r = -1;
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic);
	for (int tries = 0; tries < 200 && r; tries++) {
		memcpy(&ifr.ifr_addr, &a, sizeof(a));
		r = ioctl(s, SIOCSIFADDR, &ifr);
		if (r)
			usleep(50000);
	}
	if (r)
		die("no interface %s", nic);
	memcpy(&ifr.ifr_netmask, &mask, sizeof(mask));
	ioctl(s, SIOCSIFNETMASK, &ifr);
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &ifr))
		die("%s does not come up", nic);
	close(s);
}

/* As process 1; the rows run in a child, and the power goes off when it is done. */
static void become_init(void)
{
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	if (access("/dev/zero", F_OK) && mount("dev", "/dev", "devtmpfs", 0, NULL))
		die("cannot mount devtmpfs");
	load_modules();
	if (getenv("UBENCH_NIC"))
		bring_up(getenv("UBENCH_NIC"));
	if (fork()) {
		while (wait(NULL) > 0)
			;
		reboot(RB_POWER_OFF);
	}
}

int main(int argc, char **argv)
{
	const char *passes = getenv("UBENCH_PASSES"), *ms = getenv("UBENCH_MS");

	buffer = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		die("mmap");
	memset(buffer, 0x5a, CHUNK);
	if (argc == 3 && !strcmp(argv[1], "--serve"))
		serve(argv[2]);
	if (getpid() == 1 && !getenv("UBENCH_DIR"))
		become_init();
	if (ms)
		pass_ns = atof(ms) * 1e6;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		double best = 0;

		if (!wanted(rows[i].name))
			continue;
		for (int k = 0; k < (passes ? atoi(passes) : 3); k++) {
			double v = rows[i].run();

			if (!k || (rows[i].smaller ? v < best : v > best))
				best = v;
		}
		printf("iobench: %s %.4g %s\n", rows[i].name, best, rows[i].unit);
		fflush(stdout);
	}
	printf("iobench: done\n");
	fflush(stdout);
	return 0;
}
