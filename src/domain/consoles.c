/* SPDX-License-Identifier: MIT */
#include "domain/consoles.h"

#include <stdlib.h>

#include "io/console/console.h"
#include "util/err.h"

struct domain_consoles {
	unsigned int nr;
	struct io_console *con[CONFIG_MAX_CONSOLES];
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

int consoles_new(struct io_loop *loop, const struct config *cfg, struct domain_consoles **ret)
{
	struct domain_consoles *cs = calloc(1, sizeof(*cs));

	*ret = NULL;
	if (!cs)
		return err_nomem(PVV_SUBSYS_CONSOLE, "making a domain");
	for (; cs->nr < cfg->nr_consoles; cs->nr++) {
		int r = console_new(loop, &cfg->consoles[cs->nr].chr, cfg->name, &cs->con[cs->nr]);

		if (r < 0) {
			consoles_free(cs);
			return r;
		}
	}
	*ret = cs;
	return 0;
}

void consoles_free(struct domain_consoles *cs)
{
	if (!cs)
		return;
	for (unsigned int i = 0; i < cs->nr; i++)
		io_console_free(cs->con[i]);
	free(cs);
}

int consoles_attach(struct domain_consoles *cs, struct io_guest *g, void *ring_page, uint32_t port)
{
	return io_console_attach(cs->con[0], g, ring_page, port);
}

void consoles_detach(struct domain_consoles *cs)
{
	io_console_detach(cs->con[0]);
}

void consoles_end(struct domain_consoles *cs)
{
	for (unsigned int i = 0; i < cs->nr; i++)
		io_console_end(cs->con[i]);
}

const char *consoles_tty(struct domain_consoles *cs, unsigned int index)
{
	return index < cs->nr ? io_console_tty(cs->con[index]) : NULL;
}

int consoles_open(struct domain_consoles *cs, unsigned int index, int *ret_fd)
{
	*ret_fd = -1;
	if (index >= cs->nr)
		return err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, NULL,
			       "there is no console %u; the domain has %u", index, cs->nr);
	return io_console_open(cs->con[index], ret_fd);
}

void consoles_counters(struct domain_consoles *cs, uint64_t *ret_out, uint64_t *ret_in)
{
	io_console_counters(cs->con[0], ret_out, ret_in);
}
