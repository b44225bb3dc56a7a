/* SPDX-License-Identifier: MIT */
/*
 * Opening an image. Whatever can be wrong with what the user configured is found out here, before
 * the domain starts, and said in a sentence.
 */
#include "io/blk/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/err.h"

static bool wants_direct(const struct blk_image *image)
{
	return image->params.cache == BLK_CACHE_NONE || image->params.cache == BLK_CACHE_DIRECTSYNC;
}

static int sys_error(const struct blk_image *image, int e, const char *what)
{
	int code = e == ENOENT || e == ENOTDIR					  ? PVV_ENOENT
		   : e == EACCES || e == EPERM || e == EROFS			  ? PVV_EPERM
		   : e == EIO || e == ENXIO || e == ENODEV			  ? PVV_EIO
		   : e == ENOMEM						  ? PVV_ENOMEM
		   : e == EINVAL && wants_direct(image)				  ? PVV_EUNSUPPORTED
		   : e == EBADF || e == EISDIR || e == ELOOP || e == ENAMETOOLONG ? PVV_EINVAL
										  : PVV_ESYS;

	if (code == PVV_EUNSUPPORTED)
		return err_sys(code, PVV_SUBSYS_BLOCK, e, image->name,
			       "cannot %s disk image '%s' past the host's page cache (cache='none' "
			       "and 'directsync'): its file system does not support O_DIRECT",
			       what, image->name);
	return err_sys(code, PVV_SUBSYS_BLOCK, e, image->name, "cannot %s disk image '%s'%s", what,
		       image->name,
		       e == EROFS || (e == EACCES && !image->params.readonly)
			       ? " for writing (a read-only disk would need no such permission)"
			       : "");
}

static int open_flags(const struct blk_image *image, bool direct)
{
	return (image->params.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY |
	       (direct ? O_DIRECT : 0);
}

/* O_NONBLOCK so that a FIFO or a drive without a disc does not make us wait; not for later. */
static int open_path(const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK);

	if (fd >= 0 && fcntl(fd, F_SETFL, flags & O_DIRECT) < 0) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

/*
 * An open file description of our own is better than a duplicate: O_DIRECT and the lock would be
 * shared with the embedder's, and two disks made of one descriptor would not see each other's lock.
 */
static int open_descriptor(struct blk_image *image, int fd, bool direct)
{
	char path[64];
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -1;
	/* Reopening must not give more rights than the descriptor had. */
	if ((flags & O_ACCMODE) == O_WRONLY ||
	    ((flags & O_ACCMODE) == O_RDONLY && !image->params.readonly)) {
		errno = EACCES;
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open_path(path, open_flags(image, direct));
	/* No procfs, or the file's owner changed the permissions since. */
	if (own < 0 && !!(flags & O_DIRECT) == direct) {
		own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		image->must_use_threads = flags & O_NONBLOCK;
	}
	return own;
}

static int open_file(struct blk_image *image, bool direct)
{
	return image->params.path ? open_path(image->params.path, open_flags(image, direct))
				  : open_descriptor(image, image->params.fd, direct);
}

int blk_image_measure(struct blk_image *image)
{
	struct stat st;
	uint64_t bytes;
	unsigned int physical = 0;
	int logical = 0;

	if (fstat(image->fd, &st) < 0)
		return sys_error(image, errno, "examine");
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(image->fd, BLKGETSIZE64, &bytes) < 0)
			return sys_error(image, errno, "find the size of");
		if (ioctl(image->fd, BLKPBSZGET, &physical) < 0)
			physical = BLK_SECTOR_SIZE;
		if (ioctl(image->fd, BLKSSZGET, &logical) < 0 || logical < (int)BLK_SECTOR_SIZE)
			logical = BLK_SECTOR_SIZE;
	} else if (S_ISREG(st.st_mode)) {
		bytes = (uint64_t)st.st_size;
		/* What the page cache and the file systems handle best. */
		physical = 4096;
		logical = BLK_SECTOR_SIZE;
	} else {
		return err_set(PVV_EINVAL, PVV_SUBSYS_BLOCK, image->name,
			       "'%s' cannot be a disk: it is neither a regular file nor a block "
			       "device",
			       image->name);
	}
	if (bytes < BLK_SECTOR_SIZE)
		return err_set(PVV_EINVAL, PVV_SUBSYS_BLOCK, image->name,
			       "disk image '%s' is smaller than one sector of 512 bytes",
			       image->name);
	image->is_blkdev = S_ISBLK(st.st_mode);
	image->sectors = bytes / BLK_SECTOR_SIZE;
	/* The guest is promised a size that is a multiple of it. */
	if (physical < BLK_SECTOR_SIZE || physical > 65536 || bytes % physical)
		physical = BLK_SECTOR_SIZE;
	image->physical_sector = physical;
	image->direct_align = (uint32_t)logical;
	return PVV_OK;
}

#ifdef STATX_DIOALIGN
static void measure_direct(struct blk_image *image)
{
	struct statx stx;

	if (statx(image->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN) && stx.stx_dio_offset_align) {
		image->direct_align = stx.stx_dio_offset_align;
		if (stx.stx_dio_mem_align > image->direct_align)
			image->direct_align = stx.stx_dio_mem_align;
	}
}
#else
/* The C library's headers are older than the field; a page satisfies all we know. */
static void measure_direct(struct blk_image *image)
{
	if (!image->is_blkdev)
		image->direct_align = 4096;
}
#endif

static uint64_t sysfs_number(dev_t dev, const char *attribute)
{
	static const char *const forms[] = {"/sys/dev/block/%u:%u/queue/%s",
					    "/sys/dev/block/%u:%u/../queue/%s" /* a partition */};
	char path[96], buf[32];

	for (unsigned int i = 0; i < 2; i++) {
		if (i == 0)
			snprintf(path, sizeof(path), forms[0], major(dev), minor(dev), attribute);
		else
			snprintf(path, sizeof(path), forms[1], major(dev), minor(dev), attribute);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		ssize_t n = read(fd, buf, sizeof(buf) - 1);
		close(fd);
		if (n > 0) {
			buf[n] = '\0';
			return strtoull(buf, NULL, 10);
		}
	}
	return 0;
}

static void probe_discard(struct blk_image *image)
{
	struct stat st;

	if (image->params.readonly || image->params.no_discard || fstat(image->fd, &st) < 0)
		return;
	if (image->is_blkdev) {
		uint64_t granularity = sysfs_number(st.st_rdev, "discard_granularity");

		image->discard = sysfs_number(st.st_rdev, "discard_max_bytes") > 0;
		image->discard_granularity =
			granularity >= BLK_SECTOR_SIZE && granularity <= 1u << 30
				? (uint32_t)granularity
				: BLK_SECTOR_SIZE;
		return;
	}
	/* Beyond the end there is nothing to lose, and the file system still says if it can. */
	image->discard = fallocate(image->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (st.st_size + 4095) & ~4095l, 4096) == 0;
	image->discard_granularity =
		st.st_blksize >= (blksize_t)BLK_SECTOR_SIZE && st.st_blksize <= 1 << 30
			? (uint32_t)st.st_blksize
			: BLK_SECTOR_SIZE;
}

/*
 * Open-file-description locks: unlike POSIX' process locks they also keep two domains of one
 * program apart, and no close() elsewhere in the program drops them.
 */
static int lock_image(struct blk_image *image)
{
	bool shared = image->params.readonly || image->params.shareable;
	struct flock lock = {.l_type = shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

	if (image->params.no_lock)
		return PVV_OK;
	if (fcntl(image->fd, F_OFD_SETLK, &lock) == 0) {
		image->locked = true;
		return PVV_OK;
	}
	if (errno == EAGAIN || errno == EACCES)
		return err_set(
			PVV_EBUSY, PVV_SUBSYS_BLOCK, image->name,
			shared ? "disk image '%s' is being written to by another domain or "
				 "program, which holds its lock"
			       : "disk image '%s' is in use by another domain or program, which "
				 "holds its lock; a second writer would destroy it. Make the "
				 "disk read-only everywhere, or shareable if its users agree "
				 "among themselves",
			image->name);
	return err_sys(PVV_ESYS, PVV_SUBSYS_BLOCK, errno, image->name,
		       "cannot lock disk image '%s'; if its file system has no locks, switch "
		       "locking off for this disk",
		       image->name);
}

static int set_up(struct blk_image *image)
{
	bool direct = wants_direct(image);
	struct stat st;
	int r;

	/* Opening a character device or a FIFO can have effects: look first. */
	if (image->params.path && stat(image->params.path, &st) < 0)
		return sys_error(image, errno, "open");
	if (image->params.path && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(PVV_EINVAL, PVV_SUBSYS_BLOCK, image->name,
			       "'%s' cannot be a disk: it is neither a regular file nor a block "
			       "device",
			       image->name);
	image->fd = open_file(image, direct);
	if (image->fd < 0)
		return sys_error(image, errno, "open");
	r = blk_image_measure(image);
	if (r < 0)
		return r;
	if (direct) {
		measure_direct(image);
		if (image->direct_align > image->physical_sector &&
		    image->sectors * BLK_SECTOR_SIZE % image->direct_align == 0)
			image->physical_sector = image->direct_align;
		if (image->direct_align > BLK_SECTOR_SIZE) {
			image->fd_cached = open_file(image, false);
			if (image->fd_cached < 0)
				return sys_error(image, errno, "open");
		}
	}
	r = lock_image(image);
	if (r < 0)
		return r;
	probe_discard(image);
	return PVV_OK;
}

static int check_params(const struct blk_params *p, struct blk_image *image)
{
	if (!p->path && p->fd < 0)
		return err_set(PVV_EINVAL, PVV_SUBSYS_BLOCK, p->vdev,
			       "a disk needs an image: a path or a file descriptor");
	if (p->path && !*p->path)
		return err_set(PVV_EINVAL, PVV_SUBSYS_BLOCK, p->vdev,
			       "the path of a disk image is empty");
	int r = blk_vdev_parse(p->vdev, &image->vdev);
	if (r < 0)
		return r;
	if (p->vdev[0] >= '0' && p->vdev[0] <= '9')
		blk_vdev_name(image->vdev, image->vdev_name);
	else
		snprintf(image->vdev_name, sizeof(image->vdev_name), "%s", p->vdev);
	if (p->path)
		snprintf(image->name, sizeof(image->name), "%s", p->path);
	else
		snprintf(image->name, sizeof(image->name), "fd %d", p->fd);
	image->params = *p;
	image->params.readonly |= p->cdrom;
	image->params.removable |= p->cdrom;
	return PVV_OK;
}

int blk_image_open(const struct blk_params *params, struct blk_image **ret_image)
{
	struct blk_image *image = calloc(1, sizeof(*image));

	if (!image)
		return err_nomem(PVV_SUBSYS_BLOCK, "opening a disk image");
	image->fd = image->fd_cached = -1;
	int r = check_params(params, image);
	if (r == PVV_OK)
		r = set_up(image);
	if (r < 0) {
		blk_image_free(image);
		return r;
	}
	image->params.path = image->params.vdev = NULL;
	*ret_image = image;
	return PVV_OK;
}

void blk_image_free(struct blk_image *image)
{
	struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (!image)
		return;
	/* The kernel may hold the description a moment longer for I/O that has just ended. */
	if (image->locked)
		fcntl(image->fd, F_OFD_SETLK, &unlock);
	if (image->fd >= 0)
		close(image->fd);
	if (image->fd_cached >= 0)
		close(image->fd_cached);
	free(image);
}

uint64_t blk_image_sectors(const struct blk_image *image)
{
	return image->sectors;
}

int blk_image_fd_for(const struct blk_image *image, const struct iovec *iov, unsigned int nr_iov,
		     uint64_t offset)
{
	uint64_t bits = offset;

	if (image->fd_cached < 0)
		return image->fd;
	for (unsigned int i = 0; i < nr_iov; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return bits & (image->direct_align - 1) ? image->fd_cached : image->fd;
}
