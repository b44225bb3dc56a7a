/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/check.h"

int pvv_host_open(uint64_t flags, pvv_host **ret_host)
{
	int ret;

	if (!ret_host)
		return API_EINVAL("pvv_host_open: ret_host is NULL");
	*ret_host = NULL;
	ret = api_flags(flags, 0, "pvv_host_open");
	return ret < 0 ? ret : host_open(ret_host);
}

pvv_host *pvv_host_ref(pvv_host *host)
{
	if (host && host_check(host) == 0)
		host_ref(host);
	return host;
}

pvv_host *pvv_host_unref(pvv_host *host)
{
	/* In a forked child there is no I/O thread to end, and the memory is a copy. */
	if (host && host_check(host) == 0)
		host_unref(host);
	return NULL;
}

void pvv_host_unrefp(pvv_host **host)
{
	if (host)
		*host = pvv_host_unref(*host);
}

int pvv_host_fd(pvv_host *host)
{
	int ret = api_host(host, "pvv_host_fd");

	return ret < 0 ? ret : host->events.fd;
}

int pvv_dispatch(pvv_host *host, uint64_t flags)
{
	int ret = api_host(host, "pvv_dispatch");

	if (!ret)
		ret = api_flags(flags, 0, "pvv_dispatch");
	return ret < 0 ? ret : event_dispatch(&host->events, host);
}

int pvv_host_set_log(pvv_host *host, pvv_log_level level, pvv_log_fn *fn, void *opaque)
{
	int ret = api_host(host, "pvv_host_set_log");

	if (ret < 0)
		return ret;
	if ((int)level < 0 || level > PVV_LOG_DEBUG)
		return API_EINVAL("pvv_host_set_log: %d is not a log level (0 to 7)", (int)level);
	event_set_log(&host->events, level, fn, opaque);
	return 0;
}

int pvv_host_set_event_callback(pvv_host *host, pvv_event_fn *fn, void *opaque)
{
	int ret = api_host(host, "pvv_host_set_event_callback");

	if (ret < 0)
		return ret;
	event_set_callback(&host->events, fn, opaque);
	return 0;
}

/* Reasons are our own texts, but they may quote the host's: escape for JSON. */
static void json_executor(FILE *f, const char *name, const struct exec_probe *p)
{
	fprintf(f, "    {\"name\": \"%s\", \"available\": %s, \"reason\": \"", name,
		p->available ? "true" : "false");
	for (const char *s = p->reason; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', f);
		if ((unsigned char)*s >= ' ')
			fputc(*s, f);
	}
	fprintf(f, "\"}");
}

int pvv_host_get_capabilities(pvv_host *host, uint64_t flags, char **ret_json)
{
	size_t size;
	FILE *f;
	int ret;

	if (!ret_json)
		return API_EINVAL("pvv_host_get_capabilities: ret_json is NULL");
	*ret_json = NULL;
	ret = api_host(host, "pvv_host_get_capabilities");
	if (!ret)
		ret = api_flags(flags, 0, "pvv_host_get_capabilities");
	if (ret < 0)
		return ret;
	host_probe(host);
	f = open_memstream(ret_json, &size);
	if (!f)
		return err_nomem(PVV_SUBSYS_API, "describing the host");
	fprintf(f, "{\n  \"version\": \"%s\",\n  \"arch\": \"x86_64\",\n", pvv_version_string());
	fprintf(f, "  \"guest\": {\"abi\": \"xen-pv\", \"machine\": \"xenpv\", \"version\": "
		   "\"4.17\"},\n");
	fprintf(f, "  \"executors\": [\n");
	json_executor(f, "ring3", &host->probe_ring3);
	fprintf(f, ",\n");
	json_executor(f, "kvm", &host->probe_kvm);
	fprintf(f, "\n  ],\n  \"default_executor\": %s,\n",
		host->probe_kvm.available     ? "\"kvm\""
		: host->probe_ring3.available ? "\"ring3\""
					      : "null");
	fprintf(f, "  \"features\": [");
	for (const char *const *name = api_features; *name; name++)
		fprintf(f, "%s\"%s\"", name == api_features ? "" : ", ", *name);
	fprintf(f, "],\n");
	fprintf(f,
		"  \"limits\": {\"vcpus\": %u, \"disks\": %u, \"interfaces\": %u, \"consoles\": "
		"%u, \"channels\": %u}\n}\n",
		CONFIG_MAX_VCPUS, CONFIG_MAX_DISKS, CONFIG_MAX_INTERFACES, CONFIG_MAX_CONSOLES,
		CONFIG_MAX_CHANNELS);
	if (fclose(f)) {
		free(*ret_json);
		*ret_json = NULL;
		return err_nomem(PVV_SUBSYS_API, "describing the host");
	}
	return 0;
}

int pvv_host_list_domains(pvv_host *host, uint64_t flags, pvv_domain ***ret_domains,
			  size_t *ret_count)
{
	struct pvv_domain **list;
	size_t n = 0;
	int ret;

	if (ret_domains)
		*ret_domains = NULL;
	if (ret_count)
		*ret_count = 0;
	if (!ret_domains || !ret_count)
		return API_EINVAL(
			"pvv_host_list_domains: ret_domains and ret_count must not be NULL");
	ret = api_host(host, "pvv_host_list_domains");
	if (!ret)
		ret = api_flags(flags, 0, "pvv_host_list_domains");
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&host->lock);
	list = calloc(host->nr_objects + 1, sizeof(struct pvv_domain *));
	for (struct pvv_domain *d = host->domains; list && d; d = d->next) {
		d->user_refs++;
		list[n++] = d;
	}
	pthread_mutex_unlock(&host->lock);
	if (!list)
		return err_nomem(PVV_SUBSYS_API, "listing the domains");
	*ret_domains = list;
	*ret_count = n;
	return 0;
}

static int lookup(pvv_host *host, const char *key, bool by_uuid, pvv_domain **ret_domain)
{
	pthread_mutex_lock(&host->lock);
	for (struct pvv_domain *d = host->domains; d; d = d->next) {
		if (by_uuid ? !strcasecmp(d->uuid, key) : !strcmp(d->name, key)) {
			d->user_refs++;
			*ret_domain = d;
			break;
		}
	}
	pthread_mutex_unlock(&host->lock);
	return *ret_domain ? 0
			   : err_set(PVV_ENOENT, PVV_SUBSYS_API, key, "there is no domain %s'%s'",
				     by_uuid ? "with the UUID " : "", key);
}

int pvv_host_lookup_domain(pvv_host *host, const char *name, pvv_domain **ret_domain)
{
	int ret;

	if (ret_domain)
		*ret_domain = NULL;
	if (!ret_domain || !name)
		return API_EINVAL("pvv_host_lookup_domain: name and ret_domain must not be NULL");
	ret = api_host(host, "pvv_host_lookup_domain");
	return ret < 0 ? ret : lookup(host, name, false, ret_domain);
}

int pvv_host_lookup_domain_by_uuid(pvv_host *host, const char *uuid, pvv_domain **ret_domain)
{
	int ret;

	if (ret_domain)
		*ret_domain = NULL;
	if (!ret_domain || !uuid)
		return API_EINVAL("pvv_host_lookup_domain_by_uuid: uuid and ret_domain must not be "
				  "NULL");
	ret = api_host(host, "pvv_host_lookup_domain_by_uuid");
	return ret < 0 ? ret : lookup(host, uuid, true, ret_domain);
}
