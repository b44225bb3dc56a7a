/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "api/check.h"

uint32_t pvv_version(void)
{
	return PVV_VERSION;
}

const char *pvv_version_string(void)
{
	return PVV_VERSION_STRING;
}

const char *const api_features[] = {
	"executor.ring3", "executor.kvm",   "xml",	    "smp",
	"balloon",	  "console.stream", "console.pty",  "console.file",
	"console.unix",	  "console.tcp",    "console.null", "channel",
	"disk.raw",	  "disk.io_uring",  "net",	    NULL,
};

int pvv_has_feature(const char *feature)
{
	for (const char *const *f = api_features; feature && *f; f++)
		if (!strcmp(feature, *f))
			return 1;
	return 0;
}

void pvv_free(void *ptr)
{
	free(ptr);
}
