/* SPDX-License-Identifier: MIT */
/* os and bootloader: which kernel, and that it is a PV domain at all. */
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

static int parse_type(struct xml_ctx *ctx, struct tree_node *os)
{
	static const char *const machines[] = {"xenpv", NULL};
	static const char *const archs[] = {"x86_64", NULL};
	struct tree_node *type;
	unsigned int ignore;

	XML_CHECK(xml_child(ctx, os, "type", &type));
	if (!type)
		return xml_fail(ctx, PVV_EXML, os, NULL, "lacks <type>");
	const char *text = xml_token(ctx, type);
	if (!text)
		return PVV_ENOMEM;
	if (strcmp(text, "hvm") == 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, type, NULL,
				"'hvm': fully virtualized domains are not supported (use 'linux' "
				"with machine='xenpv')");
	if (strcmp(text, "xenpvh") == 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, type, NULL,
				"'xenpvh': PVH domains are not supported (use 'linux' with "
				"machine='xenpv')");
	if (strcmp(text, "linux") != 0 && strcmp(text, "xen") != 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, type, NULL,
				"'%s' is not supported (use 'linux' or 'xen')", text);

	const char *machine = xml_attr(type, "machine");
	if (machine && strcmp(machine, "xenfv") == 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, type, xml_attr_pos(type, "machine"),
				"machine 'xenfv': fully virtualized domains are not supported "
				"(use 'xenpv')");
	if (machine && strcmp(machine, "xenpvh") == 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, type, xml_attr_pos(type, "machine"),
				"machine 'xenpvh': PVH domains are not supported (use 'xenpv')");
	XML_CHECK(xml_attr_enum(ctx, type, "machine", machines, &ignore));
	return xml_attr_enum(ctx, type, "arch", archs, &ignore);
}

static int parse_file(struct xml_ctx *ctx, struct tree_node *os, const char *name, char **field,
		      struct tree_node **ret_node)
{
	struct config_problem problem;

	XML_CHECK(xml_child_string(ctx, os, name, field, ret_node));
	if (*field && !config_check_path("path", *field, &problem))
		return xml_fail_problem(ctx, *ret_node, &problem);
	return PVV_OK;
}

int os_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	struct config_problem problem;
	struct tree_node *os, *node, *bootloader;

	/* An empty <bootloader/> means the default one. */
	XML_CHECK(xml_child_string(ctx, domain, "bootloader", &cfg->bootloader, &bootloader));
	if (bootloader && !cfg->bootloader)
		XML_CHECK(config_set_string(&cfg->bootloader, "pygrub"));
	XML_CHECK(xml_child_string(ctx, domain, "bootloader_args", &cfg->bootloader_args, NULL));
	XML_CHECK(xml_child(ctx, domain, "os", &os));
	if (!os) {
		if (bootloader)
			return PVV_OK;
		return xml_fail(ctx, PVV_EXML, domain, NULL, "lacks <os>");
	}
	XML_CHECK(parse_type(ctx, os));
	XML_CHECK(parse_file(ctx, os, "kernel", &cfg->kernel, &node));
	XML_CHECK(parse_file(ctx, os, "initrd", &cfg->initrd, &node));
	pvvirt_claim(ctx, "kernel", NULL, &cfg->kernel_fd);
	pvvirt_claim(ctx, "initrd", NULL, &cfg->initrd_fd);
	bool kernel = cfg->kernel || cfg->kernel_fd != CONFIG_FD_NONE;
	if (node && cfg->initrd && !kernel)
		return xml_fail(ctx, PVV_EXML, node, NULL, "needs a <kernel>");
	if (kernel && bootloader)
		xml_warn(ctx, bootloader, NULL, "is ignored (there is a <kernel>)");
	XML_CHECK(xml_child_string(ctx, os, "cmdline", &cfg->cmdline, &node));
	if (!config_check_cmdline(cfg->cmdline, &problem))
		return xml_fail_problem(ctx, node, &problem);
	return PVV_OK;
}

void os_format(struct xml_out *out, const struct config *cfg)
{
	xml_out_text(out, "bootloader", cfg->bootloader);
	xml_out_text(out, "bootloader_args", cfg->bootloader_args);
	xml_out_start(out, "os");
	xml_out_start(out, "type");
	xml_out_attr(out, "arch", "x86_64");
	xml_out_attr(out, "machine", "xenpv");
	xml_out_end_text(out, "linux");
	xml_out_text(out, "kernel", cfg->kernel);
	xml_out_text(out, "initrd", cfg->initrd);
	xml_out_text(out, "cmdline", cfg->cmdline);
	xml_out_end(out);
}
