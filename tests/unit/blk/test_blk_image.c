/* SPDX-License-Identifier: MIT */
/* Names of disks; opening, measuring and locking images; the cache of persistent grants. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

/* --- names ------------------------------------------------------------------------------------ */

static void test_vdev_names(void **state)
{
	static const struct {
		const char *name;
		uint32_t vdev;
	} good[] = {
		{"xvda", 51712},
		{"xvda1", 51713},
		{"xvda15", 51727},
		{"xvdb", 51728},
		{"xvdp15", 202 << 8 | 255},
		{"xvda16", 1 << 28 | 16},
		{"xvdq", 1 << 28 | 16 << 8},
		{"xvdz", 1 << 28 | 25 << 8},
		{"xvdaa", 1 << 28 | 26 << 8},
		{"xvdaz3", 1 << 28 | 51 << 8 | 3},
		{"xvdba", 1 << 28 | 52 << 8},
		{"xvdzz255", 1 << 28 | 701 << 8 | 255},
		{"sda", 2048},
		{"sdp15", 2303},
		{"hda", 768},
		{"hda63", 831},
		{"hdb1", 833},
		{"hdc", 5632},
		{"hdd63", 5759},
	};
	char name[BLK_VDEV_NAME_MAX];
	uint32_t vdev;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(blk_vdev_parse(good[i].name, &vdev), 0);
		assert_int_equal(vdev, good[i].vdev);
		blk_vdev_name(vdev, name);
		assert_string_equal(name, good[i].name);
	}
	/* Plain numbers, and numbers that no name has. */
	assert_int_equal(blk_vdev_parse("51712", &vdev), 0);
	assert_int_equal(vdev, 51712);
	assert_int_equal(blk_vdev_parse("0xCa10", &vdev), 0);
	assert_int_equal(vdev, 51728);
	assert_int_equal(blk_vdev_parse("2147483647", &vdev), 0);
	blk_vdev_name(vdev, name);
	assert_string_equal(name, "2147483647");
	blk_vdev_name(3 << 8 | 0xc0, name); /* a third disk on a channel of two */
	assert_string_equal(name, "960");
}

static void test_vdev_roundtrip(void **state)
{
	char name[BLK_VDEV_NAME_MAX];
	uint32_t again;

	(void)state;
	/* Every name that is made is read as the number it was made of. */
	for (uint64_t v = 0; v <= UINT32_MAX; v += v < 70000 ? 1 : 65521) {
		blk_vdev_name((uint32_t)v, name);
		if (v > INT32_MAX)
			continue;
		if (blk_vdev_parse(name, &again) < 0)
			fail_msg("%s of %llx", name, (unsigned long long)v);
		/* But extended numbers of small disks, which have a shorter one as well. */
		if (again != v)
			assert_true(v >> 28 == 1 && again >> 8 == 202);
	}
}

static void test_vdev_bad(void **state)
{
	static const char *const bad[] = {
		"",
		"xvd",
		"xvda0",
		"xvda01",
		"xvda256",
		"xvdA",
		"xvd1",
		"vda",
		"sdq",
		"sda16",
		"hde",
		"hda64",
		"xvda-",
		"xvdaaaaaa",
		"0x",
		"12x",
		"0xfg",
		"2147483648",
		"99999999999",
		"-1",
		" 51712",
		"xvda ",
		"xvda1234567890",
		"xvdaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"/dev/xvda",
	};
	uint32_t vdev = 12345;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (blk_vdev_parse(bad[i], &vdev) != PVV_EINVAL)
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_equal(vdev, 12345);
	}
	assert_int_equal(blk_vdev_parse(NULL, &vdev), PVV_EINVAL);
}

/* --- images ----------------------------------------------------------------------------------- */

static char dir[64], path[96];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/var/tmp/pvv-image-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/disk", dir);
	return 0;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static void make_file(off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static struct blk_params with_path(void)
{
	return (struct blk_params){.path = path, .fd = -1, .vdev = "xvda"};
}

static int open_image(const struct blk_params *p, struct blk_image **image)
{
	int r = blk_image_open(p, image);

	if (r < 0)
		*image = NULL;
	return r;
}

static const char *message(void)
{
	return pvv_error_get_message(pvv_error_last());
}

static void test_sizes(void **state)
{
	static const struct {
		off_t size;
		uint64_t sectors;
		unsigned int physical;
	} cases[] = {
		{512, 1, 512},	 {4095, 7, 512}, /* a tail of less than a sector does not count */
		{4096, 8, 4096}, {4608, 9, 512}, {1ll << 40, 1ull << 31, 4096},
	};
	struct blk_image *image;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct blk_params p = with_path();

		make_file(cases[i].size);
		assert_int_equal(open_image(&p, &image), 0);
		assert_int_equal(blk_image_sectors(image), cases[i].sectors);
		assert_int_equal(image->physical_sector, cases[i].physical);
		assert_false(image->is_blkdev);
		blk_image_free(image);
	}
}

static void test_not_an_image(void **state)
{
	struct blk_params p = with_path();
	struct blk_image *image;

	(void)state;
	assert_int_equal(open_image(&p, &image), PVV_ENOENT);
	assert_non_null(strstr(message(), path));
	assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), ENOENT);
	make_file(511);
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	assert_non_null(strstr(message(), "smaller than one sector"));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_image(&p, &image), PVV_EINVAL); /* and does not wait for a writer */
	p.path = dir;
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	p.path = "/dev/null";
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	assert_non_null(strstr(message(), "neither a regular file nor a block device"));
	p.path = "";
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	p.path = NULL;
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	p.fd = 1000;
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	p.fd = ends[0];
	p.readonly = true;
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	close(ends[0]);
	close(ends[1]);
}

static void test_bad_parameters(void **state)
{
	struct blk_params p = with_path();
	struct blk_image *image;

	(void)state;
	make_file(4096);
	p.vdev = NULL;
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	p.vdev = "floppy";
	assert_int_equal(open_image(&p, &image), PVV_EINVAL);
	p.vdev = "51728";
	assert_int_equal(open_image(&p, &image), 0);
	assert_string_equal(image->vdev_name, "xvdb");
	blk_image_free(image);
}

static void test_locks(void **state)
{
	struct blk_params w = with_path(), r = with_path(), s = with_path(), n = with_path();
	struct blk_image *a, *b, *c;

	(void)state;
	make_file(4096);
	r.readonly = true;
	s.shareable = true;
	n.no_lock = true;
	/* A writer wants to be alone. */
	assert_int_equal(open_image(&w, &a), 0);
	assert_int_equal(open_image(&w, &b), PVV_EBUSY);
	assert_non_null(strstr(message(), "second writer"));
	assert_int_equal(open_image(&r, &b), PVV_EBUSY);
	assert_int_equal(open_image(&s, &b), PVV_EBUSY);
	assert_int_equal(open_image(&n, &b), 0);
	blk_image_free(b);
	assert_int_equal(open_image(&w, &b), PVV_EBUSY); /* the free above did not unlock it */
	blk_image_free(a);
	/* Readers can be many. */
	assert_int_equal(open_image(&r, &a), 0);
	assert_int_equal(open_image(&r, &b), 0);
	assert_int_equal(open_image(&s, &c), 0);
	blk_image_free(a);
	struct blk_image *d;
	assert_int_equal(open_image(&w, &d), PVV_EBUSY);
	blk_image_free(b);
	blk_image_free(c);
	assert_int_equal(open_image(&w, &a), 0);
	blk_image_free(a);
}

/* Two disks of one descriptor, and a lock of the embedder's on the same file. */
static void test_descriptor(void **state)
{
	struct blk_params p = {.fd = -1, .vdev = "xvda"};
	struct blk_image *a, *b;

	(void)state;
	make_file(1 << 20);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	p.fd = fd;
	assert_int_equal(open_image(&p, &a), 0);
	assert_true(a->fd != fd);
	assert_true(fcntl(a->fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(a->fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(open_image(&p, &b), PVV_EBUSY);
	/* The embedder may close its own. */
	close(fd);
	char c = 'x';
	assert_int_equal(pwrite(a->fd, &c, 1, 0), 1);
	blk_image_free(a);

	/* A descriptor gives no more rights than it has. */
	p.fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(open_image(&p, &a), PVV_EPERM);
	p.readonly = true;
	assert_int_equal(open_image(&p, &a), 0);
	assert_int_equal(pwrite(a->fd, &c, 1, 0), -1);
	blk_image_free(a);
	close(p.fd);
	p.fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(open_image(&p, &a), PVV_EPERM);
	close(p.fd);
	/* A file without a name. */
	p.readonly = false;
	p.fd = memfd_create("disk", MFD_CLOEXEC);
	assert_int_equal(ftruncate(p.fd, 8192), 0);
	assert_int_equal(open_image(&p, &a), 0);
	assert_int_equal(blk_image_sectors(a), 16);
	blk_image_free(a);
	close(p.fd);
}

/* Runs as another user in a child: root may open everything. */
static void test_permissions(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become another user\n");
		skip();
	}
	make_file(4096);
	chmod(dir, 0755);
	chmod(path, 0444);
	pid_t pid = fork();
	if (pid == 0) {
		struct blk_params p = with_path();
		struct blk_image *image;

		if (setresuid(65534, 65534, 65534) < 0 || open_image(&p, &image) != PVV_EPERM ||
		    !strstr(message(), "read-only disk"))
			_exit(1);
		p.readonly = true;
		_exit(open_image(&p, &image) == 0 ? 0 : 2);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_no_leaked_descriptors(void **state)
{
	struct blk_params p = with_path();
	struct blk_image *image;

	(void)state;
	make_file(4096);
	int before = dup(0);
	close(before);
	for (int i = 0; i < 10; i++) {
		p.cache = i & 1 ? BLK_CACHE_NONE : BLK_CACHE_WRITEBACK;
		if (open_image(&p, &image) == 0) {
			struct blk_image *second;

			assert_int_equal(open_image(&p, &second), PVV_EBUSY);
			blk_image_free(image);
		}
	}
	int after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

static void test_direct_alignment(void **state)
{
	struct blk_image image = {.fd = 10, .fd_cached = 11, .direct_align = 4096};
	struct iovec iov[2] = {{(void *)0x10000, 4096}, {(void *)0x20000, 8192}};

	(void)state;
	assert_int_equal(blk_image_fd_for(&image, iov, 2, 0), 10);
	assert_int_equal(blk_image_fd_for(&image, iov, 2, 512), 11);
	iov[1].iov_len = 512;
	assert_int_equal(blk_image_fd_for(&image, iov, 2, 4096), 11);
	iov[1] = (struct iovec){(void *)0x20200, 4096};
	assert_int_equal(blk_image_fd_for(&image, iov, 2, 4096), 11);
	image.fd_cached = -1;
	assert_int_equal(blk_image_fd_for(&image, iov, 2, 512), 10);
}

/* --- persistent grants ------------------------------------------------------------------------ */

static void test_pgrants(void **state)
{
	struct io_guest *g = fake_guest_new(1, "pg", FAKE_GRANTS);
	void *page, *again;

	(void)state;
	for (uint32_t i = 0; i < FAKE_GRANTS; i++)
		fake_grant(g, i, i, false);
	struct blk_pgrants *pg = blk_pgrants_new(g, BLK_PGRANT_MAX);
	int a = blk_pgrants_get(pg, 5, &page);
	assert_true(a >= 0);
	assert_ptr_equal(page, fake_page(g, 5));
	assert_int_equal(blk_pgrants_get(pg, 5, &again), a);
	assert_ptr_equal(page, again);
	blk_pgrants_put(pg, a);
	blk_pgrants_put(pg, a);
	assert_int_equal(fake_grant_maps(g, 5), 1);
	/* What cannot be mapped for writing is no error of ours, and leaves nothing. */
	fake_grant_end(g, 6);
	fake_grant(g, 6, 6, true);
	assert_true(blk_pgrants_get(pg, 6, &page) < 0);
	assert_true(blk_pgrants_get(pg, 100000, &page) < 0);
	assert_int_equal(blk_pgrants_count(pg), 1);
	blk_pgrants_free(pg);
	assert_int_equal(fake_grant_maps_total(g), 0);
	fake_guest_free(g);
	blk_pgrants_free(NULL);
}

/* A guest with more grants than the cache holds: the least recently used one has to go. */
static void test_pgrants_lru(void **state)
{
	struct io_guest *g = fake_guest_new(1, "pg", FAKE_GRANTS);
	struct blk_pgrants *pg = blk_pgrants_new(g, 8);
	int handles[8];
	void *page;

	(void)state;
	for (uint32_t i = 0; i < FAKE_GRANTS; i++)
		fake_grant(g, i, i, false);
	for (uint32_t i = 0; i < 8; i++)
		handles[i] = blk_pgrants_get(pg, i, &page);
	/* All in use: no room. */
	assert_true(blk_pgrants_get(pg, 100, &page) < 0);
	assert_int_equal(fake_grant_maps(g, 100), 0);
	/* In an order of their own; 3 is the oldest that is free, then 1. */
	blk_pgrants_put(pg, handles[3]);
	blk_pgrants_put(pg, handles[1]);
	blk_pgrants_put(pg, handles[5]);
	int h = blk_pgrants_get(pg, 100, &page);
	assert_ptr_equal(page, fake_page(g, 100));
	assert_int_equal(fake_grant_maps(g, 3), 0);
	assert_int_equal(fake_grant_maps(g, 1), 1);
	/* Use makes young again. */
	blk_pgrants_put(pg, blk_pgrants_get(pg, 1, &page));
	blk_pgrants_put(pg, h);
	h = blk_pgrants_get(pg, 101, &page);
	assert_int_equal(fake_grant_maps(g, 5), 0);
	assert_int_equal(fake_grant_maps(g, 1), 1);
	assert_int_equal(blk_pgrants_count(pg), 8);
	blk_pgrants_put(pg, h);
	for (uint32_t i = 0; i < 8; i++)
		if (i != 1 && i != 3 && i != 5)
			blk_pgrants_put(pg, handles[i]);
	blk_pgrants_free(pg);
	fake_guest_free(g);
}

/* Random use of many by few: always the right page, never more than there is room for. */
static void test_pgrants_churn(void **state)
{
	static const unsigned int sizes[] = {1, 2, 7, 100, BLK_PGRANT_MAX};

	(void)state;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct io_guest *g = fake_guest_new(1, "pg", FAKE_GRANTS);
		struct blk_pgrants *pg = blk_pgrants_new(g, sizes[k]);
		int held[16];
		unsigned int seed = 3, nr_held = 0;
		void *page;

		for (uint32_t i = 0; i < FAKE_GRANTS; i++)
			fake_grant(g, i, i, false);
		for (unsigned int n = 0; n < 20000; n++) {
			uint32_t ref = (uint32_t)rand_r(&seed) % FAKE_GRANTS;

			if (nr_held == 16 || (nr_held && rand_r(&seed) % 2)) {
				blk_pgrants_put(pg, held[--nr_held]);
				continue;
			}
			int h = blk_pgrants_get(pg, ref, &page);
			if (h < 0) {
				assert_true(nr_held >= sizes[k]);
				continue;
			}
			assert_ptr_equal(page, fake_page(g, ref));
			assert_int_equal(fake_grant_maps(g, ref), 1);
			held[nr_held++] = h;
			assert_true(blk_pgrants_count(pg) <= sizes[k]);
		}
		while (nr_held)
			blk_pgrants_put(pg, held[--nr_held]);
		assert_int_equal(fake_grant_maps_total(g), blk_pgrants_count(pg));
		blk_pgrants_free(pg);
		fake_guest_free(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vdev_names),
		cmocka_unit_test(test_vdev_roundtrip),
		cmocka_unit_test(test_vdev_bad),
		cmocka_unit_test_setup_teardown(test_sizes, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_not_an_image, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_bad_parameters, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_locks, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_descriptor, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_permissions, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_no_leaked_descriptors, make_dir, remove_dir),
		cmocka_unit_test(test_direct_alignment),
		cmocka_unit_test(test_pgrants),
		cmocka_unit_test(test_pgrants_lru),
		cmocka_unit_test(test_pgrants_churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
