/* SPDX-License-Identifier: MIT */
#include "util/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct pvv_error last_error;

/* Cut an incomplete UTF-8 sequence that snprintf left at the end of a full buffer. */
static void trim_utf8(char *s, size_t size)
{
	size_t n = strlen(s);

	if (n + 1 < size)
		return;
	size_t i = n;
	while (i > 0 && n - i < 3 && ((unsigned char)s[i - 1] & 0xc0) == 0x80)
		i--;
	if (i == 0)
		return;
	unsigned char lead = (unsigned char)s[i - 1];
	size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (n - i + 1 < want)
		s[i - 1] = '\0';
}

static void record(int code, pvv_error_subsystem subsys, int os_errno, const char *object,
		   const char *fmt, va_list ap)
{
	/* The arguments may point into the record itself (wrapping an earlier message). */
	struct pvv_error e = {.code = code, .subsystem = subsys, .os_errno = os_errno};

	snprintf(e.object, sizeof(e.object), "%s", object ? object : "");
	trim_utf8(e.object, sizeof(e.object));
	vsnprintf(e.message, sizeof(e.message), fmt, ap);
	if (os_errno) {
		size_t n = strlen(e.message);
		char buf[128];

		snprintf(e.message + n, sizeof(e.message) - n, ": %s",
			 strerror_r(os_errno, buf, sizeof(buf)));
	}
	trim_utf8(e.message, sizeof(e.message));
	last_error = e;
}

int err_set(int code, pvv_error_subsystem subsys, const char *object, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(code, subsys, 0, object, fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(int code, pvv_error_subsystem subsys, int os_errno, const char *object, const char *fmt,
	    ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(code, subsys, os_errno, object, fmt, ap);
	va_end(ap);
	return code;
}

int err_nomem(pvv_error_subsystem subsys, const char *what)
{
	return err_set(PVV_ENOMEM, subsys, NULL, "out of memory while %s", what);
}

void err_save(struct pvv_error *dst)
{
	*dst = last_error;
}

void err_restore(const struct pvv_error *src)
{
	last_error = *src;
}

const pvv_error *pvv_error_last(void)
{
	return last_error.code ? &last_error : NULL;
}

int pvv_error_get_code(const pvv_error *error)
{
	return error ? error->code : PVV_OK;
}

pvv_error_subsystem pvv_error_get_subsystem(const pvv_error *error)
{
	return error ? error->subsystem : PVV_SUBSYS_NONE;
}

int pvv_error_get_os_errno(const pvv_error *error)
{
	return error ? error->os_errno : 0;
}

const char *pvv_error_get_object(const pvv_error *error)
{
	return error ? error->object : "";
}

const char *pvv_error_get_message(const pvv_error *error)
{
	return error ? error->message : "";
}

const char *pvv_error_code_name(int code)
{
	static const char *const names[] = {
		"PVV_OK",	    "PVV_EINVAL", "PVV_ENOMEM",	   "PVV_ESYS",	    "PVV_EXML",
		"PVV_EUNSUPPORTED", "PVV_ESTATE", "PVV_ENOENT",	   "PVV_EEXIST",    "PVV_EIMAGE",
		"PVV_ELIMIT",	    "PVV_EBUSY",  "PVV_ETIMEDOUT", "PVV_EAGAIN",    "PVV_EGUEST",
		"PVV_EPERM",	    "PVV_EFORK",  "PVV_EIO",	   "PVV_EINTERNAL",
	};
	bool known = code <= 0 && code > -(int)(sizeof(names) / sizeof(names[0]));

	return known ? names[-code] : "unknown error code";
}
