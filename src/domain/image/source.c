/* SPDX-License-Identifier: MIT */
#include "domain/image/source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"

/* Files are read, never mapped: one that is cut short while we look would be a SIGBUS. */

static const char *name_of(const struct image_source *src)
{
	return src->name ? src->name : "image";
}

int image_source_size(const struct image_source *src, uint64_t *ret_size)
{
	struct stat st;

	*ret_size = 0;
	if (src->fd < 0) {
		if (!src->data && src->size)
			return err_set(PVV_EINVAL, PVV_SUBSYS_IMAGE, name_of(src),
				       "%s: neither a descriptor nor data was given", name_of(src));
		*ret_size = src->size;
		return 0;
	}
	if (fstat(src->fd, &st) < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_IMAGE, errno, name_of(src),
			       "%s: cannot look at the file", name_of(src));
	if (S_ISBLK(st.st_mode)) {
		/* st_size is 0 for devices; a duplicate's offset is shared, so put it back. */
		off_t was = lseek(src->fd, 0, SEEK_CUR);
		off_t end = lseek(src->fd, 0, SEEK_END);

		if (was >= 0)
			lseek(src->fd, was, SEEK_SET);
		if (end < 0)
			return err_sys(PVV_ESYS, PVV_SUBSYS_IMAGE, errno, name_of(src),
				       "%s: cannot find the device's size", name_of(src));
		*ret_size = (uint64_t)end;
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(PVV_EINVAL, PVV_SUBSYS_IMAGE, name_of(src),
			       "%s: is not a regular file or block device", name_of(src));
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

int image_source_read(const struct image_source *src, uint64_t offset, void *dst, uint64_t size)
{
	uint8_t *p = dst;

	if (src->fd < 0) {
		if (offset > src->size || size > src->size - offset)
			return err_set(PVV_EIO, PVV_SUBSYS_IMAGE, name_of(src),
				       "%s: ends before byte %llu", name_of(src),
				       (unsigned long long)(offset + size));
		if (size)
			memcpy(dst, (const uint8_t *)src->data + offset, size);
		return 0;
	}
	while (size) {
		size_t want = size > (1u << 30) ? (1u << 30) : (size_t)size;
		ssize_t got = pread(src->fd, p, want, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(PVV_EIO, PVV_SUBSYS_IMAGE, errno, name_of(src),
				       "%s: cannot read at byte %llu", name_of(src),
				       (unsigned long long)offset);
		if (got == 0)
			return err_set(PVV_EIO, PVV_SUBSYS_IMAGE, name_of(src),
				       "%s: ends at byte %llu; it was longer a moment ago",
				       name_of(src), (unsigned long long)offset);
		p += got;
		offset += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return 0;
}
