/* SPDX-License-Identifier: MIT */
/* Is a device consistent, by itself and with those before it? */
#include "domain/config_check.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "util/err.h"
#include "util/utf8.h"

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* libvirt's schema bounds the alphabet of several strings; what we print has to stay inside. */
static bool check_alphabet(const char *what, const char *s, const char *allowed,
			   struct config_problem *problem)
{
	if (!s)
		return true;
	if (!*s)
		return config_problem(problem, PVV_EINVAL, "%s is empty", what);
	if (strspn(s, allowed) != strlen(s))
		return config_problem(problem, PVV_EINVAL,
				      "%s '%s' contains a character that is not allowed there",
				      what, s);
	return true;
}

static bool known_format(const char *format)
{
	static const char *const formats[] = {
		"raw", "aio", "dir",   "bochs", "cloop", "dmg",	 "iso",	  "vpc", "vdi",
		"fat", "vhd", "ploop", "luks",	"cow",	 "qcow", "qcow2", "qed", "vmdk",
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(format, formats[i]) == 0)
			return true;
	return false;
}

static bool check_disk_alone(const struct config_disk *d, struct config_problem *problem)
{
	uint32_t vdev;

	if (!d->target || !*d->target)
		return config_problem(problem, PVV_EINVAL, "has no target");
	if (!config_parse_vdev(d->target, &vdev))
		return config_problem(problem, PVV_EINVAL,
				      "target '%s' is not the name of a Xen block device such as "
				      "'xvda'",
				      d->target);
	if ((unsigned int)d->type > CONFIG_DISK_BLOCK ||
	    (unsigned int)d->device > CONFIG_DISK_CDROM ||
	    (unsigned int)d->cache > CONFIG_CACHE_UNSAFE ||
	    (unsigned int)d->discard > CONFIG_DISCARD_UNMAP ||
	    (unsigned int)d->io > CONFIG_IO_URING)
		return config_problem(problem, PVV_EINVAL,
				      "target '%s': an enumeration is out of range", d->target);
	if (!d->source && d->fd == CONFIG_FD_NONE && d->device != CONFIG_DISK_CDROM)
		return config_problem(problem, PVV_EINVAL, "target '%s' has no source", d->target);
	if (d->device == CONFIG_DISK_CDROM && !d->readonly)
		return config_problem(problem, PVV_EINVAL, "target '%s': a cdrom is read-only",
				      d->target);
	if (d->format && !known_format(d->format))
		return config_problem(problem, PVV_EINVAL, "target '%s': format '%s' is unknown",
				      d->target, d->format);
	return config_check_path("source", d->source, problem) &&
	       check_alphabet("serial", d->serial, ALNUM "_.+- ", problem) &&
	       check_alphabet("driver name", d->driver_name, ALNUM "_+-", problem);
}

bool config_check_disk(const struct config *cfg, size_t index, struct config_problem *problem)
{
	const struct config_disk *d = &cfg->disks[index];
	uint32_t vdev, other;

	if (!check_disk_alone(d, problem))
		return false;
	if (!config_parse_vdev(d->target, &vdev))
		return false;
	for (size_t i = 0; i < index; i++) {
		const struct config_disk *o = &cfg->disks[i];

		if (!o->target || !config_parse_vdev(o->target, &other))
			continue;
		if (vdev == other)
			return config_problem(problem, PVV_EINVAL, "target '%s' is used twice",
					      d->target);
		/* Two writers without coordination, or a reader under a writer, corrupt a file
		 * system. */
		if (d->source && o->source && strcmp(d->source, o->source) == 0 &&
		    (!d->readonly || !o->readonly) && !(d->shareable && o->shareable))
			return config_problem(problem, PVV_EINVAL,
					      "target '%s': '%s' is also the source of '%s' "
					      "(make both <readonly/> or <shareable/>)",
					      d->target, d->source, o->target);
	}
	return true;
}

static bool check_range(const struct config_port_range *r, struct config_problem *problem)
{
	if (!r->start || r->end < r->start)
		return config_problem(problem, PVV_EINVAL,
				      "portForward: range %u-%u is not a range of ports", r->start,
				      r->end);
	if (r->to && (uint32_t)r->to + (r->end - r->start) > 65535)
		return config_problem(problem, PVV_EINVAL,
				      "portForward: range %u-%u to %u ends above 65535", r->start,
				      r->end, r->to);
	if (r->exclude && r->to)
		return config_problem(problem, PVV_EINVAL,
				      "portForward: range %u-%u is excluded and has a 'to'",
				      r->start, r->end);
	return true;
}

static bool check_forward(const struct config_forward *f, struct config_problem *problem)
{
	uint8_t addr[16];

	if (f->address && inet_pton(AF_INET, f->address, addr) != 1 &&
	    inet_pton(AF_INET6, f->address, addr) != 1)
		return config_problem(problem, PVV_EINVAL, "portForward: '%s' is not an IP address",
				      f->address);
	if (!config_check_device_name("portForward dev", f->dev, problem))
		return false;
	for (size_t i = 0; i < f->nr_ranges; i++)
		if (!check_range(&f->ranges[i], problem))
			return false;
	return true;
}

static bool check_ip(const struct config_ip *ip, struct config_problem *problem)
{
	if (ip->family != 4 && ip->family != 6)
		return config_problem(problem, PVV_EINVAL, "ip: family %u is neither 4 nor 6",
				      ip->family);
	if (ip->has_prefix && ip->prefix > (ip->family == 4 ? 32 : 128))
		return config_problem(problem, PVV_EINVAL,
				      "ip: prefix %u is longer than an IPv%u address", ip->prefix,
				      ip->family);
	return true;
}

static bool check_interface_alone(const struct config_interface *n, struct config_problem *problem)
{
	if ((unsigned int)n->type > CONFIG_NET_USER || (unsigned int)n->link > CONFIG_OFF)
		return config_problem(problem, PVV_EINVAL, "an enumeration is out of range");
	if (n->has_mac && n->mac[0] & 1)
		return config_problem(problem, PVV_EINVAL, "mac: a multicast address");
	if (n->has_mac && memcmp(n->mac, (const uint8_t[6]){0}, 6) == 0)
		return config_problem(problem, PVV_EINVAL, "mac: all zero");
	if (n->type == CONFIG_NET_BRIDGE && !n->source)
		return config_problem(problem, PVV_EINVAL, "type 'bridge' needs <source bridge=>");
	if (n->type == CONFIG_NET_ETHERNET && n->source)
		return config_problem(problem, PVV_EINVAL, "type 'ethernet' has no source");
	if (n->type != CONFIG_NET_USER && (n->nr_forwards || n->passt || n->log_file))
		return config_problem(problem, PVV_EINVAL,
				      "portForward and backend belong to type 'user'");
	if (n->mtu && (n->mtu < 68 || n->mtu > 65535))
		return config_problem(problem, PVV_EINVAL, "mtu %u is not within 68..65535",
				      n->mtu);
	if ((unsigned int)n->managed > CONFIG_OFF)
		return config_problem(problem, PVV_EINVAL, "an enumeration is out of range");
	if (n->managed && (n->type != CONFIG_NET_ETHERNET || !n->target))
		return config_problem(problem, PVV_EINVAL,
				      "managed belongs to the target of type 'ethernet'");
	if (n->model && strcmp(n->model, "netfront") != 0)
		return config_problem(problem, PVV_EINVAL, "model '%s' is not 'netfront'",
				      n->model);
	if (n->log_file && !n->passt)
		return config_problem(problem, PVV_EINVAL,
				      "backend: a log file needs type='passt'");
	if (n->script && (!*n->script || strpbrk(n->script, "\n\r")))
		return config_problem(problem, PVV_EINVAL, "script is not a path");
	for (size_t i = 0; i < n->nr_ips; i++)
		if (!check_ip(&n->ips[i], problem))
			return false;
	for (size_t i = 0; i < n->nr_forwards; i++)
		if (!check_forward(&n->forwards[i], problem))
			return false;
	return config_check_device_name("source", n->source, problem) &&
	       config_check_device_name("target", n->target, problem) &&
	       config_check_path("backend logFile", n->log_file, problem);
}

bool config_check_interface(const struct config *cfg, size_t index, struct config_problem *problem)
{
	const struct config_interface *n = &cfg->interfaces[index];
	char mac[18];

	if (!check_interface_alone(n, problem))
		return false;
	for (size_t i = 0; i < index; i++) {
		const struct config_interface *o = &cfg->interfaces[i];

		if (n->has_mac && o->has_mac && memcmp(n->mac, o->mac, 6) == 0) {
			config_mac_format(n->mac, mac);
			return config_problem(problem, PVV_EINVAL, "mac '%s' is used twice", mac);
		}
		if (n->target && o->target && strcmp(n->target, o->target) == 0)
			return config_problem(problem, PVV_EINVAL, "target '%s' is used twice",
					      n->target);
	}
	return true;
}

static bool check_tcp(const struct config_chr *c, struct config_problem *problem)
{
	unsigned int port = 0;

	if (!c->host || !*c->host || !c->service || !*c->service)
		return config_problem(problem, PVV_EINVAL, "type 'tcp' needs a host and a service");
	if (strlen(c->host) > 255)
		return config_problem(problem, PVV_EINVAL, "host is longer than 255 bytes");
	if (strlen(c->service) > 5 || strspn(c->service, "0123456789") != strlen(c->service))
		return config_problem(problem, PVV_EINVAL, "service '%s' is not a port number",
				      c->service);
	for (const char *s = c->service; *s; s++)
		port = port * 10 + (unsigned int)(*s - '0');
	if (port > 65535 || (port == 0 && !c->listen))
		return config_problem(problem, PVV_EINVAL, "service '%s' is not a port number",
				      c->service);
	return true;
}

static bool check_chr(const struct config_chr *c, struct config_problem *problem)
{
	bool has_path = c->type == CONFIG_CHR_FILE || c->type == CONFIG_CHR_UNIX;

	if ((unsigned int)c->type > CONFIG_CHR_FD || (unsigned int)c->append > CONFIG_OFF ||
	    (unsigned int)c->log_append > CONFIG_OFF)
		return config_problem(problem, PVV_EINVAL, "an enumeration is out of range");
	if (has_path && !c->path)
		return config_problem(problem, PVV_EINVAL, "type '%s' needs <source path=>",
				      c->type == CONFIG_CHR_FILE ? "file" : "unix");
	if (!has_path && c->path)
		return config_problem(problem, PVV_EINVAL, "a path belongs to types file and unix");
	if (c->type == CONFIG_CHR_UNIX && strlen(c->path) > 107)
		return config_problem(problem, PVV_EINVAL,
				      "path is longer than the 107 bytes of a socket's name");
	if (c->type != CONFIG_CHR_FILE && c->append)
		return config_problem(problem, PVV_EINVAL, "append belongs to type 'file'");
	if (c->type != CONFIG_CHR_TCP && (c->host || c->service || c->telnet))
		return config_problem(problem, PVV_EINVAL,
				      "host, service and telnet belong to type 'tcp'");
	if (c->type != CONFIG_CHR_TCP && c->type != CONFIG_CHR_UNIX && c->listen)
		return config_problem(problem, PVV_EINVAL,
				      "mode='bind' belongs to types unix and tcp");
	if ((c->type == CONFIG_CHR_FD) != (c->fd != CONFIG_FD_NONE))
		return config_problem(problem, PVV_EINVAL,
				      "a descriptor and its type belong together");
	if (!c->log_file && c->log_append)
		return config_problem(problem, PVV_EINVAL, "log: append without a file");
	if (c->type == CONFIG_CHR_TCP && !check_tcp(c, problem))
		return false;
	return config_check_path("path", c->path, problem) &&
	       config_check_path("log file", c->log_file, problem);
}

bool config_check_console(const struct config *cfg, size_t index, struct config_problem *problem)
{
	const struct config_console *c = &cfg->consoles[index];

	if (c->port >= CONFIG_MAX_CONSOLES)
		return config_problem(problem, PVV_ELIMIT, "port '%u' is not below %u", c->port,
				      CONFIG_MAX_CONSOLES);
	for (size_t i = 0; i < index; i++)
		if (cfg->consoles[i].port == c->port)
			return config_problem(problem, PVV_EINVAL, "port '%u' is used twice",
					      c->port);
	return check_chr(&c->chr, problem);
}

bool config_check_channel(const struct config *cfg, size_t index, struct config_problem *problem)
{
	const struct config_channel *c = &cfg->channels[index];

	if (!c->name || !*c->name)
		return config_problem(problem, PVV_EINVAL, "has no name");
	/* It becomes a value in xenstore and a part of messages. */
	if (strlen(c->name) > 255 || !utf8_valid(c->name, strlen(c->name)))
		return config_problem(problem, PVV_EINVAL,
				      "name is longer than 255 bytes or not UTF-8");
	for (const char *s = c->name; *s; s++)
		if ((unsigned char)*s < 0x20)
			return config_problem(problem, PVV_EINVAL,
					      "name contains a control character");
	for (size_t i = 0; i < index; i++)
		if (cfg->channels[i].name && strcmp(cfg->channels[i].name, c->name) == 0)
			return config_problem(problem, PVV_EINVAL, "name '%s' is used twice",
					      c->name);
	return check_chr(&c->chr, problem);
}
