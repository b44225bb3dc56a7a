/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "api/check.h"

int pvv_event_next(pvv_host *host, uint64_t flags, pvv_event **ret_event)
{
	int ret;

	if (!ret_event)
		return API_EINVAL("pvv_event_next: ret_event is NULL");
	*ret_event = NULL;
	ret = api_host(host, "pvv_event_next");
	if (!ret)
		ret = api_flags(flags, 0, "pvv_event_next");
	if (ret < 0)
		return ret;
	*ret_event = event_take(&host->events);
	return *ret_event ? 1 : 0;
}

void pvv_event_free(pvv_event *event)
{
	free(event);
}

pvv_event_type pvv_event_get_type(const pvv_event *event)
{
	return event ? event->type : (pvv_event_type)-1;
}

int pvv_event_get_detail(const pvv_event *event)
{
	return event ? event->detail : 0;
}

const char *pvv_event_get_domain_name(const pvv_event *event)
{
	return event ? event->name : "";
}

const char *pvv_event_get_domain_uuid(const pvv_event *event)
{
	return event ? event->uuid : "";
}

const char *pvv_event_get_text(const pvv_event *event)
{
	return event ? event->text : "";
}

int64_t pvv_event_get_time_ns(const pvv_event *event)
{
	return event ? event->time_ns : 0;
}

const char *pvv_event_type_name(int type)
{
	switch (type) {
	case PVV_EVENT_DEFINED:
		return "defined";
	case PVV_EVENT_UNDEFINED:
		return "undefined";
	case PVV_EVENT_STARTED:
		return "started";
	case PVV_EVENT_SUSPENDED:
		return "suspended";
	case PVV_EVENT_RESUMED:
		return "resumed";
	case PVV_EVENT_STOPPED:
		return "stopped";
	case PVV_EVENT_SHUTDOWN:
		return "shutdown";
	case PVV_EVENT_CRASHED:
		return "crashed";
	case PVV_EVENT_REBOOT:
		return "reboot";
	case PVV_EVENT_IO_ERROR:
		return "io-error";
	case PVV_EVENT_LOST:
		return "lost";
	default:
		return "unknown";
	}
}
