/* SPDX-License-Identifier: MIT */
/* Consoles, and what may be changed of a domain that is shut off. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "api/check.h"
#include "domain/consoles.h"

struct console_request {
	pvv_domain *domain;
	uint32_t index;
	int fd, ret;
	char *path;
	struct pvv_error error;
};

static void open_work(void *opaque)
{
	struct console_request *q = opaque;

	q->ret = consoles_open(q->domain->consoles, q->index, &q->fd);
	if (q->ret < 0)
		err_save(&q->error); /* this thread's record; the caller's is another */
}

int pvv_domain_open_console(pvv_domain *domain, uint32_t index, uint64_t flags, int *ret_fd)
{
	struct console_request q = {.domain = domain, .index = index, .fd = -1};
	int ret;

	if (!ret_fd)
		return API_EINVAL("pvv_domain_open_console: ret_fd is NULL");
	*ret_fd = -1;
	ret = api_verb(domain, flags, PVV_CONSOLE_NONBLOCK, "pvv_domain_open_console");
	if (ret < 0)
		return ret;
	io_loop_call(domain->host->loop, open_work, &q);
	if (q.ret < 0) {
		err_restore(&q.error);
		return q.ret;
	}
	/* The library's end is non-blocking; the caller's is as the caller wants it. */
	fcntl(q.fd, F_SETFL, flags & PVV_CONSOLE_NONBLOCK ? O_RDWR | O_NONBLOCK : O_RDWR);
	*ret_fd = q.fd;
	return 0;
}

static void path_work(void *opaque)
{
	struct console_request *q = opaque;
	const char *path = consoles_tty(q->domain->consoles, q->index);

	q->path = path ? strdup(path) : NULL;
}

int pvv_domain_get_console_path(pvv_domain *domain, uint32_t index, char **ret_path)
{
	struct console_request q = {.domain = domain, .index = index};
	int ret;

	if (!ret_path)
		return API_EINVAL("pvv_domain_get_console_path: ret_path is NULL");
	*ret_path = NULL;
	ret = api_domain(domain, "pvv_domain_get_console_path");
	if (ret < 0)
		return ret;
	io_loop_call(domain->host->loop, path_work, &q);
	if (!q.path)
		return err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, domain->name,
			       "console %u of domain '%s' has no pseudo terminal", index,
			       domain->name);
	*ret_path = q.path;
	return 0;
}

/* ---- changes ---- */

struct change {
	pvv_domain *domain;
	struct config *cfg;
	int ret;
	struct pvv_error error;
};

/*
 * On the I/O thread, so that no incarnation begins meanwhile: its builder hands over to this
 * thread, and a start() that comes later sees the new configuration.
 */
static void change_work(void *opaque)
{
	struct change *c = opaque;
	pvv_domain *d = c->domain;
	struct domain_consoles *consoles;

	c->ret = consoles_new(d->host->loop, c->cfg, &consoles);
	if (c->ret < 0) {
		err_save(&c->error);
		return;
	}
	pthread_mutex_lock(&d->lock);
	bool shut_off = d->state == PVV_DOMAIN_SHUTOFF;
	if (shut_off) {
		struct domain_consoles *old = d->consoles;
		struct config *old_cfg = d->cfg;

		d->consoles = consoles;
		d->cfg = c->cfg;
		c->cfg = old_cfg;
		consoles = old;
	} else {
		c->ret = PVV_ESTATE;
		err_set(PVV_ESTATE, PVV_SUBSYS_API, d->name,
			"domain '%s' is active; its configuration can be changed while it is shut "
			"off",
			d->name);
		err_save(&c->error);
	}
	pthread_mutex_unlock(&d->lock);
	consoles_free(consoles);
}

/* Takes over cfg. */
static int apply(pvv_domain *domain, struct config *cfg)
{
	struct change c = {.domain = domain, .cfg = cfg};

	io_loop_call(domain->host->loop, change_work, &c);
	config_free(c.cfg);
	if (c.ret < 0)
		err_restore(&c.error);
	return c.ret;
}

static int copy_config(pvv_domain *domain, struct config **ret_cfg)
{
	int ret;

	pthread_mutex_lock(&domain->lock);
	ret = config_copy(domain->cfg, ret_cfg);
	pthread_mutex_unlock(&domain->lock);
	return ret;
}

int pvv_domain_set_console(pvv_domain *domain, uint32_t index, uint32_t type, const char *path,
			   uint64_t flags)
{
	struct config *cfg;
	int ret = api_domain(domain, "pvv_domain_set_console");

	if (!ret)
		ret = api_flags(flags, 0, "pvv_domain_set_console");
	if (!ret)
		ret = copy_config(domain, &cfg);
	if (ret < 0)
		return ret;
	if (index >= cfg->nr_consoles)
		ret = err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, domain->name,
			      "domain '%s' has no console %u", domain->name, index);
	else
		ret = take_console_type(&cfg->consoles[index].chr, type, path,
					"pvv_domain_set_console");
	if (ret < 0) {
		config_free(cfg);
		return ret;
	}
	return apply(domain, cfg);
}

int pvv_domain_set_executor(pvv_domain *domain, uint32_t executor, uint64_t flags)
{
	struct config *cfg;
	int ret = api_domain(domain, "pvv_domain_set_executor");

	if (!ret)
		ret = api_flags(flags, 0, "pvv_domain_set_executor");
	if (!ret && executor > CONFIG_EXECUTOR_KVM)
		ret = API_EINVAL(
			"pvv_domain_set_executor: %u is not an executor (0 automatic, 1 ring3, "
			"2 kvm)",
			executor);
	if (!ret)
		ret = copy_config(domain, &cfg);
	if (ret < 0)
		return ret;
	cfg->executor = (enum config_executor)executor;
	return apply(domain, cfg);
}
