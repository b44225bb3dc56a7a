/* SPDX-License-Identifier: MIT */
/*
 * Kernel images: whatever the bytes, image_load() gives an image or an error, the inspector prints
 * it, and what can be laid out can be built without touching memory outside the domain's.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "domain/image/inspect.h"
#include "domain/memory.h"

#define PAGES	   2560ull /* 10 MiB: also the limit of unpacking, so that a run stays fast */
#define MAX_MODULE 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_source src = {.name = "fuzz", .fd = -1, .data = data, .size = size};
	struct image_source module = {
		.name = "module", .fd = -1, .data = data, .size = size % MAX_MODULE};
	struct image *img;

	if (image_load(&src, PAGES << 12, IMAGE_LOAD_INSPECT, &img) < 0)
		return 0;
	struct build_params p = {.image = img,
				 .module = &module,
				 .cmdline = "fuzz",
				 .nr_pages = PAGES,
				 .nr_vcpus = 1};
	struct build_layout l;
	int r = build_plan(&p, &l);

	free(image_inspect_text(img, r == 0 ? &l : NULL, PAGES));
	free(image_inspect_json(img, r == 0 ? &l : NULL, PAGES));
	if (r == 0) {
		struct memory_params mp = {.name = "fuzz", .nr_pages = PAGES};
		struct exec_memory mem;
		struct core_boot boot;

		if (l.nr_used > PAGES)
			abort();
		if (memory_create(&mp, &mem, &boot) == 0) {
			if (build_domain(&p, &mem, &boot, NULL) < 0)
				abort();
			memory_destroy(&mem);
		}
	}
	image_free(img);
	return 0;
}
