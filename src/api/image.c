/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "api/check.h"
#include "domain/build/build.h"
#include "domain/image/image.h"
#include "domain/image/inspect.h"

#define INSPECT_PAGES 65536u /* the layout is shown for a domain of 256 MiB */

static int inspect(const char *name, int fd, uint64_t flags, char **ret_text)
{
	struct image_source src = {.name = name, .fd = fd};
	struct build_layout layout;
	struct image *image;
	int ret = image_load(&src, 0, IMAGE_LOAD_INSPECT, &image);

	if (ret < 0)
		return ret;
	struct build_params bp = {
		.image = image,
		.nr_pages = INSPECT_PAGES,
		.store_port = 1,
		.console_port = 2,
		.nr_vcpus = 1,
	};
	bool laid_out = !image->refused[0] && build_plan(&bp, &layout) == 0;
	*ret_text = flags & PVV_IMAGE_JSON
			    ? image_inspect_json(image, laid_out ? &layout : NULL, INSPECT_PAGES)
			    : image_inspect_text(image, laid_out ? &layout : NULL, INSPECT_PAGES);
	image_free(image);
	return *ret_text ? 0 : err_nomem(PVV_SUBSYS_IMAGE, "describing an image");
}

int pvv_image_inspect(const char *path, int fd, uint64_t flags, char **ret_text)
{
	char name[64];
	int ret;

	if (!ret_text)
		return API_EINVAL("pvv_image_inspect: ret_text is NULL");
	*ret_text = NULL;
	ret = api_flags(flags, PVV_IMAGE_JSON, "pvv_image_inspect");
	if (ret < 0)
		return ret;
	if (!path) {
		if (fd < 0)
			return API_EINVAL("pvv_image_inspect: neither a path nor a descriptor");
		snprintf(name, sizeof(name), "descriptor %d", fd);
		return inspect(name, fd, flags, ret_text);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		ret = errno;
		return err_sys(ret == ENOENT || ret == ENOTDIR			 ? PVV_ENOENT
			       : ret == EACCES || ret == EPERM			 ? PVV_EPERM
			       : ret == EMFILE || ret == ENFILE || ret == ENOMEM ? PVV_ESYS
										 : PVV_EIO,
			       PVV_SUBSYS_IMAGE, ret, path, "cannot open the image '%s'", path);
	}
	ret = inspect(path, fd, flags, ret_text);
	close(fd);
	return ret;
}
