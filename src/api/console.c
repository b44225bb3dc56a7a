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
	const char *channel; /* instead of the index */
	int fd, ret;
	char *path;
	struct pvv_error error;
};

static void open_work(void *opaque)
{
	struct console_request *q = opaque;

	q->ret = q->channel ? consoles_open_channel(q->domain->consoles, q->channel, &q->fd)
			    : consoles_open(q->domain->consoles, q->index, &q->fd);
	if (q->ret < 0)
		err_save(&q->error); /* this thread's record; the caller's is another */
}

static int open_stream(struct console_request *q, uint64_t flags, int *ret_fd)
{
	io_loop_call(q->domain->host->loop, open_work, q);
	if (q->ret < 0) {
		err_restore(&q->error);
		return q->ret;
	}
	/* The library's end is non-blocking; the caller's is as the caller wants it. */
	if (flags & PVV_CONSOLE_NONBLOCK)
		fcntl(q->fd, F_SETFL, O_RDWR | O_NONBLOCK);
	*ret_fd = q->fd;
	return 0;
}

int pvv_domain_open_console(pvv_domain *domain, uint32_t index, uint64_t flags, int *ret_fd)
{
	struct console_request q = {.domain = domain, .index = index, .fd = -1};
	int ret;

	if (!ret_fd)
		return API_EINVAL("pvv_domain_open_console: ret_fd is NULL");
	*ret_fd = -1;
	ret = api_verb(domain, flags, PVV_CONSOLE_NONBLOCK, "pvv_domain_open_console");
	return ret < 0 ? ret : open_stream(&q, flags, ret_fd);
}

int pvv_domain_open_channel(pvv_domain *domain, const char *name, uint64_t flags, int *ret_fd)
{
	struct console_request q = {.domain = domain, .channel = name, .fd = -1};
	int ret;

	if (!ret_fd)
		return API_EINVAL("pvv_domain_open_channel: ret_fd is NULL");
	*ret_fd = -1;
	ret = api_verb(domain, flags, PVV_CONSOLE_NONBLOCK, "pvv_domain_open_channel");
	if (!ret && !name)
		ret = API_EINVAL("pvv_domain_open_channel: name is NULL");
	return ret < 0 ? ret : open_stream(&q, flags, ret_fd);
}

static void path_work(void *opaque)
{
	struct console_request *q = opaque;
	const char *name = q->domain->name;
	const char *path = consoles_tty(q->domain->consoles, q->index);

	if (path) {
		q->path = strdup(path);
		q->ret = q->path ? 0 : err_nomem(PVV_SUBSYS_CONSOLE, "copying a console's name");
	} else if (q->index >= q->domain->cfg->nr_consoles) {
		q->ret = err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, name,
				 "domain '%s' has no console %u", name, q->index);
	} else if (q->domain->cfg->consoles[q->index].chr.type != CONFIG_CHR_PTY) {
		q->ret = err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, name,
				 "console %u of domain '%s' is not of type 'pty'", q->index, name);
	} else {
		q->ret = err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, name,
				 "console %u of domain '%s' has a pseudo terminal only while the "
				 "domain is active",
				 q->index, name);
	}
	if (q->ret < 0)
		err_save(&q->error); /* this thread's record; the caller's is another */
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
	if (q.ret < 0)
		err_restore(&q.error);
	*ret_path = q.path;
	return q.ret;
}

/* ---- changes ---- */

struct change {
	pvv_domain *domain;
	/* Makes the change in a copy of the configuration. */
	int (*edit)(const struct change *c, struct config *cfg);
	bool consoles; /* they have to be made anew */
	uint32_t index, value;
	const char *path;
	int ret;
	struct pvv_error error;
};

/* Takes over what the domain shall have; gives back in the same places what it had. */
static int swap_in(pvv_domain *d, struct config **cfg, struct domain_consoles **consoles)
{
	pthread_mutex_lock(&d->lock);
	bool shut_off = d->state == PVV_DOMAIN_SHUTOFF;
	if (shut_off) {
		struct config *old_cfg = d->cfg;
		struct domain_consoles *old_consoles = d->consoles;

		d->cfg = *cfg;
		*cfg = old_cfg;
		if (*consoles) {
			d->consoles = *consoles;
			*consoles = old_consoles;
		}
	}
	pthread_mutex_unlock(&d->lock);
	return shut_off
		       ? 0
		       : err_set(PVV_ESTATE, PVV_SUBSYS_API, d->name,
				 "domain '%s' is active; its configuration can be changed while it "
				 "is shut off",
				 d->name);
}

/*
 * On the I/O thread: one change after the other, and a start() that comes later sees the new
 * configuration.
 */
static void change_work(void *opaque)
{
	struct change *c = opaque;
	pvv_domain *d = c->domain;
	struct domain_consoles *consoles = NULL;
	struct config *cfg = NULL;

	c->ret = config_copy(d->cfg, &cfg);
	if (!c->ret)
		c->ret = c->edit(c, cfg);
	if (!c->ret && c->consoles)
		c->ret = consoles_new(d->host->loop, cfg, &consoles);
	if (!c->ret)
		c->ret = swap_in(d, &cfg, &consoles);
	if (c->ret < 0)
		err_save(&c->error); /* this thread's record; the caller's is another */
	consoles_free(consoles);
	config_free(cfg);
}

static int apply(struct change *c)
{
	io_loop_call(c->domain->host->loop, change_work, c);
	if (c->ret < 0)
		err_restore(&c->error);
	return c->ret;
}

static int edit_console(const struct change *c, struct config *cfg)
{
	if (c->index >= cfg->nr_consoles)
		return err_set(PVV_ENOENT, PVV_SUBSYS_CONSOLE, c->domain->name,
			       "domain '%s' has no console %u", c->domain->name, c->index);
	return take_console_type(&cfg->consoles[c->index].chr, c->value, c->path,
				 "pvv_domain_set_console");
}

int pvv_domain_set_console(pvv_domain *domain, uint32_t index, uint32_t type, const char *path,
			   uint64_t flags)
{
	struct change c = {
		.domain = domain,
		.edit = edit_console,
		.consoles = true,
		.index = index,
		.value = type,
		.path = path,
	};
	int ret = api_verb(domain, flags, 0, "pvv_domain_set_console");

	return ret < 0 ? ret : apply(&c);
}

static int edit_executor(const struct change *c, struct config *cfg)
{
	cfg->executor = (enum config_executor)c->value;
	return 0;
}

int pvv_domain_set_executor(pvv_domain *domain, uint32_t executor, uint64_t flags)
{
	struct change c = {.domain = domain, .edit = edit_executor, .value = executor};
	int ret = api_verb(domain, flags, 0, "pvv_domain_set_executor");

	if (!ret && executor > CONFIG_EXECUTOR_KVM)
		ret = API_EINVAL(
			"pvv_domain_set_executor: %u is not an executor (0 automatic, 1 ring3, "
			"2 kvm)",
			executor);
	return ret < 0 ? ret : apply(&c);
}

static int edit_brief_turns(const struct change *c, struct config *cfg)
{
	cfg->no_brief_turns = !c->value;
	return 0;
}

int pvv_domain_set_brief_turns(pvv_domain *domain, uint32_t allowed, uint64_t flags)
{
	struct change c = {.domain = domain, .edit = edit_brief_turns, .value = allowed};
	int ret = api_verb(domain, flags, 0, "pvv_domain_set_brief_turns");

	if (!ret && allowed > 1)
		ret = API_EINVAL("pvv_domain_set_brief_turns: allowed is %u, neither 1 nor 0",
				 allowed);
	return ret < 0 ? ret : apply(&c);
}
