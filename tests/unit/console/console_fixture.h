/* SPDX-License-Identifier: MIT */
/* A console, the guest on one side of its ring and the readers on the other, on one thread. */
#ifndef PVV_TESTS_CONSOLE_FIXTURE_H
#define PVV_TESTS_CONSOLE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/types.h>

#include <xen/io/console.h>

#include "fake_guest.h"
#include "io/console/console.h"
#include "util/err.h"

#define PORT 2u

struct fixture {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xencons_interface *ring;
	struct io_console *con;
	char dir[64];
};

int setup(void **state);
int teardown(void **state);
#define WITH_FIXTURE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* One round of the loop without descriptors; the loop for some milliseconds. */
void pump(struct fixture *f);
void turn(struct fixture *f, unsigned int ms);

void open_console(struct fixture *f, const struct io_console_config *cfg);
void attach(struct fixture *f);

/* The guest's side. Put: as much as fits; the number of bytes. */
size_t guest_put(struct fixture *f, const char *data, size_t len);
void guest_print(struct fixture *f, const char *text);
/* Prints `len` bytes of a known sequence from `from`; the number that the back end took. */
size_t guest_flood(struct fixture *f, size_t from, size_t len, unsigned int patience);
size_t guest_get(struct fixture *f, char *buf, size_t size);
void expect_input(struct fixture *f, const char *want);

/* The reader's side. */
ssize_t read_now(int fd, void *buf, size_t size);
void expect_output(struct fixture *f, int fd, const char *want);
void expect_sequence(const char *buf, size_t len, size_t from);
char *slurp(const char *path, size_t *ret_len);

#endif
