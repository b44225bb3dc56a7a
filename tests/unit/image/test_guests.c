/* SPDX-License-Identifier: MIT */
/*
 * Kernels that nobody here made: Debian's PV GRUB (as packaged, and made with grub-mkimage),
 * Debian's Linux, Xen itself. scripts/fetch-guests brings them; without it each test says that it
 * is skipped.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "domain/image/inspect.h"
#include "startofday.h"
#include "util/err.h"

#define MIB 256ull /* pages */

/* Open a file of the cache; skips the test when it is not there. */
static int open_guest(const char *name)
{
	const char *dir = getenv("PVV_TEST_CACHE"), *home = getenv("HOME");
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : "/var/cache/libpvvirt-test", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && !dir && home) {
		snprintf(path, sizeof(path), "%s/.cache/libpvvirt-test/%s", home, name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0) {
		print_message("SKIPPED: %s is not there, run scripts/fetch-guests\n", path);
		skip();
	}
	return fd;
}

static struct image *load_fd(int fd, const char *name)
{
	struct image_source src = {.name = name, .fd = fd};
	struct image *img = NULL;

	/* A duplicate's offset must neither matter nor move. */
	assert_int_equal(lseek(fd, 100, SEEK_SET), 100);
	if (image_load(&src, 0, 0, &img) < 0)
		fail_msg("%s", pvv_error_get_message(pvv_error_last()));
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 100);
	close(fd);
	return img;
}

static void build_and_check(const struct image *img, uint64_t mib)
{
	static const char module[70000] = "not really a ram disk";
	struct image_source mod = {
		.name = "initrd", .fd = -1, .data = module, .size = sizeof(module)};
	struct sod s;
	struct build_params p = {.image = img,
				 .module = &mod,
				 .cmdline = "root=/dev/xvda console=hvc0",
				 .nr_pages = mib * MIB,
				 .store_port = 1,
				 .console_port = 2,
				 .nr_vcpus = 2};

	sod_build(&s, &p);
	sod_check(&s, &p);
	const struct start_info *si = sod_start_info(&s);
	if (img->mod_start_pfn) {
		assert_int_equal(si->flags, SIF_MOD_START_PFN);
		assert_memory_equal(s.mem.base + (si->mod_start << 12), module, sizeof(module));
	} else {
		int rw;
		uint64_t pfn = sod_walk(&s, si->mod_start, &rw);
		assert_memory_equal(s.mem.base + (pfn << 12), module, sizeof(module));
	}
	assert_int_equal(si->mod_len, sizeof(module));
	sod_free(&s);
}

/* The whole inspector's text, against a file; for images that do not change under us. */
static void compare_golden(const struct image *img, uint64_t mib, const char *file)
{
	struct build_params p = {.image = img, .nr_pages = mib * MIB};
	struct build_layout l;
	char path[512], golden[8192] = "";

	assert_int_equal(build_plan(&p, &l), 0);
	char *text = image_inspect_text(img, &l, p.nr_pages);
	assert_non_null(text);
	snprintf(path, sizeof(path), "%s/%s", GOLDEN_DIR, file);
	FILE *f = fopen(path, "r");
	if (!f)
		fail_msg("%s is missing; it would be:\n%s", path, text);
	golden[fread(golden, 1, sizeof(golden) - 1, f)] = 0;
	fclose(f);
	assert_string_equal(text, golden);
	free(text);
}

static void pv_grub(void **state)
{
	struct image *img = load_fd(open_guest("grub-x86_64-xen.bin"), "grub-x86_64-xen.bin");

	assert_int_equal(img->format, IMAGE_ELF);
	assert_int_equal(img->entry, 0);
	assert_int_equal(img->virt_base, 0);
	assert_int_equal(img->init_p2m, IMAGE_UNSET);
	assert_int_equal(img->hypercall_page, IMAGE_UNSET);
	assert_false(img->mod_start_pfn);
	assert_string_equal(img->guest_os, "GRUB");
	assert_string_equal(img->loader, "generic");
	assert_int_equal(img->nr_segments, 2);
	if (img->file_size == 2119488) /* 2.06-13+deb12u2 */
		compare_golden(img, 64, "grub-x86_64-xen.txt");
	else
		print_message("another GRUB than 2.06-13+deb12u2: golden text not compared\n");
	build_and_check(img, 64);
	build_and_check(img, 9);
	build_and_check(img, 1024);
	image_free(img);
}

/* Linux from a package: the version changes with each update, what it asks for does not. */
static void debian_linux(const char *name, enum image_compression payload)
{
	struct image *img = load_fd(open_guest(name), name);

	assert_int_equal(img->format, IMAGE_BZIMAGE);
	assert_int_equal(img->payload_compression, payload);
	assert_int_equal(img->file_compression, IMAGE_PLAIN);
	assert_int_equal(img->boot_protocol, 0x20f);
	assert_non_null(strstr(img->kernel_version, "amd64"));
	assert_string_equal(img->guest_os, "linux");
	assert_string_equal(img->xen_version, "xen-3.0");
	assert_int_equal(img->virt_base, 0xffffffff80000000);
	assert_int_equal(img->paddr_offset, 0);
	assert_int_equal(img->init_p2m, 0x8000000000);
	assert_int_equal(img->hv_start_low, 0xffff800000000000);
	assert_true(img->mod_start_pfn);
	assert_true(img->suspend_cancel);
	assert_true(img->has_l1_mfn_valid);
	assert_int_equal(img->l1_mfn_mask, 1);
	assert_int_equal(img->features_required, 1);
	assert_int_equal(img->features_supported, 0x8811);
	assert_int_not_equal(img->phys32_entry, IMAGE_UNSET); /* PVH too; it is not in the way */
	assert_int_equal(img->phys_start, 0x1000000);
	/* One segment (percpu) has virtual address 0: they go by physical address. */
	int zero = 0;
	for (unsigned int i = 0; i < img->nr_segments; i++)
		zero += img->segment[i].vaddr == 0;
	assert_int_equal(zero, 1);
	build_and_check(img, 256);
	build_and_check(img, 1536);

	/* RAM as the limit of unpacking: enough for the kernel is enough. */
	image_free(img);
	int fd = open_guest(name);
	struct image_source src = {.name = name, .fd = fd};
	assert_int_equal(image_load(&src, 128u << 20, 0, &img), 0);
	image_free(img);
	assert_int_equal(image_load(&src, 32u << 20, 0, &img), PVV_ELIMIT);
	close(fd);
}

static void linux_cloud(void **state)
{
	debian_linux("vmlinuz-cloud", IMAGE_LZ4);
}

static void linux_amd64(void **state)
{
	debian_linux("vmlinuz-amd64", IMAGE_XZ);
}

static void xen_is_no_guest(void **state)
{
	int fd = open_guest("xen.elf");
	struct image_source src = {.name = "xen.elf", .fd = fd};
	struct image *img;

	assert_int_equal(image_load(&src, 0, 0, &img), PVV_EUNSUPPORTED);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "32-bit"));
	close(fd);
}

/* grub-mkimage of the host, for a target; -1: it is not installed. */
static int mkimage(const char *target)
{
	char path[] = "/tmp/pvv-grub.XXXXXX";
	int fd = mkstemp(path), status;
	pid_t pid;

	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0) {
		execlp("grub-mkimage", "grub-mkimage", "-O", target, "-p", "/boot/grub", "-o", path,
		       "normal", "echo", "ls", "halt", NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	fd = status == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	unlink(path);
	if (fd < 0)
		print_message("SKIPPED: no grub-mkimage for %s (packages grub-common and "
			      "grub-xen-bin)\n",
			      target);
	return fd;
}

static void grub_mkimage(void **state)
{
	int fd = mkimage("x86_64-xen");

	if (fd < 0)
		skip();
	struct image *img = load_fd(fd, "grub");
	assert_int_equal(img->entry, 0);
	assert_int_equal(img->nr_segments, 2);
	build_and_check(img, 32);
	image_free(img);
}

/* Its note PAE_MODE claims more than its segment has; 32-bit, so it is only looked at. */
static void grub_mkimage_32(void **state)
{
	static const char *const targets[] = {"i386-xen", "i386-xen_pvh"};

	for (int i = 0; i < 2; i++) {
		int fd = mkimage(targets[i]);

		if (fd < 0)
			skip();
		struct image_source src = {.name = targets[i], .fd = fd};
		struct image *img;
		assert_int_equal(image_load(&src, 0, 0, &img), PVV_EUNSUPPORTED);
		assert_int_equal(image_load(&src, 0, IMAGE_LOAD_INSPECT, &img), 0);
		assert_non_null(strstr(img->refused, "32-bit"));
		image_free(img);
		close(fd);
	}
}

/* Not files: said by name, and nothing blocks. */
static void other_descriptors(void **state)
{
	int fds[2];
	struct image *img;

	assert_int_equal(pipe(fds), 0);
	struct image_source src = {.name = "a pipe", .fd = fds[0]};
	assert_int_equal(image_load(&src, 0, 0, &img), PVV_EINVAL);
	assert_string_equal(pvv_error_get_message(pvv_error_last()),
			    "a pipe: is not a regular file or block device");
	close(fds[0]);
	close(fds[1]);
	src = (struct image_source){.name = "a folder", .fd = open("/tmp", O_RDONLY)};
	assert_int_equal(image_load(&src, 0, 0, &img), PVV_EINVAL);
	close(src.fd);
	src.fd = 999999;
	assert_int_equal(image_load(&src, 0, 0, &img), PVV_ESYS);
	src = (struct image_source){.name = "write only", .fd = open("/tmp", O_TMPFILE | O_WRONLY)};
	if (src.fd >= 0) {
		assert_int_equal(write(src.fd, "x", 1), 1);
		assert_int_equal(image_load(&src, 0, 0, &img), PVV_EIO);
		/* Too large to be a kernel; sparse, so that it costs nothing. */
		assert_int_equal(ftruncate(src.fd, (off_t)IMAGE_MAX_FILE + 1), 0);
		assert_int_equal(image_load(&src, 0, 0, &img), PVV_ELIMIT);
		close(src.fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pv_grub),	     cmocka_unit_test(linux_cloud),
		cmocka_unit_test(linux_amd64),	     cmocka_unit_test(xen_is_no_guest),
		cmocka_unit_test(grub_mkimage),	     cmocka_unit_test(grub_mkimage_32),
		cmocka_unit_test(other_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
