/* SPDX-License-Identifier: MIT */
/* vcpu and cputune. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

static int parse_cpuset(struct xml_ctx *ctx, struct tree_node *node, struct config_cpuset *set)
{
	const char *text;
	struct pvv_error e;

	XML_CHECK(xml_need_attr(ctx, node, "cpuset", &text));
	if (config_cpuset_parse(text, set) == PVV_OK)
		return PVV_OK;
	err_save(&e);
	return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, "cpuset"), "cpuset %s", e.message);
}

static int parse_vcpu(struct xml_ctx *ctx, struct tree_node *vcpu, struct config *cfg)
{
	struct config_problem problem;
	uint64_t n;

	const char *text = xml_token(ctx, vcpu);
	if (!text)
		return PVV_ENOMEM;
	XML_CHECK(xml_number(ctx, vcpu, NULL, "", text, UINT16_MAX, &n));
	cfg->vcpus = (uint32_t)n;
	bool present;
	XML_CHECK(xml_attr_number(ctx, vcpu, "current", UINT16_MAX, &n, &present));
	if (present && n == 0)
		return xml_fail(ctx, PVV_EXML, vcpu, xml_attr_pos(vcpu, "current"),
				"current='0': at least one vCPU is online");
	cfg->vcpus_online = present ? (uint32_t)n : 0;

	const char *placement = xml_attr(vcpu, "placement");
	if (placement && strcmp(placement, "static") != 0) {
		static const char *const names[] = {"static", "auto", NULL};
		unsigned int ignore;

		XML_CHECK(xml_attr_enum(ctx, vcpu, "placement", names, &ignore));
		xml_warn(ctx, vcpu, xml_attr_pos(vcpu, "placement"),
			 "placement='auto' is ignored (the host's scheduler places the vCPUs)");
	}
	if (xml_attr(vcpu, "cpuset")) {
		XML_CHECK(parse_cpuset(ctx, vcpu, &cfg->cpuset));
		cfg->has_cpuset = true;
	}
	if (!config_check_vcpus(cfg, &problem))
		return xml_fail_problem(ctx, vcpu, &problem);
	return PVV_OK;
}

static int parse_pin(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg)
{
	const char *text;
	struct config_cpuset cpus;
	struct config_vcpupin *pin;
	uint64_t vcpu = 0;

	XML_CHECK(xml_need_attr(ctx, node, "vcpu", &text));
	XML_CHECK(xml_attr_number(ctx, node, "vcpu", UINT16_MAX, &vcpu, NULL));
	XML_CHECK(parse_cpuset(ctx, node, &cpus));
	/* As libvirt: such pins are left over from a domain that had more vCPUs. */
	if (vcpu >= cfg->vcpus) {
		xml_warn(ctx, node, NULL, "is ignored (the domain has no vCPU %s)", text);
		return PVV_OK;
	}
	for (size_t i = 0; i < cfg->nr_vcpupins; i++)
		if (cfg->vcpupins[i].vcpu == vcpu)
			return xml_fail(ctx, PVV_EXML, node, NULL, "vcpu '%s' appears twice", text);
	XML_CHECK(config_add_vcpupin(cfg, &pin));
	pin->vcpu = (uint32_t)vcpu;
	pin->cpus = cpus;
	return PVV_OK;
}

static int by_vcpu(const void *a, const void *b)
{
	const struct config_vcpupin *x = a, *y = b;

	return x->vcpu < y->vcpu ? -1 : x->vcpu > y->vcpu;
}

/* A child's number; *ret_child NULL if there is none. */
static int parse_tune(struct xml_ctx *ctx, struct tree_node *tune, const char *name, int64_t *value,
		      struct tree_node **ret_child)
{
	XML_CHECK(xml_child(ctx, tune, name, ret_child));
	if (!*ret_child)
		return PVV_OK;
	const char *text = xml_token(ctx, *ret_child);
	if (!text)
		return PVV_ENOMEM;
	return xml_signed(ctx, *ret_child, NULL, "", text, value);
}

static int parse_cputune(struct xml_ctx *ctx, struct tree_node *tune, struct config *cfg)
{
	struct config_problem problem;
	struct tree_node *node;
	int64_t n = 0;

	XML_CHECK(parse_tune(ctx, tune, "shares", &n, &node));
	/* libvirt's (cgroups') range. */
	if (node && (n < 2 || n > 262144))
		return xml_fail(ctx, PVV_EXML, node, NULL, "%lld is not within 2..262144",
				(long long)n);
	cfg->shares = node ? (uint32_t)n : 0;
	XML_CHECK(parse_tune(ctx, tune, "period", &n, &node));
	if (node && (n < 1000 || n > 1000000))
		return xml_fail(ctx, PVV_EXML, node, NULL, "%lld is not within 1000..1000000 us",
				(long long)n);
	cfg->period = node ? (uint64_t)n : 0;
	XML_CHECK(parse_tune(ctx, tune, "quota", &cfg->quota, &node));
	if (node && cfg->quota > 0)
		xml_kept(ctx, node, "only a cgroup of the program's can cap processor time");
	for (node = NULL; (node = xml_next(tune, "vcpupin", node));)
		XML_CHECK(parse_pin(ctx, node, cfg));
	if (cfg->nr_vcpupins)
		qsort(cfg->vcpupins, cfg->nr_vcpupins, sizeof(cfg->vcpupins[0]), by_vcpu);
	if (!config_check_cputune(cfg, &problem))
		return xml_fail_problem(ctx, tune, &problem);
	return PVV_OK;
}

int cpu_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	struct tree_node *node;

	XML_CHECK(xml_child(ctx, domain, "vcpu", &node));
	if (node)
		XML_CHECK(parse_vcpu(ctx, node, cfg));
	XML_CHECK(xml_child(ctx, domain, "cputune", &node));
	return node ? parse_cputune(ctx, node, cfg) : PVV_OK;
}

static void put_cpuset(struct xml_out *out, const struct config_cpuset *set)
{
	char *text = config_cpuset_format(set);

	if (!text)
		out->sb.failed = true;
	xml_out_attr(out, "cpuset", text);
	free(text);
}

void cpu_format(struct xml_out *out, const struct config *cfg)
{
	char text[24];

	snprintf(text, sizeof(text), "%u", cfg->vcpus);
	xml_out_start(out, "vcpu");
	xml_out_attr(out, "placement", "static");
	if (cfg->has_cpuset)
		put_cpuset(out, &cfg->cpuset);
	if (cfg->vcpus_online && cfg->vcpus_online != cfg->vcpus)
		xml_out_attr_number(out, "current", cfg->vcpus_online);
	xml_out_end_text(out, text);

	if (!cfg->shares && !cfg->period && !cfg->quota && !cfg->nr_vcpupins)
		return;
	xml_out_start(out, "cputune");
	if (cfg->shares)
		xml_out_number(out, "shares", cfg->shares);
	if (cfg->period)
		xml_out_number(out, "period", cfg->period);
	if (cfg->quota) {
		snprintf(text, sizeof(text), "%lld", (long long)cfg->quota);
		xml_out_text(out, "quota", text);
	}
	for (size_t i = 0; i < cfg->nr_vcpupins; i++) {
		xml_out_start(out, "vcpupin");
		xml_out_attr_number(out, "vcpu", cfg->vcpupins[i].vcpu);
		put_cpuset(out, &cfg->vcpupins[i].cpus);
		xml_out_end(out);
	}
	xml_out_end(out);
}
