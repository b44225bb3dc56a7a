/* SPDX-License-Identifier: MIT */
/* For the system tests: where the guests are, and the usual steps with a domain. */
#ifndef PVV_TEST_SYSTEM_H
#define PVV_TEST_SYSTEM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pvvirt/pvvirt.h>

/* A guest of tests/guest ("hello"), or PV GRUB ("grub"): path in a static buffer. */
const char *guest_path(const char *name);
/* Skips the test, saying why, if Debian's PV GRUB was not fetched. */
const char *grub_or_skip(void);

pvv_host *open_host(void);
/* 64 MiB, one vCPU, no disks; the console as a stream. */
pvv_domain *make_domain(pvv_host *host, const char *name, const char *kernel);
/* Asserts success and shows the library's message otherwise. */
#define ok(call) assert_ok((call), #call, __FILE__, __LINE__)
void assert_ok(int ret, const char *what, const char *file, int line);
#define assert_code(call, code) assert_fails((call), (code), #call, __FILE__, __LINE__)
void assert_fails(int ret, int code, const char *what, const char *file, int line);
void assert_state(pvv_domain *dom, int state, int reason);
/* Reads the console until `text` was seen (true) or it ended or `ms` passed. `seen` may be NULL. */
bool read_until(int fd, const char *text, int ms, char *seen, size_t size);
/* How many entries a folder has ("/proc/self/fd"). */
unsigned int count_dir(const char *path);
void type(int fd, const char *text);

#endif
