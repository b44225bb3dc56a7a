/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include "common.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

const char *guest_path(const char *name)
{
	static char path[512];
	const char *dir = getenv("PVV_TEST_GUESTS");

	snprintf(path, sizeof(path), "%s/%s.elf", dir ? dir : "tests/guest", name);
	return path;
}

const char *grub_or_skip(void)
{
	static char path[512];
	const char *dir = getenv("PVV_TEST_CACHE");

	snprintf(path, sizeof(path), "%s/grub-x86_64-xen.bin",
		 dir ? dir : "/var/cache/libpvvirt-test");
	if (access(path, R_OK)) {
		print_message("skipped: %s is missing; run scripts/fetch-guests grub\n", path);
		skip();
	}
	return path;
}

void assert_ok(int ret, const char *what, const char *file, int line)
{
	if (ret < 0)
		print_error("%s: %s (%s)\n", what, pvv_error_get_message(pvv_error_last()),
			    pvv_error_code_name(ret));
	_assert_true(ret >= 0, what, file, line);
}

void assert_fails(int ret, int code, const char *what, const char *file, int line)
{
	if (ret != code)
		print_error("%s: %d (%s) instead of %s; last message: %s\n", what, ret,
			    pvv_error_code_name(ret), pvv_error_code_name(code),
			    pvv_error_get_message(pvv_error_last()));
	_assert_true(ret == code, what, file, line);
	_assert_true(pvv_error_get_code(pvv_error_last()) == code, "the error record", file, line);
	_assert_true(*pvv_error_get_message(pvv_error_last()) != 0, "the message", file, line);
}

pvv_host *open_host(void)
{
	pvv_host *host = NULL;

	ok(pvv_host_open(0, &host));
	return host;
}

pvv_domain *make_domain(pvv_host *host, const char *name, const char *kernel)
{
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_domain *dom = NULL;

	o.name = name;
	o.kernel = kernel;
	o.memory = 64ull << 20;
	ok(pvv_domain_create(host, &o, 0, &dom));
	return dom;
}

void assert_state(pvv_domain *dom, int state, int reason)
{
	int s = -1, r = -1;
	char *text;

	ok(pvv_domain_get_state(dom, &s, &r));
	if (s != state || r != reason) {
		ok(pvv_domain_get_reason_text(dom, &text));
		print_error("state %d reason %d (%s) instead of %d %d\n", s, r, text, state,
			    reason);
		pvv_free(text);
	}
	assert_int_equal(s, state);
	assert_int_equal(r, reason);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool read_until(int fd, const char *text, int ms, char *seen, size_t size)
{
	char *buf = calloc(1, 1 << 20);
	size_t len = 0;
	int64_t end = now_ms() + ms;
	bool found = false;

	while (!found && len < (1 << 20) - 1) {
		struct pollfd p = {fd, POLLIN, 0};
		int64_t left = end - now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			break;
		n = read(fd, buf + len, (1 << 20) - 1 - len);
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		buf[len] = '\0';
		found = strstr(buf, text) != NULL;
	}
	if (seen)
		snprintf(seen, size, "%s", len > size - 1 ? buf + len - (size - 1) : buf);
	if (!found)
		print_error("'%s' was not seen; the console said:\n%s\n", text, buf);
	free(buf);
	return found;
}

void type(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			usleep(1000);
			continue;
		}
		assert_true(n > 0);
		text += n;
		len -= (size_t)n;
	}
}

unsigned int count_dir(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
