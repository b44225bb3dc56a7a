/* SPDX-License-Identifier: MIT */
/*
 * All verbs from many threads at the same few domains, with ends, restarts and references coming
 * and going in between. Nothing may hang, nothing may be left, and every call answers with a code
 * that its documentation lists. PVV_TEST_SECONDS makes it longer; the sanitizers' builds run it,
 * too.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define THREADS 8
#define DOMAINS 3

struct shared {
	pvv_host *host;
	pvv_domain *dom[DOMAINS];
	uint32_t stop;
	uint32_t wrong; /* answers that are not documented */
	uint32_t starts, pauses, destroys, ops;
};

struct worker {
	struct shared *s;
	uint64_t seed;
	pthread_t thread;
};

static uint64_t next(struct worker *w)
{
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 7;
	w->seed ^= w->seed << 17;
	return w->seed >> 16;
}

/* `codes` ends with 0, which is success and always allowed. */
#define MAY(call, ...) check(w, (call), #call, (const int[]){__VA_ARGS__ __VA_OPT__(, ) 0})
static int check(struct worker *w, int ret, const char *what, const int *codes)
{
	if (ret >= 0)
		return ret;
	for (; *codes; codes++)
		if (ret == *codes)
			return ret;
	print_error("%s: %s: %s\n", what, pvv_error_code_name(ret),
		    pvv_error_get_message(pvv_error_last()));
	__atomic_add_fetch(&w->s->wrong, 1, __ATOMIC_RELAXED);
	return ret;
}

static void count(uint32_t *n)
{
	__atomic_add_fetch(n, 1, __ATOMIC_RELAXED);
}

static void use_console(struct worker *w, pvv_domain *d)
{
	char buf[512];
	int fd;

	if (MAY(pvv_domain_open_console(d, 0, PVV_CONSOLE_NONBLOCK, &fd), PVV_EBUSY) < 0)
		return;
	for (int i = 0; i < 3; i++) {
		if (read(fd, buf, sizeof(buf)) < 0 && errno != EAGAIN)
			count(&w->s->wrong);
		usleep(300);
	}
	close(fd);
}

static void change(struct worker *w, pvv_domain *d)
{
	static const uint32_t types[] = {PVV_CONSOLE_STREAM, PVV_CONSOLE_NULL, PVV_CONSOLE_PTY};

	MAY(pvv_domain_set_console(d, 0, types[next(w) % 3], NULL, 0), PVV_ESTATE);
	MAY(pvv_domain_set_executor(d, (uint32_t)(next(w) % 2), 0), PVV_ESTATE);
	MAY(pvv_domain_set_console(d, 7, 0, NULL, 0), PVV_ENOENT);
}

static void look(struct worker *w, pvv_domain *d)
{
	pvv_domain_info info = {.size = sizeof(info)};
	pvv_domain_stats stats = {.size = sizeof(stats)};
	pvv_block_stats block = {.size = sizeof(block)};
	char *text = NULL;
	int st, reason;

	MAY(pvv_domain_get_state(d, &st, &reason));
	MAY(pvv_domain_get_info(d, &info));
	MAY(pvv_domain_get_stats(d, 0, &stats));
	MAY(pvv_domain_get_block_stats(d, "xvda", 0, &block), PVV_ENOENT);
	if (MAY(pvv_domain_get_reason_text(d, &text)) == 0)
		pvv_free(text);
	if (MAY(pvv_domain_get_xml(d, 0, &text)) == 0)
		pvv_free(text);
	if (MAY(pvv_domain_get_console_path(d, 0, &text), PVV_ENOENT) == 0)
		pvv_free(text);
}

static void others(struct worker *w)
{
	pvv_domain **list, *d = NULL;
	char name[32];
	size_t n;

	if (MAY(pvv_host_list_domains(w->s->host, 0, &list, &n)) == 0) {
		for (size_t i = 0; i < n; i++)
			pvv_domain_unref(list[i]);
		pvv_free(list);
	}
	snprintf(name, sizeof(name), "d%d", (int)(next(w) % (DOMAINS + 2)));
	if (MAY(pvv_host_lookup_domain(w->s->host, name, &d), PVV_ENOENT) == 0)
		pvv_domain_unref(d);
	/* A short life: the last reference goes while it starts, runs or ends. */
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	snprintf(name, sizeof(name), "short%d", (int)(next(w) % 4));
	o.name = name;
	o.kernel = getenv("PVV_TEST_KERNEL");
	o.memory = 16ull << 20;
	if (MAY(pvv_domain_create(w->s->host, &o, 0, &d), PVV_EEXIST) == 0) {
		if (next(w) % 2)
			MAY(pvv_domain_start(d, PVV_START_AUTODESTROY));
		usleep((useconds_t)(next(w) % 40000));
		pvv_domain_unref(d);
	}
}

static void *work(void *opaque)
{
	struct worker *w = opaque;
	struct shared *s = w->s;
	pvv_event *e;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		pvv_domain *d = pvv_domain_ref(s->dom[next(w) % DOMAINS]);

		switch (next(w) % 16) {
		case 0:
		case 1:
		case 2:
			if (MAY(pvv_domain_start(d, next(w) % 2 ? PVV_START_PAUSED : 0),
				PVV_ESTATE) == 0)
				count(&s->starts);
			break;
		case 3:
			if (MAY(pvv_domain_destroy(d, 0), PVV_ESTATE) == 0)
				count(&s->destroys);
			break;
		case 4:
		case 5:
			if (MAY(pvv_domain_pause(d, 0), PVV_ESTATE, PVV_ETIMEDOUT) == 0)
				count(&s->pauses);
			break;
		case 6:
		case 7:
			MAY(pvv_domain_resume(d, 0), PVV_ESTATE);
			break;
		case 8:
			MAY(next(w) % 2 ? pvv_domain_shutdown(d, 0) : pvv_domain_reboot(d, 0),
			    PVV_ESTATE);
			break;
		case 9:
			use_console(w, d);
			break;
		case 10:
			change(w, d);
			break;
		case 11:
			look(w, d);
			break;
		case 12:
			others(w);
			break;
		case 13:
			MAY(pvv_domain_wait(d, (int64_t)(next(w) % 20), 0), PVV_ETIMEDOUT);
			break;
		case 14:
			while (MAY(pvv_event_next(s->host, 0, &e)) == 1)
				pvv_event_free(e);
			break;
		default:
			MAY(pvv_dispatch(s->host, 0));
			pvv_host_unref(pvv_host_ref(s->host));
		}
		count(&s->ops);
		pvv_domain_unref(d);
	}
	return NULL;
}

static void on_log(pvv_log_level level, const char *domain, const char *message, void *opaque)
{
	count(opaque);
}

static void hammer(const char *kernel, int seconds)
{
	struct shared s = {.host = open_host()};
	struct worker w[THREADS];
	unsigned int fds, tasks = 0, logged = 0;
	struct timespec ts;
	char name[8];

	setenv("PVV_TEST_KERNEL", kernel, 1);
	fds = count_dir("/proc/self/fd");
	tasks = count_dir("/proc/self/task");
	ok(pvv_host_set_log(s.host, PVV_LOG_DEBUG, on_log, &logged));
	for (int i = 0; i < DOMAINS; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		s.dom[i] = make_domain(s.host, name, kernel);
	}
	for (int i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.s = &s, .seed = 77777u * (uint64_t)(i + 1)};
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	/* Where the host itself is emulated (tests/system/kvm) little happens in a second. */
	const char *slow = getenv("PVV_TEST_SLOW");

	sleep((unsigned int)(seconds * (slow ? atoi(slow) : 1)));
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < THREADS; i++) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += 60;
		/* A verb that hangs. */
		assert_int_equal(pthread_timedjoin_np(w[i].thread, NULL, &ts), 0);
	}
	print_message("%u calls: %u starts, %u pauses, %u destroys\n", s.ops, s.starts, s.pauses,
		      s.destroys);
	assert_int_equal(s.wrong, 0);
	assert_true(s.starts > 3 && s.destroys > 3 && s.pauses > 0);
	for (int i = 0; i < DOMAINS; i++) {
		pvv_domain_destroy(s.dom[i], 0);
		ok(pvv_domain_wait(s.dom[i], 20000, 0));
		ok(pvv_domain_set_console(s.dom[i], 0, PVV_CONSOLE_STREAM, NULL, 0));
		/* None of it has broken the object: it starts again. */
		ok(pvv_domain_start(s.dom[i], PVV_START_PAUSED));
		ok(pvv_domain_destroy(s.dom[i], 0));
	}
	/* Those short-lived ones that ended by themselves are gone; all descriptors, too. */
	for (int i = 0;
	     i < 500 && (count_dir("/proc/self/fd") != fds || count_dir("/proc/self/task") > tasks);
	     i++)
		usleep(10000);
	assert_int_equal(count_dir("/proc/self/fd"), fds);
	/* Not more; a thread of the test before may have been on its way out when they were
	 * counted. */
	assert_in_range(count_dir("/proc/self/task"), 1, tasks);
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
	for (int i = 0; i < DOMAINS; i++)
		pvv_domain_unref(s.dom[i]);
	pvv_host_unref(s.host);
}

static int seconds(void)
{
	const char *env = getenv("PVV_TEST_SECONDS");

	return env ? atoi(env) : 4;
}

static void test_guests_that_end(void **state)
{
	hammer(guest_path("hello"), seconds());
}

static void test_guests_that_stay(void **state)
{
	hammer(grub_or_skip(), seconds());
}

/* The end of the host handle: whoever is last, on whichever thread. */
static void *let_go(void *opaque)
{
	pvv_domain_unref(opaque);
	return NULL;
}

static void *nothing(void *opaque)
{
	return opaque;
}

static void test_last_reference(void **state)
{
	pthread_t thread;
	unsigned int tasks;

	/* A sanitizer's own thread comes with the first one. */
	assert_int_equal(pthread_create(&thread, NULL, nothing, NULL), 0);
	pthread_join(thread, NULL);
	tasks = count_dir("/proc/self/task");
	for (int i = 0; i < 60; i++) {
		pvv_host *host = open_host();
		pvv_domain *dom = make_domain(host, "last", guest_path("hello"));

		ok(pvv_domain_start(dom, i & 2 ? PVV_START_AUTODESTROY : 0));
		assert_int_equal(pthread_create(&thread, NULL, let_go, dom), 0);
		usleep((useconds_t)(i * 1500 % 45000));
		pvv_host_unref(host); /* with those without AUTODESTROY, the guest itself is last */
		pthread_join(thread, NULL);
	}
	/* They run on until their guests have ended; then nothing is left. */
	for (int i = 0; i < 1000 && count_dir("/proc/self/task") > tasks; i++)
		usleep(10000);
	/* (The thread that was joined at the beginning may have been counted.) */
	assert_true(count_dir("/proc/self/task") <= tasks);
}

struct opposed {
	pvv_domain *dom;
	uint32_t stop, failed;
};

static void *resume_always(void *opaque)
{
	struct opposed *o = opaque;

	while (!__atomic_load_n(&o->stop, __ATOMIC_ACQUIRE))
		pvv_domain_resume(o->dom, 0);
	return NULL;
}

/* pause() of a running domain succeeds also if it is resumed before the caller has looked. */
static void test_pause_against_resume(void **state)
{
	pvv_host *host = open_host();
	struct opposed o = {.dom = make_domain(host, "tug", grub_or_skip())};
	pthread_t thread;

	ok(pvv_domain_start(o.dom, 0));
	while (pvv_domain_get_id(o.dom) < 0)
		usleep(1000);
	assert_int_equal(pthread_create(&thread, NULL, resume_always, &o), 0);
	for (int i = 0; i < 300; i++) {
		int ret = pvv_domain_pause(o.dom, 0);

		if (ret < 0) /* shows why it ended */
			assert_state(o.dom, PVV_DOMAIN_PAUSED, PVV_PAUSED_USER);
		ok(ret);
	}
	__atomic_store_n(&o.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	ok(pvv_domain_destroy(o.dom, 0));
	pvv_domain_unref(o.dom);
	pvv_host_unref(host);
}

static void *start_always(void *opaque)
{
	struct opposed *o = opaque;

	while (!__atomic_load_n(&o->stop, __ATOMIC_ACQUIRE))
		pvv_domain_start(o->dom, PVV_START_PAUSED);
	return NULL;
}

/* destroy() and wait() notice the end of an incarnation although the next one begins at once. */
static void test_destroy_against_start(void **state)
{
	pvv_host *host = open_host();
	struct opposed o = {.dom = make_domain(host, "again", guest_path("hello"))};
	pthread_t thread;
	int destroyed = 0;

	assert_int_equal(pthread_create(&thread, NULL, start_always, &o), 0);
	while (destroyed < 100) {
		int ret = pvv_domain_destroy(o.dom, 0);

		assert_true(ret == 0 || ret == PVV_ESTATE);
		destroyed += ret == 0;
	}
	__atomic_store_n(&o.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	pvv_domain_destroy(o.dom, 0);
	pvv_domain_unref(o.dom);
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_reference),
		cmocka_unit_test(test_pause_against_resume),
		cmocka_unit_test(test_destroy_against_start),
		cmocka_unit_test(test_guests_that_end),
		cmocka_unit_test(test_guests_that_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
