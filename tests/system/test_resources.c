/* SPDX-License-Identifier: MIT */
/* Memory, processors and consoles of a running guest, with tests/guest/src/agent.c inside. */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#define MIB (1ull << 20)

struct session {
	pvv_host *host;
	pvv_domain *dom;
	int fd;
};

/* A domain of 64 MiB; `extra` goes into <domain>, `devices` into <devices>. */
static struct session begin(const char *extra, const char *devices)
{
	struct session s = {.host = open_host(), .fd = -1};
	char *xml;

	assert_true(asprintf(&xml,
			     "<domain type='xen'><name>agent</name><memory unit='MiB'>64</memory>"
			     "<os><type>linux</type><kernel>%s</kernel></os>%s<devices>%s</devices>"
			     "</domain>",
			     guest_path("agent"), extra, devices) > 0);
	ok(pvv_domain_create_xml(s.host, xml, 0, &s.dom));
	free(xml);
	return s;
}

static void start(struct session *s)
{
	ok(pvv_domain_open_console(s->dom, 0, 0, &s->fd));
	ok(pvv_domain_start(s->dom, 0));
	assert_true(read_until(s->fd, "ready", 20000, NULL, 0));
}

static void end(struct session *s)
{
	type(s->fd, "quit\n");
	ok(pvv_domain_wait(s->dom, 20000, 0));
	assert_state(s->dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
	close(s->fd);
	pvv_domain_unref(s->dom);
	pvv_host_unref(s->host);
}

static void tell(struct session *s, const char *line, const char *answer)
{
	type(s->fd, line);
	type(s->fd, "\n");
	assert_true(read_until(s->fd, answer, 60000, NULL, 0));
}

static pvv_domain_stats stats(struct session *s)
{
	pvv_domain_stats st = {.size = sizeof(st)};

	ok(pvv_domain_get_stats(s->dom, 0, &st));
	return st;
}

static pvv_domain_info info(struct session *s)
{
	pvv_domain_info i = {.size = sizeof(i)};

	ok(pvv_domain_get_info(s->dom, &i));
	return i;
}

/* ---- memory ---- */

static void test_balloon(void **state)
{
	struct session s = begin("", "");
	uint64_t full, less;

	assert_code(pvv_domain_set_memory(s.dom, 32 * MIB, 0), PVV_ESTATE);
	start(&s);
	assert_int_equal(info(&s).max_memory, 64 * MIB);
	assert_int_equal(info(&s).memory, 64 * MIB);
	tell(&s, "read memory/target", "memory/target: 65536\n");
	tell(&s, "read memory/static-max", "memory/static-max: 65536\n");

	assert_code(pvv_domain_set_memory(s.dom, 65 * MIB, 0), PVV_EINVAL);
	assert_code(pvv_domain_set_memory(s.dom, 4 * MIB - 1, 0), PVV_EINVAL);
	assert_code(pvv_domain_set_memory(s.dom, 0, 0), PVV_EINVAL);
	assert_code(pvv_domain_set_memory(s.dom, ~0ull, 0), PVV_EINVAL);
	assert_code(pvv_domain_set_memory(s.dom, 32 * MIB, 1), PVV_EINVAL);
	tell(&s, "read memory/target", "memory/target: 65536\n");

	/* What the guest gives back is the host's again. */
	tell(&s, "fill 8192", "filled 8192\n");
	full = stats(&s).resident_memory;
	assert_true(full >= 32 * MIB);
	ok(pvv_domain_set_memory(s.dom, 40 * MIB, 0));
	tell(&s, "read memory/target", "memory/target: 40960\n");
	tell(&s, "mem", "pages 10240 of 10240 zero 1\n");
	assert_int_equal(stats(&s).memory, 40 * MIB);
	assert_int_equal(info(&s).memory, 40 * MIB);
	less = stats(&s).resident_memory;
	assert_true(less <= full - 24 * MIB);

	/* It cannot take what it was not given, but for a little. */
	tell(&s, "grow", "grew by 256 zero 1\n");
	assert_int_equal(stats(&s).memory, 41 * MIB);

	/* And back, with nothing of the old content. */
	ok(pvv_domain_set_memory(s.dom, 64 * MIB, 0));
	tell(&s, "mem", "pages 16384 of 16384 zero 1\n");
	assert_int_equal(stats(&s).memory, 64 * MIB);
	end(&s);
}

/* The guest starts with <currentMemory>, and may grow to <memory>. */
static void test_current_memory(void **state)
{
	struct session s = begin("<currentMemory unit='MiB'>48</currentMemory>", "");

	assert_int_equal(info(&s).memory, 48 * MIB);
	start(&s);
	assert_int_equal(info(&s).memory, 48 * MIB);
	assert_int_equal(info(&s).max_memory, 64 * MIB);
	tell(&s, "read memory/target", "memory/target: 49152\n");
	tell(&s, "read memory/static-max", "memory/static-max: 65536\n");
	tell(&s, "mem", "pages 12288 of 12288 zero 1\n");
	ok(pvv_domain_set_memory(s.dom, 64 * MIB, 0));
	end(&s);
	/* The next start begins anew. */
}

static void test_no_balloon(void **state)
{
	struct session s = begin("", "<memballoon model='none'/>");

	start(&s);
	assert_code(pvv_domain_set_memory(s.dom, 32 * MIB, 0), PVV_EUNSUPPORTED);
	end(&s);
}

/* ---- processors ---- */

static void test_set_vcpus(void **state)
{
	struct session s = begin("<vcpu current='2'>3</vcpu>", "");

	assert_int_equal(info(&s).vcpus, 2);
	assert_code(pvv_domain_set_vcpus(s.dom, 1, 0), PVV_ESTATE);
	start(&s);
	tell(&s, "read cpu/0/availability", "availability: online\n");
	tell(&s, "read cpu/1/availability", "availability: online\n");
	tell(&s, "read cpu/2/availability", "availability: offline\n");
	assert_code(pvv_domain_set_vcpus(s.dom, 0, 0), PVV_EINVAL);
	assert_code(pvv_domain_set_vcpus(s.dom, 4, 0), PVV_EINVAL);
	assert_code(pvv_domain_set_vcpus(s.dom, 1, 2), PVV_EINVAL);
	ok(pvv_domain_set_vcpus(s.dom, 3, 0));
	tell(&s, "read cpu/2/availability", "availability: online\n");
	ok(pvv_domain_set_vcpus(s.dom, 1, 0));
	tell(&s, "read cpu/1/availability", "availability: offline\n");
	tell(&s, "read cpu/2/availability", "availability: offline\n");
	/* This guest does not start any but its first. */
	assert_int_equal(info(&s).vcpus, 1);
	assert_int_equal(info(&s).max_vcpus, 3);
	end(&s);
}

/* Under kvm: the thread of vCPU 0, or -1. */
static pid_t vcpu_thread(void)
{
	DIR *d = opendir("/proc/self/task");
	pid_t found = -1;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		char path[300], name[32] = "";
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		FILE *f = fopen(path, "re");

		if (f && fgets(name, sizeof(name), f) && !strcmp(name, "pvv-vcpu0\n"))
			found = atoi(e->d_name);
		if (f)
			fclose(f);
	}
	closedir(d);
	return found;
}

/*
 * What runs the guest: a thread, or the process that was made last among those of this program, by
 * any thread.
 */
static pid_t sandbox(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	pid_t found = vcpu_thread();

	assert_non_null(d);
	while (found < 0 && (e = readdir(d))) {
		char path[300], text[256] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/children", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(text, sizeof(text), f))
			for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
				if (atoi(p) > found)
					found = atoi(p);
		if (f)
			fclose(f);
	}
	closedir(d);
	assert_true(found > 0);
	return found;
}

/* A CPU this program may use. */
static int some_cpu(bool last)
{
	cpu_set_t set;
	int found = -1;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int i = 0; i < CPU_SETSIZE && (last || found < 0); i++)
		if (CPU_ISSET(i, &set))
			found = i;
	return found;
}

static void assert_bound_to(pid_t pid, int cpu)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(pid, sizeof(set), &set), 0);
	assert_int_equal(CPU_COUNT(&set), 1);
	assert_true(CPU_ISSET(cpu, &set));
}

static void test_pinning(void **state)
{
	char extra[200];
	struct session s;
	int cpu;

	for (int last = 0; last < 2; last++) {
		cpu = some_cpu(last);
		snprintf(extra, sizeof(extra), "<vcpu cpuset='%d'>1</vcpu>", cpu);
		s = begin(extra, "");
		start(&s);
		assert_bound_to(sandbox(), cpu);
		end(&s);
	}
	/* A pin goes before the set. */
	cpu = some_cpu(true);
	snprintf(extra, sizeof(extra),
		 "<vcpu cpuset='%d'>1</vcpu><cputune><vcpupin vcpu='0' cpuset='%d'/></cputune>",
		 some_cpu(false), cpu);
	s = begin(extra, "");
	start(&s);
	assert_bound_to(sandbox(), cpu);
	end(&s);
}

static void test_pinned_to_nothing(void **state)
{
	struct session s = begin("<vcpu cpuset='1023'>1</vcpu>", "");
	char *text;

	ok(pvv_domain_start(s.dom, 0));
	ok(pvv_domain_wait(s.dom, 20000, 0));
	assert_state(s.dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_FAILED);
	ok(pvv_domain_get_reason_text(s.dom, &text));
	assert_non_null(strstr(text, "may not use any of the host CPUs"));
	pvv_free(text);
	pvv_domain_unref(s.dom);
	pvv_host_unref(s.host);
}

static void test_shares(void **state)
{
	static const struct {
		const char *shares;
		int nice;
	} cases[] = {{"1024", 0}, {"512", 3}, {"256", 6}, {"2", 19}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int own = getpriority(PRIO_PROCESS, 0), want = own + cases[i].nice;
		char extra[100];
		struct session s;

		snprintf(extra, sizeof(extra), "<cputune><shares>%s</shares></cputune>",
			 cases[i].shares);
		s = begin(extra, "");
		start(&s);
		assert_int_equal(getpriority(PRIO_PROCESS, (id_t)sandbox()), want > 19 ? 19 : want);
		end(&s);
		assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
	}
}

/* ---- consoles ---- */

static void say(int fd, const char *line, const char *answer)
{
	type(fd, line);
	assert_true(read_until(fd, answer, 20000, NULL, 0));
}

static void test_consoles(void **state)
{
	struct session s =
		begin("", "<console type='null'/><console type='pty'/><console type='null'>"
			  "<target type='xen' port='4'/></console>"
			  "<channel type='null'><target type='xen' name='org.example.agent.0'/>"
			  "</channel>");
	int pty, second, channel, other;
	char *path;

	ok(pvv_domain_open_console(s.dom, 2, 0, &second));
	ok(pvv_domain_open_channel(s.dom, "org.example.agent.0", 0, &channel));
	assert_code(pvv_domain_open_channel(s.dom, "org.example.agent.0", 0, &other), PVV_EBUSY);
	assert_code(pvv_domain_open_channel(s.dom, "nothing", 0, &other), PVV_ENOENT);
	assert_code(pvv_domain_open_channel(s.dom, NULL, 0, &other), PVV_EINVAL);
	assert_code(pvv_domain_open_console(s.dom, 3, 0, &other), PVV_ENOENT);
	start(&s);

	tell(&s, "read device/console/5/name", "name: org.example.agent.0\n");
	tell(&s, "read device/console/1/name", "name: error ENOENT\n");
	ok(pvv_domain_get_console_path(s.dom, 1, &path));
	pty = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(pty >= 0);
	tell(&s, "read device/console/1/tty", path);
	pvv_free(path);

	/* Input that waits for the guest is not lost. */
	type(pty, "early\n");
	tell(&s, "con 1", "console 1 echoed");
	assert_true(read_until(pty, "you said early\n", 20000, NULL, 0));
	type(s.fd, "con 4\n");
	say(second, "to the second\n", "you said to the second\n");
	assert_true(read_until(s.fd, "console 4 echoed", 20000, NULL, 0));
	type(s.fd, "con 5\n");
	say(channel, "to the agent\n", "you said to the agent\n");
	assert_true(read_until(s.fd, "console 5 echoed", 20000, NULL, 0));

	/* The guest's driver goes and comes again. */
	tell(&s, "close 4", "console 4 closed, grant in use: 0\n");
	type(s.fd, "con 4\n");
	say(second, "again\n", "you said again\n");

	end(&s);
	/* End of file for all. */
	char buf[16];
	assert_int_equal(read(second, buf, sizeof(buf)), 0);
	assert_int_equal(read(channel, buf, sizeof(buf)), 0);
	close(second);
	close(channel);
	close(pty);
}

/* What cannot be opened fails the start, as for the first console. */
static void test_console_that_fails(void **state)
{
	struct session s = begin("", "<console type='null'/><console type='file'>"
				     "<source path='/nonexistent/folder/file'/></console>");
	char *text;

	ok(pvv_domain_start(s.dom, 0));
	ok(pvv_domain_wait(s.dom, 20000, 0));
	assert_state(s.dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_FAILED);
	ok(pvv_domain_get_reason_text(s.dom, &text));
	assert_non_null(strstr(text, "/nonexistent/folder/file"));
	pvv_free(text);
	pvv_domain_unref(s.dom);
	pvv_host_unref(s.host);
}

/* ---- limits ---- */

#define LIMITS(text)                                                                               \
	"<metadata><p:domain xmlns:p='https://libpvvirt.org/schemas/domain/1.0'><p:limits>" text   \
	"</p:limits></p:domain></metadata>"

static void test_limits(void **state)
{
	struct session s = begin(LIMITS("<p:codeCache unit='MiB'>1</p:codeCache>"
					"<p:xenstoreNodes>20</p:xenstoreNodes>"),
				 "");

	start(&s);
	/* It owns a dozen of the nodes it was made with. */
	tell(&s, "nodes 20", "ENOSPC\n");
	tell(&s, "fill 100", "filled 100\n");
	end(&s);
}

/* What the sandbox takes of the host's memory is looked at. */
static void test_overhead(void **state)
{
	struct session s = {.host = open_host()};
	char *text, *xml;

	assert_true(
		asprintf(&xml,
			 "<domain type='xen'><name>hog</name>" LIMITS(
				 "<p:overhead unit='MiB'>1</p:overhead>") "<memory "
									  "unit='MiB'>64</"
									  "memory><os><type>linux</"
									  "type><kernel>%s"
									  "</kernel></os></domain>",
			 grub_or_skip()) > 0);
	ok(pvv_domain_create_xml(s.host, xml, 0, &s.dom));
	free(xml);
	ok(pvv_domain_start(s.dom, 0));
	ok(pvv_domain_wait(s.dom, 20000, 0));
	assert_state(s.dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_CRASHED);
	ok(pvv_domain_get_reason_text(s.dom, &text));
	assert_non_null(strstr(text, "of the host's memory beyond the guest's RAM, 1 MiB are"));
	pvv_free(text);
	pvv_domain_unref(s.dom);
	pvv_host_unref(s.host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_balloon),
		cmocka_unit_test(test_current_memory),
		cmocka_unit_test(test_no_balloon),
		cmocka_unit_test(test_set_vcpus),
		cmocka_unit_test(test_pinning),
		cmocka_unit_test(test_pinned_to_nothing),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_overhead),
		cmocka_unit_test(test_consoles),
		cmocka_unit_test(test_console_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
