/* SPDX-License-Identifier: MIT */
/*
 * The kvm executor's place. It is a later step; until then its probe says so, "auto" chooses ring3,
 * and asking for kvm by name is refused with that reason.
 */
#include <stdio.h>
#include <string.h>

#include <pvvirt/error.h>

#include "exec/executor.h"
#include "util/err.h"

static void kvm_probe(struct exec_probe *ret)
{
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->reason, sizeof(ret->reason),
		 "this version of libpvvirt was built without it");
}

static int kvm_start(const struct exec_params *params, struct exec **ret_exec)
{
	*ret_exec = NULL;
	return err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_EXEC, params->name,
		       "the kvm executor is not part of this version of libpvvirt");
}

/* Never reached without an exec of ours. */
static void kvm_destroy(struct exec *e)
{
}

const struct exec_ops exec_kvm = {
	.name = "kvm",
	.probe = kvm_probe,
	.start = kvm_start,
	.destroy = kvm_destroy,
};
