/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <pvvirt/pvvirt.h>

uint32_t pvv_version(void)
{
	return PVV_VERSION;
}

const char *pvv_version_string(void)
{
	return PVV_VERSION_STRING;
}

int pvv_has_feature(const char *feature)
{
	static const char *const features[] = {
		"executor.ring3", "xml",	  "console.stream", "console.pty",   "console.unix",
		"console.file",	  "console.null", "disk.raw",	    "disk.io_uring",
	};

	for (size_t i = 0; feature && i < sizeof(features) / sizeof(features[0]); i++)
		if (!strcmp(feature, features[i]))
			return 1;
	return 0;
}

void pvv_free(void *ptr)
{
	free(ptr);
}
