/* SPDX-License-Identifier: MIT */
/* Life cycle, state and description of domains. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/check.h"
#include "api/record.h"
#include "xml/xml.h"

pvv_domain *pvv_domain_ref(pvv_domain *domain)
{
	if (domain && host_check(domain->host) == 0)
		domain_ref(domain);
	return domain;
}

pvv_domain *pvv_domain_unref(pvv_domain *domain)
{
	if (domain && host_check(domain->host) == 0)
		domain_unref(domain);
	return NULL;
}

void pvv_domain_unrefp(pvv_domain **domain)
{
	if (domain)
		*domain = pvv_domain_unref(*domain);
}

int pvv_domain_start(pvv_domain *domain, uint64_t flags)
{
	int ret = api_verb(domain, flags, PVV_START_PAUSED | PVV_START_AUTODESTROY,
			   "pvv_domain_start");

	return ret < 0 ? ret : domain_start(domain, flags);
}

int pvv_domain_pause(pvv_domain *domain, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_pause");

	return ret < 0 ? ret : domain_pause(domain);
}

int pvv_domain_resume(pvv_domain *domain, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_resume");

	return ret < 0 ? ret : domain_resume(domain);
}

int pvv_domain_shutdown(pvv_domain *domain, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_shutdown");

	return ret < 0 ? ret : domain_ask_shutdown(domain, "poweroff");
}

int pvv_domain_reboot(pvv_domain *domain, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_reboot");

	return ret < 0 ? ret : domain_ask_shutdown(domain, "reboot");
}

int pvv_domain_destroy(pvv_domain *domain, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_destroy");

	return ret < 0 ? ret : domain_destroy(domain);
}

int pvv_domain_wait(pvv_domain *domain, int64_t timeout_ms, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_wait");

	return ret < 0 ? ret : domain_wait(domain, timeout_ms);
}

int pvv_domain_get_state(pvv_domain *domain, int *ret_state, int *ret_reason)
{
	int ret = api_domain(domain, "pvv_domain_get_state");

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&domain->lock);
	if (ret_state)
		*ret_state = domain->state;
	if (ret_reason)
		*ret_reason = domain->reason;
	pthread_mutex_unlock(&domain->lock);
	return 0;
}

int pvv_domain_set_memory(pvv_domain *domain, uint64_t bytes, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_set_memory");

	return ret < 0 ? ret : domain_set_memory(domain, bytes);
}

int pvv_domain_set_vcpus(pvv_domain *domain, uint32_t vcpus, uint64_t flags)
{
	int ret = api_verb(domain, flags, 0, "pvv_domain_set_vcpus");

	return ret < 0 ? ret : domain_set_vcpus(domain, vcpus);
}

static int give_text(const char *text, char **ret_text)
{
	*ret_text = strdup(text);
	return *ret_text ? 0 : err_nomem(PVV_SUBSYS_API, "copying a text");
}

int pvv_domain_get_reason_text(pvv_domain *domain, char **ret_text)
{
	char text[REASON_TEXT_MAX];
	int ret;

	if (!ret_text)
		return API_EINVAL("pvv_domain_get_reason_text: ret_text is NULL");
	*ret_text = NULL;
	ret = api_domain(domain, "pvv_domain_get_reason_text");
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&domain->lock);
	memcpy(text, domain->reason_text, sizeof(text));
	pthread_mutex_unlock(&domain->lock);
	return give_text(text, ret_text);
}

const char *pvv_domain_get_name(pvv_domain *domain)
{
	return domain ? domain->name : NULL;
}

const char *pvv_domain_get_uuid(pvv_domain *domain)
{
	return domain ? domain->uuid : NULL;
}

int pvv_domain_get_id(pvv_domain *domain)
{
	int id;

	if (!domain || host_check(domain->host) < 0)
		return -1;
	pthread_mutex_lock(&domain->lock);
	id = domain->id;
	pthread_mutex_unlock(&domain->lock);
	return id;
}

int pvv_domain_get_info(pvv_domain *domain, pvv_domain_info *info)
{
	pvv_domain_info full = {.size = sizeof(full)};
	int ret = api_domain(domain, "pvv_domain_get_info");

	if (!ret)
		ret = record_check(info, info ? info->size : 0, "pvv_domain_get_info");
	if (ret < 0)
		return ret;
	domain_update_stats(domain);
	pthread_mutex_lock(&domain->lock);
	const struct config *cfg = domain->cfg;
	full.state = domain->state;
	full.reason = domain->reason;
	full.max_memory = domain_max_memory(cfg);
	/* Its counters may be nowhere yet, early in a start. */
	full.memory = domain->id >= 0 && domain->stats.memory ? domain->stats.memory
							      : domain_target_memory(domain);
	full.max_vcpus = cfg->vcpus;
	full.vcpus = domain->id >= 0 ? domain->vcpus_up : domain_target_vcpus(domain);
	full.cpu_time_ns = domain->stats.cpu_time_ns;
	full.overhead_memory = domain->id >= 0 ? domain->stats.overhead_memory : 0;
	full.id = domain->id;
	full.executor = domain->executor;
	pthread_mutex_unlock(&domain->lock);
	record_give(info, info->size, &full, sizeof(full));
	return 0;
}

int pvv_domain_get_stats(pvv_domain *domain, uint64_t flags, pvv_domain_stats *stats)
{
	pvv_domain_stats full;
	int ret = api_verb(domain, flags, 0, "pvv_domain_get_stats");

	if (!ret)
		ret = record_check(stats, stats ? stats->size : 0, "pvv_domain_get_stats");
	if (ret < 0)
		return ret;
	domain_update_stats(domain);
	pthread_mutex_lock(&domain->lock);
	full = domain->stats;
	pthread_mutex_unlock(&domain->lock);
	record_give(stats, stats->size, &full, sizeof(full));
	return 0;
}

int pvv_domain_get_block_stats(pvv_domain *domain, const char *target, uint64_t flags,
			       pvv_block_stats *stats)
{
	pvv_block_stats full;
	bool found = false;
	int ret = api_verb(domain, flags, 0, "pvv_domain_get_block_stats");

	if (!ret)
		ret = record_check(stats, stats ? stats->size : 0, "pvv_domain_get_block_stats");
	if (!ret && !target)
		ret = API_EINVAL("pvv_domain_get_block_stats: target is NULL");
	if (ret < 0)
		return ret;
	domain_update_stats(domain);
	pthread_mutex_lock(&domain->lock);
	for (unsigned int i = 0; i < domain->nr_blocks && !found; i++) {
		found = !strcmp(domain->blocks[i].target, target);
		if (found)
			full = domain->blocks[i].stats;
	}
	pthread_mutex_unlock(&domain->lock);
	if (!found)
		return err_set(PVV_ENOENT, PVV_SUBSYS_API, target, "domain '%s' has no disk '%s'",
			       domain->name, target);
	record_give(stats, stats->size, &full, sizeof(full));
	return 0;
}

static bool is_interface(const struct net_counter *net, unsigned int index, const char *name)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", index);
	return !strcasecmp(net->mac, name) || !strcmp(number, name) ||
	       (*net->target && !strcmp(net->target, name));
}

int pvv_domain_get_interface_stats(pvv_domain *domain, const char *interface, uint64_t flags,
				   pvv_interface_stats *stats)
{
	pvv_interface_stats full = {0};
	bool found = false;
	int ret = api_verb(domain, flags, 0, "pvv_domain_get_interface_stats");

	if (!ret)
		ret = record_check(stats, stats ? stats->size : 0,
				   "pvv_domain_get_interface_stats");
	if (!ret && !interface)
		ret = API_EINVAL("pvv_domain_get_interface_stats: interface is NULL");
	if (ret < 0)
		return ret;
	domain_update_stats(domain);
	pthread_mutex_lock(&domain->lock);
	for (unsigned int i = 0; i < domain->nr_nets && !found; i++) {
		found = is_interface(&domain->nets[i], i, interface);
		if (found)
			full = domain->nets[i].stats;
	}
	pthread_mutex_unlock(&domain->lock);
	if (!found)
		return err_set(PVV_ENOENT, PVV_SUBSYS_API, interface,
			       "domain '%s' has no interface '%s'", domain->name, interface);
	record_give(stats, stats->size, &full, sizeof(full));
	return 0;
}

int pvv_domain_get_xml(pvv_domain *domain, uint64_t flags, char **ret_xml)
{
	int ret;

	if (!ret_xml)
		return API_EINVAL("pvv_domain_get_xml: ret_xml is NULL");
	*ret_xml = NULL;
	ret = api_verb(domain, flags, 0, "pvv_domain_get_xml");
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&domain->lock); /* against pvv_domain_set_console() */
	ret = xml_format(domain->cfg, ret_xml);
	pthread_mutex_unlock(&domain->lock);
	return ret;
}

int pvv_domain_get_warnings(pvv_domain *domain, char **ret_text)
{
	int ret;

	if (!ret_text)
		return API_EINVAL("pvv_domain_get_warnings: ret_text is NULL");
	*ret_text = NULL;
	ret = api_domain(domain, "pvv_domain_get_warnings");
	return ret < 0 ? ret : give_text(domain->warnings ? domain->warnings : "", ret_text);
}
