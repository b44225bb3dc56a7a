/* SPDX-License-Identifier: MIT */
/*
 * A guest with four busy vCPUs is paused, resumed, ended, and loses one of its processes. The guest
 * (tests/guest/src/smp-stress.c) checks itself and prints WRONG.
 */
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include "common.h"

static pvv_domain *start(pvv_host *host, const char *name, int *fd)
{
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_domain *dom;

	o.name = name;
	o.kernel = guest_path("smp-stress");
	o.memory = 64ull << 20;
	o.vcpus = 4;
	o.on_crash = PVV_ACTION_DESTROY;
	ok(pvv_domain_create(host, &o, 0, &dom));
	ok(pvv_domain_open_console(dom, 0, 0, fd));
	ok(pvv_domain_start(dom, 0));
	return dom;
}

static uint64_t cpu_time(pvv_domain *dom)
{
	pvv_domain_stats s = {.size = sizeof(s)};

	ok(pvv_domain_get_stats(dom, 0, &s));
	return s.cpu_time_ns;
}

/* Where the host is emulated (tests/system/kvm), its clocks count what other programs take, too. */
static uint64_t slow(void)
{
	const char *s = getenv("PVV_TEST_SLOW");

	return s ? strtoul(s, NULL, 10) : 1;
}

static void progress(int fd)
{
	char seen[65536];

	assert_true(read_until(fd, "round ", 60000, seen, sizeof(seen)));
	if (strstr(seen, "WRONG"))
		fail_msg("the guest says: %s", strstr(seen, "WRONG"));
}

static void paused_vcpus_stand_still(void **state)
{
	pvv_host *host = open_host();
	int fd;
	pvv_domain *dom = start(host, "smp-pause", &fd);

	progress(fd);
	for (int i = 0; i < 30; i++) {
		ok(pvv_domain_pause(dom, 0));
		assert_state(dom, PVV_DOMAIN_PAUSED, PVV_PAUSED_USER);
		if (i % 10 == 0) {
			uint64_t before = cpu_time(dom);

			usleep(50000);
			/* What is left is the way into the sleep. */
			uint64_t took = cpu_time(dom) - before;

			if (took >= 20000000 * slow())
				print_error("%lu ns of processor time while paused\n", took);
			assert_true(took < 20000000 * slow());
		}
		ok(pvv_domain_resume(dom, 0));
		usleep((unsigned int)(i * 7919 % 5000));
	}
	progress(fd);
	ok(pvv_domain_destroy(dom, 0));
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void ended_at_any_time(void **state)
{
	pvv_host *host = open_host();

	for (int i = 0; i < 8; i++) {
		int fd;
		pvv_domain *dom = start(host, "smp-end", &fd);

		if (i % 2)
			progress(fd);
		else
			usleep((unsigned int)(i * 20000));
		ok(pvv_domain_destroy(dom, 0));
		assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_DESTROYED);
		close(fd);
		pvv_domain_unref(dom);
	}
	pvv_host_unref(host);
}

/* Processes of ours with this name. */
static size_t sandboxes(const char *name, pid_t *pids, size_t max)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	size_t n = 0;

	assert_non_null(proc);
	while ((d = readdir(proc)) && n < max) {
		char path[300], comm[64] = "";
		int pid, ppid = 0;
		FILE *f;

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", d->d_name);
		f = fopen(path, "re");
		if (!f)
			continue;
		if (fscanf(f, "%d (%63[^)]) %*c %d", &pid, comm, &ppid) == 3 && ppid == getpid() &&
		    !strcmp(comm, name))
			pids[n++] = pid;
		fclose(f);
	}
	closedir(proc);
	return n;
}

static void one_dead_vcpu_ends_the_domain(void **state)
{
	pvv_host *host = open_host();
	pid_t pids[16];
	int fd;
	pvv_domain *dom = start(host, "smp-dead", &fd);
	char *why;

	progress(fd);
	assert_int_equal(sandboxes("pvv:smp-dead", pids, 16), 4);
	assert_int_equal(kill(pids[2], SIGKILL), 0);
	ok(pvv_domain_wait(dom, 10000, 0));
	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_CRASHED);
	assert_int_equal(sandboxes("pvv:smp-dead", pids, 16), 0);
	ok(pvv_domain_get_reason_text(dom, &why));
	assert_non_null(strstr(why, "was killed"));
	pvv_free(why);
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paused_vcpus_stand_still),
		cmocka_unit_test(ended_at_any_time),
		cmocka_unit_test(one_dead_vcpu_ends_the_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
