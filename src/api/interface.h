/* SPDX-License-Identifier: MIT */
#ifndef PVV_API_INTERFACE_H
#define PVV_API_INTERFACE_H

#include <pvvirt/options.h>

#include "domain/config.h"

int take_interfaces(struct config *cfg, const pvv_domain_options *o);

#endif
