/* SPDX-License-Identifier: MIT */
/* Random configurations: every field takes its edge values, its absence, and what needs escaping.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t random_next(uint32_t *seed)
{
	/* xorshift32; never 0 if it did not start so. */
	uint32_t x = *seed ? *seed : 1;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *seed = x;
}

static uint32_t below(uint32_t *seed, uint32_t n)
{
	return (random_next(seed) >> 8) % n;
}

static bool maybe(uint32_t *seed)
{
	return below(seed, 2);
}

#define PICK(seed, array) (array)[below(seed, sizeof(array) / sizeof((array)[0]))]

static void set(char **field, const char *value)
{
	assert_int_equal(config_set_string(field, value), PVV_OK);
}

static const char *any_text(uint32_t *seed)
{
	static const char *const texts[] = {
		"plain",
		"a & b",
		"<tag attr='x'>",
		"]]>",
		"it's \"quoted\"",
		"  blanks  ",
		"tab\there",
		"two\nlines",
		"return\rhere",
		"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		"&amp;",
		"&#10;",
		"<!-- no comment -->",
		"a=b c=\"d e\" f='g'",
	};

	return PICK(seed, texts);
}

static const char *any_path(uint32_t *seed)
{
	static const char *const paths[] = {
		"/a",
		"/var/lib/x y.img",
		"/dev/HostVG/XenGuest1",
		"/q'uo\"te",
		"/a&b<c>",
		"/..//.",
		"/\xc3\xa9",
		" /",
		"/trailing ",
		"/tab\t",
	};
	const char *path = PICK(seed, paths);

	return *path == '/' ? path : "/leading";
}

static void random_cpuset(uint32_t *seed, struct config_cpuset *cpus)
{
	memset(cpus, 0, sizeof(*cpus));
	for (uint32_t i = 0, n = 1 + below(seed, 20); i < n; i++)
		config_cpuset_set(cpus, maybe(seed) ? below(seed, 8) : below(seed, 1024), true);
}

static void random_chr(uint32_t *seed, struct config_chr *c)
{
	static const char *const hosts[] = {"127.0.0.1", "::1", "host.example", "a'b"};
	static const char *const services[] = {"1", "4555", "65535"};

	c->type = below(seed, 6);
	if (c->type == CONFIG_CHR_FILE || c->type == CONFIG_CHR_UNIX)
		set(&c->path, any_path(seed));
	if (c->type == CONFIG_CHR_FILE)
		c->append = below(seed, 3);
	if (c->type == CONFIG_CHR_UNIX || c->type == CONFIG_CHR_TCP)
		c->listen = maybe(seed);
	if (c->type == CONFIG_CHR_TCP) {
		set(&c->host, PICK(seed, hosts));
		set(&c->service, PICK(seed, services));
		c->telnet = maybe(seed);
	}
	if (c->type == CONFIG_CHR_FD)
		c->fd = CONFIG_FD_PENDING;
	if (maybe(seed)) {
		set(&c->log_file, any_path(seed));
		c->log_append = below(seed, 3);
	}
}

static void random_disk(uint32_t *seed, struct config *cfg, uint32_t number)
{
	static const char *const serials[] = {"s", "AB-12_3.4+5", " x "};
	static const char *const drivers[] = {"qemu", "phy", "file", "tap", "tap2"};
	struct config_disk *d;
	char name[32];

	assert_int_equal(config_add_disk(cfg, &d), PVV_OK);
	snprintf(name, sizeof(name), number % 2 ? "xvd%c" : "xvd%c1", (char)('a' + number));
	set(&d->target, name);
	d->type = below(seed, 2);
	d->device = below(seed, 2);
	d->readonly = d->device == CONFIG_DISK_CDROM || maybe(seed);
	/* Sources differ, or the disks would have to be shareable. */
	snprintf(name, sizeof(name), "/image-%u", number);
	if (maybe(seed))
		d->fd = CONFIG_FD_PENDING;
	if (d->device == CONFIG_DISK_DISK && d->fd == CONFIG_FD_NONE)
		set(&d->source, name);
	else if (maybe(seed))
		set(&d->source, name);
	d->shareable = maybe(seed);
	if (maybe(seed))
		set(&d->serial, PICK(seed, serials));
	if (maybe(seed))
		set(&d->driver_name, PICK(seed, drivers));
	if (maybe(seed))
		set(&d->format, maybe(seed) ? "raw" : "qcow2");
	d->cache = below(seed, 6);
	d->discard = below(seed, 3);
	d->io = below(seed, 4);
}

static void random_ip(uint32_t *seed, struct config_interface *net)
{
	struct config_ip *ip;

	assert_int_equal(config_add_ip(net, &ip), PVV_OK);
	ip->family = maybe(seed) ? 4 : 6;
	for (int i = 0; i < (ip->family == 4 ? 4 : 16); i++) {
		ip->addr[i] = maybe(seed) ? (uint8_t)random_next(seed) : 0;
		ip->peer[i] = maybe(seed) ? (uint8_t)random_next(seed) : 0;
	}
	ip->has_prefix = maybe(seed);
	if (ip->has_prefix)
		ip->prefix = (uint8_t)below(seed, ip->family == 4 ? 33 : 129);
	ip->has_peer = maybe(seed);
	if (!ip->has_peer)
		memset(ip->peer, 0, 16);
}

static void random_forward(uint32_t *seed, struct config_interface *net)
{
	static const char *const addresses[] = {"127.0.0.1", "::1", "2000:abcd::1"};
	struct config_forward *f;

	assert_int_equal(config_add_forward(net, &f), PVV_OK);
	f->udp = maybe(seed);
	if (maybe(seed))
		set(&f->address, PICK(seed, addresses));
	if (maybe(seed))
		set(&f->dev, "eth0.1");
	for (uint32_t i = 0, n = below(seed, 4); i < n; i++) {
		struct config_port_range *r;

		assert_int_equal(config_add_port_range(f, &r), PVV_OK);
		r->start = (uint16_t)(1 + below(seed, 65535));
		r->end = (uint16_t)(r->start + below(seed, 65536u - r->start));
		r->exclude = maybe(seed);
		uint32_t room = 65535u - (r->end - r->start);
		if (!r->exclude && room && maybe(seed))
			r->to = (uint16_t)(1 + below(seed, room));
	}
}

static void random_interface(uint32_t *seed, struct config *cfg, uint32_t number)
{
	struct config_interface *net;
	char name[32];

	assert_int_equal(config_add_interface(cfg, &net), PVV_OK);
	net->type = below(seed, 3);
	net->has_mac = maybe(seed);
	if (net->has_mac)
		memcpy(net->mac, (const uint8_t[6]){0x00, 0x16, 0x3e, 0xff, 0, (uint8_t)number}, 6);
	if (net->type == CONFIG_NET_BRIDGE || (net->type == CONFIG_NET_USER && maybe(seed)))
		set(&net->source, "br0");
	snprintf(name, sizeof(name), "vif%u", number);
	if (maybe(seed))
		set(&net->target, name);
	if (net->type == CONFIG_NET_ETHERNET && net->target)
		net->managed = below(seed, 3);
	if (maybe(seed))
		net->fd = CONFIG_FD_PENDING;
	if (maybe(seed))
		set(&net->script, maybe(seed) ? "vif-bridge" : "/etc/xen/scripts/vif '&'");
	if (maybe(seed))
		set(&net->model, "netfront");
	net->mtu = maybe(seed) ? 68 + below(seed, 65468) : 0;
	net->link = below(seed, 3);
	for (uint32_t i = 0, n = below(seed, 3); i < n; i++)
		random_ip(seed, net);
	if (net->type != CONFIG_NET_USER)
		return;
	net->passt = maybe(seed);
	if (net->passt && maybe(seed))
		set(&net->log_file, any_path(seed));
	for (uint32_t i = 0, n = below(seed, 3); i < n; i++)
		random_forward(seed, net);
}

static void random_devices(uint32_t *seed, struct config *cfg)
{
	for (uint32_t i = 0, n = below(seed, 5); i < n; i++)
		random_disk(seed, cfg, i);
	for (uint32_t i = 0, n = below(seed, 4); i < n; i++)
		random_interface(seed, cfg, i);
	for (uint32_t i = 0; i < 3; i++) {
		struct config_console *c;

		if (!maybe(seed))
			continue;
		assert_int_equal(config_add_console(cfg, &c), PVV_OK);
		c->port = i * 2;
		random_chr(seed, &c->chr);
	}
	for (uint32_t i = 0, n = below(seed, 3); i < n; i++) {
		struct config_channel *c;
		char name[64];

		assert_int_equal(config_add_channel(cfg, &c), PVV_OK);
		snprintf(name, sizeof(name), "org.qemu.guest_agent.%u <&'>", i);
		set(&c->name, name);
		random_chr(seed, &c->chr);
	}
	cfg->max_grant_frames = maybe(seed) ? 1 + below(seed, 256) : 0;
	cfg->max_event_channels = maybe(seed) ? 1 + below(seed, 4096) : 0;
	cfg->balloon = maybe(seed);
}

static void random_cpu(uint32_t *seed, struct config *cfg)
{
	cfg->vcpus = 1 + below(seed, 32);
	cfg->vcpus_online = maybe(seed) ? 1 + below(seed, cfg->vcpus) : 0;
	cfg->has_cpuset = maybe(seed);
	if (cfg->has_cpuset)
		random_cpuset(seed, &cfg->cpuset);
	cfg->shares = maybe(seed) ? 2 + below(seed, 262143) : 0;
	cfg->period = maybe(seed) ? 1000 + below(seed, 999001) : 0;
	cfg->quota = maybe(seed) ? -1 : maybe(seed) ? 17592186044415ll : 0;
	for (uint32_t i = 0; i < cfg->vcpus; i++) {
		struct config_vcpupin *pin;

		if (below(seed, 4))
			continue;
		assert_int_equal(config_add_vcpupin(cfg, &pin), PVV_OK);
		pin->vcpu = i;
		random_cpuset(seed, &pin->cpus);
	}
}

static void random_clock(uint32_t *seed, struct config_clock *clock)
{
	clock->offset = below(seed, 4);
	if (clock->offset == CONFIG_CLOCK_ABSOLUTE) {
		clock->start = random_next(seed) % 4000000001u;
		return;
	}
	clock->has_adjustment = maybe(seed);
	if (clock->has_adjustment)
		clock->adjustment =
			(int64_t)(random_next(seed) % 4000000001u) * (maybe(seed) ? 1 : -1);
	if (clock->offset == CONFIG_CLOCK_VARIABLE)
		clock->basis_localtime = maybe(seed);
	else if (!clock->has_adjustment)
		clock->adjustment_reset = maybe(seed);
}

struct config *config_random(uint32_t *seed)
{
	struct config *cfg = config_new();

	assert_non_null(cfg);
	set(&cfg->name, maybe(seed) ? "guest-1" : "a &<b> 'c' \"d\" \xc3\xa9");
	cfg->has_uuid = maybe(seed);
	for (int i = 0; cfg->has_uuid && i < 16; i++)
		cfg->uuid[i] = (uint8_t)random_next(seed);
	if (maybe(seed)) {
		const char *title = any_text(seed);

		set(&cfg->title, strpbrk(title, "\n\r") ? "t" : title);
	}
	if (maybe(seed))
		set(&cfg->description, any_text(seed));
	if (maybe(seed))
		set(&cfg->metadata, "<a:x xmlns:a='urn:a' a:b='&lt;&#10;&apos;'> text\n  <c/>"
				    "<!-- kept --></a:x>\n<plain/>");
	if (maybe(seed)) {
		set(&cfg->kernel, any_path(seed));
		if (maybe(seed))
			set(&cfg->initrd, any_path(seed));
	}
	if (maybe(seed))
		cfg->kernel_fd = CONFIG_FD_PENDING;
	if (cfg->kernel_fd == CONFIG_FD_PENDING && maybe(seed))
		cfg->initrd_fd = CONFIG_FD_PENDING;
	if (maybe(seed))
		set(&cfg->cmdline, any_text(seed));
	if (maybe(seed))
		set(&cfg->bootloader, maybe(seed) ? "pygrub" : "/usr/bin/py grub");
	if (maybe(seed))
		set(&cfg->bootloader_args, any_text(seed));
	cfg->memory = (1ull + below(seed, 1u << 20)) << 20;
	cfg->current_memory = maybe(seed) ? cfg->memory / 2 >> 20 << 20 : 0;
	cfg->max_memory = maybe(seed) ? 1ull << 40 : 0;
	cfg->max_memory_slots = cfg->max_memory ? below(seed, 17) : 0;
	random_cpu(seed, cfg);
	cfg->on_poweroff = below(seed, 4);
	cfg->on_reboot = below(seed, 4);
	cfg->on_crash = below(seed, 6);
	random_clock(seed, &cfg->clock);
	cfg->has_xen_features = maybe(seed);
	if (cfg->has_xen_features) {
		cfg->e820_host = below(seed, 3);
		cfg->passthrough = below(seed, 3);
		if (cfg->passthrough && maybe(seed))
			set(&cfg->passthrough_mode, maybe(seed) ? "sync_pt" : "share_pt");
	}
	random_devices(seed, cfg);
	for (uint32_t i = 0, n = below(seed, 3); i < n; i++)
		assert_int_equal(
			config_add_seclabel(cfg, i ? "<seclabel type='none' model='dac'/>"
						   : "<seclabel type='static' model='selinux'>"
						     "<label>a:b:c</label></seclabel>"),
			PVV_OK);
	cfg->executor = below(seed, 3);
	cfg->no_brief_turns = maybe(seed);
	cfg->limits.code_cache = maybe(seed) ? (1ull + below(seed, 4096)) << 20 : 0;
	cfg->limits.overhead = maybe(seed) ? (1ull + below(seed, 4096)) << 20 : 0;
	cfg->limits.xenstore_nodes = maybe(seed) ? 1 + below(seed, 10000) : 0;
	cfg->limits.xenstore_watches = maybe(seed) ? UINT32_MAX : 0;
	cfg->limits.xenstore_transactions = maybe(seed) ? 1 : 0;
	return cfg;
}
