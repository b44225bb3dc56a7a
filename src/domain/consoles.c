/* SPDX-License-Identifier: MIT */
#include "domain/consoles.h"

#include <stdlib.h>
#include <string.h>

#include "io/console/device.h"
#include "util/err.h"

struct domain_consoles {
	struct io_loop *loop;
	unsigned int nr, nr_consoles; /* consoles first, then channels */
	struct line {
		struct io_console *con;
		struct io_console_device *device; /* of all but the first, in an incarnation */
		unsigned int devid;		  /* its number in the xenstore */
		char *channel;			  /* NULL: a console */
	} line[];
};

static enum io_console_type type_of(enum config_chr_type type)
{
	switch (type) {
	case CONFIG_CHR_PTY:
		return IO_CONSOLE_PTY;
	case CONFIG_CHR_FILE:
		return IO_CONSOLE_FILE;
	case CONFIG_CHR_UNIX:
		return IO_CONSOLE_UNIX;
	case CONFIG_CHR_TCP:
		return IO_CONSOLE_TCP;
	case CONFIG_CHR_FD:
		return IO_CONSOLE_FD;
	default:
		return IO_CONSOLE_NULL;
	}
}

static int console_new(struct io_loop *loop, const struct config_chr *chr, const char *domain,
		       struct io_console **ret)
{
	struct io_console_config cc = {
		.type = type_of(chr->type),
		.path = chr->path,
		.append = chr->append == CONFIG_ON,
		.listen = chr->listen,
		.host = chr->host,
		.service = chr->service,
		.fd = chr->fd,
		.log_file = chr->log_file,
		.log_append = chr->log_append == CONFIG_ON,
	};

	/* To be supplied before the start; config_check_startable() insists on it there. */
	if (cc.type == IO_CONSOLE_FD && cc.fd < 0)
		cc.type = IO_CONSOLE_NULL;
	return io_console_new(loop, &cc, domain, ret);
}

static int add(struct domain_consoles *cs, const struct config_chr *chr, const char *domain,
	       unsigned int devid, const char *channel)
{
	struct line *l = &cs->line[cs->nr];
	int r = 0;

	l->devid = devid;
	if (channel && !(l->channel = strdup(channel)))
		r = err_nomem(PVV_SUBSYS_CONSOLE, "making a domain");
	if (!r)
		r = console_new(cs->loop, chr, domain, &l->con);
	if (r < 0)
		free(l->channel);
	else
		cs->nr++;
	return r;
}

int consoles_new(struct io_loop *loop, const struct config *cfg, struct domain_consoles **ret)
{
	size_t nr = cfg->nr_consoles + cfg->nr_channels;
	struct domain_consoles *cs = calloc(1, sizeof(*cs) + nr * sizeof(cs->line[0]));
	unsigned int devid = 0;
	int r = 0;

	*ret = NULL;
	if (!cs)
		return err_nomem(PVV_SUBSYS_CONSOLE, "making a domain");
	cs->loop = loop;
	for (size_t i = 0; !r && i < cfg->nr_consoles; i++) {
		devid = cfg->consoles[i].port; /* ascending */
		r = add(cs, &cfg->consoles[i].chr, cfg->name, devid, NULL);
	}
	cs->nr_consoles = cs->nr;
	for (size_t i = 0; !r && i < cfg->nr_channels; i++)
		r = add(cs, &cfg->channels[i].chr, cfg->name, ++devid, cfg->channels[i].name);
	if (r < 0) {
		consoles_free(cs);
		return r;
	}
	*ret = cs;
	return 0;
}

void consoles_free(struct domain_consoles *cs)
{
	if (!cs)
		return;
	for (unsigned int i = 0; i < cs->nr; i++) {
		io_console_free(cs->line[i].con);
		free(cs->line[i].channel);
	}
	free(cs);
}

int consoles_attach(struct domain_consoles *cs, struct io_guest *g, void *ring_page, uint32_t port)
{
	return io_console_attach(cs->line[0].con, g, ring_page, port);
}

int consoles_attach_devices(struct domain_consoles *cs, struct io_guest *g, struct xs_store *store)
{
	int r = 0;

	for (unsigned int i = 1; !r && i < cs->nr; i++)
		r = io_console_device_new(cs->loop, g, store, cs->line[i].con, cs->line[i].devid,
					  cs->line[i].channel, &cs->line[i].device);
	return r;
}

void consoles_detach(struct domain_consoles *cs)
{
	io_console_detach(cs->line[0].con);
	for (unsigned int i = 1; i < cs->nr; i++) {
		io_console_device_free(cs->line[i].device);
		cs->line[i].device = NULL;
	}
}

void consoles_end(struct domain_consoles *cs)
{
	for (unsigned int i = 0; i < cs->nr; i++)
		io_console_end(cs->line[i].con);
}

const char *consoles_tty(struct domain_consoles *cs, unsigned int index)
{
	return index < cs->nr_consoles ? io_console_tty(cs->line[index].con) : NULL;
}

int consoles_open(struct domain_consoles *cs, unsigned int index, int *ret_fd)
{
	*ret_fd = -1;
	if (index >= cs->nr_consoles)
		return err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, NULL,
			       "there is no console %u; the domain has %u", index, cs->nr_consoles);
	return io_console_open(cs->line[index].con, ret_fd);
}

int consoles_open_channel(struct domain_consoles *cs, const char *name, int *ret_fd)
{
	*ret_fd = -1;
	for (unsigned int i = cs->nr_consoles; i < cs->nr; i++)
		if (!strcmp(cs->line[i].channel, name))
			return io_console_open(cs->line[i].con, ret_fd);
	return err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, NULL,
		       "there is no channel '%s'; the domain has %u", name,
		       cs->nr - cs->nr_consoles);
}

void consoles_counters(struct domain_consoles *cs, uint64_t *ret_out, uint64_t *ret_in)
{
	io_console_counters(cs->line[0].con, ret_out, ret_in);
}
