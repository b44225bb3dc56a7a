/* SPDX-License-Identifier: MIT */
/* Argument checks shared by the exported functions. */
#ifndef PVV_API_CHECK_H
#define PVV_API_CHECK_H

#include "domain/host.h"
#include "util/err.h"

#define API_EINVAL(...) err_set(PVV_EINVAL, PVV_SUBSYS_API, NULL, __VA_ARGS__)

/* Unknown flag bits are refused, so that they can get a meaning later. */
static inline int api_flags(uint64_t flags, uint64_t known, const char *function)
{
	if (flags & ~known)
		return API_EINVAL("%s: unknown flags 0x%llx", function,
				  (unsigned long long)(flags & ~known));
	return 0;
}

static inline int api_host(const pvv_host *host, const char *function)
{
	if (!host)
		return API_EINVAL("%s: the host handle is NULL", function);
	return host_check(host);
}

static inline int api_domain(const pvv_domain *domain, const char *function)
{
	if (!domain)
		return API_EINVAL("%s: the domain is NULL", function);
	return host_check(domain->host);
}

static inline int api_verb(const pvv_domain *domain, uint64_t flags, uint64_t known,
			   const char *function)
{
	int ret = api_domain(domain, function);

	return ret < 0 ? ret : api_flags(flags, known, function);
}

/* version.c: what pvv_has_feature() knows, NULL behind the last. */
extern const char *const api_features[];

/* create.c: a pvv_console_type and its path into a configuration. */
int take_console_type(struct config_chr *chr, uint32_t type, const char *path,
		      const char *function);

#endif
