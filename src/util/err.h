/* SPDX-License-Identifier: MIT */
/*
 * Recording the detail of a host error (the second of the three failure paths, see
 * doc/architecture.md). The record is per thread; nothing here allocates, so that running out of
 * memory can be reported too.
 */
#ifndef PVV_UTIL_ERR_H
#define PVV_UTIL_ERR_H

#include <stdarg.h>

#include <pvvirt/error.h>

#define PVV_ERR_OBJECT_MAX  128
#define PVV_ERR_MESSAGE_MAX 1024

struct pvv_error {
	int code;
	pvv_error_subsystem subsystem;
	int os_errno;
	char object[PVV_ERR_OBJECT_MAX];
	char message[PVV_ERR_MESSAGE_MAX];
};

/*
 * Record an error for this thread and return its code, so that a caller can write
 * `return err_set(...)`. `object` may be NULL. Longer texts are cut at a character boundary.
 * err_sys() takes errno from the caller and appends its text: "cannot open 'x': No such file".
 */
int err_set(int code, pvv_error_subsystem subsys, const char *object, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int err_sys(int code, pvv_error_subsystem subsys, int os_errno, const char *object, const char *fmt,
	    ...) __attribute__((format(printf, 5, 6)));
/* Out of memory while doing `what` ("parsing the domain XML"). */
int err_nomem(pvv_error_subsystem subsys, const char *what);

/* Copy this thread's record (to carry it into an event or to another thread), and put it back. */
void err_save(struct pvv_error *dst);
void err_restore(const struct pvv_error *src);

#endif
