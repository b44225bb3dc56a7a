/* SPDX-License-Identifier: MIT */
/* An opened, measured and locked image: what the device and the engines know of the host's file. */
#ifndef PVV_IO_BLK_IMAGE_H
#define PVV_IO_BLK_IMAGE_H

#include <sys/uio.h>

#include "io/blk/blk.h"

#define BLK_IMAGE_NAME_MAX 128

struct blk_image {
	struct blk_params params; /* its strings are not valid any more */
	char name[BLK_IMAGE_NAME_MAX];
	char vdev_name[BLK_VDEV_NAME_MAX];
	uint32_t vdev;

	int fd;
	int fd_cached; /* without O_DIRECT, for what O_DIRECT cannot do; else -1 */
	bool is_blkdev;
	bool locked;
	bool must_use_threads; /* O_NONBLOCK belongs to the embedder's descriptor */

	uint64_t sectors;
	uint32_t physical_sector;
	uint32_t direct_align; /* of offset, length and memory with O_DIRECT */
	bool discard;
	uint32_t discard_granularity;
	uint32_t discard_alignment;
};

/* Measure again; keeps the old size on failure. */
int blk_image_measure(struct blk_image *image);
/* The descriptor that can do this transfer. */
int blk_image_fd_for(const struct blk_image *image, const struct iovec *iov, unsigned int nr_iov,
		     uint64_t offset);
static inline bool blk_image_write_through(const struct blk_image *image)
{
	return image->params.cache == BLK_CACHE_WRITETHROUGH ||
	       image->params.cache == BLK_CACHE_DIRECTSYNC;
}

#endif
