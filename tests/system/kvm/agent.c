/* SPDX-License-Identifier: MIT */
/*
 * The first process of the virtual machine in which the kvm executor is tested (vm.py). It loads
 * the modules, and then does what it is told by a virtio port: store files, run programs, pass on
 * their input and output. Frames both ways: struct frame, then `len` bytes.
 *
 *   to us    'F' create file (path), 'f' append to it, 's' a hole of it (uint64_t), 'N' the next
 *            program gets a socket with this number (text), 'R' run (argv, each ended by NUL),
 *            'I' input, 'E' end of input, 'P' a packet for the socket, 'S' a signal (its number),
 *            'K' kill and wait, 'G' send a file (path), 'Q' power off, 'T' nothing (vm.py)
 *   from us  'H' hello, 'O' output, 'X' error output, 'P' a packet from the socket, 'D' done (exit
 *            status, or 128 + signal), 'g' of a file, with no bytes: its end, 'h' a hole of it
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS  32
#define MAX_FRAME (1u << 20)
#define CHUNK	  32768

struct frame {
	uint8_t type, pad[3];
	uint32_t id, len;
};

static struct job {
	uint32_t id;
	pid_t pid;
	int in, out, err, net;
	int status; /* -1: runs */
} jobs[MAX_JOBS];

static int port, file = -1;
static int next_net = -1; /* number of the next program's socket */
static int child_pipe[2];

static void say(const char *what, const char *arg)
{
	fprintf(stderr, "agent: %s %s: %s\n", what, arg, strerror(errno));
}

static void write_all(const void *p, size_t n)
{
	const char *c = p;

	while (n) {
		ssize_t w = write(port, c, n);
		if (w < 0) {
			struct pollfd f = {.fd = port, .events = POLLOUT};
			poll(&f, 1, 100);
			continue;
		}
		c += w;
		n -= (size_t)w;
	}
}

static void send_frame(uint8_t type, uint32_t id, const void *p, size_t n)
{
	struct frame f = {.type = type, .id = id, .len = (uint32_t)n};

	write_all(&f, sizeof(f));
	write_all(p, n);
}

static void read_all(void *p, size_t n)
{
	char *c = p;

	while (n) {
		ssize_t r = read(port, c, n);
		if (r <= 0) {
			/* Nobody has connected yet, or is gone. */
			usleep(10000);
			continue;
		}
		c += r;
		n -= (size_t)r;
	}
}

static struct job *find(uint32_t id)
{
	for (int i = 0; i < MAX_JOBS; i++)
		if (jobs[i].pid && jobs[i].id == id)
			return &jobs[i];
	return NULL;
}

static void child(char **argv, int in, int out, int err, int net)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	if (net >= 0) {
		if (dup2(net, next_net) < 0 || fcntl(next_net, F_SETFD, 0) < 0)
			_exit(126);
		if (next_net > 3)
			close_range(3, (unsigned int)next_net - 1, 0);
	}
	closefrom(net >= 0 ? next_net + 1 : 3);
	setsid();
	/* As env(1): settings in front of the program. */
	for (; strchr(argv[0], '=') && argv[1]; argv++)
		putenv(argv[0]);
	execv(argv[0], argv);
	fprintf(stderr, "cannot execute %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static void run(uint32_t id, char *args, size_t len)
{
	char *argv[256];
	int n = 0, in[2], out[2], err[2], net[2] = {-1, -1};
	struct job *j = NULL;

	for (char *p = args; p < args + len && n < 255; p += strlen(p) + 1)
		argv[n++] = p;
	argv[n] = NULL;
	for (int i = 0; i < MAX_JOBS && !j; i++)
		if (!jobs[i].pid)
			j = &jobs[i];
	if (!j || !n || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) ||
	    (next_net >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, net))) {
		uint32_t status = 126;
		send_frame('D', id, &status, sizeof(status));
		return;
	}
	j->pid = fork();
	if (j->pid == 0)
		child(argv, in[0], out[1], err[1], net[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	if (net[1] >= 0)
		close(net[1]);
	next_net = -1;
	j->id = id;
	j->in = in[1];
	j->out = out[0];
	j->err = err[0];
	j->net = net[0];
	j->status = -1;
}

static void send_file(uint32_t id, const char *path)
{
	static char buf[CHUNK];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t hole = 0;
	ssize_t n = 0;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0) {
		if (!buf[0] && !memcmp(buf, buf + 1, (size_t)n - 1)) {
			hole += (uint64_t)n;
			continue;
		}
		if (hole)
			send_frame('h', id, &hole, sizeof(hole));
		hole = 0;
		send_frame('g', id, buf, (size_t)n);
	}
	if (hole)
		send_frame('h', id, &hole, sizeof(hole));
	send_frame('g', id, NULL, 0);
	if (fd < 0 || n < 0)
		say("cannot read", path);
	if (fd >= 0)
		close(fd);
}

static void handle(struct frame *f, char *data)
{
	struct job *j = find(f->id);

	switch (f->type) {
	case 'F':
		if (file >= 0)
			close(file);
		for (char *p = data + 1; (p = strchr(p, '/')); p++) {
			*p = 0;
			mkdir(data, 0755);
			*p = '/';
		}
		file = open(data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
		if (file < 0)
			say("cannot create", data);
		break;
	case 'f':
		if (file >= 0 && write(file, data, f->len) != (ssize_t)f->len)
			say("cannot write", "a file");
		break;
	case 's': {
		uint64_t hole;

		if (file < 0 || f->len != sizeof(hole))
			break;
		memcpy(&hole, data, sizeof(hole));
		off_t end = lseek(file, (off_t)hole, SEEK_CUR);
		if (end < 0 || ftruncate(file, end) < 0)
			say("cannot write", "a file");
		break;
	}
	case 'N':
		next_net = atoi(data);
		break;
	case 'G':
		send_file(f->id, data);
		break;
	case 'P':
		/* Full, as links are sometimes, or nobody there any more. */
		if (j && j->net >= 0)
			send(j->net, data, f->len, MSG_DONTWAIT);
		break;
	case 'R':
		if (file >= 0)
			close(file);
		file = -1;
		run(f->id, data, f->len);
		break;
	case 'I':
		if (j && j->in >= 0 && write(j->in, data, f->len) < 0)
			say("cannot pass on", "input");
		break;
	case 'E':
		if (j && j->in >= 0)
			close(j->in);
		if (j)
			j->in = -1;
		break;
	case 'S':
		if (j && j->status < 0 && f->len)
			kill(j->pid, data[0]);
		break;
	case 'K':
		if (j && j->status < 0) {
			/* Whoever asks for its files now shall find them at rest. */
			kill(j->pid, SIGKILL);
			waitpid(j->pid, &j->status, 0);
		}
		break;
	case 'Q':
		sync();
		reboot(RB_POWER_OFF);
		break;
	default:
		break;
	}
}

static void pass_on(struct job *j, int *fd, uint8_t type)
{
	static char buf[CHUNK];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n > 0) {
		send_frame(type, j->id, buf, (size_t)n);
		return;
	}
	close(*fd);
	*fd = -1;
}

static void pass_packet(struct job *j)
{
	static char buf[1 << 17];
	ssize_t n = recv(j->net, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0) {
		send_frame('P', j->id, buf, (size_t)n);
	} else if (n == 0) {
		close(j->net);
		j->net = -1;
	}
}

static void finish(struct job *j)
{
	uint32_t status;

	if (!j->pid || j->status < 0 || j->out >= 0 || j->err >= 0)
		return;
	status = WIFEXITED(j->status) ? (uint32_t)WEXITSTATUS(j->status)
				      : 128u + (uint32_t)WTERMSIG(j->status);
	send_frame('D', j->id, &status, sizeof(status));
	if (j->in >= 0)
		close(j->in);
	if (j->net >= 0)
		close(j->net);
	j->pid = 0;
}

static void reap(void)
{
	char c;
	int status;
	pid_t pid;

	while (read(child_pipe[0], &c, 1) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < MAX_JOBS; i++)
			if (jobs[i].pid == pid)
				jobs[i].status = status;
}

static void on_child(int sig)
{
	int e = errno;

	if (write(child_pipe[1], "", 1) < 0)
		errno = 0;
	errno = e;
}

static void serve(void)
{
	static char data[MAX_FRAME + 1];

	for (;;) {
		struct pollfd p[2 + 3 * MAX_JOBS] = {{.fd = port, .events = POLLIN},
						     {.fd = child_pipe[0], .events = POLLIN}};

		for (int i = 0; i < MAX_JOBS; i++) {
			p[2 + 3 * i] = (struct pollfd){.fd = jobs[i].pid ? jobs[i].out : -1,
						       .events = POLLIN};
			p[3 + 3 * i] = (struct pollfd){.fd = jobs[i].pid ? jobs[i].err : -1,
						       .events = POLLIN};
			p[4 + 3 * i] = (struct pollfd){.fd = jobs[i].pid ? jobs[i].net : -1,
						       .events = POLLIN};
		}
		if (poll(p, 2 + 3 * MAX_JOBS, -1) < 0)
			continue;
		if (p[1].revents)
			reap();
		for (int i = 0; i < MAX_JOBS; i++) {
			if (p[2 + 3 * i].revents)
				pass_on(&jobs[i], &jobs[i].out, 'O');
			if (p[3 + 3 * i].revents)
				pass_on(&jobs[i], &jobs[i].err, 'X');
			if (p[4 + 3 * i].revents)
				pass_packet(&jobs[i]);
			finish(&jobs[i]);
		}
		if (p[0].revents & POLLIN) {
			struct frame f;

			read_all(&f, sizeof(f));
			if (f.len > MAX_FRAME)
				continue;
			read_all(data, f.len);
			data[f.len] = 0;
			handle(&f, data);
		} else if (p[0].revents) {
			usleep(10000);
		}
	}
}

static void load_modules(void)
{
	char line[256];
	FILE *list = fopen("/modules/list", "re");

	while (list && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = 0;
		int fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			say("cannot load", line);
		close(fd);
	}
	if (list)
		fclose(list);
}

/* Large pages for shared memory that asks for them, which many hosts have off. */
static void allow_large_pages(void)
{
	const char *path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "advise", 6) < 0)
		say("cannot write", path);
	close(fd);
}

/* The port appears when the device was found; its number is in sysfs, its node we make. */
static void open_port(void)
{
	unsigned int major, minor;
	FILE *f;

	while (!(f = fopen("/sys/class/virtio-ports/vport0p1/dev", "re")))
		usleep(5000);
	if (fscanf(f, "%u:%u", &major, &minor) != 2)
		say("cannot read", "the port's number");
	fclose(f);
	mknod("/dev/vport", S_IFCHR | 0600, makedev(major, minor));
	while ((port = open("/dev/vport", O_RDWR | O_CLOEXEC)) < 0)
		usleep(5000);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Of many looks at both clocks the one with the least time between. */
static void both_clocks(uint64_t *ns, uint64_t *tsc)
{
	uint64_t best = ~0ull;

	for (int i = 0; i < 200; i++) {
		uint64_t before = __builtin_ia32_rdtsc(), t = now_ns(),
			 after = __builtin_ia32_rdtsc();

		if (after - before >= best)
			continue;
		best = after - before;
		*ns = t;
		*tsc = before + best / 2;
	}
}

/* `agent tsc`, on the host: kHz of its time-stamp counter, which is that of QEMU's machine. */
static int print_tsc_khz(void)
{
	uint64_t ns[2], tsc[2];

	both_clocks(&ns[0], &tsc[0]);
	usleep(50000);
	both_clocks(&ns[1], &tsc[1]);
	printf("%llu\n", (unsigned long long)((tsc[1] - tsc[0]) * 1000000 / (ns[1] - ns[0])));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "tsc"))
		return print_tsc_khz();

	struct rlimit nofile = {4096, 4096};

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/tmp", 01777);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mkdir("/dev/shm", 01777);
	mkdir("/dev/pts", 0755);
	mount("devpts", "/dev/pts", "devpts", 0, "mode=600,ptmxmode=666");
	setrlimit(RLIMIT_NOFILE, &nofile);
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/tmp", 1);
	signal(SIGPIPE, SIG_IGN);
	if (pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK))
		say("no", "pipe");
	signal(SIGCHLD, on_child);
	allow_large_pages();
	load_modules();
	open_port();
	send_frame('H', 0, NULL, 0);
	serve();
}
