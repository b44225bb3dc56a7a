/* SPDX-License-Identifier: MIT */
/*
 * Arguments that the documentation excludes: every exported function with NULL, unknown flags,
 * records of odd sizes. The answer is PVV_EINVAL with a sentence that names the function, out
 * parameters are cleared, and nothing was done. Then callbacks that use the API themselves.
 */
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "common.h"

#define BAD_FLAG (1ull << 40)

/* PVV_EINVAL, and the message begins with the function's name. */
#define einval(fn, ...)                                                                            \
	do {                                                                                       \
		assert_code(fn(__VA_ARGS__), PVV_EINVAL);                                          \
		assert_true(!strncmp(pvv_error_get_message(pvv_error_last()), #fn ":",             \
				     strlen(#fn ":")));                                            \
		assert_int_equal(pvv_error_get_subsystem(pvv_error_last()), PVV_SUBSYS_API);       \
	} while (0)

#define POISON ((void *)0x5a5a)

static void test_host(void **state)
{
	pvv_host *host = POISON;
	pvv_domain *dom = POISON, **list = POISON;
	pvv_event *event = POISON;
	char *text = POISON;
	size_t n = 77;

	einval(pvv_host_open, 0, NULL);
	einval(pvv_host_open, BAD_FLAG, &host);
	assert_null(host);
	assert_null(pvv_host_ref(NULL));
	assert_null(pvv_host_unref(NULL));
	pvv_host_unrefp(NULL);
	pvv_host_unrefp(&host);
	einval(pvv_host_fd, NULL);
	einval(pvv_dispatch, NULL, 0);
	einval(pvv_host_set_log, NULL, PVV_LOG_DEBUG, NULL, NULL);
	einval(pvv_host_set_event_callback, NULL, NULL, NULL);
	einval(pvv_host_get_capabilities, NULL, 0, &text);
	assert_null(text);
	einval(pvv_host_list_domains, NULL, 0, &list, &n);
	assert_null(list);
	assert_int_equal(n, 0);
	einval(pvv_host_lookup_domain, NULL, "x", &dom);
	assert_null(dom);
	dom = POISON;
	einval(pvv_host_lookup_domain_by_uuid, NULL, "x", &dom);
	assert_null(dom);
	einval(pvv_event_next, NULL, 0, &event);
	assert_null(event);

	host = open_host();
	einval(pvv_dispatch, host, BAD_FLAG);
	einval(pvv_host_set_log, host, (pvv_log_level)-1, NULL, NULL);
	einval(pvv_host_set_log, host, (pvv_log_level)8, NULL, NULL);
	einval(pvv_host_get_capabilities, host, 0, NULL);
	text = POISON;
	einval(pvv_host_get_capabilities, host, BAD_FLAG, &text);
	assert_null(text);
	list = POISON;
	einval(pvv_host_list_domains, host, 0, &list, NULL);
	assert_null(list);
	einval(pvv_host_list_domains, host, 0, NULL, &n);
	einval(pvv_host_list_domains, host, BAD_FLAG, &list, &n);
	dom = POISON;
	einval(pvv_host_lookup_domain, host, NULL, &dom);
	assert_null(dom);
	einval(pvv_host_lookup_domain, host, "x", NULL);
	dom = POISON;
	einval(pvv_host_lookup_domain_by_uuid, host, NULL, &dom);
	assert_null(dom);
	einval(pvv_host_lookup_domain_by_uuid, host, "x", NULL);
	einval(pvv_event_next, host, 0, NULL);
	event = POISON;
	einval(pvv_event_next, host, BAD_FLAG, &event);
	assert_null(event);
	assert_int_equal(pvv_event_next(host, 0, &event), 0);
	assert_null(event);
	pvv_host_unref(host);
}

static void test_null_accessors(void **state)
{
	pvv_event_free(NULL);
	assert_string_equal(pvv_event_type_name((int)pvv_event_get_type(NULL)), "unknown");
	assert_int_equal(pvv_event_get_detail(NULL), 0);
	assert_string_equal(pvv_event_get_text(NULL), "");
	assert_string_equal(pvv_event_get_domain_name(NULL), "");
	assert_string_equal(pvv_event_get_domain_uuid(NULL), "");
	assert_int_equal(pvv_event_get_time_ns(NULL), 0);
	assert_int_equal(pvv_error_get_code(NULL), PVV_OK);
	assert_int_equal(pvv_error_get_os_errno(NULL), 0);
	assert_non_null(pvv_error_get_message(NULL));
	assert_non_null(pvv_error_get_object(NULL));
	assert_non_null(pvv_error_code_name(-12345));
	assert_int_equal(pvv_has_feature(NULL), 0);
	assert_int_equal(pvv_has_feature("executor.ring3"), 1);
	assert_int_equal(pvv_version(), PVV_VERSION);
	pvv_free(NULL);
	assert_null(pvv_domain_get_name(NULL));
	assert_null(pvv_domain_get_uuid(NULL));
	assert_int_equal(pvv_domain_get_id(NULL), -1);
	assert_null(pvv_domain_ref(NULL));
	assert_null(pvv_domain_unref(NULL));
	pvv_domain_unrefp(NULL);
}

static void test_domain_null(void **state)
{
	char *text = POISON;
	int fd = 77;
	pvv_domain_info info = {.size = sizeof(info)};
	pvv_domain_stats stats = {.size = sizeof(stats)};
	pvv_block_stats block = {.size = sizeof(block)};

	einval(pvv_domain_start, NULL, 0);
	einval(pvv_domain_pause, NULL, 0);
	einval(pvv_domain_resume, NULL, 0);
	einval(pvv_domain_shutdown, NULL, 0);
	einval(pvv_domain_reboot, NULL, 0);
	einval(pvv_domain_destroy, NULL, 0);
	einval(pvv_domain_wait, NULL, 0, 0);
	einval(pvv_domain_get_state, NULL, NULL, NULL);
	einval(pvv_domain_get_reason_text, NULL, &text);
	assert_null(text);
	einval(pvv_domain_get_info, NULL, &info);
	einval(pvv_domain_get_stats, NULL, 0, &stats);
	einval(pvv_domain_get_block_stats, NULL, "xvda", 0, &block);
	text = POISON;
	einval(pvv_domain_get_xml, NULL, 0, &text);
	assert_null(text);
	text = POISON;
	einval(pvv_domain_get_warnings, NULL, &text);
	assert_null(text);
	einval(pvv_domain_open_console, NULL, 0, 0, &fd);
	assert_int_equal(fd, -1);
	einval(pvv_domain_set_console, NULL, 0, 0, NULL, 0);
	einval(pvv_domain_set_executor, NULL, 0, 0);
	einval(pvv_domain_set_brief_turns, NULL, 0, 0);
	text = POISON;
	einval(pvv_domain_get_console_path, NULL, 0, &text);
	assert_null(text);
	text = POISON;
	einval(pvv_image_inspect, NULL, -1, 0, &text);
	assert_null(text);
	einval(pvv_image_inspect, "/x", -1, 0, NULL);
	einval(pvv_image_inspect, "/x", -1, BAD_FLAG, &text);
}

static void test_domain_arguments(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "args", "/nonexistent");
	char *text = POISON;
	int fd = 77;

	einval(pvv_domain_start, dom, BAD_FLAG);
	einval(pvv_domain_pause, dom, 1);
	einval(pvv_domain_resume, dom, 1);
	einval(pvv_domain_shutdown, dom, 1);
	einval(pvv_domain_reboot, dom, 1);
	einval(pvv_domain_destroy, dom, 1);
	einval(pvv_domain_wait, dom, 0, 1);
	einval(pvv_domain_get_reason_text, dom, NULL);
	einval(pvv_domain_get_xml, dom, 0, NULL);
	einval(pvv_domain_get_xml, dom, BAD_FLAG, &text);
	assert_null(text);
	einval(pvv_domain_get_warnings, dom, NULL);
	einval(pvv_domain_open_console, dom, 0, 0, NULL);
	einval(pvv_domain_open_console, dom, 0, BAD_FLAG, &fd);
	assert_int_equal(fd, -1);
	assert_code(pvv_domain_open_console(dom, 1, 0, &fd), PVV_ENOENT);
	einval(pvv_domain_set_console, dom, 0, 99, NULL, 0);
	einval(pvv_domain_set_console, dom, 0, PVV_CONSOLE_FILE, NULL, 0);
	einval(pvv_domain_set_console, dom, 0, 0, NULL, 1);
	assert_code(pvv_domain_set_console(dom, 1, 0, NULL, 0), PVV_ENOENT);
	einval(pvv_domain_set_executor, dom, 3, 0);
	einval(pvv_domain_set_executor, dom, 0, 1);
	einval(pvv_domain_set_brief_turns, dom, 2, 0);
	einval(pvv_domain_set_brief_turns, dom, 0, 1);
	einval(pvv_domain_get_console_path, dom, 0, NULL);
	text = POISON;
	assert_code(pvv_domain_get_console_path(dom, 0, &text), PVV_ENOENT);
	assert_null(text);
	ok(pvv_domain_get_state(dom, NULL, NULL));
	/* None of it has started or changed anything. */
	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_UNKNOWN);
	assert_code(pvv_domain_pause(dom, 0), PVV_ESTATE);
	assert_code(pvv_domain_resume(dom, 0), PVV_ESTATE);
	assert_code(pvv_domain_shutdown(dom, 0), PVV_ESTATE);
	assert_code(pvv_domain_destroy(dom, 0), PVV_ESTATE);
	ok(pvv_domain_wait(dom, 0, 0));
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_info_sizes(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "sizes", "/nonexistent");
	struct {
		pvv_domain_info info;
		char behind[64];
	} r;
	pvv_domain_stats stats;
	pvv_block_stats block;

	einval(pvv_domain_get_info, dom, NULL);
	einval(pvv_domain_get_stats, dom, 0, NULL);
	einval(pvv_domain_get_block_stats, dom, "xvda", 0, NULL);
	for (size_t size = 0; size < sizeof(size_t); size++) {
		r.info.size = stats.size = block.size = size;
		einval(pvv_domain_get_info, dom, &r.info);
		einval(pvv_domain_get_stats, dom, 0, &stats);
		einval(pvv_domain_get_block_stats, dom, "xvda", 0, &block);
	}
	r.info.size = 1 << 20; /* not initialised, rather */
	einval(pvv_domain_get_info, dom, &r.info);
	/* Shorter ones are filled as far as they go; behind a longer one there are zeros. */
	for (size_t size = sizeof(size_t); size <= sizeof(r); size++) {
		memset(&r, 0x5a, sizeof(r));
		r.info.size = size;
		ok(pvv_domain_get_info(dom, &r.info));
		assert_int_equal(r.info.size, size);
		for (size_t i = size; i < sizeof(r); i++)
			assert_int_equal(((unsigned char *)&r)[i], 0x5a);
		for (size_t i = sizeof(r.info); i < size; i++)
			assert_int_equal(((unsigned char *)&r)[i], 0);
		if (size >= offsetof(pvv_domain_info, reason))
			assert_int_equal(r.info.state, PVV_DOMAIN_SHUTOFF);
	}
	stats.size = sizeof(stats);
	einval(pvv_domain_get_stats, dom, BAD_FLAG, &stats);
	block.size = sizeof(block);
	einval(pvv_domain_get_block_stats, dom, NULL, 0, &block);
	einval(pvv_domain_get_block_stats, dom, "xvda", BAD_FLAG, &block);
	assert_code(pvv_domain_get_block_stats(dom, "xvda", 0, &block), PVV_ENOENT);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void refuse(pvv_host *host, const pvv_domain_options *o, const char *names)
{
	pvv_domain *dom = POISON;

	assert_code(pvv_domain_create(host, o, 0, &dom), PVV_EINVAL);
	assert_null(dom);
	if (!strstr(pvv_error_get_message(pvv_error_last()), names))
		print_error("'%s' is not in: %s\n", names, pvv_error_get_message(pvv_error_last()));
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), names));
}

static void test_options(void **state)
{
	pvv_host *host = open_host();
	pvv_domain_options good = PVV_DOMAIN_OPTIONS_INIT, o;
	pvv_domain *dom = POISON;
	struct {
		pvv_domain_options o;
		char more[16];
	} longer;

	good.name = "opt";
	good.kernel = "/k";
	einval(pvv_domain_create, NULL, &good, 0, &dom);
	assert_null(dom);
	einval(pvv_domain_create, host, NULL, 0, &dom);
	einval(pvv_domain_create, host, &good, 0, NULL);
	einval(pvv_domain_create, host, &good, BAD_FLAG, &dom);
	einval(pvv_domain_create_xml, NULL, "<x/>", 0, &dom);
	einval(pvv_domain_create_xml, host, NULL, 0, &dom);
	einval(pvv_domain_create_xml, host, "<x/>", 0, NULL);
	einval(pvv_domain_create_xml, host, "<x/>", BAD_FLAG, &dom);
	assert_code(pvv_domain_create_xml(host, "<x/>", 0, &dom), PVV_EXML);
	assert_null(dom);

#define WITH(field, value, names)                                                                  \
	do {                                                                                       \
		o = good;                                                                          \
		o.field = value;                                                                   \
		refuse(host, &o, names);                                                           \
	} while (0)
	WITH(size, 0, "size");
	WITH(size, 4, "size");
	WITH(size, 12, "size"); /* half a pointer */
	WITH(size, 1 << 20, "size");
	WITH(size, sizeof(size_t), "name"); /* all fields have their defaults */
	WITH(name, NULL, "name");
	WITH(name, "", "name");
	WITH(name, "a/b", "name");
	WITH(name, "a\nb", "name");
	WITH(kernel, NULL, "kernel");
	WITH(kernel_fd, 0, "kernel_fd (0)"); /* of a record that began as {0} */
	WITH(initrd, (o.initrd_fd = 0, "/i"), "_INIT");
	WITH(uuid, "not-a-uuid", "uuid");
	WITH(memory, 4096, "memory");
	WITH(memory, ~0ull, "memory");
	WITH(executor, 3, "executor");
	WITH(console, 9, "console");
	WITH(console, PVV_CONSOLE_FILE, "console");
	WITH(on_crash, 9, "on_crash");
	WITH(on_reboot, 9, "on_reboot");
	WITH(on_poweroff, 9, "on_poweroff");
	WITH(reserved, 1, "reserved");
	WITH(nr_disks, 1, "disks");
	WITH(nr_disks, 65, "disks");
	o = good;
	o.kernel = NULL;
	o.kernel_fd = 9999;
	assert_true(pvv_domain_create(host, &o, 0, &dom) < 0); /* no such descriptor */
	assert_null(dom);

	o = good;
	o.vcpus = 1000;
	assert_code(pvv_domain_create(host, &o, 0, &dom), PVV_ELIMIT);
	assert_null(dom);

	memset(&longer, 0, sizeof(longer));
	longer.o = good;
	longer.o.size = sizeof(longer);
	ok(pvv_domain_create(host, &longer.o, 0, &dom));
	assert_code(pvv_domain_create(host, &good, 0, &(pvv_domain *){NULL}), PVV_EEXIST);
	pvv_domain_unref(dom);
	longer.more[15] = 1;
	refuse(host, &longer.o, "does not know");
	pvv_host_unref(host);
}

static void test_disk_names(void **state)
{
	pvv_host *host = open_host();
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_disk_options disks[4] = {PVV_DISK_OPTIONS_INIT, PVV_DISK_OPTIONS_INIT,
				     PVV_DISK_OPTIONS_INIT, PVV_DISK_OPTIONS_INIT};
	pvv_domain *dom;
	pvv_block_stats block = {.size = sizeof(block)};

	o.name = "disks";
	o.kernel = "/k";
	o.disks = disks;
	o.nr_disks = 4;
	for (int i = 0; i < 4; i++) {
		disks[i].path = "/nonexistent";
		disks[i].readonly = 1;
	}
	disks[0].target = "xvdb";
	disks[2].target = "xvdc";
	ok(pvv_domain_create(host, &o, 0, &dom)); /* the others: xvda and xvdd */
	ok(pvv_domain_get_block_stats(dom, "xvda", 0, &block));
	ok(pvv_domain_get_block_stats(dom, "xvdd", 0, &block));
	pvv_domain_unref(dom);
	disks[3].target = "xvdb";
	refuse(host, &o, "xvdb");
	disks[3].target = NULL;
	disks[1].path = NULL;
	refuse(host, &o, "disks[1]");
	disks[1].fd = 0;
	disks[1].path = "/x";
	refuse(host, &o, "path");
	disks[1].size = 3;
	refuse(host, &o, "size");
	pvv_host_unref(host);
}

/* ---- callbacks ---- */

struct seen {
	pvv_host *host;
	pvv_domain *dom;
	int events, stopped, logs;
	int created;
};

static void on_event(pvv_host *host, const pvv_event *e, void *opaque)
{
	struct seen *s = opaque;
	pvv_domain_info info = {.size = sizeof(info)};
	pvv_domain *again = NULL, *other = NULL;
	char *text;

	assert_ptr_equal(host, s->host);
	s->events++;
	/* All of this is allowed here; the verbs wait for the I/O thread, which must not wait. */
	ok(pvv_domain_get_info(s->dom, &info));
	ok(pvv_domain_get_xml(s->dom, 0, &text));
	pvv_free(text);
	if (pvv_host_lookup_domain(host, pvv_event_get_domain_name(e), &again) == 0)
		pvv_domain_unref(again);
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	o.name = "from-callback";
	o.kernel = "/k";
	ok(pvv_domain_create(host, &o, 0, &other));
	pvv_domain_unref(other);
	s->created++;
	if (pvv_event_get_type(e) == PVV_EVENT_STARTED)
		pvv_domain_pause(s->dom, 0);
	if (pvv_event_get_type(e) == PVV_EVENT_SUSPENDED)
		pvv_domain_destroy(s->dom, 0);
	if (pvv_event_get_type(e) == PVV_EVENT_STOPPED) {
		s->stopped++;
		if (s->stopped < 3)
			ok(pvv_domain_start(s->dom, 0));
	}
}

static void on_log(pvv_log_level level, const char *domain, const char *message, void *opaque)
{
	struct seen *s = opaque;

	s->logs++;
	assert_non_null(message);
	assert_null(strchr(message, '\n'));
	ok(pvv_host_set_log(s->host, PVV_LOG_DEBUG, on_log, s));
}

static void test_callbacks(void **state)
{
	struct seen s = {.host = open_host()};
	struct pollfd p = {pvv_host_fd(s.host), POLLIN, 0};

	s.dom = make_domain(s.host, "callback", guest_path("hello"));
	ok(pvv_host_set_event_callback(s.host, on_event, &s));
	ok(pvv_host_set_log(s.host, PVV_LOG_DEBUG, on_log, &s));
	assert_int_equal(poll(&p, 1, 0), 0);
	ok(pvv_domain_start(s.dom, 0));
	while (s.stopped < 3) {
		assert_int_equal(poll(&p, 1, 20000), 1);
		ok(pvv_dispatch(s.host, 0));
	}
	assert_true(s.events >= 6);
	assert_int_equal(s.events, s.created);
	/* Nothing waits: the descriptor says so. */
	ok(pvv_dispatch(s.host, 0));
	assert_int_equal(poll(&p, 1, 0), 0);
	pvv_domain_unref(s.dom);
	pvv_host_unref(s.host);
}

/* Without anybody to take them, messages are dropped and do not keep the descriptor readable. */
static void test_log_taken_away(void **state)
{
	pvv_host *host = open_host();
	struct seen s = {.host = host};
	struct pollfd p = {pvv_host_fd(host), POLLIN, 0};
	pvv_domain *dom = make_domain(host, "quiet", grub_or_skip());
	pvv_event *e;

	/* A guest with a disk makes messages at the debug level. */
	pvv_domain_unref(dom);
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_disk_options disk = PVV_DISK_OPTIONS_INIT;
	char path[] = "/tmp/pvv-api-XXXXXX";
	int fd = mkstemp(path), console;
	assert_true(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
	disk.fd = fd;
	o.name = "quiet";
	o.kernel = grub_or_skip();
	o.memory = 64ull << 20;
	o.disks = &disk;
	o.nr_disks = 1;
	ok(pvv_host_set_log(host, PVV_LOG_DEBUG, on_log, &s));
	ok(pvv_domain_create(host, &o, 0, &dom));
	ok(pvv_domain_open_console(dom, 0, 0, &console));
	ok(pvv_domain_start(dom, 0));
	assert_true(read_until(console, "grub> ", 20000, NULL, 0));
	ok(pvv_domain_destroy(dom, 0));
	while (pvv_event_next(host, 0, &e) == 1)
		pvv_event_free(e);
	assert_int_equal(poll(&p, 1, 0), 1); /* messages */
	ok(pvv_host_set_log(host, PVV_LOG_DEBUG, NULL, NULL));
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(s.logs, 0);
	close(console);
	close(fd);
	unlink(path);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* A change that does not concern the console leaves its stream alone. */
static void test_set_executor_keeps_streams(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "keep", guest_path("hello"));
	char seen[4096];
	int fd;

	ok(pvv_domain_open_console(dom, 0, 0, &fd));
	ok(pvv_domain_set_executor(dom, PVV_EXECUTOR_RING3, 0));
	ok(pvv_domain_start(dom, 0));
	assert_true(read_until(fd, "Hello", 10000, seen, sizeof(seen)));
	ok(pvv_domain_wait(dom, 10000, 0));
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_null_accessors),
		cmocka_unit_test(test_domain_null),
		cmocka_unit_test(test_domain_arguments),
		cmocka_unit_test(test_info_sizes),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_disk_names),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_log_taken_away),
		cmocka_unit_test(test_set_executor_keeps_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
